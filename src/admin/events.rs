//! `/cluster/events`: the cluster's events as they happen (server-sent events).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::json;

use super::answer::refusal;
use super::api::{Api, MAX_LISTENERS, Subscription};
use super::connection::{Lasting, Transport};
use crate::observe::{EventLog, LoggedEvent, Since};

/// A client of the stream, and its pending events.
struct Listening {
    event_log: EventLog,
    last: u64,
    waiting: VecDeque<Event>,
    _subscription: Subscription,
}

pub async fn events(
    State(api): State<Arc<Api>>,
    Extension(lasting): Extension<Lasting>,
    Extension(transport): Extension<Transport>,
    headers: HeaderMap,
) -> Response {
    let event_log = api.event_log.clone();
    let named = headers.get("last-event-id").map(|name| name.to_str().unwrap_or_default());
    let last = match named.filter(|name| !name.is_empty()) {
        None => *event_log.last().borrow(),
        Some(name) => match event_log.id(name) {
            Some(id) => id,
            None => {
                let text = format!("Last-Event-ID: found {name:?}, allowed: an id of this stream");
                return refusal(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", &text);
            }
        },
    };
    let Some(subscription) = api.listeners.take(transport) else {
        let text = format!("{MAX_LISTENERS} clients receive events already: close one of them");
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "RESOURCE_EXHAUSTED", &text);
    };
    lasting.set();
    // An id without an event: a client that disconnects before the first event resumes here.
    let waiting = VecDeque::from([Event::default().id(event_log.name(last))]);
    let listening = Listening { event_log, last, waiting, _subscription: subscription };
    let events = stream::unfold(listening, async |mut listening| {
        let event = listening.next().await?;
        Some((Ok::<Event, Infallible>(event), listening))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

impl Listening {
    /// None when the cluster has ended.
    async fn next(&mut self) -> Option<Event> {
        let mut last = self.event_log.last();
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            last.wait_for(|last| *last > self.last).await.ok()?;
            let Since { found, lost, newest } = self.event_log.after(self.last);
            if lost > 0 {
                // A client that was disconnected for too long is told how many events it missed.
                let gap = json!({ "type": "gap", "lost": lost }).to_string();
                self.waiting.push_back(Event::default().event("gap").data(gap));
            }
            self.last = newest;
            let name = |logged: LoggedEvent| {
                let event = Event::default().id(self.event_log.name(logged.id)).event(&logged.kind);
                event.data(&logged.event)
            };
            self.waiting.extend(found.into_iter().map(name));
        }
    }
}
