//! The worker's functions: one attachment per process, stored for its thread.

use std::cell::RefCell;
use std::os::fd::IntoRawFd;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use napi::bindgen_prelude::{Env, Function, Object, Unknown};
use napi_derive::napi;
use serde_json::{Value, json};

use super::config::parse;
use super::messages::{MessageHeader, NOBODY, deliver, post_function, request_all, targets, worker_id_of};
use super::outcome;
use super::raw::{Callback, TextReader, set_shared_buffer};
use crate::error::{Code, Error, Result};
use crate::ipc::control::MAX_STACK;
use crate::ipc::fd_message::IdleKeepAlive;
use crate::metrics::layout::PAGE_CELLS;
use crate::model::Command;
use crate::sys::fds;
use crate::sys::gc::Collection;
use crate::sys::socket_calls;
use crate::sys::stack_trace::Interrupted;
use crate::worker::{Attachment, Calls, Notice, Verdict, Worker, collections};

thread_local! {
    static ATTACHED: RefCell<Option<Attachment>> = const { RefCell::new(None) };
    static WORKER: RefCell<Option<Rc<Worker>>> = const { RefCell::new(None) };
}

/// The worker of this process.
pub fn worker() -> Result<Rc<Worker>> {
    let found = WORKER.with_borrow(Clone::clone);
    found.ok_or_else(|| Error::new(Code::NotClustered, "This process is not a worker"))
}

/// The result of `act` for the worker; the default if there is none.
pub fn of_worker<T: Default>(act: impl FnOnce(&Rc<Worker>) -> T) -> T {
    worker().map_or_else(|_| T::default(), |worker| act(&worker))
}

/// Sends something to the primary. If the primary has ended, this does nothing.
pub fn tell(act: impl FnOnce(&Worker) -> std::io::Result<()>) {
    let _ = of_worker(|worker| act(worker).ok());
}

fn system(syscall: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::system(syscall, &error)
}

/// Takes over the inherited channel of the primary with this pid. `{ ok: hello }`, `{ ok: null }` if this process is
/// not that primary's child, or `{ error }`.
#[napi(js_name = "attachWorker")]
pub fn attach_worker(primary_pid: u32) -> Value {
    let attached = Attachment::find(primary_pid).map_err(system("attach"));
    outcome(attached.map(|attachment| match attachment {
        None => Value::Null,
        Some(attachment) => {
            let hello = json!(attachment.hello);
            ATTACHED.set(Some(attachment));
            hello
        }
    }))
}

/// Starts the attached worker on the event loop. `into` gets three ArrayBuffers: `tickets`, read-only (see
/// [`crate::ipc::ticket_keys`]); `cells`, the worker's page of the shared memory; and `batch`, a batch of connections
/// with four 32-bit numbers each. `connections(group, count)` must adopt or close all of them; `notice(kind, number)`
/// gets the notifications numbered in [`kind`]; `messages` gets an array as described in [`super::messages`].
#[napi(js_name = "startWorker")]
pub fn start_worker(
    env: &Env,
    into: Object,
    connections: Function<(u32, u32), ()>,
    notice: Function<(u32, u32), ()>,
    messages: Function<Object, ()>,
) -> napi::Result<Value> {
    let start = || -> Result<Value> {
        let callback = |function| Callback::new(env, function, &into).map_err(system("callback"));
        let on_connections = callback(&connections)?;
        let on_notice = callback(&notice)?;
        let on_messages = Callback::new(env, &messages, &into).map_err(system("callback"))?;
        let calls = Calls {
            // A call that cannot be made ends in an uncaught exception or with the environment.
            connections: Box::new(move |group, count| drop(on_connections.call(group, count))),
            notice: Box::new(move |notice, number| drop(on_notice.call(kind(notice), number))),
            messages: Box::new(move |messages| deliver(&on_messages, messages)),
        };
        let event_loop = super::event_loop(env)?;
        let attachment = ATTACHED.take().ok_or_else(|| Error::new(Code::NotClustered, "not attached"))?;
        let tickets = attachment.tickets.clone();
        let worker = Worker::start(attachment, event_loop, calls).map_err(system("start"))?;
        let (buffer, (page, first)) = (worker.buffer(), worker.cells().place());
        let fd_batch = buffer.count() * 8;
        let share = |name, mapping, cell, bytes| {
            set_shared_buffer(&into, name, mapping, cell, bytes).map_err(system("shared buffer"))
        };
        let secret = tickets.count() * 8;
        share(c"tickets", tickets, 0, secret)?;
        share(c"batch", buffer.clone(), 0, fd_batch)?;
        share(c"cells", page, first, PAGE_CELLS * 8)?;
        WORKER.set(Some(worker));
        Ok(Value::Null)
    };
    let started = outcome(start());
    env.add_env_cleanup_hook((), |()| {
        if let Some(worker) = WORKER.take() {
            worker.detach();
        }
    })?;
    Ok(started)
}

/// The function that sends a message: see [`super::messages::post_function`].
#[napi(js_name = "workerPostFunction", ts_return_type = "(...message: unknown[]) => number")]
pub fn worker_post_function(env: &Env) -> napi::Result<Unknown<'_>> {
    post_function(env, |outgoing| worker()?.messages().post(outgoing))
}

/// A request for each of these receivers: see [`super::messages::request_all`].
#[napi(js_name = "workerRequestAll")]
pub fn worker_request_all(
    receivers: Vec<f64>,
    timeout: f64,
    kind: Unknown,
    format: u32,
    body: Unknown,
) -> Value {
    let worker = worker();
    request_all(&receivers, MessageHeader::request(timeout, format), &kind, &body, |outgoing| {
        worker.as_ref().map_err(Clone::clone)?.messages().post(outgoing)
    })
}

/// Sends messages that `post` has queued in this iteration of the loop, before the process ends.
#[napi(js_name = "workerFlush")]
pub fn worker_flush() {
    of_worker(|worker| worker.messages().flush());
}

/// The possible receivers of messages: see [`super::messages::targets`].
#[napi(js_name = "workerTargets")]
pub fn worker_targets() -> Vec<f64> {
    of_worker(|worker| targets(worker.memory()))
}

/// The id of a slot's worker: see [`super::messages::worker_id_of`].
#[napi(js_name = "workerIdOf")]
pub fn worker_id_of_slot(slot: u32) -> f64 {
    worker().map_or(NOBODY, |worker| worker_id_of(worker.memory(), slot))
}

/// Sets whether waiting for messages keeps the process alive.
#[napi(js_name = "workerHold")]
pub fn worker_hold(hold: bool) {
    of_worker(|worker| worker.messages().hold(hold));
}

/// This worker has resigned as leader.
#[napi(js_name = "workerResigned")]
pub fn worker_resigned() {
    tell(|worker| worker.reports().resigned());
}

/// Subscribes to the cluster's events, or unsubscribes.
#[napi(js_name = "workerFollow")]
pub fn worker_follow(follows: bool) {
    tell(|worker| worker.events().follow(follows));
}

/// The next event of the cluster, `{ event, timestamp }`, or null.
#[napi(js_name = "workerEvent")]
pub fn worker_event() -> Value {
    of_worker(|worker| worker.events().next().unwrap_or_default())
}

/// Makes this worker respond to the primary's signal with the current JavaScript stack, for hang detection.
#[napi(js_name = "workerTrace")]
pub fn worker_trace(env: &Env) -> Value {
    let trace = || -> Result<Value> {
        let reader = TextReader::new(env).map_err(system("trace"))?;
        let take = move |interrupted: &Interrupted<'_>| {
            interrupted.stack(MAX_STACK, |text, to| reader.append(text, to))
        };
        worker()?.diagnostics().trace(take).map_err(system("trace"))?;
        Ok(Value::Null)
    };
    outcome(trace())
}

/// Reports that this process can be debugged from now on.
#[napi(js_name = "workerInspected")]
pub fn worker_inspected() {
    tell(|worker| worker.diagnostics().inspected());
}

pub(super) fn kind(notice: Notice) -> u32 {
    match notice {
        Notice::Drain => 1,
        Notice::ShutdownNotice => 2,
        Notice::Gone => 3,
        Notice::TimeUp => 4,
        Notice::CommandResult => 5,
        Notice::Unready => 7,
        Notice::HandoffRequested => 8,
        Notice::Lead => 9,
        Notice::Event => 10,
        Notice::Check => 11,
        Notice::Diagnose => 12,
        Notice::CloseServer => 13,
        Notice::Late => 14,
        Notice::Memory => 15,
        Notice::Admission => 16,
    }
}

/// Requests a share of an address: `{ group, host, port, fd }` or `{ errno, host }`.
#[napi(js_name = "workerListen")]
pub fn worker_listen(address: Value, options: Value) -> Value {
    let asked = worker().and_then(|worker| Ok((worker, parse(address)?, parse(options)?)));
    let (worker, address, options) = match asked {
        Ok(asked) => asked,
        Err(_) => return json!({ "errno": libc::EINVAL }),
    };
    match worker.shares().listen(address, options) {
        Ok(listened) => json!({
            "group": listened.group,
            "host": listened.host,
            "port": listened.port,
            "fd": listened.fd,
        }),
        Err(refused) => json!({ "errno": refused.errno, "host": refused.host }),
    }
}

/// Whether the descriptor is a socket of this process's program that can listen: not one of drover's, and not
/// connected.
#[napi(js_name = "workerOwnsDescriptor")]
pub fn worker_owns_descriptor(fd: i32) -> bool {
    of_worker(|worker| worker.shares().is_programs(fd))
}

/// The group's server takes connections from now on.
#[napi(js_name = "workerServe")]
pub fn worker_serve(group: u32, plain_http: bool) -> Value {
    let served = worker().and_then(|worker| worker.serve(group, plain_http).map_err(system("serve")));
    outcome(served.map(|()| Value::Null))
}

/// For a runtime that accepts by itself (Bun): from now on its servers get their connections from drover. `now`:
/// `performance.now()`. `{ ok }`, or `{ error }` if the runtime makes its system calls in another way.
#[napi(js_name = "workerFollowSockets")]
pub fn worker_follow_sockets(now: f64) -> Value {
    let followed = worker().and_then(|worker| worker.follow_sockets(now).map_err(system("follow sockets")));
    outcome(followed.map(|()| Value::Null))
}

/// The next socket that the runtime binds in this thread serves the group. `fd`: the listener of `workerListen`.
#[napi(js_name = "workerBindNext")]
pub fn worker_bind_next(group: u32, fd: i32) -> Value {
    let bound = worker().and_then(|worker| {
        let address = fds::take(fd).map_err(system("bind"))?;
        worker.bind_next(group, &address).map_err(system("bind"))
    });
    outcome(bound.map(|()| Value::Null))
}

/// The next socket that the runtime binds in this thread is a virtual listener with one connection, which it should accept: a test of the
/// runtime. Ends with `workerEndTrial`.
#[napi(js_name = "workerBindTrial")]
pub fn worker_bind_trial() -> Value {
    let bound = worker().and_then(|worker| worker.bind_trial().map_err(system("bind")));
    outcome(bound.map(|()| Value::Null))
}

#[napi(js_name = "workerEndTrial")]
pub fn worker_end_trial() {
    of_worker(|worker| worker.shares().remove_trial_virtual_listener());
}

/// Whether the runtime has bound a socket since `workerBindNext`, which ends.
#[napi(js_name = "workerHasBound")]
pub fn worker_has_bound() -> bool {
    socket_calls::has_bound()
}

/// Connections of a runtime that accepts by itself move to other workers as they become idle: `most` of the group's (-1: all,
/// 0: no more). `quiet_ms`: how long each may stay idle there, milliseconds.
#[napi(js_name = "workerMoveConnections")]
pub fn worker_move_connections(group: u32, most: i32, quiet_ms: u32) {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    of_worker(|worker| worker.move_connections(group, most, quiet_ms));
}

/// The id of the group's connection that such a runtime has just got or read from for the first time, while it handles
/// that; once for each connection. -1: there is none.
#[napi(js_name = "workerConnection")]
pub fn worker_connection(group: u32) -> f64 {
    of_worker(|worker| worker.runtime_connections().name_current(group)).map_or(-1.0, |id| id as f64)
}

/// Sets whether the connection with this id stays in this worker.
#[napi(js_name = "workerKeepConnection")]
pub fn worker_keep_connection(id: f64, stays: bool) {
    of_worker(|worker| worker.runtime_connections().keep(id as u64, stays));
}

/// How many requests were answered on the connection with this id, here and in other workers.
#[napi(js_name = "workerRequestsOf")]
pub fn worker_requests_of(id: f64) -> u32 {
    of_worker(|worker| worker.runtime_connections().served(id as u64))
}

/// How long a connection of the group may be idle with the primary, to which it returns after each response; milliseconds.
#[napi(js_name = "workerIdleTimeout")]
pub fn worker_idle_timeout(group: u32, ms: u32) {
    of_worker(|worker| worker.runtime_connections().set_idle_timeout(group, ms));
}

/// Whether the connection with this id returns to the primary after each response.
#[napi(js_name = "workerIsPerRequest")]
pub fn worker_is_per_request(id: f64) -> bool {
    of_worker(|worker| worker.runtime_connections().is_per_request(id as u64))
}

/// Connections of such a runtime that the group's server has.
#[napi(object)]
#[derive(Default)]
pub struct RuntimeConnectionCounts {
    pub open: u32,
    /// Those that await a response that will come to an end.
    pub busy: u32,
    /// Those that may move to another worker, now or later.
    pub movable: u32,
    /// Connections for the server wait that the runtime has not taken.
    pub waiting: bool,
    /// How long ago the last one ended, milliseconds; null: none has.
    pub ended_ms_ago: Option<f64>,
}

#[napi(js_name = "workerConnectionCounts")]
pub fn worker_connection_counts(group: u32) -> RuntimeConnectionCounts {
    of_worker(|worker| {
        let connections = worker.runtime_connections();
        RuntimeConnectionCounts {
            open: connections.count(group) as u32,
            busy: connections.busy(group) as u32,
            movable: connections.movable(group) as u32,
            waiting: worker.shares().has_waiting(group),
            ended_ms_ago: connections.since_last_end(group).map(|since| since.as_secs_f64() * 1000.0),
        }
    })
}

/// Passes the connection `fd` of a health check to the runtime at the group's virtual listener. Without one it is closed.
#[napi(js_name = "workerProbe")]
pub fn worker_probe(group: u32, fd: i32) {
    if let Ok(connection) = fds::take(fd) {
        of_worker(|worker| worker.probe(group, connection));
    }
}

/// Counts a garbage collection that the runtime reports to JavaScript.
#[napi(js_name = "countCollection")]
pub fn count_collection(is_major: bool, milliseconds: f64) {
    let collection = if is_major { Collection::Major } else { Collection::Minor };
    collections::reported(collection, Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or_default());
}

/// Why the sockets of this runtime cannot be followed; null if they can.
#[napi(js_name = "socketsUnsupported")]
pub fn sockets_unsupported() -> Option<String> {
    socket_calls::check().err().map(|error| error.to_string())
}

/// The runtime takes over the datagram socket `fd`, which is shared: called before it does.
#[napi(js_name = "followDatagrams")]
pub fn follow_datagrams(fd: i32) {
    socket_calls::follow_datagrams(fd);
}

/// What the runtime has changed of a datagram socket that it has taken over is as the program wants it: other programs may bind
/// its port only with `reuse`. Returns 0 or the errno.
#[napi(js_name = "resetDatagrams")]
pub fn reset_datagrams(fd: i32, reuse: bool) -> i32 {
    errno_of(fds::set_reuse_address(fd, reuse))
}

/// The runtime reads no more from the shared datagram socket `fd`. Returns 0 or the errno.
#[napi(js_name = "stopReadingDatagrams")]
pub fn stop_reading_datagrams(fd: i32) -> i32 {
    errno_of(socket_calls::stop_reading(fd))
}

fn errno_of(done: std::io::Result<()>) -> i32 {
    done.map_or_else(|error| error.raw_os_error().unwrap_or(libc::EBADF), |()| 0)
}

/// Requests a share of a datagram socket, `{ host, port, ipv6, ipv6_only, reuse }`: `{ socket, fd }` or `{ errno }`.
#[napi(js_name = "workerBind")]
pub fn worker_bind(datagram: Value) -> Value {
    let asked = worker().and_then(|worker| Ok((worker, parse(datagram)?)));
    let bound = match asked {
        Ok((worker, datagram)) => worker.datagrams().bind(datagram),
        Err(_) => Err(libc::EINVAL),
    };
    match bound {
        Ok((socket, descriptor)) => json!({ "socket": socket, "fd": descriptor.into_raw_fd() }),
        Err(errno) => json!({ "errno": errno }),
    }
}

/// The shared datagram socket is closed in this worker.
#[napi(js_name = "workerUnbind")]
pub fn worker_unbind(socket: u32) {
    of_worker(|worker| worker.datagrams().unbind(socket));
}

/// Registers a multicast membership of this worker on a shared datagram socket. Returns whether it is the first.
#[napi(js_name = "workerJoin")]
pub fn worker_join(socket: u32, membership: String) -> bool {
    worker().map_or(true, |worker| worker.datagrams().join(socket, membership))
}

/// The last member has left the group in the kernel.
#[napi(js_name = "workerLeft")]
pub fn worker_left(socket: u32, membership: String) {
    tell(|worker| worker.datagrams().left(socket, membership));
}

/// Removes a multicast membership. Returns whether it was the last, which has to leave the group and call `workerLeft`.
#[napi(js_name = "workerPart")]
pub fn worker_part(socket: u32, membership: String) -> bool {
    worker().map_or(true, |worker| worker.datagrams().part(socket, membership))
}

/// Makes the open descriptor `number` refer to the file of `fd`, which is closed. Returns 0 or the errno.
#[napi(js_name = "replaceDescriptor")]
pub fn replace_descriptor(number: i32, fd: i32) -> i32 {
    errno_of(fds::take(fd).and_then(|by| fds::replace(number, &by)))
}

/// No more connections of the group arrive after this returns, except those with which `connections` is being called.
/// `{ ok }`, true if other workers serve there, or `{ error }` if the primary could not be reached.
#[napi(js_name = "workerClose")]
pub fn worker_close(group: u32) -> Value {
    let closed = worker().and_then(|worker| worker.close(group).map_err(system("close")));
    outcome(closed.map(Value::Bool))
}

/// Passes all connections that wait for this worker now to `connections`.
#[napi(js_name = "workerTakeWhatWaits")]
pub fn worker_take_what_waits() {
    of_worker(|worker| worker.take_what_waits());
}

/// Sets whether the group's share keeps the process alive.
#[napi(js_name = "workerKeepAlive")]
pub fn worker_keep_alive(group: u32, keep: bool) {
    of_worker(|worker| worker.shares().keep_alive(group, keep));
}

#[napi(js_name = "workerKeepsAlive")]
pub fn worker_keeps_alive(group: u32) -> bool {
    of_worker(|worker| worker.shares().keeps_alive(group))
}

/// Ready, for `processManagement.ready` 'message' and 'boot'.
#[napi(js_name = "workerReady")]
pub fn worker_ready() -> Value {
    let ready = worker().and_then(|worker| worker.lifecycle().ready().map_err(system("ready")));
    outcome(ready.map(|()| Value::Null))
}

/// Whether it has reported that it is ready.
#[napi(js_name = "workerIsReady")]
pub fn worker_is_ready() -> bool {
    of_worker(|worker| worker.lifecycle().is_ready())
}

/// This worker drains at the request of its program and must be replaced; `signalled`: it had got a signal.
#[napi(js_name = "workerLeaving")]
pub fn worker_leaving(signalled: bool) {
    tell(|worker| worker.lifecycle().leaving(signalled));
}

/// The drain command, `{ deadlineMs, handoff, signal }`, after notice [`kind`] 1; null before.
#[napi(js_name = "workerDrain")]
pub fn worker_drain() -> Value {
    of_worker(|worker| worker.lifecycle().drain().map_or(Value::Null, |drain| json!(drain)))
}

/// Reports that this process exits although its event loop is not empty. `left`: the remaining resources by type, with
/// counts; `waitedMs`: how long nothing else was left to do, null if the deadline has passed.
#[napi(js_name = "workerLingered")]
pub fn worker_lingered(left: Value, waited_ms: Option<u32>) {
    if let Ok(left) = parse(left) {
        tell(|worker| worker.lifecycle().lingered(left, waited_ms.map(u64::from)));
    }
}

/// Sends output of the program to the primary; false once the worker is ready and output is no longer needed.
#[napi(js_name = "workerWrote")]
pub fn worker_wrote(text: String) -> bool {
    of_worker(|worker| worker.lifecycle().wrote(&text))
}

/// Reports an uncaught error to the primary: `{ name, message, code?, stack? }`. `reported`: the runtime's output of it
/// begins with the report mark.
#[napi(js_name = "workerFailed")]
pub fn worker_failed(error: Value, reported: bool) {
    if let Ok(error) = parse(error) {
        tell(|worker| worker.reports().failed(error, reported));
    }
}

/// Reports a rejection that only the program's own listener received, and that does not end the process; arguments as
/// for `workerFailed`. `suppressed`: how many were not reported since the last one.
#[napi(js_name = "workerRejected")]
pub fn worker_rejected(error: Value, suppressed: u32) {
    if let Ok(error) = parse(error) {
        tell(|worker| worker.reports().rejected(error, u64::from(suppressed)));
    }
}

/// Sends a command to the cluster; the notice `CommandResult` with the same number follows when it is settled. Returns
/// `{ ok }`, or `{ error: { code, message, details } }` if it is invalid or could not be sent: then no notice follows.
#[napi(js_name = "workerCommand")]
pub fn worker_command(id: u32, verb: String, argument: Value) -> Value {
    let asked = || worker()?.commands().send(id, Command::parse(&verb, &argument)?).map_err(system("send"));
    outcome(asked().map(|()| Value::Null))
}

/// The result of a command: `{ ok }` or `{ error: { code, message, details } }`; null if there is none yet.
#[napi(js_name = "workerCommandResult")]
pub fn worker_command_result(id: u32) -> Value {
    of_worker(|worker| worker.commands().result_of(id).unwrap_or_default())
}

/// The settings of adaptive admission, as the hello has them, after the notice `Admission`; null: off.
#[napi(js_name = "workerAdmission")]
pub fn worker_admission() -> Value {
    of_worker(|worker| worker.admission().settings().map_or(Value::Null, |settings| json!(settings)))
}

/// Requests that wait longer than so many milliseconds may be refused from now on; 0: none are. `now`:
/// `performance.now()`.
#[napi(js_name = "workerSetAdmission")]
pub fn worker_set_admission(env: &Env, target: f64, now: f64) -> Value {
    let target = (target > 0.0).then(|| Duration::from_secs_f64(target / 1e3));
    let set =
        || worker()?.admission().set(super::event_loop(env)?, target, now).map_err(system("uv_prepare"));
    outcome(set().map(|()| Value::Null))
}

/// Whether the request that is about to be handled on this connection is refused: 0 if not, 2 if its connection ends
/// too, so that the client connects to another worker. `fd`: -1 if it is unknown.
#[napi(js_name = "workerVerdict")]
pub fn worker_verdict(fd: i32) -> u32 {
    match worker().map(|worker| worker.verdict(fd)) {
        Ok(Verdict::Refused) => 1,
        Ok(Verdict::Moved) => 2,
        Ok(Verdict::Admitted) | Err(_) => 0,
    }
}

/// Logs a hint for the operator, once per cluster; `warns`: as a warning.
#[napi(js_name = "workerHint")]
pub fn worker_hint(text: String, warns: bool) {
    tell(|worker| worker.reports().hint(text, warns));
}

/// Whether notices arrived while `workerListen` or `workerClose` waited for a reply.
#[napi(js_name = "workerHasPendingMessages")]
pub fn worker_has_pending_messages() -> bool {
    of_worker(|worker| worker.has_notices())
}

#[napi(js_name = "workerReadInbox")]
pub fn worker_read_inbox() {
    of_worker(|worker| worker.read_notices());
}

/// The slot of an affinity cookie, or -1. `key` in base64.
#[napi(js_name = "affinitySlot")]
pub fn affinity_slot(value: String, key: String) -> i32 {
    let key = base64::engine::general_purpose::STANDARD.decode(key).unwrap_or_default();
    crate::dispatch::cookie_slot(&value, &key).map_or(-1, i32::from)
}

/// Reports how many more connections the group's server takes; negative: any number.
#[napi(js_name = "workerConnectionLimit")]
pub fn worker_connection_limit(group: u32, remaining: f64) {
    let remaining = (remaining >= 0.0).then_some(remaining as u32);
    tell(|worker| worker.limit_connections(group, remaining));
}

/// For a runtime that accepts by itself: reports how many connections the group's server may have at a time; negative: any
/// number. Those that end are followed.
#[napi(js_name = "workerMaxConnections")]
pub fn worker_max_connections(group: u32, most: f64) {
    let most = (most >= 0.0).then_some(most as u32);
    tell(|worker| worker.limit_runtime_connections(group, most));
}

/// Hands the connection of a descriptor off to another worker; false if that is not possible now. `remainingMs` 0: it
/// has had no request yet. The caller must close its own descriptor in the same event-loop iteration.
#[napi(js_name = "handOff")]
pub fn hand_off(group: u32, fd: i32, remaining_ms: u32, served: u32) -> bool {
    let keep_alive = (remaining_ms > 0).then_some(IdleKeepAlive { remaining_ms, served });
    of_worker(|worker| worker.connections().hand_off(group, fd, keep_alive).is_ok())
}

/// Closes a descriptor of `connections` that was not adopted.
#[napi(js_name = "closeDescriptor")]
pub fn close_descriptor(fd: i32) {
    drop(fds::take(fd));
}

/// Corks a connection before its last bytes, so that they are sent with the FIN. False if it is not a TCP connection.
#[napi(js_name = "holdLastBytes")]
pub fn hold_last_bytes(fd: i32) -> bool {
    fds::cork(fd, true).is_ok()
}

/// Uncorks the connection; `all`: everything is in the kernel, so the FIN is sent too. Node handles a client that has
/// disconnected meanwhile.
#[napi(js_name = "sendLastBytes")]
pub fn send_last_bytes(fd: i32, all: bool) {
    let _ = if all { fds::finish(fd) } else { fds::cork(fd, false) };
}
