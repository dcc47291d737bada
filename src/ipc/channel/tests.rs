//! Two ends of a socket pair.

use super::*;
use crate::ipc::crypto::{KEY, Key};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

const MAX: usize = 2 << 20;

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
}

fn control(sender: &mut Sender, payload: &[u8], descriptor: Option<OwnedFd>) -> u32 {
    sender.push(Kind::Control, 0, payload.to_vec(), descriptor).unwrap()
}

fn receiver() -> Receiver {
    let mut receiver = Receiver::default();
    receiver.allow(MAX);
    receiver
}

/// Writes and reads until nothing is left to write or to read.
fn exchange(
    sender: &mut Sender,
    from: &OwnedFd,
    receiver: &mut Receiver,
    to: &OwnedFd,
) -> Vec<(Frame, Option<OwnedFd>)> {
    let mut got = Vec::new();
    loop {
        let flushed = sender.flush(from.as_fd());
        while receiver.fill(to.as_fd()).is_ok_and(|bytes| bytes > 0) {
            while let Some(frame) = receiver.next_frame().unwrap() {
                got.push(frame);
            }
        }
        match flushed {
            Ok(()) => return got,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
}

#[test]
fn descriptors_arrive_with_their_own_frames() {
    let (a, b) = pair();
    let (mut sender, mut receiver) = (Sender::default(), receiver());
    let (left, right) = pair();
    control(&mut sender, b"plain", None);
    control(&mut sender, b"with", Some(left));
    control(&mut sender, b"after", None);
    let mut got = exchange(&mut sender, &a, &mut receiver, &b);
    let texts: Vec<&[u8]> = got.iter().map(|(frame, _)| &frame.payload[..]).collect();
    assert_eq!(texts, [&b"plain"[..], b"with", b"after"]);
    assert!(got[0].1.is_none() && got[2].1.is_none());
    let left = got.remove(1).1.expect("the second frame had a descriptor");
    rustix::io::write(&left, b"x").unwrap();
    let mut byte = [0u8; 1];
    assert_eq!(rustix::io::read(&right, &mut byte).unwrap(), 1);
}

#[test]
fn what_the_socket_does_not_take_waits_and_nothing_is_lost_sealed_or_not() {
    for sealed in [false, true] {
        let (a, b) = pair();
        let (mut sender, mut receiver) = (Sender::default(), receiver());
        if sealed {
            let key = Key::new([1; KEY]);
            sender.seal_with(&key).unwrap();
            receiver.open_with(&key).unwrap();
        }
        let long: Vec<u8> = (0..1_500_000u32).map(|at| at as u8).collect();
        for id in 1..=4 {
            sender.push_message(id, 0, &[&id.to_le_bytes(), &long]);
            sender.push_message(id + 10, 5, &[b"", b"short"]);
        }
        control(&mut sender, b"first", None);
        let got = exchange(&mut sender, &a, &mut receiver, &b);
        assert_eq!(got[0].0.payload, b"first", "control frames go before messages");
        assert_eq!(got.len(), 9);
        for (index, pair) in got[1..].chunks(2).enumerate() {
            let id = index as u32 + 1;
            assert_eq!(pair[0].0.header.id, id);
            assert_eq!(pair[0].0.payload, [&id.to_le_bytes()[..], &long].concat());
            assert_eq!((pair[1].0.header.id, pair[1].0.header.answers), (id + 10, 5));
            assert_eq!(pair[1].0.payload, b"short");
        }
        assert!(sender.is_empty());
    }
}

#[test]
fn a_body_that_several_channels_share_arrives_whole_on_each_sealed_or_not() {
    let key = Key::new([1; KEY]);
    let body = Bytes::from((0..1_000_000u32).map(|at| at as u8).collect::<Vec<u8>>());
    let rest = body.slice(FRAGMENT..);
    for sealed in [false, true] {
        let mut channels: Vec<_> = (0..3).map(|_| (Sender::default(), receiver(), pair())).collect();
        for (id, (sender, receiver, _)) in channels.iter_mut().enumerate() {
            if sealed {
                sender.seal_with(&key).unwrap();
                receiver.open_with(&key).unwrap();
            }
            sender.push_message(7, 0, &[b"small"]);
            sender.push_shared(id as u32 + 1, 5, &[b"he", b"ad"], &body);
            sender.push_message(8, 0, &[b"behind"]);
            sender.push_shared(9, 0, &[], &rest);
            sender.push_shared(10, 0, &[b"head"], &Bytes::new());
        }
        for (id, (sender, receiver, (a, b))) in channels.iter_mut().enumerate() {
            let whole = sender.queued();
            assert!(whole > 1_900_000);
            assert_eq!(sender.flush(a.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert!(sender.queued() < whole && sender.queued() > 0);
            control(sender, b"urgent", None);
            let got = exchange(sender, a, receiver, b);
            let payloads: Vec<&[u8]> =
                got.iter().map(|(frame, _)| &frame.payload[..]).filter(|got| *got != b"urgent").collect();
            let long = [&b"head"[..], &body].concat();
            assert_eq!(payloads, [&b"small"[..], &long, b"behind", &rest, b"head"]);
            let found = got.iter().find(|(frame, _)| frame.payload.len() == long.len());
            assert_eq!(found.map(|(frame, _)| frame.header.id), Some(id as u32 + 1));
            assert_eq!(got.len(), 6);
            assert!(sender.is_empty() && sender.queued() == 0);
        }
    }
}

#[test]
fn messages_of_any_size_follow_each_other_whether_the_last_one_has_gone_or_not() {
    let (a, b) = pair();
    let (mut sender, mut receiver) = (Sender::default(), receiver());
    let mut got = Vec::new();
    let sizes = [0, 10, 70_000, 5, FRAGMENT, FRAGMENT + 1, 3, 1_000_000, 20_000, 1];
    for (index, size) in sizes.iter().enumerate() {
        sender.push_message(index as u32, 0, &[&vec![index as u8; *size]]);
        if index % 3 != 1 {
            got.append(&mut exchange(&mut sender, &a, &mut receiver, &b));
            assert_eq!(sender.queued(), 0);
        }
    }
    let lengths: Vec<usize> = got.iter().map(|(frame, _)| frame.payload.len()).collect();
    assert_eq!(lengths, sizes);
}

#[test]
fn a_control_frame_gets_between_the_parts_of_a_long_message() {
    let (a, b) = pair();
    let (mut sender, mut receiver) = (Sender::default(), receiver());
    sender.push_message(1, 0, &[&vec![7; MAX]]);
    // As much as the socket takes.
    assert_eq!(sender.flush(a.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    control(&mut sender, b"urgent", None);
    let got = exchange(&mut sender, &a, &mut receiver, &b);
    assert_eq!(got[0].0.payload, b"urgent");
    assert_eq!(got[1].0.payload.len(), MAX);
}

#[test]
fn what_is_queued_before_the_keys_is_plain_and_what_follows_is_sealed() {
    let (a, b) = pair();
    let (mut sender, mut receiver) = (Sender::default(), receiver());
    let key = Key::new([1; KEY]);
    control(&mut sender, b"welcome", None);
    sender.seal_with(&key).unwrap();
    sender.push_message(1, 0, &[b"secret"]);
    control(&mut sender, b"sealed", None);
    sender.flush(a.as_fd()).unwrap();
    receiver.fill(b.as_fd()).unwrap();
    assert_eq!(receiver.next_frame().unwrap().unwrap().0.payload, b"welcome");
    receiver.open_with(&key).unwrap();
    assert_eq!(receiver.next_frame().unwrap().unwrap().0.payload, b"sealed");
    assert_eq!(receiver.next_frame().unwrap().unwrap().0.payload, b"secret");
}

#[test]
fn the_sender_refuses_a_control_payload_that_is_too_long() {
    let mut sender = Sender::default();
    assert!(sender.push(Kind::Control, 0, vec![0; MAX_CONTROL + 1], None).is_err());
    assert!(sender.is_empty());
}

#[test]
fn the_end_of_the_stream_is_told() {
    let (a, b) = pair();
    drop(a);
    assert_eq!(Receiver::default().fill(b.as_fd()).unwrap(), 0);
}
