//! Who gets the next connection: the strategies, the push/direct decision, the steering programs as data.
//! PURE: no clock, no socket, no randomness of its own. Time, counts and random numbers are arguments, so the
//! accept thread that calls this can be replayed in a test. Attaching a program and reading counters is
//! `sys`' and `dispatch`'s work.

mod barrier;
mod bpf;
mod choose;
mod hash;
mod rebalance;
mod steer;
mod switch;
mod weights;

pub use barrier::no_new_handshakes;
pub use bpf::Instruction;
pub use choose::{Candidate, Chooser, Strategy};
pub use hash::{ClientKey, client_key, flow_key};
pub use rebalance::{Ask, LOOK_EVERY as REBALANCE_EVERY, Load, Rebalance};
pub use steer::{Family, MAX_INSTRUCTIONS, Steering, program};
pub use switch::{Mode, RATE_UP, Switch};
pub use weights::live_weights;
