//! Becoming a worker: the inherited descriptors, the orphan's watch, the hello; then the handles on the
//! runtime's loop.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::Calls;
use super::collections;
use super::control::{ControlChannel, Notice};
use super::datagrams::Numbers;
use super::fd_batch::FdBatch;
use super::fd_pressure::FdHeadroom;
use super::listener_share::ListenerShare;
use super::loop_lag::LoopLag;
use super::messages::MessageEndpoint;
use super::streams::Streams;
use crate::event::{MAX_OUTPUT, tail};
use crate::ipc::control::{GroupId, Hello, ToPrimary, ToWorker};
use crate::ipc::crypto::Pair;
use crate::ipc::fd_message::{self, FdHeader, IdleKeepAlive};
use crate::ipc::message::BESIDE;
use crate::ipc::ticket_keys;
use crate::metrics::layout::page;
use crate::metrics::memory::{Page, SharedMemory};
use crate::sys::memory::Mapping;
use crate::sys::spawn::FIRST_INHERITED;
use crate::sys::uv::{Loop, Poll, Prepare};
use crate::sys::{fds, orphan, stack, stack_trace};

/// Messages read from the connection channel in one go.
const MAX_MESSAGES: usize = 4;
/// And as often when all is taken: more than may be under way to a worker.
const MAX_TURNS: usize = 64;
/// What a worker has after its primary was killed: time for what is nearly done.
pub const GRACE_AFTER_DEATH: Duration = Duration::from_millis(1500);

/// What a worker inherits, before its loop is known.
pub struct Attachment {
    control: ControlChannel,
    connections: OwnedFd,
    /// The channel to the primary's program, and its keys if it is sealed.
    program: OwnedFd,
    keys: Option<Pair>,
    streams: Option<Streams>,
    /// The keys of TLS session tickets: [`crate::ipc::ticket_keys`].
    pub tickets: Arc<Mapping>,
    pub memory: SharedMemory,
    pub hello: Hello,
}

impl Attachment {
    /// Takes over descriptors 3 to 6 if `primary_pid` (from the environment) is really this process's
    /// parent; a grandchild that inherited the variable is no worker.
    ///
    /// # Errors
    /// The channel is not there or not as it should be.
    pub fn find(primary_pid: u32) -> io::Result<Option<Self>> {
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        if parent != Some(primary_pid) {
            return Ok(None);
        }
        let inherit = |index: i32| -> io::Result<OwnedFd> {
            let fd = fds::take(FIRST_INHERITED + index)?;
            rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
            Ok(fd)
        };
        let (control, connections, memfd, program) = (inherit(0)?, inherit(1)?, inherit(2)?, inherit(3)?);
        orphan::watch(GRACE_AFTER_DEATH)?;
        let control = ControlChannel::new(control);
        let (ToWorker::Hello(hello), Some(tickets)) = control.first()? else {
            return Err(io::Error::other("the first message is no hello"));
        };
        let tickets = Arc::new(Mapping::hidden(tickets.as_fd(), ticket_keys::CELLS, false)?);
        let keys = if hello.sealed { Some(control.keys()?.program) } else { None };
        let streams = Streams::inherit(hello.captured, inherit)?;
        control.greeted(hello.messages.most + BESIDE);
        let memory = SharedMemory::open(&memfd)?;
        Ok(Some(Self { control, connections, program, keys, streams, tickets, memory, hello: *hello }))
    }

    /// Puts the worker on the runtime's loop. The handles do not keep it alive.
    pub fn start(self, uv: Loop, calls: Calls) -> io::Result<Rc<Worker>> {
        let Attachment { control, connections, program, keys, streams, memory, hello, tickets: _ } = self;
        let page = memory.page(hello.worker);
        let fd_batch = FdBatch::new()?;
        let worker = Rc::new_cyclic(|worker| Worker {
            uv,
            post: MessageEndpoint::new(worker.clone()),
            control,
            page,
            memory,
            hello,
            calls,
            fd_batch,
            fd_headroom: FdHeadroom::new(),
            loop_lag: LoopLag::new(uv),
            connections,
            listeners: RefCell::default(),
            shares: RefCell::default(),
            limited: RefCell::default(),
            received: RefCell::default(),
            listener_shares: RefCell::default(),
            datagrams: RefCell::default(),
            promoted: Cell::new(false),
            is_ready: Cell::new(false),
            waits_to_write: Cell::new(false),
            handles: RefCell::default(),
            watch: RefCell::default(),
            streams,
        });
        worker.watch_loop()?;
        if worker.hello.measured {
            let page = worker.page.clone();
            collections::count(move || Some(page.clone()));
        }
        worker.open_messages(program, keys.as_ref())?;
        Ok(worker)
    }
}

/// The handles of an attached worker.
struct Handles {
    control: Poll,
    channel: Poll,
    _heartbeat: Prepare,
}

pub struct Worker {
    pub(super) uv: Loop,
    pub(super) post: MessageEndpoint,
    pub(super) control: ControlChannel,
    pub(super) page: Page,
    pub memory: SharedMemory,
    pub hello: Hello,
    pub(super) calls: Calls,
    fd_batch: FdBatch,
    pub(super) fd_headroom: FdHeadroom,
    loop_lag: LoopLag,
    connections: OwnedFd,
    /// Listeners that a server asked for and does not serve yet; None where the primary alone accepts.
    pub(super) listeners: RefCell<HashMap<GroupId, Option<OwnedFd>>>,
    /// The listeners that JavaScript has of each group, by what tells one socket from another.
    pub(super) shares: RefCell<HashMap<GroupId, u64>>,
    /// Groups whose server has a limit of connections.
    pub(super) limited: RefCell<HashSet<GroupId>>,
    /// Connections of each group that came through the connection channel, those that were lost there among them.
    pub(super) received: RefCell<HashMap<GroupId, u64>>,
    pub(super) listener_shares: RefCell<Vec<ListenerShare>>,
    /// Of the shared datagram sockets.
    pub(super) datagrams: RefCell<Numbers>,
    /// The slot is this worker's.
    pub(super) promoted: Cell<bool>,
    is_ready: Cell<bool>,
    /// The control channel waits for room.
    waits_to_write: Cell<bool>,
    handles: RefCell<Option<Handles>>,
    watch: RefCell<Option<stack::Watch>>,
    streams: Option<Streams>,
}

impl Worker {
    fn watch_loop(self: &Rc<Self>) -> io::Result<()> {
        let on = |act: fn(&Rc<Worker>)| {
            let worker: Weak<Worker> = Rc::downgrade(self);
            move || {
                if let Some(worker) = worker.upgrade() {
                    act(&worker);
                }
            }
        };
        let control = Poll::start(self.uv, self.control.to_poll()?, false, on(|worker| worker.attend()))?;
        let channel = self.connections.try_clone()?;
        let channel = Poll::start(self.uv, channel, false, on(|worker| worker.take_pushed()))?;
        let beat = Prepare::start(self.uv, on(|worker| worker.beat()))?;
        *self.handles.borrow_mut() = Some(Handles { control, channel, _heartbeat: beat });
        Ok(())
    }

    /// Lets go of the loop; called before the environment goes.
    pub fn detach(&self) {
        self.close_shares();
        self.handles.borrow_mut().take();
        self.close_messages();
        self.watch.borrow_mut().take();
    }

    /// From now on a signal of the primary's asks `take` for the stack of what runs. Tells the primary that this
    /// is so, or why not.
    pub fn trace(
        self: &Rc<Self>,
        take: impl Fn(&stack_trace::Interrupted<'_>) -> Option<String> + 'static,
    ) -> io::Result<()> {
        let worker: Weak<Worker> = Rc::downgrade(self);
        let armed = stack::Watch::arm(move |interrupted| {
            if let Some(worker) = worker.upgrade() {
                // A primary that is gone asks for nothing.
                let _ = worker.control.send(&ToPrimary::Stack { text: take(interrupted) });
            }
        });
        let lacks = armed.as_ref().err().map(ToString::to_string);
        *self.watch.borrow_mut() = armed.ok();
        self.control.send(&ToPrimary::Traceable { lacks }).map(|_| ())
    }

    /// A debugger may stop this process from now on.
    pub fn inspected(&self) -> io::Result<()> {
        self.control.send(&ToPrimary::Inspected).map(|_| ())
    }

    /// The buffer that `Calls::connections` is about.
    pub fn buffer(&self) -> Arc<Mapping> {
        self.fd_batch.buffer()
    }

    /// First cell of this worker's page in the shared memory.
    pub fn first_cell(&self) -> usize {
        self.page.first_cell()
    }

    fn beat(&self) {
        self.page.add(page::HEARTBEAT, 1);
        if self.hello.measured {
            self.loop_lag.turned(&self.page);
        }
        self.page.set(page::CLOCK, 0);
        self.flush_messages();
        if self.fd_headroom.has_fd_pressure() {
            self.check_fd_pressure();
        }
    }

    /// The control channel has something to read, or room.
    fn attend(&self) {
        self.flush_control();
        self.read_notices();
    }

    /// Sends what is queued for other workers, and goes on when there is room again.
    pub(super) fn flush_control(&self) {
        let waits = self.control.flush();
        if let Some(handles) = self.handles.borrow().as_ref()
            && self.waits_to_write.replace(waits) != waits
        {
            // A handle that is not closing takes any set of events.
            let _ = handles.control.want_write(waits);
        }
    }

    /// Tells JavaScript what the primary said.
    pub fn read_notices(&self) {
        for (notice, number) in self.control.inbox() {
            match notice {
                Notice::Gone => self.close_shares(),
                Notice::ShutdownNotice => orphan::set_grace(Duration::from_millis(u64::from(number))),
                Notice::Promoted => {
                    self.open_shares();
                    continue;
                }
                Notice::Drain
                | Notice::TimeUp
                | Notice::CommandResult
                | Notice::Unready
                | Notice::Late
                | Notice::Asked
                | Notice::Lead
                | Notice::Event
                | Notice::Check
                | Notice::Diagnose
                | Notice::CloseServer => {}
            }
            self.streams.iter().for_each(|streams| streams.heed(notice));
            (self.calls.notice)(notice, number);
        }
        self.take_messages();
        if self.control.is_gone() {
            self.nobody_answers();
            // Nothing more will come; a level-triggered poll of an ended channel would spin.
            self.handles.borrow_mut().take();
        }
    }

    pub fn has_notices(&self) -> bool {
        self.control.has_notices()
    }

    pub(super) fn take_pushed(&self) {
        self.page.add(page::HEARTBEAT, 1);
        for _ in 0..MAX_MESSAGES {
            if !self.can_take_pushed() {
                if let Some(handles) = self.handles.borrow().as_ref() {
                    handles.channel.stop();
                }
                return;
            }
            match fd_message::receive(self.connections.as_fd()) {
                Ok(Some(fd_message)) => {
                    if fd_message.lost > 0 {
                        self.page.add(page::LOST, fd_message.lost as u64);
                        let text = "Connections were lost: a worker had no file descriptor for them. Raise the \
                                    limit of open files (ulimit -n).";
                        // A primary that is gone logs nothing.
                        let _ = self.hint(text.to_owned(), true);
                    }
                    let count = (fd_message.fds.len() + fd_message.lost) as u64;
                    self.page.add(page::PUSHED, count);
                    *self.received.borrow_mut().entry(fd_message.header.group).or_default() += count;
                    fd_message.fds.iter().for_each(|fd| self.note_descriptor(fd.as_raw_fd()));
                    if fd_message.header.asked > 0 {
                        (self.calls.notice)(Notice::Asked, fd_message.header.asked);
                    }
                    self.hand_over(fd_message.header, fd_message.fds);
                }
                Err(Errno::INTR) => {}
                // The end is told on the control channel.
                Ok(None) => {
                    if let Some(handles) = self.handles.borrow().as_ref() {
                        handles.channel.stop();
                    }
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// Takes what lies in the channel now, all of it, as far as there are descriptors.
    pub(super) fn take_all_pushed(&self) {
        let waits = || matches!(fd_message::next_size(self.connections.as_fd()), Ok(Some(_)));
        // The primary may go on sending: what other groups bring can wait for the loop.
        for _ in 0..MAX_TURNS {
            if !waits() || !self.can_take_pushed() {
                return;
            }
            self.take_pushed();
        }
    }

    /// The kernel drops what does not fit: it is looked first.
    pub(super) fn can_take_pushed(&self) -> bool {
        self.fd_headroom.is_ample()
            || match fd_message::next_size(self.connections.as_fd()) {
                Ok(Some(count)) => self.fd_headroom.has_room_for(count),
                // Nothing there, or the end.
                Ok(None) | Err(_) => true,
            }
    }

    pub(super) fn resume_channel(&self) {
        if let Some(handles) = self.handles.borrow().as_ref() {
            let _ = handles.channel.resume();
        }
    }

    pub(super) fn hand_over(&self, header: FdHeader, batch: Vec<OwnedFd>) {
        if !batch.is_empty() {
            let count = self.fd_batch.put(batch, header);
            (self.calls.connections)(header.group, count);
        }
    }

    /// Gives a connection to another worker, through the primary: `keep_alive` is None when it has not asked yet. This
    /// process still has its own descriptor, which it must close without a word to the client.
    ///
    /// # Errors
    /// AGAIN when the primary has not read what was given before; nothing was sent.
    pub fn hand_off(&self, group: GroupId, fd: i32, keep_alive: Option<IdleKeepAlive>) -> io::Result<()> {
        let connection = fds::duplicate(fd)?;
        let header = FdHeader { keep_alive, ..FdHeader::of(group) };
        Ok(fd_message::send(self.connections.as_fd(), header, &[connection.as_fd()])?)
    }

    /// What the program wrote is for the error of a start that fails. True as long as anybody listens.
    pub fn wrote(&self, text: &str) -> bool {
        if self.is_ready.get() {
            return false;
        }
        let keep_alive = tail(text, MAX_OUTPUT).to_owned();
        // A primary that is gone logs nothing.
        let _ = self.control.send(&ToPrimary::Wrote { text: keep_alive });
        true
    }

    pub fn is_ready(&self) -> bool {
        self.is_ready.get()
    }

    pub fn ready(&self) -> io::Result<()> {
        self.is_ready.set(true);
        self.control.send(&ToPrimary::Ready).map(|_| ())
    }

    /// This worker is about to drain by itself.
    pub fn leaving(&self, signalled: bool) -> io::Result<()> {
        self.control.send(&ToPrimary::Leaving { signalled }).map(|_| ())
    }

    /// It leads no more.
    pub fn resigned(&self) -> io::Result<()> {
        self.control.send(&ToPrimary::Resigned).map(|_| ())
    }

    /// The program listens to the cluster's events, or does no longer.
    pub fn follow(&self, follows: bool) -> io::Result<()> {
        self.control.send(&ToPrimary::Follow { follows }).map(|_| ())
    }

    /// Something the operator should know; `warns`: something is not as it should be.
    pub fn hint(&self, text: String, warns: bool) -> io::Result<()> {
        self.control.send(&ToPrimary::Hint { text, warns }).map(|_| ())
    }
}
