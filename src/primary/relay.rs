//! Messages from worker to worker: the loop carries them, whatever the primary's program does.

use super::run::Cluster;
use crate::error::{Code, Error};
use crate::ipc::endpoint::{MAX_WAITING, gone};
use crate::ipc::frame::Frame;
use crate::ipc::message::{Envelope, Peer, What, readdress};
use crate::model::WorkerId;

impl From<WorkerId> for Peer {
    fn from(worker: WorkerId) -> Self {
        Peer::Worker(worker)
    }
}

impl Cluster {
    /// A worker's message for another.
    pub(super) fn relay(&mut self, from: WorkerId, mut frame: Frame) {
        let Some((envelope, body)) = Envelope::read(&frame.payload) else {
            return self.break_off(from, "what it sent is no message");
        };
        let Peer::Worker(to) = envelope.peer else {
            return self.break_off(from, "a message for the primary's program came over the control channel");
        };
        let asked = match envelope.what {
            What::Request => self.admit(from, to, &envelope, body),
            What::Answer | What::Failure => {
                let question = (to.into(), frame.header.answers);
                if !self.router.answered(question, from.into()) {
                    return;
                }
                self.setup.message_policy.pass(from.into(), to.into(), &envelope, body)
            }
            What::Notify => return self.break_off(from, "workers ask each other, they tell nothing"),
        };
        let is_question = envelope.what == What::Request;
        if let Err(error) = asked {
            if is_question {
                self.fail(from, to, frame.header.id, &error);
            }
            return;
        }
        if is_question {
            self.router.ask((from.into(), frame.header.id), to.into());
        }
        readdress(&mut frame.payload, from.into());
        // Whoever asked may be gone by now; nobody waits for the answer then.
        if let Some(control) = self.workers.control(to) {
            control.carry(frame);
        }
    }

    fn admit(&self, from: WorkerId, to: WorkerId, envelope: &Envelope<'_>, body: &[u8]) -> Result<(), Error> {
        let control = self.workers.control(to).ok_or_else(|| gone(to.into()))?;
        self.setup.message_policy.pass(from.into(), to.into(), envelope, body)?;
        if control.waiting() > MAX_WAITING {
            let text = format!("Too many messages wait for worker {} already", to.slot);
            return Err(Error::new(Code::MessageQueueFull, text));
        }
        Ok(())
    }

    /// Tells the asker of a question why `to` does not answer it.
    fn fail(&self, asker: WorkerId, to: WorkerId, id: u32, error: &Error) {
        if let Some(control) = self.workers.control(asker) {
            control.carry(Frame::failure(to.into(), id, error));
        }
    }

    /// The worker is gone: whoever waits for it need not any more.
    pub(super) fn forget_questions(&mut self, ended: WorkerId) {
        for (asker, id) in self.router.gone(ended.into()) {
            if let Peer::Worker(asker) = asker {
                self.fail(asker, ended, id, &gone(ended.into()));
            }
        }
    }
}
