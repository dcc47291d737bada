//! The workers that live now: making one, speaking with it, ending it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::sync::mpsc::UnboundedSender;

use super::control_channel::{ControlChannel, Ends};
use super::inputs::Input;
use super::pending_channels::{PendingChannel, PendingChannels};
use super::setup::Setup;
use super::ticket_rotation::Tickets;
use crate::dispatch::Dispatcher;
use crate::error::Error;
use crate::ipc::channel::{Receiver, Sender};
use crate::ipc::control::{ToWorker, encode};
use crate::ipc::frame::Kind;
use crate::ipc::message::BESIDE;
use crate::log::{Followed, Log, Pipes, Source};
use crate::metrics::memory::SharedMemory;
use crate::model::WorkerId;
use crate::process::spawner::{self, Inherited, Spawned, not_started};

/// The primary's ends of a worker that is being made.
struct Spawning {
    control: Ends,
    /// What it writes: the ends that are read, standard output's first.
    output: Option<(OwnedFd, OwnedFd)>,
    /// What begins the report of an uncaught error there.
    report_mark: String,
}

pub struct WorkerProcesses {
    pending_channels: PendingChannels,
    inputs: UnboundedSender<Input>,
    spawning: HashMap<WorkerId, Spawning>,
    controls: HashMap<WorkerId, ControlChannel>,
    /// When each was started, milliseconds since 1970.
    started: HashMap<WorkerId, u64>,
    /// The program's environment with which each was started.
    environments: HashMap<WorkerId, Arc<BTreeMap<String, String>>>,
}

fn pair(kind: SocketType) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, kind, flags, None).map_err(Into::into)
}

impl WorkerProcesses {
    /// `pending_channels` get the workers' program channels, `inputs` what happens to them.
    pub fn new(pending_channels: PendingChannels, inputs: UnboundedSender<Input>) -> Self {
        Self {
            pending_channels,
            inputs,
            spawning: HashMap::new(),
            controls: HashMap::new(),
            started: HashMap::new(),
            environments: HashMap::new(),
        }
    }

    /// Makes the channels of a worker, welcomes it, joins it to the dispatch and asks for its process.
    ///
    /// # Errors
    /// No descriptors left; nothing was started.
    pub fn spawn(
        &mut self,
        worker: WorkerId,
        setup: &Setup,
        memory: &SharedMemory,
        memfd: &OwnedFd,
        tickets: &Tickets,
        dispatcher: &Dispatcher,
    ) -> Result<(), Error> {
        let failed = |error: io::Error| not_started("socketpair", &error);
        let (control, theirs) = pair(SocketType::STREAM).map_err(failed)?;
        let (connections, far_end) = pair(SocketType::SEQPACKET).map_err(failed)?;
        let (program, far_program) = pair(SocketType::STREAM).map_err(failed)?;
        let copy = |fd: &OwnedFd| fd.try_clone().map_err(failed);
        let mut inherited = vec![theirs, copy(&far_end)?, copy(memfd)?, far_program];
        let (output, streams) = if setup.log.captures {
            let Pipes { stdout, stderr } = Pipes::new().map_err(|error| not_started("pipe", &error))?;
            // A worker that outlives its primary reads what that one has not, and writes where it wrote.
            let own = |stream: BorrowedFd<'_>| stream.try_clone_to_owned().map_err(failed);
            inherited.extend([copy(&stdout.0)?, copy(&stderr.0)?]);
            inherited.extend([own(io::stdout().as_fd())?, own(io::stderr().as_fd())?]);
            (Some((stdout.0, stderr.0)), Some((stdout.1, stderr.1)))
        } else {
            (None, None)
        };
        let hello = setup.worker_config.hello(setup, worker).map_err(failed)?;
        let report_mark = hello.report_mark.clone();
        let payload = encode(&ToWorker::Hello(Box::new(hello)));
        let mut control = Ends { socket: control, sender: Sender::default(), receiver: Receiver::default() };
        let tickets = tickets.share().map_err(failed)?;
        control.sender.push(Kind::Control, 0, payload, Some(tickets)).map_err(failed)?;
        control.receiver.allow(setup.worker_config.messages.most + BESIDE);
        let keys = setup.keys(worker).map_err(failed)?;
        if let Some(keys) = &keys {
            control.sender.push(Kind::Keys, 0, keys.write(), None).map_err(failed)?;
            control.sender.seal_with(&keys.control.to_worker).map_err(failed)?;
            control.receiver.open_with(&keys.control.to_primary).map_err(failed)?;
        }
        match control.sender.flush(control.socket.as_fd()) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(failed(error)),
            // What did not fit goes on when the worker reads.
            Ok(()) | Err(_) => {}
        }
        self.pending_channels
            .add(worker, PendingChannel { socket: program, keys: keys.map(|keys| keys.program) });
        let page = memory.page(worker);
        dispatcher.join(worker, connections, far_end, page);
        self.spawning.insert(worker, Spawning { control, output, report_mark });
        self.environments.insert(worker, setup.launch.env.clone());
        let inputs = self.inputs.clone();
        spawner::spawn(
            setup.launch.clone(),
            worker.slot,
            Inherited { channels: inherited, streams },
            move |result| {
                // A loop that is gone needs no worker: its death signal reaches the child at once.
                let _ = inputs.send(Input::Spawned { worker, result });
            },
        );
        Ok(())
    }

    /// The process exists: connects its channel to the loop, and its output to the log.
    pub fn spawned_process(&mut self, worker: WorkerId, spawned: Spawned, log: &Log) -> io::Result<u32> {
        let Some(Spawning { control, output, report_mark }) = self.spawning.remove(&worker) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let Spawned { pid, pidfd } = spawned;
        if let Some((stdout, stderr)) = output {
            let source = |is_error| Source { slot: worker.slot, pid, is_error };
            log.follow(Followed { source: source(false), stream: stdout, report_mark: String::new() });
            log.follow(Followed { source: source(true), stream: stderr, report_mark });
        }
        let control = ControlChannel::start(worker, pid, pidfd, control, self.inputs.clone())?;
        self.controls.insert(worker, control);
        Ok(pid)
    }

    pub fn started(&mut self, worker: WorkerId, now_ms: u64) {
        self.started.insert(worker, now_ms);
    }

    /// 0: not yet.
    pub fn start_of(&self, worker: WorkerId) -> u64 {
        self.started.get(&worker).copied().unwrap_or(0)
    }

    pub fn environment(&self, worker: WorkerId) -> Option<&BTreeMap<String, String>> {
        self.environments.get(&worker).map(Arc::as_ref)
    }

    /// There will be no process.
    pub fn spawn_failed(&mut self, worker: WorkerId) {
        self.spawning.remove(&worker);
        self.environments.remove(&worker);
        self.pending_channels.take(worker);
    }

    pub fn control(&self, worker: WorkerId) -> Option<&ControlChannel> {
        self.controls.get(&worker)
    }

    pub fn all(&self) -> impl Iterator<Item = &ControlChannel> {
        self.controls.values()
    }

    pub fn forget(&mut self, worker: WorkerId) {
        self.controls.remove(&worker);
        self.pending_channels.take(worker);
        self.started.remove(&worker);
        self.environments.remove(&worker);
    }
}
