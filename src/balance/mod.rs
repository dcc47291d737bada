//! Load balancing: the strategies, the push/direct decision, the steering programs as data. PURE: no clock, socket or
//! randomness. Time, counts and random numbers are arguments, so a test can replay the accept thread. `sys` and
//! `dispatch` attach programs and read counters.

mod admission;
mod barrier;
mod bpf;
mod choose;
mod hash;
mod rebalance;
mod steering;
mod switch;
mod weights;

pub use admission::{Change as AdmissionChange, Intake, LoadShedder, Sight};
pub use barrier::no_new_handshakes;
pub use bpf::Instruction;
pub use choose::{Candidate, Chooser, Strategy};
pub use hash::{ClientKey, client_key, flow_key};
pub use rebalance::{Ask, LOOK_INTERVAL as REBALANCE_INTERVAL, Load, Rebalance};
pub use steering::{Family, MAX_INSTRUCTIONS, Steering, program};
pub use switch::{Mode, RATE_UP, Switch};
pub use weights::live_weights;
