//! Processes: starting workers, learning of their end, and what this machine gives a process. Decides nothing
//! about which workers should exist.

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
pub mod script;
pub mod spawner;
pub mod usage;
pub mod watcher;
pub mod zombies;
