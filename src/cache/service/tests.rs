use super::*;
use crate::cache::layout::APPLIED;
use crate::cache::request::{Operation, Request, Status};
use crate::sys::byte_memory::ByteMapping;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::sync::mpsc::Receiver as Reports;

const LIMITS: Limits = Limits { bytes: 1 << 20, entries: usize::MAX };
const SETTINGS: Settings = Settings { limits: LIMITS, persist: None, seed: 1 };
const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

struct Peer {
    socket: OwnedFd,
    sender: Sender,
    receiver: Receiver,
    number: u32,
    grants: Vec<(Grant, OwnedFd)>,
}

fn service() -> (Service, Reports<Report>) {
    let (reports, reported) = channel();
    (Service::start(SETTINGS, move |report| reports.send(report).unwrap()).unwrap(), reported)
}

impl Peer {
    fn join(service: &Service) -> Self {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, socket) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        service.join(Joining { name: "worker 1".into(), socket: ours, keys: None });
        let (sender, receiver) = (Sender::default(), Receiver::default());
        Self { socket, sender, receiver, number: 0, grants: Vec::new() }
    }

    fn open(service: &Service) -> Self {
        let mut peer = Self::join(service);
        peer.sender.push_message(0, 0, &[OPEN]);
        peer.flush();
        peer.grants = peer.granted(&Part::ALL);
        peer
    }

    /// The grants of these parts, which come next.
    fn granted(&mut self, parts: &[Part]) -> Vec<(Grant, OwnedFd)> {
        let grant = |part: &Part| {
            let (frame, descriptor) = self.next().unwrap();
            let grant: Grant = serde_json::from_slice(&frame.payload).unwrap();
            assert_eq!(grant.part, *part);
            (grant, descriptor.unwrap())
        };
        parts.iter().map(grant).collect()
    }

    fn wait(&self, flags: PollFlags) {
        assert_eq!(poll(&mut [PollFd::new(&self.socket, flags)], Some(&PATIENCE)).unwrap(), 1);
    }

    fn flush(&mut self) {
        while let Err(error) = self.sender.flush(self.socket.as_fd()) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            self.wait(PollFlags::OUT);
        }
    }

    fn send(&mut self, request: &Request<'_>) -> u32 {
        self.number += 1;
        self.sender.push_message(self.number, 0, &[&request.head()[..], &request.parts().concat()]);
        self.number
    }

    /// The next frame; None: the channel has ended.
    fn next(&mut self) -> Option<(Frame, Option<OwnedFd>)> {
        loop {
            if let Some(next) = self.receiver.next_frame().unwrap() {
                return Some(next);
            }
            self.wait(PollFlags::IN);
            if self.receiver.fill(self.socket.as_fd()).unwrap() == 0 {
                return None;
            }
        }
    }

    fn answer(&mut self) -> (u32, u8) {
        let (frame, _) = self.next().unwrap();
        (frame.header.answers, frame.payload[0])
    }

    fn ask(&mut self, request: &Request<'_>) -> u8 {
        let number = self.send(request);
        self.flush();
        let (answered, status) = self.answer();
        assert_eq!(answered, number);
        status
    }
}

const DONE: u8 = Status::Done as u8;

#[test]
fn clients_share_one_memory_which_only_the_service_writes() {
    let (service, _reports) = service();
    let (mut first, second) = (Peer::open(&service), Peer::open(&service));
    assert_eq!(first.ask(&Request::example(Operation::Set, "a")), DONE);
    assert_ne!(first.grants[0].0.client, second.grants[0].0.client);
    let (grant, cache) = &second.grants[0];
    assert!(ByteMapping::new(cache.as_fd(), grant.bytes).is_err(), "it is sealed");
    let mapping = ByteMapping::read_only(cache.as_fd(), grant.bytes).unwrap();
    let applied = crate::cache::layout::APPLIED + first.grants[0].0.client as usize * 4;
    assert_eq!(mapping.load(applied, std::sync::atomic::Ordering::Acquire), 1);
}

#[test]
fn the_end_of_a_client_passes_its_flight_on() {
    let (service, _reports) = service();
    let (mut first, mut second) = (Peer::open(&service), Peer::open(&service));
    assert_eq!(first.ask(&Request::example(Operation::Claim, "a")), Status::Owned as u8);
    let waiting = second.send(&Request::example(Operation::Claim, "a"));
    let asked = second.send(&Request::example(Operation::Sync, ""));
    second.flush();
    assert_eq!(second.answer(), (asked, DONE), "the claim waits");
    drop(first);
    assert_eq!(second.answer(), (waiting, Status::Owned as u8));
}

#[test]
fn a_client_that_reads_no_answers_delays_nobody_and_loses_none() {
    let (service, _reports) = service();
    let (mut stopped, mut other) = (Peer::open(&service), Peer::open(&service));
    // More answers than the socket and the queue hold together.
    let count = 60_000;
    for _ in 0..count {
        stopped.send(&Request::example(Operation::Sync, ""));
    }
    let mut written = 0;
    loop {
        match stopped.sender.flush(stopped.socket.as_fd()) {
            Ok(()) => break,
            // Until the service reads no more.
            Err(_) => {
                let room = poll(
                    &mut [PollFd::new(&stopped.socket, PollFlags::OUT)],
                    Some(&Timespec { tv_sec: 0, tv_nsec: 300_000_000 }),
                );
                if room.unwrap() == 0 {
                    break;
                }
                written += 1;
            }
        }
    }
    assert_eq!(other.ask(&Request::example(Operation::Set, "a")), DONE, "after {written} writes");
    for number in 1..=count {
        // Requests are taken again when answers are.
        let _ = stopped.sender.flush(stopped.socket.as_fd());
        assert_eq!(stopped.answer(), (number, DONE));
    }
}

#[test]
fn a_client_that_violates_the_protocol_is_disconnected_and_named() {
    let (service, reports) = service();
    for (message, reason) in
        [(b"close".as_slice(), "it did not open the cache"), (b"nonsense", "what it sent is no request")]
    {
        let mut peer = if message == b"close" { Peer::join(&service) } else { Peer::open(&service) };
        peer.sender.push_message(1, 0, &[message]);
        peer.flush();
        assert!(peer.next().is_none());
        let Report::Broken { name, reason: found } = reports.recv().unwrap() else {
            panic!("another report")
        };
        assert_eq!((name.as_str(), found.as_str()), ("worker 1", reason));
    }
    let mut peer = Peer::open(&service);
    peer.number = 7;
    peer.send(&Request::example(Operation::Sync, ""));
    peer.flush();
    assert!(peer.next().is_none());
    assert!(matches!(reports.recv().unwrap(), Report::Broken { .. }));
}

#[test]
fn the_service_ends_with_its_handle() {
    let (service, _reports) = service();
    let mut peer = Peer::open(&service);
    drop(service);
    assert!(peer.next().is_none());
}

#[test]
fn clients_get_the_memory_of_another_size_and_nobody_waits_for_one_that_does_not_map_it() {
    let (service, reports) = service();
    let mut peers = [Peer::open(&service), Peer::open(&service)];
    assert_eq!(peers[0].ask(&Request::example(Operation::Set, "a")), DONE);
    service.resize(2 << 20);
    let report = reports.recv().unwrap();
    let Report::Resized(resized) = report else { panic!("{report:?}") };
    assert_eq!(resized, Resized { bytes: 2 << 20, entries: 1, evicted: 0 });
    let applied = |(grant, descriptor): &(Grant, OwnedFd)| {
        let mapping = ByteMapping::read_only(descriptor.as_fd(), grant.bytes).unwrap();
        mapping.load(APPLIED + grant.client as usize * 4, std::sync::atomic::Ordering::Acquire)
    };
    let larger = Limits { bytes: 2 << 20, ..LIMITS }.max_request();
    for (peer, requests) in peers.iter_mut().zip([1, 0]) {
        let grants = peer.granted(&Part::REMAPPED);
        let (before, grant) = (peer.grants[0].0, grants[0].0);
        assert_eq!((before.memory, grant.memory, grant.client), (0, 1, before.client));
        assert_eq!((before.most, grant.most), (LIMITS.max_request(), larger));
        assert_eq!(applied(&grants[0]), requests, "its writes are visible in the new one too");
        // It looks at the old one still.
        assert_eq!(peer.ask(&Request::example(Operation::Set, "b")), DONE);
        assert_eq!((applied(&peer.grants[0]), applied(&grants[0])), (requests + 1, requests + 1));
        // Now it does not.
        peer.send(&Request { added: 1, ..Request::of(Operation::Mapped) });
        assert_eq!(peer.ask(&Request::example(Operation::Set, "c")), DONE);
        assert_eq!((applied(&peer.grants[0]), applied(&grants[0])), (requests + 1, requests + 3));
    }
    let late = Peer::open(&service);
    assert_eq!((late.grants[0].0.memory, late.grants[0].0.most), (1, larger));
    service.resize(1 << 20);
    assert!(matches!(reports.recv().unwrap(), Report::Resized(_)));
    // A client may not know yet that the cache is smaller.
    let large = vec![0; larger - 1000];
    peers[0].send(&Request { value: &large, ..Request::example(Operation::Set, "large") });
    peers[0].flush();
    peers[0].granted(&Part::REMAPPED);
    assert_eq!(peers[0].answer().1, Status::ValueTooLarge as u8);
}
