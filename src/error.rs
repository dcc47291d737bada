//! drover's errors as data: a code, a message and details. The only list of codes; `lib/errors.js` maps a code to its
//! class and a test compares the type declarations with this list.

use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// The error code, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// The configuration has faults; `details.faults` lists all of them.
    ConfigurationInvalid,
    /// An option or a method that this version does not support.
    NotSupported,
    /// The method needs a cluster and this process has none.
    NotClustered,
    /// No worker became ready, or a worker that was waited for did not.
    WorkerStartupFailed,
    /// `start` was called again with another port or host.
    AlreadyStarted,
    /// The cluster is stopping or has stopped.
    Stopped,
    /// There is no script that a worker could run: `exec` is missing, does not exist, or cannot run as a worker.
    NoScript,
    /// There is no worker with that id.
    NoSuchWorker,
    /// An invalid argument of a method.
    InvalidArgument,
    /// A message did not reach its handler or the handler failed.
    WorkerCommunication,
    /// The receiver has neither a handler nor a listener for messages of that type.
    NoHandler,
    /// The handler threw; `cause` is its error.
    HandlerFailed,
    /// The worker does not run, or ended before it responded.
    WorkerGone,
    /// No response arrived in time (`ipc.timeout`).
    MessageTimeout,
    /// The message is larger than `ipc.maxMessageSize`.
    MessageTooLarge,
    /// Too many messages to that worker are pending (`ipc.maxPending`).
    MessageQueueFull,
    /// `security.ipc` does not allow the message, or it does not match the schema of its type.
    MessageRefused,
    /// The message type already has a handler in this process.
    HandlerExists,
    /// `getOrSet` has no value within `hardTimeout`.
    CacheTimeout,
    /// Redis cannot be reached, or refuses, and the operation needs it.
    FleetUnavailable,
    /// A worker's program loads another version of drover than the one that attached the worker.
    VersionMismatch,
    /// An option that cannot change while the cluster runs; `details.options` lists all of them.
    RestartRequired,
    /// No process, file descriptor or memory is left for the operation.
    ResourceExhausted,
    /// A system call failed; see `details.errno` and `details.syscall`.
    System,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Code; 24] = [
        Code::ConfigurationInvalid,
        Code::NotSupported,
        Code::NotClustered,
        Code::WorkerStartupFailed,
        Code::AlreadyStarted,
        Code::Stopped,
        Code::NoScript,
        Code::NoSuchWorker,
        Code::InvalidArgument,
        Code::WorkerCommunication,
        Code::NoHandler,
        Code::HandlerFailed,
        Code::WorkerGone,
        Code::MessageTimeout,
        Code::MessageTooLarge,
        Code::MessageQueueFull,
        Code::MessageRefused,
        Code::HandlerExists,
        Code::CacheTimeout,
        Code::FleetUnavailable,
        Code::VersionMismatch,
        Code::RestartRequired,
        Code::ResourceExhausted,
        Code::System,
    ];
}

/// An error that is passed to JavaScript as `{ code, message, details }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Error {
    pub code: Code,
    pub message: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Value::Null }
    }

    #[must_use]
    pub fn with(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// Adds a detail.
    #[must_use]
    pub fn and(mut self, key: &str, value: Value) -> Self {
        match &mut self.details {
            Value::Object(details) => drop(details.insert(key.to_owned(), value)),
            details => *details = serde_json::json!({ key: value }),
        }
        self
    }

    /// An error of a program with its name: `TypeError: x is not a function`.
    pub fn thrown(&self) -> String {
        match self.details["name"].as_str() {
            Some(name) if !self.message.starts_with(name) => format!("{name}: {}", self.message),
            Some(_) | None => self.message.clone(),
        }
    }

    /// A failed system call; `errno` is positive.
    pub fn system(syscall: &str, source: &std::io::Error) -> Self {
        Self::new(Code::System, format!("{syscall}: {source}"))
            .with(serde_json::json!({ "syscall": syscall, "errno": source.raw_os_error() }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

pub type Result<T> = std::result::Result<T, Error>;
