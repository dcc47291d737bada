//! What the primary and a worker say to each other. `frame` is the bytes, `control` drover's own words, `message` a
//! program's; `crypto` seals what crosses, `ledger` knows what waits for an answer, `policy` what may be sent;
//! `channel` carries frames, `line` on a runtime's loop; `desk` is a process's own side of messages, `gate` the
//! primary's watch over them, `router` the way from worker to worker; `parcel` carries accepted connections; `tickets` says how the keys of TLS session tickets lie in shared memory. User code never sees a control message; nothing here
//! decides anything about workers.

pub mod channel;
pub mod control;
pub mod crypto;
pub mod desk;
pub mod frame;
pub mod gate;
pub mod ledger;
pub mod line;
pub mod message;
pub mod parcel;
pub mod policy;
pub mod router;
pub mod tickets;
