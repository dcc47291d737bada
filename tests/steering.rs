//! Tests the steering programs in the kernel: listeners of one SO_REUSEPORT group on loopback and real clients; the
//! interpreter of the unit tests gives the expected result.

#[path = "../src/balance/steering/tests/interpreter.rs"]
mod interpreter;

use drover::balance::{Family, Instruction, MAX_INSTRUCTIONS, Steering, program};
use drover::sys::bpf;
use interpreter::Packet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketType, sockopt};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

const MEMBERS: usize = 6;

/// Member 0 is the primary's listener; members 1 to 5 are the listeners of slots 0 to 4.
struct Group {
    members: Vec<TcpListener>,
    family: Family,
}

impl Group {
    fn new(family: Family) -> Self {
        let any: IpAddr = match family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let mut address = SocketAddr::new(any, 0);
        let mut members = Vec::new();
        for _ in 0..MEMBERS {
            let socket = socket(address);
            sockopt::set_socket_reuseport(&socket, true).unwrap();
            if family == Family::V6 {
                sockopt::set_ipv6_v6only(&socket, false).unwrap();
            }
            rustix::net::bind(&socket, &address).unwrap();
            rustix::net::listen(&socket, 64).unwrap();
            let member = TcpListener::from(socket);
            address.set_port(member.local_addr().unwrap().port());
            members.push(member);
        }
        Self { members, family }
    }

    fn steer(&self, steering: Steering<'_>) -> Vec<Instruction> {
        let program = program(steering, self.family).unwrap();
        let raw: Vec<_> = program.iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect();
        bpf::attach(self.members[0].as_fd(), &raw).unwrap();
        program
    }

    /// Connects from `source`; returns the member that received the connection and the client's address.
    fn connect(&self, source: IpAddr) -> (u32, SocketAddr) {
        let client = socket(SocketAddr::new(source, 0));
        rustix::net::bind(&client, &SocketAddr::new(source, 0)).unwrap();
        let port = self.members[0].local_addr().unwrap().port();
        let target: IpAddr = match source {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        rustix::net::connect(&client, &SocketAddr::new(target, port)).unwrap();
        let client = TcpStream::from(client);
        let member = self.ready();
        let (_, peer) = self.members[member].accept().unwrap();
        assert_eq!(peer.port(), client.local_addr().unwrap().port());
        (member as u32, client.local_addr().unwrap())
    }

    fn ready(&self) -> usize {
        let mut polled: Vec<_> = self.members.iter().map(|m| PollFd::new(m, PollFlags::IN)).collect();
        let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
        assert_eq!(poll(&mut polled, Some(&limit)).unwrap(), 1, "one connection, one listener");
        polled.iter().position(|p| p.revents().contains(PollFlags::IN)).unwrap()
    }

    fn assert_as_interpreted(&self, steering: Steering<'_>, sources: impl Iterator<Item = IpAddr>) {
        let program = self.steer(steering);
        let mut reached = BTreeSet::new();
        for source in sources {
            let (member, client) = self.connect(source);
            assert_eq!(
                member,
                interpreter::run(&program, &Packet::from(client)),
                "{steering:?} from {client}"
            );
            reached.insert(member);
        }
        assert!(reached.len() > 1 && !reached.contains(&0), "{steering:?} reached {reached:?}");
    }
}

fn socket(address: SocketAddr) -> OwnedFd {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    rustix::net::socket(family, SocketType::STREAM, None).unwrap()
}

fn v4_clients() -> impl Iterator<Item = IpAddr> {
    (1..=40).map(|n| Ipv4Addr::new(127, 0, 0, n).into())
}

fn v6_client() -> impl Iterator<Item = IpAddr> {
    std::iter::repeat_n(Ipv6Addr::LOCALHOST.into(), 40)
}

const SLOTS: [u16; 4] = [0, 1, 3, 4];

#[test]
fn the_kernel_and_the_interpreter_agree_on_ipv4_clients() {
    let group = Group::new(Family::V4);
    group.assert_as_interpreted(Steering::IpHash(&SLOTS), v4_clients());
    group.assert_as_interpreted(Steering::Flow(&SLOTS), v4_clients());
}

#[test]
fn the_kernel_and_the_interpreter_agree_on_both_families_of_a_dual_stack_listener() {
    let group = Group::new(Family::V6);
    group.assert_as_interpreted(Steering::IpHash(&SLOTS), v4_clients().chain(v6_client().take(1)));
    group.assert_as_interpreted(Steering::Flow(&SLOTS), v4_clients());
    group.assert_as_interpreted(Steering::Flow(&SLOTS), v6_client());
}

#[test]
fn a_random_choice_reaches_every_listed_slot_and_no_other() {
    let group = Group::new(Family::V4);
    let odds = [(0, 2), (1, 3), (2, 0), (3, 1), (4, 2)];
    for steering in [Steering::Uniform(&SLOTS), Steering::Weighted(&odds)] {
        group.steer(steering);
        // The rarest member has a probability of 1/8: 300 misses in a row have a probability of 10^-17.
        let reached: BTreeSet<u32> = (0..300).map(|_| group.connect(Ipv4Addr::LOCALHOST.into()).0).collect();
        assert_eq!(reached, BTreeSet::from([1, 2, 4, 5]), "{steering:?}");
    }
}

#[test]
fn push_mode_brings_every_connection_to_the_primary() {
    for (family, clients) in [
        (Family::V4, v4_clients().collect::<Vec<_>>()),
        (Family::V6, v4_clients().chain(v6_client()).collect()),
    ] {
        let group = Group::new(family);
        group.steer(Steering::Flow(&SLOTS));
        group.steer(Steering::Primary);
        for client in clients {
            assert_eq!(group.connect(client).0, 0);
        }
    }
}

#[test]
fn the_kernel_takes_the_longest_program_of_each_kind() {
    let group = Group::new(Family::V6);
    let slots: Vec<u16> = (0..1024).collect();
    let gaps: Vec<u16> = (0..499).map(|n| n * 2).collect();
    let odds: Vec<(u16, u32)> = slots.iter().map(|&slot| (slot, 1000 + u32::from(slot))).collect();
    let longest = |fits: &dyn Fn(usize) -> bool| (1..=1024).rev().find(|&n| fits(n)).unwrap();
    let hashed = longest(&|n| program(Steering::IpHash(&slots[..n]), Family::V6).is_some());
    let weighed = longest(&|n| program(Steering::Weighted(&odds[..n]), Family::V6).is_some());
    for steering in
        [Steering::IpHash(&slots[..hashed]), Steering::Weighted(&odds[..weighed]), Steering::Uniform(&gaps)]
    {
        let length = group.steer(steering).len();
        assert!(length > MAX_INSTRUCTIONS - 20, "{length}");
    }
}
