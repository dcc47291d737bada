//! What the primary and a worker say to each other. `frame` is the bytes, `control` drover's own words, `message` a
//! program's; `crypto` seals what crosses, `pending` knows what waits for an answer, `policy` what may be sent;
//! `channel` carries frames, `channel` on a runtime's loop; `endpoint` is a process's own side of messages, `message_policy` the
//! primary's watch over them, `router` the way from worker to worker; `fd_message` carries accepted connections; `tickets` says how the keys of TLS session tickets lie in shared memory. User code never sees a control message; nothing here
//! decides anything about workers.

pub mod channel;
pub mod control;
pub mod crypto;
pub mod endpoint;
pub mod fd_message;
pub mod frame;
pub mod message;
pub mod message_channel;
pub mod message_policy;
pub mod message_rules;
pub mod pending_requests;
pub mod router;
pub mod ticket_keys;
