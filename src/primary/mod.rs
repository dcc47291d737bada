//! The primary: one loop that owns the state of a cluster. All other code sends it inputs or reads what it has
//! published. `supervisor` decides what to do; the loop carries it out and publishes each event once.
//!
//! - `handle` starts the loop and talks to it; `inputs` defines its inputs and outputs.
//! - `cluster` is the loop. It passes inputs to the parts, and their `effects` to other parts. Each part owns its state
//!   and knows nothing about the loop:
//!   - `lifecycle`: pending calls of start and stop;
//!   - `workers`: the worker processes, their channels and their setup;
//!   - `addresses`: requests of workers and of the program for addresses, and their replies;
//!   - `slot_table`: the slots in shared memory;
//!   - `readiness`: slow starts, and whether a replacement serves its predecessor's addresses;
//!   - `health`: checks, responses, event loops that are blocked or hung, and the cluster's condition;
//!   - `live_config`: the configuration, and what a change of it means for each part;
//!   - `limits`: the limits of the workers and of their memory; `oom_kills`: those of the kernel;
//!   - `memory_watch`: the memory of the workers over time;
//!   - `scaling`: the number of workers;
//!   - `relay`: messages from worker to worker;
//!   - `commands`: pending scales and rolls; `diagnostics`: pending heap snapshots and profiles;
//!   - `publish`: the log, events, error groups and notifications; `report`: the texts of some log lines;
//!   - `sampling`: the thread that samples the cluster (`sampler`); `monitor`: the thread that serves the API.
//! - `setup` has the settings of every part, `configure` creates them from a configuration (`logging`: the log's
//!   settings).
//! - `shared_cache`: the thread of the shared cache, for the loop and for the program.
//! - `fleet`: the thread that knows the other machines, for the loop and for the program.
//! - `program_messages`: the messages of the primary's program, on the program's own thread.

mod addresses;
mod cluster;
mod commands;
mod configure;
mod diagnostics;
mod effects;
mod fleet;
mod handle;
mod health;
mod inputs;
mod lifecycle;
mod limits;
mod live_config;
mod logging;
mod memory_watch;
mod monitor;
mod oom_kills;
mod program_messages;
mod publish;
mod readiness;
mod relay;
mod report;
mod sampler;
mod sampling;
mod scaling;
mod setup;
mod shared_cache;
mod slot_table;
mod workers;

pub use configure::{Command as LaunchCommand, setup};
pub use fleet::{Fleet, Publish};
pub use handle::Primary;
pub use inputs::Output;
pub use program_messages::{Deliver, ProgramMessages};
pub use sampler::Sampler;
pub use setup::{Setup, WorkerConfig};
pub use shared_cache::SharedCache;
