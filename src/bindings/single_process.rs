//! A process without a cluster, as a cluster of one.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use napi::bindgen_prelude::{Env, Object};
use napi_derive::napi;
use serde_json::{Value, json};

use super::raw::set_shared_buffer;
use super::{event_loop, outcome};
use crate::error::{Error, Result};
use crate::metrics::layout::PAGE_CELLS;
use crate::metrics::memory::SharedMemory;
use crate::metrics::view;
use crate::model::WorkerState;
use crate::primary::Sampler;
use crate::sys::local_time::now_ms;
use crate::worker::SingleProcess;

/// The sampling interval, the same as in a primary.
const INTERVAL: Duration = Duration::from_secs(1);

struct Process {
    process: SingleProcess,
    sampler: Sampler,
    looked: Instant,
}

thread_local! {
    static PROCESS: RefCell<Option<Process>> = const { RefCell::new(None) };
}

/// Starts counting, once. `into.cells` becomes an ArrayBuffer of the cells that JavaScript writes, those of a worker's
/// page. `{ ok }` or `{ error }`.
#[napi(js_name = "startSingleProcess")]
pub fn start_single_process(env: &Env, into: Object) -> napi::Result<Value> {
    let start = || -> Result<Value> {
        if PROCESS.with_borrow(Option::is_none) {
            let process = SingleProcess::start(event_loop(env)?, now_ms());
            let process = process.map_err(|error| Error::system("start", &error))?;
            let mut sampler = Sampler::new(process.memory.clone(), None);
            sampler.look(now_ms());
            PROCESS.set(Some(Process { process, sampler, looked: Instant::now() }));
        }
        PROCESS.with_borrow(|process| {
            let Some(Process { process, .. }) = process else { return Ok(Value::Null) };
            let (mapping, first) = process.cells().place();
            set_shared_buffer(&into, c"cells", mapping, first, PAGE_CELLS * 8)
                .map(|()| Value::Null)
                .map_err(|error| Error::system("shared buffer", &error))
        })
    };
    let started = outcome(start());
    // The handle on the loop must be closed before the loop ends.
    env.add_env_cleanup_hook((), |()| drop(PROCESS.take()))?;
    Ok(started)
}

/// `state` as in `WorkerInfo.detail`; `port` 0: none.
#[napi(js_name = "singleProcessState")]
pub fn single_process_state(state: String, port: u32) {
    let state = WorkerState::ALL.into_iter().find(|one| one.detail() == state).unwrap_or(WorkerState::Vacant);
    PROCESS.with_borrow(|process| {
        if let Some(Process { process, .. }) = process {
            process.stands(state, port as u16);
        }
    });
}

/// Counts a new connection.
#[napi(js_name = "singleProcessOpened")]
pub fn single_process_opened() {
    PROCESS.with_borrow(|process| {
        if let Some(Process { process, .. }) = process {
            process.opened();
        }
    });
}

/// The view named by `what`: 'workers', 'metrics' or 'health', in the same form as in a cluster.
#[napi(js_name = "singleProcessView")]
pub fn single_process_view(what: String) -> Value {
    PROCESS.with_borrow_mut(|process| {
        let Some(Process { process, sampler, looked }) = process else { return Value::Null };
        if looked.elapsed() >= INTERVAL {
            *looked = Instant::now();
            sampler.look(now_ms());
        }
        view_of(&what, &process.memory)
    })
}

fn view_of(what: &str, memory: &SharedMemory) -> Value {
    match what {
        "workers" => json!(view::workers(memory, now_ms())),
        "metrics" => json!(view::metrics(memory, now_ms())),
        _ => json!(view::health(memory)),
    }
}
