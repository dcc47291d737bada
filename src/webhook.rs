//! Messages to the webhook: one POST each, from a separate thread, so that other threads never wait. An undeliverable
//! message is logged as lost; the URL is a secret and is never logged.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::config::Secret;
use crate::error_groups::throttle::retry_after;
use client::{Answer, Client, Failure};

mod client;

/// Maximum number of queued messages.
const MAX_WAITING: usize = 100;
/// Timeout of one attempt.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum for a server's Retry-After.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Time for queued messages at the end.
const LAST: Duration = Duration::from_secs(2);

/// The URL, and the retries.
#[derive(Clone, Debug)]
pub struct Target {
    pub url: Secret,
    pub max_retries: u32,
    pub initial_delay: Duration,
    pub max_delay: Duration,
}

pub struct Webhook {
    queue: Option<SyncSender<Value>>,
    /// Dropping it ends delays early.
    going_on: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Webhook {
    /// `complain` is called with texts for the operator; it must not block.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(
        target: Target,
        complain: impl Fn(String, Option<String>) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, messages) = sync_channel(MAX_WAITING);
        let (going_on, over) = channel();
        let client = Client::new()?;
        let sender = Poster { target, client, over, complain: Box::new(complain) };
        let thread =
            std::thread::Builder::new().name("drover-webhook".into()).spawn(move || sender.run(&messages))?;
        Ok(Self { queue: Some(queue), going_on: Some(going_on), thread: Some(thread) })
    }

    /// Queues a message; false if the queue is full: the message is lost.
    pub fn post(&self, message: Value) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.try_send(message).is_ok())
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.queue.take();
        self.going_on.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Poster {
    target: Target,
    client: Client,
    over: Receiver<()>,
    complain: Box<dyn Fn(String, Option<String>) + Send>,
}

impl Poster {
    fn run(self, messages: &Receiver<Value>) {
        let mut ends: Option<Instant> = None;
        let mut lost = 0;
        while let Ok(message) = messages.recv() {
            if ends.is_none() && self.is_over(Duration::ZERO) {
                ends = Some(Instant::now() + LAST);
            }
            let left = ends.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                lost += 1;
                continue;
            }
            if let Err(Refused { why, .. }) = self.deliver(&message, left) {
                let text = message["text"].as_str().unwrap_or_default();
                let text = format!("errorHandling.reporting.webhook took no message ({why}): {text}");
                (self.complain)(text, Some(why));
            }
        }
        if lost > 0 {
            let text = format!("{lost} messages for errorHandling.reporting.webhook were lost at the end");
            (self.complain)(text, None);
        }
    }

    fn deliver(&self, message: &Value, left: Option<Duration>) -> Result<(), Refused> {
        let mut retry = 0;
        loop {
            let timeout = left.unwrap_or(TIMEOUT);
            let Err(refused) = attempt(&self.client, &self.target.url, message, timeout) else {
                return Ok(());
            };
            let target = &self.target;
            let pause = retry_after(retry, target.max_retries, target.initial_delay, target.max_delay);
            let Some(pause) = pause.filter(|_| left.is_none()) else { return Err(refused) };
            if self.is_over(pause.max(refused.wait)) {
                return Err(refused);
            }
            retry += 1;
        }
    }

    /// Waits for this long; true if the end comes first.
    fn is_over(&self, pause: Duration) -> bool {
        !matches!(self.over.recv_timeout(pause), Err(RecvTimeoutError::Timeout))
    }
}

/// Why a message was not accepted, without the URL, and the minimum delay of a retry.
struct Refused {
    why: String,
    wait: Duration,
}

/// # Errors
/// The message was not accepted.
fn attempt(client: &Client, url: &Secret, message: &Value, timeout: Duration) -> Result<(), Refused> {
    let why = match client.post(url.reveal(), message.to_string(), timeout) {
        Ok(Answer { status: 200..=299, .. }) => return Ok(()),
        Ok(Answer { status, headers }) => {
            // A date, which is also valid, is ignored: the delays grow anyway.
            let seconds = headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            let wait = seconds.map_or(Duration::ZERO, Duration::from_secs).min(MAX_WAIT);
            return Err(Refused { why: format!("it answered {status}"), wait });
        }
        Err(Failure::NoAnswer) => format!("no answer in {} ms", timeout.as_millis()),
        Err(Failure::UnknownHost) => "its host is not known".into(),
        Err(Failure::Connection(kind)) => kind.to_string(),
        Err(Failure::Tls) => "no TLS with it".into(),
        Err(Failure::Proxy) => "the proxy lets nobody through".into(),
        Err(Failure::Address | Failure::Protocol) => "it could not be reached".into(),
    };
    Err(Refused { why, wait: Duration::ZERO })
}
