//! Diagnoses under way: asks a worker for one, sees that its file is the user's own, and tells who asked what became
//! of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use tokio::sync::oneshot;

use super::run::Cluster;
use crate::admin::diagnostics::timeout_of;
use crate::admin::{Refused, Taken, private};
use crate::event::{Event, Level};
use crate::ipc::control::{Diagnose, Diagnosis, ToWorker};
use crate::model::WorkerId;
use crate::supervisor::Slot;
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
#[derive(Default)]
pub(super) struct Diagnoses {
    last: u32,
    under_way: HashMap<WorkerId, UnderWay>,
}

impl Cluster {
    pub(super) fn diagnose(&mut self, Request { slot, what, answer }: Request) {
        // Who asked has left when an answer cannot be given.
        let refuse = |answer: oneshot::Sender<_>, why| drop(answer.send(Err(why)));
        let shown = self.supervisor.slots().get(usize::from(slot)).and_then(Slot::shown);
        let known = shown.and_then(|shown| Some((shown.id, shown.pid()?)));
        let Some((worker, pid)) = known else { return refuse(answer, Refused::NoSuchWorker) };
        if self.diagnoses.under_way.contains_key(&worker) {
            return refuse(answer, Refused::Busy);
        }
        let Some(control) = self.workers.control(worker) else {
            return refuse(answer, Refused::NoSuchWorker);
        };
        // The API that asked is there because the cluster is watched.
        let Some(watching) = &self.setup.watching else { return refuse(answer, Refused::NoSuchWorker) };
        let folder = match folder(&watching.scratch) {
            Ok(folder) => folder,
            Err(error) => return refuse(answer, Refused::Failed(error.to_string())),
        };
        let ending = match what {
            Diagnosis::HeapSnapshot => "heapsnapshot",
            Diagnosis::CpuProfile { .. } => "cpuprofile",
        };
        let file = folder.join(format!("worker-{slot}-{pid}-{}.{ending}", now_ms()));
        self.diagnoses.last += 1;
        let id = self.diagnoses.last;
        control.send(ToWorker::Diagnose(Diagnose { id, what, file: file.to_string_lossy().into_owned() }));
        // Its loop stands still while a snapshot is written.
        self.hung.grace(worker, self.elapsed() + timeout_of(what));
        self.diagnoses.under_way.insert(worker, UnderWay { id, what, file, answer });
    }

    /// The worker's answer.
    pub(super) fn diagnosed(&mut self, worker: WorkerId, id: u32, result: Result<u64, String>) {
        if self.diagnoses.under_way.get(&worker).is_none_or(|known| known.id != id) {
            return;
        }
        self.hung.grace(worker, self.elapsed());
        self.settle_diagnosis(worker, result);
    }

    /// The worker is gone, and what it was asked for with it.
    pub(super) fn forget_diagnosis(&mut self, worker: WorkerId) {
        if let Some(UnderWay { file, .. }) = self.diagnoses.under_way.get(&worker) {
            // What it had begun to write is of no use to anybody; it may not have begun.
            let _ = fs::remove_file(file);
        }
        self.settle_diagnosis(worker, Err("it ended meanwhile".to_owned()));
    }

    fn settle_diagnosis(&mut self, worker: WorkerId, result: Result<u64, String>) {
        let Some(UnderWay { what, file, answer, .. }) = self.diagnoses.under_way.remove(&worker) else {
            return;
        };
        let (file, slot) = (file.to_string_lossy().into_owned(), worker.slot);
        let what = match what {
            Diagnosis::HeapSnapshot => "heap snapshot",
            Diagnosis::CpuProfile { .. } => "CPU profile",
        };
        let (level, line, published) = match result {
            Ok(bytes) => {
                let line = format!("The {what} of worker {slot} is in {file} ({bytes} bytes)");
                (Level::Info, line, Ok(Taken { file, bytes }))
            }
            Err(why) => {
                let line = format!("There is no {what} of worker {slot}: {why}");
                (Level::Warn, line.clone(), Err(Refused::Failed(line)))
            }
        };
        self.emit(Event::notice(level, line));
        // Who asked may have left; the line above says where it is.
        let _ = answer.send(published);
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
