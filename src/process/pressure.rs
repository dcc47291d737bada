//! Pressure stall information: how much of the time tasks wait for a resource. Source: Documentation/accounting/psi.rst.

use std::fs;

/// Percent of the last 10 s in which a task of this machine waited for a CPU; None if the kernel does not say.
pub fn cpu() -> Option<f64> {
    average(&fs::read_to_string("/proc/pressure/cpu").ok()?)
}

fn average(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split(' ').find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_of_ten_seconds_is_read() {
        let text = "some avg10=12.50 avg60=3.00 avg300=1.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(average(text), Some(12.5));
        assert_eq!(average("some avg10=0.00 total=0"), Some(0.0));
        for text in ["", "full avg10=1.00 total=0", "some avg10=x"] {
            assert_eq!(average(text), None, "{text}");
        }
    }
}
