//! The cache's thread: reads the clients' channels, lets the writer perform their requests, and sends the answers. The
//! memory is created when a client opens the cache for the first time. The thread never waits for a client: answers that
//! a stopped client does not read are queued, and its requests are not read meanwhile.
//!
//! A client's first message is [`OPEN`]; the answers are control frames with one descriptor each, a [`Grant`] as JSON: of
//! each [`Part`]. Its later messages are [`super::request`]s, numbered from 1. When the cache has another size, the client
//! gets such frames again, of each part in [`Part::REMAPPED`], and sends `Mapped` when it looks at these alone.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::{Errno, ioctl_fionread};
use serde::{Deserialize, Serialize};

use super::layout::STATISTICS;
use super::request::notice;
use super::statistics::Board;
use super::store::{Limits, Millis};
use super::writer::{Notice, OUTSIDE, Outside, Reply, Resized, Writer};
use crate::ipc::channel::{READ, Receiver, Sender};
use crate::ipc::crypto::Pair;
use crate::ipc::frame::{Frame, Kind};
use crate::model::CacheStatistics;

/// A client's first message.
pub const OPEN: &[u8] = b"open";

/// Bytes of answers that wait for a client before its requests do.
const MAX_QUEUED: usize = 1 << 20;

/// Bytes that wait for a client before it is told no notices.
const MAX_NOTICES: usize = MAX_QUEUED / 2;

/// Ms until clients are told of a new memory, when there was no descriptor for it.
const REMAP_DELAY: Millis = 100;

/// Reads of one client before the others'.
const MAX_READS: usize = 4;

/// Token of the eventfd.
const WAKE: u64 = u64::MAX;

/// One of the memories that a client maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Cache,
    Hints,
    Counters,
    Figures,
}

impl Part {
    pub const ALL: [Part; 4] = [Part::Cache, Part::Hints, Part::Counters, Part::Figures];
    /// What is replaced when the cache gets another size.
    pub const REMAPPED: [Part; 3] = [Part::Cache, Part::Hints, Part::Counters];
}

/// What a client gets with a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub part: Part,
    pub bytes: usize,
    /// The number of the memory.
    pub memory: u32,
    /// The client's number, for `applied`.
    pub client: u32,
    /// Maximum bytes of a request.
    pub most: usize,
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub limits: Limits,
    /// The file that keeps the contents between two primaries.
    pub persist: Option<PathBuf>,
    /// A random number.
    pub seed: u32,
}

/// What the thread reports.
#[derive(Debug)]
pub enum Report {
    /// The memory could not be created: no client can use the cache.
    NoMemory(io::Error),
    /// The contents were written to their file: so many entries.
    Saved(usize),
    NotSaved(io::Error),
    Loaded(usize),
    /// The file exists and cannot be used.
    NotLoaded(io::Error),
    /// The cache has another size.
    Resized(Resized),
    /// It keeps the size that it has.
    NotResized(io::Error),
    /// A client violated the protocol and was disconnected.
    Broken {
        name: String,
        reason: String,
    },
    /// The thread has ended: its epoll failed.
    Failed(io::Error),
}

/// A new client.
pub struct Joining {
    /// For reports.
    pub name: String,
    pub socket: OwnedFd,
    pub keys: Option<Pair>,
}

enum Command {
    Join(Box<Joining>),
    /// The cache is to have so many bytes.
    Resize(usize),
    /// The contents are to be written; the sender is dropped when that is done.
    Save(#[allow(dead_code, reason = "it is dropped")] mpsc::Sender<()>),
    Invalidate(Outside),
    Stop,
}

/// The handle of the thread. Dropping it ends and joins the thread.
pub struct Service {
    board: Arc<OnceLock<Arc<Board>>>,
    commands: mpsc::Sender<Command>,
    wake: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts the thread. `report` is called on it and must not block.
    ///
    /// # Errors
    /// The kernel has no descriptors or no thread for it.
    pub fn start(settings: Settings, report: impl FnMut(Report) + Send + 'static) -> io::Result<Self> {
        let (commands, received) = channel();
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let theirs = wake.try_clone()?;
        epoll::add(&poller, &theirs, EventData::new_u64(WAKE), EventFlags::IN)?;
        let board = Arc::<OnceLock<Arc<Board>>>::default();
        let served = Served {
            most: settings.limits.max_request(),
            settings,
            board: board.clone(),
            writer: None,
            clients: HashMap::new(),
            unmapped: BTreeSet::new(),
            next: 0,
            poller,
            report: Box::new(report),
        };
        let builder = std::thread::Builder::new().name("drover-cache".into());
        let thread = builder.spawn(move || served.run(&received, &theirs))?;
        Ok(Self { board, commands, wake, thread: Some(thread) })
    }

    /// The figures of the namespaces; none before the first use.
    pub fn statistics(&self) -> Vec<CacheStatistics> {
        self.board.get().map(|board| board.read()).unwrap_or_default()
    }

    /// The other end of the socket belongs to a client from now on.
    pub fn join(&self, client: Joining) {
        self.send(Command::Join(Box::new(client)));
    }

    /// The cache is to have so many bytes; the report tells when it has.
    pub fn resize(&self, bytes: usize) {
        self.send(Command::Resize(bytes));
    }

    /// Writes the contents to their file, if there are some and it has one; returns when that is done. False: it takes
    /// longer than `timeout`, and goes on.
    pub fn save(&self, timeout: Duration) -> bool {
        let (done, is_done) = channel();
        self.send(Command::Save(done));
        // The sender is dropped in any case.
        !matches!(is_done.recv_timeout(timeout), Err(RecvTimeoutError::Timeout))
    }

    /// Invalidates, after what the clients have sent before.
    pub fn invalidate(&self, what: Outside) {
        self.send(Command::Invalidate(what));
    }

    fn send(&self, command: Command) {
        // A thread that has ended has reported why.
        if self.commands.send(command).is_ok() {
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by its hook.
            let _ = thread.join();
        }
    }
}

struct Client {
    name: String,
    socket: OwnedFd,
    sender: Sender,
    receiver: Receiver,
    is_open: bool,
    /// The number of its last request.
    number: u32,
    /// What epoll waits for.
    awaited: EventFlags,
    /// Notices that it was not told, since it does not read.
    dropped: u32,
}

struct Served {
    settings: Settings,
    /// Set with the writer.
    board: Arc<OnceLock<Arc<Board>>>,
    /// None: nobody has opened the cache.
    writer: Option<Writer>,
    clients: HashMap<u32, Client>,
    /// Maximum bytes of a request, for the largest size that the cache has had: clients may not know the present one.
    most: usize,
    /// Clients that must be told of a new memory.
    unmapped: BTreeSet<u32>,
    /// Where the search for a free number begins.
    next: u32,
    poller: OwnedFd,
    report: Box<dyn FnMut(Report) + Send>,
}

/// Why a client is disconnected.
enum End {
    Closed,
    Broken(io::Error),
}

impl Served {
    fn run(mut self, commands: &mpsc::Receiver<Command>, wake: &OwnedFd) {
        let mut events = Vec::with_capacity(64);
        let mut due: Option<Millis> = None;
        loop {
            let timeout = due.map(|due| Duration::from_millis(due.saturating_sub(now())));
            let timeout = timeout.map(|timeout| Timespec {
                tv_sec: timeout.as_secs() as i64,
                tv_nsec: i64::from(timeout.subsec_nanos()),
            });
            events.clear();
            match epoll::wait(&self.poller, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return (self.report)(Report::Failed(errno.into())),
            }
            for event in &events {
                match event.data.u64() {
                    WAKE => drop(rustix::io::read(wake, &mut [0u8; 8])),
                    client => self.attend(client as u32),
                }
            }
            loop {
                match commands.try_recv() {
                    Ok(Command::Join(joining)) => {
                        self.catch_up();
                        self.join(*joining);
                    }
                    Ok(Command::Resize(bytes)) => self.resize(bytes),
                    Ok(Command::Save(_done)) => {
                        self.catch_up();
                        self.save();
                    }
                    Ok(Command::Invalidate(what)) => {
                        self.catch_up();
                        if let Some(writer) = &mut self.writer {
                            writer.invalidate(what, now());
                        }
                    }
                    Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return,
                    Err(TryRecvError::Empty) => break,
                }
            }
            self.move_on();
            let retry = self.remap();
            due = self.writer.as_mut().and_then(|writer| writer.work(now()));
            due = due.into_iter().chain(retry).min();
            self.send_replies();
        }
    }

    fn resize(&mut self, bytes: usize) {
        self.settings.limits.bytes = bytes;
        self.most = self.most.max(self.settings.limits.max_request());
        self.clients.values_mut().for_each(|client| client.receiver.allow(self.most));
        if let Some(Err(error)) = self.writer.as_mut().map(|writer| writer.resize(bytes)) {
            (self.report)(Report::NotResized(error));
        }
    }

    fn move_on(&mut self) {
        let Some(resized) = self.writer.as_mut().and_then(Writer::move_on) else { return };
        let open = self.clients.iter().filter(|(_, client)| client.is_open);
        self.unmapped = open.map(|(number, _)| *number).collect();
        // They have it before they find nothing in the other one.
        let ended = self.grant_all();
        self.writer.iter_mut().for_each(Writer::empty_before);
        ended.into_iter().for_each(|(number, end)| self.leave(number, end));
        (self.report)(Report::Resized(resized));
    }

    /// Tells clients of a new memory that could not be told; returns when to go on.
    fn remap(&mut self) -> Option<Millis> {
        for (number, end) in self.grant_all() {
            self.leave(number, end);
        }
        (!self.unmapped.is_empty()).then(|| now() + REMAP_DELAY)
    }

    /// Tells clients of the new memory, as far as there are descriptors; returns those whose channels have ended.
    fn grant_all(&mut self) -> Vec<(u32, End)> {
        let mut ended = Vec::new();
        while let Some(number) = self.unmapped.pop_first() {
            match self.grant(number, &Part::REMAPPED) {
                Ok(()) => {}
                // This process is at its limit of open files. Until it is told, the client finds nothing.
                Err(End::Broken(error)) if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {
                    self.unmapped.insert(number);
                    break;
                }
                Err(end) => ended.push((number, end)),
            }
        }
        ended
    }

    fn save(&mut self) {
        let (Some(writer), Some(path)) = (&self.writer, &self.settings.persist) else { return };
        match writer.save(path, now()) {
            Ok(entries) => (self.report)(Report::Saved(entries)),
            Err(error) => (self.report)(Report::NotSaved(error)),
        }
    }

    fn join(&mut self, Joining { name, socket, keys }: Joining) {
        let free = (0..OUTSIDE).map(|step| (self.next + step) % OUTSIDE);
        let Some(number) = free.into_iter().find(|number| !self.clients.contains_key(number)) else {
            let reason = format!("{OUTSIDE} clients use the cache");
            return (self.report)(Report::Broken { name, reason });
        };
        self.next = number + 1;
        let (mut sender, mut receiver) = (Sender::default(), Receiver::default());
        receiver.allow(self.most);
        let sealed = keys.map_or(Ok(()), |keys| {
            sender.seal_with(&keys.to_worker).and_then(|()| receiver.open_with(&keys.to_primary))
        });
        let added = sealed.and_then(|()| {
            epoll::add(&self.poller, &socket, EventData::new_u64(u64::from(number)), EventFlags::IN)
                .map_err(Into::into)
        });
        match added {
            Ok(()) => {
                let awaited = EventFlags::IN;
                let client =
                    Client { name, socket, sender, receiver, is_open: false, number: 0, awaited, dropped: 0 };
                self.clients.insert(number, client);
            }
            Err(error) => (self.report)(Report::Broken { name, reason: error.to_string() }),
        }
    }

    fn attend(&mut self, number: u32) {
        for _ in 0..MAX_READS {
            match self.read(number) {
                Ok(READ..) => {}
                Ok(_) => return,
                Err(end) => return self.leave(number, end),
            }
        }
    }

    /// Performs everything that was sent before now: a worker that replaces another one must not overtake it.
    fn catch_up(&mut self) {
        let numbers: Vec<u32> = self.clients.keys().copied().collect();
        for number in numbers {
            let waiting =
                self.clients.get(&number).and_then(|client| ioctl_fionread(&client.socket).ok()).unwrap_or(0);
            let mut left = waiting as usize;
            while left > 0 {
                match self.read(number) {
                    Ok(0) => break,
                    Ok(bytes) => left = left.saturating_sub(bytes),
                    Err(end) => {
                        self.leave(number, end);
                        break;
                    }
                }
            }
        }
    }

    /// Reads what the client has sent, once, and performs it. Returns the number of bytes; 0: nothing more now.
    fn read(&mut self, number: u32) -> Result<usize, End> {
        let Some(client) = self.clients.get_mut(&number) else { return Ok(0) };
        client.flush(&self.poller, number)?;
        if client.sender.queued() > MAX_QUEUED {
            return Ok(0);
        }
        let bytes = match client.receiver.fill(client.socket.as_fd()) {
            Ok(0) => return Err(End::Closed),
            Ok(bytes) => bytes,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return Ok(0),
                io::ErrorKind::ConnectionReset => return Err(End::Closed),
                _ => return Err(End::Broken(error)),
            },
        };
        loop {
            let Some(client) = self.clients.get_mut(&number) else { return Ok(0) };
            let Some((frame, _)) = client.receiver.next_frame().map_err(End::Broken)? else { break };
            self.perform(number, &frame)?;
        }
        self.send_replies();
        Ok(bytes)
    }

    fn perform(&mut self, number: u32, frame: &Frame) -> Result<(), End> {
        let violation = |what: &str| End::Broken(io::Error::other(what.to_owned()));
        if frame.header.kind != Kind::Message {
            return Err(violation("it sends requests alone"));
        }
        let Some(client) = self.clients.get_mut(&number) else { return Ok(()) };
        if !client.is_open {
            return if frame.payload == OPEN {
                self.open(number)
            } else {
                Err(violation("it did not open the cache"))
            };
        }
        client.number = client.number.wrapping_add(1);
        if frame.header.id != client.number {
            return Err(violation("its requests are not numbered one after another"));
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let taken = writer.take(number, frame.header.id, &frame.payload, now());
        taken.map_err(|_| violation("what it sent is no request"))
    }

    fn open(&mut self, number: u32) -> Result<(), End> {
        let Settings { limits, seed, ref persist } = self.settings;
        if self.writer.is_none() {
            match Writer::new(limits, seed) {
                Ok(mut writer) => {
                    match persist.as_ref().map(|path| writer.load(path, now())) {
                        Some(Ok(Some(entries))) => (self.report)(Report::Loaded(entries)),
                        Some(Err(error)) => (self.report)(Report::NotLoaded(error)),
                        Some(Ok(None)) | None => {}
                    }
                    // It is set once: there is one writer.
                    let _ = self.board.set(writer.board().clone());
                    self.writer = Some(writer);
                }
                Err(error) => {
                    let again = io::Error::new(error.kind(), error.to_string());
                    (self.report)(Report::NoMemory(error));
                    return Err(End::Broken(again));
                }
            }
        }
        let (Some(writer), Some(client)) = (&mut self.writer, self.clients.get_mut(&number)) else {
            return Ok(());
        };
        writer.join(number);
        client.is_open = true;
        self.grant(number, &Part::ALL)
    }

    /// Sends the descriptors of these parts: of all, or of none.
    fn grant(&mut self, number: u32, parts: &[Part]) -> Result<(), End> {
        let (Some(writer), Some(client)) = (&self.writer, self.clients.get_mut(&number)) else {
            return Ok(());
        };
        let (memory, board) = (writer.memory(), writer.board());
        let of = |part: &Part| match part {
            Part::Cache => (&memory.descriptors.cache, memory.cache.size()),
            Part::Hints => (&memory.descriptors.hints, memory.hints.size()),
            Part::Counters => (&memory.descriptors.counters, memory.counters.size()),
            Part::Figures => (board.descriptor(), STATISTICS),
        };
        let granted = parts.iter().map(|part| {
            let (descriptor, bytes) = of(part);
            let (memory, most) = (writer.memory_number(), writer.max_request());
            let grant = Grant { part: *part, bytes, memory, client: number, most };
            Ok((serde_json::to_vec(&grant)?, descriptor.try_clone()?))
        });
        let granted: Vec<(Vec<u8>, OwnedFd)> = granted.collect::<io::Result<_>>().map_err(End::Broken)?;
        for (payload, descriptor) in granted {
            client.sender.push(Kind::Control, 0, payload, Some(descriptor)).map_err(End::Broken)?;
        }
        client.flush(&self.poller, number)
    }

    fn send_replies(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        let replies = writer.replies();
        let (notices, followers) = writer.notices();
        if replies.is_empty() && notices.is_empty() {
            return;
        }
        let mut written: Vec<u32> = Vec::new();
        for number in followers {
            if let Some(client) = self.clients.get_mut(number).filter(|_| !notices.is_empty()) {
                notices.iter().for_each(|notice| client.tell(notice));
                written.push(*number);
            }
        }
        for Reply { client: number, request, answer } in replies {
            if let Some(client) = self.clients.get_mut(&number) {
                client.sender.push_message(0, request, &[&answer.write()]);
                written.push(number);
            }
        }
        written.sort_unstable();
        written.dedup();
        for number in written {
            let flushed = self.clients.get_mut(&number).map(|client| client.flush(&self.poller, number));
            if let Some(Err(end)) = flushed {
                self.leave(number, end);
            }
        }
    }

    /// The client's channel has ended.
    fn leave(&mut self, number: u32, end: End) {
        let Some(client) = self.clients.remove(&number) else { return };
        self.unmapped.remove(&number);
        // Closing the last descriptor removes it from the set too.
        let _ = epoll::delete(&self.poller, &client.socket);
        if let End::Broken(error) = end {
            (self.report)(Report::Broken { name: client.name, reason: error.to_string() });
        }
        if let Some(writer) = self.writer.as_mut().filter(|_| client.is_open) {
            writer.leave(number, now());
            self.send_replies();
        }
    }
}

impl Client {
    /// Queues a notice, or counts it as dropped while too much waits for the client.
    fn tell(&mut self, notice: &Notice) {
        if self.sender.queued() > MAX_NOTICES {
            self.dropped += 1;
            return;
        }
        let mut push =
            |head: [u8; notice::HEADER], text: &[u8]| self.sender.push_message(0, 0, &[&head, text]);
        if self.dropped > 0 {
            push(notice::head(notice::DROPPED, false, std::mem::take(&mut self.dropped)), &[]);
        }
        match notice {
            Notice::Evicted { key, is_wide } => push(notice::head(notice::EVICTED, *is_wide, 1), key),
            Notice::Invalidated { pattern, is_wide, removed } => {
                push(notice::head(notice::INVALIDATED, *is_wide, *removed), pattern);
            }
            Notice::Untagged { tag, removed } => push(notice::head(notice::UNTAGGED, false, *removed), tag),
        }
    }

    /// Writes what the socket accepts. While answers wait it waits for room too; while too many wait, for that alone.
    fn flush(&mut self, poller: impl AsFd, number: u32) -> Result<(), End> {
        let waits = match self.sender.flush(self.socket.as_fd()) {
            Ok(()) => false,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => true,
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => return Err(End::Closed),
                _ => return Err(End::Broken(error)),
            },
        };
        let awaited = match (waits, self.sender.queued() > MAX_QUEUED) {
            (false, _) => EventFlags::IN,
            (true, false) => EventFlags::IN | EventFlags::OUT,
            (true, true) => EventFlags::OUT,
        };
        if awaited != self.awaited {
            self.awaited = awaited;
            let fd: BorrowedFd<'_> = self.socket.as_fd();
            let modified = epoll::modify(poller, fd, EventData::new_u64(u64::from(number)), awaited);
            modified.map_err(|errno| End::Broken(errno.into()))?;
        }
        Ok(())
    }
}

/// Ms since 1970.
fn now() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_millis() as u64)
}

#[cfg(test)]
mod tests;
