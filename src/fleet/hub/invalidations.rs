//! Invalidations: those of other machines for the cache of this one, and its own for them.

use std::rc::Rc;

use redis::{AsyncCommands, RedisResult};
use tokio::task::spawn_local;

use super::{Failed, Hub, LOG, Report, SOME, locked, message};
use crate::fleet::backlog::Invalidation;
use crate::fleet::link::{Ill, judge};
use crate::fleet::parts;

impl Hub {
    /// `message`: of the log.
    pub(super) fn invalidated(&self, message: &[u8]) {
        let Some((message::INVALIDATION, parts)) = parts::read(message) else { return };
        let [machine, invalidation] = parts[..] else { return };
        // Its own are done.
        if machine == self.id().as_bytes() {
            return;
        }
        if let Some(invalidation) = Invalidation::read(invalidation) {
            self.apply(invalidation);
        }
    }

    pub(super) fn apply(&self, invalidation: Invalidation) {
        {
            let counts = &mut locked(&self.status).counts;
            match &invalidation {
                Invalidation::Everything => counts.resets += 1,
                _ => counts.invalidations_received += 1,
            }
        }
        let local = self.state.borrow().local.iter().cloned().collect();
        (self.report)(Report::Invalidate(invalidation, local));
    }

    /// Tells the others what they have not been told.
    pub(super) fn tell_backlog(self: &Rc<Self>) {
        let hub = self.clone();
        spawn_local(async move {
            // What they miss now they are told when that is possible.
            let _ = hub.flush_backlog().await;
        });
    }

    pub(super) async fn flush_backlog(&self) -> Result<(), Failed> {
        if std::mem::replace(&mut self.state.borrow_mut().is_telling, true) {
            return Ok(());
        }
        let mut told = Ok(());
        while told.is_ok() && !self.state.borrow().backlog.is_empty() {
            told = self.tell_some().await;
        }
        self.state.borrow_mut().is_telling = false;
        told
    }

    pub(super) async fn tell_some(&self) -> Result<(), Failed> {
        let mut link = self.link()?;
        let some = self.state.borrow_mut().backlog.take(SOME);
        let messages: Vec<Vec<u8>> = some
            .iter()
            .map(|invalidation| {
                let message =
                    parts::write(message::INVALIDATION, &[self.id().as_bytes(), &invalidation.write()]);
                self.settings.sealed(&self.all, message)
            })
            .collect();
        let script = self
            .scripts
            .invalidate
            .key(self.shared("log"))
            .arg(LOG)
            .arg(&self.all)
            .arg(&messages[..])
            .invoke_async(&mut link)
            .await;
        let told: RedisResult<()> = script;
        let Err(error) = told else {
            locked(&self.status).counts.invalidations_sent += messages.len() as u64;
            return Ok(());
        };
        let failed = self.failed(&error);
        // A server that is full has no room in its log: who listens now is told.
        if judge(&error) == Ill::Refuses {
            for message in &messages {
                let published: RedisResult<()> =
                    link.publish(&self.all, [b"- ", &message[..]].concat()).await;
                if let Err(error) = published {
                    self.failed(&error);
                }
            }
        }
        self.state.borrow_mut().backlog.put_back(some);
        Err(failed)
    }
}
