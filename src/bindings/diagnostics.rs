//! Diagnoses of a worker and tasks about its memory, carried out by JavaScript.

use napi_derive::napi;
use serde_json::{Value, json};

use super::worker::{of_worker, tell};
use crate::ipc::control::MemoryFound;

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

/// The next task about memory: `{ id, task }`, where `task` is 'collect' or an object with one member, `sample` or
/// `stop_sampling`, which has its parameters; or null.
#[napi(js_name = "workerMemoryTask")]
pub fn worker_memory_task() -> Value {
    let next = of_worker(|worker| worker.diagnostics().next_task());
    next.map_or(Value::Null, |(id, task)| json!({ "id": id, "task": task }))
}

/// Reports a task: what was found, or the reason of its failure.
#[napi(js_name = "workerMemoryDone")]
pub fn worker_memory_done(id: u32, found: Value, failure: Option<String>) {
    let parsed = Some(found).filter(|found| !found.is_null()).map(serde_json::from_value::<MemoryFound>);
    let (found, failure) = match parsed.transpose() {
        Ok(found) => (found, failure),
        Err(error) => (None, Some(error.to_string())),
    };
    tell(|worker| worker.diagnostics().task_done(id, found, failure));
}
