//! `/cluster/logs` and `/cluster/log-level`: the latest log lines, and the log level.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::refusal;
use super::api::Api;
use crate::component::Component;
use crate::log::{Filter, Line, Whose, level_name, level_named};

/// Maximum number of lines in a response.
pub const MAX_LINES: usize = 1000;
const LINES: usize = 200;
/// The levels of a filter, from the most verbose on.
pub const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "fatal"];
/// The levels of drover's own lines.
pub const OWN_LEVELS: [&str; 7] = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogQuery {
    level: Option<String>,
    worker: Option<String>,
    text: Option<String>,
    #[serde(default)]
    since: u64,
    request_id: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

pub async fn logs(State(api): State<Arc<Api>>, query: Result<Query<LogQuery>, QueryRejection>) -> Response {
    let filter = match query {
        Ok(Query(query)) => filter(query),
        Err(rejection) => Err(rejection.body_text()),
    };
    match filter {
        Ok(filter) => {
            let found = api.logs.find(&filter);
            let frequent = found.frequent.iter().map(|one| {
                let level = level_name(one.level);
                json!({ "message": one.message, "level": level, "count": one.count, "last": one.last })
            });
            Json(json!({
                "lines": found.lines.iter().map(line).collect::<Vec<_>>(),
                "frequent": frequent.collect::<Vec<_>>(),
                "dropped": found.dropped,
                "next": found.next,
            }))
            .into_response()
        }
        Err(text) => refusal(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", &text),
    }
}

fn filter(query: LogQuery) -> Result<Filter, String> {
    let wrong =
        |name: &str, found: &str, allowed: &str| format!("{name}: found {found:?}, allowed: {allowed}");
    let least = match query.level.as_deref() {
        None => 0,
        Some(name) if LEVELS.contains(&name) => level_named(name).unwrap_or(0),
        Some(name) => return Err(wrong("level", name, &LEVELS.join(", "))),
    };
    let whose = match query.worker.as_deref() {
        None => None,
        Some("primary") => Some(Whose::Drover),
        Some(id) => {
            let slot = id.bytes().all(|byte| byte.is_ascii_digit()).then(|| id.parse().ok()).flatten();
            let slot = slot.ok_or_else(|| wrong("worker", id, "a worker's id such as 0, or primary"))?;
            Some(Whose::Worker(slot))
        }
    };
    let limit = query.limit.unwrap_or(LINES);
    if !(1..=MAX_LINES).contains(&limit) {
        return Err(wrong("limit", &limit.to_string(), &format!("a whole number from 1 to {MAX_LINES}")));
    }
    let (text, since, request_id, after) = (query.text, query.since, query.request_id, query.after);
    Ok(Filter { least, whose, text, since, request_id, after, limit })
}

fn line(line: &Line) -> Value {
    json!({
        "id": line.id,
        "time": line.time,
        "level": level_name(line.level),
        "worker": line.worker.map(|slot| slot.to_string()),
        "requestId": line.request_id,
        "msg": line.msg,
        "fields": fields(line),
    })
}

/// The members of a line that are not separate members of the response.
fn fields(line: &Line) -> Map<String, Value> {
    const TOLD: [&str; 5] = ["time", "level", "msg", "worker", "requestId"];
    let Some(members) = line.members.as_deref() else { return Map::new() };
    let mut members: Map<String, Value> = serde_json::from_slice(members).unwrap_or_default();
    // A message that is not a string is only in here.
    members.retain(|name, value| !TOLD.contains(&name.as_str()) || (name == "msg" && !value.is_string()));
    members
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    level: String,
    #[serde(default)]
    component: Option<String>,
}

pub async fn set_level(State(api): State<Arc<Api>>, wanted: Result<Json<Wanted>, JsonRejection>) -> Response {
    let Wanted { level, component } = match wanted {
        Ok(Json(wanted)) => wanted,
        Err(rejection) => {
            let text = format!("a body like {{ \"level\": \"debug\" }} is needed: {}", rejection.body_text());
            return refusal(rejection.status(), "INVALID_ARGUMENT", &text);
        }
    };
    let invalid = |text: String| refusal(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", &text);
    let named = match component.as_deref() {
        None => None,
        Some(name) => match Component::named(name) {
            Some(component) => Some(component),
            None => {
                return invalid(format!(
                    "component: found {name:?}, allowed: {}",
                    Component::NAMES.join(", ")
                ));
            }
        },
    };
    if !api.logs.set_level(named, &level) {
        return invalid(format!("level: found {level:?}, allowed: {}", OWN_LEVELS.join(", ")));
    }
    Json(json!({ "level": level, "component": component })).into_response()
}
