//! The primary's side: one loop that owns the state of a cluster. Everything else sends it inputs or reads
//! what it published. `supervisor` says what to do; the loop does it and tells what happened, once.
//!
//! `setup` is what every part is asked for and `configure` makes it of a configuration (`logging`: the log's part); `news` is what goes in
//! and comes out, `handle` starts the loop and talks to it, `run` is the loop and `heard` what others tell it;
//! `command` what programs ask of a running cluster; `listen` opens addresses, `control` is a worker's channel and end,
//! `starts` who waits for the program's environment, `succession` whether a replacement serves what its predecessor does, `workers` the workers that live now, `hang` watches their event loops, `health` asks whether they are well, `leading` tells who leads,
//! `telling` what happened, `tickets` has the keys of TLS session tickets, `diagnose` takes heap snapshots and profiles. Messages between
//! workers go through `relay`; those of the primary's program through `endpoint`, on the program's own thread, which gets
//! the channels by `pending_channels`.

mod commands;
mod configure;
mod control_channel;
mod diagnoses;
mod handle;
mod health;
mod hung_workers;
mod inputs;
mod leadership;
mod listen;
mod logging;
mod monitor;
mod pending_channels;
mod pending_starts;
mod program_messages;
mod publish;
mod relay;
mod replacement_ready;
mod report;
mod run;
mod sampler;
mod setup;
mod ticket_rotation;
mod worker_messages;
mod worker_processes;

pub use configure::{Command as LaunchCommand, setup};
pub use handle::Primary;
pub use inputs::Output;
pub use program_messages::{Deliver, ProgramMessages};
pub use sampler::Sampler;
pub use setup::{Setup, WorkerConfig};
