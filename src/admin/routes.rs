//! The routes.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Id, refusal};
use super::api::Api;
use super::events::events;
use super::{dashboard, diagnostics, exposition, guard, logs, openapi};
use crate::error::{Code, Error};
use crate::metrics::history::SERIES;
use crate::metrics::layout::header as header_cells;
use crate::metrics::view;
use crate::model::{ClusterStatus, Command};
use crate::sys::local_time::now_ms;

type Shared = State<Arc<Api>>;

const MAX_BODY: usize = 16 * 1024;
/// Longer than a roll of many workers; a command continues if its client disconnects.
const TIMEOUT: Duration = Duration::from_secs(110);

pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/cluster/health", get(health))
        .route("/cluster/stats", get(async |State(api): Shared| Json(view::metrics(&api.memory, now_ms()))))
        .route("/cluster/workers", get(async |State(api): Shared| Json(view::workers(&api.memory, now_ms()))))
        .route("/cluster/history", get(history))
        .route("/cluster/events", get(events))
        .route("/cluster/errors", get(async |State(api): Shared| Json(api.error_groups.view(now_ms()))))
        .route("/cluster/scaling", get(async |State(api): Shared| Json(scaling(&api))))
        .route(
            "/cluster/cache",
            get(async |State(api): Shared| Json(json!({ "namespaces": (api.figures.cache)() }))),
        )
        .route(
            "/cluster/fleet",
            get(async |State(api): Shared| Json(json!({ "fleet": (api.figures.fleet)() }))),
        )
        .route("/cluster/logs", get(logs::logs))
        .route("/cluster/log-level", post(logs::set_level))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(async || Json(openapi::document())))
        .route("/cluster/restart", post(restart))
        .route("/cluster/scale", post(scale))
        .route("/cluster/workers/{id}/restart", post(restart_worker))
        .route("/cluster/workers/{id}/heap-snapshot", post(diagnostics::heap_snapshot))
        .route("/cluster/workers/{id}/cpu-profile", post(diagnostics::cpu_profile))
        .merge(dashboard::router())
        .fallback(async || {
            refusal(StatusCode::NOT_FOUND, "NOT_FOUND", "there is no such route: see /openapi.json")
        })
        .method_not_allowed_fallback(async || {
            refusal(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "this route has another method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(api.clone(), admit))
        .with_state(api)
}

async fn admit(State(api): Shared, request: Request, next: Next) -> Response {
    let mut response = match guard::admit(&api, &request) {
        Ok(()) => next.run(request).await,
        Err((StatusCode::UNAUTHORIZED, text)) => {
            let scheme = [(header::WWW_AUTHENTICATE, "Bearer")];
            (scheme, refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", text)).into_response()
        }
        Err((status, text)) => refusal(status, "FORBIDDEN", text),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    response
}

async fn health(State(api): Shared) -> Response {
    let health = view::health(&api.memory);
    let status = if health.status == ClusterStatus::Critical {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    let mut body = json!(health);
    if let (Some(fleet), Some(members)) = ((api.figures.fleet)(), body.as_object_mut()) {
        members.insert("fleet".into(), json!({ "available": fleet.available, "reason": fleet.reason }));
    }
    (status, Json(body)).into_response()
}

/// The cluster's size and the decisions about it.
fn scaling(api: &Api) -> Value {
    let decisions = api.event_log.scalings();
    json!({
        "workers": view::ready(&api.memory),
        "target": api.memory.get(header_cells::WANTED),
        "autoScaling": api.event_log.auto_scaling(),
        "last": view::last_scaling(&api.memory),
        "decisions": decisions,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    metric: String,
    /// Milliseconds since 1970.
    #[serde(default)]
    from: u64,
    /// Milliseconds.
    #[serde(default)]
    step: u64,
}

async fn history(State(api): Shared, range: Result<Query<Range>, QueryRejection>) -> Response {
    let Range { metric, from, step } = match range {
        Ok(Query(range)) => range,
        Err(rejection) => {
            return refusal(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", &rejection.body_text());
        }
    };
    match api.history.range(&metric, from, step) {
        Some(points) => Json(json!({ "metric": metric, "points": points })).into_response(),
        None => {
            let text = format!("metric: found {metric:?}, allowed: {}", SERIES.join(", "));
            refusal(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", &text)
        }
    }
}

async fn metrics(State(api): Shared, headers: HeaderMap) -> Response {
    if !api.exports {
        return refusal(StatusCode::NOT_FOUND, "NOT_FOUND", "monitoring.exportMetrics is false");
    }
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let open_metrics = prefers_open_metrics(accepts);
    let (kind, text) = exposition::write(&api.memory, &api.figures, now_ms(), open_metrics);
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// OpenMetrics is sent to clients that accept it, unless they prefer the text format. Source: RFC 9110, 12.4.2.
fn prefers_open_metrics(accepts: &str) -> bool {
    let liking = |wanted: &str| {
        accepts.split(',').find_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let is_wanted = parts.next()? == wanted;
            is_wanted
                .then(|| parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0))
        })
    };
    let open_metrics = liking("application/openmetrics-text").unwrap_or(0.0);
    open_metrics > 0.0 && open_metrics >= liking("text/plain").unwrap_or(0.0)
}

async fn restart(State(api): Shared) -> Response {
    command(&api, Ok(Command::Roll { slot: None })).await
}

async fn restart_worker(State(api): Shared, Id(slot): Id) -> Response {
    command(&api, Ok(Command::Roll { slot: Some(slot) })).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Size {
    workers: Value,
}

async fn scale(State(api): Shared, size: Result<Json<Size>, JsonRejection>) -> Response {
    match size {
        Ok(Json(Size { workers })) => command(&api, Command::parse("scale", &workers)).await,
        Err(rejection) => {
            let text = format!("a body like {{ \"workers\": 4 }} is needed: {}", rejection.body_text());
            refusal(rejection.status(), "INVALID_ARGUMENT", &text)
        }
    }
}

fn refused(Error { code, message, .. }: &Error) -> Response {
    let status = match code {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::NoSuchWorker => StatusCode::NOT_FOUND,
        _ => StatusCode::CONFLICT,
    };
    refusal(status, code, message)
}

/// Responds when the command is done.
async fn command(api: &Api, command: Result<Command, Error>) -> Response {
    let command = match command {
        Ok(command) => command,
        Err(error) => return refused(&error),
    };
    match tokio::time::timeout(TIMEOUT, (api.commands)(command)).await {
        Ok(Ok(Ok(slots))) => {
            let ids: Vec<String> = slots.as_array().into_iter().flatten().map(Value::to_string).collect();
            Json(json!({ "workers": ids })).into_response()
        }
        Ok(Ok(Err(error))) => refused(&error),
        Ok(Err(_)) => refusal(StatusCode::CONFLICT, "STOPPED", "the cluster has stopped"),
        Err(_) => (StatusCode::ACCEPTED, Json(json!({ "workers": null }))).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::prefers_open_metrics;

    #[test]
    fn open_metrics_is_for_who_likes_it_best() {
        for accepts in [
            "application/openmetrics-text",
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1",
        ] {
            assert!(prefers_open_metrics(accepts), "{accepts}");
        }
        for accepts in [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text;q=0",
            "text/plain, application/openmetrics-text; q=0.1",
        ] {
            assert!(!prefers_open_metrics(accepts), "{accepts}");
        }
    }
}
