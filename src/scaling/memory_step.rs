//! What became of the latest step up for memory. Each worker needs memory of its own, so a rule that adds workers when
//! memory is short could feed itself: a further step is made only if the latest one lowered the cluster's memory.

use std::time::Duration;

/// So long after a step its effect is measured.
const MEASURED_AFTER: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Made {
    at: Duration,
    /// The cluster's memory before it, in percent of the budget.
    before: f64,
}

/// Whether a further step for memory is reasonable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// There was no step since the memory was last below the threshold, or it helped.
    Helped,
    NotMeasured,
    /// The percentages before the step and now.
    None {
        before: f64,
        now: f64,
    },
}

#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryStep(Option<Made>);

impl MemoryStep {
    pub fn made(&mut self, at: Duration, before: f64) {
        self.0 = Some(Made { at, before });
    }

    /// The memory is below the threshold: a later step begins anew.
    pub fn relieved(&mut self) {
        self.0 = None;
    }

    pub fn effect(&self, now: Duration, percent: f64) -> Effect {
        match self.0 {
            None => Effect::Helped,
            Some(made) if now < made.at + MEASURED_AFTER => Effect::NotMeasured,
            Some(made) if percent < made.before => Effect::Helped,
            Some(made) => Effect::None { before: made.before, now: percent },
        }
    }
}
