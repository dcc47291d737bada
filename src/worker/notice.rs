//! What JavaScript is told.

/// Each comes with a number, 0 where none is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Finish and exit; `Lifecycle::drain` says how.
    Drain,
    /// What the program asked of the cluster is settled; the number is the command's.
    CommandResult,
    /// A stop is announced.
    Unready,
    /// It is not ready so many milliseconds after its start.
    Late,
    /// So many idle connections are wanted for other workers.
    Asked,
    /// The time to drain is over.
    TimeUp,
    /// The primary ends in order; the number is the time to drain in milliseconds.
    ShutdownNotice,
    /// The primary is gone.
    Gone,
    /// It leads from now on (1), or is to lead no more (0).
    Lead,
    /// An event of the cluster is there to be read.
    Event,
    /// It is asked whether it is well; the number is the check's.
    Check,
    /// A diagnosis is asked for; the number is its id.
    Diagnose,
    /// The server of a group is to close; the number is the group's.
    CloseServer,
}
