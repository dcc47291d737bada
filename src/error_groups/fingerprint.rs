//! The fingerprint of an error: its class, its message without numbers, and the program's function in which it
//! happened. Errors with the same fingerprint form a group.

use std::fmt::Write;

use ring::digest::{Context, SHA256};

use super::Occurrence;

/// Twelve hexadecimal digits.
pub fn fingerprint(occurrence: &Occurrence) -> String {
    let mut hash = Context::new(&SHA256);
    let place = occurrence.stack.as_deref().and_then(place).unwrap_or_default();
    let first_line = occurrence.message.lines().next().unwrap_or_default();
    for part in [&format!("{:?}", occurrence.class), &general(first_line), &general(place)] {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    hash.finish().as_ref().iter().take(6).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The first frame in the program's own code.
fn place(stack: &str) -> Option<&str> {
    let frames = || stack.lines().map(str::trim).filter(|line| line.starts_with("at "));
    let is_own = |frame: &&str| !frame.contains("node:") && !frame.contains("node_modules");
    frames().find(is_own).or_else(|| frames().next())
}

/// Replaces numbers and similar parts (ids, addresses), which do not matter for the group.
pub fn general(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(from) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let length = rest[from..].find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len() - from);
        let word = &rest[from..from + length];
        result.push_str(&rest[..from]);
        let is_number = word.bytes().any(|byte| byte.is_ascii_digit());
        result.push_str(if is_number { "#" } else { word });
        rest = &rest[from + length..];
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::super::Class;
    use super::*;
    use crate::event::Level;
    use proptest::prelude::*;

    fn occurrence(message: &str, stack: Option<&str>) -> Occurrence {
        let stack = stack.map(str::to_owned);
        let (class, severity) = (Class::UncaughtException, Level::Error);
        Occurrence { class, severity, message: message.into(), worker: None, stack }
    }

    #[test]
    fn numbers_and_lines_of_code_make_no_other_kind() {
        let one =
            occurrence("order 17 of user 3f2a9c11 failed", Some("Error: x\n    at pay (/app/pay.js:17:3)"));
        let two =
            occurrence("order 4 of user 9b00ffee failed", Some("Error: x\n    at pay (/app/pay.js:21:9)"));
        assert_eq!(fingerprint(&one), fingerprint(&two));
        assert_eq!(fingerprint(&one).len(), 12);
    }

    #[test]
    fn another_message_another_place_or_another_class_do() {
        let one = occurrence("no", Some("at pay (/app/pay.js:1:1)"));
        let kinds = [
            occurrence("yes", Some("at pay (/app/pay.js:1:1)")),
            occurrence("no", Some("at refund (/app/pay.js:1:1)")),
            occurrence("no", None),
            Occurrence { class: Class::Alert, ..one.clone() },
        ];
        for other in kinds {
            assert_ne!(fingerprint(&one), fingerprint(&other), "{other:?}");
        }
    }

    #[test]
    fn the_place_is_the_programs_own() {
        let stack = "Error: no\n    at node:internal/process:1:1\n    at /app/node_modules/x/i.js:1:1\n    at f (/app/a.js:2:2)";
        assert_eq!(place(stack), Some("at f (/app/a.js:2:2)"));
        assert_eq!(place("Error\n    at node:net:5:5"), Some("at node:net:5:5"));
        assert_eq!(place("Error"), None);
    }

    proptest! {
        #[test]
        fn any_text_has_a_general_form_that_is_its_own(text in "\\PC*") {
            prop_assert_eq!(general(&general(&text)), general(&text));
        }
    }
}
