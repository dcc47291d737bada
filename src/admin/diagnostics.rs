//! Heap snapshots and CPU profiles of a worker. They hold what the program has in memory, requests and secrets of its
//! users among it: they are taken for nobody who has not shown a token, and lie in files of the user's own.

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

/// Seconds of a profile, and the most.
const PROFILE: u64 = 10;
const MAX_PROFILE: u64 = 60;
/// A snapshot may take so long: V8 writes some tens of megabytes a second.
pub const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(100);
/// After the last second of a profile.
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
        let text = "set monitoring.token and show it: a diagnosis holds what the program has in its memory";
        return refusal(StatusCode::FORBIDDEN, "FORBIDDEN", text);
    }
    let timeout_of = timeout_of(what);
    match tokio::time::timeout(timeout_of, (api.diagnose)(slot, what)).await {
        Ok(Ok(Ok(Taken { file, bytes }))) => Json(json!({ "file": file, "bytes": bytes })).into_response(),
        Ok(Ok(Err(Refused::NoSuchWorker))) => {
            refusal(StatusCode::NOT_FOUND, "NO_SUCH_WORKER", &format!("there is no worker {slot} that runs"))
        }
        Ok(Ok(Err(Refused::Busy))) => {
            let text = format!("worker {slot} is being diagnosed already; one at a time");
            refusal(StatusCode::CONFLICT, "BUSY", &text)
        }
        Ok(Ok(Err(Refused::Failed(why)))) => refusal(StatusCode::CONFLICT, "FAILED", &why),
        Ok(Err(_)) => refusal(StatusCode::CONFLICT, "STOPPED", "the cluster has stopped"),
        Err(_) => {
            let text = format!(
                "worker {slot} has not answered for {} s; when it does, the log says where the file is",
                timeout_of.as_secs()
            );
            refusal(StatusCode::GATEWAY_TIMEOUT, "TIMED_OUT", &text)
        }
    }
}
