//! The machine's clock, and the local date and time for log lines.

use std::fmt;
use std::mem::zeroed;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970; a clock before that reads as 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A moment in the machine's time zone, to the second.
pub struct LocalTime(libc::tm);

impl LocalTime {
    /// `ms`: milliseconds since 1970.
    pub fn at(ms: u64) -> Self {
        let seconds = libc::time_t::try_from(ms / 1000).unwrap_or(0);
        // SAFETY: tm is plain data; localtime_r writes only into it and is safe to call from any thread.
        unsafe {
            let mut parts: libc::tm = zeroed();
            libc::localtime_r(&raw const seconds, &raw mut parts);
            Self(parts)
        }
    }
}

impl fmt::Display for LocalTime {
    /// `yyyy-mm-dd HH:MM:ss`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let libc::tm { tm_year, tm_mon, tm_mday, tm_hour, tm_min, tm_sec, .. } = self.0;
        let (year, month) = (tm_year + 1900, tm_mon + 1);
        write!(f, "{year:04}-{month:02}-{tm_mday:02} {tm_hour:02}:{tm_min:02}:{tm_sec:02}")
    }
}
