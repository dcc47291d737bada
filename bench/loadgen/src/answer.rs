//! Reads one HTTP/1.1 answer out of the bytes that arrive. Only what the benched servers send is understood:
//! a status, a Content-Length, a body. PURE.

use std::str;

/// More than any benched answer; past it the peer is broken.
const MAX_LENGTH: usize = 64 * 1024;

/// The bytes of one answer so far.
#[derive(Debug, Default)]
pub struct Answer {
    bytes: Vec<u8>,
    /// Where the body begins and ends, once the head is complete.
    body: Option<(usize, usize)>,
    /// A 503 is an answer too.
    pub takes_refusals: bool,
    is_refused: bool,
    is_last: bool,
}

impl Answer {
    /// Takes more bytes; `true` when the answer is complete. The error says what is wrong with it.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<bool, &'static str> {
        self.bytes.extend_from_slice(bytes);
        if self.body.is_none() {
            self.body = head(&self.bytes, self.takes_refusals)?;
            self.is_refused = self.bytes.starts_with(b"HTTP/1.1 503 ");
            if let Some((start, _)) = self.body {
                let head = str::from_utf8(&self.bytes[..start]).unwrap_or_default();
                self.is_last = head.to_ascii_lowercase().contains("\r\nconnection: close\r\n");
            }
        }
        let Some((_, end)) = self.body else {
            return if self.bytes.len() < MAX_LENGTH { Ok(false) } else { Err("an endless head") };
        };
        if self.bytes.len() > end {
            return Err("more bytes than the answer has");
        }
        Ok(self.bytes.len() == end)
    }

    /// The body of a complete answer.
    pub fn text(&self) -> String {
        let (start, end) = self.body.unwrap_or_default();
        String::from_utf8_lossy(&self.bytes[start..end]).into_owned()
    }

    /// Whether it is a 503.
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Whether the peer closes the connection after it.
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// Ready for the next answer on the same connection.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.body = None;
    }
}

/// Where the body begins and ends, `None` while the head is incomplete.
fn head(bytes: &[u8], takes_refusals: bool) -> Result<Option<(usize, usize)>, &'static str> {
    let Some(length) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = str::from_utf8(&bytes[..length]).map_err(|_| "a head that is no text")?;
    let mut lines = head.split("\r\n");
    let is_good = |status: &str| {
        status.starts_with("HTTP/1.1 200 ") || (takes_refusals && status.starts_with("HTTP/1.1 503 "))
    };
    if !lines.next().is_some_and(is_good) {
        return Err("a status other than 200");
    }
    let body = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .filter(|&body| body <= MAX_LENGTH)
        .ok_or("no Content-Length of a benched answer")?;
    Ok(Some((length + 4, length + 4 + body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nDate: now\r\ncontent-length: 5\r\n\r\nhello";

    #[test]
    fn an_answer_is_complete_at_its_last_byte_however_it_is_cut() {
        for cut in 1..WHOLE.len() {
            let mut answer = Answer::default();
            assert_eq!(answer.feed(&WHOLE[..cut]), Ok(false), "cut at {cut}");
            assert_eq!(answer.feed(&WHOLE[cut..]), Ok(true), "cut at {cut}");
            assert_eq!(answer.text(), "hello");
            answer.clear();
            assert_eq!(answer.feed(WHOLE), Ok(true));
        }
    }

    #[test]
    fn a_refusal_is_an_answer_for_who_asks_for_it() {
        let mut answer = Answer { takes_refusals: true, ..Answer::default() };
        let refusal = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(answer.feed(refusal), Ok(true));
        assert!(answer.is_refused() && answer.is_last());
        answer.clear();
        assert_eq!(answer.feed(WHOLE), Ok(true));
        assert!(!answer.is_refused() && !answer.is_last());
    }

    #[test]
    fn what_is_no_good_answer_is_an_error() {
        let too_long = vec![b'x'; MAX_LENGTH];
        for bytes in [
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".as_slice(),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
            b"\xFF\r\n\r\n",
            &too_long,
        ] {
            assert!(Answer::default().feed(bytes).is_err(), "{bytes:?}");
        }
    }
}
