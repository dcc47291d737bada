//! Commands to the accept thread and its reports, as data.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::sync::oneshot;

use super::settings::Admission;
use crate::component::Component;
use crate::event::{Event, Level, Subject};
use crate::ipc::control::{Address, Datagram, GroupId, ListenOptions, SocketId};
use crate::metrics::memory::Page;
use crate::model::WorkerId;

/// The result of `Listen`: a listener for a worker, or only the bound address.
#[derive(Debug)]
pub struct Listening {
    pub group: GroupId,
    /// The bound address; None for unix sockets.
    pub host: Option<String>,
    /// 0 for unix sockets.
    pub port: u16,
    /// The slot's listener, if a slot requested it.
    pub listener: Option<OwnedFd>,
    /// The listener is the slot's own, to accept on. Otherwise it is a copy of the group's, and all connections arrive
    /// through the connection channel.
    pub own: bool,
}

/// The kernel's error; `host` is the address.
#[derive(Debug)]
pub struct ListenFailure {
    pub errno: i32,
    pub syscall: &'static str,
    pub host: Option<String>,
    pub holder: Holder,
}

/// The holder of an address that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Another program, or none: it is the kernel's error.
    Other,
    /// Another server of this cluster.
    Ours,
    /// Another server of this cluster, which may be about to close; then the address may be used.
    OursPerhaps,
}

impl ListenFailure {
    pub fn new(errno: i32, syscall: &'static str, host: Option<String>) -> Self {
        Self { errno, syscall, host, holder: Holder::Other }
    }
}

/// Commands about a worker that no longer exists are ignored.
pub enum Command {
    /// Opens the address, or finds it open. `requester`: the worker; None for the primary itself.
    Listen {
        address: Address,
        options: ListenOptions,
        requester: Option<WorkerId>,
        reply: oneshot::Sender<Result<Listening, ListenFailure>>,
    },
    /// Registers a new worker, which gets no connections before it is promoted: the primary's end of its connection
    /// channel, a duplicate of the worker's own end (for take-back), and its metric page.
    Join { worker: WorkerId, channel: OwnedFd, far_end: OwnedFd, page: Page },
    /// The next worker of the slot is ready, if it serves its predecessor's addresses: missing ones are reported.
    Succeed { worker: WorkerId },
    /// Every worker has started.
    Started,
    /// The worker gets its slot's connections from now on, and its predecessor drains.
    Promote { worker: WorkerId },
    /// The worker's server in the group takes connections. `plain_http`: drover may send HTTP responses there.
    Serve { worker: WorkerId, group: GroupId, plain_http: bool },
    /// Total number of connections of this group that may be pushed to the worker; None: any number.
    ConnectionLimit { worker: WorkerId, group: GroupId, upto: Option<u64> },
    /// No more connections of this group for the worker; the reply says whether another worker serves there.
    Close { worker: WorkerId, group: GroupId, reply: oneshot::Sender<bool> },
    /// Opens the datagram socket, or finds it open; the worker holds it from then on.
    Bind {
        datagram: Datagram,
        worker: WorkerId,
        reply: oneshot::Sender<Result<(SocketId, OwnedFd), ListenFailure>>,
    },
    /// The worker has closed the datagram socket.
    Unbind { socket: SocketId, worker: WorkerId, reply: oneshot::Sender<()> },
    /// The worker joins a multicast group on the datagram socket. The reply says whether it is the first.
    JoinMulticast { socket: SocketId, membership: String, worker: WorkerId, reply: oneshot::Sender<bool> },
    /// The worker leaves the group. The reply says whether it was the last.
    LeaveMulticast { socket: SocketId, membership: String, worker: WorkerId, reply: oneshot::Sender<bool> },
    /// The group was left in the kernel.
    MulticastLeft { socket: SocketId, membership: String, worker: WorkerId },
    /// The worker has fd pressure (or no longer).
    FdPressure { worker: WorkerId, fd_pressure: bool },
    /// A debugger may stop the worker: then it does not count as unresponsive.
    Inspected { worker: WorkerId },
    /// Excludes the worker: new connections and its idle ones go to others while there are any. Or includes it again.
    Exclude { worker: WorkerId, exclude: bool },
    /// `maxConnectionsPerWorker` has changed.
    LimitConnections { most: Option<u32> },
    /// `admission` has changed; None: off.
    SetAdmission { admission: Option<Admission> },
    /// The worker gets half as many new connections as the others, or as many as they again.
    Relieve { worker: WorkerId, relieved: bool },
    /// The worker drains: no more connections for it.
    Drain { worker: WorkerId },
    /// The worker drains on its own initiative: no more connections for it, and it is replaced.
    Leave { worker: WorkerId },
    /// The worker has ended: take back unread connections, and accept from its queues.
    Dead { worker: WorkerId },
    /// The primary's program closed this address: it closes when no worker serves it any more. `gone` is dropped when
    /// every worker has closed its server there.
    Release { group: GroupId, gone: oneshot::Sender<()> },
    /// The cluster stops: close every address. Workers keep their connections. `gone` is dropped when every address has
    /// closed.
    Retire { gone: oneshot::Sender<()> },
    /// No more workers will start: refuse waiting connections, close everything, end the thread.
    Shutdown,
}

impl Command {
    /// Whether the command may change which addresses workers serve.
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

/// A report of the accept thread to the primary's loop.
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
    /// No worker serves this address any more.
    Lost {
        address: String,
    },
    /// A worker serves it again.
    Regained {
        address: String,
        after: Duration,
    },
    /// The worker has warmed up, or there is no load.
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
