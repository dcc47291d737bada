//! The connection to Redis: made, kept by heartbeats, lost and made again; and what comes by it.

use std::rc::Rc;
use std::time::Duration;

use redis::{PushInfo, PushKind, RedisError, RedisResult};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::spawn_local;

use super::{BEAT, Failed, GRACE, Hub, Report, SILENCE, locked, message};
use crate::error::{Code, Error};
use crate::fleet::backlog::{CatchUp, Invalidation, LogState, Place};
use crate::fleet::gathering::failure;
use crate::fleet::lease::LEASE;
use crate::fleet::link::{Ill, Link, judge, words};
use crate::fleet::members::Change;
use crate::fleet::parts;
use crate::fleet::pause::Pauses;
use crate::fleet::request::notice;
use crate::model::Member;
use crate::sys::clock::monotonic;

/// The fields of an entry of the log, and their values.
type Fields = Vec<(String, Vec<u8>)>;

impl Hub {
    /// Keeps the connection for as long as the thread runs.
    pub async fn run(self: Rc<Self>) {
        let mut pauses = Pauses::default();
        loop {
            let (pushes, mut pushed) = unbounded_channel();
            let channels = [self.all.clone(), self.own.clone()];
            let begun = match Link::connect(&self.settings, &channels, pushes).await {
                Ok(link) => self.begin(link).await,
                Err(error) => Err(error),
            };
            match begun {
                Ok(()) => {
                    pauses.reset();
                    self.serve(&mut pushed).await;
                }
                Err(error) => self.lost(&words(&error)),
            }
            let mut random = [0; 4];
            // Without randomness the machines come at the same time.
            let _ = SystemRandom::new().fill(&mut random);
            tokio::time::sleep(pauses.next(u32::from_le_bytes(random))).await;
        }
    }

    /// It is connected and listens: learns what was missed.
    pub(super) async fn begin(self: &Rc<Self>, link: Link) -> RedisResult<()> {
        {
            let mut state = self.state.borrow_mut();
            state.link = Some(link.clone());
            state.connected = Some(monotonic());
            state.links += 1;
            state.knows = false;
        }
        let log = self.beat(link.clone()).await?;
        let catch_up = self.state.borrow_mut().backlog.listens(&log);
        match catch_up {
            CatchUp::Nothing => {}
            CatchUp::Everything => self.apply(Invalidation::Everything),
            CatchUp::Since(place) => self.read_log(link, place).await?,
        }
        // Also the first time.
        self.state.borrow_mut().outage.get_or_insert_default();
        self.restored();
        self.tell_backlog();
        Ok(())
    }

    pub(super) async fn read_log(&self, mut link: Link, since: Place) -> RedisResult<()> {
        let entries: Vec<(String, Fields)> = redis::cmd("XRANGE")
            .arg(self.shared("log"))
            .arg(format!("({since}"))
            .arg("+")
            .query_async(&mut link)
            .await?;
        for (place, fields) in entries {
            let Some((_, bytes)) = fields.into_iter().next() else { continue };
            if let Ok(place) = place.parse() {
                self.state.borrow_mut().backlog.received(place);
            }
            if let Some(message) = self.settings.opened(&self.all, &bytes, false) {
                self.invalidated(&message);
            }
        }
        Ok(())
    }

    /// Until the connection is broken.
    pub(super) async fn serve(self: &Rc<Self>, pushed: &mut UnboundedReceiver<PushInfo>) {
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        beats.reset();
        loop {
            tokio::select! {
                biased;
                () = self.broken.notified() => return,
                push = pushed.recv() => match push {
                    Some(PushInfo { kind: PushKind::Disconnection, .. }) | None => {
                        return self.lost("the connection has ended");
                    }
                    Some(PushInfo { kind: PushKind::Message, data }) => self.published(&data),
                    Some(_) => {}
                },
                _ = beats.tick() => self.beat_soon(),
                () = self.beat_now.notified() => self.beat_soon(),
            }
        }
    }

    pub(super) fn beat_soon(self: &Rc<Self>) {
        let hub = self.clone();
        let (link, number) = {
            let state = self.state.borrow();
            (state.link.clone(), state.links)
        };
        let Some(link) = link else { return };
        spawn_local(async move {
            let beaten = hub.beat(link).await;
            // Another link may be there by now, or none.
            let is_current = {
                let state = hub.state.borrow();
                state.links == number && state.link.is_some()
            };
            match beaten {
                _ if !is_current => {}
                Ok(_) => {
                    hub.restored();
                    hub.tell_backlog();
                }
                Err(error) => {
                    hub.failed(&error);
                    if judge(&error) == Ill::Refuses {
                        hub.unavailable(&words(&error));
                    }
                }
            }
        });
    }

    /// The connection is gone; tells it once.
    pub(super) fn lost(&self, why: &str) {
        {
            let mut state = self.state.borrow_mut();
            state.link = None;
            if std::mem::replace(&mut state.knows, false) {
                state.lease.disconnected(monotonic());
            }
        }
        self.unavailable(why);
    }

    /// Redis does not do what is asked; tells it once.
    pub(super) fn unavailable(&self, why: &str) {
        let before = self.state.borrow_mut().outage.replace(why.to_owned());
        if before.is_none() {
            {
                let mut status = locked(&self.status);
                (status.available, status.reason) = (false, Some(why.to_owned()));
                (status.leader, status.token) = (None, None);
                status.counts.outages += 1;
            }
            (self.report)(Report::Unavailable(why.to_owned()));
            self.tell_state();
        }
    }

    /// Redis does what is asked, again.
    pub(super) fn restored(&self) {
        let before = self.state.borrow_mut().outage.take();
        if before.is_some() {
            {
                let mut status = locked(&self.status);
                (status.available, status.reason) = (true, None);
            }
            (self.report)(Report::Available);
            self.tell_state();
        }
    }

    /// An operation has failed.
    pub(super) fn failed(&self, error: &RedisError) -> Failed {
        let why = words(error);
        if judge(error) == Ill::Away {
            // Another operation may have found out before.
            let had_link = self.state.borrow().link.is_some();
            self.lost(&why);
            if had_link {
                self.broken.notify_one();
            }
        }
        Failed::Unavailable(why)
    }

    /// The same for an operation on the link with this number: another one may be there by now.
    pub(super) fn failed_on(&self, number: u64, error: &RedisError) -> Failed {
        let is_current = self.state.borrow().links == number;
        if is_current { self.failed(error) } else { Failed::Unavailable(words(error)) }
    }

    /// Waits until the first attempt to reach Redis has ended: nobody knows before whether there is an outage.
    pub(super) async fn first_link(&self) -> Result<(Link, u64), Failed> {
        loop {
            let changed = self.changed.notified();
            let has_tried = {
                let state = self.state.borrow();
                state.link.is_some() || state.outage.is_some()
            };
            if has_tried {
                let link = self.link()?;
                return Ok((link, self.state.borrow().links));
            }
            changed.await;
        }
    }

    pub(super) fn link(&self) -> Result<Link, Failed> {
        let state = self.state.borrow();
        match &state.link {
            Some(link) => Ok(link.clone()),
            None => Err(Failed::Unavailable(
                state.outage.clone().unwrap_or_else(|| "it is not reached yet".to_owned()),
            )),
        }
    }

    /// A heartbeat, and what it tells about the others.
    pub(super) async fn beat(&self, mut link: Link) -> RedisResult<LogState> {
        let sent = monotonic();
        let member = Member {
            figures: locked(&self.provided).figures.as_ref().map_or(Value::Null, |figures| figures()),
            ..self.settings.member.clone()
        };
        let members_key = self.shared("members");
        let member = self.settings.sealed(&members_key, json!(member).to_string().into_bytes());
        let mut random = [0; 16];
        let _ = SystemRandom::new().fill(&mut random);
        let epoch: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let may_lead = self.state.borrow().lease.may_take(sent);
        let (epoch, leader, first, last, members): (String, String, String, String, Vec<Vec<u8>>) = self
            .scripts
            .beat
            .key(&[
                members_key.clone(),
                self.shared("beats"),
                self.shared("leader"),
                self.shared("token"),
                self.shared("epoch"),
                self.shared("log"),
            ])
            .arg(self.id())
            .arg(member)
            .arg(SILENCE.as_millis() as u64)
            .arg(LEASE.as_millis() as u64)
            .arg(u8::from(may_lead))
            .arg(epoch)
            .invoke_async(&mut link)
            .await?;
        let granted = leader.split_once(' ').filter(|(id, _)| *id == self.id());
        let granted = granted.and_then(|(_, token)| token.parse().ok());
        let members = members.iter().filter_map(|bytes| {
            let opened = self.settings.opened(&members_key, bytes, false)?;
            serde_json::from_slice(&opened).ok()
        });
        let members: Vec<Member> = members.collect();
        {
            let mut status = locked(&self.status);
            let (id, token) = leader.split_once(' ').unzip();
            status.leader = id.map(str::to_owned);
            status.token = token.and_then(|token| token.parse().ok());
        }
        let mut state = self.state.borrow_mut();
        // A server that has lost its data knows nobody at first.
        let is_settled = state.connected.is_some_and(|since| sent > since + SILENCE);
        let changes = state.members.update(members, is_settled);
        locked(&self.status).members = state.members.all().cloned().collect();
        let is_new = !std::mem::replace(&mut state.knows, true);
        let changed = state.lease.replied(granted, sent);
        let leads = state.lease.held();
        drop(state);
        if changed {
            (self.report)(leads.map_or(Report::LeadsNo, |held| Report::Leads(held.token)));
        }
        if changed || leads.is_some() || is_new {
            self.tell_state();
        }
        self.tell_members(changes);
        Ok(LogState { epoch, first: first.parse().ok(), last: last.parse().ok() })
    }

    pub(super) fn tell_members(&self, changes: Vec<Change>) {
        for change in changes {
            let (has_joined, member) = match &change {
                Change::Joined(member) => ("1", member),
                Change::Left(member) => ("0", member),
            };
            if member.id == self.id() {
                continue;
            }
            let text = json!(member).to_string();
            let notice = parts::write(notice::MEMBER, &[has_joined.as_bytes(), text.as_bytes()]);
            let mut state = self.state.borrow_mut();
            state.clients.values().for_each(|client| client.tell(0, 0, notice.clone()));
            let gone = member.id.clone();
            let waiting: Vec<u32> =
                if has_joined == "0" { state.asked.keys().copied().collect() } else { Vec::new() };
            for number in waiting {
                let error =
                    Error::new(Code::WorkerGone, format!("The machine {} has left the fleet", member.host));
                let is_over = state.asked.get_mut(&number).is_some_and(|asked| {
                    asked.gathering.waits_for(&gone)
                        && asked.gathering.answered(&gone, vec![failure("", &error)])
                });
                if is_over && let Some(asked) = state.asked.remove(&number) {
                    Self::finish(&state, asked);
                }
            }
            drop(state);
            (self.report)(match change {
                Change::Joined(member) => Report::Joined(member),
                Change::Left(member) => Report::Left(member),
            });
        }
    }

    /// Once a second: a lease that was not renewed ends.
    pub async fn watch_lease(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        loop {
            ticks.tick().await;
            let has_ended = self.state.borrow_mut().lease.look(monotonic());
            if has_ended {
                (self.report)(Report::LeadsNo);
                self.tell_state();
            }
        }
    }

    /// The machine stops: others need not wait for its silence.
    pub async fn say_goodbye(&self) {
        let Ok(mut link) = self.link() else { return };
        let message = self.settings.sealed(&self.all, parts::write(message::LEFT, &[self.id().as_bytes()]));
        let keys = ["members", "beats", "leader"].map(|name| self.shared(name));
        // Who does not hear it notices its silence.
        let _: RedisResult<redis::Value> = self
            .scripts
            .leave
            .key(&keys)
            .arg(self.id())
            .arg(&self.all)
            .arg(message)
            .invoke_async(&mut link)
            .await;
    }

    pub(super) fn published(self: &Rc<Self>, data: &[redis::Value]) {
        let [redis::Value::BulkString(channel), redis::Value::BulkString(payload)] = data else { return };
        let (place, payload) = match payload.iter().position(|byte| *byte == b' ') {
            // An entry of the log has its place before it, or '-' if the log had no room for it.
            Some(end)
                if end <= 40 && payload[..end].iter().all(|byte| byte.is_ascii_digit() || *byte == b'-') =>
            {
                (std::str::from_utf8(&payload[..end]).ok(), &payload[end + 1..])
            }
            _ => (None, &payload[..]),
        };
        let channel = if *channel == self.all.as_bytes() { &self.all } else { &self.own };
        let Some(message) = self.settings.opened(channel, payload, place.is_none()) else { return };
        if let Some(place) = place {
            let is_new = match place.parse() {
                Ok(place) => self.state.borrow_mut().backlog.received(place),
                Err(()) => true,
            };
            if is_new {
                self.invalidated(&message);
            }
            return;
        }
        let Some((what, parts)) = parts::read(&message) else { return };
        match (what, &parts[..]) {
            (message::BROADCAST, [machine, number, timeout, kind, format, body])
                if *machine != self.id().as_bytes() =>
            {
                let timeout = parts::number(timeout).map_or(GRACE, Duration::from_millis);
                self.deliver(machine, number, timeout, [kind, format, body]);
            }
            (message::ANSWERS, [machine, number, answers @ ..]) => {
                let (Some(machine), Some(number)) = (parts::text(machine), parts::number(number)) else {
                    return;
                };
                let answers =
                    answers.chunks_exact(4).map(|answer| [0, 1, 2, 3].map(|at| answer[at].to_vec()));
                self.gathered(machine, number, answers.collect());
            }
            (message::LEFT, _) => self.beat_now.notify_one(),
            _ => {}
        }
    }
}
