//! Kubernetes' HorizontalPodAutoscaler as documented, with its defaults: every 15 s
//! `ceil(replicas * utilisation / target)` with a tolerance of 0.1; pods that are not ready count as idle when it would
//! scale up; up by 100 % or 4 pods in 15 s, whichever is more; down to the highest recommendation of the last 300 s.
//! The utilisation is the mean of the last 15 s (the metrics server's resolution), without a delay of its own.
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/>

use crate::TARGET;
use crate::policy::{Bounds, Mean, Policy, Second};
use std::collections::VecDeque;

const PERIOD: f64 = 15.0;
const TOLERANCE: f64 = 0.1;
const STABILIZATION: f64 = 300.0;

pub struct Hpa {
    bounds: Bounds,
    evaluated_at: f64,
    /// Of the ready pods.
    utilisation: Mean,
    recommendations: VecDeque<(f64, u32)>,
}

impl Hpa {
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, evaluated_at: 0.0, utilisation: Mean::new(15), recommendations: VecDeque::new() }
    }
}

fn recommended(size: u32, ready: u32, utilisation: f64) -> u32 {
    let ratio = utilisation / (TARGET / 100.0);
    if (ratio - 1.0).abs() <= TOLERANCE {
        return size;
    }
    // Pods that are not ready count as idle for a step up, and not at all for one down.
    if ratio > 1.0 && ready < size {
        let with_all = ratio * f64::from(ready) / f64::from(size);
        let stays = with_all < 1.0 || (with_all - 1.0).abs() <= TOLERANCE;
        return if stays { size } else { (with_all * f64::from(size)).ceil() as u32 };
    }
    (ratio * f64::from(ready)).ceil() as u32
}

impl Policy for Hpa {
    fn decide(&mut self, second: &Second<'_>) -> u32 {
        let size = second.size();
        let ready: Vec<f64> = second
            .workers
            .iter()
            .filter(|worker| worker.ready_for.is_some())
            .map(|worker| worker.busy)
            .collect();
        self.utilisation.add(ready.iter().sum::<f64>() / ready.len().max(1) as f64);
        if second.at < self.evaluated_at + PERIOD {
            return size;
        }
        self.evaluated_at = second.at;
        let wanted = recommended(size, ready.len() as u32, self.utilisation.get());
        self.recommendations.push_back((second.at, wanted));
        self.recommendations.retain(|(at, _)| at + STABILIZATION > second.at);
        let highest = self.recommendations.iter().map(|(_, wanted)| *wanted).max().unwrap_or(wanted);
        let next = if wanted >= size { wanted.min((size * 2).max(size + 4)) } else { highest.min(size) };
        next.clamp(self.bounds.min, self.bounds.max)
    }
}
