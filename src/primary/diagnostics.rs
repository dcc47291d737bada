//! Diagnoses under way: asks a worker for one, sees that its file is the user's own, and answers who asked.

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

/// What somebody asked for; dropped when they left.
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

/// One at most for a worker.
pub(super) struct Diagnoses {
    /// A folder for files that the program's own has no place for; None: nobody can ask.
    scratch: Option<PathBuf>,
    last: u32,
    under_way: HashMap<WorkerId, UnderWay>,
}

impl Diagnoses {
    pub fn new(scratch: Option<PathBuf>) -> Self {
        Self { scratch, last: 0, under_way: HashMap::new() }
    }

    /// `known`: the worker of the slot that is asked, and its process; None: there is none that could answer.
    pub fn begin(&mut self, request: Request, known: Option<(WorkerId, u32)>) -> Effects {
        let Request { slot, what, answer } = request;
        // Who asked has left when an answer cannot be given.
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
        // Its loop stands still while a snapshot is written.
        vec![Effect::Send(worker, ToWorker::Diagnose(diagnose)), Effect::Excuse(worker, timeout_of(what))]
    }

    /// The worker's answer.
    pub fn end(&mut self, worker: WorkerId, id: u32, result: Result<u64, String>) -> Effects {
        if self.under_way.get(&worker).is_none_or(|known| known.id != id) {
            return Effects::new();
        }
        let excuse = Effect::Excuse(worker, Duration::ZERO);
        [excuse].into_iter().chain(self.settle(worker, result)).collect()
    }

    /// The worker is gone, and what it was asked for with it.
    pub fn forget(&mut self, worker: WorkerId) -> Effects {
        if let Some(UnderWay { file, .. }) = self.under_way.get(&worker) {
            // What it had begun to write is of no use to anybody; it may not have begun.
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
        // Who asked may have left; the line says where it is.
        let _ = answer.send(published);
        Some(Effect::Emit(event))
    }
}

/// Where the files lie: beside the program, or where it may not write, in the user's temporary folder.
fn folder(scratch: &Path) -> io::Result<PathBuf> {
    let beside = env::current_dir()?.join(FOLDER);
    let Err(first) = private::folder(&beside) else { return Ok(beside) };
    let other = scratch.join(FOLDER);
    match private::folder(scratch).and_then(|()| private::folder(&other)) {
        Ok(()) => Ok(other),
        Err(second) => Err(io::Error::new(second.kind(), format!("{first}; {second}"))),
    }
}
