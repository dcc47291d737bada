//! Messages to somebody else's server: one POST each, from a thread of its own, so that nobody waits for it. A message
//! that cannot be delivered is said to be lost; where to is a secret and is never said.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::config::Secret;
use crate::incidents::digest::retry_after;

/// Messages that may wait.
const MOST_WAITING: usize = 100;
/// One attempt.
const PATIENCE: Duration = Duration::from_secs(5);
/// At the end there is so much time for what waits.
const LAST: Duration = Duration::from_secs(2);

/// Where to, and how often it is tried.
#[derive(Clone, Debug)]
pub struct Target {
    pub url: Secret,
    pub most_retries: u32,
    pub initial_delay: Duration,
    pub longest_delay: Duration,
}

pub struct Webhook {
    queue: Option<SyncSender<Value>>,
    /// Its end cuts pauses short.
    going_on: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Webhook {
    /// `complain` gets what the operator should read; it must not block.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(target: Target, complain: impl Fn(String) + Send + 'static) -> io::Result<Self> {
        let (queue, messages) = sync_channel(MOST_WAITING);
        let (going_on, over) = channel();
        let sender = Poster { target, over, complain: Box::new(complain) };
        let thread =
            std::thread::Builder::new().name("drover-webhook".into()).spawn(move || sender.run(&messages))?;
        Ok(Self { queue: Some(queue), going_on: Some(going_on), thread: Some(thread) })
    }

    /// False when too many wait already: the message is lost.
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
    over: Receiver<()>,
    complain: Box<dyn Fn(String) + Send>,
}

impl Poster {
    fn run(self, messages: &Receiver<Value>) {
        let agent = ureq::Agent::new_with_config(
            ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build(),
        );
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
            if let Err(why) = self.deliver(&agent, &message, left) {
                let text = message["text"].as_str().unwrap_or_default();
                (self.complain)(format!("errorHandling.reporting.webhook took no message ({why}): {text}"));
            }
        }
        if lost > 0 {
            (self.complain)(format!(
                "{lost} messages for errorHandling.reporting.webhook were lost at the end"
            ));
        }
    }

    fn deliver(&self, agent: &ureq::Agent, message: &Value, left: Option<Duration>) -> Result<(), String> {
        let mut retry = 0;
        loop {
            let patience = left.unwrap_or(PATIENCE);
            let Err(why) = attempt(agent, &self.target.url, message, patience) else { return Ok(()) };
            let target = &self.target;
            let pause = retry_after(retry, target.most_retries, target.initial_delay, target.longest_delay);
            let Some(pause) = pause.filter(|_| left.is_none()) else { return Err(why) };
            if self.is_over(pause) {
                return Err(why);
            }
            retry += 1;
        }
    }

    /// Waits for so long; true when the end comes first.
    fn is_over(&self, pause: Duration) -> bool {
        !matches!(self.over.recv_timeout(pause), Err(RecvTimeoutError::Timeout))
    }
}

/// # Errors
/// In words that do not say where to.
fn attempt(agent: &ureq::Agent, url: &Secret, message: &Value, patience: Duration) -> Result<(), String> {
    let request = agent
        .post(url.reveal())
        .config()
        .timeout_global(Some(patience))
        .build()
        .header("Content-Type", "application/json")
        .header("User-Agent", concat!("drover/", env!("CARGO_PKG_VERSION")));
    match request.send(message.to_string()) {
        Ok(_) => Ok(()),
        Err(ureq::Error::StatusCode(status)) => Err(format!("it answered {status}")),
        Err(ureq::Error::Timeout(_)) => Err(format!("no answer in {} ms", patience.as_millis())),
        Err(ureq::Error::HostNotFound) => Err("its host is not known".into()),
        Err(ureq::Error::Io(error)) => Err(error.kind().to_string()),
        Err(ureq::Error::Tls(_) | ureq::Error::Rustls(_)) => Err("no TLS with it".into()),
        Err(_) => Err("it could not be reached".into()),
    }
}
