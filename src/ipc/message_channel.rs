//! A message channel on the runtime's event loop. Messages are read when the loop can handle them. The first message
//! sent in an iteration is written at once, the others at the end of the iteration, as far as the socket accepts them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::channel::{READ, Receiver, Sender};
use super::crypto::Key;
use super::frame::{Frame, Kind};
use super::message::Body;
use crate::sys::uv::{Loop, Poll};

/// Maximum reads in a row before other work of the loop continues.
const MAX_READS: usize = 8;

/// Queued bytes from which on messages are written before the end of the iteration.
const EAGER: usize = 64 * 1024;

/// The keys of one end of the channel.
pub struct Ends<'a> {
    pub sends: &'a Key,
    pub receives: &'a Key,
}

pub struct MessageChannel {
    poll: Poll,
    sender: Sender,
    receiver: Receiver,
    waits_to_write: bool,
    /// A message was written in this iteration: further ones wait for its end.
    corked: bool,
}

impl MessageChannel {
    /// `ready` is called when the socket is readable, or writable while messages wait. The handle does not keep the loop
    /// alive.
    pub fn start(
        on: Loop,
        socket: OwnedFd,
        keys: Option<Ends<'_>>,
        max_message: usize,
        ready: impl FnMut() + 'static,
    ) -> io::Result<Self> {
        let (mut sender, mut receiver) = (Sender::default(), Receiver::default());
        receiver.allow(max_message);
        if let Some(Ends { sends, receives }) = keys {
            sender.seal_with(sends)?;
            receiver.open_with(receives)?;
        }
        Self::adopt(on, socket, sender, receiver, ready)
    }

    /// The same for a socket that was in use before.
    pub fn adopt(
        on: Loop,
        socket: OwnedFd,
        sender: Sender,
        receiver: Receiver,
        ready: impl FnMut() + 'static,
    ) -> io::Result<Self> {
        let poll = Poll::start(on, socket, false, ready)?;
        Ok(Self { poll, sender, receiver, waits_to_write: false, corked: false })
    }

    /// Sets whether the channel keeps the loop alive.
    pub fn hold(&self, hold: bool) {
        self.poll.hold(hold);
    }

    /// Sends a message if it is the first of the iteration, otherwise queues it for `turn_over`. A long queue is written
    /// at once, so that the peer reads while this process still writes.
    pub fn post(&mut self, id: u32, answers: u32, head: [&[u8]; 2], body: Body<'_>) {
        self.sender.push_parts(id, answers, head, body);
        let first = !std::mem::replace(&mut self.corked, true);
        if (first || self.sender.queued() >= EAGER) && !self.waits_to_write {
            // The next flush returns the error of a broken channel.
            let _ = self.flush();
        }
    }

    /// Queues a message that consists of these parts for `turn_over`. A long queue is written at once.
    pub fn queue(&mut self, id: u32, parts: &[&[u8]]) {
        self.sender.push_message(id, 0, parts);
        self.corked = true;
        if self.sender.queued() >= EAGER && !self.waits_to_write {
            // The next flush returns the error of a broken channel.
            let _ = self.flush();
        }
    }

    /// Whether a message was sent or queued in this iteration.
    pub fn is_corked(&self) -> bool {
        self.corked
    }

    /// The iteration of the loop ends: writes the queued messages.
    ///
    /// # Errors
    /// The channel is broken.
    pub fn turn_over(&mut self) -> io::Result<()> {
        self.corked = false;
        if self.waits_to_write { Ok(()) } else { self.flush() }
    }

    /// Bytes of messages that were not written yet.
    pub fn queued(&self) -> usize {
        self.sender.queued()
    }

    /// Writes what the socket accepts, and the rest when it is writable again.
    ///
    /// # Errors
    /// The channel is broken.
    pub fn flush(&mut self) -> io::Result<()> {
        let waits = match self.sender.flush(self.poll.as_fd()) {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(error) => return Err(error),
        };
        if waits != self.waits_to_write {
            self.waits_to_write = waits;
            self.poll.want_write(waits)?;
        }
        Ok(())
    }

    /// Continues writing after the socket was full.
    ///
    /// # Errors
    /// The channel is broken.
    pub fn go_on(&mut self) -> io::Result<()> {
        if self.waits_to_write { self.flush() } else { Ok(()) }
    }

    /// Appends received messages to `into`. Ok(false) at the end of the channel.
    ///
    /// # Errors
    /// The channel is broken, or the peer violates the protocol.
    pub fn read(&mut self, into: &mut Vec<Frame>) -> io::Result<bool> {
        self.read_each(|frame, _| {
            if frame.header.kind != Kind::Message {
                return Err(io::Error::other("this channel carries messages alone"));
            }
            into.push(frame);
            Ok(())
        })
    }

    /// Passes received frames to `each`, with their descriptors. Ok(false) at the end of the channel.
    ///
    /// # Errors
    /// The channel is broken, or `each` failed.
    pub fn read_each(
        &mut self,
        mut each: impl FnMut(Frame, Option<OwnedFd>) -> io::Result<()>,
    ) -> io::Result<bool> {
        for _ in 0..MAX_READS {
            match self.receiver.fill(self.poll.as_fd()) {
                Ok(bytes) => {
                    while let Some((frame, descriptor)) = self.receiver.next_frame()? {
                        each(frame, descriptor)?;
                    }
                    if bytes < READ {
                        return Ok(bytes > 0);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The peer died without reading our messages: the channel has ended.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Blocks until the socket is readable or has room.
    ///
    /// # Errors
    /// TimedOut.
    pub fn wait(&self, time: Duration) -> io::Result<()> {
        let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        let socket = self.poll.as_fd();
        match poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::IN | PollFlags::OUT)], Some(&timeout)) {
            Ok(0) => Err(io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}
