//! Small questions to the kernel about this process that need no policy.

/// Wakes within 1 us of a deadline instead of 50 us (PR_SET_TIMERSLACK), for the calling thread alone.
pub fn precise_timers() {
    // SAFETY: this prctl takes an integer and touches only the calling thread's timer slack.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000_usize) };
}

/// The soft limit of open descriptors of this process.
pub fn descriptors() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}
