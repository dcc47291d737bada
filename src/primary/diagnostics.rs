//! Pending diagnoses: requests them from a worker, checks that the file belongs to the user, and responds to the
//! client.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

use tokio::sync::oneshot;

use super::effects::{Effect, Effects};
use crate::admin::diagnostics::timeout_of;
use crate::admin::{Refused, Taken, private};
use crate::event::{Event, Level, Subject};
use crate::ipc::control::{Diagnose, Diagnosis, ToWorker};
use crate::model::WorkerId;
use crate::sys::local_time::now_ms;

const FOLDER: &str = "drover-diagnostics";

/// A client's request; dropped when the client disconnects.
pub struct Request {
    pub slot: u16,
    pub what: Diagnosis,
    pub answer: oneshot::Sender<Result<Taken, Refused>>,
}

struct UnderWay {
    id: u32,
    what: Diagnosis,
    file: PathBuf,
    answer: oneshot::Sender<Result<Taken, Refused>>,
}

/// At most one per worker.
pub(super) struct Diagnoses {
    /// A fallback folder if the program's own is not writable; None: diagnoses are disabled.
    scratch: Option<PathBuf>,
    last: u32,
    under_way: HashMap<WorkerId, UnderWay>,
}

impl Diagnoses {
    pub fn new(scratch: Option<PathBuf>) -> Self {
        Self { scratch, last: 0, under_way: HashMap::new() }
    }

    /// `known`: the worker of the slot and its pid; None: no worker can respond.
    pub fn begin(&mut self, request: Request, known: Option<(WorkerId, u32)>) -> Effects {
        let Request { slot, what, answer } = request;
        // The client has disconnected if the response cannot be sent.
        let refuse = |answer: oneshot::Sender<_>, why| {
            drop(answer.send(Err(why)));
            Effects::new()
        };
        let (Some((worker, pid)), Some(scratch)) = (known, &self.scratch) else {
            return refuse(answer, Refused::NoSuchWorker);
        };
        if self.under_way.contains_key(&worker) {
            return refuse(answer, Refused::Busy);
        }
        let folder = match folder(scratch) {
            Ok(folder) => folder,
            Err(error) => return refuse(answer, Refused::Failed(error.to_string())),
        };
        let ending = match what {
            Diagnosis::HeapSnapshot => "heapsnapshot",
            Diagnosis::CpuProfile { .. } => "cpuprofile",
        };
        let file = folder.join(format!("worker-{slot}-{pid}-{}.{ending}", now_ms()));
        self.last += 1;
        let id = self.last;
        let diagnose = Diagnose { id, what, file: file.to_string_lossy().into_owned() };
        self.under_way.insert(worker, UnderWay { id, what, file, answer });
        // Its event loop is blocked while a snapshot is written.
        vec![Effect::Send(worker, ToWorker::Diagnose(diagnose)), Effect::Excuse(worker, timeout_of(what))]
    }

    /// Handles the worker's result.
    pub fn end(&mut self, worker: WorkerId, id: u32, result: Result<u64, String>) -> Effects {
        if self.under_way.get(&worker).is_none_or(|known| known.id != id) {
            return Effects::new();
        }
        let excuse = Effect::Excuse(worker, Duration::ZERO);
        [excuse].into_iter().chain(self.settle(worker, result)).collect()
    }

    /// The worker has ended, and so has its diagnosis.
    pub fn forget(&mut self, worker: WorkerId) -> Effects {
        if let Some(UnderWay { file, .. }) = self.under_way.get(&worker) {
            // An incomplete file is useless; it may not exist.
            let _ = fs::remove_file(file);
        }
        self.settle(worker, Err("it ended meanwhile".to_owned())).into_iter().collect()
    }

    fn settle(&mut self, worker: WorkerId, result: Result<u64, String>) -> Option<Effect> {
        let UnderWay { what, file, answer, .. } = self.under_way.remove(&worker)?;
        let (file, slot) = (file.to_string_lossy().into_owned(), worker.slot);
        let (what, diagnosis) = match what {
            Diagnosis::HeapSnapshot => ("heap snapshot", "heap-snapshot"),
            Diagnosis::CpuProfile { .. } => ("CPU profile", "cpu-profile"),
        };
        let worker = slot.to_string();
        let (event, published) = match result {
            Ok(bytes) => {
                let line = format!("The {what} of worker {slot} is in {file} ({bytes} bytes)");
                let subject = Subject::DiagnosisTaken { worker, diagnosis, file: file.clone(), bytes };
                (Event::notice(Level::Info, line).with(subject), Ok(Taken { file, bytes }))
            }
            Err(reason) => {
                let line = format!("There is no {what} of worker {slot}: {reason}");
                let subject = Subject::DiagnosisFailed { worker, diagnosis, reason };
                (Event::notice(Level::Warn, line.clone()).with(subject), Err(Refused::Failed(line)))
            }
        };
        // The client may have disconnected; the log line names the file.
        let _ = answer.send(published);
        Some(Effect::Emit(event))
    }
}

/// The folder of the files: in the working directory, or in the user's temporary folder if that is not writable.
fn folder(scratch: &Path) -> io::Result<PathBuf> {
    let beside = env::current_dir()?.join(FOLDER);
    let Err(first) = private::folder(&beside) else { return Ok(beside) };
    let other = scratch.join(FOLDER);
    match private::folder(scratch).and_then(|()| private::folder(&other)) {
        Ok(()) => Ok(other),
        Err(second) => Err(io::Error::new(second.kind(), format!("{first}; {second}"))),
    }
}
