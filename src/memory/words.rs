//! Amounts of memory and times, for people.

pub const MIB: f64 = 1048576.0;

/// Bytes.
pub fn megabytes(bytes: f64) -> String {
    let megabytes = bytes / MIB;
    if megabytes >= 100.0 { format!("{megabytes:.0} MB") } else { format!("{megabytes:.1} MB") }
}

/// Bytes per second.
pub fn rate(bytes_per_second: f64) -> String {
    if bytes_per_second >= MIB {
        format!("{} per second", megabytes(bytes_per_second))
    } else {
        format!("{:.1} KB per second", bytes_per_second / 1024.0)
    }
}

/// A time in seconds.
pub fn time(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.0} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        assert_eq!([megabytes(512.0 * MIB), megabytes(1.5 * MIB)], ["512 MB", "1.5 MB"]);
        assert_eq!([rate(20.0 * MIB), rate(51_200.0)], ["20.0 MB per second", "50.0 KB per second"]);
        assert_eq!([time(9.4), time(1200.0), time(36_000.0)], ["9 s", "20 min", "10 h"]);
    }
}
