//! What was observed, kept for those who ask later: the last events, errors by kind with the open circuits, the history
//! of the cluster's numbers. The primary writes, the monitoring API reads; each is a handle that both have. No HTTP here.

mod errors;
mod event_log;
mod history;

pub use errors::{Circuit, ErrorGroups};
pub use event_log::{EventLog, LoggedEvent, Since};
pub use history::SharedHistory;
