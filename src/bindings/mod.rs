//! The Node-API surface: convert, call, convert. The only code that uses napi; no decisions, and no state except
//! handles. Errors are passed as data: `{ ok }` or `{ error: { code, message, details } }`, because `lib/errors.js`
//! converts them to JavaScript classes.

// napi exports nothing from a test binary, where all of this is unused.
#![cfg_attr(test, allow(dead_code))]

mod cache;
mod checks;
mod config;
mod constants;
mod diagnostics;
mod figures;
mod fleet;
mod memory_manager;
mod messages;
mod metric_store;
mod monitor;
mod primary;
mod raw;
mod requests;
mod single_process;
mod worker;

use napi::Env;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

use crate::error::{Code, Error, Result};
use crate::sys::uv::Loop;

/// The event loop of the calling thread.
fn event_loop(env: &Env) -> Result<Loop> {
    raw::event_loop(env).map_err(|error| Error::system("event loop", &error))
}

fn outcome(result: Result<Value>) -> Value {
    match result {
        Ok(value) => json!({ "ok": value }),
        Err(error) => json!({ "error": error }),
    }
}

/// Random bytes.
fn entropy() -> Result<[u8; 32]> {
    let mut bytes = [0u8; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Error::new(Code::System, "the kernel gave no random bytes"))?;
    Ok(bytes)
}
