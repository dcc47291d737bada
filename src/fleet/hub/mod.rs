//! The fleet's state in this machine, between its processes and Redis: what the processes ask. `connection` is the way to
//! Redis, `broadcasts` and `invalidations` what machines tell each other. It is used by one thread; nothing is borrowed across
//! an await.

mod broadcasts;
mod connection;
mod invalidations;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::RedisError;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::spawn_local;

use super::backlog::{Backlog, Invalidation};
use super::gathering::{Gathering, failure};
use super::lease::Lease;
use super::link::Link;
use super::members::Members;
use super::parts;
use super::request::{notice, operation, status};
use super::scripts::Scripts;
use super::settings::Settings;
use super::values::{Refused, Values};
use crate::error::{Code, Error};
use crate::ipc::message::Peer;
use crate::ipc::message_policy::MessagePolicy;
use crate::model::{FleetStatus, Member};

/// Between two heartbeats.
const BEAT: Duration = Duration::from_secs(1);
/// A machine that is silent for this long is gone.
const SILENCE: Duration = Duration::from_secs(5);
/// Entries of the log of invalidations.
const LOG: usize = 10_000;
/// Invalidations in one step.
const SOME: usize = 100;
/// Operations that wait for Redis.
const MAX_CALLS: usize = 10_000;
/// Bytes that wait for a client before messages of other machines do not reach it.
const MAX_WAITING: usize = 16 << 20;
/// For the answers of other machines on their way.
const GRACE: Duration = Duration::from_millis(250);

/// What machines tell each other.
mod message {
    /// After its place in the log: the machine, an invalidation.
    pub const INVALIDATION: u8 = 0;
    /// The machine, its number for the message, timeout in ms, type, format, body.
    pub const BROADCAST: u8 = 1;
    /// The machine, the number of the message that is answered, and four parts for each answer.
    pub const ANSWERS: u8 = 2;
    /// The machine has stopped.
    pub const LEFT: u8 = 3;
}

/// What the thread reports.
#[derive(Debug)]
pub enum Report {
    /// Redis is reached.
    Available,
    /// Why it is not.
    Unavailable(String),
    Joined(Member),
    Left(Member),
    /// This machine leads, with this fencing token.
    Leads(u64),
    LeadsNo,
    /// For the cache of this machine, but the contents of these namespaces.
    Invalidate(Invalidation, Vec<String>),
    /// A client violated the protocol and was disconnected.
    Broken {
        name: String,
        reason: String,
    },
}

/// A frame for a client: its number, the number that it answers, and its bytes.
pub type Outgoing = (u32, u32, Vec<u8>);

pub struct Client {
    pub name: String,
    /// For the rules of messages, and in answers.
    pub peer: Peer,
    /// It gets the messages of other machines for their workers.
    pub receives: bool,
    pub outgoing: UnboundedSender<Outgoing>,
    /// Bytes that it has not read.
    pub waiting: Rc<Cell<usize>>,
}

impl Client {
    fn worker_id(&self) -> String {
        match self.peer {
            Peer::Primary => String::new(),
            Peer::Worker(worker) => worker.slot.to_string(),
        }
    }

    fn tell(&self, number: u32, answers: u32, bytes: Vec<u8>) {
        self.waiting.set(self.waiting.get() + bytes.len());
        // Its task ends with it.
        let _ = self.outgoing.send((number, answers, bytes));
    }
}

/// A broadcast of a client of this machine.
struct Asked {
    client: u32,
    number: u32,
    gathering: Gathering<String>,
}

/// A message of another machine, for clients of this one.
struct Delivered {
    machine: String,
    number: Vec<u8>,
    gathering: Gathering<u32>,
}

#[derive(Default)]
struct State {
    clients: BTreeMap<u32, Client>,
    next_client: u32,
    /// None: Redis is not reached.
    link: Option<Link>,
    /// How many there were.
    links: u64,
    /// Why it is not; None before the first attempt has ended.
    outage: Option<String>,
    /// When it was made.
    connected: Option<Duration>,
    /// A heartbeat was answered on this link.
    knows: bool,
    members: Members,
    lease: Lease,
    backlog: Backlog,
    is_telling: bool,
    asked: HashMap<u32, Asked>,
    delivered: HashMap<u32, Delivered>,
    next_number: u32,
    /// Namespaces of the cache that belong to this machine alone.
    local: BTreeSet<String>,
    calls: usize,
}

/// What the composition provides, for as long as the thread runs.
#[derive(Default)]
pub struct Provided {
    pub policy: Option<Arc<MessagePolicy>>,
    /// The figures of this machine, for others.
    pub figures: Option<Box<dyn Fn() -> Value + Send>>,
}

pub struct Hub {
    settings: Arc<Settings>,
    scripts: Scripts,
    /// The channel of all machines, and that of this one.
    all: String,
    own: String,
    state: RefCell<State>,
    /// The link is broken.
    broken: Notify,
    /// A heartbeat is to be sent now.
    beat_now: Notify,
    /// The first heartbeat was answered, or there is an outage.
    changed: Notify,
    /// Some invalidations were told, or cannot be told now.
    told: Notify,
    provided: Arc<Mutex<Provided>>,
    status: Arc<Mutex<FleetStatus>>,
    report: Box<dyn Fn(Report)>,
}

/// Why an operation did not succeed.
enum Failed {
    Unavailable(String),
    Invalid,
}

impl From<Failed> for (u8, Vec<u8>) {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Unavailable(why) => (status::UNAVAILABLE, why.into_bytes()),
            Failed::Invalid => (status::INVALID, Vec::new()),
        }
    }
}

type Outcome = Result<Vec<Vec<u8>>, Failed>;

/// Whoever panicked has left the value whole.
fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    pub fn new(
        settings: Arc<Settings>,
        provided: Arc<Mutex<Provided>>,
        status: Arc<Mutex<FleetStatus>>,
        report: Box<dyn Fn(Report)>,
    ) -> Rc<Self> {
        locked(&status).id.clone_from(&settings.member.id);
        let channel = |name: &str| format!("{}{name}", settings.prefix);
        let (all, own) = (channel("all"), channel(&format!("to:{}", settings.member.id)));
        Rc::new(Self {
            scripts: Scripts::default(),
            all,
            own,
            state: RefCell::default(),
            broken: Notify::new(),
            beat_now: Notify::new(),
            changed: Notify::new(),
            told: Notify::new(),
            settings,
            provided,
            status,
            report,
        })
    }

    fn id(&self) -> &str {
        &self.settings.member.id
    }

    /// A key that all machines use together. The braces keep them in one slot of a Redis Cluster.
    fn shared(&self, name: &str) -> String {
        format!("{{{}}}{name}", self.settings.prefix)
    }

    // Processes of this machine.

    pub fn join(&self, client: Client) -> u32 {
        let mut state = self.state.borrow_mut();
        state.next_client += 1;
        let number = state.next_client;
        client.tell(0, 0, self.state_notice(&state));
        state.clients.insert(number, client);
        number
    }

    /// The client has ended: it answers nothing more.
    pub fn leave(self: &Rc<Self>, number: u32) {
        let mut state = self.state.borrow_mut();
        let Some(client) = state.clients.remove(&number) else { return };
        let worker = client.worker_id();
        let gone = Error::new(Code::WorkerGone, format!("Worker {worker} is gone"));
        let answer = failure(&worker, &gone);
        let waiting: Vec<u32> = state
            .delivered
            .iter()
            .filter(|(_, delivered)| delivered.gathering.waits_for(&number))
            .map(|(delivery, _)| *delivery)
            .collect();
        state.asked.retain(|_, asked| asked.client != number);
        drop(state);
        for delivery in waiting {
            self.answered(number, delivery, answer.clone());
        }
    }

    /// A client violated the protocol.
    pub fn broken_client(&self, number: u32, reason: String) {
        let name = self.state.borrow().clients.get(&number).map(|client| client.name.clone());
        (self.report)(Report::Broken { name: name.unwrap_or_default(), reason });
    }

    /// A client's frame; None: it is none that a client sends.
    pub fn take(self: &Rc<Self>, client: u32, number: u32, answers: u32, bytes: &[u8]) -> Option<()> {
        let (what, parts) = parts::read(bytes)?;
        let parts: Vec<Vec<u8>> = parts.into_iter().map(<[u8]>::to_vec).collect();
        if what == operation::ANSWER {
            let [has_answered, format, body] = <[Vec<u8>; 3]>::try_from(parts).ok()?;
            let worker = self.state.borrow().clients.get(&client).map(Client::worker_id)?;
            let answer = match self.too_large(&body) {
                Some(error) => failure(&worker, &error),
                None => [worker.into_bytes(), has_answered, format, body],
            };
            self.answered(client, answers, answer);
            return Some(());
        }
        let hub = self.clone();
        spawn_local(async move {
            let (status, parts) = match what {
                operation::BROADCAST => match hub.broadcast(client, number, &parts).await {
                    Ok(None) => return,
                    Ok(Some(refusal)) => (status::REFUSED, vec![refusal]),
                    Err(failed) => {
                        let (status, why) = failed.into();
                        (status, vec![why])
                    }
                },
                _ => match hub.perform(what, &parts).await {
                    Ok(parts) => (status::DONE, parts),
                    Err(failed) => {
                        let (status, why) = failed.into();
                        (status, vec![why])
                    }
                },
            };
            let mut parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            if what == operation::LIST && status == status::DONE {
                for value in parts.chunks(3) {
                    hub.answer(client, number, parts::write(status::PART, value));
                }
                parts.clear();
            }
            hub.answer(client, number, parts::write(status, &parts));
        });
        Some(())
    }

    fn answer(&self, client: u32, number: u32, bytes: Vec<u8>) {
        // A request that nobody waits for has no number.
        if let Some(client) = self.state.borrow().clients.get(&client).filter(|_| number != 0) {
            client.tell(0, number, bytes);
        }
    }

    fn state_notice(&self, state: &State) -> Vec<u8> {
        let held = state.lease.held();
        let token = held.map(|held| held.token.to_string()).unwrap_or_default();
        let until = held.map(|held| held.until.as_millis().to_string()).unwrap_or_default();
        let reached: &[u8] = if state.knows && state.outage.is_none() { b"1" } else { b"0" };
        parts::write(notice::STATE, &[self.id().as_bytes(), reached, token.as_bytes(), until.as_bytes()])
    }

    fn tell_state(&self) {
        let state = self.state.borrow();
        let notice = self.state_notice(&state);
        state.clients.values().for_each(|client| client.tell(0, 0, notice.clone()));
        drop(state);
        self.changed.notify_waiters();
    }

    // Requests.

    async fn perform(self: &Rc<Self>, what: u8, given: &[Vec<u8>]) -> Outcome {
        match (what, given) {
            (operation::INVALIDATE, [what, text]) => {
                let text = parts::text(text).map(str::to_owned);
                let invalidation = text.and_then(|text| Invalidation::of(*what.first()?, text));
                self.invalidate(invalidation.ok_or(Failed::Invalid)?).await;
                Ok(Vec::new())
            }
            (operation::MEMBERS, []) => {
                self.link()?;
                let state = self.state.borrow();
                let members: Vec<&Member> = state.members.all().collect();
                Ok(vec![json!(members).to_string().into_bytes()])
            }
            (operation::LOCAL, [namespace]) => {
                let namespace = parts::text(namespace).ok_or(Failed::Invalid)?;
                self.state.borrow_mut().local.insert(namespace.to_owned());
                Ok(Vec::new())
            }
            (operation::LEADER, []) => self.leader().await,
            (operation::LOAD.., _) => self.bounded(what, self.data(what, given)).await,
            _ => Err(Failed::Invalid),
        }
    }

    /// Waits until it is known who leads.
    async fn leader(&self) -> Outcome {
        loop {
            let changed = self.changed.notified();
            let (knows, held, outage) = {
                let state = self.state.borrow();
                (state.knows, state.lease.held(), state.outage.clone())
            };
            match (held, outage) {
                (Some(held), _) => return Ok(vec![held.token.to_string().into_bytes()]),
                (None, Some(why)) => return Err(Failed::Unavailable(why)),
                (None, None) if knows => return Ok(Vec::new()),
                (None, None) => changed.await,
            }
        }
    }

    async fn bounded(&self, what: u8, running: impl Future<Output = Outcome>) -> Outcome {
        if self.state.borrow().calls >= MAX_CALLS {
            return Err(Failed::Unavailable(format!("{MAX_CALLS} operations wait for it")));
        }
        self.state.borrow_mut().calls += 1;
        let links = self.state.borrow().links;
        let outcome = match what {
            // They have many steps, each of which is bounded.
            operation::LIST | operation::CLEAR => running.await,
            // The link bounds the wait for an answer alone, and not that for a place to send.
            _ => tokio::time::timeout(self.settings.timeout, running).await.unwrap_or_else(|_| {
                let late = RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
                Err(self.failed_on(links, &late))
            }),
        };
        self.state.borrow_mut().calls -= 1;
        let mut status = locked(&self.status);
        status.counts.operations += 1;
        status.counts.failures += u64::from(outcome.is_err());
        drop(status);
        outcome
    }

    async fn data(&self, what: u8, given: &[Vec<u8>]) -> Outcome {
        let (mut link, number) = self.first_link().await?;
        let values = Values { settings: &self.settings, scripts: &self.scripts };
        values.perform(&mut link, what, given).await.map_err(|refused| match refused {
            Refused::Redis(error) => self.failed_on(number, &error),
            Refused::Invalid => Failed::Invalid,
            Refused::NotListed => Failed::Unavailable("the names in a Redis Cluster cannot be listed".into()),
        })
    }
}
