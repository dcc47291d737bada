//! Stored observations: the last events, error groups with open circuits, the history of the cluster's metrics. The
//! primary writes, the monitoring API reads; each is a handle that both share. No HTTP here.

mod errors;
mod event_log;
mod history;

pub use errors::{Circuit, ErrorGroups};
pub use event_log::{EventLog, LoggedEvent, Since};
pub use history::SharedHistory;
