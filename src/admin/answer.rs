//! Parameters and responses that several routes share.

use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

pub(super) fn refusal(status: StatusCode, code: impl Serialize, message: &str) -> Response {
    (status, Json(json!({ "error": { "code": code, "message": message } }))).into_response()
}

/// A worker's id in a path.
pub(super) struct Id(pub u16);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let id = Path::<String>::from_request_parts(parts, state).await.map(|Path(id)| id);
        let id = id.unwrap_or_else(|_| parts.uri.path().to_owned());
        match id.parse::<u16>().ok().filter(|slot| slot.to_string() == id) {
            Some(slot) => Ok(Id(slot)),
            None => {
                let text = format!("found {id:?}, allowed: a worker's id such as '0'");
                Err(refusal(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", &text))
            }
        }
    }
}
