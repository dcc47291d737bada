//! The properties that must hold for any bytes from outside. The fuzz targets and the replay of the corpus
//! (tests/corpus.rs) call these functions.

// Each fuzz target is a separate program and calls one of these functions.
#![allow(dead_code)]

use drover::cache::image;
use drover::cache::layout::{Key as CacheKey, Kind};
use drover::cache::request::{Operation, Request, Status};
use drover::cache::store::Limits;
use drover::cache::writer::Writer;
use drover::dispatch::{
    RequestHead, cookie_slot, cookie_value, forwarded_client, read_first_bytes, request_cookie,
};
use drover::fleet::backlog::{Invalidation, Place};
use drover::fleet::parts;
use drover::fleet::seal::{RUN, Seal};
use drover::ipc::control::{ToPrimary, ToWorker, decode, encode};
use drover::ipc::crypto::{KEY, Key, Opener, Sealer, WorkerKeys};
use drover::ipc::frame::{Decoder, Frame, FrameError};
use drover::ipc::message::{Envelope, Format, Peer, json_of, readdress};
use drover::ipc::message_rules::Policy;
use drover::ipc::router::Router;
use drover::log::{Format as LogFormat, Renderer, Source, Splitter, Style, Tail};
use drover::model::WorkerId;
use drover::worker::{Event, HttpWire};

/// A stream gives the same frames and the same error however it is split into reads; frames survive encoding and
/// decoding.
pub fn frames(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let whole = decoded([stream]);
    assert_eq!(decoded(stream.chunks(usize::from(*cut) + 1)), whole);
    let mut wire = Vec::new();
    for frame in &whole.0 {
        wire.extend_from_slice(&frame.header.write(frame.payload.len() as u32));
        wire.extend_from_slice(&frame.payload);
    }
    assert_eq!(decoded([wire.as_slice()]), (whole.0, None));
}

fn decoded<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<FrameError>) {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// A key is read completely or not at all. A sealed channel accepts only the frame that the peer sealed next: other
/// bytes are refused, alone or after a valid frame.
pub fn handshake(bytes: &[u8]) {
    if let Some(keys) = WorkerKeys::read(bytes) {
        assert_eq!(keys.write(), bytes);
    }
    let key = Key::new([7; KEY]);
    let mut decoder = Decoder::default();
    decoder.open_with(Box::new(Opener::new(&key)));
    decoder.push(bytes);
    assert!(!matches!(decoder.next_frame(), Ok(Some(_))), "nobody else has the key");
    let mut sealer = Sealer::new(&key);
    let header = drover::ipc::frame::Header {
        kind: drover::ipc::frame::Kind::Control,
        id: 1,
        answers: 0,
        descriptor: false,
        more: false,
    };
    let mut payload = bytes[..bytes.len().min(100)].to_vec();
    let head = header.write((payload.len() + drover::ipc::crypto::TAG) as u32);
    let tag = sealer.seal(&head, &mut payload);
    let mut decoder = Decoder::default();
    decoder.open_with(Box::new(Opener::new(&key)));
    [&head[..], &payload, &tag, bytes].iter().for_each(|piece| decoder.push(piece));
    let first = decoder.next_frame().expect("it is the peer's").expect("it is whole");
    assert_eq!(first.payload, bytes[..bytes.len().min(100)]);
    assert!(!matches!(decoder.next_frame(), Ok(Some(_))), "nobody else has the key");
}

/// A message is decoded or refused. A decoded message survives encoding, and its body is unchanged when the primary
/// sets its sender. Whatever workers send, a request is settled once, and only by the worker that received it.
pub fn router(bytes: &[u8]) {
    let rules = serde_json::json!({
        "allow": [{ "from": ["0"], "to": [], "types": ["task"] }],
        "schemas": { "task": { "type": "object", "required": ["data"] } },
    });
    let policy =
        Policy::of(&serde_json::from_value(rules).expect("rules")).expect("there is something to check");
    if let Some((envelope, body)) = Envelope::read(bytes) {
        assert_eq!([&envelope.write(), body].concat(), bytes);
        json_of(envelope.format, body);
        let from = Peer::Worker(WorkerId::new(0, 1));
        let passed = policy.check(from, envelope.peer, envelope.kind, envelope.format, body).is_ok();
        assert!(!passed || (envelope.kind == "task" && envelope.format != Format::Clone));
        let mut carried = bytes.to_vec();
        readdress(&mut carried, from);
        let (again, same) = Envelope::read(&carried).expect("it is a message still");
        assert_eq!((again.peer, again.kind, same), (from, envelope.kind, body));
    }
    let mut router = Router::new(1 << 20);
    let mut open = std::collections::BTreeSet::new();
    for step in bytes.chunks_exact(4) {
        let worker = |byte: u8| Peer::Worker(WorkerId::new(u16::from(byte % 4), 1));
        let (asker, id, other) = (worker(step[1]), u32::from(step[2]), worker(step[3]));
        match step[0] % 3 {
            0 => {
                router.ask((asker, id), other);
                open.insert((asker, other, id));
            }
            1 => assert_eq!(router.answered((asker, id), other), open.remove(&(asker, other, id))),
            _ => {
                open.retain(|(by, ..)| *by != other);
                let lost: Vec<_> =
                    open.iter().filter(|(_, to, _)| *to == other).map(|(by, _, id)| (*by, *id)).collect();
                assert_eq!(router.gone(other), lost);
                open.retain(|(_, to, _)| *to != other);
            }
        }
    }
}

/// Whatever a worker prints and however it is split into reads, each line becomes one log line: a JSON object with the
/// worker's id, and one or more lines of the pretty format.
pub fn log_lines(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let (lines, again) = (lines([stream]), lines(stream.chunks(usize::from(*cut) + 1)));
    assert_eq!(lines, again);
    let style =
        |format| Style { format, color: *cut % 2 == 0, hostname: "h\"".to_owned(), env: "e".to_owned() };
    let (mut json, mut pretty) =
        (Renderer::new(style(LogFormat::Json)), Renderer::new(style(LogFormat::Pretty)));
    let (mut tail, source) = (Tail::default(), Source { slot: 3, pid: 77, is_error: false });
    for line in lines {
        let mut written = Vec::new();
        json.worker(source, &line, 1000, &mut written, &mut tail);
        let text = written.strip_suffix(b"\n").expect("it ends");
        assert!(!text.contains(&b'\n'), "one line");
        serde_json::from_slice::<serde::de::IgnoredAny>(text).expect("JSON");
        // serde_json refuses objects that are nested too deeply.
        let told: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
        let lacks = |member: &&str| told.is_object() && told.get(member).is_none();
        let lacking: Vec<&str> =
            ["level", "time", "pid", "hostname", "env", "worker"].into_iter().filter(lacks).collect();
        assert!(lacking.is_empty(), "{lacking:?}");
        let mut written = Vec::new();
        pretty.worker(source, &line, 1000, &mut written, &mut tail);
        assert!(written.ends_with(b"\n"));
    }
}

fn lines<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
    for piece in pieces {
        splitter.event_log(piece, |line| lines.push(line.to_vec()));
    }
    splitter.end(|line| lines.push(line.to_vec()));
    lines
}

/// Invalid bytes are an error; a decoded message survives encoding and decoding.
pub fn control(bytes: &[u8]) {
    if let Ok(message) = decode::<ToPrimary>(bytes) {
        assert_eq!(decode(&encode(&message)), Ok(message));
    }
    // A Welcome message is only decoded: the numbers of its configuration may lose their last bit in JSON.
    let _ = decode::<ToWorker>(bytes);
}

/// The parser does not panic, and a result from the first bytes does not change with more bytes.
pub fn first_bytes(bytes: &[u8]) {
    let verdict = read_first_bytes(bytes);
    if let RequestHead::Request { cookies, forwarded, x_forwarded_for, .. } = &verdict {
        request_cookie(cookies, "drover_affinity");
        let trusted = ["127.0.0.0/8".parse().expect("a network")];
        let peer = "127.0.0.1".parse().expect("an address");
        forwarded_client(peer, forwarded, x_forwarded_for, &trusted);
    }
    if verdict != RequestHead::Incomplete {
        let more = [bytes, b"\r\nCookie: a=b\r\n\r\n"].concat();
        assert_eq!(read_first_bytes(&more), verdict);
    }
}

/// Only a cookie signed with this key names a slot, and it names the slot that it was signed for.
pub fn affinity_cookie(bytes: &[u8]) {
    const KEY: &[u8] = b"the key of the corpus";
    let Ok(value) = std::str::from_utf8(bytes) else { return };
    if let Some(slot) = cookie_slot(value, KEY) {
        let signature = |cookie: &str| cookie.split_once('.').map(|(_, signature)| signature.to_owned());
        assert_eq!(signature(value), signature(&cookie_value(slot, KEY)));
    }
    assert_eq!(cookie_slot(value, b"another key"), None);
}

/// However a client's and a runtime's bytes are split, the place of the connection is the same, and what was answered is
/// never more than what was asked.
pub fn http_wire(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let (received, sent) = stream.split_at(stream.len() * usize::from(*cut) / 256);
    let place = |size: usize| {
        let (mut begun, mut answered) = (0, 0);
        let mut count = |event: Event| match event {
            Event::Begun { .. } => begun += 1,
            Event::Answered(_) => answered += 1,
        };
        let mut wire = HttpWire::default();
        received.chunks(size).for_each(|part| wire.received(part, &mut count));
        sent.chunks(size).for_each(|part| wire.sent(part, &mut count));
        assert_eq!(begun, answered + wire.pending(), "each request is answered once");
        assert!(wire.served() <= answered);
        assert!(!(wire.is_idle() && wire.is_busy()));
        (wire.is_idle(), wire.is_busy(), wire.stays(), wire.served())
    };
    assert_eq!(place(usize::from(*cut) + 1), place(stream.len().max(1)));
}

/// A file with the contents of a cache.
pub fn cache_image(data: &[u8]) {
    let _ = image::check(data);
}

/// Requests of two clients to the writer of a small cache; whatever they are, everything can be removed afterwards.
pub fn cache(mut data: &[u8]) {
    let limits = Limits { bytes: 16 * 1024, entries: 100 };
    let Ok(mut writer) = Writer::new(limits, 1) else { return };
    let mut number = 0;
    writer.join(0);
    writer.join(1);
    while let Some(([client, low, high], rest)) = data.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (request, rest) = rest.split_at(length);
        number += 1;
        let _ = writer.take(u32::from(client & 1), number, request, u64::from(number));
        if client & 2 != 0 {
            writer.work(u64::from(number) * 10);
        }
        assert!(writer.entries() <= limits.entries);
        data = rest;
    }
    while writer.work(0) == Some(0) {}
    let all = Request {
        operation: Operation::Invalidate,
        is_awaited: true,
        lands: false,
        key: CacheKey { bytes: b"*", is_wide: false },
        kind: Kind::Text,
        value: b"",
        tags: b"",
        expected: None,
        expires: 0,
        grace: 0,
        early: 0,
        added: 0,
    };
    let bytes = [&all.head()[..], &all.parts().concat()].concat();
    assert!(writer.take(0, number + 1, &bytes, 0).is_ok());
    assert!(
        writer
            .replies()
            .iter()
            .any(|reply| reply.request == number + 1 && reply.answer.status == Status::Done)
    );
    assert_eq!(writer.entries(), 0);
}

/// What comes from Redis is read completely or not at all, and nobody without the fleet's key seals what opens; what a
/// machine seals opens in its place alone, once as a message.
pub fn fleet(bytes: &[u8]) {
    if let Some((what, all)) = parts::read(bytes) {
        assert_eq!(parts::write(what, &all), bytes);
        for part in all {
            parts::number::<u64>(part);
            if let Some(place) = parts::text(part).and_then(|text| text.parse::<Place>().ok()) {
                assert_eq!(place.to_string().parse(), Ok(place));
            }
        }
    }
    if let Some(invalidation) = Invalidation::read(bytes) {
        assert_eq!(invalidation.write(), bytes);
    }
    let (own, other) = (Seal::new(&Key::new([7; KEY]), [1; RUN]), Seal::new(&Key::new([7; KEY]), [2; RUN]));
    assert_eq!(other.open_value("place", bytes), None, "nobody else has the key");
    assert_eq!(other.open_message("place", bytes), None, "nobody else has the key");
    let sealed = own.seal("place", bytes);
    assert_eq!(other.open_value("place", &sealed).as_deref(), Some(bytes));
    assert_eq!(other.open_value("another", &sealed), None);
    assert_eq!(other.open_message("place", &sealed).as_deref(), Some(bytes));
    assert_eq!(other.open_message("place", &sealed), None, "a second time");
}
