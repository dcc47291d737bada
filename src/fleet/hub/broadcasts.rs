//! Messages of this machine for the workers of all others, and theirs for its own.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use redis::{AsyncCommands, RedisError, RedisResult};
use serde_json::json;
use tokio::task::spawn_local;

use super::{Asked, Client, Delivered, Failed, GRACE, Hub, MAX_WAITING, State, locked, message};
use crate::error::{Code, Error};
use crate::fleet::gathering::{Answer, Gathering, failure, no_answer};
use crate::fleet::parts;
use crate::fleet::request::{notice, status};
use crate::ipc::message::{Envelope, Format, Peer, What};

impl Hub {
    /// Sends a client's message to the workers of all other machines; what comes back answers the request. Some: it is
    /// not allowed, and why.
    pub(super) async fn broadcast(
        self: &Rc<Self>,
        client: u32,
        number: u32,
        given: &[Vec<u8>],
    ) -> Result<Option<Vec<u8>>, Failed> {
        let [kind, format, timeout, body] = given else { return Err(Failed::Invalid) };
        let peer = self.state.borrow().clients.get(&client).map(|client| client.peer);
        let (Some(peer), Some(time)) = (peer, parts::number(timeout).map(Duration::from_millis)) else {
            return Err(Failed::Invalid);
        };
        let refused =
            self.too_large(body).or_else(|| self.passes(peer, Peer::Primary, [kind, format, body]).err());
        if let Some(error) = refused {
            return Ok(Some(json!(error).to_string().into_bytes()));
        }
        let mut link = self.link()?;
        let (asked, asks_nobody) = self.ask_others(client, number);
        let message = parts::write(
            message::BROADCAST,
            &[self.id().as_bytes(), asked.to_string().as_bytes(), timeout, kind, format, body],
        );
        let message = self.settings.sealed(&self.all, message);
        let late = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let published = tokio::time::timeout(self.settings.timeout, link.publish(&self.all, message)).await;
        let published: RedisResult<()> = published.map_err(late).flatten();
        if let Err(error) = published {
            self.state.borrow_mut().asked.remove(&asked);
            return Err(self.failed(&error));
        }
        locked(&self.status).counts.messages_sent += 1;
        if asks_nobody {
            self.state.borrow_mut().asked.remove(&asked);
            self.answer(client, number, parts::write(status::DONE, &[]));
            return Ok(None);
        }
        let hub = self.clone();
        spawn_local(async move {
            tokio::time::sleep(time + GRACE).await;
            let mut state = hub.state.borrow_mut();
            if let Some(mut asked) = state.asked.remove(&asked) {
                asked.gathering.end(|_| failure("", &no_answer()));
                Self::finish(&state, asked);
            }
        });
        Ok(None)
    }

    pub(super) fn too_large(&self, body: &[u8]) -> Option<Error> {
        let (size, most) = (body.len(), self.settings.max_message);
        let text = format!("A message of {size} bytes is larger than ipc.maxMessageSize ({most})");
        (size > most).then(|| Error::new(Code::MessageTooLarge, text))
    }

    /// Notes that a client waits for the answers of all other machines; returns the number of its message, and whether there
    /// are none.
    fn ask_others(&self, client: u32, number: u32) -> (u32, bool) {
        let mut state = self.state.borrow_mut();
        let others: BTreeSet<String> =
            state.members.all().map(|member| member.id.clone()).filter(|id| id != self.id()).collect();
        state.next_number = state.next_number.wrapping_add(1);
        let asked = state.next_number;
        let asks_nobody = others.is_empty();
        state.asked.insert(asked, Asked { client, number, gathering: Gathering::new(others) });
        (asked, asks_nobody)
    }

    /// The answers of a machine.
    pub(super) fn gathered(&self, machine: &str, number: u32, answers: Vec<Answer>) {
        let mut state = self.state.borrow_mut();
        let is_over = state
            .asked
            .get_mut(&number)
            .is_some_and(|asked| asked.gathering.answered(&machine.to_owned(), answers));
        if is_over && let Some(asked) = state.asked.remove(&number) {
            Self::finish(&state, asked);
        }
    }

    pub(super) fn finish(state: &State, Asked { client, number, gathering }: Asked) {
        let Some(client) = state.clients.get(&client) else { return };
        for (machine, [worker, has_answered, format, body]) in &gathering.answers {
            let part: [&[u8]; 5] = [machine.as_bytes(), worker, has_answered, format, body];
            client.tell(0, number, parts::write(status::PART, &part));
        }
        client.tell(0, number, parts::write(status::DONE, &[]));
    }

    pub(super) fn passes(&self, from: Peer, to: Peer, [kind, format, body]: [&[u8]; 3]) -> Result<(), Error> {
        let provided = locked(&self.provided);
        let Some(policy) = &provided.policy else { return Ok(()) };
        let format = match format {
            b"1" => Format::Clone,
            b"2" => Format::JsonAndBuffers,
            _ => Format::Json,
        };
        let kind = parts::text(kind).unwrap_or_default();
        policy.pass(from, to, &Envelope { peer: from, what: What::Request, format, kind }, body)
    }

    /// Passes a message of another machine to the workers of this one.
    pub(super) fn deliver(
        self: &Rc<Self>,
        machine: &[u8],
        number: &[u8],
        time: Duration,
        message: [&[u8]; 3],
    ) {
        locked(&self.status).counts.messages_received += 1;
        let mut state = self.state.borrow_mut();
        state.next_number = state.next_number.wrapping_add(1).max(1);
        let delivery = state.next_number;
        let [kind, format, body] = message;
        let bytes = parts::write(notice::MESSAGE, &[machine, kind, format, body]);
        let mut refused = Vec::new();
        let mut waiting = BTreeSet::new();
        for (id, client) in state.clients.iter().filter(|(_, client)| client.receives) {
            waiting.insert(*id);
            let passed = match self.passes(Peer::Primary, client.peer, message) {
                Ok(()) if client.waiting.get() > MAX_WAITING => {
                    let text = format!("Too many messages to worker {} are pending", client.worker_id());
                    Err(Error::new(Code::MessageQueueFull, text))
                }
                passed => passed,
            };
            match passed {
                Ok(()) => client.tell(delivery, 0, bytes.clone()),
                Err(error) => refused.push((*id, failure(&client.worker_id(), &error))),
            }
        }
        let mut gathering = Gathering::new(waiting);
        let mut is_over =
            refused.iter().fold(false, |_, (id, answer)| gathering.answered(id, vec![answer.clone()]));
        is_over |= state.clients.values().all(|client| !client.receives);
        let delivered = Delivered {
            machine: String::from_utf8_lossy(machine).into_owned(),
            number: number.to_vec(),
            gathering,
        };
        if is_over {
            drop(state);
            return self.send_answers(delivered);
        }
        state.delivered.insert(delivery, delivered);
        drop(state);
        let hub = self.clone();
        spawn_local(async move {
            tokio::time::sleep(time).await;
            let delivered = hub.state.borrow_mut().delivered.remove(&delivery);
            if let Some(mut delivered) = delivered {
                let state = hub.state.borrow();
                let worker = |id: &u32| state.clients.get(id).map(Client::worker_id).unwrap_or_default();
                delivered.gathering.end(|id| failure(&worker(id), &no_answer()));
                drop(state);
                hub.send_answers(delivered);
            }
        });
    }

    /// A client has answered a message of another machine.
    pub(super) fn answered(self: &Rc<Self>, client: u32, delivery: u32, answer: Answer) {
        let mut state = self.state.borrow_mut();
        let is_over = state
            .delivered
            .get_mut(&delivery)
            .is_some_and(|delivered| delivered.gathering.answered(&client, vec![answer]));
        let delivered = if is_over { state.delivered.remove(&delivery) } else { None };
        drop(state);
        if let Some(delivered) = delivered {
            self.send_answers(delivered);
        }
    }

    pub(super) fn send_answers(self: &Rc<Self>, Delivered { machine, number, gathering }: Delivered) {
        let hub = self.clone();
        spawn_local(async move {
            // The other machine does not wait for one that has lost its connection.
            let Ok(mut link) = hub.link() else { return };
            let mut all: Vec<&[u8]> = vec![hub.id().as_bytes(), &number];
            all.extend(gathering.answers.iter().flat_map(|(_, answer)| answer.iter().map(Vec::as_slice)));
            let channel = format!("{}to:{machine}", hub.settings.prefix);
            let message = hub.settings.sealed(&channel, parts::write(message::ANSWERS, &all));
            let published: RedisResult<()> = link.publish(&channel, message).await;
            if let Err(error) = published {
                hub.failed(&error);
            }
        });
    }
}
