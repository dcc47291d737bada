//! The control messages between the primary and workers, as data. PURE. They are sent as JSON in frames of kind Control.
//! They are rare (a handful in a worker's life), so readability matters more than size.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::config::sections::process::Ready;
use crate::event::head;
use crate::model::{Command, WorkerId};

/// Maximum length of a stack sent by a worker, in bytes.
pub const MAX_STACK: usize = 16 * 1024;
/// Maximum bytes of texts whose length depends on the program: the message of an error, the failure of a check, and the
/// metrics of a check in JSON.
pub const MAX_MESSAGE_TEXT: usize = 16 * 1024;
pub const MAX_FAILURE: usize = 300;
pub const MAX_METRICS: usize = 900;

/// Number of a listener group; unique in the lifetime of a primary.
pub type GroupId = u32;

/// The address of a server, as determined by Node's `listen` (names are already resolved).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// `host` None: `::` if the machine has IPv6, else `0.0.0.0`. `nth` numbers the servers of a worker on port 0: the
    /// k-th servers of all workers share a port.
    Tcp { host: Option<String>, port: u16, ipv6_only: bool, nth: u32 },
    /// A path, or a name in the abstract namespace, with a leading NUL.
    Unix { path: String },
    /// A descriptor of the primary.
    Descriptor { fd: i32 },
}

/// Number of a shared datagram socket; unique in the lifetime of a primary.
pub type SocketId = u32;

/// The address of a shared datagram socket, as determined by Node's `bind`. The k-th sockets of all workers at an address
/// are shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datagram {
    pub host: String,
    pub port: u16,
    pub ipv6: bool,
    pub ipv6_only: bool,
    /// Other programs that also set this option may bind the same address.
    pub reuse: bool,
    #[serde(default)]
    pub nth: u32,
}

impl Address {
    /// The host for an error message.
    pub fn host(&self) -> Option<String> {
        match self {
            Self::Tcp { host, .. } => host.clone(),
            Self::Unix { path } => Some(path.clone()),
            Self::Descriptor { .. } => None,
        }
    }
}

/// The options of `listen` besides the address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenOptions {
    pub backlog: u32,
    /// Permission bits to add to the file of a unix socket.
    pub mode: u32,
    /// How many times this worker has listened at the address before.
    pub before: u32,
    /// How long its last server there was open, milliseconds; None if there was none, or it is still open.
    pub lived_ms: Option<u32>,
    /// Fail unless the address is already open.
    #[serde(skip)]
    pub joins_only: bool,
}

impl From<u32> for ListenOptions {
    fn from(backlog: u32) -> Self {
        Self { backlog, ..Self::default() }
    }
}

/// An error of user code, for another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerError {
    pub name: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// The runtime's origin: 'uncaughtException' or 'unhandledRejection'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl WorkerError {
    /// Truncates the texts to their maximum lengths.
    pub fn bounded(mut self) -> Self {
        self.message = head(&self.message, MAX_MESSAGE_TEXT).to_owned();
        self.stack = self.stack.map(|stack| head(&stack, MAX_STACK).to_owned());
        self
    }
}

/// The protocol of a worker's HTTP server, regardless of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Http1,
    Http2,
}

/// A slow request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlowRequest {
    pub method: String,
    /// Without the query, which may contain secrets.
    pub path: String,
    /// 0: the connection ended before the response.
    pub status: u16,
    pub ms: u64,
    pub request_id: Option<String>,
    /// Number of slow requests that were not reported since the last report.
    pub suppressed: u64,
}

/// The first message to a worker, already in its channel when it starts: its identity and settings. It may contain
/// secrets, so it is not passed in the environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub worker: WorkerId,
    pub primary_pid: u32,
    pub title: String,
    pub ready: Ready,
    /// Add `X-Worker-ID` and `X-Worker-PID` to every response.
    pub worker_headers: bool,
    /// The cookie of sticky sessions; None without cookie affinity.
    pub affinity: Option<AffinityCookie>,
    /// Idle connections may be handed off to other workers.
    pub handoff: bool,
    /// Adaptive admission; None: off.
    pub admission: Option<Admission>,
    /// Requests are sticky: otherwise a hint is logged if Socket.IO's polling is served.
    pub sticky: bool,
    /// Count more than dispatch needs: `monitoring.enabled`.
    pub measured: bool,
    /// The worker gets health checks: `healthCheck.enabled`.
    pub checked: bool,
    /// Hung workers are detected: the worker must report its stack on a signal.
    pub traced: bool,
    /// The standard streams are pipes to the primary; their other ends and the primary's own streams are inherited too.
    pub captured: bool,
    /// The mark before the report of an uncaught error on standard error, which makes it one record of the log; empty if
    /// the streams are not captured.
    pub report_mark: String,
    /// Milliseconds from which on a request is slow; 0: never.
    pub slow_ms: u64,
    /// Every request has an id, which lines written during the request contain.
    pub request_ids: bool,
    /// The keys follow, and everything after them is sealed.
    pub sealed: bool,
    pub messages: Messages,
    /// The configuration as returned by `getConfig()`.
    pub config: serde_json::Value,
}

/// Adaptive admission in a worker: what it refuses, and with which response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Milliseconds.
    pub target_delay: u64,
    /// Paths that are never refused.
    pub exempt: Vec<String>,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// The settings in `ipc` for a program's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// Default timeout of requests in milliseconds.
    pub timeout_ms: u64,
    /// Maximum bytes of a body.
    pub most: usize,
    /// Maximum pending requests to one peer.
    pub max_pending: usize,
    /// Encode messages as the runtime's structured clone instead of JSON.
    pub advanced: bool,
}

/// A diagnosis of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Diagnosis {
    HeapSnapshot,
    CpuProfile { ms: u64 },
}

/// A task that concerns the worker's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum MemoryTask {
    /// Collect garbage.
    Collect,
    /// Begin to sample allocations, unless more than so many percent of the heap's limit are used: the sampling itself
    /// takes memory.
    Sample { max_percent: u32 },
    /// Stop sampling. With a file the profile is written there, which must not exist.
    StopSampling { file: Option<String> },
}

/// What a task about memory has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum MemoryFound {
    /// The heap's bytes in use, with external memory.
    Collected {
        before: u64,
        after: u64,
        duration_ms: f64,
    },
    Sampling,
    /// The functions whose allocations since the begin of the sampling hold most, the largest first, and the length of
    /// the file.
    Sites {
        sites: Vec<AllocationSite>,
        bytes: u64,
    },
}

/// A function, and what it has allocated that is still in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocationSite {
    /// Empty for an anonymous function.
    pub function: String,
    /// A path, or another name of the script.
    pub file: String,
    /// Where the function begins, counted from 1.
    pub line: u32,
    pub column: u32,
    pub bytes: u64,
}

/// A request for a diagnosis in a new file.
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
    /// The rest of the Set-Cookie header after the value, beginning with `;`.
    pub attributes: String,
    /// Key of the signature, base64.
    pub key: String,
}

/// A signal that stops the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopSignal {
    #[serde(rename = "SIGTERM")]
    Term,
    #[serde(rename = "SIGINT")]
    Int,
}

/// The parameters of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Time until SIGKILL.
    pub deadline_ms: u64,
    /// Idle connections may be handed off to other workers.
    pub handoff: bool,
    /// The signal whose handlers in the program must run; None: the drain was not caused by a signal.
    pub signal: Option<StopSignal>,
}

/// What a worker may have a channel to, besides the primary's loop and program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// The shared cache.
    Cache,
    /// The fleet.
    Fleet,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToWorker {
    Hello(Box<Hello>),
    /// The response to `Listen`, with the listener's descriptor. `own`: the worker accepts on it. Otherwise all
    /// connections arrive through the connection channel.
    Listening {
        group: GroupId,
        host: Option<String>,
        port: u16,
        own: bool,
    },
    /// The response to `Listen` or `Bind` if the system call failed. `errno` is positive.
    ListenFailed {
        errno: i32,
        host: Option<String>,
    },
    /// The response to `Close`: the slot gets no more connections of this group. `others`: other workers serve there.
    Closed {
        group: GroupId,
        others: bool,
    },
    /// The response to `Bind`, with the socket's descriptor.
    Bound {
        socket: SocketId,
    },
    /// The response to `Unbind`: the primary has closed the socket if no other worker uses it.
    Unbound,
    /// The response to `Join`. `first`: the worker is the first member of the multicast group.
    Joined {
        first: bool,
    },
    /// The response to `Part`. `last`: the worker was the last member of the multicast group; `Left` must follow.
    Parted {
        last: bool,
    },
    /// The response to Open, with the descriptor of the channel, unless there is a `refusal`.
    Opened {
        refusal: Option<String>,
    },
    /// The worker is its slot's active worker and accepts from now on. Before that its servers get no connections.
    Promoted,
    /// The primary's program closed the server of this group: the worker must close its server too.
    CloseServer {
        group: GroupId,
    },
    /// The result of `Command`: `{ ok }`, or `{ error: { code, message, details } }`.
    CommandResult {
        id: u32,
        outcome: serde_json::Value,
    },
    /// A stop is announced: the worker still serves, but its readiness probe fails.
    Unready,
    /// The worker is not ready this long after its start.
    Late {
        after_ms: u64,
    },
    /// Finish pending work, then exit.
    Drain(Drain),
    /// The deadline of the drain has passed: SIGTERM is sent now, SIGKILL `killTimeout` later.
    TimeUp,
    /// The primary exits normally: drain and exit within this time.
    ShutdownNotice {
        grace_ms: u64,
    },
    /// Checks that the event loop runs. The response is Pong.
    Ping,
    /// A health check. The response is Checked with the same number. With a protocol, the message has the descriptor of a
    /// connection, on which a request in that protocol is made to the worker's first HTTP server.
    Check {
        number: u32,
        protocol: Option<Protocol>,
    },
    /// This worker becomes the leader, or must resign; then the response is Resigned.
    Lead {
        leads: bool,
    },
    /// Requests a diagnosis. The response is Diagnosed with the same id.
    Diagnose(Diagnose),
    /// A task that concerns its memory. The response is MemoryDone with the same id.
    Memory {
        id: u32,
        task: MemoryTask,
    },
    /// Settings of adaptive admission from now on, instead of those of the hello.
    Admission {
        settings: Option<Admission>,
    },
    /// An event of the cluster, as the primary's program gets it, for a worker whose program listens to events.
    Event {
        event: serde_json::Value,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToPrimary {
    /// Requests a share of an address. The response is Listening or ListenFailed.
    Listen { address: Address, options: ListenOptions },
    /// The server of the group takes connections. `plain_http`: drover itself may answer a connection with a plain
    /// HTTP/1.1 response.
    Serving { group: GroupId, plain_http: bool },
    /// The server limits its connections. `upto`: the total number of connections of the group that may be sent through
    /// the connection channel, counted from the worker's start. None: any number.
    ConnectionLimit { group: GroupId, upto: Option<u64> },
    /// The server closes and takes no more connections of the group. The response is Closed.
    Close { group: GroupId },
    /// Requests a shared datagram socket. The response is Bound or ListenFailed.
    Bind { datagram: Datagram },
    /// The datagram socket is closed in this worker. The response is Unbound.
    Unbind { socket: SocketId },
    /// The worker joins a multicast group on a shared socket. The response is Joined.
    Join { socket: SocketId, membership: String },
    /// The worker leaves the group. The response is Parted.
    Part { socket: SocketId, membership: String },
    /// The membership was dropped in the kernel.
    Left { socket: SocketId, membership: String },
    /// The program uses a service of the primary for the first time. The response is Opened; once in a worker's life for
    /// each, because the channel's keys are used once.
    Open { service: Service },
    /// Too few free descriptors to accept on the slot's own listener; pushed connections are still possible.
    FdPressure,
    /// Enough descriptors are free again.
    FdRelief,
    /// The worker is ready, as defined by `Hello::ready`.
    Ready,
    /// The worker drains at its program's request and takes no more work; it must be replaced. `signalled`: it had
    /// received a signal.
    Leaving { signalled: bool },
    /// The worker has resigned as leader.
    Resigned,
    /// Whether its program listens to the cluster's events.
    Follow { follows: bool },
    /// A command of the worker's program. The response is CommandResult with the same `id`.
    Command { id: u32, command: Command },
    /// The program's output to its standard streams before it was ready.
    Wrote { text: String },
    /// A request took longer than `Hello::slow_ms`.
    Slow(SlowRequest),
    /// A hint for the operator, logged once per cluster. `warns`: as a warning.
    Hint { text: String, warns: bool },
    /// The worker exits although its event loop is not empty. `left`: the resources reported by the runtime, counted by
    /// kind. `waited_ms`: how long they were the only thing left; None: the deadline has passed.
    Lingered { left: BTreeMap<String, u32>, waited_ms: Option<u64> },
    /// An uncaught error, which ends the process. `reported`: the runtime's report of it is in the log.
    Failed { error: WorkerError, reported: bool },
    /// An unhandled rejection; a listener of the program keeps the process running. `suppressed`: how many were not
    /// reported since the last report.
    Rejected { error: WorkerError, suppressed: u64 },
    /// The response to Ping: the event loop runs.
    Pong,
    /// The protocol of the first HTTP server; None if there is no server.
    Speaks { protocol: Option<Protocol> },
    /// The response to Check: the event loop runs and the program's own check is done. `failure`: why it failed.
    /// `metrics`: the program's.
    Checked { number: u32, failure: Option<String>, metrics: Option<serde_json::Value> },
    /// Whether this worker can report its stack on a signal. `lacks`: why not.
    Traceable { lacks: Option<String> },
    /// A debugger may stop this worker from now on.
    Inspected,
    /// The response to Memory: what was found, or the `failure`.
    MemoryDone { id: u32, found: Option<MemoryFound>, failure: Option<String> },
    /// The response to Diagnose: the length of the file, or the `failure`.
    Diagnosed { id: u32, bytes: u64, failure: Option<String> },
    /// The JavaScript stack at the signal: only the frames, at most MAX_STACK bytes. None: it could not be determined.
    Stack { text: Option<String> },
}

/// Encodes a message as JSON.
pub fn encode<M: Serialize>(message: &M) -> Vec<u8> {
    // Serialising these types cannot fail: all keys are strings, and no foreign Serialize code runs.
    serde_json::to_vec(message).unwrap_or_default()
}

/// # Errors
/// A text that says what is wrong with the bytes.
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
