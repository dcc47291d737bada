//! Statistics of the machine and of single processes, for the ProcessMonitor.

use std::sync::{Arc, Mutex, PoisonError};

use napi::bindgen_prelude::AsyncTask;
use napi::{Env, Task};
use napi_derive::napi;
use serde_json::{Value, json};

use crate::process::monitor::{Found, Monitor};
use crate::sys::local_time::now_ms;

#[napi]
pub struct NativeMonitor(Arc<Mutex<Monitor>>);

#[napi]
impl NativeMonitor {
    #[napi(constructor)]
    // A JavaScript class, which Rust never constructs.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Monitor::default())))
    }

    /// A sample of the machine or of the process with this pid, as JSON; null if there is no such process or nothing is
    /// known. Slow reads run on libuv's thread pool.
    #[napi]
    pub fn look(&self, pid: Option<u32>) -> AsyncTask<Look> {
        AsyncTask::new(Look { monitor: self.0.clone(), pid })
    }
}

pub struct Look {
    monitor: Arc<Mutex<Monitor>>,
    pid: Option<u32>,
}

impl Task for Look {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> napi::Result<String> {
        let found = self.pid.map(|pid| (pid, Found::look(pid)));
        // A sample that panicked has left the data of an earlier one.
        let mut monitor = self.monitor.lock().unwrap_or_else(PoisonError::into_inner);
        let stats = match found {
            Some((pid, found)) => monitor.process(pid, found),
            None => monitor.system().map(|system| json!(system)),
        };
        let stats = stats.map_or(Value::Null, |mut stats| {
            stats["timestamp"] = now_ms().into();
            stats
        });
        Ok(stats.to_string())
    }

    fn resolve(&mut self, _env: Env, stats: String) -> napi::Result<String> {
        Ok(stats)
    }
}
