//! Splits a stream of bytes into lines. PURE. No line is lost or torn, and none is longer than MAX_LENGTH.
//!
//! Several lines that belong together become one record with line breaks. A worker marks them in two ways: a line that
//! ends with GOES_ON continues in the next one (a stack, a table), and the report mark begins the runtime's report of an
//! uncaught error, which ends with the line that names the runtime's version. The report mark is random, so that the
//! program's output cannot be mistaken for it.

use memchr::{memchr, memmem, memrchr};

/// The last byte of a line that continues in the next one; written by `lib/process/log-records.js`.
pub const GOES_ON: u8 = 0x1d;
/// The beginnings of the last line of a report (Node.js 18 and later, Bun).
const LAST_OF_REPORT: [&[u8]; 2] = [b"Node.js v", b"Bun v"];

/// Maximum length of a line; the rest of a longer one becomes the next line.
pub const MAX_LENGTH: usize = 256 * 1024;

/// The splitter of one stream, with the beginning of an incomplete line.
#[derive(Default)]
pub struct Splitter {
    begun: Vec<u8>,
    /// The report mark; empty if this stream has no reports.
    report_mark: Vec<u8>,
    /// A report has begun.
    reports: bool,
}

/// The result of splitting a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Number of lines longer than MAX_LENGTH, which were cut.
    pub cut: u32,
}

impl Splitter {
    /// A splitter for a stream with this report mark.
    pub fn with_report_mark(mark: &str) -> Self {
        Self { report_mark: mark.as_bytes().to_vec(), ..Self::default() }
    }

    /// Calls `line` with each line that ends in `chunk`, without its line break.
    pub fn event_log(&mut self, mut chunk: &[u8], mut line: impl FnMut(&[u8])) -> Split {
        let mut split = Split::default();
        loop {
            let end = memchr(b'\n', chunk);
            let more = &chunk[..end.unwrap_or(chunk.len())];
            // Cut before it is kept, so that memory use is bounded.
            let room = MAX_LENGTH - self.begun.len();
            if more.len() > room {
                self.begun.extend_from_slice(&more[..room]);
                line(&self.begun);
                self.begun.clear();
                split.cut += 1;
                chunk = &chunk[room..];
                continue;
            }
            let Some(end) = end else {
                self.begun.extend_from_slice(more);
                return split;
            };
            chunk = &chunk[end + 1..];
            if self.begun.is_empty() && !self.is_special(more) {
                line(without_return(more));
            } else {
                self.begun.extend_from_slice(more);
                self.line_ended(&mut line);
            }
            if chunk.is_empty() {
                return split;
            }
        }
    }

    /// Whether this line continues in the next one, or belongs to a report.
    fn is_special(&self, text: &[u8]) -> bool {
        self.reports || text.last() == Some(&GOES_ON) || self.mark_in(text).is_some()
    }

    fn mark_in(&self, text: &[u8]) -> Option<usize> {
        if self.report_mark.is_empty() { None } else { memmem::find(text, &self.report_mark) }
    }

    /// Handles a line break after the beginning of a line.
    fn line_ended(&mut self, line: &mut impl FnMut(&[u8])) {
        self.begin_report(line);
        if self.reports && !self.is_report_whole() {
            self.begun.push(b'\n');
        } else if self.reports {
            self.reports = false;
            line(self.begun.trim_ascii());
            self.begun.clear();
        } else if self.begun.last() == Some(&GOES_ON) {
            self.begun.pop();
            self.begun.push(b'\n');
        } else {
            line(without_return(&self.begun));
            self.begun.clear();
        }
    }

    fn is_report_whole(&self) -> bool {
        let last = memrchr(b'\n', &self.begun).map_or(&self.begun[..], |end| &self.begun[end + 1..]);
        LAST_OF_REPORT.iter().any(|begins| last.starts_with(begins))
    }

    /// If a report begins in the incomplete line, the text before it becomes a separate line.
    fn begin_report(&mut self, line: &mut impl FnMut(&[u8])) {
        let Some(at) = self.mark_in(&self.begun) else { return };
        if at > 0 {
            line(without_return(&self.begun[..at]));
        }
        self.begun.drain(..at + self.report_mark.len());
        self.reports = true;
    }

    /// The stream has ended, possibly without a line break.
    pub fn end(&mut self, mut line: impl FnMut(&[u8])) {
        self.begin_report(&mut line);
        let text = if self.reports { self.begun.trim_ascii() } else { without_return(&self.begun) };
        if !text.is_empty() || (!self.reports && !self.begun.is_empty()) {
            line(text);
        }
        self.begun.clear();
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, u32) {
        let (mut splitter, mut lines, mut cut) = (Splitter::default(), Vec::new(), 0);
        for chunk in chunks {
            cut += splitter.event_log(chunk, |line| lines.push(line.to_vec())).cut;
        }
        splitter.end(|line| lines.push(line.to_vec()));
        (lines, cut)
    }

    #[test]
    fn a_last_line_without_an_end_is_kept_and_empty_lines_are_lines() {
        let (found, cut) = lines(&[b"a\r\n\nb", b"c\nd"]);
        assert_eq!(found, [&b"a"[..], b"", b"bc", b"d"]);
        assert_eq!(cut, 0);
    }

    #[test]
    fn lines_that_go_on_are_one_whose_text_has_line_ends() {
        let (found, _) = lines(&[b"Error: a\x1d\n    at b\x1d\n    at c\nnext\n", b"d\x1d", b"\n  e"]);
        assert_eq!(found, [&b"Error: a\n    at b\n    at c"[..], b"next", b"d\n  e"]);
    }

    #[test]
    fn a_report_is_one_line_wherever_its_mark_is_cut() {
        let stream = b"one\nhalf<mark>/a.js:1\n  throw\n\nError: x\n    at y\n\nNode.js v20\nlate\n";
        let report = b"/a.js:1\n  throw\n\nError: x\n    at y\n\nNode.js v20";
        let split = |chunks: &[&[u8]]| {
            let (mut splitter, mut found) = (Splitter::with_report_mark("<mark>"), Vec::new());
            for chunk in chunks {
                splitter.event_log(chunk, |line| found.push(line.to_vec()));
            }
            splitter.end(|line| found.push(line.to_vec()));
            found
        };
        for at in 0..stream.len() {
            let found = split(&[&stream[..at], &stream[at..]]);
            assert_eq!(found, [&b"one"[..], b"half", report, b"late"], "cut at {at}");
        }
        assert_eq!(
            split(&[b"<mark>Error: x\n  at y\n"]),
            [b"Error: x\n  at y"],
            "a stream that ends within it"
        );
    }

    #[test]
    fn a_line_beyond_the_bound_goes_on_in_the_next() {
        let long = vec![b'x'; MAX_LENGTH * 2 + 5];
        let (found, cut) = lines(&[&long[..MAX_LENGTH - 1], &long[MAX_LENGTH - 1..], b"\nnext\n"]);
        let lengths: Vec<usize> = found.iter().map(Vec::len).collect();
        assert_eq!(lengths, [MAX_LENGTH, MAX_LENGTH, 5, 4]);
        assert_eq!(cut, 2);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_stream_is_cut(text in "[a-c\n]{0,60}", cuts in prop::collection::vec(0usize..60, 0..6)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&bytes[from..cut]);
                from = cut;
            }
            chunks.push(&bytes[from..]);
            let expected: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
            prop_assert_eq!(lines(&chunks).0, expected);
        }
    }
}
