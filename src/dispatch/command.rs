//! What the accept thread is told and what it tells, as data.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::component::Component;
use crate::event::{Event, Level, Subject};
use crate::ipc::control::{Address, Datagram, GroupId, ListenOptions, SocketId};
use crate::metrics::memory::Page;
use crate::model::WorkerId;

/// A listener for a worker, or only the news that the address is bound.
#[derive(Debug)]
pub struct Listening {
    pub group: GroupId,
    /// As the kernel has bound it; None for unix sockets.
    pub host: Option<String>,
    /// 0 for unix sockets.
    pub port: u16,
    /// The slot's listener, when a slot asked.
    pub listener: Option<OwnedFd>,
    /// It is the slot's own, to accept on. Otherwise it is a copy of the group's, and all connections come
    /// through the connection channel.
    pub own: bool,
}

/// The kernel refused; `host` is the address it refused.
#[derive(Debug)]
pub struct ListenFailure {
    pub errno: i32,
    pub syscall: &'static str,
    pub host: Option<String>,
    pub holder: Holder,
}

/// Who has an address that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Another program, or nobody: the kernel refused.
    Other,
    /// Another server of this cluster.
    Ours,
    /// As well, if that is still so in a moment; and if it is not, the address is none to take either.
    OursPerhaps,
}

impl ListenFailure {
    pub fn new(errno: i32, syscall: &'static str, host: Option<String>) -> Self {
        Self { errno, syscall, host, holder: Holder::Other }
    }
}

/// Commands about a worker that is not there any more are stale.
pub enum Command {
    /// Opens the address, or finds it open. `asker`: the worker; None for the primary itself.
    Listen {
        address: Address,
        options: ListenOptions,
        asker: Option<WorkerId>,
        reply: oneshot::Sender<Result<Listening, ListenFailure>>,
    },
    /// A new worker, which gets nothing before it is promoted: the primary's end of its connection channel, a duplicate of the worker's own end (to
    /// take back what it never read), and its numbers.
    Join { worker: WorkerId, channel: OwnedFd, far_end: OwnedFd, page: Page },
    /// The next worker of the slot is ready, if it serves what its predecessor does: that is reported.
    Succeed { worker: WorkerId },
    /// Every worker has started.
    Started,
    /// The worker gets its slot's connections from now on, and whoever had them finishes what it has.
    Promote { worker: WorkerId },
    /// The worker's server behind the group takes connections. `plain_http`: drover may answer itself.
    Serve { worker: WorkerId, group: GroupId, plain_http: bool },
    /// So many connections of this group may be pushed to the worker in its life; None: any number.
    ConnectionLimit { worker: WorkerId, group: GroupId, upto: Option<u64> },
    /// No more connections of this group for the worker; the answer says whether another serves there.
    Close { worker: WorkerId, group: GroupId, reply: oneshot::Sender<bool> },
    /// Opens the datagram socket, or finds it open; the worker has it from then on.
    Bind {
        datagram: Datagram,
        worker: WorkerId,
        reply: oneshot::Sender<Result<(SocketId, OwnedFd), ListenFailure>>,
    },
    /// The worker has closed the datagram socket.
    Unbind { socket: SocketId, worker: WorkerId, reply: oneshot::Sender<()> },
    /// The worker wants to hear a multicast group on the datagram socket. The answer says whether it is the first.
    Hear { socket: SocketId, membership: String, worker: WorkerId, reply: oneshot::Sender<bool> },
    /// It does no longer. The answer says whether nobody does.
    Part { socket: SocketId, membership: String, worker: WorkerId, reply: oneshot::Sender<bool> },
    /// The kernel knows.
    Left { socket: SocketId, membership: String, worker: WorkerId },
    /// The worker is short of descriptors (or no longer).
    FdPressure { worker: WorkerId, fd_pressure: bool },
    /// A debugger may stop the worker: it is not unresponsive then.
    Inspected { worker: WorkerId },
    /// New connections go to others while there are any, and so do the worker's idle ones (or no longer).
    Exclude { worker: WorkerId, exclude: bool },
    /// The worker is about to leave: nothing more for it.
    Drain { worker: WorkerId },
    /// The worker leaves by itself: nothing more for it, and another takes its place.
    Leave { worker: WorkerId },
    /// The worker is gone: take back what it had not taken, own its queues.
    Dead { worker: WorkerId },
    /// The primary's program closed this address: it ends when no worker serves it any more.
    /// `gone` is dropped when every worker has closed its server there.
    Release { group: GroupId, gone: oneshot::Sender<()> },
    /// The cluster stops: close every address. Workers keep what they have.
    /// `gone` is dropped when every address has closed.
    Retire { gone: oneshot::Sender<()> },
    /// No worker will come any more: refuse what waits, close everything, end the thread.
    Shutdown,
}

impl Command {
    /// Workers may serve other addresses than before, once it is carried out.
    pub fn moves_shares(&self) -> bool {
        matches!(
            self,
            Self::Started
                | Self::Serve { .. }
                | Self::Close { .. }
                | Self::Promote { .. }
                | Self::Leave { .. }
                | Self::Dead { .. }
        )
    }
}

/// What the accept thread tells the primary's loop.
#[derive(Debug)]
pub enum Report {
    /// For the log.
    Notice(Event),
    /// The first TCP group is open on this port.
    Port(u16),
    Unresponsive {
        slot: u16,
    },
    Recovered {
        slot: u16,
    },
    /// The slot's next worker does not serve these addresses, which its predecessor serves. None: it can take over.
    Succession {
        worker: WorkerId,
        lacks: Vec<String>,
    },
    /// Nobody serves this address any more.
    Lost {
        address: String,
    },
    /// Somebody serves it again.
    Regained {
        address: String,
        after: Duration,
    },
    /// The worker is as fast as it will be, or there is nothing to be fast for.
    WarmedUp {
        worker: WorkerId,
    },
}

impl Report {
    /// A line for the log.
    pub fn notice(level: Level, text: impl Into<String>) -> Self {
        Report::Notice(Event::about(Component::Dispatch, level, text))
    }

    /// A line for the log that has a name there.
    pub fn named(level: Level, text: impl Into<String>, subject: Subject) -> Self {
        Report::Notice(Event::about(Component::Dispatch, level, text).with(subject))
    }
}
