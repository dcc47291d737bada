//! Metrics in memory that every process of a cluster maps: `layout` defines where each number is stored and who writes
//! it, `memory` has the mapping, `instrument` the user metrics, `messages` the message counts by type, `responses` those of HTTP; `aggregation`
//! sums the workers' metrics, `history` keeps them, `text` writes them for Prometheus (all PURE except the mapping).

pub mod aggregation;
pub mod histogram;
pub mod history;
pub mod instrument;
pub mod layout;
pub mod memory;
pub mod messages;
pub mod responses;
pub mod text;
pub mod view;
