//! The primary's side: one loop that owns the state of a cluster. Everything else sends it inputs or reads
//! what it published. `supervisor` says what to do; the loop does it and tells what happened, once.
//!
//! `setup` is what every part is asked for and `configure` makes it of a configuration (`logging`: the log's part); `news` is what goes in
//! and comes out, `handle` starts the loop and talks to it, `run` is the loop and `heard` what others tell it;
//! `order` what programs ask of a running cluster; `listen` opens addresses, `link` is a worker's channel and end,
//! `starts` who waits for the program's environment, `succession` whether a replacement serves what its predecessor does, `crew` the workers that live now, `hang` watches their event loops, `health` asks whether they are well, `leading` tells who leads,
//! `telling` what happened, `tickets` has the keys of TLS session tickets, `diagnose` takes heap snapshots and profiles. Messages between
//! workers go through `relay`; those of the primary's program through `desk`, on the program's own thread, which gets
//! the channels by `arrivals`.

mod arrivals;
mod configure;
mod crew;
mod desk;
mod diagnose;
mod handle;
mod hang;
mod health;
mod heard;
mod leading;
mod link;
mod listen;
mod logging;
mod monitor;
mod news;
mod order;
mod orders;
mod relay;
mod report;
mod run;
mod sampler;
mod setup;
mod starts;
mod succession;
mod telling;
mod tickets;

pub use configure::{Command as LaunchCommand, setup};
pub use desk::{Deliver, PrimaryDesk};
pub use handle::Primary;
pub use news::Output;
pub use sampler::Sampler;
pub use setup::{Greeting, Setup};
