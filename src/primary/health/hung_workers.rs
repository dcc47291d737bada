//! Watches the workers' event loops: checks them when the checker is due (`supervisor::hang`), pings them, and reports
//! the stack of a hung one before it is killed.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use super::super::effects::{Effect, Effects, Moment};
use crate::component::Component;
use crate::event::{Event, Level, Subject};
use crate::ipc::control::ToWorker;
use crate::metrics::layout::page;
use crate::metrics::memory::Page;
use crate::model::WorkerId;
use crate::process::doing::{self, Doing};
use crate::supervisor::Fact;
use crate::supervisor::hang::{CAPTURE, Checker, HangAction, place};

/// One watched worker.
struct Watched {
    pid: u32,
    page: Page,
    /// From when it is ready, unless a debugger may stop it.
    checker: Option<Checker>,
    inspected: bool,
    /// Why its stack cannot be requested.
    lacks: Option<String>,
    /// A signal had stopped it when its stack was to be requested.
    is_stopped: bool,
    /// CPU ticks of its main thread at the last check, if nothing better is known.
    ticks: u64,
    /// Until then its loop may be blocked.
    excused: Duration,
    /// How long it had been hung when its stack was requested.
    hung: Duration,
}

impl Watched {
    /// Whether the loop has work, or its thread is busy otherwise.
    fn should_turn(&mut self, has_work: bool) -> bool {
        if has_work || self.page.float(page::REQUESTS) > self.page.float(page::RESPONSES) {
            return self.doing() != Some(Doing::Traced);
        }
        let before = self.ticks;
        match self.doing() {
            Some(Doing::Working | Doing::Stopped) => true,
            // The thread was awake, and its loop did not run.
            Some(Doing::Unknown { ticks }) => ticks != before,
            Some(Doing::Waiting | Doing::Traced) | None => false,
        }
    }

    fn doing(&mut self) -> Option<Doing> {
        let seen = doing::look(self.pid);
        if let Some(Doing::Unknown { ticks }) = seen {
            self.ticks = ticks;
        }
        seen
    }
}

/// All watched workers.
#[derive(Default)]
pub struct HungWorkers {
    /// None: workers are not checked.
    timeout: Option<Duration>,
    /// The primary's folder, to which places in the log are relative.
    folder: String,
    /// The folder of drover's own JavaScript.
    own: String,
    workers: HashMap<WorkerId, Watched>,
}

impl HungWorkers {
    /// `preload`: a file of drover's own JavaScript.
    pub fn new(timeout: Option<Duration>, preload: &str) -> Self {
        let folder = std::env::current_dir().unwrap_or_default().to_string_lossy().into_owned();
        let own = Path::new(preload).parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
        Self { timeout, folder, own, workers: HashMap::new() }
    }

    /// Registers a worker whose process was spawned.
    pub fn register(&mut self, id: WorkerId, pid: u32, page: Page) {
        let lacks = Some("it had not reported that it supports stacks".to_owned());
        let (hung, excused) = (Duration::ZERO, Duration::ZERO);
        self.workers.insert(
            id,
            Watched {
                pid,
                page,
                checker: None,
                inspected: false,
                lacks,
                is_stopped: false,
                ticks: 0,
                excused,
                hung,
            },
        );
    }

    /// The worker is ready: from now on its loop is checked.
    pub fn begin(&mut self, id: WorkerId, now: Duration) {
        if let (Some(timeout), Some(worker)) = (self.timeout, self.workers.get_mut(&id))
            && worker.checker.is_none()
            && !worker.inspected
        {
            worker.checker = Some(Checker::new(timeout, worker.page.get(page::HEARTBEAT), now));
        }
    }

    pub fn forget(&mut self, id: WorkerId) {
        self.workers.remove(&id);
    }

    pub fn answered(&mut self, id: WorkerId) {
        if let Some(checker) = self.workers.get_mut(&id).and_then(|worker| worker.checker.as_mut()) {
            checker.answered();
        }
    }

    pub fn traceable(&mut self, id: WorkerId, lacks: Option<String>) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.lacks = lacks;
        }
    }

    /// A debugger may stop this worker: it is no longer checked.
    pub fn standby(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.inspected = true;
            worker.checker = None;
        }
    }

    /// Until then the worker may block its loop, because of a request of the primary.
    pub fn grace(&mut self, id: WorkerId, until: Duration) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.excused = until;
        }
    }

    /// When the next check is due.
    pub fn due(&self) -> Option<Duration> {
        self.workers.values().filter_map(|worker| worker.checker.as_ref()?.due()).min()
    }

    fn near(&self, now: Duration) -> Vec<WorkerId> {
        let is_near = |worker: &Watched| worker.checker.as_ref().is_some_and(|checker| checker.is_near(now));
        self.workers.iter().filter(|(_, worker)| is_near(worker)).map(|(id, _)| *id).collect()
    }

    fn look_at(&mut self, id: WorkerId, has_work: bool, now: Duration) -> Option<HangAction> {
        let worker = self.workers.get_mut(&id)?;
        let mut checker = worker.checker.take()?;
        let excused = now < worker.excused;
        if excused {
            checker.answered();
        }
        let command =
            checker.look(worker.page.get(page::HEARTBEAT), now, || !excused && worker.should_turn(has_work));
        worker.checker = Some(checker);
        command
    }

    /// Checks the workers that are due. `has_work`: whether the slot's worker has unread work.
    pub fn look(&mut self, has_work: impl Fn(u16) -> bool, moment: Moment) -> Effects {
        let mut effects = Effects::new();
        for id in self.near(moment.now) {
            match self.look_at(id, has_work(id.slot), moment.now) {
                Some(HangAction::Ping) => effects.push(Effect::Send(id, ToWorker::Ping)),
                Some(HangAction::Capture(hung)) => effects.extend(self.capture(id, hung, moment)),
                Some(HangAction::End) => {
                    let second = CAPTURE.as_secs();
                    let why = format!("no JavaScript ran for {second} s: a native call blocks it");
                    effects.extend(self.end(id, Err(&why), moment));
                }
                None => {}
            }
        }
        effects
    }

    fn capture(&mut self, id: WorkerId, hung: Duration, moment: Moment) -> Effects {
        let Some(worker) = self.workers.get_mut(&id) else { return Effects::new() };
        worker.hung = hung;
        worker.is_stopped = worker.doing() == Some(Doing::Stopped);
        let lacks = if worker.is_stopped {
            Some("a signal has stopped the process".to_owned())
        } else {
            worker.lacks.clone()
        };
        match lacks {
            Some(why) => self.no_stack(id, &why, moment),
            None => vec![Effect::AskForStack(id)],
        }
    }

    /// The worker's stack cannot be requested.
    pub fn no_stack(&mut self, id: WorkerId, why: &str, moment: Moment) -> Effects {
        self.settle(id, Err(why), moment).unwrap_or_default()
    }

    /// The worker has sent its stack.
    pub fn stack_came(&mut self, id: WorkerId, text: Option<&str>, moment: Moment) -> Effects {
        let stack = text.filter(|text| !text.is_empty()).ok_or("the worker could not take one");
        self.settle(id, stack, moment).unwrap_or_else(|| {
            // The signal was sent by hand, or the stack arrives too late.
            let text = format!("Worker {id} runs\n{}", stack.unwrap_or_else(|why| why));
            let subject = Subject::WorkerStack { worker: id.to_string() };
            vec![Effect::Emit(Event::about(Component::Health, Level::Debug, text).with(subject))]
        })
    }

    /// None: the stack had not been requested.
    fn settle(&mut self, id: WorkerId, stack: Result<&str, &str>, moment: Moment) -> Option<Effects> {
        let checker = self.workers.get_mut(&id).and_then(|worker| worker.checker.as_mut());
        let was_asked = checker.and_then(Checker::stack_received) == Some(HangAction::End);
        was_asked.then(|| self.end(id, stack, moment))
    }

    fn end(&self, id: WorkerId, stack: Result<&str, &str>, moment: Moment) -> Effects {
        let Some(worker) = self.workers.get(&id) else { return Effects::new() };
        let reason = self.reason(worker, stack);
        let (worker_id, stack) = (id.to_string(), stack.ok().map(str::to_owned));
        let event = Event::WorkerUnhealthy { worker_id, reason, replaced: moment.replaces, stack };
        vec![Effect::Emit(event), Effect::Advance(Fact::Hung { worker: id })]
    }

    /// How long the worker has been hung and what it was doing, in words.
    fn reason(&self, worker: &Watched, stack: Result<&str, &str>) -> String {
        let seconds = worker.hung.as_secs_f64();
        match stack {
            Err(why) => {
                let request = worker.page.last_request();
                let request = request.map(|request| format!("; its last request was {request}"));
                // Without stacks the request is all that is known.
                let why = (request.is_none() || worker.is_stopped).then(|| format!(" (no stack: {why})"));
                format!("hung for {seconds:.1} s{}{}", why.unwrap_or_default(), request.unwrap_or_default())
            }
            Ok(stack) => match place(stack, &self.folder, &self.own) {
                Some(place) => format!("hung for {seconds:.1} s at {place}"),
                None => format!("hung for {seconds:.1} s"),
            },
        }
    }
}
