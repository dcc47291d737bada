//! Health checks of a worker: requests and results.

use std::os::fd::IntoRawFd;

use napi_derive::napi;
use serde_json::{Value, json};

use super::worker::{of_worker, tell};
use crate::ipc::control::Protocol;

/// The next check to begin, or null: `{ number, protocol, fd }`. With a protocol ('http1' or 'http2') the first HTTP
/// server is probed on the connection `fd`, which the caller has to close.
#[napi(js_name = "workerCheck")]
pub fn worker_check() -> Value {
    let Some(check) = of_worker(|worker| worker.checks().next()) else { return Value::Null };
    let (protocol, fd) = check.probe.map_or((None, None), |(protocol, fd)| (Some(protocol), Some(fd)));
    json!({ "number": check.number, "protocol": protocol, "fd": fd.map(IntoRawFd::into_raw_fd) })
}

/// Reports the result of a check: `failure` is the reason, null if it passed. `metrics` as returned by the program.
#[napi(js_name = "workerChecked")]
pub fn worker_checked(number: u32, failure: Option<String>, metrics: Value) {
    let metrics = Some(metrics).filter(|metrics| !metrics.is_null());
    tell(|worker| worker.checks().done(number, failure, metrics));
}

/// Reports the protocol of this worker's first HTTP server, 'http1' or 'http2'; anything else: there is none.
#[napi(js_name = "workerSpeaks")]
pub fn worker_speaks(protocol: String) {
    let protocol = match protocol.as_str() {
        "http1" => Some(Protocol::Http1),
        "http2" => Some(Protocol::Http2),
        _ => None,
    };
    tell(|worker| worker.checks().speaks(protocol));
}
