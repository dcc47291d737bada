//! Connections that workers give away: idle ones of a worker that leaves, or that has more than its share.
//! Another worker gets them; what they have said since lies in their sockets and goes along. A trusted proxy's
//! come back after each response when their next request may belong to another worker, and wait for it here.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use super::accept_loop::AcceptLoop;
use super::command::{Affinity, Report};
use super::group::{Connection, Hint};
use super::placement::peer_address;
use super::token::Token;
use super::worker_channel::WorkerChannel;
use super::worker_table::Stage;
use crate::event::Level;
use crate::ipc::fd_message;
use crate::model::WorkerId;
use crate::sys::fds;

impl AcceptLoop {
    /// What the worker gives away wakes the thread, once for each time that something comes: what cannot be read
    /// for want of descriptors must not wake it again and again.
    pub fn watch_handoffs(&self, channel: &WorkerChannel) {
        let token = EventData::new_u64(Token::Handoffs(channel.id).pack());
        if let Err(errno) = epoll::add(&self.epoll, channel.channel(), token, EventFlags::IN | EventFlags::ET)
        {
            let text = format!("Connections of worker {} cannot be handed over: {errno}", channel.id.slot);
            (self.report)(Report::Notice(Level::Warn, text));
        }
    }

    /// Reads what a worker has given away.
    pub fn take_handoffs(&mut self, worker: WorkerId, now: Duration) {
        let Some((place, channel)) = self.workers.find(worker) else { return };
        let handoffs = handoffs_of(channel, now);
        self.pass_on(handoffs, worker.slot, place, now);
    }

    /// Those that were left lying for want of descriptors.
    pub fn take_late_handoffs(&mut self, now: Duration) {
        let late = |channel: &&WorkerChannel| channel.has_unread_handoffs;
        let workers: Vec<WorkerId> = self.workers.all().filter(late).map(|channel| channel.id).collect();
        workers.into_iter().for_each(|worker| self.take_handoffs(worker, now));
    }

    /// What a worker that is gone had given away last.
    pub fn take_last_handoffs(&mut self, gone: &mut WorkerChannel, place: Stage, now: Duration) {
        let handoffs = handoffs_of(gone, now);
        self.pass_on(handoffs, gone.id.slot, place, now);
    }

    fn pass_on(&mut self, handoffs: Vec<Connection>, slot: u16, place: Stage, now: Duration) {
        let bound = self.settings.affinity != Affinity::None;
        for mut connection in handoffs {
            if self.wants_first_bytes(connection.group) && self.is_shared(&connection) {
                self.start_peek(Connection { per_request: true, ..connection }, now);
                continue;
            }
            if place == Stage::Serving {
                connection.donor = Some(slot);
            } else if bound {
                // Its client belongs to the slot, and the slot has a new worker.
                connection.hint = Hint { slot: Some(slot), ..connection.hint };
            }
            self.route(connection, now);
        }
    }
}

fn handoffs_of(channel: &mut WorkerChannel, now: Duration) -> Vec<Connection> {
    let mut handoffs = Vec::new();
    channel.has_unread_handoffs = false;
    loop {
        match fd_message::next_size(channel.channel().as_fd()) {
            // A message never holds more, whatever it says.
            Ok(Some(count)) if !fds::free(count.min(fd_message::MAX)) => {
                channel.has_unread_handoffs = true;
                return handoffs;
            }
            Err(Errno::INTR) => continue,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return handoffs,
        }
        if let Ok(Some(fd_message)) = fd_message::receive(channel.channel().as_fd()) {
            channel.given += fd_message.fds.len() as u64;
            handoffs.extend(fd_message.fds.into_iter().map(|fd| {
                let client = peer_address(&fd);
                Connection {
                    keep_alive: fd_message.header.keep_alive,
                    ..Connection::new(fd, fd_message.header.group, client, now)
                }
            }));
        }
    }
}
