//! A process's channel to the writer, on its event loop: requests out, answers in. Requests are sent at the end of the
//! loop's iteration. The memory is read by JavaScript; only counters are changed here.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::counters::{Counter, NotCounted};
use super::layout::STATISTICS;
use super::request::{Answer, HEADER, Operation, Request, notice};
use super::service::{Grant, OPEN, Part};
use crate::ipc::channel::{Receiver, Sender};
use crate::ipc::control::decode;
use crate::ipc::frame::{Frame, Kind};
use crate::ipc::message_channel::{Ends, MessageChannel};
use crate::sys::byte_memory::ByteMapping;
use crate::sys::memory::Mapping;
use crate::sys::uv::{Loop, Prepare};

/// The writer's thread answers within microseconds; after this time it is stopped or broken.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of requests that wait for the writer; with more the program does.
const MAX_QUEUED: usize = 16 << 20;

/// Descriptors of memory that were granted.
type Grants = Vec<(Grant, OwnedFd)>;

fn of(part: Part, grants: &Grants) -> io::Result<&(Grant, OwnedFd)> {
    let found = grants.iter().find(|(grant, _)| grant.part == part);
    found.ok_or_else(|| io::Error::other("a memory of the cache is missing"))
}

/// The memory of the cache's entries in this process.
pub struct Mapped {
    pub cache: Arc<Mapping>,
    pub hints: Arc<Mapping>,
    counters: ByteMapping,
    /// The number of the memory.
    memory: u32,
    /// Maximum bytes of a request.
    most: usize,
}

impl Mapped {
    /// Maps what was granted.
    fn new(grants: &Grants) -> io::Result<Self> {
        let ((cache, cache_fd), (hints, hints_fd), (counters, counters_fd)) =
            (of(Part::Cache, grants)?, of(Part::Hints, grants)?, of(Part::Counters, grants)?);
        Ok(Self {
            cache: Arc::new(Mapping::read_only(cache_fd.as_fd(), cache.bytes / 8)?),
            hints: Arc::new(Mapping::new(hints_fd.as_fd(), hints.bytes / 8)?),
            counters: ByteMapping::new(counters_fd.as_fd(), counters.bytes)?,
            memory: cache.memory,
            most: cache.most,
        })
    }

    /// Lets the memory go, although JavaScript may have views of it: they have zeros from now on.
    fn vacate(&self) {
        for mapping in [&self.cache, &self.hints] {
            // Otherwise it is let go with the last view.
            let _ = mapping.vacate();
        }
    }
}

/// An open cache, before it is on an event loop.
pub struct Opened {
    mapped: Mapped,
    figures: ByteMapping,
    /// The client's number.
    number: u32,
    /// Of another memory, which the cache got meanwhile.
    more: Grants,
    socket: OwnedFd,
    sender: Sender,
    receiver: Receiver,
}

impl Opened {
    /// Opens the cache; blocks until the writer has answered.
    ///
    /// # Errors
    /// TimedOut, or the writer has no memory for it.
    pub fn new(socket: OwnedFd, keys: Option<&Ends<'_>>) -> io::Result<Self> {
        let (mut sender, mut receiver) = (Sender::default(), Receiver::default());
        if let Some(Ends { sends, receives }) = keys {
            sender.seal_with(sends)?;
            receiver.open_with(receives)?;
        }
        sender.push_message(0, 0, &[OPEN]);
        sender.flush(socket.as_fd())?;
        let until = Instant::now() + TIMEOUT;
        let mut grants = Vec::with_capacity(Part::ALL.len());
        while grants.len() < Part::ALL.len() {
            let left = until.saturating_duration_since(Instant::now());
            wait(&socket, left)?;
            match receiver.fill(socket.as_fd()) {
                Ok(0) => return Err(io::ErrorKind::ConnectionAborted.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            while let Some((frame, descriptor)) = receiver.next_frame()? {
                grants.push(granted(&frame, descriptor)?);
            }
        }
        let more = grants.split_off(Part::ALL.len());
        let (figures, descriptor) = of(Part::Figures, &grants)?;
        let (number, figures) = (figures.client, ByteMapping::new(descriptor.as_fd(), figures.bytes)?);
        Ok(Self { mapped: Mapped::new(&grants)?, figures, number, more, socket, sender, receiver })
    }
}

fn wait(socket: &OwnedFd, time: Duration) -> io::Result<()> {
    let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

fn granted(frame: &Frame, descriptor: Option<OwnedFd>) -> io::Result<(Grant, OwnedFd)> {
    let is_control = frame.header.kind == Kind::Control;
    let descriptor = descriptor.filter(|_| is_control).ok_or_else(|| io::Error::other("it is no grant"))?;
    Ok((decode(&frame.payload).map_err(io::Error::other)?, descriptor))
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    TooLarge,
    /// The channel has ended.
    Closed,
    /// The writer takes no requests.
    Stuck,
}

/// What a client reports.
pub enum Incoming<'a> {
    /// Numbers of requests and their answers.
    Answers(&'a [(u32, Answer)]),
    /// The cache has another memory; of what was read before nothing is valid.
    Remapped {
        mapped: &'a Mapped,
        /// JavaScript has asked for it, by `catch_up`.
        is_asked: bool,
    },
    /// What it follows (see [`notice`]): what happened, a count, and a text.
    Notice(u8, u32, &'a str),
    /// The channel has ended: the memory does not change any more. Why, if it is not the writer that has ended it.
    Closed(Option<&'a io::Error>),
}

pub struct Client {
    mapped: RefCell<Rc<Mapped>>,
    /// Another memory, which JavaScript does not know yet.
    next: RefCell<Option<Mapped>>,
    /// Of another memory, not all of them.
    grants: RefCell<Grants>,
    figures: ByteMapping,
    /// The client's number.
    pub id: u32,
    /// None: it has ended.
    channel: RefCell<Option<MessageChannel>>,
    turn: RefCell<Option<Prepare>>,
    /// The number of the last request.
    number: Cell<u32>,
    /// Read, not reported yet.
    answers: RefCell<Vec<(u32, Answer)>>,
    notices: RefCell<Vec<(u8, u32, String)>>,
    /// What broke the channel while JavaScript was running.
    broken: RefCell<Option<io::Error>>,
    report: Box<dyn Fn(Incoming<'_>)>,
}

impl Client {
    /// The handles do not keep the loop alive.
    ///
    /// # Errors
    /// The loop has no room for them.
    pub fn start(uv: Loop, opened: Opened, report: Box<dyn Fn(Incoming<'_>)>) -> io::Result<Rc<Self>> {
        let Opened { mapped, figures, number, more, socket, sender, receiver } = opened;
        let most = mapped.most;
        let client = Rc::new(Self {
            mapped: RefCell::new(Rc::new(mapped)),
            next: RefCell::default(),
            grants: RefCell::default(),
            figures,
            id: number,
            channel: RefCell::default(),
            turn: RefCell::default(),
            number: Cell::new(0),
            answers: RefCell::default(),
            notices: RefCell::default(),
            broken: RefCell::default(),
            report,
        });
        let on = |act: fn(&Self)| {
            let client = Rc::downgrade(&client);
            move || {
                if let Some(client) = client.upgrade() {
                    act(&client);
                }
            }
        };
        let mut receiver = receiver;
        receiver.allow(most);
        let channel = MessageChannel::adopt(uv, socket, sender, receiver, on(Self::attend))?;
        *client.channel.borrow_mut() = Some(channel);
        *client.turn.borrow_mut() = Some(Prepare::start(uv, on(Self::flush))?);
        more.into_iter().try_for_each(|grant| client.granted(grant))?;
        Ok(client)
    }

    /// The memory that JavaScript knows.
    pub fn mapped(&self) -> Rc<Mapped> {
        self.mapped.borrow().clone()
    }

    /// Closes the handles on the loop.
    pub fn close(&self) {
        self.channel.take();
        self.turn.take();
    }

    /// Sends a request, at the latest at the end of the loop's iteration; returns its number.
    ///
    /// # Errors
    /// Why it is not sent.
    pub fn post(&self, request: &Request<'_>) -> Result<u32, Unsent> {
        let head = request.head();
        let [key, tags, expected, value] = request.parts();
        if HEADER + key.len() + tags.len() + expected.len() + value.len() > self.mapped.borrow().most {
            return Err(Unsent::TooLarge);
        }
        let mut channel = self.channel.borrow_mut();
        let channel = channel.as_mut().ok_or(Unsent::Closed)?;
        if channel.queued() > MAX_QUEUED {
            self.make_room(channel).map_err(|_| Unsent::Stuck)?;
        }
        let number = self.number.get().wrapping_add(1);
        self.number.set(number);
        channel.queue(number, &[&head, key, tags, expected, value]);
        Ok(number)
    }

    /// Blocks until half of the queued requests are written. Reads meanwhile: the writer waits for a client that does not
    /// read its answers.
    fn make_room(&self, channel: &mut MessageChannel) -> io::Result<()> {
        let until = Instant::now() + TIMEOUT;
        while channel.queued() > MAX_QUEUED / 2 {
            channel.wait(until.saturating_duration_since(Instant::now()))?;
            if !self.read(channel)? {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            channel.flush()?;
        }
        Ok(())
    }

    fn read(&self, channel: &mut MessageChannel) -> io::Result<bool> {
        let mut answers = self.answers.borrow_mut();
        let mut notices = self.notices.borrow_mut();
        channel.read_each(|frame, descriptor| {
            if frame.header.kind == Kind::Control {
                return self.granted(granted(&frame, descriptor)?);
            }
            if let Some(notice) = Some(&frame).filter(|frame| frame.header.answers == 0) {
                let read = notice::read(&notice.payload);
                notices.push(read.ok_or_else(|| io::Error::other("it is no notice"))?);
                return Ok(());
            }
            let answer = Some(&frame).filter(|frame| frame.header.kind == Kind::Message);
            let answer = answer.and_then(|frame| Answer::read(&frame.payload));
            let answer = answer.ok_or_else(|| io::Error::other("it is no answer"))?;
            answers.push((frame.header.answers, answer));
            Ok(())
        })
    }

    /// A part of another memory. JavaScript is told when all are there: it may be in the middle of a look now.
    fn granted(&self, grant: (Grant, OwnedFd)) -> io::Result<()> {
        let mut grants = self.grants.borrow_mut();
        grants.push(grant);
        if grants.len() == Part::REMAPPED.len() {
            *self.next.borrow_mut() = Some(Mapped::new(&std::mem::take(&mut *grants))?);
        }
        Ok(())
    }

    /// Reads whether there is another memory; true: there is, and it is mapped. Whatever else is read is delivered later.
    pub fn catch_up(&self) -> bool {
        if let Some(channel) = self.channel.borrow_mut().as_mut() {
            // Each read ends with a descriptor.
            for _ in Part::REMAPPED {
                let known = self.grants.borrow().len();
                // An end is read again.
                if let Err(error) = self.read(channel) {
                    *self.broken.borrow_mut() = Some(error);
                    break;
                }
                if self.next.borrow().is_some() || self.grants.borrow().len() == known {
                    break;
                }
            }
        }
        self.remap(true)
    }

    fn remap(&self, is_asked: bool) -> bool {
        let Some(next) = self.next.take().map(Rc::new) else { return false };
        let before = self.mapped.replace(next.clone());
        (self.report)(Incoming::Remapped { mapped: &next, is_asked });
        before.vacate();
        let added = i64::from(next.memory);
        // A channel that has ended needs no answer.
        let _ = self.post(&Request { added, ..Request::of(Operation::Mapped) });
        true
    }

    /// Writes the queued requests.
    pub fn flush(&self) {
        let over =
            |channel: &mut MessageChannel| if channel.is_corked() { channel.turn_over() } else { Ok(()) };
        let flushed = match self.broken.take() {
            Some(error) => Err(error),
            None => self.channel.borrow_mut().as_mut().map_or(Ok(()), over),
        };
        match flushed {
            Ok(()) => self.deliver(),
            Err(error) => self.end(Some(&error)),
        }
    }

    fn attend(&self) {
        let read = match self.channel.borrow_mut().as_mut() {
            Some(channel) => channel.go_on().and_then(|()| self.read(channel)),
            None => return,
        };
        self.deliver();
        match read {
            Ok(true) => {}
            Ok(false) => self.end(None),
            Err(error) => self.end(Some(&error)),
        }
    }

    fn deliver(&self) {
        // Answers that came after it are of writes in the new memory.
        self.remap(false);
        let answers = self.answers.take();
        if !answers.is_empty() {
            (self.report)(Incoming::Answers(&answers));
        }
        for (what, count, text) in self.notices.take() {
            (self.report)(Incoming::Notice(what, count, &text));
        }
    }

    fn end(&self, why: Option<&io::Error>) {
        if self.channel.take().is_some() {
            // The writer has closed it while a request was written.
            let is_ended = |error: &&io::Error| {
                matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
            };
            (self.report)(Incoming::Closed(why.filter(|error| !is_ended(error))));
        }
    }

    /// Sets whether waiting for answers keeps the process alive.
    pub fn hold(&self, hold: bool) {
        self.channel.borrow().iter().for_each(|channel| channel.hold(hold));
    }

    /// Adds to a counter; returns the new count.
    ///
    /// # Errors
    /// The counter is gone, or the count would be out of range.
    pub fn add(&self, counter: Counter, by: i64) -> Result<i64, NotCounted> {
        counter.add(&self.mapped.borrow().counters, by)
    }

    /// The figure in a cell of the statistics (see [`super::statistics`]); None: there is no such cell.
    pub fn figure(&self, cell: usize) -> Option<&AtomicU64> {
        (cell < STATISTICS / 8).then(|| self.figures.cell(cell * 8))
    }

    /// The count; None: the counter is gone.
    pub fn count(&self, counter: Counter) -> Option<i64> {
        counter.load(&self.mapped.borrow().counters)
    }
}
