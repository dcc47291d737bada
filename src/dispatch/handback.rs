//! Connections that workers give away: idle ones of a worker that leaves, or that has more than its share.
//! Another worker gets them; what they have said since lies in their sockets and goes along. A trusted proxy's
//! come back after each response when their next request may belong to another worker, and wait for it here.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use super::accept::Floor;
use super::command::{Affinity, Report};
use super::crew::Member;
use super::group::{Connection, Hint};
use super::place::peer_address;
use super::roster::Place;
use super::token::Token;
use crate::event::Level;
use crate::ipc::parcel;
use crate::model::WorkerId;
use crate::sys::fds;

impl Floor {
    /// What the worker gives away wakes the thread, once for each time that something comes: what cannot be read
    /// for want of descriptors must not wake it again and again.
    pub fn hear_of_gifts(&self, member: &Member) {
        let token = EventData::new_u64(Token::Gifts(member.id).pack());
        if let Err(errno) = epoll::add(&self.epoll, member.channel(), token, EventFlags::IN | EventFlags::ET)
        {
            let text = format!("Connections of worker {} cannot be handed over: {errno}", member.id.slot);
            (self.report)(Report::Notice(Level::Warn, text));
        }
    }

    /// Reads what a worker has given away.
    pub fn take_gifts(&mut self, worker: WorkerId, now: Duration) {
        let Some((place, member)) = self.crew.find(worker) else { return };
        let gifts = gifts_of(member, now);
        self.pass_on(gifts, worker.slot, place, now);
    }

    /// Those that were left lying for want of descriptors.
    pub fn take_belated_gifts(&mut self, now: Duration) {
        let belated = |member: &&Member| member.has_unread_gifts;
        let workers: Vec<WorkerId> = self.crew.all().filter(belated).map(|member| member.id).collect();
        workers.into_iter().for_each(|worker| self.take_gifts(worker, now));
    }

    /// What a worker that is gone had given away last.
    pub fn take_last_gifts(&mut self, gone: &mut Member, place: Place, now: Duration) {
        let gifts = gifts_of(gone, now);
        self.pass_on(gifts, gone.id.slot, place, now);
    }

    fn pass_on(&mut self, gifts: Vec<Connection>, slot: u16, place: Place, now: Duration) {
        let bound = self.settings.affinity != Affinity::None;
        for mut connection in gifts {
            if self.wants_first_bytes(connection.group) && self.is_shared(&connection) {
                self.start_peek(Connection { lent: true, ..connection }, now);
                continue;
            }
            if place == Place::Serving {
                connection.giver = Some(slot);
            } else if bound {
                // Its client belongs to the slot, and the slot has a new worker.
                connection.hint = Hint { slot: Some(slot), ..connection.hint };
            }
            self.route(connection, now);
        }
    }
}

fn gifts_of(member: &mut Member, now: Duration) -> Vec<Connection> {
    let mut gifts = Vec::new();
    member.has_unread_gifts = false;
    loop {
        match parcel::next_size(member.channel().as_fd()) {
            // A message never holds more, whatever it says.
            Ok(Some(count)) if !fds::free(count.min(parcel::MOST)) => {
                member.has_unread_gifts = true;
                return gifts;
            }
            Err(Errno::INTR) => continue,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return gifts,
        }
        if let Ok(Some(parcel)) = parcel::receive(member.channel().as_fd()) {
            member.given += parcel.fds.len() as u64;
            gifts.extend(parcel.fds.into_iter().map(|fd| {
                let client = peer_address(&fd);
                Connection { kept: parcel.label.kept, ..Connection::new(fd, parcel.label.group, client, now) }
            }));
        }
    }
}
