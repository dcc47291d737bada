//! Least-connections for direct mode: the kernel chooses at random, so connection counts are converted to weights.
//! Stateless; the accept thread calls it ten times per second.

/// Weight of an average worker with configured weight 1. Only ratios matter; this scale keeps rounding below 0.1 %.
const UNIT: f64 = 1024.0;

/// Added to every load: differences of a few connections are noise.
const NOISE: f64 = 4.0;

/// The weights for new connections, from `(slot, connections, weight)`: `(slot, weight)` in the same order, never zero,
/// for [`super::Steering::Weighted`].
///
/// The weights are `weight * sqrt(mean / load)`, with loads per unit of weight. The square root makes it converge: with
/// short connections a slot's count follows its weight at once, and weights inverse to the count itself would swap
/// light and heavy workers forever; with the root the distance to balance halves each time (on a log scale).
pub fn live_weights(loads: &[(u16, u32, u32)]) -> Vec<(u16, u32)> {
    let weight = |weight: u32| f64::from(weight.max(1));
    let connections: f64 = loads.iter().map(|&(_, n, _)| f64::from(n)).sum();
    let mean = connections / loads.iter().map(|&(_, _, w)| weight(w)).sum::<f64>();
    let odds = |&(slot, n, w): &(u16, u32, u32)| {
        let load = f64::from(n) / weight(w);
        let odds = UNIT * weight(w) * ((mean + NOISE) / (load + NOISE)).sqrt();
        // A float that is too large for u32 saturates.
        (slot, (odds.round() as u32).max(1))
    };
    loads.iter().map(odds).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(loads: &[(u16, u32, u32)]) -> Vec<f64> {
        let odds = live_weights(loads);
        let sum: f64 = odds.iter().map(|&(_, odds)| f64::from(odds)).sum();
        odds.iter().map(|&(_, odds)| f64::from(odds) / sum).collect()
    }

    /// The ratio of the heaviest load per weight to the lightest.
    fn spread(loads: &[(u16, u32, u32)]) -> f64 {
        let per_weight = loads.iter().map(|&(_, n, w)| (f64::from(n) + 1.0) / f64::from(w));
        per_weight.clone().fold(0.0, f64::max) / per_weight.fold(f64::MAX, f64::min)
    }

    #[test]
    fn equal_loads_get_equal_odds_and_weights_their_proportion() {
        assert_eq!(live_weights(&[(0, 7, 1), (4, 7, 1)]), [(0, 1024), (4, 1024)]);
        assert_eq!(live_weights(&[(0, 30, 3), (1, 10, 1)]), [(0, 3072), (1, 1024)]);
        assert_eq!(live_weights(&[]), []);
    }

    #[test]
    fn long_lived_connections_even_out_as_more_of_them_come() {
        let mut loads = [(0, 1000, 1), (1, 0, 1), (2, 0, 1), (3, 0, 2)];
        for _ in 0..200 {
            let shares = share(&loads);
            for (load, share) in loads.iter_mut().zip(shares) {
                load.1 += (share * 500.0) as u32;
            }
        }
        assert!(spread(&loads) < 1.1, "{loads:?}");
    }

    #[test]
    fn short_connections_settle_although_the_counts_follow_the_odds_at_once() {
        let mut loads = [(0, 390, 1), (1, 10, 1), (2, 0, 1), (3, 400, 1)];
        for _ in 0..10 {
            let shares = share(&loads);
            for (load, share) in loads.iter_mut().zip(shares) {
                load.1 = (share * 800.0) as u32;
            }
        }
        assert!(spread(&loads) < 1.02, "{loads:?}");
    }

    proptest! {
        #[test]
        fn a_lighter_slot_never_has_worse_odds_and_none_has_zero(
            counts in prop::collection::vec(0u32.., 1..64), weight in 1u32..1000,
        ) {
            let loads: Vec<_> = (0..).zip(&counts).map(|(slot, &n)| (slot, n, weight)).collect();
            let odds = live_weights(&loads);
            prop_assert_eq!(odds.len(), loads.len());
            for (a, &(slot, odds_a)) in loads.iter().zip(&odds) {
                prop_assert_eq!(a.0, slot);
                prop_assert!(odds_a > 0);
                for (b, &(_, odds_b)) in loads.iter().zip(&odds) {
                    prop_assert!(a.1 > b.1 || odds_a >= odds_b, "{a:?} {odds_a}, {b:?} {odds_b}");
                }
            }
        }
    }
}
