//! Patterns of keys: `*` stands for any number of units, everything else for itself. PURE.

/// Whether `text` matches all of `pattern`. Linear in practice: only the last `*` is tried again.
pub fn matches<T: Copy + PartialEq>(pattern: &[T], text: &[T], star: T) -> bool {
    let (mut at, mut position) = (0, 0);
    // The last `*`, and the part of the text that it covers.
    let mut last: Option<(usize, usize)> = None;
    while position < text.len() {
        match pattern.get(at) {
            Some(unit) if *unit == star => {
                last = Some((at, position));
                at += 1;
            }
            Some(unit) if *unit == text[position] => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((star_at, covered)) = &mut last else { return false };
                *covered += 1;
                (at, position) = (*star_at + 1, *covered);
            }
        }
    }
    pattern[at..].iter().all(|unit| *unit == star)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_match(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), b'*')
    }

    #[test]
    fn a_star_stands_for_any_number_of_units() {
        for (pattern, text, expected) in [
            ("user:*", "user:1", true),
            ("user:*", "user:", true),
            ("user:*", "users:1", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*:name", "user:1:name", true),
            ("*:name", "user:1:names", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("**", "x", true),
            ("a?c", "abc", false),
        ] {
            assert_eq!(is_match(pattern, text), expected, "{pattern} {text}");
        }
    }

    /// The definition, word for word.
    fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|skipped| by_definition(rest, &text[skipped..])),
            [unit, rest @ ..] => text.first() == Some(unit) && by_definition(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn it_matches_as_the_definition_says(pattern in "[ab*]{0,6}", text in "[ab]{0,10}") {
            prop_assert_eq!(is_match(&pattern, &text), by_definition(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
