//! Numbers about the workers, in memory that every process of a cluster maps: `layout` says where each number
//! stands and who writes it, `memory` holds the mapping, `meter` has the users' own, `messages` counts those by type; `aggregation` puts the numbers of workers together, `history`
//! keeps them, `text` writes them for Prometheus (all PURE but the mapping).

pub mod aggregation;
pub mod histogram;
pub mod history;
pub mod instrument;
pub mod layout;
pub mod memory;
pub mod messages;
pub mod text;
pub mod view;
