//! Parses a program's line if it is a JSON object as loggers write them. PURE: one pass, and unknown members are not
//! kept.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Delimiters of the request id that a worker puts at the beginning of a line written during a request.
pub const ID_BEGINS: u8 = 0x1e;
pub const ID_ENDS: u8 = 0x1f;
/// Maximum length of a request id.
pub const MAX_ID: usize = 128;

/// The request id at the beginning of a line, if there is one, and the rest of the line.
pub fn request_of(line: &[u8]) -> (Option<&str>, &[u8]) {
    let Some(rest) = line.strip_prefix(&[ID_BEGINS]) else { return (None, line) };
    let end = rest.iter().take(MAX_ID + 1).position(|byte| *byte == ID_ENDS);
    match end.and_then(|end| Some((std::str::from_utf8(&rest[..end]).ok()?, &rest[end + 1..]))) {
        Some((id, line)) => (Some(id), line),
        None => (None, line),
    }
}

/// The byte that begins a terminal escape sequence.
pub const ESCAPE: u8 = 0x1b;

/// Removes terminal escape sequences (ECMA-48): colours, cursor movements, titles. The text of a link remains.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, sequence)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = &sequence[escape_sequence_length(sequence.as_bytes())..];
    }
    plain.push_str(rest);
    plain
}

/// The length of an escape sequence after its escape. A truncated one extends to the end of the text.
fn escape_sequence_length(sequence: &[u8]) -> usize {
    let until = |is_end: &dyn Fn(&u8) -> bool| sequence.iter().position(is_end);
    match sequence.first() {
        // Parameter and intermediate bytes, then a final byte.
        Some(b'[') => {
            let end = sequence[1..].iter().position(|byte| !(0x20..=0x3f).contains(byte));
            // An invalid sequence is text again.
            end.map_or(sequence.len(), |end| {
                1 + end + usize::from((0x40..=0x7e).contains(&sequence[1 + end]))
            })
        }
        // A string, terminated by BEL or by ESC and a backslash.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => match until(&|byte| matches!(byte, 7 | 0x1b)) {
            Some(end) if sequence[end] == 7 => end + 1,
            Some(end) => end + 1 + usize::from(sequence.get(end + 1) == Some(&b'\\')),
            None => sequence.len(),
        },
        Some(b' '..=b'/') => until(&|byte| !(b' '..=b'/').contains(byte))
            .map_or(sequence.len(), |end| end + usize::from(sequence[end].is_ascii())),
        Some(b'0'..=b'~') => 1,
        _ => 0,
    }
}

/// The members of a logger's line that drover uses.
#[derive(Debug, Default, PartialEq)]
pub struct Members<'a> {
    /// pino's number of the level, also if the line has a name.
    pub level: Option<u8>,
    /// Milliseconds since 1970, if the line has a number.
    pub time: Option<u64>,
    pub msg: Option<Cow<'a, str>>,
    pub request_id: Option<Cow<'a, str>>,
    pub has_level: bool,
    pub has_time: bool,
    pub has_pid: bool,
    pub has_hostname: bool,
    pub has_env: bool,
    pub has_worker: bool,
    pub is_empty: bool,
}

/// None if the line is not a JSON object or not valid UTF-8.
pub fn members(line: &[u8]) -> Option<Members<'_>> {
    if line.first() != Some(&b'{') || line.last() != Some(&b'}') {
        return None;
    }
    let mut reader = serde_json::Deserializer::from_slice(line);
    let members = Members::deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    // The parser does not validate skipped values, so the whole line must be valid UTF-8.
    std::str::from_utf8(line).ok().map(|_| members)
}

/// pino's number of a level.
pub fn level_named(name: &str) -> Option<u8> {
    Some(match name.to_ascii_lowercase().as_str() {
        "trace" | "silly" => 10,
        "debug" | "verbose" => 20,
        "info" | "http" | "notice" => 30,
        "warn" | "warning" => 40,
        "error" => 50,
        "fatal" | "critical" | "alert" | "emerg" => 60,
        _ => return None,
    })
}

/// The name of pino's number of a level.
pub fn level_name(level: u8) -> &'static str {
    match level {
        0..=10 => "trace",
        11..=20 => "debug",
        21..=30 => "info",
        31..=40 => "warn",
        41..=50 => "error",
        51.. => "fatal",
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Members { is_empty: true, ..Members::default() };
        while let Some(Scalar::Text(key)) = map.next_key::<Scalar<'de>>()? {
            found.is_empty = false;
            match key.as_ref() {
                "level" => {
                    found.has_level = true;
                    found.level = match map.next_value()? {
                        Scalar::Number(level) => Some(level.clamp(0.0, 255.0) as u8),
                        Scalar::Text(name) => level_named(&name),
                        Scalar::Other => None,
                    };
                }
                "time" => {
                    found.has_time = true;
                    if let Scalar::Number(time) = map.next_value()? {
                        found.time = Some(time.max(0.0) as u64);
                    }
                }
                "msg" => found.msg = map.next_value::<Scalar<'de>>()?.text().or(found.msg),
                "message" => found.msg = found.msg.or(map.next_value::<Scalar<'de>>()?.text()),
                "requestId" => found.request_id = map.next_value::<Scalar<'de>>()?.text(),
                other => {
                    match other {
                        "pid" => found.has_pid = true,
                        "hostname" => found.has_hostname = true,
                        "env" => found.has_env = true,
                        "worker" => found.has_worker = true,
                        _ => {}
                    }
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

enum Scalar<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    Other,
}

impl<'a> Scalar<'a> {
    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Scalar::Text(text) => Some(text),
            Scalar::Number(_) | Scalar::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_to_a_terminal_are_no_text() {
        for (text, expected) in [
            ("\u{1b}[31merror\u{1b}[0m: away", "error: away"),
            ("\u{1b}[1;38;5;208mbold\u{1b}[m", "bold"),
            ("\u{1b}[2K\u{1b}[1Gdone", "done"),
            ("\u{1b}]0;a title\u{7}text", "text"),
            ("\u{1b}]8;;https://example.org\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}(Btext\u{1b}7\u{1b}cmore", "textmore"),
            ("grüße\u{1b}[32m✓\u{1b}[39m", "grüße✓"),
            ("cut \u{1b}[3", "cut "),
            ("cut \u{1b}", "cut "),
            ("\u{1b}[3ü", "ü"),
            ("\u{1b}ü", "ü"),
            ("\u{1b}(ü", "ü"),
            ("no order", "no order"),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_loggers_line_tells_what_it_has() {
        let found = members(
            br#"{"level":40,"time":12,"pid":3,"msg":"a \"b\"","requestId":"r-1","more":{"level":1}}"#,
        );
        let found = found.unwrap();
        assert_eq!((found.level, found.time, found.msg.as_deref()), (Some(40), Some(12), Some("a \"b\"")));
        assert_eq!(found.request_id.as_deref(), Some("r-1"));
        assert!(found.has_pid && !found.has_hostname && !found.has_env && !found.has_worker);
        let winston = members(br#"{"level":"warn","message":"m"}"#).unwrap();
        assert_eq!((winston.level, winston.msg.as_deref()), (Some(40), Some("m")));
        assert!(members(b"{}").unwrap().is_empty);
    }

    #[test]
    fn what_is_no_object_is_a_plain_line() {
        for line in
            [&b"hello"[..], b"{hello}", b"{\"a\":1} {\"b\":2}", b"[1]", b"", b"{\"a\":\"\xff\"}", b"{\"a\":}"]
        {
            assert_eq!(members(line), None, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn a_request_is_named_at_a_lines_beginning() {
        assert_eq!(request_of(b"\x1er-1\x1fhello"), (Some("r-1"), &b"hello"[..]));
        assert_eq!(request_of(b"hello"), (None, &b"hello"[..]));
        assert_eq!(request_of(b"\x1ehello"), (None, &b"\x1ehello"[..]));
    }
}
