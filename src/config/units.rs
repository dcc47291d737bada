//! Durations and sizes as people write them. Canonical units are milliseconds and bytes.

use serde_json::Value;

/// The maximum duration, in milliseconds: ten years. Adding it to any time cannot overflow.
pub const MAX_LENGTH: u64 = 10 * 365 * 24 * 60 * 60 * 1000;
/// The maximum size, in bytes: 1 PiB, which a JavaScript number represents exactly.
pub const LARGEST: u64 = 1 << 50;
pub const MIB: u64 = 1 << 20;

/// Milliseconds from a number or from `'250ms'`, `'30s'`, `'5m'`, `'1h'`, `'7d'`.
pub fn milliseconds(raw: &Value) -> Option<u64> {
    let factor = |unit: &str| match unit {
        "" | "ms" => Some(1.0),
        "s" => Some(1e3),
        "m" | "min" => Some(60e3),
        "h" => Some(3600e3),
        "d" => Some(86400e3),
        _ => None,
    };
    quantity(raw, factor, MAX_LENGTH)
}

/// Bytes from a number or from `'512MB'`, `'1G'`, `'10KB'`: 1024-based, case-insensitive.
pub fn bytes(raw: &Value) -> Option<u64> {
    let factor = |unit: &str| match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(1.0),
        "k" | "kb" | "ki" | "kib" => Some(1024.0),
        "m" | "mb" | "mi" | "mib" => Some(MIB as f64),
        "g" | "gb" | "gi" | "gib" => Some((1u64 << 30) as f64),
        "t" | "tb" | "ti" | "tib" => Some((1u64 << 40) as f64),
        _ => None,
    };
    quantity(raw, factor, LARGEST)
}

fn quantity(raw: &Value, factor: impl Fn(&str) -> Option<f64>, most: u64) -> Option<u64> {
    let amount = match raw {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => {
            let text = text.trim();
            let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
            let (number, unit) = text.split_at(end);
            number.parse::<f64>().ok()? * factor(unit.trim())?
        }
        _ => return None,
    };
    // Both bounds are far below 2^53, so the rounded amount is exact.
    (0.0..=most as f64).contains(&amount).then_some(amount.round() as u64)
}

/// Milliseconds in the largest unit that divides them: `'30s'`.
pub fn duration_text(milliseconds: u64) -> String {
    unit_text(milliseconds, &[(3_600_000, "h"), (60_000, "m"), (1000, "s")], "ms")
}

/// Bytes in the largest unit that divides them: `'512MB'`.
pub fn size_text(bytes: u64) -> String {
    unit_text(bytes, &[(1 << 30, "GB"), (MIB, "MB"), (1024, "KB")], "B")
}

fn unit_text(amount: u64, units: &[(u64, &str)], smallest: &str) -> String {
    match units.iter().find(|(size, _)| amount > 0 && amount.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", amount / size),
        None => format!("{amount}{smallest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn durations_are_milliseconds_or_a_number_with_its_unit() {
        for (raw, expected) in [
            (json!(0), Some(0)),
            (json!(1500), Some(1500)),
            (json!(333.4), Some(333)),
            (json!("250ms"), Some(250)),
            (json!("30s"), Some(30_000)),
            (json!(" 1.5 s "), Some(1500)),
            (json!("5m"), Some(300_000)),
            (json!("1h"), Some(3_600_000)),
            (json!("5000"), Some(5000)),
            (json!("5M"), None),
            (json!("s"), None),
            (json!("1.2.3s"), None),
            (json!("-1s"), None),
            (json!(-1), None),
            (json!("5 parsecs"), None),
            (json!(1e300), None),
            (json!(true), None),
        ] {
            assert_eq!(milliseconds(&raw), expected, "{raw}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_a_number_with_its_unit() {
        for (raw, expected) in [
            (json!(1024), Some(1024)),
            (json!("512MB"), Some(512 * MIB)),
            (json!("512mb"), Some(512 * MIB)),
            (json!("256Mi"), Some(256 * MIB)),
            (json!("1G"), Some(1 << 30)),
            (json!("1.5k"), Some(1536)),
            (json!("10KB"), Some(10_240)),
            (json!("2048PB"), None),
            (json!("9999999999T"), None),
            (json!(""), None),
        ] {
            assert_eq!(bytes(&raw), expected, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(amount in 0..=LARGEST, time in 0..=MAX_LENGTH) {
            prop_assert_eq!(bytes(&json!(size_text(amount))), Some(amount));
            prop_assert_eq!(milliseconds(&json!(duration_text(time))), Some(time));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            prop_assert!(milliseconds(&json!(text)).is_none_or(|read| read <= MAX_LENGTH));
            prop_assert!(bytes(&json!(text)).is_none_or(|read| read <= LARGEST));
        }
    }
}
