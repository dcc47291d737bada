//! From a stream of bytes to its lines. PURE in spirit: no line is lost, none is torn, and none is longer than LONGEST.

use memchr::memchr;

/// A longer line goes on in the next.
pub const LONGEST: usize = 256 * 1024;

/// Of one stream: what has come of a line that has no end yet.
#[derive(Default)]
pub struct Splitter {
    begun: Vec<u8>,
}

/// What became of the lines of one chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Lines that were longer than LONGEST and were cut.
    pub cut: u32,
}

impl Splitter {
    /// Calls `line` with each line that ends in `chunk`, without its end.
    pub fn feed(&mut self, mut chunk: &[u8], mut line: impl FnMut(&[u8])) -> Split {
        let mut split = Split::default();
        loop {
            let end = memchr(b'\n', chunk);
            let more = &chunk[..end.unwrap_or(chunk.len())];
            // Cut before it is kept, so that nobody's endless line grows here.
            let room = LONGEST - self.begun.len();
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
            if self.begun.is_empty() {
                line(without_return(more));
            } else {
                self.begun.extend_from_slice(more);
                line(without_return(&self.begun));
                self.begun.clear();
            }
            chunk = &chunk[end + 1..];
            if chunk.is_empty() {
                return split;
            }
        }
    }

    /// The stream has ended: its last line may have no end.
    pub fn end(&mut self, line: impl FnOnce(&[u8])) {
        if !self.begun.is_empty() {
            line(without_return(&self.begun));
            self.begun.clear();
        }
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
            cut += splitter.feed(chunk, |line| lines.push(line.to_vec())).cut;
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
    fn a_line_beyond_the_bound_goes_on_in_the_next() {
        let long = vec![b'x'; LONGEST * 2 + 5];
        let (found, cut) = lines(&[&long[..LONGEST - 1], &long[LONGEST - 1..], b"\nnext\n"]);
        let lengths: Vec<usize> = found.iter().map(Vec::len).collect();
        assert_eq!(lengths, [LONGEST, LONGEST, 5, 4]);
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
