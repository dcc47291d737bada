//! Notifications for JavaScript.

/// Each has a number, which is 0 unless described here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Finish and exit; `Lifecycle::drain` has the details.
    Drain,
    /// A command of the program is settled; the number is the command's.
    CommandResult,
    /// A stop was announced.
    Unready,
    /// The worker is not ready; the number is the milliseconds since its start.
    Late,
    /// Idle connections are requested for other workers; the number is how many.
    HandoffRequested,
    /// The deadline of the drain has passed.
    TimeUp,
    /// The primary exits normally; the number is the time to drain in milliseconds.
    ShutdownNotice,
    /// The primary has ended.
    Gone,
    /// The worker becomes the leader (1), or must resign (0).
    Lead,
    /// An event of the cluster can be read.
    Event,
    /// A health check; the number is the check's.
    Check,
    /// A diagnosis is requested; the number is its id.
    Diagnose,
    /// A task that concerns memory is requested; the number is its id.
    Memory,
    /// Settings of adaptive admission have changed.
    Admission,
    /// The server of a group must close; the number is the group's.
    CloseServer,
}
