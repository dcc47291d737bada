//! The doors of a worker: one for each listener group that its servers serve. A door accepts on the slot's own
//! listener; pushed connections come in through the same call into JavaScript.

use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::rc::{Rc, Weak};

use rustix::io::Errno;
use rustix::net::sockopt::socket_type;
use rustix::net::{SocketFlags, SocketType, accept_with, getpeername};

use super::attach::Worker;
use super::fd_batch::BATCH;
use super::listener_share::ListenerShare;
use crate::config::sections::process::Ready;
use crate::ipc::control::{Address, GroupId, ListenOptions, ToPrimary, ToWorker};
use crate::ipc::fd_message::FdHeader;
use crate::metrics::layout::page;
use crate::sys::fds;

/// What a server needs to listen.
pub struct Listened {
    pub group: GroupId,
    pub host: Option<String>,
    pub port: u16,
    /// The number of a descriptor that is JavaScript's now: the listener (or datagram socket) itself.
    pub fd: i32,
}

/// Why a server cannot listen: the kernel's number, and the address it is about.
pub struct Refused {
    pub errno: i32,
    pub host: Option<String>,
}

/// What tells a socket from every other of this machine, whatever number it has.
fn identity(socket: &OwnedFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(socket)?.st_ino)
}

impl Worker {
    /// Asks the primary for a share of an address.
    pub fn listen(&self, address: Address, options: ListenOptions) -> Result<Listened, Refused> {
        let refused = |error: &io::Error| Refused {
            errno: error.raw_os_error().unwrap_or(match error.kind() {
                io::ErrorKind::TimedOut => libc::ETIMEDOUT,
                _ => libc::ECONNABORTED,
            }),
            host: None,
        };
        let (answer, descriptor) =
            self.control.ask(&ToPrimary::Listen { address, options }).map_err(|error| refused(&error))?;
        match (answer, descriptor) {
            (ToWorker::Listening { group, host, port, own }, Some(listener)) => {
                let polled = if own { listener.try_clone().map(Some) } else { Ok(None) };
                let polled = polled.map_err(|error| refused(&error))?;
                let known = identity(&listener).map_err(|error| refused(&error))?;
                self.listeners.borrow_mut().insert(group, polled);
                self.shares.borrow_mut().insert(group, known);
                Ok(Listened { group, host, port, fd: listener.into_raw_fd() })
            }
            (ToWorker::ListenFailed { errno, host }, _) => Err(Refused { errno, host }),
            _ => Err(Refused { errno: libc::EPROTO, host: None }),
        }
    }

    /// The server behind the group takes connections from now on.
    pub fn serve(self: &Rc<Self>, group: GroupId, plain_http: bool) -> io::Result<()> {
        let Some(listener) = self.listeners.borrow_mut().remove(&group) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let worker: Weak<Self> = Rc::downgrade(self);
        let door = ListenerShare::open(self.uv, group, listener, move || {
            if let Some(worker) = worker.upgrade() {
                worker.accept(group);
            }
        })?;
        door.set_limited(self.limited.borrow().contains(&group));
        if self.fd_headroom.has_fd_pressure()
            || !self.promoted.get()
            || self.limited.borrow().contains(&group)
        {
            door.pause();
        }
        self.listener_shares.borrow_mut().push(door);
        self.control.send(&ToPrimary::Serving { group, plain_http })?;
        if self.hello.ready == Ready::Listen { self.ready() } else { Ok(()) }
    }

    /// The slot is this worker's from now on.
    pub fn open_shares(&self) {
        self.promoted.set(true);
        if !self.fd_headroom.has_fd_pressure() {
            self.resume_shares();
        }
    }

    fn resume_shares(&self) {
        self.listener_shares.borrow().iter().filter(|_| self.promoted.get()).for_each(ListenerShare::resume);
    }

    /// Is the descriptor of this number a socket of the program's own that can listen? It is no share of the primary's
    /// and is not connected, as drover's channels are.
    pub fn is_programs(&self, fd: i32) -> bool {
        let Ok(socket) = fds::duplicate(fd) else { return false };
        let is_stream = socket_type(&socket) == Ok(SocketType::STREAM);
        let is_share =
            identity(&socket).is_ok_and(|known| self.shares.borrow().values().any(|one| *one == known));
        is_stream && !is_share && getpeername(&socket).is_err()
    }

    /// No more connections of this group, acknowledged by the primary before this returns.
    /// Returns whether other workers serve there.
    pub fn close(&self, group: GroupId) -> io::Result<bool> {
        self.listeners.borrow_mut().remove(&group);
        self.shares.borrow_mut().remove(&group);
        self.limited.borrow_mut().remove(&group);
        self.received.borrow_mut().remove(&group);
        self.listener_shares.borrow_mut().retain(|door| door.group != group);
        if self.control.is_gone() {
            return Ok(false);
        }
        let (answer, _) = self.control.ask(&ToPrimary::Close { group })?;
        let others = matches!(answer, ToWorker::Closed { others: true, .. });
        if !others {
            // What the address has brought until its end.
            self.take_all_pushed();
            self.received.borrow_mut().remove(&group);
        }
        Ok(others)
    }

    /// Takes what lies in the doors' queues and in the connection channel, once. What comes later is the
    /// primary's.
    pub fn take_what_waits(&self) {
        let groups: Vec<GroupId> = self.listener_shares.borrow().iter().map(|door| door.group).collect();
        if self.promoted.get() {
            groups.into_iter().for_each(|group| self.accept(group));
        }
        self.take_all_pushed();
    }

    /// The primary is gone: let go of every listener at once, so that its successor can have the port.
    pub fn close_shares(&self) {
        self.listeners.borrow_mut().clear();
        self.listener_shares.borrow_mut().clear();
    }

    /// The server behind the group takes so many connections more (None: as many as come).
    pub fn room(&self, group: GroupId, room: Option<u32>) -> io::Result<()> {
        match room {
            Some(_) => self.limited.borrow_mut().insert(group),
            None => self.limited.borrow_mut().remove(&group),
        };
        for door in self.listener_shares.borrow().iter().filter(|door| door.group == group) {
            door.set_limited(room.is_some());
            if room.is_some() {
                door.pause();
            } else if self.promoted.get() && !self.fd_headroom.has_fd_pressure() {
                door.resume();
            }
        }
        let received = self.received.borrow().get(&group).copied().unwrap_or(0);
        let upto = room.map(|room| received + u64::from(room));
        self.control.send(&ToPrimary::ConnectionLimit { group, upto }).map(|_| ())
    }

    /// Whether the door keeps the process alive, as `server.ref()` and `server.unref()` say.
    pub fn keep_alive(&self, group: GroupId, keep: bool) {
        self.listener_shares
            .borrow()
            .iter()
            .filter(|door| door.group == group)
            .for_each(|door| door.hold(keep));
    }

    pub fn keeps_alive(&self, group: GroupId) -> bool {
        self.listener_shares.borrow().iter().any(|door| door.group == group && door.holds())
    }

    fn accept(&self, group: GroupId) {
        let mut batch = Vec::with_capacity(8);
        let (mut near, mut is_shut) = (false, false);
        // Borrowed for the accepting alone: what is handed over may close this very door.
        let listener_shares = self.listener_shares.borrow();
        if let Some(listener) =
            listener_shares.iter().find(|door| door.group == group).and_then(ListenerShare::listener)
        {
            while batch.len() < BATCH && !near {
                match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                    Ok(fd) => {
                        near = self.fd_headroom.is_near(fd.as_raw_fd());
                        batch.push(fd);
                    }
                    Err(Errno::INTR | Errno::CONNABORTED) => {}
                    Err(Errno::MFILE | Errno::NFILE) => near = true,
                    Err(errno) => {
                        is_shut = errno == Errno::INVAL;
                        break;
                    }
                }
            }
        }
        drop(listener_shares);
        if is_shut {
            self.leave_listener(group);
        }
        self.page.add(page::HEARTBEAT, 1);
        self.page.add(page::ACCEPTED, batch.len() as u64);
        if near {
            self.enter_fd_pressure();
        }
        self.hand_over(FdHeader::of(group), batch);
    }

    /// The primary has closed the address: the listener brings nothing more, and would wake the loop without end.
    fn leave_listener(&self, group: GroupId) {
        let mut listener_shares = self.listener_shares.borrow_mut();
        if let Some(door) = listener_shares.iter_mut().find(|door| door.group == group) {
            // Without memory for a timer it stays as it is, until its server closes.
            let _ = door.leave_listener(self.uv);
        }
    }

    fn enter_fd_pressure(&self) {
        if self.fd_headroom.set_fd_pressure(true) {
            self.listener_shares.borrow().iter().for_each(ListenerShare::pause);
            // Without a primary there is nobody to be excluded by.
            let _ = self.control.send(&ToPrimary::FdPressure);
        }
    }

    /// Called once a turn of the loop while descriptors are scarce.
    pub fn check_fd_pressure(&self) {
        if self.fd_headroom.has_recovered() && self.fd_headroom.set_fd_pressure(false) {
            self.resume_shares();
            self.resume_channel();
            let _ = self.control.send(&ToPrimary::FdRelief);
        } else if self.can_take_pushed() {
            self.resume_channel();
        }
    }

    /// A pushed connection got this descriptor.
    pub fn note_descriptor(&self, fd: i32) {
        if self.fd_headroom.is_near(fd) {
            self.enter_fd_pressure();
        }
    }
}
