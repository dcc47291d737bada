//! What must hold for bytes from outside, whatever they are. The fuzz targets and the replay of the corpus
//! (tests/corpus.rs) call the same functions.

// Each fuzz target is a program of its own and calls one of them.
#![allow(dead_code)]

use drover::dispatch::{
    FirstBytes, cookie_slot, cookie_value, forwarded_client, read_first_bytes, request_cookie,
};
use drover::ipc::control::{ToPrimary, ToWorker, decode, encode};
use drover::ipc::frame::{Decoder, Frame, FrameError};

/// However a stream is cut, it gives the same frames and the same error, and its frames survive the wire.
pub fn frames(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let whole = decoded([stream]);
    assert_eq!(decoded(stream.chunks(usize::from(*cut) + 1)), whole);
    let mut wire = Vec::new();
    for frame in &whole.0 {
        frame.encode(&mut wire).expect("a frame that was decoded can be encoded");
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

/// Nonsense is an error, and what is understood survives the wire.
pub fn control(bytes: &[u8]) {
    if let Ok(message) = decode::<ToPrimary>(bytes) {
        assert_eq!(decode(&encode(&message)), Ok(message));
    }
    // A welcome holds a configuration with numbers that JSON does not carry to the last bit.
    let _ = decode::<ToWorker>(bytes);
}

/// Nothing panics, and once the first bytes say something, more bytes do not change it.
pub fn first_bytes(bytes: &[u8]) {
    let verdict = read_first_bytes(bytes);
    if let FirstBytes::Request { cookies, forwarded, x_forwarded_for } = &verdict {
        request_cookie(cookies, "drover_affinity");
        let trusted = ["127.0.0.0/8".parse().expect("a network")];
        let peer = "127.0.0.1".parse().expect("an address");
        forwarded_client(peer, forwarded, x_forwarded_for, &trusted);
    }
    if verdict != FirstBytes::Incomplete {
        let more = [bytes, b"\r\nCookie: a=b\r\n\r\n"].concat();
        assert_eq!(read_first_bytes(&more), verdict);
    }
}

/// Only a signature of this key's names a slot, and it names the slot it was made for.
pub fn affinity_cookie(bytes: &[u8]) {
    const KEY: &[u8] = b"the key of the corpus";
    let Ok(value) = std::str::from_utf8(bytes) else { return };
    if let Some(slot) = cookie_slot(value, KEY) {
        let signature = |cookie: &str| cookie.split_once('.').map(|(_, signature)| signature.to_owned());
        assert_eq!(signature(value), signature(&cookie_value(slot, KEY)));
    }
    assert_eq!(cookie_slot(value, b"another key"), None);
}
