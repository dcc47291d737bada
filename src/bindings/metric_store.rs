//! The program's own metrics: they are defined here, and JavaScript writes their values directly.

use napi::bindgen_prelude::Object;
use napi_derive::napi;
use serde_json::{Value, json};

use super::config::parse;
use super::outcome;
use super::raw::set_shared_buffer;
use crate::error::{Code, Error};
use crate::metrics::instrument::Definition;
use crate::metrics::layout::SEGMENT_CELLS;
use crate::metrics::memory::{MetricStore, SharedMemory};
use crate::sys::local_time::now_ms;

/// The store in which this process writes its metrics.
#[napi(js_name = "MetricStore")]
pub struct NativeMetricStore(MetricStore);

impl NativeMetricStore {
    pub fn new(metric_store: MetricStore) -> Self {
        Self(metric_store)
    }
}

#[napi]
impl NativeMetricStore {
    /// A store without a cluster, which no other process reads.
    #[napi(factory)]
    pub fn single_process() -> napi::Result<Self> {
        let (memory, _memfds) =
            SharedMemory::create(now_ms()).map_err(|error| napi::Error::from_reason(error.to_string()))?;
        Ok(Self(MetricStore::of_primary(&memory)))
    }

    /// `into.cells` becomes an ArrayBuffer of doubles, indexed by cell; cell 1 has the number of values dropped for
    /// lack of room. `{ ok }` or `{ error }`.
    #[napi]
    pub fn share(&self, into: Object) -> Value {
        let (mapping, first) = self.0.cells().place();
        let shared = set_shared_buffer(&into, c"cells", mapping, first, SEGMENT_CELLS * 8);
        outcome(shared.map(|()| Value::Null).map_err(|error| Error::system("shared buffer", &error)))
    }

    /// `{ kind, name, help, labels, buckets }`: `{ ok: { family, buckets } }` or `{ error }`.
    #[napi]
    pub fn define(&self, definition: Value) -> Value {
        let read = parse::<Definition>(definition)
            .map_err(|error| Error::new(Code::InvalidArgument, format!("A metric's definition: {error}")));
        let defined = read.and_then(|definition| self.0.define(definition));
        outcome(
            defined.map(|(family, definition)| json!({ "family": family, "buckets": definition.buckets })),
        )
    }

    /// The cell of a new series' first value, or -1 without room.
    #[napi]
    pub fn series(&self, family: u32, labels: Vec<String>) -> i32 {
        self.0.series(family as usize, &labels).and_then(|at| i32::try_from(at).ok()).unwrap_or(-1)
    }

    /// The values of this store, in the form of `userMetrics`.
    #[napi]
    pub fn snapshot(&self) -> Value {
        json!(self.0.memory().metric_store().user_metrics())
    }
}
