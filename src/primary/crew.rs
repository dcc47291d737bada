//! The workers that live now: making one, speaking with it, ending it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::sync::mpsc::UnboundedSender;

use super::link::Link;
use super::news::{Input, Name};
use super::setup::Setup;
use crate::dispatch::Dispatcher;
use crate::error::Error;
use crate::ipc::channel::Sender;
use crate::ipc::control::{ToWorker, encode};
use crate::ipc::frame::{Frame, Kind};
use crate::metrics::memory::SharedMemory;
use crate::process::spawner::{self, Spawned};

/// The primary's ends of a worker that is being made.
struct Unborn {
    control: OwnedFd,
    sender: Sender,
}

#[derive(Default)]
pub struct Crew {
    unborn: HashMap<Name, Unborn>,
    links: HashMap<Name, Link>,
    /// When each was started, milliseconds since 1970.
    started: HashMap<Name, u64>,
}

fn pair(kind: SocketType) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, kind, flags, None).map_err(Into::into)
}

impl Crew {
    /// Makes the channels of a worker, welcomes it, joins it to the dispatch and asks for its process.
    ///
    /// # Errors
    /// No descriptors left; nothing was started.
    pub fn spawn(
        &mut self,
        name: Name,
        setup: &Setup,
        memory: &SharedMemory,
        memfd: &OwnedFd,
        dispatcher: &Dispatcher,
        inputs: &UnboundedSender<Input>,
    ) -> Result<(), Error> {
        let failed = |error: io::Error| Error::system("socketpair", &error);
        let (control, theirs) = pair(SocketType::STREAM).map_err(failed)?;
        let (connections, far_end) = pair(SocketType::SEQPACKET).map_err(failed)?;
        let inherited =
            vec![theirs, far_end.try_clone().map_err(failed)?, memfd.try_clone().map_err(failed)?];
        let welcome = setup.greeting.welcome(setup, name.slot, name.generation);
        let payload = encode(&ToWorker::Welcome(Box::new(welcome)));
        let mut sender = Sender::default();
        let frame = Frame { kind: Kind::Control, id: 0, answers: 0, descriptor: false, payload };
        sender.push(frame, None).map_err(failed)?;
        match sender.flush(control.as_fd()) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(failed(error)),
            // What did not fit goes on when the worker reads.
            Ok(()) | Err(_) => {}
        }
        let page = memory.page(name.slot, name.generation);
        dispatcher.join(name.slot, name.generation, connections, far_end, page);
        self.unborn.insert(name, Unborn { control, sender });
        let inputs = inputs.clone();
        spawner::spawn(setup.launch.clone(), name.slot, inherited, move |result| {
            // A loop that is gone needs no worker: its death signal reaches the child at once.
            let _ = inputs.send(Input::Spawned { name, result });
        });
        Ok(())
    }

    /// The process exists: connects its channel to the loop.
    pub fn born(&mut self, name: Name, spawned: Spawned, inputs: &UnboundedSender<Input>) -> io::Result<u32> {
        let Some(Unborn { control, sender }) = self.unborn.remove(&name) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let Spawned { pid, pidfd } = spawned;
        let link = Link::start(name, pidfd, control, sender, inputs.clone())?;
        self.links.insert(name, link);
        Ok(pid)
    }

    pub fn started(&mut self, name: Name, now_ms: u64) {
        self.started.insert(name, now_ms);
    }

    /// 0: not yet.
    pub fn start_of(&self, name: Name) -> u64 {
        self.started.get(&name).copied().unwrap_or(0)
    }

    /// There will be no process.
    pub fn stillborn(&mut self, name: Name) {
        self.unborn.remove(&name);
    }

    pub fn link(&self, name: Name) -> Option<&Link> {
        self.links.get(&name)
    }

    pub fn all(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    pub fn forget(&mut self, name: Name) {
        self.links.remove(&name);
        self.started.remove(&name);
    }
}
