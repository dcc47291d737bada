//! The most frequent messages; messages that differ only in numbers count as equal. PURE, and of bounded size.

use std::collections::HashMap;

use crate::event::head;

/// Maximum number of distinct messages; above it the less frequent half is dropped.
const MAX: usize = 512;
/// Bytes of a message that are compared.
const MAX_LENGTH: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frequent {
    pub message: String,
    /// pino's number of the level, of the last occurrence.
    pub level: u8,
    pub count: u64,
    /// The last occurrence, milliseconds since 1970.
    pub last: u64,
}

#[derive(Debug, Default)]
struct Seen {
    level: u8,
    count: u64,
    last: u64,
}

#[derive(Default)]
pub struct Table {
    seen: HashMap<Box<str>, Seen>,
    /// A buffer for the normalised message.
    common: String,
}

impl Table {
    pub fn count(&mut self, message: &str, level: u8, now_ms: u64) {
        normalise(message, &mut self.common);
        if let Some(seen) = self.seen.get_mut(self.common.as_str()) {
            *seen = Seen { level, count: seen.count + 1, last: now_ms };
            return;
        }
        if self.seen.len() >= MAX {
            self.forget_half();
        }
        self.seen.insert(self.common.as_str().into(), Seen { level, count: 1, last: now_ms });
    }

    fn forget_half(&mut self) {
        let mut ranks: Vec<(u64, u64)> = self.seen.values().map(|seen| (seen.count, seen.last)).collect();
        let (_, middle, _) = ranks.select_nth_unstable(MAX / 2);
        let middle = *middle;
        self.seen.retain(|_, seen| (seen.count, seen.last) > middle);
    }

    /// The `most` most frequent messages in descending order.
    pub fn top(&self, most: usize) -> Vec<Frequent> {
        let mut all: Vec<(&str, &Seen)> = self.seen.iter().map(|(text, seen)| (&**text, seen)).collect();
        all.sort_by(|(a, x), (b, y)| (y.count, y.last, a).cmp(&(x.count, x.last, b)));
        let frequent = all.into_iter().take(most).map(|(message, seen)| Frequent {
            message: message.to_owned(),
            level: seen.level,
            count: seen.count,
            last: seen.last,
        });
        frequent.collect()
    }
}

/// Replaces every run of digits by `#`.
fn normalise(message: &str, into: &mut String) {
    into.clear();
    let message = head(message, MAX_LENGTH);
    let (mut from, end) = (0, message.len());
    let bytes = message.as_bytes();
    while let Some(begin) = bytes[from..].iter().position(u8::is_ascii_digit) {
        let begin = from + begin;
        into.push_str(&message[from..begin]);
        into.push('#');
        from = bytes[begin..].iter().position(|byte| !byte.is_ascii_digit()).map_or(end, |more| begin + more);
    }
    into.push_str(&message[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_message() {
        let mut table = Table::default();
        for (message, at) in [("user 17 took 3 ms", 1), ("user 4 took 250 ms", 2), ("other", 3)] {
            table.count(message, 30, at);
        }
        let first = Frequent { message: "user # took # ms".into(), level: 30, count: 2, last: 2 };
        assert_eq!(table.top(1), [first]);
        assert_eq!(table.top(10).len(), 2);
    }

    #[test]
    fn it_never_grows_and_keeps_what_is_frequent() {
        let mut table = Table::default();
        for number in 0..10_000u32 {
            let messages: String = number.to_string().bytes().map(|digit| char::from(digit + 49)).collect();
            table.count(&messages, 30, u64::from(number));
            table.count("again and again", 50, u64::from(number));
        }
        assert!(table.seen.len() <= MAX);
        assert_eq!(table.top(1)[0].count, 10_000);
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let mut common = String::new();
        normalise(&"ü".repeat(150), &mut common);
        assert_eq!(common, "ü".repeat(100));
        normalise("a1", &mut common);
        assert_eq!(common, "a#");
    }
}
