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

    /// Invalidates in the caches of all other machines; returns when they have been told, or cannot be told now: then they
    /// are told when that is possible.
    pub(super) async fn invalidate(self: &Rc<Self>, invalidation: Invalidation) {
        let number = self.state.borrow_mut().backlog.push(invalidation);
        let told = async {
            loop {
                let told = self.told.notified();
                self.tell_backlog();
                told.await;
                let state = self.state.borrow();
                if state.backlog.is_told(number) || !state.is_telling {
                    return;
                }
            }
        };
        // Redis may not answer.
        let _ = tokio::time::timeout(self.settings.timeout, told).await;
    }

    /// Tells the others what they have not been told.
    pub(super) fn tell_backlog(self: &Rc<Self>) {
        if std::mem::replace(&mut self.state.borrow_mut().is_telling, true) {
            return;
        }
        let hub = self.clone();
        spawn_local(async move {
            while !hub.state.borrow().backlog.is_empty() && hub.tell_some().await.is_ok() {
                hub.told.notify_waiters();
            }
            hub.state.borrow_mut().is_telling = false;
            hub.told.notify_waiters();
        });
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
            self.state.borrow_mut().backlog.told();
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
