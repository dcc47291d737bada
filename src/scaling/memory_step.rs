//! What became of the latest step up for memory. Each worker needs memory of its own, so a rule that adds workers when
//! memory is short could feed itself: a further step is made only if the latest one lowered the cluster's memory.

use std::time::Duration;

/// So long after a step its effect is measured.
const MEASURED_AFTER: Duration = Duration::from_secs(60);

/// A step has helped when the memory is lower by so many percent of the budget: a smaller difference may be noise.
const HELPS: f64 = 1.0;

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
            Some(made) if percent <= made.before - HELPS => Effect::Helped,
            Some(made) => Effect::None { before: made.before, now: percent },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_helped_when_the_memory_is_lower_by_a_percentage_point() {
        let (made_at, before) = (Duration::from_secs(1000), 90.0);
        let none = |now| Effect::None { before, now };
        for (seconds, percent, expected) in [
            (59, 50.0, Effect::NotMeasured),
            (60, 95.0, none(95.0)),
            (60, 90.0, none(90.0)),
            (60, 89.99, none(89.99)),
            (60, 89.01, none(89.01)),
            (60, 89.0, Effect::Helped),
            (600, 50.0, Effect::Helped),
        ] {
            let mut step = MemoryStep::default();
            assert_eq!(step.effect(made_at, percent), Effect::Helped, "there was none");
            step.made(made_at, before);
            let at = made_at + Duration::from_secs(seconds);
            assert_eq!(step.effect(at, percent), expected, "{percent} % after {seconds} s");
            step.relieved();
            assert_eq!(step.effect(at, percent), Effect::Helped, "it was below the threshold meanwhile");
        }
    }
}
