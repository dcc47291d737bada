//! The state between evaluations, and the evaluation.

use super::flaps::{Flaps, Step};
use super::limits;
use super::memory_step::{Effect, MemoryStep};
use super::optimal::{self, Optimal};
use super::sample::{INTERVAL, Sample};
use super::sentence;
use super::signals::{self, Signal};
use super::window::{PANIC, STABLE, Span, Window};
use crate::config::sections::scaling::AutoScaling;
use crate::model::{Direction, Evaluation, ScalingHold, ScalingInputs, ScalingRule, WindowLoad};
use std::time::Duration;

/// A proportional step multiplies the number of workers by this at most.
const MAX_STEP_RATIO: u32 = 2;

/// What is added before a number of workers is rounded up, against errors of floating point.
const ROUNDING: f64 = 1e-9;

/// How many workers a cluster should have.
#[derive(Debug)]
pub struct Autoscaler {
    policy: AutoScaling,
    window: Window,
    latest: Option<Sample>,
    /// Without evaluations by hand that came before it was time.
    evaluated_at: Option<Duration>,
    /// Of the number of workers, whoever asked for it.
    changed_at: Option<Duration>,
    /// When the number of workers last changed or a worker last started: response times and queues from before say
    /// nothing about the workers there are now.
    unsettled_at: Option<Duration>,
    panics_until: Option<Duration>,
    up_checks: u32,
    down_checks: u32,
    low_since: Option<Duration>,
    flaps: Flaps,
    memory_step: MemoryStep,
}

/// An evaluation's result before it is worded.
struct Verdict {
    to: u32,
    rule: ScalingRule,
    hold: Option<ScalingHold>,
    /// The window whose load the rule has looked at.
    span: Span,
    detail: sentence::Detail,
}

/// What an evaluation works with.
struct Situation {
    now: Duration,
    /// It is a further evaluation for `consecutiveChecks`: the one before it was an evaluation interval ago.
    is_check: bool,
    size: u32,
    panics: bool,
    inputs: ScalingInputs,
    memory_percent: Option<f64>,
    memory_room: Option<u32>,
}

impl Situation {
    /// The window that decides.
    fn span(&self) -> Span {
        if self.panics { Span::Panic } else { Span::Stable }
    }

    fn load(&self, span: Span) -> &WindowLoad {
        match span {
            Span::Stable => &self.inputs.stable,
            Span::Panic => &self.inputs.panic,
        }
    }
}

impl Autoscaler {
    pub fn new(policy: AutoScaling) -> Self {
        Self {
            policy,
            window: Window::default(),
            latest: None,
            evaluated_at: None,
            changed_at: None,
            unsettled_at: None,
            panics_until: None,
            up_checks: 0,
            down_checks: 0,
            low_since: None,
            flaps: Flaps::default(),
            memory_step: MemoryStep::default(),
        }
    }

    pub fn policy(&self) -> &AutoScaling {
        &self.policy
    }

    /// Thresholds, limits and intervals that apply from now on.
    pub fn configure(&mut self, policy: AutoScaling) {
        if policy.enabled && !self.policy.enabled {
            // Nothing was evaluated meanwhile.
            self.up_checks = 0;
            self.down_checks = 0;
            self.low_since = None;
            self.panics_until = None;
        }
        self.policy = policy;
    }

    /// A sample without an evaluation.
    pub fn sample(&mut self, sample: Sample) {
        if sample.workers.iter().any(|worker| !worker.counts()) {
            self.unsettled_at = Some(sample.at);
        }
        self.window.add(&sample);
        self.latest = Some(sample);
    }

    /// Once a second: takes the sample, and evaluates if it is time to. `size` as for [`Self::evaluate`].
    pub fn tick(&mut self, sample: Sample, size: u32) -> Option<Evaluation> {
        let now = sample.at;
        self.sample(sample);
        self.is_due(now).then(|| self.evaluate(now, size))
    }

    /// Whether it is time for an evaluation.
    pub fn is_due(&self, now: Duration) -> bool {
        self.policy.enabled && self.interval_is_over(now)
    }

    /// Samples come a little early or late; an evaluation does not wait for the next one because of that.
    fn interval_is_over(&self, now: Duration) -> bool {
        let after = self.policy.evaluation_interval.saturating_sub(INTERVAL / 2);
        self.evaluated_at.is_none_or(|at| now >= at + after)
    }

    /// The number of workers was changed by hand.
    pub fn changed_by_hand(&mut self, now: Duration) {
        self.changed(now);
    }

    fn changed(&mut self, now: Duration) {
        self.changed_at = Some(now);
        self.unsettled_at = Some(now);
        self.up_checks = 0;
        self.down_checks = 0;
    }

    /// Evaluates now. `size` is the number of workers that the cluster should have so far, those that start included;
    /// the caller makes it `to`. Before it is time for one, an evaluation leaves the number of those in a row that agree
    /// as it is.
    pub fn evaluate(&mut self, now: Duration, size: u32) -> Evaluation {
        let situation = self.situation(now, size);
        if situation.is_check {
            self.evaluated_at = Some(now);
        }
        let verdict = self.verdict(&situation);
        if verdict.to != size {
            self.step_made(&situation, &verdict);
        }
        let reason = sentence::reason(
            &self.policy,
            (size, verdict.to),
            verdict.rule,
            verdict.hold,
            (situation.panics, verdict.span),
            &situation.inputs,
            verdict.detail,
        );
        Evaluation {
            action: Direction::of(size, verdict.to),
            from: size,
            to: verdict.to,
            rule: verdict.rule,
            hold: verdict.hold,
            panic: situation.panics,
            reason,
            inputs: situation.inputs,
        }
    }

    /// The number of workers for the load of the last minute.
    pub fn optimal(&self, now: Duration) -> Optimal {
        let inputs = self.inputs(now);
        optimal::workers(&self.policy, &inputs)
    }

    fn inputs(&self, now: Duration) -> ScalingInputs {
        let Some(latest) = &self.latest else { return ScalingInputs::default() };
        let load = |length, p95| self.window.load(length, now, p95).unwrap_or_default();
        let counted = latest.workers.iter().filter(|worker| worker.counts());
        let (ready, memory) = counted.fold((0, 0), |(n, sum), worker| (n + 1, sum + worker.memory));
        let starting = latest.workers.iter().filter(|worker| worker.ready_for.is_none()).count();
        ScalingInputs {
            ready: u32::try_from(latest.workers.len() - starting).unwrap_or(u32::MAX),
            starting: u32::try_from(starting).unwrap_or(u32::MAX),
            stable: load(STABLE, latest.p95.stable),
            panic: load(PANIC, latest.p95.panic),
            memory: latest.memory,
            memory_budget: latest.memory_budget,
            memory_free: latest.memory_free,
            footprint: memory.checked_div(ready).unwrap_or_default(),
            usable_cpus: latest.usable_cpus,
            cpu_pressure: latest.cpu_pressure,
            idle_time: None,
        }
    }

    fn situation(&mut self, now: Duration, size: u32) -> Situation {
        let mut inputs = self.inputs(now);
        let memory_percent = inputs.memory_budget.filter(|budget| *budget > 0);
        let memory_percent = memory_percent.map(|budget| 100.0 * inputs.memory as f64 / budget as f64);
        if memory_percent.is_some_and(|percent| percent <= signals::memory_limit(&self.policy)) {
            self.memory_step.relieved();
        }
        let starting =
            self.latest.iter().flat_map(|sample| &sample.workers).filter(|worker| !worker.counts());
        let growth = starting.map(|worker| inputs.footprint.saturating_sub(worker.memory)).sum();
        let panics = self.panics(now, size, &inputs.panic);
        let has_figures =
            inputs.ready > 0 && self.latest.as_ref().is_some_and(|sample| sample.at + PANIC > now);
        let mean = self.window.mean(STABLE, now, inputs.stable.p95).unwrap_or_default();
        let smaller = self.smaller(size);
        let is_low = |load| signals::is_low(&self.policy, (size, smaller), load, memory_percent);
        let is_low = has_figures && is_low(&mean) && is_low(&inputs.stable);
        self.low_since = if is_low { self.low_since.or(Some(now)) } else { None };
        inputs.idle_time = self.low_since.map(|since| millis(now.saturating_sub(since)));
        let memory_room = limits::memory_room(&inputs, growth);
        let is_check = self.interval_is_over(now);
        Situation { now, is_check, size, panics, inputs, memory_percent, memory_room }
    }

    /// Whether response times and queues are those of the workers that there are now.
    fn is_settled(&self, now: Duration) -> bool {
        self.unsettled_at.is_none_or(|at| now >= at + PANIC)
    }

    /// A panic begins with [`signals::panic_ratio`] in the short window, and lasts until that has not been seen for the
    /// length of the long one.
    fn panics(&mut self, now: Duration, size: u32, load: &WindowLoad) -> bool {
        let settled = self.is_settled(now);
        let is_busy = signals::busy_percent(load, size) > self.policy.scale_up_threshold.cpu;
        let counts = |signal: &Signal| match signal.rule {
            ScalingRule::QueueLength => settled,
            // What is slow for another reason than busy event loops is no matter of seconds.
            ScalingRule::ResponseTime => settled && is_busy,
            _ => true,
        };
        let threshold = signals::panic_ratio(&self.policy);
        let signals = signals::of_load(&self.policy, size, load);
        if signals.iter().any(|signal| counts(signal) && signal.ratio >= threshold) {
            self.panics_until = Some(now + STABLE);
        }
        self.panics_until.is_some_and(|until| now < until)
    }

    fn verdict(&mut self, situation: &Situation) -> Verdict {
        let (size, span) = (situation.size, situation.span());
        let (min, max) = (u32::from(self.policy.min_workers), u32::from(self.policy.max_workers));
        if size < min || size > max {
            self.disagree(situation, Step::Up);
            self.disagree(situation, Step::Down);
            let (to, hold) = limits::into_bounds((min, max), size, situation.memory_room);
            return Verdict { to, rule: ScalingRule::Bounds, hold, span, detail: sentence::Detail::None };
        }
        if let Some((signal, span)) = self.strongest(situation) {
            self.disagree(situation, Step::Down);
            return self.up(situation, signal, span);
        }
        self.disagree(situation, Step::Up);
        if self.low_since.is_some() {
            return self.down(situation);
        }
        self.disagree(situation, Step::Down);
        Verdict { to: size, rule: ScalingRule::None, hold: None, span, detail: sentence::Detail::None }
    }

    fn checks(&mut self, step: Step) -> &mut u32 {
        match step {
            Step::Up => &mut self.up_checks,
            Step::Down => &mut self.down_checks,
        }
    }

    /// How many evaluations in a row call for such a step, this one included.
    fn agree(&mut self, situation: &Situation, step: Step) -> u32 {
        let checks = self.checks(step);
        if situation.is_check {
            *checks = checks.saturating_add(1);
        }
        (*checks).max(1)
    }

    fn disagree(&mut self, situation: &Situation, step: Step) {
        if situation.is_check {
            *self.checks(step) = 0;
        }
    }

    /// The signal that calls for the largest number of workers, among those that call for more, and its window.
    fn strongest(&self, situation: &Situation) -> Option<(Signal, Span)> {
        let (size, inputs) = (situation.size, &situation.inputs);
        let settled = self.is_settled(situation.now);
        let of = |load| signals::of_load(&self.policy, size, load);
        let (stable, panic) = (of(&inputs.stable), of(&inputs.panic));
        // The long window still has the response times of a minute ago, so both must agree on them.
        let is_still_over = |rule| panic.iter().any(|signal| signal.rule == rule && signal.is_over);
        let agrees = |signal: &&Signal| match signal.rule {
            ScalingRule::ResponseTime | ScalingRule::QueueLength => settled && is_still_over(signal.rule),
            _ => true,
        };
        let of_a_panic = panic.iter().filter(|_| situation.panics);
        let of_memory = signals::of_memory(&self.policy, size, situation.memory_percent);
        let within = |span| move |signal: &Signal| (*signal, span);
        let all = stable.iter().filter(agrees).map(within(Span::Stable));
        let all = all.chain(of_a_panic.filter(agrees).map(within(Span::Panic)));
        let all = all.chain(of_memory.iter().map(within(Span::Stable)));
        all.filter(|(signal, _)| signal.is_over)
            .max_by(|(one, _), (other, _)| one.wanted.total_cmp(&other.wanted))
    }

    fn up(&mut self, situation: &Situation, signal: Signal, span: Span) -> Verdict {
        let agreed = self.agree(situation, Step::Up);
        let size = situation.size;
        let stays = |hold, detail| Verdict { to: size, rule: signal.rule, hold: Some(hold), span, detail };
        let urgent = situation.panics && signal.rule != ScalingRule::Memory;
        if !urgent {
            let needed = self.policy.scale_up_threshold.consecutive_checks;
            if agreed < needed {
                return stays(ScalingHold::Checks, sentence::Detail::Checks(agreed, needed));
            }
            if let Some(left) = self.cooldown_left(situation.now, self.policy.scale_up_cooldown) {
                return stays(ScalingHold::Cooldown, sentence::Detail::Time(left));
            }
        }
        if let Some(percent) = situation.memory_percent.filter(|_| signal.rule == ScalingRule::Memory) {
            let effect = self.memory_step.effect(situation.now, percent);
            if effect != Effect::Helped {
                return stays(ScalingHold::MemoryStep, sentence::Detail::MemoryStep(effect));
            }
        }
        let step = match self.policy.scale_up_increment {
            Some(increment) => size.saturating_add(u32::from(increment)),
            None => proportional(size, signal.wanted),
        };
        let (inputs, load) = (&situation.inputs, situation.load(span));
        let (to, hold) =
            limits::within(&self.policy, signal.rule, (size, step), inputs, load, situation.memory_room);
        Verdict { to, rule: signal.rule, hold, span, detail: sentence::Detail::Asked(step) }
    }

    fn down(&mut self, situation: &Situation) -> Verdict {
        let agreed = self.agree(situation, Step::Down);
        let (size, inputs) = (situation.size, &situation.inputs);
        let (rule, span) = (ScalingRule::Idle, Span::Stable);
        let stays = |hold, detail| Verdict { to: size, rule, hold: Some(hold), span, detail };
        let min = u32::from(self.policy.min_workers);
        if size <= min {
            return stays(ScalingHold::MinWorkers, sentence::Detail::None);
        }
        if situation.panics {
            return stays(ScalingHold::Panic, sentence::Detail::None);
        }
        if inputs.starting > 0 {
            return stays(ScalingHold::Starting, sentence::Detail::None);
        }
        let needed = self.policy.scale_down_threshold.consecutive_checks;
        if agreed < needed {
            return stays(ScalingHold::Checks, sentence::Detail::Checks(agreed, needed));
        }
        let idle = self.low_since.map_or(Duration::ZERO, |since| situation.now.saturating_sub(since));
        let needed = self.idle_time(situation.now);
        if idle < needed {
            return stays(ScalingHold::IdleTime, sentence::Detail::Time(needed));
        }
        if let Some(left) = self.cooldown_left(situation.now, self.policy.scale_down_cooldown) {
            return stays(ScalingHold::Cooldown, sentence::Detail::Time(left));
        }
        let to = self.smaller(size);
        let fits = |load| signals::would_fit(&self.policy, to, load);
        if ![&self.window.peak(), &inputs.stable].into_iter().all(fits) {
            return stays(ScalingHold::Rest, sentence::Detail::Asked(to));
        }
        Verdict { to, rule, hold: None, span, detail: sentence::Detail::None }
    }

    /// The size after a step down.
    fn smaller(&self, size: u32) -> u32 {
        let step = u32::from(self.policy.scale_down_increment.unwrap_or(1));
        size.saturating_sub(step).max(u32::from(self.policy.min_workers))
    }

    /// For how long the load must have been low. Flaps multiply it; a configured 0 then counts as one evaluation.
    fn idle_time(&self, now: Duration) -> Duration {
        let configured = self.policy.scale_down_threshold.idle_time;
        match self.flaps.factor(now) {
            1 => configured,
            factor => configured.max(self.policy.evaluation_interval) * factor,
        }
    }

    fn cooldown_left(&self, now: Duration, cooldown: Duration) -> Option<Duration> {
        let left = (self.changed_at? + cooldown).saturating_sub(now);
        (!left.is_zero()).then_some(left)
    }

    fn step_made(&mut self, situation: &Situation, verdict: &Verdict) {
        let now = situation.now;
        let step = if verdict.to > situation.size { Step::Up } else { Step::Down };
        self.changed(now);
        if verdict.rule != ScalingRule::Bounds {
            self.flaps.stepped(step, now, self.policy.scale_down_cooldown);
        }
        if let Some(percent) = situation.memory_percent.filter(|_| verdict.rule == ScalingRule::Memory) {
            self.memory_step.made(now, percent);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Kubernetes' step: the number with which the figure would be at its target, at most twice as many.
fn proportional(size: u32, wanted: f64) -> u32 {
    // A float beyond u32 becomes its maximum, and what is no number 0.
    let wanted = (wanted - ROUNDING).ceil() as u32;
    wanted.min(size.saturating_mul(MAX_STEP_RATIO)).max(size.saturating_add(1))
}
