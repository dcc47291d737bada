//! A worker's reports about single requests.

use napi_derive::napi;
use serde_json::Value;

use super::config::parse;
use super::worker::tell;

/// Reports a slow request to the primary: `{ method, path, status, ms, requestId, suppressed }`.
#[napi(js_name = "workerSlow")]
pub fn worker_slow(slow: Value) {
    if let Ok(slow) = parse(slow) {
        tell(|worker| worker.reports().slow(slow));
    }
}
