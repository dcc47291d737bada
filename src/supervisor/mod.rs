//! Which workers should exist and what to do next. PURE: facts and the time go in, actions come out; no
//! process, socket, clock or random number may come in here.
//!
//! `reconcile` is the machine: it knows the phase of the cluster and tells its parts what a fact means for them. Below it
//! each part owns its state and uses only those that stand after it here: `operation`, what somebody asked the cluster to
//! become; `slots`, the workers there are and their coming and going; `slot`, who sits in one slot and who comes next;
//! `death`, what a worker's end means; `worker`, one process; `budget`, which counts deaths. What they want done they add
//! to the `Actions` of the fact. `leader` looks at the slots, and `hang` judges event loops apart from all that.

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
