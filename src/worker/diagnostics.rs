//! What an operator wants to see of this worker: diagnoses, and the stack of what runs.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use super::control_channel::ControlChannel;
use crate::ipc::control::{Diagnose, ToPrimary};
use crate::sys::{stack, stack_trace};

pub struct Diagnostics {
    control: Rc<ControlChannel>,
    /// Diagnoses that were not begun.
    asked: RefCell<VecDeque<Diagnose>>,
    watch: RefCell<Option<stack::Watch>>,
}

impl Diagnostics {
    pub fn new(control: Rc<ControlChannel>) -> Self {
        Self { control, asked: RefCell::default(), watch: RefCell::default() }
    }

    pub fn keep(&self, asked: Diagnose) {
        self.asked.borrow_mut().push_back(asked);
    }

    /// The next diagnosis.
    pub fn next(&self) -> Option<Diagnose> {
        self.asked.borrow_mut().pop_front()
    }

    /// It has so many bytes, or `failure` says why there is none.
    pub fn done(&self, id: u32, bytes: u64, failure: Option<String>) -> io::Result<()> {
        self.control.send(&ToPrimary::Diagnosed { id, bytes, failure })
    }

    /// From now on a signal of the primary's asks `take` for the stack of what runs. Tells the primary that this
    /// is so, or why not.
    pub fn trace(
        &self,
        take: impl Fn(&stack_trace::Interrupted<'_>) -> Option<String> + 'static,
    ) -> io::Result<()> {
        let control = Rc::downgrade(&self.control);
        let armed = stack::Watch::arm(move |interrupted| {
            if let Some(control) = control.upgrade() {
                // A primary that is gone asks for nothing.
                let _ = control.send(&ToPrimary::Stack { text: take(interrupted) });
            }
        });
        let lacks = armed.as_ref().err().map(ToString::to_string);
        *self.watch.borrow_mut() = armed.ok();
        self.control.send(&ToPrimary::Traceable { lacks })
    }

    /// Answers no signal any more; before the isolate goes.
    pub fn untrace(&self) {
        self.watch.borrow_mut().take();
    }

    /// A debugger may stop this process from now on.
    pub fn inspected(&self) -> io::Result<()> {
        self.control.send(&ToPrimary::Inspected)
    }
}
