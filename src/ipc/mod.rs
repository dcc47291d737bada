//! Communication between the primary and workers. `frame` encodes frames, `control` the control messages, `message` the
//! program's messages; `crypto` seals frames, `pending_requests` tracks requests, `message_rules` says which messages are
//! allowed; `channel` transports frames, `message_channel` does so on the runtime's event loop; `endpoint` is a process's
//! message endpoint, `message_policy` applies the rules in the primary, `router` tracks requests between workers;
//! `fd_message` transports accepted connections; `ticket_keys` is the layout of TLS ticket keys in shared memory. Programs
//! never see control messages, and this module makes no decisions about workers.

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
