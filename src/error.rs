//! drover's errors as data: a code, a sentence and details. The only list of codes; `lib/errors.js`
//! turns a code into its class and a test holds `index.d.ts` against this list.

use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// What went wrong, in one word that programs may compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// The configuration has faults; `details.faults` lists all of them.
    ConfigurationInvalid,
    /// A value or a method asks for what this version does not support.
    NotSupported,
    /// The method needs a cluster and this process has none.
    NotClustered,
    /// No worker got ready, or a worker that had to get ready did not.
    WorkerStartupFailed,
    /// `start` was called again with another port or host.
    AlreadyStarted,
    /// The cluster is stopping or has stopped.
    Stopped,
    /// There is no script a worker could run: none at all, or what `exec` names is not there or can never be a worker.
    NoScript,
    /// There is no worker with that id.
    NoSuchWorker,
    /// A number, an id or a name that a method does not take.
    InvalidArgument,
    /// A message did not reach its handler or the handler failed.
    WorkerCommunication,
    /// Nobody handles messages of that type there: neither a handler nor a listener exists.
    NoHandler,
    /// The handler threw; `cause` is what.
    HandlerFailed,
    /// The worker ended, or was not there, before it answered.
    WorkerGone,
    /// No answer came in time (`ipc.timeout`).
    MessageTimeout,
    /// The message is larger than `ipc.maxMessageSize`.
    MessageTooLarge,
    /// Too many messages wait for that worker already (`ipc.maxPending`).
    MessageQueueFull,
    /// `security.ipc` does not allow the message, or it does not match the schema of its type.
    MessageRefused,
    /// A type of message has a handler already.
    HandlerExists,
    /// A worker's program loads another version of drover than the one that attached the worker.
    VersionMismatch,
    /// No process, descriptor or memory left for what was asked.
    ResourceExhausted,
    /// A system call failed; `details.errno` and `details.syscall` say which and how.
    System,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Code; 21] = [
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
        Code::VersionMismatch,
        Code::ResourceExhausted,
        Code::System,
    ];
}

/// An error that crosses to JavaScript as `{ code, message, details }`.
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

    /// One detail more.
    #[must_use]
    pub fn and(mut self, key: &str, value: Value) -> Self {
        match &mut self.details {
            Value::Object(details) => drop(details.insert(key.to_owned(), value)),
            details => *details = serde_json::json!({ key: value }),
        }
        self
    }

    /// What a program threw with the name that it has there: `TypeError: x is not a function`.
    pub fn thrown(&self) -> String {
        match self.details["name"].as_str() {
            Some(name) if !self.message.starts_with(name) => format!("{name}: {}", self.message),
            Some(_) | None => self.message.clone(),
        }
    }

    /// A failed system call; `errno` as the kernel's positive number.
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
