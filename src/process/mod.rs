//! Processes: spawning workers, detecting their exit, and the machine's resources. It does not decide which workers
//! should exist.

mod control_groups;
pub mod cpus;
mod disks;
pub mod doing;
pub mod exit;
pub mod holder;
mod inspector;
pub mod launch;
pub mod machine;
pub mod monitor;
pub mod orphans;
pub mod pressure;
pub mod scheduling;
pub mod script;
pub mod spawner;
pub mod usage;
pub mod watcher;
pub mod worker_groups;
pub mod zombies;
