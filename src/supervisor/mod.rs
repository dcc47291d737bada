//! Which workers should exist and what to do next. PURE: facts and the time go in, actions come out; no process,
//! socket, clock or random number belongs here.
//!
//! `reconcile` is the state machine: it knows the phase of the cluster and passes facts to its parts. Each part owns
//! its state and uses only those that are listed after it: `operation`, commands such as rolls and scales; `slots`, the
//! workers and their starts and ends; `slot`, the active and the next worker of one slot; `death`, the end of a worker;
//! `worker`, one process; `budget`, which counts deaths. The parts add what they want done to the `Actions` of the
//! fact. Independently, `leader` reads the slots, and `hang` checks event loops.

mod action;
mod budget;
mod death;
mod fact;
pub mod hang;
mod leader;
mod operation;
mod policy;
mod reconcile;
mod slot;
mod slots;
#[cfg(test)]
mod tests;
mod worker;

pub use action::{Action, OWN};
pub use fact::Fact;
pub use leader::{Action as LeaderAction, Leader};
pub use policy::Policy;
pub use reconcile::Supervisor;
pub use slot::{ActiveWorker, Role, Slot};
pub use worker::{Stage, Worker};
