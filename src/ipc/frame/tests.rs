//! Any cut of any stream, sealed or not; what breaks the rules.

use super::*;
use crate::ipc::crypto::{KEY, Key, Sealer};
use proptest::prelude::*;

const MAX: usize = 300_000;

fn header(kind: Kind, id: u32) -> Header {
    Header { kind, id, answers: 0, descriptor: false, more: false }
}

/// The bytes of one frame, sealed if there is a sealer.
fn encode(header: Header, payload: &[u8], sealer: Option<&mut Sealer>) -> Vec<u8> {
    let tag = if sealer.is_some() { TAG } else { 0 };
    let head = header.write((payload.len() + tag) as u32);
    let mut body = payload.to_vec();
    if let Some(sealer) = sealer {
        let tag = sealer.seal(&head, &mut body);
        body.extend_from_slice(&tag);
    }
    [&head[..], &body].concat()
}

fn decoder() -> Decoder {
    let mut decoder = Decoder::default();
    decoder.allow(MAX);
    decoder
}

fn all(decoder: &mut Decoder) -> Result<Vec<Frame>, FrameError> {
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next_frame()? {
        frames.push(frame);
    }
    Ok(frames)
}

fn frame() -> impl Strategy<Value = Frame> {
    let kind = prop_oneof![Just(Kind::Control), Just(Kind::Message)];
    let payload = proptest::collection::vec(any::<u8>(), 0..300);
    (kind, any::<u32>(), any::<u32>(), any::<bool>(), payload).prop_map(
        |(kind, id, answers, descriptor, payload)| Frame {
            header: Header { kind, id, answers, descriptor, more: false },
            payload,
        },
    )
}

proptest! {
    #[test]
    fn frames_survive_any_cut_of_the_stream_sealed_or_not(
        frames in proptest::collection::vec(frame(), 1..8),
        cuts in proptest::collection::vec(1usize..64, 1..40),
        sealed in any::<bool>(),
    ) {
        let key = Key::new([5; KEY]);
        let mut sealer = sealed.then(|| Sealer::new(&key));
        let mut decoder = decoder();
        if sealed {
            decoder.open_with(Box::new(Opener::new(&key)));
        }
        let bytes: Vec<u8> =
            frames.iter().flat_map(|frame| encode(frame.header, &frame.payload, sealer.as_mut())).collect();
        let mut got = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            decoder.push(now);
            rest = later;
            got.append(&mut all(&mut decoder).unwrap());
        }
        prop_assert_eq!(got, frames);
    }

    #[test]
    fn arbitrary_bytes_never_panic_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..200), sealed in any::<bool>()) {
        let mut decoder = decoder();
        if sealed {
            decoder.open_with(Box::new(Opener::new(&Key::new([5; KEY]))));
        }
        decoder.push(&bytes);
        let _ = all(&mut decoder);
    }
}

#[test]
fn a_message_is_put_together_and_control_frames_get_in_between() {
    let mut decoder = decoder();
    let part = |more| Header { more, ..header(Kind::Message, 7) };
    for (header, payload) in [
        (part(true), "one "),
        (header(Kind::Control, 8), "soon"),
        (part(true), "two "),
        (part(false), "three"),
    ] {
        decoder.push(&encode(header, payload.as_bytes(), None));
    }
    let got = all(&mut decoder).unwrap();
    let texts: Vec<&[u8]> = got.iter().map(|frame| &frame.payload[..]).collect();
    assert_eq!(texts, [&b"soon"[..], b"one two three"]);
}

#[test]
fn a_message_that_is_longer_than_allowed_or_interrupted_ends_the_channel() {
    let mut long = decoder();
    let part = Header { more: true, ..header(Kind::Message, 7) };
    for _ in 0..5 {
        long.push(&encode(part, &[0; FRAGMENT], None));
    }
    assert_eq!(all(&mut long), Err(FrameError::TooLong { length: 5 * FRAGMENT, most: MAX }));
    let mut interrupted = decoder();
    interrupted.push(&encode(part, b"one", None));
    interrupted.push(&encode(header(Kind::Message, 8), b"other", None));
    assert_eq!(all(&mut interrupted), Err(FrameError::Interrupted));
}

#[test]
fn on_a_sealed_channel_only_the_very_next_frame_of_the_peer_is_read() {
    let key = Key::new([5; KEY]);
    let mut sealer = Sealer::new(&key);
    let first = encode(header(Kind::Control, 1), b"first", Some(&mut sealer));
    let second = encode(header(Kind::Control, 2), b"second", Some(&mut sealer));
    let mut longer = first.clone();
    longer[0] -= 1;
    let mut renamed = first.clone();
    renamed[8] = 9;
    let cases: [(&str, Vec<Vec<u8>>); 6] = [
        ("repeated", vec![first.clone(), first.clone()]),
        ("swapped", vec![second.clone()]),
        ("cut", vec![longer]),
        ("another id", vec![renamed]),
        ("plain", vec![encode(header(Kind::Control, 1), b"a plain frame of some length", None)]),
        (
            "another key",
            vec![encode(header(Kind::Control, 1), b"first", Some(&mut Sealer::new(&Key::new([6; KEY]))))],
        ),
    ];
    for (what, frames) in cases {
        let mut decoder = decoder();
        decoder.open_with(Box::new(Opener::new(&key)));
        frames.iter().for_each(|frame| decoder.push(frame));
        assert_eq!(all(&mut decoder), Err(FrameError::Forged), "{what}");
    }
    let mut decoder = decoder();
    decoder.open_with(Box::new(Opener::new(&key)));
    decoder.push(&first);
    decoder.push(&second);
    assert_eq!(all(&mut decoder).map(|frames| frames.len()), Ok(2));
}

#[test]
fn a_frame_that_breaks_the_rules_is_refused() {
    let broken = |change: fn(&mut Vec<u8>)| {
        let mut bytes = encode(header(Kind::Control, 1), &[7], None);
        change(&mut bytes);
        let mut decoder = decoder();
        decoder.push(&bytes);
        decoder.next_frame()
    };
    assert_eq!(broken(|bytes| bytes[4] = 9), Err(FrameError::Version(9)));
    assert_eq!(broken(|bytes| bytes[5] = 9), Err(FrameError::Kind(9)));
    assert_eq!(broken(|bytes| bytes[6] = 8), Err(FrameError::Flags(8)));
    assert_eq!(broken(|bytes| bytes[6] = 2), Err(FrameError::Flags(2)), "a control frame is whole");
    assert_eq!(
        broken(|bytes| bytes[2] = 0xff),
        Err(FrameError::TooLong { length: 0xff_0001, most: MAX_CONTROL })
    );
}
