//! Diagnostics of this worker: heap snapshots, profiles, and the current stack.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use super::control_channel::ControlChannel;
use crate::ipc::control::{Diagnose, MemoryFound, MemoryTask, ToPrimary};
use crate::sys::{stack, stack_trace};

pub struct Diagnostics {
    control: Rc<ControlChannel>,
    /// Requested diagnoses that have not begun.
    asked: RefCell<VecDeque<Diagnose>>,
    /// Requested tasks about memory that have not begun.
    tasks: RefCell<VecDeque<(u32, MemoryTask)>>,
    watch: RefCell<Option<stack::Watch>>,
}

impl Diagnostics {
    pub fn new(control: Rc<ControlChannel>) -> Self {
        Self { control, asked: RefCell::default(), tasks: RefCell::default(), watch: RefCell::default() }
    }

    pub fn keep(&self, asked: Diagnose) {
        self.asked.borrow_mut().push_back(asked);
    }

    /// The next diagnosis.
    pub fn next(&self) -> Option<Diagnose> {
        self.asked.borrow_mut().pop_front()
    }

    /// Reports a diagnosis: the size of its file in bytes, or the reason of its failure.
    pub fn done(&self, id: u32, bytes: u64, failure: Option<String>) -> io::Result<()> {
        self.control.send(&ToPrimary::Diagnosed { id, bytes, failure })
    }

    pub fn keep_task(&self, id: u32, task: MemoryTask) {
        self.tasks.borrow_mut().push_back((id, task));
    }

    /// The next task about memory.
    pub fn next_task(&self) -> Option<(u32, MemoryTask)> {
        self.tasks.borrow_mut().pop_front()
    }

    /// Reports a task: what was found, or the reason of its failure.
    pub fn task_done(&self, id: u32, found: Option<MemoryFound>, failure: Option<String>) -> io::Result<()> {
        self.control.send(&ToPrimary::MemoryDone { id, found, failure })
    }

    /// Makes a signal of the primary call `take` for the current stack. Reports to the primary that this is supported,
    /// or why not.
    pub fn trace(
        &self,
        take: impl Fn(&stack_trace::Interrupted<'_>) -> Option<String> + 'static,
    ) -> io::Result<()> {
        let control = Rc::downgrade(&self.control);
        let armed = stack::Watch::arm(move |interrupted| {
            if let Some(control) = control.upgrade() {
                // If the primary has ended, the stack is not needed.
                let _ = control.send(&ToPrimary::Stack { text: take(interrupted) });
            }
        });
        let lacks = armed.as_ref().err().map(ToString::to_string);
        *self.watch.borrow_mut() = armed.ok();
        self.control.send(&ToPrimary::Traceable { lacks })
    }

    /// Stops handling the signal, before the isolate is disposed.
    pub fn untrace(&self) {
        self.watch.borrow_mut().take();
    }

    /// Reports that a debugger may stop this process.
    pub fn inspected(&self) -> io::Result<()> {
        self.control.send(&ToPrimary::Inspected)
    }
}
