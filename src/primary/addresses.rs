//! The addresses and datagram sockets that the primary's program and the workers request. Dispatch owns them and replies
//! later; each reply becomes an input of the loop. If orphans of a killed primary still hold an address, opening it waits,
//! because they end soon.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::inputs::{Input, later};
use crate::dispatch::{Dispatcher, Holder, ListenFailure, Listening};
use crate::error::{Code, Error, Result};
use crate::ipc::control::{Address, Datagram, GroupId, ListenOptions, SocketId, ToWorker};
use crate::model::WorkerId;
use crate::process::orphans;

/// Orphans end within two seconds; the rest is a margin for a busy machine.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A killed process holds its sockets until the kernel has cleaned up, and an orphan may end between an attempt and the
/// search for orphans: so the result counts only after the second check.
const SECOND_LOOK: Duration = Duration::from_millis(150);
const BETWEEN_TRIES: Duration = Duration::from_millis(50);
/// Interval of the checks whether another worker's server stays open; the requesting worker waits meanwhile.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// The reply to a worker's request.
type Reply = (ToWorker, Option<OwnedFd>);

/// A request that a worker waits for: its number on the worker's control channel.
#[derive(Clone, Copy)]
pub(super) struct Question {
    pub worker: WorkerId,
    pub id: u32,
}

pub(super) struct Addresses {
    dispatcher: Arc<Dispatcher>,
    inputs: UnboundedSender<Input>,
}

impl Addresses {
    pub fn new(dispatcher: Arc<Dispatcher>, inputs: UnboundedSender<Input>) -> Self {
        Self { dispatcher, inputs }
    }

    // The primary's program.

    /// Opens an address; the call `id` is settled with `{ group, host, port }`.
    pub fn open(&self, id: u32, address: Address, options: ListenOptions) {
        let opening = open(self.dispatcher.clone(), address, options, None);
        later(&self.inputs, async move { Input::Settled { id, result: opened(opening.await) } });
    }

    /// Closes an address; the call `id` is settled when that is done.
    pub fn release(&self, id: u32, group: GroupId) {
        let released = self.dispatcher.release(group);
        later(&self.inputs, async move {
            // An accept thread that has ended has closed everything.
            let _ = released.await;
            Input::Settled { id, result: Ok(Value::Null) }
        });
    }

    /// Closes every address, because the cluster stops; then comes `Input::Retired`.
    pub fn retire(&self) {
        let retired = self.dispatcher.retire();
        later(&self.inputs, async move {
            // An accept thread that has ended has closed everything.
            let _ = retired.await;
            Input::Retired
        });
    }

    // Workers. Each of these requests is answered once (`Input::Answered`).

    pub fn listen(&self, question: Question, address: Address, options: ListenOptions) {
        let opening = open(self.dispatcher.clone(), address, options, Some(question.worker));
        self.answer(question, async {
            match opening.await {
                Ok(Listening { group, host, port, listener, own }) => {
                    (ToWorker::Listening { group, host, port, own }, listener)
                }
                Err(failure) => listen_failed(failure),
            }
        });
    }

    pub fn close(&self, question: Question, group: GroupId) {
        let closed = self.dispatcher.close(question.worker, group);
        self.answer(question, async move {
            // An accept thread that has ended sends nothing.
            (ToWorker::Closed { group, others: closed.await.unwrap_or(false) }, None)
        });
    }

    pub fn bind(&self, question: Question, datagram: Datagram) {
        let binding = bind(self.dispatcher.clone(), datagram, question.worker);
        self.answer(question, async {
            match binding.await {
                Ok((socket, descriptor)) => (ToWorker::Bound { socket }, Some(descriptor)),
                Err(failure) => listen_failed(failure),
            }
        });
    }

    pub fn unbind(&self, question: Question, socket: SocketId) {
        let unbound = self.dispatcher.unbind(question.worker, socket);
        self.answer(question, async {
            // An accept thread that has ended has released everything.
            let _ = unbound.await;
            (ToWorker::Unbound, None)
        });
    }

    pub fn join(&self, question: Question, socket: SocketId, membership: String) {
        let joined = self.dispatcher.join_multicast(question.worker, socket, membership);
        self.answer(question, async { (ToWorker::Joined { first: joined.await.unwrap_or(true) }, None) });
    }

    pub fn part(&self, question: Question, socket: SocketId, membership: String) {
        let parted = self.dispatcher.leave_multicast(question.worker, socket, membership);
        self.answer(question, async { (ToWorker::Parted { last: parted.await.unwrap_or(true) }, None) });
    }

    fn answer(&self, question: Question, reply: impl Future<Output = Reply> + Send + 'static) {
        later(&self.inputs, async move {
            let (answer, descriptor) = reply.await;
            let Question { worker, id } = question;
            Input::Answered { worker, question: id, answer, descriptor }
        });
    }
}

fn listen_failed(ListenFailure { errno, host, .. }: ListenFailure) -> Reply {
    (ToWorker::ListenFailed { errno, host }, None)
}

fn opened(result: std::result::Result<Listening, ListenFailure>) -> Result<Value> {
    match result {
        Ok(Listening { group, host, port, .. }) => Ok(json!({ "group": group, "host": host, "port": port })),
        Err(ListenFailure { errno, syscall, host, .. }) => {
            let cause = io::Error::from_raw_os_error(errno);
            let details = json!({ "errno": errno, "syscall": syscall, "host": host });
            Err(Error::new(Code::System, format!("{syscall}: {cause}")).with(details))
        }
    }
}

async fn open(
    dispatcher: Arc<Dispatcher>,
    address: Address,
    options: ListenOptions,
    requester: Option<WorkerId>,
) -> std::result::Result<Listening, ListenFailure> {
    let listen =
        |joins_only| dispatcher.listen(address.clone(), ListenOptions { joins_only, ..options }, requester);
    until_free("listen", listen, || orphans::hold(&address)).await
}

/// A datagram socket for a worker.
async fn bind(
    dispatcher: Arc<Dispatcher>,
    datagram: Datagram,
    worker: WorkerId,
) -> std::result::Result<(SocketId, OwnedFd), ListenFailure> {
    let port = datagram.port;
    let bind = |_| dispatcher.bind(worker, datagram.clone());
    until_free("bind", bind, || orphans::hold_datagrams(port)).await
}

/// Retries while orphans hold the address, and while a server of the cluster may be about to close it (passed to
/// `attempt`).
async fn until_free<T>(
    syscall: &'static str,
    attempt: impl Fn(bool) -> oneshot::Receiver<std::result::Result<T, ListenFailure>>,
    is_held: impl Fn() -> bool,
) -> std::result::Result<T, ListenFailure> {
    let since = tokio::time::Instant::now();
    let mut timeout_of = SECOND_LOOK;
    let mut was_ours = false;
    loop {
        let failure = match attempt(was_ours).await {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(failure)) => failure,
            // The accept thread has ended and has reported why.
            Err(_) => ListenFailure::new(libc::ECONNABORTED, syscall, None),
        };
        match failure.holder {
            Holder::Ours => return Err(failure),
            Holder::OursPerhaps => {
                was_ours = true;
                tokio::time::sleep(BETWEEN_LOOKS).await;
                continue;
            }
            Holder::Other => {}
        }
        if failure.errno != libc::EADDRINUSE || since.elapsed() >= timeout_of {
            return Err(failure);
        }
        if is_held() {
            timeout_of = TIMEOUT;
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}
