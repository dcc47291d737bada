//! The parts of a worker and the calls between them: messages of the primary, connections, and their metrics. Each part
//! owns its state; this module passes data from one part to another, and makes no decision that a part can make.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admission::{Admission, Verdict};
use super::attachment::Attachment;
use super::checks::{Check, Checks};
use super::collections;
use super::commands::Commands;
use super::connection_channel::ConnectionChannel;
use super::connection_limits::{ConnectionLimits, Standing};
use super::control_channel::{ControlChannel, Incoming};
use super::datagrams::Datagrams;
use super::diagnostics::Diagnostics;
use super::events::Events;
use super::fd_batch::{BATCH, FdBatch};
use super::fd_pressure::FdPressure;
use super::fleet::Fleet;
use super::lifecycle::Lifecycle;
use super::listener_shares::{AtVirtualListener, ListenerShares, TRIAL};
use super::loop_lag::LoopLag;
use super::messages::{Deliver, MessageEndpoint, Opening};
use super::moves::Moves;
use super::notice::Notice;
use super::reports::Reports;
use super::requests::Requests;
use super::runtime_connections::{Idle, Opened, RuntimeConnections};
use super::shared_cache::SharedCache;
use super::streams::Streams;
use super::virtual_listener::{Pushed, VirtualListener};
use crate::fleet::request::max_frame;
use crate::ipc::control::{GroupId, ToPrimary, ToWorker};
use crate::ipc::endpoint::Tally;
use crate::ipc::fd_message::{FdHeader, FdMessage, IdleKeepAlive};
use crate::metrics::layout::{header, page};
use crate::metrics::memory::{Cells, MetricStore, Page, SharedMemory};
use crate::metrics::messages::MessageTally;
use crate::model::WorkerId;
use crate::sys::memory::Mapping;
use crate::sys::orphan;
use crate::sys::socket_calls::{self, Ending, PollEntry, SocketName, Sockets};
use crate::sys::uv::{Loop, Prepare};

/// Maximum messages read from the connection channel at a time.
const MAX_MESSAGES: usize = 4;
/// The remaining time of a connection that may be silent for any time, milliseconds.
const UNLIMITED_MS: u32 = 0x7fff_ffff;
/// Iterations of the loop within which a runtime accepts what is offered to it.
const MAX_OFFERED: u32 = 2;
/// Maximum repetitions when everything is read: more than can be in transit to a worker.
const MAX_TURNS: usize = 64;

/// The worker's calls into JavaScript, on the loop's thread.
pub struct Calls {
    /// (group, count): `count` descriptors are in the shared buffer.
    pub connections: Box<dyn Fn(u32, u32)>,
    /// A notice of the primary, and its number.
    pub notice: Box<dyn Fn(Notice, u32)>,
    /// Messages for the program.
    pub messages: Deliver,
}

pub struct Worker {
    id: WorkerId,
    memory: SharedMemory,
    page: Page,
    control: Rc<ControlChannel>,
    fd_pressure: Rc<FdPressure>,
    connections: ConnectionChannel,
    shares: ListenerShares,
    /// The runtime accepts by itself.
    follows_sockets: Cell<bool>,
    /// Of a runtime that accepts by itself.
    runtime_connections: RuntimeConnections,
    /// The group of the connections that are next in the channel, which its runtime is called to accept, and how many
    /// iterations of the loop ago.
    offered: Cell<Option<(GroupId, u32)>>,
    requests: Requests,
    admission: Admission,
    moves: Moves,
    limits: ConnectionLimits,
    fd_batch: FdBatch,
    datagrams: Datagrams,
    messages: Rc<MessageEndpoint>,
    cache: SharedCache,
    fleet: Fleet,
    lifecycle: Lifecycle,
    checks: Checks,
    commands: Commands,
    events: Events,
    diagnostics: Diagnostics,
    reports: Reports,
    /// None: not measured.
    loop_lag: Option<LoopLag>,
    streams: Option<Streams>,
    heartbeat: RefCell<Option<Prepare>>,
    /// JavaScript was notified that the primary has ended.
    has_told_end: Cell<bool>,
    on_connections: Box<dyn Fn(u32, u32)>,
    on_notice: Box<dyn Fn(Notice, u32)>,
}

impl Worker {
    /// Starts the worker on the runtime's loop. The handles do not keep the loop alive.
    pub fn start(attachment: Attachment, uv: Loop, calls: Calls) -> io::Result<Rc<Self>> {
        let Attachment { control, connections, program, keys, streams, memory, hello, tickets: _ } =
            attachment;
        let (id, page) = (hello.worker, memory.page(hello.worker));
        let (control, fd_pressure) = (Rc::new(control), Rc::new(FdPressure::new()));
        let tally = hello
            .measured
            .then(|| Box::new(MessageTally::new(MetricStore::of_worker(&memory, id))) as Box<dyn Tally>);
        let (program_keys, service_keys) = keys.map(|keys| (keys.program, (keys.cache, keys.fleet))).unzip();
        let (cache_keys, fleet_keys) = service_keys.unzip();
        let most = max_frame(hello.messages.most);
        let opening = Opening { limits: hello.messages, program, keys: program_keys };
        let worker = Rc::new(Self {
            messages: MessageEndpoint::start(uv, control.clone(), opening, tally, calls.messages)?,
            cache: SharedCache::new(uv, control.clone(), cache_keys),
            fleet: Fleet::new(uv, control.clone(), fleet_keys, most),
            connections: ConnectionChannel::new(connections, fd_pressure.clone()),
            shares: ListenerShares::new(uv, control.clone(), fd_pressure.clone()),
            follows_sockets: Cell::new(false),
            runtime_connections: RuntimeConnections::default(),
            offered: Cell::default(),
            requests: Requests::new(page.clone(), hello.measured),
            admission: Admission::new(page.clone()),
            moves: Moves::new(hello.handoff),
            limits: ConnectionLimits::default(),
            fd_batch: FdBatch::new()?,
            datagrams: Datagrams::new(control.clone()),
            lifecycle: Lifecycle::new(control.clone(), hello.ready),
            checks: Checks::new(control.clone()),
            commands: Commands::new(control.clone()),
            events: Events::new(control.clone(), memory.clone()),
            diagnostics: Diagnostics::new(control.clone()),
            reports: Reports::new(control.clone()),
            loop_lag: hello.measured.then(|| LoopLag::start(uv)).transpose()?,
            heartbeat: RefCell::default(),
            has_told_end: Cell::new(false),
            on_connections: calls.connections,
            on_notice: calls.notice,
            id,
            memory,
            page,
            control,
            fd_pressure,
            streams,
        });
        worker.watch(uv)?;
        if hello.measured {
            let page = worker.page.clone();
            collections::count(move || Some(page.clone()));
        }
        Ok(worker)
    }

    fn watch(self: &Rc<Self>, uv: Loop) -> io::Result<()> {
        self.control.watch(uv, self.on(Self::attend))?;
        self.connections.watch(uv, self.on(Self::attend_connections))?;
        *self.heartbeat.borrow_mut() = Some(Prepare::start(uv, self.on(Self::count_heartbeat))?);
        Ok(())
    }

    /// A callback for a handle on the loop, active as long as the worker exists.
    fn on(self: &Rc<Self>, act: impl Fn(&Self) + 'static) -> impl Fn() + 'static {
        let worker: Weak<Self> = Rc::downgrade(self);
        move || {
            if let Some(worker) = worker.upgrade() {
                act(&worker);
            }
        }
    }

    /// Closes the handles on the loop; called before the Node.js environment is disposed.
    pub fn detach(&self) {
        socket_calls::uninstall();
        self.shares.clear();
        self.cache.close();
        self.fleet.close();
        self.unwatch();
        self.messages.close();
        self.diagnostics.untrace();
    }

    fn unwatch(&self) {
        self.control.unwatch();
        self.connections.unwatch();
        self.heartbeat.borrow_mut().take();
    }

    // The parts that JavaScript uses directly.

    pub fn id(&self) -> WorkerId {
        self.id
    }

    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    pub fn shares(&self) -> &ListenerShares {
        &self.shares
    }

    pub fn connections(&self) -> &ConnectionChannel {
        &self.connections
    }

    pub fn datagrams(&self) -> &Datagrams {
        &self.datagrams
    }

    pub fn messages(&self) -> &MessageEndpoint {
        &self.messages
    }

    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    pub fn cache(&self) -> &SharedCache {
        &self.cache
    }

    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    pub fn checks(&self) -> &Checks {
        &self.checks
    }

    pub fn commands(&self) -> &Commands {
        &self.commands
    }

    pub fn events(&self) -> &Events {
        &self.events
    }

    pub fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }

    pub fn reports(&self) -> &Reports {
        &self.reports
    }

    /// The buffer of `Calls::connections`.
    pub fn buffer(&self) -> Arc<Mapping> {
        self.fd_batch.buffer()
    }

    /// The cells in which JavaScript counts.
    pub fn cells(&self) -> &Cells {
        self.page.cells()
    }

    // Messages of the primary.

    /// The control channel is readable or writable.
    fn attend(&self) {
        self.control.flush();
        self.read_notices();
    }

    pub fn has_notices(&self) -> bool {
        self.control.has_unread()
    }

    /// Passes notices of the primary to JavaScript. Reentrant: a notice's handler may call it again.
    pub fn read_notices(&self) {
        self.control.receive();
        while let Some(incoming) = self.control.next() {
            self.carry(incoming);
        }
        let is_gone = self.control.is_gone();
        if is_gone && !self.has_told_end.replace(true) {
            if self.follows_sockets.get() {
                // The runtime still accepts them.
                self.take_all_pushed();
            }
            self.shares.clear();
            self.streams.iter().for_each(Streams::fall_back);
            self.notify(Notice::Gone, 0);
        }
        self.messages.receive();
        if is_gone {
            self.messages.end();
            // No more messages will arrive.
            self.unwatch();
        }
    }

    fn notify(&self, notice: Notice, number: u32) {
        (self.on_notice)(notice, number);
    }

    fn carry(&self, (message, descriptor): Incoming) {
        let number = |ms: u64| u32::try_from(ms).unwrap_or(u32::MAX);
        match message {
            ToWorker::Promoted => self.shares.promote(),
            ToWorker::CloseServer { group } => self.notify(Notice::CloseServer, group),
            ToWorker::Unready => self.notify(Notice::Unready, 0),
            ToWorker::Late { after_ms } => self.notify(Notice::Late, number(after_ms)),
            ToWorker::Drain(drain) => {
                self.lifecycle.keep(drain);
                self.notify(Notice::Drain, 0);
            }
            ToWorker::TimeUp => self.notify(Notice::TimeUp, 0),
            ToWorker::ShutdownNotice { grace_ms } => {
                orphan::set_grace(Duration::from_millis(u64::from(number(grace_ms))));
                self.streams.iter().for_each(Streams::fall_back);
                self.notify(Notice::ShutdownNotice, number(grace_ms));
            }
            ToWorker::CommandResult { id, outcome } => {
                self.commands.keep(id, outcome);
                self.notify(Notice::CommandResult, id);
            }
            ToWorker::Check { number, protocol } => {
                self.checks.keep(Check { number, probe: protocol.zip(descriptor) });
                self.notify(Notice::Check, number);
            }
            ToWorker::Diagnose(asked) => {
                let id = asked.id;
                self.diagnostics.keep(asked);
                self.notify(Notice::Diagnose, id);
            }
            ToWorker::Memory { id, task } => {
                self.diagnostics.keep_task(id, task);
                self.notify(Notice::Memory, id);
            }
            ToWorker::Admission { settings } => {
                self.admission.keep(settings);
                self.notify(Notice::Admission, 0);
            }
            ToWorker::Lead { leads } => self.notify(Notice::Lead, u32::from(leads)),
            ToWorker::Event { event } => {
                self.events.keep(event);
                self.notify(Notice::Event, 0);
            }
            // Already answered, and late replies.
            ToWorker::Ping
            | ToWorker::Hello(_)
            | ToWorker::Listening { .. }
            | ToWorker::ListenFailed { .. }
            | ToWorker::Closed { .. }
            | ToWorker::Bound { .. }
            | ToWorker::Unbound
            | ToWorker::Joined { .. }
            | ToWorker::Parted { .. }
            | ToWorker::Opened { .. } => {}
        }
    }

    /// An iteration of the loop has ended.
    fn count_heartbeat(&self) {
        self.page.add(page::HEARTBEAT, 1);
        if let Some(loop_lag) = &self.loop_lag {
            loop_lag.turned(&self.page);
        }
        self.page.set(page::CLOCK, 0);
        self.admission.turned();
        self.ask_for_connections();
        self.requests.turned();
        self.messages.flush();
        self.renew_offer();
        if self.runtime_connections.take_changed() {
            self.move_idle();
        }
        self.end_silent();
        if self.runtime_connections.take_ended() {
            self.renew_limits();
        }
        self.count_bytes();
        if self.fd_pressure.is_high() {
            self.check_fd_pressure();
        }
    }

    // Admission.

    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Whether the request that is about to be handled on this connection is refused.
    pub fn verdict(&self, fd: RawFd) -> Verdict {
        if !self.admission.is_late(fd) {
            return Verdict::Admitted;
        }
        let is_overload = self.memory.get(header::OVERLOAD) != 0;
        if !is_overload && self.admission.should_tell() {
            // Without new connections it would not look. If the channel is full, it has been told.
            let _ = self.connections.tell();
        }
        let others_have_time = if is_overload {
            let spare = self.memory.get(header::SPARE);
            spare != 0 && spare != u64::from(self.id.slot) + 1
        } else {
            self.admission.is_alone()
        };
        if others_have_time { Verdict::Moved } else { Verdict::Refused }
    }

    fn ask_for_connections(&self) {
        let overload = self.memory.get(header::OVERLOAD);
        // If the channel is full, the next iteration repeats it.
        if self.admission.asks(overload) && self.connections.ask().is_ok() {
            self.admission.has_asked(overload);
        }
    }

    // Connections.

    /// The group's server takes connections from now on.
    pub fn serve(self: &Rc<Self>, group: GroupId, plain_http: bool) -> io::Result<()> {
        self.shares.serve(group, plain_http, self.on(move |worker| worker.accept(group)))?;
        self.lifecycle.serves()
    }

    /// For a runtime that accepts by itself: from now on its sockets come from virtual listeners. `now`: JavaScript's clock,
    /// milliseconds.
    ///
    /// # Errors
    /// The runtime makes its calls in another way.
    pub fn follow_sockets(self: &Rc<Self>, now: f64) -> io::Result<()> {
        self.requests.set_clock(now);
        socket_calls::install(Rc::new(RuntimeSockets(Rc::downgrade(self))))?;
        self.follows_sockets.set(true);
        Ok(())
    }

    /// The next socket that the runtime binds is the virtual listener of the group's server. `address`: the listener whose address it
    /// sees.
    ///
    /// # Errors
    /// EMFILE if connections would not fit beside it.
    pub fn bind_next(&self, group: GroupId, address: &OwnedFd) -> io::Result<()> {
        socket_calls::bind_next(group, self.shares.make_virtual_listener(group, address)?);
        Ok(())
    }

    /// The next socket that the runtime binds is a virtual listener with one connection, which it should accept: a test of the runtime.
    pub fn bind_trial(&self) -> io::Result<()> {
        socket_calls::bind_next(TRIAL, self.shares.make_trial_virtual_listener()?);
        let (connection, peer) = UnixStream::pair()?;
        drop(peer);
        self.probe(TRIAL, connection.into());
        Ok(())
    }

    /// A connection for the runtime at the group's virtual listener.
    fn accept_at_virtual_listener(&self, group: GroupId) -> Option<OwnedFd> {
        self.page.add(page::HEARTBEAT, 1);
        match self.shares.accept_at_virtual_listener(group, || self.take_offered()) {
            AtVirtualListener::Pushed(Pushed { connection, keep_alive, per_request, is_probe }) => {
                let ends =
                    keep_alive.map(|kept| Instant::now() + Duration::from_millis(kept.remaining_ms.into()));
                let served = keep_alive.map_or(0, |kept| kept.served);
                let opened = Opened { group, served, ends, per_request, is_probe, ..Opened::default() };
                Some(self.opened_at_virtual_listener(connection, opened))
            }
            AtVirtualListener::Accepted(connection) => {
                self.page.add(page::ACCEPTED, 1);
                if self.fd_pressure.is_near(connection.as_raw_fd()) {
                    self.enter_fd_pressure();
                }
                Some(self.opened_at_virtual_listener(connection, Opened { group, ..Opened::default() }))
            }
            AtVirtualListener::NoDescriptor => {
                self.enter_fd_pressure();
                None
            }
            AtVirtualListener::Nothing => None,
        }
    }

    fn opened_at_virtual_listener(&self, connection: OwnedFd, opened: Opened) -> OwnedFd {
        let moves = self.shares.is_plain_http(opened.group);
        self.runtime_connections.opened(connection.as_raw_fd(), Opened { moves, ..opened });
        connection
    }

    pub fn runtime_connections(&self) -> &RuntimeConnections {
        &self.runtime_connections
    }

    /// The group's connections of the runtime move to other workers as they become idle: `most` of them. `quiet_ms`: how
    /// long each may stay idle there.
    pub fn move_connections(&self, group: GroupId, most: usize, quiet_ms: u32) {
        self.moves.begin(group, most, quiet_ms);
        self.move_idle();
    }

    /// Moves connections of the runtime that have become idle. Called between two iterations of the loop: the runtime is in
    /// the middle of nothing.
    fn move_idle(&self) {
        for (group, idle) in self.runtime_connections.take_returning() {
            let quiet_ms = self.runtime_connections.idle_timeout(group).unwrap_or(UNLIMITED_MS);
            self.move_one(group, idle, quiet_ms);
        }
        self.moves.each(|group, most, quiet_ms| {
            let idle = self.runtime_connections.idle(group, most);
            idle.into_iter().take_while(|one| self.move_one(group, *one, quiet_ms)).count()
        });
    }

    fn move_one(&self, group: GroupId, Idle { fd, served, poll }: Idle, quiet_ms: u32) -> bool {
        let keep_alive = (served > 0).then_some(IdleKeepAlive { remaining_ms: quiet_ms, served });
        let Ok(ending) = Ending::new() else { return false };
        if self.connections.hand_off(group, fd, keep_alive).is_err() {
            return false;
        }
        // It cannot fail for a connection that the runtime polls; the connection has moved in any case.
        let _ = ending.take_place(fd, poll);
        self.runtime_connections.closed(fd, &self.requests);
        self.count_closed();
        true
    }

    /// Ends connections that have moved here and have been silent for as long as they may.
    fn end_silent(&self) {
        for Idle { fd, poll, .. } in self.runtime_connections.expired_now() {
            if Ending::new().and_then(|ending| ending.take_place(fd, poll)).is_ok() {
                self.runtime_connections.closed(fd, &self.requests);
                self.count_closed();
            }
        }
    }

    /// Adds what the runtime's connections have received and sent.
    fn count_bytes(&self) {
        let (received, sent) = self.runtime_connections.take_bytes();
        if received + sent > 0 {
            self.page.cells().raise(page::RECEIVED, received as f64);
            self.page.cells().raise(page::SENT, sent as f64);
        }
    }

    /// The runtime has closed a connection. Its bytes are counted before its end.
    fn count_closed(&self) {
        self.count_bytes();
        self.page.cells().raise(page::CLOSED, 1.0);
    }

    /// The runtime gets a connection of the primary's health check at the group's virtual listener. Without one it ends.
    pub fn probe(&self, group: GroupId, connection: OwnedFd) {
        let pushed = Pushed { connection, keep_alive: None, per_request: false, is_probe: true };
        self.shares.with_virtual_listener(group, |virtual_listener| virtual_listener.push(vec![pushed]));
    }

    /// Reports how many more connections the group's server takes (None: any number).
    pub fn limit_connections(&self, group: GroupId, remaining: Option<u32>) -> io::Result<()> {
        self.shares.limit(group, remaining.is_some());
        let upto = remaining.map(|remaining| self.connections.received(group) + u64::from(remaining));
        self.control.send(&ToPrimary::ConnectionLimit { group, upto })
    }

    /// As [`Self::limit_connections`], for a runtime that accepts by itself: the group's server has at most so many connections at a
    /// time (None: any number), and those that end are followed.
    pub fn limit_runtime_connections(&self, group: GroupId, most: Option<u32>) -> io::Result<()> {
        self.shares.limit(group, most.is_some());
        let upto = most.map(|most| self.limits.set(group, most, self.standing(group)));
        if upto.is_none() {
            self.limits.remove(group);
        }
        self.control.send(&ToPrimary::ConnectionLimit { group, upto })
    }

    /// Connections of the runtime have ended: full servers have room again.
    fn renew_limits(&self) {
        self.limits.renew(
            |group| self.standing(group),
            // If the primary has ended, it sends nothing anyway.
            |group, upto| drop(self.control.send(&ToPrimary::ConnectionLimit { group, upto: Some(upto) })),
        );
    }

    fn standing(&self, group: GroupId) -> Standing {
        let open = self.runtime_connections.count(group) + self.shares.count_waiting(group);
        Standing { open, received: self.connections.received(group) }
    }

    /// No more connections of this group, acknowledged by the primary before this returns. Returns whether other workers serve there.
    pub fn close(&self, group: GroupId) -> io::Result<bool> {
        self.collect_at_virtual_listener(group);
        let virtual_listener = self.shares.close(group);
        if self.offered.get().is_some_and(|(offered, _)| offered == group) {
            self.end_offer();
        }
        self.connections.forget(group);
        self.limits.remove(group);
        if self.control.is_gone() {
            virtual_listener
                .into_iter()
                .for_each(|virtual_listener| self.shares.keep_virtual_listener(group, virtual_listener));
            return Ok(false);
        }
        let (answer, _) = self.control.ask(&ToPrimary::Close { group })?;
        let others = matches!(answer, ToWorker::Closed { others: true, .. });
        match virtual_listener {
            Some(virtual_listener) if others => self.give_back(group, &virtual_listener),
            Some(virtual_listener) => self.shares.keep_virtual_listener(group, virtual_listener),
            None => {}
        }
        if !others {
            // Connections that arrived before the end of the address.
            self.take_all_pushed();
            self.connections.forget(group);
            self.shares.forget_empty_virtual_listener(group);
        }
        Ok(others)
    }

    /// Takes the connections in the listeners' queues and in the connection channel, once. Later ones are for the
    /// primary.
    pub fn take_what_waits(&self) {
        self.shares.accepting().into_iter().for_each(|group| self.accept(group));
        self.take_all_pushed();
    }

    /// Accepts what waits at the slot's own listener, for a runtime that accepts by itself.
    fn collect_at_virtual_listener(&self, group: GroupId) {
        let collected = self.shares.collect_at_virtual_listener(group);
        self.page.add(page::ACCEPTED, collected as u64);
    }

    fn accept(&self, group: GroupId) {
        self.collect_at_virtual_listener(group);
        let accepted = self.shares.accept(group, BATCH);
        self.page.add(page::HEARTBEAT, 1);
        self.page.add(page::ACCEPTED, accepted.connections.len() as u64);
        if accepted.is_near_limit {
            self.enter_fd_pressure();
        }
        self.hand_over(FdHeader::of(group), accepted.connections);
    }

    /// The connection channel is readable.
    fn attend_connections(&self) {
        if !self.follows_sockets.get() {
            return self.take_pushed();
        }
        // The program's code may run before the runtime accepts, and may block the loop: until then the primary can give
        // the connections to other workers.
        for _ in 0..MAX_MESSAGES {
            if self.offer_next() {
                return self.connections.stop();
            }
            let Some(message) = self.connections.receive() else { return };
            self.take(message);
        }
    }

    /// Calls the runtime if connections for one of its virtual listeners are next in the channel.
    fn offer_next(&self) -> bool {
        let next = self.connections.next_group().filter(|group| self.shares.offer(*group, true));
        let before = self.offered.replace(next.map(|group| (group, 0)));
        if let Some((before, _)) = before.filter(|(before, _)| next != Some(*before)) {
            self.shares.offer(before, false);
        }
        next.is_some()
    }

    fn end_offer(&self) {
        if let Some((group, _)) = self.offered.take() {
            self.shares.offer(group, false);
            self.connections.resume();
        }
    }

    /// The runtime accepts: it gets the connections that are next in the channel, unless the primary has taken them back.
    fn take_offered(&self) {
        if self.connections.next_group().is_some() {
            self.receive_offered();
        }
        if !self.offer_next() {
            self.connections.resume();
        }
    }

    /// Receives the next message; returns whether there was one. The runtime may be in the middle of something, so
    /// JavaScript is not called.
    fn receive_offered(&self) -> bool {
        let Some(message) = self.connections.receive() else { return false };
        // A request comes here only if the primary has just taken back what was next; it repeats the request.
        if message.header.asked == 0 {
            self.take(message);
        }
        true
    }

    /// Called once per iteration of the loop. A runtime that does not accept at one virtual listener must not keep the
    /// connections of others waiting.
    fn renew_offer(&self) {
        match self.offered.get() {
            Some((group, ago)) if ago < MAX_OFFERED => self.offered.set(Some((group, ago + 1))),
            Some(_) => {
                while self.offer_next() && self.receive_offered() {}
                self.connections.resume();
            }
            None => {}
        }
    }

    fn take_pushed(&self) {
        self.page.add(page::HEARTBEAT, 1);
        for _ in 0..MAX_MESSAGES {
            let Some(message) = self.connections.receive() else { return };
            self.take(message);
        }
    }

    fn take(&self, FdMessage { header, fds, lost }: FdMessage) {
        if lost > 0 {
            self.page.add(page::LOST, lost as u64);
            let text = "Connections were lost: a worker had no file descriptor for them. Raise the limit of open \
                        files (ulimit -n).";
            // If the primary has ended, nothing is logged.
            let _ = self.reports.hint(text.to_owned(), true);
        }
        self.page.add(page::PUSHED, (fds.len() + lost) as u64);
        self.admission.ask_anew();
        for fd in &fds {
            if self.fd_pressure.is_near(fd.as_raw_fd()) {
                self.enter_fd_pressure();
            }
        }
        if header.asked > 0 {
            self.notify(Notice::HandoffRequested, header.asked);
        }
        self.hand_over(header, fds);
    }

    /// Takes everything in the channel, as far as file descriptors are left.
    fn take_all_pushed(&self) {
        // The primary may keep sending: connections of other groups can wait for the loop.
        for _ in 0..MAX_TURNS {
            if !self.connections.has_waiting() {
                return;
            }
            self.take_pushed();
        }
    }

    fn hand_over(&self, header: FdHeader, batch: Vec<OwnedFd>) {
        self.admission.got(&batch);
        let mut batch = Some(batch);
        self.shares.with_virtual_listener(header.group, |virtual_listener| {
            let FdHeader { keep_alive, per_request, .. } = header;
            let pushed = batch.take().unwrap_or_default().into_iter();
            virtual_listener.push(
                pushed
                    .map(|connection| Pushed { connection, keep_alive, per_request, is_probe: false })
                    .collect(),
            );
        });
        if let Some(batch) = batch.filter(|batch| !batch.is_empty()) {
            let count = self.fd_batch.put(batch, header);
            (self.on_connections)(header.group, count);
        }
    }

    /// The group's server closes: connections that the runtime has not taken from its virtual listener go to other workers.
    fn give_back(&self, group: GroupId, virtual_listener: &VirtualListener) {
        for Pushed { connection, keep_alive, is_probe, .. } in virtual_listener.take_all_pushed() {
            if is_probe {
                continue;
            }
            // Without a primary, or if it does not read, the connection ends here.
            let _ = self.connections.hand_off(group, connection.as_raw_fd(), keep_alive);
            self.count_closed();
        }
    }

    fn enter_fd_pressure(&self) {
        if self.fd_pressure.set_high(true) {
            self.shares.pause();
            // Without a primary there is nobody to be excluded by.
            let _ = self.control.send(&ToPrimary::FdPressure);
        }
    }

    /// Called once per iteration of the loop while few file descriptors are left.
    fn check_fd_pressure(&self) {
        if self.fd_pressure.has_recovered() && self.fd_pressure.set_high(false) {
            self.shares.resume();
            self.connections.resume();
            // Without a primary there is nobody to be excluded by.
            let _ = self.control.send(&ToPrimary::FdRelief);
        } else if self.connections.can_receive() {
            self.connections.resume();
        }
    }
}

/// The sockets of the runtime, as this worker decides.
struct RuntimeSockets(Weak<Worker>);

impl RuntimeSockets {
    fn with(&self, act: impl FnOnce(&Worker)) {
        if let Some(worker) = self.0.upgrade() {
            act(&worker);
        }
    }
}

impl Sockets for RuntimeSockets {
    fn accept(&self, virtual_listener: u32) -> Option<OwnedFd> {
        self.0.upgrade()?.accept_at_virtual_listener(virtual_listener)
    }

    fn address_of(&self, virtual_listener: u32) -> Option<SocketName> {
        self.0.upgrade()?.shares.with_virtual_listener(virtual_listener, VirtualListener::address)
    }

    fn keeps(&self, path: &CStr) -> bool {
        self.0.upgrade().is_some_and(|worker| worker.shares.is_path_of_group(path.to_bytes()))
    }

    fn received(&self, fd: RawFd, bytes: &[u8]) {
        self.with(|worker| {
            worker.runtime_connections.received(fd, bytes, &worker.requests);
        });
    }

    fn sent(&self, fd: RawFd, bytes: &[u8]) {
        self.with(|worker| worker.runtime_connections.sent(fd, bytes, &worker.requests));
    }

    fn polled(&self, fd: RawFd, poll: PollEntry) {
        self.with(|worker| worker.runtime_connections.polled(fd, poll));
    }

    fn closed(&self, fd: RawFd) {
        self.with(|worker| {
            if worker.runtime_connections.closed(fd, &worker.requests) {
                worker.count_closed();
            }
        });
    }
}
