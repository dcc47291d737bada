//! The primary's side: one loop that owns the state of a cluster. Everything else sends it inputs or reads
//! what it published. `supervisor` says what to do; the loop does it and publishes what happened, once.
//!
//! - `handle` starts the loop and talks to it; `inputs` is what goes in and comes out.
//! - `cluster` is the loop. It carries inputs to the parts, and the `effects` that they want to the others. Each part owns
//!   its state and knows nothing of the loop:
//!   - `lifecycle`: who waits for the start and the end;
//!   - `workers`: the worker processes, their channels and what they are made of;
//!   - `slot_table`: the slots as every process reads them;
//!   - `readiness`: starts that take long, and whether a replacement serves what its predecessor does;
//!   - `health`: checks, responses, event loops that are blocked or hung, and the cluster's condition;
//!   - `relay`: messages from worker to worker;
//!   - `commands`: scalings and rolls under way; `diagnostics`: heap snapshots and profiles under way;
//!   - `publish`: the log, events, error groups and notifications; `report`: what some of the lines say;
//!   - `monitor`: the thread that looks at the cluster (`sampler`) and serves the API.
//! - `addresses` opens addresses, for workers and for the primary.
//! - `setup` is what every part is asked for, `configure` makes it of a configuration (`logging`: the log's part).
//! - `program_messages` are the messages of the primary's program, on the program's own thread.

mod addresses;
mod cluster;
mod commands;
mod configure;
mod diagnostics;
mod effects;
mod handle;
mod health;
mod inputs;
mod lifecycle;
mod logging;
mod monitor;
mod program_messages;
mod publish;
mod readiness;
mod relay;
mod report;
mod sampler;
mod setup;
mod slot_table;
mod workers;

pub use configure::{Command as LaunchCommand, setup};
pub use handle::Primary;
pub use inputs::Output;
pub use program_messages::{Deliver, ProgramMessages};
pub use sampler::Sampler;
pub use setup::{Setup, WorkerConfig};
