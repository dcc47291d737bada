//! Response times as counts in buckets whose bounds grow by the twelfth root of two: a bucket's value is at most 3 %
//! from any time in it. PURE. The workers' JavaScript counts (lib/http/response-metrics.js), all other code reads.

/// Buckets per doubling.
pub const STEPS: f64 = 12.0;
/// From 1 us to 2^30 us (18 minutes); longer times are in the last bucket.
pub const BUCKETS: usize = 360;

/// The bucket of a time.
pub fn bucket_of(microseconds: f64) -> usize {
    let step = microseconds.max(1.0).log2() * STEPS;
    (step as usize).min(BUCKETS - 1)
}

/// The upper bound of a bucket, microseconds.
pub fn end_of(bucket: usize) -> f64 {
    ((bucket + 1) as f64 / STEPS).exp2()
}

/// The value of a bucket, microseconds: the geometric mean of its bounds.
fn middle_of(bucket: usize) -> f64 {
    ((bucket as f64 + 0.5) / STEPS).exp2()
}

/// A quantile, microseconds; None without any count.
pub fn quantile(counts: &[f64], part: f64) -> Option<f64> {
    let all: f64 = counts.iter().sum();
    if all < 1.0 {
        return None;
    }
    let rank = (all * part).ceil().max(1.0);
    let mut seen = 0.0;
    for (bucket, count) in counts.iter().enumerate() {
        seen += count;
        if seen >= rank {
            return Some(middle_of(bucket));
        }
    }
    // Counts that were read while they changed may not add up.
    Some(middle_of(counts.len().saturating_sub(1)))
}

/// How many are at most a time, for the bounds of other histograms: exact at the bound of a bucket, otherwise the bound
/// used is up to 6 % too low.
pub fn at_most(counts: &[f64], microseconds: f64) -> f64 {
    counts
        .iter()
        .enumerate()
        .take_while(|(bucket, _)| end_of(*bucket) <= microseconds * 1.000_001)
        .map(|(_, n)| n)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn without_a_request_there_is_no_quantile() {
        assert_eq!(quantile(&[0.0; BUCKETS], 0.5), None);
    }

    #[test]
    fn the_longest_times_share_the_last_bucket() {
        assert_eq!(bucket_of(f64::MAX), BUCKETS - 1);
        assert_eq!(bucket_of(0.0), 0);
    }

    proptest! {
        /// A quantile is at most 3 % from the time of that rank.
        #[test]
        fn a_quantile_is_within_three_percent(times in proptest::collection::vec(2.0f64..1e8, 1..200), part in 0.0f64..1.0) {
            let mut counts = vec![0.0; BUCKETS];
            times.iter().for_each(|time| counts[bucket_of(*time)] += 1.0);
            let mut sorted = times.clone();
            sorted.sort_by(f64::total_cmp);
            let rank = ((sorted.len() as f64 * part).ceil().max(1.0) as usize).min(sorted.len());
            let exact = sorted[rank - 1];
            let estimate = quantile(&counts, part).unwrap();
            prop_assert!((estimate / exact - 1.0).abs() <= 0.03, "{estimate} for {exact}");
        }

        #[test]
        fn every_time_is_within_its_bucket(time in 1.0f64..1e9) {
            let bucket = bucket_of(time);
            prop_assert!(time <= end_of(bucket) * (1.0 + 1e-9));
            prop_assert!(bucket == 0 || time >= end_of(bucket - 1) * (1.0 - 1e-9));
        }
    }
}
