//! The fleet's thread: the channels of this machine's processes, and the connection to Redis. It never waits for a client.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

use super::hub::{Client, Hub, Outgoing, Provided, Report};
use super::request::max_frame;
use super::settings::Settings;
use crate::ipc::channel::{Receiver, Sender};
use crate::ipc::crypto::Pair;
use crate::ipc::frame::Kind;
use crate::ipc::message::Peer;
use crate::model::FleetStatus;
use crate::sys::async_fd;

/// For the farewell at Redis.
const GOODBYE: Duration = Duration::from_millis(500);

/// A new client.
pub struct Joining {
    /// For reports.
    pub name: String,
    pub peer: Peer,
    /// Its program is one that broadcasts are for.
    pub receives: bool,
    pub socket: OwnedFd,
    pub keys: Option<Pair>,
}

/// The handle of the thread. Dropping it says goodbye to the fleet, and joins the thread.
pub struct Service {
    joining: Option<UnboundedSender<Joining>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts the thread. `report` is called on it and must not block.
    ///
    /// # Errors
    /// The kernel has no descriptors or no thread for it.
    pub fn start(
        settings: Arc<Settings>,
        provided: Arc<Mutex<Provided>>,
        status: Arc<Mutex<FleetStatus>>,
        report: impl Fn(Report) + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (joining, received) = unbounded_channel();
        let thread = std::thread::Builder::new().name("drover-fleet".into()).spawn(move || {
            let most = max_frame(settings.max_message);
            let hub = Hub::new(settings, provided, status, Box::new(report));
            LocalSet::new().block_on(&runtime, serve(hub, received, most));
            // The resolver may look for a name still, which nobody waits for.
            runtime.shutdown_background();
        })?;
        Ok(Self { joining: Some(joining), thread: Some(thread) })
    }

    /// The other end of the socket belongs to a client from now on.
    pub fn join(&self, client: Joining) {
        // A thread that has ended has panicked, which its hook has reported.
        if let Some(joining) = &self.joining {
            let _ = joining.send(client);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.joining.take();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by its hook.
            let _ = thread.join();
        }
    }
}

async fn serve(hub: Rc<Hub>, mut joining: UnboundedReceiver<Joining>, most: usize) {
    let link = spawn_local(hub.clone().run());
    let lease = spawn_local(hub.clone().watch_lease());
    while let Some(client) = joining.recv().await {
        spawn_local(attend(hub.clone(), client, most));
    }
    link.abort();
    lease.abort();
    // Redis may not answer.
    let _ = tokio::time::timeout(GOODBYE, hub.say_goodbye()).await;
}

/// Serves a client until it ends.
async fn attend(hub: Rc<Hub>, joining: Joining, most: usize) {
    let Joining { name, peer, receives, socket, keys } = joining;
    let (outgoing, mut queue) = unbounded_channel();
    let waiting = Rc::new(Cell::new(0));
    let number = hub.join(Client { name, peer, receives, outgoing, waiting: waiting.clone() });
    let served = async {
        let (mut sender, mut receiver) = (Sender::default(), Receiver::default());
        receiver.allow(most);
        if let Some(keys) = keys {
            sender.seal_with(&keys.to_worker)?;
            receiver.open_with(&keys.to_primary)?;
        }
        let socket = async_fd::watch(socket, Interest::READABLE | Interest::WRITABLE)?;
        let mut channel = Channel { hub: &hub, number, socket, sender, receiver, waiting };
        channel.serve(&mut queue).await
    };
    let ended: io::Result<()> = served.await;
    if let Err(error) = ended {
        hub.broken_client(number, error.to_string());
    }
    hub.leave(number);
}

struct Channel<'a> {
    hub: &'a Rc<Hub>,
    number: u32,
    socket: AsyncFd<OwnedFd>,
    sender: Sender,
    receiver: Receiver,
    waiting: Rc<Cell<usize>>,
}

impl Channel<'_> {
    /// # Errors
    /// What it has sent is against the protocol.
    async fn serve(&mut self, queue: &mut UnboundedReceiver<Outgoing>) -> io::Result<()> {
        loop {
            let wants_write = !self.sender.is_empty();
            tokio::select! {
                ready = self.socket.readable() => {
                    ready?.clear_ready();
                    if !self.read()? {
                        return Ok(());
                    }
                }
                ready = self.socket.writable(), if wants_write => {
                    ready?.clear_ready();
                    if !self.flush() {
                        return Ok(());
                    }
                }
                next = queue.recv() => {
                    let Some(next) = next else { return Ok(()) };
                    self.push(next);
                    while let Ok(next) = queue.try_recv() {
                        self.push(next);
                    }
                    if !self.flush() {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn push(&mut self, (number, answers, bytes): Outgoing) {
        self.sender.push_message(number, answers, &[&bytes]);
    }

    /// False: it has ended.
    fn flush(&mut self) -> bool {
        let flushed = self.sender.flush(self.socket.get_ref().as_fd());
        self.waiting.set(self.sender.queued());
        match flushed {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    /// False: it has ended.
    fn read(&mut self) -> io::Result<bool> {
        loop {
            match self.receiver.fill(self.socket.get_ref().as_fd()) {
                Ok(0) => return Ok(false),
                Ok(_) => self.take_frames()?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It died with unread answers.
                Err(_) => return Ok(false),
            }
        }
    }

    fn take_frames(&mut self) -> io::Result<()> {
        while let Some((frame, _)) = self.receiver.next_frame()? {
            let header = frame.header;
            let taken = (header.kind == Kind::Message)
                .then(|| self.hub.take(self.number, header.id, header.answers, &frame.payload))
                .flatten();
            taken.ok_or_else(|| io::Error::other("what it sent is no request"))?;
        }
        Ok(())
    }
}
