//! Datagram sockets that this worker shares with the others: the primary binds them, and the k-th socket of a worker at
//! an address is shared with the k-th of every other.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::control_channel::ControlChannel;
use crate::ipc::control::{Datagram, SocketId, ToPrimary, ToWorker};

/// An address as given by the program: host, port, and whether it is IPv6.
type Place = (String, u16, bool);

/// Numbers the sockets of this worker at one address. As in node:cluster, ports that the kernel chooses are counted as
/// long as one of them is open; for a fixed port the lowest free number is used, so that a socket that is closed and
/// bound again gets the same share.
#[derive(Default)]
struct Numbers {
    taken: BTreeMap<Place, (u32, BTreeSet<u32>)>,
    sockets: BTreeMap<SocketId, (Place, u32)>,
}

impl Numbers {
    /// The number of the next socket at this address.
    fn next(&mut self, place: &Place) -> u32 {
        let (next, taken) = self.taken.entry(place.clone()).or_default();
        let lowest = (0..).find(|number| !taken.contains(number)).unwrap_or(0);
        let number = if place.1 == 0 { *next } else { lowest };
        *next += 1;
        taken.insert(number);
        number
    }

    fn closed(&mut self, socket: SocketId) {
        if let Some((place, number)) = self.sockets.remove(&socket) {
            self.free(&place, number);
        }
    }

    /// The bind failed, or the socket is closed.
    fn free(&mut self, place: &Place, number: u32) {
        if let Some((_, taken)) = self.taken.get_mut(place) {
            taken.remove(&number);
            if taken.is_empty() {
                self.taken.remove(place);
            }
        }
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(match error.kind() {
        io::ErrorKind::TimedOut => libc::ETIMEDOUT,
        _ => libc::ECONNABORTED,
    })
}

pub struct Datagrams {
    control: Rc<ControlChannel>,
    numbers: RefCell<Numbers>,
}

impl Datagrams {
    pub fn new(control: Rc<ControlChannel>) -> Self {
        Self { control, numbers: RefCell::default() }
    }

    /// Asks the primary for a share of a datagram socket.
    ///
    /// # Errors
    /// The kernel's errno of the bind.
    pub fn bind(&self, mut datagram: Datagram) -> Result<(SocketId, OwnedFd), i32> {
        let place = (datagram.host.clone(), datagram.port, datagram.ipv6);
        let number = self.numbers.borrow_mut().next(&place);
        datagram.nth = number;
        let answer = self.control.ask(&ToPrimary::Bind { datagram });
        let mut numbers = self.numbers.borrow_mut();
        let failed = match answer {
            Ok((ToWorker::Bound { socket }, Some(descriptor))) => {
                numbers.sockets.insert(socket, (place, number));
                return Ok((socket, descriptor));
            }
            Ok((ToWorker::ListenFailed { errno, .. }, _)) => errno,
            // The process had no free file descriptor for it.
            Ok((ToWorker::Bound { socket }, None)) => {
                numbers.free(&place, number);
                drop(numbers);
                self.unbind(socket);
                return Err(libc::EMFILE);
            }
            Ok(_) => libc::EPROTO,
            Err(error) => errno(&error),
        };
        numbers.free(&place, number);
        Err(failed)
    }

    /// The socket is closed in this worker. When this returns, the address is free if no other worker uses it.
    pub fn unbind(&self, socket: SocketId) {
        self.numbers.borrow_mut().closed(socket);
        if !self.control.is_gone() {
            // A primary that has ended has released everything.
            let _ = self.control.ask(&ToPrimary::Unbind { socket });
        }
    }

    /// Registers a multicast membership of this worker. True if it is the first, which must join the group in the
    /// kernel.
    pub fn join(&self, socket: SocketId, membership: String) -> bool {
        let answer = self.control.ask(&ToPrimary::Join { socket, membership });
        !matches!(answer, Ok((ToWorker::Joined { first: false }, _)))
    }

    /// Removes a multicast membership. True if it is the last, which must leave the group in the kernel and then call
    /// `left`.
    pub fn part(&self, socket: SocketId, membership: String) -> bool {
        let answer = self.control.ask(&ToPrimary::Part { socket, membership });
        !matches!(answer, Ok((ToWorker::Parted { last: false }, _)))
    }

    /// Reports that the group was left in the kernel.
    pub fn left(&self, socket: SocketId, membership: String) -> io::Result<()> {
        self.control.send(&ToPrimary::Left { socket, membership })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(port: u16) -> Place {
        ("127.0.0.1".into(), port, false)
    }

    #[test]
    fn ports_that_the_kernel_chooses_are_counted_while_one_is_open() {
        let mut numbers = Numbers::default();
        assert_eq!([0; 3].map(|port| numbers.next(&place(port))), [0, 1, 2]);
        numbers.free(&place(0), 1);
        assert_eq!(numbers.next(&place(0)), 3);
        for number in [0, 2, 3] {
            numbers.free(&place(0), number);
        }
        assert_eq!(numbers.next(&place(0)), 0);
    }

    #[test]
    fn who_closes_a_port_and_binds_it_again_has_what_it_had() {
        let mut numbers = Numbers::default();
        assert_eq!([53; 3].map(|port| numbers.next(&place(port))), [0, 1, 2]);
        assert_eq!(numbers.next(&place(54)), 0);
        numbers.free(&place(53), 0);
        numbers.free(&place(53), 1);
        assert_eq!([53; 3].map(|port| numbers.next(&place(port))), [0, 1, 3]);
    }

    #[test]
    fn addresses_are_counted_apart() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.next(&place(0)), 0);
        assert_eq!(numbers.next(&("::1".into(), 0, true)), 0);
        assert_eq!(numbers.next(&("127.0.0.2".into(), 0, false)), 0);
    }
}
