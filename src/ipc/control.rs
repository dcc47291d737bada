//! The control messages: what the primary and a worker agree on, as data. PURE. They travel as JSON in
//! frames of kind Control; they are few (a handful in a worker's life), so that being readable counts more
//! than being small.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::config::sections::process::Ready;
use crate::event::head;
use crate::model::{Command, WorkerId};

/// The longest stack that a worker sends, in bytes.
pub const MAX_STACK: usize = 16 * 1024;
/// What a program may say at any length crosses in so many bytes: the message of an error, why a check failed, and what
/// a check measured, in JSON.
pub const MAX_MESSAGE_TEXT: usize = 16 * 1024;
pub const MAX_FAILURE: usize = 300;
pub const MAX_METRICS: usize = 900;

/// Number of a listener group in one primary's life; never used twice.
pub type GroupId = u32;

/// Where a server wants to listen, as Node's `listen` has worked it out (names are resolved already).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// `host` None: `::` where the machine has IPv6, else `0.0.0.0`. `nth` tells the servers of one worker
    /// that asked for port 0 apart: the k-th of every worker share one port.
    Tcp { host: Option<String>, port: u16, ipv6_only: bool, nth: u32 },
    /// A path, or with a leading NUL a name in the abstract namespace.
    Unix { path: String },
    /// A descriptor of the primary's.
    Descriptor { fd: i32 },
}

/// Number of a shared datagram socket in one primary's life; never used twice.
pub type SocketId = u32;

/// Where a datagram socket that workers share is to be bound, as Node's `bind` has worked it out. The k-th socket
/// that a worker has at an address is shared with the k-th of every other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datagram {
    pub host: String,
    pub port: u16,
    pub ipv6: bool,
    pub ipv6_only: bool,
    /// Other programs that say so as well may bind the same address.
    pub reuse: bool,
    #[serde(default)]
    pub nth: u32,
}

impl Address {
    /// The host that an error is about.
    pub fn host(&self) -> Option<String> {
        match self {
            Self::Tcp { host, .. } => host.clone(),
            Self::Unix { path } => Some(path.clone()),
            Self::Descriptor { .. } => None,
        }
    }
}

/// How a program wants to listen, beside where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenOptions {
    pub backlog: u32,
    /// Permission bits that a unix socket's file gets besides those that it has.
    pub mode: u32,
    /// How often this worker has listened at the address before.
    pub before: u32,
    /// How long its last server there was open, milliseconds; None: there was none, or it is open still.
    pub lived_ms: Option<u32>,
    /// Only an address that is open already will do.
    #[serde(skip)]
    pub joins_only: bool,
}

impl From<u32> for ListenOptions {
    fn from(backlog: u32) -> Self {
        Self { backlog, ..Self::default() }
    }
}

/// An error of user code, as it crosses to another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerError {
    pub name: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// 'uncaughtException' or 'unhandledRejection', as the runtime says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl WorkerError {
    /// In as many bytes as may cross.
    pub fn bounded(mut self) -> Self {
        self.message = head(&self.message, MAX_MESSAGE_TEXT).to_owned();
        self.stack = self.stack.map(|stack| head(&stack, MAX_STACK).to_owned());
        self
    }
}

/// What a worker's HTTP server speaks, TLS aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Http1,
    Http2,
}

/// A request that took long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlowRequest {
    pub method: String,
    /// Without its query, which may hold secrets.
    pub path: String,
    /// 0: its connection ended first.
    pub status: u16,
    pub ms: u64,
    pub request_id: Option<String>,
    /// Slow requests since the last that was told, which were not.
    pub suppressed: u64,
}

/// The first message to a worker, in its channel before it runs: who it is and what it must know. It may
/// hold secrets, which is why it is not in the environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub worker: WorkerId,
    pub primary_pid: u32,
    pub title: String,
    pub ready: Ready,
    /// `X-Worker-ID` and `X-Worker-PID` on every response.
    pub worker_headers: bool,
    /// How cookies of sticky sessions are made; None without cookie affinity.
    pub affinity: Option<AffinityCookie>,
    /// Idle connections may be given to other workers.
    pub handoff: bool,
    /// A hint is due when Socket.IO's polling is served without stickiness.
    pub sticky: bool,
    /// More is counted than dispatch needs: `monitoring.enabled`.
    pub measured: bool,
    /// The worker is asked whether it is well: `healthCheck.enabled`.
    pub checked: bool,
    /// Hung workers are judged here: this one is to say what it was doing when it is asked by signal.
    pub traced: bool,
    /// The standard streams are pipes to the primary; their other ends and the primary's own streams are inherited.
    pub captured: bool,
    /// What begins the report of an uncaught error on standard error, so that it is one record of the log; empty: the
    /// streams are not captured.
    pub report_mark: String,
    /// A request that takes so many milliseconds is slow; 0: none is.
    pub slow_ms: u64,
    /// Every request has an id, and so have the lines that are written during it.
    pub request_ids: bool,
    /// Keys follow, and everything after them is sealed.
    pub sealed: bool,
    pub messages: Messages,
    /// The configuration as `getConfig()` shows it.
    pub config: serde_json::Value,
}

/// What `ipc` says of a program's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// How long an answer may take, unless its requester says otherwise; milliseconds.
    pub timeout_ms: u64,
    /// Bytes of a body.
    pub most: usize,
    /// Questions to one peer that may wait.
    pub max_pending: usize,
    /// Written as the runtime's structured clone, not as JSON.
    pub advanced: bool,
}

/// What is taken of a worker, to be looked at by somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Diagnosis {
    HeapSnapshot,
    CpuProfile { ms: u64 },
}

/// A diagnosis to be written into a new file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnose {
    pub id: u32,
    pub what: Diagnosis,
    pub file: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffinityCookie {
    pub name: String,
    /// The value that names this worker's slot, signed.
    pub value: String,
    /// Everything after the value in a Set-Cookie header, beginning with `;`.
    pub attributes: String,
    /// Key of the signature, base64.
    pub key: String,
}

/// A signal that asks the primary to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopSignal {
    #[serde(rename = "SIGTERM")]
    Term,
    #[serde(rename = "SIGINT")]
    Int,
}

/// How a worker is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// From now to SIGKILL.
    pub deadline_ms: u64,
    /// Others can have the connections.
    pub handoff: bool,
    /// The program's handlers of this signal are to run; None: no signal has asked for this.
    pub signal: Option<StopSignal>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToWorker {
    Hello(Box<Hello>),
    /// Answers `Listen`; the listener's descriptor travels with it. `own`: the worker
    /// accepts on it. Otherwise all connections come through the connection channel.
    Listening {
        group: GroupId,
        host: Option<String>,
        port: u16,
        own: bool,
    },
    /// Answers `Listen` and `Bind`: the system call failed. `errno` is the kernel's positive number.
    ListenFailed {
        errno: i32,
        host: Option<String>,
    },
    /// Answers `Close`: the slot gets no more connections of this group. `others`: other workers serve there.
    Closed {
        group: GroupId,
        others: bool,
    },
    /// Answers `Bind`; the socket's descriptor travels with it.
    Bound {
        socket: SocketId,
    },
    /// Answers `Unbind`: the primary has let go of the socket if nobody else has it.
    Unbound,
    /// Answers `Join`. `first`: nobody has joined the multicast group yet.
    Joined {
        first: bool,
    },
    /// Answers `Part`. `last`: no other worker wants to hear the multicast group; `Left` follows.
    Parted {
        last: bool,
    },
    /// The slot is this worker's: it accepts from now on. Before that its servers stand behind closed doors.
    Promoted,
    /// The primary's program closed the server of this group: the worker's is to close as well.
    CloseServer {
        group: GroupId,
    },
    /// What a program of this worker asked of the cluster is done: `{ ok }`, or `{ error: { code, message, details } }`.
    CommandResult {
        id: u32,
        outcome: serde_json::Value,
    },
    /// A stop is announced: everything still serves, and readiness says no.
    Unready,
    /// It was started so long ago and is not ready.
    Late {
        after_ms: u64,
    },
    /// Finish what is under way, then exit.
    Drain(Drain),
    /// The time to drain is over: SIGTERM comes with this, SIGKILL `killTimeout` later.
    TimeUp,
    /// The primary is about to end in order: drain and exit within so many milliseconds.
    ShutdownNotice {
        grace_ms: u64,
    },
    /// Does the event loop turn? Answered by Pong.
    Ping,
    /// Is the worker well? Answered by Checked with the same number. With a protocol, the descriptor of a connection
    /// travels along on which its first HTTP server is asked in that.
    Check {
        number: u32,
        protocol: Option<Protocol>,
    },
    /// This worker leads, or leads no more once it has answered with Resigned.
    Lead {
        leads: bool,
    },
    /// To be taken, and answered by Diagnosed with the same id.
    Diagnose(Diagnose),
    /// An event of the cluster, for a worker whose program listens: as the primary's program gets it.
    Event {
        event: serde_json::Value,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToPrimary {
    /// May this worker share a socket at that address? Answered by Listening or ListenFailed.
    Listen { address: Address, options: ListenOptions },
    /// The server behind the group's door takes connections. `plain_http` says that drover itself may answer
    /// a connection with a plain HTTP/1.1 response.
    Serving { group: GroupId, plain_http: bool },
    /// The server has a limit of connections of its own: through the connection channel it takes so many of that group
    /// in this worker's life, counted from its first. None: as many as come.
    ConnectionLimit { group: GroupId, upto: Option<u64> },
    /// The server closes: no more connections of that group, please. Answered by Closed.
    Close { group: GroupId },
    /// May this worker share a datagram socket at that address? Answered by Bound or ListenFailed.
    Bind { datagram: Datagram },
    /// The datagram socket is closed in this worker. Answered by Unbound.
    Unbind { socket: SocketId },
    /// The worker wants to hear a multicast group on a shared socket. Answered by Joined.
    Join { socket: SocketId, membership: String },
    /// It hears the group no more. Answered by Parted.
    Part { socket: SocketId, membership: String },
    /// The kernel knows.
    Left { socket: SocketId, membership: String },
    /// Too few descriptors are left to accept on the slot's own listener; pushed connections still fit.
    FdPressure,
    /// Descriptors are free again.
    FdRelief,
    /// Ready, in the sense that `Hello` asked for.
    Ready,
    /// The program asked this worker to drain and end; it takes nothing more. It is to be replaced. `signalled`:
    /// it had got a signal.
    Leaving { signalled: bool },
    /// It leads no more.
    Resigned,
    /// Its program listens to the cluster's events, or does no longer.
    Follow { follows: bool },
    /// The program asks the cluster to become something else; answered by
    /// CommandResult with the same `id`.
    Command { id: u32, command: Command },
    /// What the program wrote to its standard streams before it was ready.
    Wrote { text: String },
    /// A request took longer than `Hello::slow_ms`.
    Slow(SlowRequest),
    /// Something the operator should know; said once a cluster. `warns`: something is not as it should be.
    Hint { text: String, warns: bool },
    /// It is about to exit although its event loop is not empty: `left` is what the runtime says of it, the kind of each
    /// resource with its count. `waited_ms`: for so long nothing else was left to do; None: its time is up.
    Lingered { left: BTreeMap<String, u32>, waited_ms: Option<u64> },
    /// An uncaught error; the process is about to end. `reported`: the runtime's report of it is one record of the log.
    Failed { error: WorkerError, reported: bool },
    /// A rejection that nobody handled, but a listener of the program's for such; the process goes on. `suppressed`: so
    /// many since the last one were not told.
    Rejected { error: WorkerError, suppressed: u64 },
    /// The event loop turns.
    Pong,
    /// What the first HTTP server speaks from now on; None: there is none.
    Speaks { protocol: Option<Protocol> },
    /// The event loop turns and the program's own check is done; `failure`: it failed, and how. `metrics` as the
    /// program gave them.
    Checked { number: u32, failure: Option<String>, metrics: Option<serde_json::Value> },
    /// May this worker be asked for its stack by signal? `lacks`: no, and what it lacks.
    Traceable { lacks: Option<String> },
    /// A debugger may stop this worker from now on.
    Inspected,
    /// The diagnosis has so many bytes, or `failure` says why there is none.
    Diagnosed { id: u32, bytes: u64, failure: Option<String> },
    /// What JavaScript was doing when the signal came: the frames alone, at most MAX_STACK bytes. None: it
    /// could not be told.
    Stack { text: Option<String> },
}

/// JSON bytes of a message.
pub fn encode<M: Serialize>(message: &M) -> Vec<u8> {
    // Serialising these types cannot fail: string keys only, and no foreign Serialize code.
    serde_json::to_vec(message).unwrap_or_default()
}

/// # Errors
/// What is wrong with the bytes, in words.
pub fn decode<M: DeserializeOwned>(payload: &[u8]) -> Result<M, String> {
    serde_json::from_slice(payload).map_err(|error| format!("not a control message: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_wire() {
        let address = Address::Tcp { host: Some("::1".into()), port: 80, ipv6_only: true, nth: 0 };
        for message in [
            ToPrimary::Listen { address, options: ListenOptions { before: 1, ..511.into() } },
            ToPrimary::Serving { group: 3, plain_http: true },
            ToPrimary::Ready,
            ToPrimary::Traceable { lacks: None },
            ToPrimary::Stack { text: Some("    at report (/app/report.js:42:7)".into()) },
            ToPrimary::Failed {
                error: WorkerError {
                    name: "Error".into(),
                    message: "no".into(),
                    code: None,
                    stack: None,
                    origin: None,
                },
                reported: true,
            },
        ] {
            assert_eq!(decode::<ToPrimary>(&encode(&message)), Ok(message));
        }
    }

    #[test]
    fn nonsense_is_an_error_in_words() {
        assert!(decode::<ToPrimary>(b"{\"nonsense\":{}}").unwrap_err().contains("not a control message"));
    }
}
