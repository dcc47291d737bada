//! Where a connection of HTTP/1.1 stands, from the bytes that a runtime has read and written on it. PURE. A connection
//! between two requests, with everything answered, can move to another worker.
//!
//! Only the heads of messages and the lines of chunk sizes are read; bodies are skipped whole (RFC 9112, section 6). What
//! is not understood, or is no HTTP/1.1 any more, makes the connection opaque: it stays where it is.

/// Maximum bytes of a head; a connection with a longer one is opaque.
const MAX_HEAD: usize = 64 * 1024;
/// Maximum digits of a chunk's size.
const MAX_DIGITS: u8 = 15;
/// Requests whose responses are awaited at a time; a connection with more is opaque.
const MAX_PENDING: u32 = 64;

/// The place in one direction's stream of messages.
#[derive(Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    BetweenMessages,
    /// In a head that began in earlier bytes: these.
    Head(Vec<u8>),
    /// This many bytes of a body are left.
    Body(u64),
    Chunk(Chunk),
}

/// The place in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// In the digits of a size.
    Size { size: u64, digits: u8 },
    /// After them, up to the end of the line.
    Extension { size: u64 },
    /// This many bytes are left, including the line end.
    Data(u64),
    /// At the beginning of a line after the last chunk, or in one.
    Trailer { is_empty: bool },
}

const FIRST_SIZE: Chunk = Chunk::Size { size: 0, digits: 0 };

/// What follows a head.
enum Content {
    Length(u64),
    Chunks,
}

/// A message that this module cannot follow.
struct Opaque;

/// What a connection's bytes tell of its requests, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A request has begun, with this first line. It is answered at once, or after those before it.
    Begun { line: &'a [u8], asks_for_upgrade: bool },
    /// The oldest request is answered with this status; 0: nobody can tell.
    Answered(u16),
}

type Events<'a> = dyn FnMut(Event<'_>) + 'a;

#[derive(Debug, Default)]
pub struct HttpWire {
    requests: Place,
    responses: Place,
    /// Requests whose response is not complete.
    pending: u32,
    /// Of these, the ones with the method HEAD: bit 0 is the next to be answered.
    heads: u64,
    /// Complete responses.
    served: u32,
    /// Status of the response in progress; 0: none.
    status: u16,
    /// Its client speaks HTTP/1.0: a connection is kept only by agreement.
    is_old: bool,
    /// The response in progress is an event stream, which has no end.
    is_endless: bool,
    /// The connection ends with the response in progress.
    is_last: bool,
    is_opaque: bool,
}

impl HttpWire {
    /// Between two requests (or before the first): nothing is partly read, and everything is answered.
    pub fn is_idle(&self) -> bool {
        !self.is_opaque
            && self.pending == 0
            && self.requests == Place::BetweenMessages
            && self.responses == Place::BetweenMessages
    }

    /// A response is awaited that will come to an end.
    pub fn is_busy(&self) -> bool {
        !self.is_idle() && !self.is_endless && !self.is_opaque
    }

    /// It stays where it is.
    pub fn stays(&self) -> bool {
        self.is_opaque || self.is_last
    }

    /// Requests whose response is not complete.
    pub fn pending(&self) -> u32 {
        self.pending
    }

    /// Status of the response that the end of the connection completes or cuts off; None: there is none. 0: it was cut off.
    pub fn status_at_end(&self) -> Option<u16> {
        let is_complete = matches!(self.responses, Place::Body(left) if left > u64::MAX / 2);
        (self.pending > 0).then_some(if is_complete { self.status } else { 0 })
    }

    /// How many requests have been answered.
    pub fn served(&self) -> u32 {
        self.served
    }

    /// The runtime has read these bytes.
    pub fn received(&mut self, bytes: &[u8], events: &mut Events) {
        if !self.is_opaque && self.read_requests(bytes, events).is_err() {
            self.give_up(events);
        }
    }

    /// These bytes of the runtime are on their way.
    pub fn sent(&mut self, bytes: &[u8], events: &mut Events) {
        if !self.is_opaque && self.read_responses(bytes, events).is_err() {
            self.give_up(events);
        }
    }

    fn give_up(&mut self, events: &mut Events) {
        let pending = self.pending;
        *self = Self { is_opaque: true, served: self.served, ..Self::default() };
        (0..pending).for_each(|_| events(Event::Answered(0)));
    }

    fn read_requests(&mut self, mut bytes: &[u8], events: &mut Events) -> Result<(), Opaque> {
        while !bytes.is_empty() {
            bytes = match std::mem::take(&mut self.requests) {
                // Empty lines before a request are allowed (RFC 9112, section 2.2).
                Place::BetweenMessages if matches!(bytes[0], b'\r' | b'\n') => &bytes[1..],
                Place::BetweenMessages => self.begin_request(bytes, events)?,
                Place::Head(part) => {
                    let whole = joined(part, bytes)?;
                    let rest = self.begin_request(&whole, events)?.len();
                    &bytes[bytes.len() - rest..]
                }
                Place::Body(left) => skip(&mut self.requests, left, bytes),
                Place::Chunk(chunk) => read_chunks(&mut self.requests, chunk, bytes)?,
            };
        }
        Ok(())
    }

    /// Reads a request's head at the beginning of `bytes`; returns what follows it.
    fn begin_request<'a>(&mut self, bytes: &'a [u8], events: &mut Events) -> Result<&'a [u8], Opaque> {
        let Some((head, rest)) = read_head(bytes)? else {
            self.requests = Place::Head(bytes.to_vec());
            return Ok(&[]);
        };
        let line = head.first_line;
        let is_old = line.ends_with(b" HTTP/1.0");
        let is_known = is_old || line.ends_with(b" HTTP/1.1");
        if self.pending >= MAX_PENDING || line.starts_with(b"CONNECT ") || !is_known {
            return Err(Opaque);
        }
        self.is_old |= is_old;
        events(Event::Begun { line, asks_for_upgrade: head.upgrades });
        self.heads |= u64::from(line.starts_with(b"HEAD ")) << self.pending;
        self.pending += 1;
        self.requests = place_of(head.content.unwrap_or(Content::Length(0)));
        Ok(rest)
    }

    fn read_responses(&mut self, mut bytes: &[u8], events: &mut Events) -> Result<(), Opaque> {
        while !bytes.is_empty() {
            bytes = match std::mem::take(&mut self.responses) {
                Place::BetweenMessages => self.begin_response(bytes, events)?,
                Place::Head(begun) => {
                    let whole = joined(begun, bytes)?;
                    let rest = self.begin_response(&whole, events)?.len();
                    &bytes[bytes.len() - rest..]
                }
                Place::Body(left) => {
                    let rest = skip(&mut self.responses, left, bytes);
                    self.end_response_if_complete(events)?;
                    rest
                }
                Place::Chunk(chunk) => {
                    let rest = read_chunks(&mut self.responses, chunk, bytes)?;
                    self.end_response_if_complete(events)?;
                    rest
                }
            };
        }
        Ok(())
    }

    fn begin_response<'a>(&mut self, bytes: &'a [u8], events: &mut Events) -> Result<&'a [u8], Opaque> {
        let Some((head, rest)) = read_head(bytes)? else {
            self.responses = Place::Head(bytes.to_vec());
            return Ok(&[]);
        };
        let status = status_of(head.first_line).ok_or(Opaque)?;
        match status {
            // Switching protocols, after which this is another protocol.
            101 => {
                self.end_response(status, events);
                return Err(Opaque);
            }
            100..200 => return Ok(rest),
            _ => {}
        }
        // A response to no request (408): the connection ends.
        if self.pending == 0 {
            return Err(Opaque);
        }
        self.status = status;
        self.is_last |= head.closes || self.is_old && !head.keeps;
        let is_bodiless = self.heads & 1 == 1 || status == 204 || status == 304;
        self.is_endless = head.is_endless && !is_bodiless;
        match if is_bodiless { Some(Content::Length(0)) } else { head.content } {
            Some(content) => self.responses = place_of(content),
            // Up to the end of the connection.
            None => (self.is_last, self.responses) = (true, Place::Body(u64::MAX)),
        }
        self.end_response_if_complete(events)?;
        Ok(rest)
    }

    fn end_response_if_complete(&mut self, events: &mut Events) -> Result<(), Opaque> {
        if self.responses != Place::BetweenMessages {
            return Ok(());
        }
        self.end_response(self.status, events);
        if self.is_last { Err(Opaque) } else { Ok(()) }
    }

    fn end_response(&mut self, status: u16, events: &mut Events) {
        if self.pending > 0 {
            events(Event::Answered(status));
        }
        self.pending = self.pending.saturating_sub(1);
        self.heads >>= 1;
        self.served = self.served.saturating_add(1);
        self.status = 0;
        self.is_endless = false;
    }
}

fn place_of(content: Content) -> Place {
    match content {
        Content::Length(0) => Place::BetweenMessages,
        Content::Length(left) => Place::Body(left),
        Content::Chunks => Place::Chunk(FIRST_SIZE),
    }
}

/// The bytes of a head that has come in parts.
fn joined(mut begun: Vec<u8>, bytes: &[u8]) -> Result<Vec<u8>, Opaque> {
    // Of the new bytes only those that may belong to the head.
    let room = MAX_HEAD.saturating_sub(begun.len());
    if room == 0 {
        return Err(Opaque);
    }
    begun.extend_from_slice(bytes);
    Ok(begun)
}

fn skip<'a>(place: &mut Place, left: u64, bytes: &'a [u8]) -> &'a [u8] {
    let now = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    let left = left - now as u64;
    *place = if left == 0 { Place::BetweenMessages } else { Place::Body(left) };
    &bytes[now..]
}

/// What a head says about what follows it.
#[derive(Default)]
struct Head<'a> {
    first_line: &'a [u8],
    content: Option<Content>,
    closes: bool,
    keeps: bool,
    upgrades: bool,
    is_endless: bool,
}

/// Reads a head; None: it is incomplete. Returns what follows it.
fn read_head(bytes: &[u8]) -> Result<Option<(Head<'_>, &[u8])>, Opaque> {
    let mut ends = memchr::memchr_iter(b'\n', bytes).take_while(|end| *end < MAX_HEAD);
    let Some(first) = ends.next() else { return incomplete(bytes) };
    let mut head = Head { first_line: bytes[..first].trim_ascii_end(), ..Head::default() };
    let mut start = first + 1;
    for end in ends {
        let line = &bytes[start..end];
        start = end + 1;
        match line {
            b"" | b"\r" => return Ok(Some((head, &bytes[start..]))),
            // Most lines do not matter here, and cost no more than this look.
            [b'c' | b'C' | b't' | b'T' | b'u' | b'U', ..] => read_line(line, &mut head)?,
            _ => {}
        }
    }
    incomplete(bytes)
}

fn incomplete<T>(bytes: &[u8]) -> Result<Option<T>, Opaque> {
    if bytes.len() > MAX_HEAD { Err(Opaque) } else { Ok(None) }
}

fn read_line(line: &[u8], head: &mut Head) -> Result<(), Opaque> {
    if let Some(value) = value_of(b"content-length", line) {
        let length = number_of(value).ok_or(Opaque)?;
        // Chunks take precedence (RFC 9112, section 6.3).
        if !matches!(head.content, Some(Content::Chunks)) {
            head.content = Some(Content::Length(length));
        }
    } else if let Some(value) = value_of(b"transfer-encoding", line) {
        if !ends_with(value, b"chunked") {
            return Err(Opaque);
        }
        head.content = Some(Content::Chunks);
    } else if let Some(value) = value_of(b"connection", line) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            head.closes |= option.eq_ignore_ascii_case(b"close");
            head.keeps |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    } else if let Some(value) = value_of(b"content-type", line) {
        head.is_endless =
            starts_with(value, b"text/event-stream") || starts_with(value, b"multipart/x-mixed-replace");
    } else if value_of(b"upgrade", line).is_some() {
        head.upgrades = true;
    }
    Ok(())
}

/// The value of the header with this name.
#[inline]
fn value_of<'a>(name: &[u8], line: &'a [u8]) -> Option<&'a [u8]> {
    let (given, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(b":")?;
    given.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn starts_with(value: &[u8], lower: &[u8]) -> bool {
    value.get(..lower.len()).is_some_and(|start| start.eq_ignore_ascii_case(lower))
}

fn ends_with(value: &[u8], lower: &[u8]) -> bool {
    value.len().checked_sub(lower.len()).is_some_and(|at| value[at..].eq_ignore_ascii_case(lower))
}

/// The status of a response.
fn status_of(line: &[u8]) -> Option<u16> {
    let digits = line.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    number_of(digits).and_then(|status| status.try_into().ok()).filter(|status| (100..600).contains(status))
}

/// A number in decimal digits.
fn number_of(digits: &[u8]) -> Option<u64> {
    let add = |sum: u64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    };
    (!digits.is_empty()).then(|| digits.iter().try_fold(0, add))?
}

/// Goes on in a chunked body; returns what follows it.
fn read_chunks<'a>(place: &mut Place, mut chunk: Chunk, mut bytes: &'a [u8]) -> Result<&'a [u8], Opaque> {
    while let [first, rest @ ..] = bytes {
        match chunk {
            Chunk::Size { size, digits } => {
                let digit = char::from(*first).to_digit(16);
                chunk = match digit {
                    Some(_) if digits == MAX_DIGITS => return Err(Opaque),
                    Some(digit) => Chunk::Size { size: size * 16 + u64::from(digit), digits: digits + 1 },
                    None if digits == 0 => return Err(Opaque),
                    None => Chunk::Extension { size },
                };
                if digit.is_some() {
                    bytes = rest;
                }
            }
            Chunk::Extension { size } => match memchr::memchr(b'\n', bytes) {
                None => bytes = &[],
                Some(at) => {
                    bytes = &bytes[at + 1..];
                    chunk = if size == 0 { Chunk::Trailer { is_empty: true } } else { Chunk::Data(size + 2) };
                }
            },
            Chunk::Data(left) => {
                let now = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                bytes = &bytes[now..];
                let left = left - now as u64;
                chunk = if left == 0 { FIRST_SIZE } else { Chunk::Data(left) };
            }
            Chunk::Trailer { is_empty } => match memchr::memchr(b'\n', bytes) {
                None => {
                    chunk = Chunk::Trailer { is_empty: is_empty && bytes == b"\r" };
                    bytes = &[];
                }
                Some(at) => {
                    let ends = is_empty && matches!(&bytes[..at], b"" | b"\r");
                    bytes = &bytes[at + 1..];
                    if ends {
                        *place = Place::BetweenMessages;
                        return Ok(bytes);
                    }
                    chunk = Chunk::Trailer { is_empty: true };
                }
            },
        }
    }
    *place = Place::Chunk(chunk);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GET: &[u8] = b"GET /a?b=1 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
    const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n\r\nhello";
    const CHUNKED: &[u8] =
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nT: u\r\n\r\n";
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: x\r\n\r\nhi";
    const EMPTY: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
    const NOT_MODIFIED: &[u8] = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n";
    const FOR_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n";
    const CHUNKS: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

    fn after(received: &[&[u8]], sent: &[&[u8]]) -> HttpWire {
        let mut wire = HttpWire::default();
        received.iter().for_each(|bytes| wire.received(bytes, &mut |_| {}));
        sent.iter().for_each(|bytes| wire.sent(bytes, &mut |_| {}));
        wire
    }

    #[test]
    fn a_connection_is_idle_before_and_between_requests() {
        assert!(HttpWire::default().is_idle());
        for (request, response) in [
            (GET, OK),
            (GET, CHUNKS),
            (GET, EMPTY),
            (GET, NOT_MODIFIED),
            (HEAD, FOR_HEAD),
            (POST, OK),
            (CHUNKED, CHUNKS),
        ] {
            let mut wire = after(&[request], &[]);
            assert!(wire.is_busy() && !wire.is_idle());
            wire.sent(response, &mut |_| {});
            let text = String::from_utf8_lossy(response);
            assert!(wire.is_idle() && !wire.is_busy(), "{text}");
            assert_eq!(wire.served(), 1, "{text}");
        }
    }

    #[test]
    fn it_is_not_idle_within_a_message() {
        for (received, sent) in [
            (&GET[..3], &b""[..]),
            (&GET[..GET.len() - 1], b""),
            (&POST[..POST.len() - 1], b""),
            (&POST[..POST.len() - 1], OK),
            (&CHUNKED[..CHUNKED.len() - 2], OK),
            (GET, &OK[..10]),
            (GET, &OK[..OK.len() - 1]),
            (GET, &CHUNKS[..CHUNKS.len() - 2]),
            (GET, CONTINUE),
        ] {
            let wire = after(&[received], &[sent]);
            assert!(!wire.is_idle() && wire.is_busy(), "{}", String::from_utf8_lossy(received));
        }
    }

    #[test]
    fn an_interim_response_is_not_the_response() {
        let mut wire = after(&[&POST[..POST.len() - 5]], &[CONTINUE]);
        assert!(wire.is_busy());
        wire.received(b"hello", &mut |_| {});
        wire.sent(OK, &mut |_| {});
        assert!(wire.is_idle());
    }

    #[test]
    fn pipelined_requests_are_answered_one_by_one() {
        let mut wire = after(&[&[GET, HEAD, POST].concat()], &[OK, FOR_HEAD]);
        assert!(wire.is_busy());
        wire.sent(OK, &mut |_| {});
        assert!(wire.is_idle());
        assert_eq!(wire.served(), 3);
    }

    #[test]
    fn what_is_no_longer_http_stays_where_it_is() {
        let upgrade = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        for (received, sent) in [
            (&upgrade[..], &b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"[..]),
            (b"CONNECT a:1 HTTP/1.1\r\n\r\n", b""),
            (GET, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
            (b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"),
            (b"\x16\x03\x01 no text at all\n\n", b""),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b""),
            (b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n", b""),
        ] {
            let mut wire = after(&[received], &[sent]);
            assert!(!wire.is_idle() && !wire.is_busy(), "{}", String::from_utf8_lossy(received));
            wire.received(GET, &mut |_| {});
            wire.sent(OK, &mut |_| {});
            assert!(!wire.is_idle());
        }
    }

    #[test]
    fn the_last_response_of_a_connection_is_waited_for() {
        let mut wire =
            after(&[GET], &[b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nh"]);
        assert!(wire.is_busy() && wire.stays());
        wire.sent(b"i", &mut |_| {});
        assert!(!wire.is_busy() && !wire.is_idle() && wire.stays());
        let mut wire = after(&[GET], &[b"HTTP/1.1 200 OK\r\n\r\nuntil the end"]);
        assert!(wire.is_busy() && wire.stays());
        wire.sent(b" of the connection", &mut |_| {});
        assert!(wire.is_busy() && wire.stays());
    }

    #[test]
    fn a_refused_upgrade_is_an_ordinary_response() {
        let upgrade = b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n";
        assert!(after(&[upgrade], &[OK]).is_idle());
    }

    #[test]
    fn an_event_stream_is_not_waited_for() {
        let stream =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut wire = after(&[GET], &[stream, b"4\r\ndata\r\n"]);
        assert!(!wire.is_idle() && !wire.is_busy());
        wire.sent(b"0\r\n\r\n", &mut |_| {});
        assert!(wire.is_idle());
    }

    #[test]
    fn a_head_has_a_limit() {
        let long = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &vec![b'x'; MAX_HEAD + 1]].concat();
        let wire = after(&[&long], &[]);
        assert!(wire.is_opaque);
        let parts: Vec<&[u8]> = long.chunks(9000).collect();
        assert!(after(&parts, &[]).is_opaque);
    }

    #[test]
    fn requests_and_their_answers_are_reported() {
        let told = std::cell::RefCell::new(Vec::new());
        let mut tell = |event: Event| {
            told.borrow_mut().push(match event {
                Event::Begun { line, asks_for_upgrade } => {
                    format!(
                        "{}{}",
                        String::from_utf8_lossy(line),
                        if asks_for_upgrade { ", an upgrade" } else { "" }
                    )
                }
                Event::Answered(status) => status.to_string(),
            });
        };
        let mut wire = HttpWire::default();
        let all = [GET, POST].concat();
        for part in [&all[..7], &all[7..]] {
            wire.received(part, &mut tell);
        }
        for part in [OK, CONTINUE, EMPTY] {
            wire.sent(part, &mut tell);
        }
        assert_eq!(told.take(), ["GET /a?b=1 HTTP/1.1", "POST / HTTP/1.1", "200", "204"]);
        wire.received(&[GET, GET].concat(), &mut tell);
        wire.sent(b"nothing known", &mut tell);
        wire.sent(b"\r\n\r\n", &mut tell);
        assert_eq!(told.take()[2..], ["0", "0"]);
        let mut wire = HttpWire::default();
        wire.received(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", &mut tell);
        wire.sent(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", &mut tell);
        assert_eq!(told.take(), ["GET / HTTP/1.1, an upgrade", "101"]);
    }

    #[test]
    fn the_end_of_a_connection_completes_or_cuts_off_a_response() {
        for (sent, status) in [
            (&b""[..], Some(0)),
            (&OK[..OK.len() - 1], Some(0)),
            (OK, None),
            (b"HTTP/1.1 203 OK\r\n\r\nup to the end", Some(203)),
        ] {
            assert_eq!(after(&[GET], &[sent]).status_at_end(), status, "{}", String::from_utf8_lossy(sent));
        }
    }

    #[test]
    fn a_connection_of_http_1_0_is_kept_by_agreement_only() {
        let old = b"GET / HTTP/1.0\r\n\r\n";
        let kept = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n";
        let closed = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh";
        assert!(after(&[old], &[kept]).is_idle());
        let wire = after(&[old], &[closed]);
        assert!(wire.is_busy() && wire.stays());
    }

    /// Splits `bytes` at these places.
    fn split<'a>(bytes: &'a [u8], at: &[prop::sample::Index]) -> Vec<&'a [u8]> {
        let mut cuts: Vec<usize> = at.iter().map(|at| at.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_split_the_place_is_the_same(
            exchanges in prop::collection::vec(0usize..7, 1..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            answered in any::<prop::sample::Index>(),
        ) {
            let all = [(GET, OK), (GET, CHUNKS), (GET, EMPTY), (GET, NOT_MODIFIED), (HEAD, FOR_HEAD), (POST, OK), (CHUNKED, CHUNKS)];
            let requests: Vec<u8> = exchanges.iter().flat_map(|at| all[*at].0.to_vec()).collect();
            let responses: Vec<u8> = exchanges.iter().flat_map(|at| all[*at].1.to_vec()).collect();
            let mut wire = after(&split(&requests, &cuts), &[]);
            let until = answered.index(responses.len() + 1);
            for part in split(&responses[..until], &cuts) {
                wire.sent(part, &mut |_| {});
            }
            prop_assert_eq!(wire.is_idle(), until == responses.len());
            prop_assert!(!wire.is_opaque);
            wire.sent(&responses[until..], &mut |_| {});
            prop_assert!(wire.is_idle());
            prop_assert_eq!(wire.served() as usize, exchanges.len());
        }

        #[test]
        fn no_bytes_are_too_strange(received: Vec<u8>, sent: Vec<u8>) {
            let mut wire = HttpWire::default();
            wire.received(&received, &mut |_| {});
            wire.sent(&sent, &mut |_| {});
            let _ = (wire.is_idle(), wire.is_busy());
        }
    }
}
