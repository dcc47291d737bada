//! Diagnoses of a worker, taken by JavaScript.

use napi_derive::napi;
use serde_json::{Value, json};

use super::worker::{of_worker, tell};

/// The next requested diagnosis: `{ id, what: { kind, ms? }, file }`, or null.
#[napi(js_name = "workerDiagnosis")]
pub fn worker_diagnosis() -> Value {
    of_worker(|worker| worker.diagnostics().next()).map_or(Value::Null, |asked| json!(asked))
}

/// Reports a diagnosis: the size of its file in bytes, or the reason of its failure.
#[napi(js_name = "workerDiagnosed")]
pub fn worker_diagnosed(id: u32, bytes: f64, failure: Option<String>) {
    tell(|worker| worker.diagnostics().done(id, bytes as u64, failure));
}
