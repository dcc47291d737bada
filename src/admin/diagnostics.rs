//! Heap snapshots and CPU profiles of a worker. They contain the program's memory, including requests and secrets of
//! its users: they need a token, and are written to files that only the user can read.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::answer::{Id, refusal};
use super::api::{Api, Refused, Taken};
use crate::ipc::control::Diagnosis;

/// Default and maximum seconds of a profile.
const PROFILE: u64 = 10;
const MAX_PROFILE: u64 = 60;
/// Timeout of a snapshot: V8 writes some tens of megabytes per second.
pub const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(100);
/// Timeout after the last second of a profile.
pub const PROFILE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a diagnosis may take.
pub fn timeout_of(what: Diagnosis) -> Duration {
    match what {
        Diagnosis::HeapSnapshot => SNAPSHOT_TIMEOUT,
        Diagnosis::CpuProfile { ms } => Duration::from_millis(ms) + PROFILE_TIMEOUT,
    }
}

pub(super) async fn heap_snapshot(State(api): State<Arc<Api>>, Id(slot): Id) -> Response {
    take(&api, slot, Diagnosis::HeapSnapshot).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Length {
    seconds: Option<u64>,
}

pub(super) async fn cpu_profile(
    State(api): State<Arc<Api>>,
    Id(slot): Id,
    length: Result<Query<Length>, QueryRejection>,
) -> Response {
    let seconds = match length {
        Ok(Query(Length { seconds })) => seconds.unwrap_or(PROFILE),
        Err(rejection) => {
            return refusal(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", &rejection.body_text());
        }
    };
    if !(1..=MAX_PROFILE).contains(&seconds) {
        let text = format!("seconds: found {seconds}, allowed: a whole number from 1 to {MAX_PROFILE}");
        return refusal(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", &text);
    }
    take(&api, slot, Diagnosis::CpuProfile { ms: seconds * 1000 }).await
}

async fn take(api: &Api, slot: u16, what: Diagnosis) -> Response {
    if api.token.is_none() {
        let text = "set monitoring.token and send it: a diagnosis contains the program's memory";
        return refusal(StatusCode::FORBIDDEN, "FORBIDDEN", text);
    }
    let timeout_of = timeout_of(what);
    match tokio::time::timeout(timeout_of, (api.diagnose)(slot, what)).await {
        Ok(Ok(Ok(Taken { file, bytes }))) => Json(json!({ "file": file, "bytes": bytes })).into_response(),
        Ok(Ok(Err(Refused::NoSuchWorker))) => {
            refusal(StatusCode::NOT_FOUND, "NO_SUCH_WORKER", &format!("worker {slot} does not run"))
        }
        Ok(Ok(Err(Refused::Busy))) => {
            let text = format!("a diagnosis of worker {slot} is running already; one at a time");
            refusal(StatusCode::CONFLICT, "BUSY", &text)
        }
        Ok(Ok(Err(Refused::Failed(why)))) => refusal(StatusCode::CONFLICT, "FAILED", &why),
        Ok(Err(_)) => refusal(StatusCode::CONFLICT, "STOPPED", "the cluster has stopped"),
        Err(_) => {
            let text = format!(
                "worker {slot} has not responded for {} s; when it does, the log names the file",
                timeout_of.as_secs()
            );
            refusal(StatusCode::GATEWAY_TIMEOUT, "TIMED_OUT", &text)
        }
    }
}
