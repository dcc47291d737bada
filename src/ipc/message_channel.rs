//! A channel of messages on a runtime's own loop: what comes is read when the loop is there to handle it, and of what
//! is sent in a turn of the loop the first goes out at once and the rest at the turn's end, as far as the socket
//! takes it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::channel::{READ, Receiver, Sender};
use super::crypto::Key;
use super::frame::{Frame, Kind};
use super::message::Body;
use crate::sys::uv::{Loop, Poll};

/// Reads in one go, at most; then the loop's other work has its turn.
const MAX_READS: usize = 8;

/// Bytes that need not wait for the end of the turn.
const EAGER: usize = 64 * 1024;

/// The keys of one end.
pub struct Ends<'a> {
    pub sends: &'a Key,
    pub receives: &'a Key,
}

pub struct MessageChannel {
    poll: Poll,
    sender: Sender,
    receiver: Receiver,
    waits_to_write: bool,
    /// Something has gone out in this turn: what comes now waits for its end.
    corked: bool,
}

impl MessageChannel {
    /// `ready` is called when there is something to read, or room to write what waits. The handle does not keep the
    /// loop alive.
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
        let poll = Poll::start(on, socket, false, ready)?;
        Ok(Self { poll, sender, receiver, waits_to_write: false, corked: false })
    }

    /// Keeps the loop alive, or does no longer.
    pub fn hold(&self, hold: bool) {
        self.poll.hold(hold);
    }

    /// Sends a message if it is the turn's first, else queues it for `turn_over`. When much has gathered some of it
    /// goes at once, so that the other side reads while this one still writes.
    pub fn post(&mut self, id: u32, answers: u32, head: [&[u8]; 2], body: Body<'_>) {
        self.sender.push_parts(id, answers, head, body);
        let first = !std::mem::replace(&mut self.corked, true);
        if (first || self.sender.queued() >= EAGER) && !self.waits_to_write {
            // An end that is broken says so at the next flush.
            let _ = self.flush();
        }
    }

    /// Something was sent or queued in this turn.
    pub fn is_corked(&self) -> bool {
        self.corked
    }

    /// The turn of the loop ends: what was queued in it goes.
    ///
    /// # Errors
    /// The channel is broken.
    pub fn turn_over(&mut self) -> io::Result<()> {
        self.corked = false;
        if self.waits_to_write { Ok(()) } else { self.flush() }
    }

    /// Bytes of messages that wait.
    pub fn queued(&self) -> usize {
        self.sender.queued()
    }

    /// Sends what the socket takes; the rest when there is room again.
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

    /// Goes on writing when the socket was full.
    ///
    /// # Errors
    /// The channel is broken.
    pub fn go_on(&mut self) -> io::Result<()> {
        if self.waits_to_write { self.flush() } else { Ok(()) }
    }

    /// Reads what has come onto `into`. Ok(false) at the end of the channel.
    ///
    /// # Errors
    /// The channel is broken, or the peer breaks the protocol.
    pub fn read(&mut self, into: &mut Vec<Frame>) -> io::Result<bool> {
        for _ in 0..MAX_READS {
            match self.receiver.fill(self.poll.as_fd()) {
                Ok(bytes) => {
                    while let Some((frame, _)) = self.receiver.next_frame()? {
                        if frame.header.kind != Kind::Message {
                            return Err(io::Error::other("this channel carries messages alone"));
                        }
                        into.push(frame);
                    }
                    if bytes < READ {
                        return Ok(bytes > 0);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The peer died with our words unread: that is its end.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
