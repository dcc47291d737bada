//! Numbers about the workers, in memory that every process of a cluster maps: `layout` says where each number
//! stands and who writes it (PURE), `memory` holds the mapping.

pub mod layout;
pub mod memory;
