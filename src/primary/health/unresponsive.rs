//! Workers that get no new connections because they have unread work and their event loops do not run. On a busy
//! machine this happens often, so it is logged only if it lasts. PURE.

use std::collections::HashMap;
use std::time::Duration;

use super::super::effects::{Effect, Effects};
use crate::component::Component;
use crate::event::{Event, Level, Recovery, Subject};

/// Connections are given to other workers after 50 ms already.
const WORTH_SAYING: Duration = Duration::from_secs(1);

#[derive(Default)]
struct State {
    is_unresponsive: bool,
    /// When it is to be reported, unless it has recovered by then.
    due: Option<Duration>,
    is_reported: bool,
}

/// By slot.
#[derive(Default)]
pub struct Unresponsive(HashMap<u16, State>);

impl Unresponsive {
    /// The slot's worker has unread work, and its event loop does not run.
    pub fn begin(&mut self, slot: u16, now: Duration) {
        let state = self.0.entry(slot).or_default();
        (state.is_unresponsive, state.due) = (true, Some(now + WORTH_SAYING));
    }

    pub fn contains(&self, slot: u16) -> bool {
        self.0.get(&slot).is_some_and(|state| state.is_unresponsive)
    }

    /// The slot's worker takes connections again.
    pub fn recovered(&mut self, slot: u16) -> Effects {
        let mut effects = vec![Effect::HealthChanged];
        if self.0.remove(&slot).is_some_and(|state| state.is_reported) {
            let text = format!("Worker {slot} takes connections again");
            let subject = Subject::WorkerRecovered { worker: slot.to_string(), from: Recovery::Unresponsive };
            let event = Event::about(Component::Health, Level::Info, text).with(subject);
            effects.push(Effect::Emit(event));
        }
        effects
    }

    /// The slot has another worker, or none.
    pub fn forget(&mut self, slot: u16) {
        self.0.remove(&slot);
    }

    pub fn due(&self) -> Option<Duration> {
        self.0.values().filter_map(|state| state.due).min()
    }

    /// Reports the slots that have been unresponsive for long enough.
    pub fn look(&mut self, now: Duration) -> Effects {
        let late = self.0.iter_mut().filter(|(_, state)| state.due.is_some_and(|due| due <= now));
        let mut slots: Vec<u16> = late
            .map(|(slot, state)| {
                (state.due, state.is_reported) = (None, true);
                *slot
            })
            .collect();
        slots.sort_unstable();
        slots.into_iter().flat_map(report).collect()
    }
}

fn report(slot: u16) -> [Effect; 2] {
    let reason = "its event loop is blocked; new connections go to other workers".to_owned();
    let worker_id = slot.to_string();
    let event = Event::WorkerUnhealthy { worker_id, reason, replaced: false, stack: None };
    [Effect::Emit(event), Effect::HealthChanged]
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn reported(effects: Effects) -> Vec<String> {
        let worker = |effect| match effect {
            Effect::Emit(Event::WorkerUnhealthy { worker_id, .. }) => Some(worker_id),
            _ => None,
        };
        effects.into_iter().filter_map(worker).collect()
    }

    fn is_said(effects: &Effects) -> bool {
        effects.iter().any(|effect| matches!(effect, Effect::Emit(_)))
    }

    #[test]
    fn only_what_lasts_is_reported_and_its_end_as_well() {
        let mut unresponsive = Unresponsive::default();
        unresponsive.begin(0, at(0));
        unresponsive.begin(1, at(100));
        assert!(unresponsive.contains(0) && !unresponsive.contains(2));
        assert!(!is_said(&unresponsive.recovered(1)), "it was never reported");
        assert_eq!(unresponsive.due(), Some(at(1000)));
        assert!(unresponsive.look(at(999)).is_empty());
        assert_eq!(reported(unresponsive.look(at(1000))), ["0"]);
        assert_eq!(unresponsive.due(), None);
        assert!(unresponsive.look(at(5000)).is_empty(), "once");
        assert!(is_said(&unresponsive.recovered(0)), "it was reported");
        assert!(!is_said(&unresponsive.recovered(0)) && !unresponsive.contains(0));
    }

    #[test]
    fn a_worker_that_recovers_and_stands_still_again_has_its_second_anew() {
        let mut unresponsive = Unresponsive::default();
        unresponsive.begin(3, at(0));
        unresponsive.forget(3);
        unresponsive.begin(3, at(900));
        assert!(unresponsive.look(at(1000)).is_empty());
        assert_eq!(reported(unresponsive.look(at(1900))), ["3"]);
    }
}
