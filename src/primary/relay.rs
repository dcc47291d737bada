//! Messages from worker to worker: the loop relays them, even while the primary's JavaScript is blocked.

use std::sync::Arc;

use super::workers::Workers;
use crate::error::{Code, Error};
use crate::ipc::endpoint::{MAX_WAITING, gone};
use crate::ipc::frame::Frame;
use crate::ipc::message::{Message, Peer, What};
use crate::ipc::message_policy::MessagePolicy;
use crate::ipc::router::Router;
use crate::model::WorkerId;

impl From<WorkerId> for Peer {
    fn from(worker: WorkerId) -> Self {
        Peer::Worker(worker)
    }
}

/// Pending requests between workers, and the message policy.
pub(super) struct Relay {
    router: Router,
    policy: Arc<MessagePolicy>,
}

impl Relay {
    /// `max_pending`: maximum number of pending requests of one worker to another.
    pub fn new(max_pending: usize, policy: Arc<MessagePolicy>) -> Self {
        Self { router: Router::new(max_pending), policy }
    }

    /// Relays a worker's message to another worker, or sends its sender an error.
    ///
    /// # Errors
    /// How the sender has violated the protocol.
    pub fn carry(
        &mut self,
        from: WorkerId,
        Frame { header, payload }: Frame,
        workers: &Workers,
    ) -> Result<(), &'static str> {
        let Some(message) = Message::read(header.id, header.answers, payload) else {
            return Err("what it sent is no message");
        };
        let Peer::Worker(to) = message.peer else {
            return Err("a message for the primary's program came over the control channel");
        };
        let passed = match message.what {
            What::Request => self.admit(from, to, &message, workers),
            What::Answer | What::Failure => {
                let question = (to.into(), message.answers);
                if !self.router.answered(question, from.into()) {
                    return Ok(());
                }
                self.policy.pass(from.into(), to.into(), &message.envelope(), message.body())
            }
            What::Notify => return Err("a message between workers is a request or a response"),
        };
        let is_question = message.what == What::Request;
        if let Err(error) = passed {
            if is_question {
                fail(workers, from, to, message.id, &error);
            }
            return Ok(());
        }
        if is_question {
            self.router.ask((from.into(), message.id), to.into());
        }
        // The requester may have ended; then the response is dropped.
        workers.carry(to, message, from.into());
        Ok(())
    }

    fn admit(&self, from: WorkerId, to: WorkerId, message: &Message, workers: &Workers) -> Result<(), Error> {
        let waiting = workers.waiting(to).ok_or_else(|| gone(to.into()))?;
        self.policy.pass(from.into(), to.into(), &message.envelope(), message.body())?;
        if waiting > MAX_WAITING {
            let text = format!("Too many messages to worker {} are pending", to.slot);
            return Err(Error::new(Code::MessageQueueFull, text));
        }
        Ok(())
    }

    /// The worker has ended: fails pending requests to it.
    pub fn forget(&mut self, ended: WorkerId, workers: &Workers) {
        for (requester, id) in self.router.gone(ended.into()) {
            if let Peer::Worker(requester) = requester {
                fail(workers, requester, ended, id, &gone(ended.into()));
            }
        }
    }
}

/// Sends the requester of a request the error of `to`.
fn fail(workers: &Workers, requester: WorkerId, to: WorkerId, id: u32, error: &Error) {
    workers.carry(requester, Message::failure(to.into(), id, error), to.into());
}
