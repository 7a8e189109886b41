//! Shares of the traffic, drawn at random or picked by a value of the request.

use crate::matching::{Facts, any_cookie};

/// Clusters with their shares; at least one share is not 0.
#[derive(Debug)]
pub struct Split {
    /// Each cluster with the sum of the weights up to it.
    shares: Vec<(u64, Box<str>)>,
    total: u64,
    by: Option<SplitBy>,
}

/// Where the value that picks comes from.
#[derive(Debug)]
pub enum SplitBy {
    Header(Box<str>),
    Cookie(Box<str>),
}

impl Split {
    /// None when all weights are 0.
    pub fn new(
        weights: impl IntoIterator<Item = (u32, Box<str>)>,
        by: Option<SplitBy>,
    ) -> Option<Split> {
        let mut total = 0;
        let shares = weights
            .into_iter()
            .map(|(weight, cluster)| {
                total += u64::from(weight);
                (total, cluster)
            })
            .collect();
        (total > 0).then_some(Split { shares, total, by })
    }

    /// The cluster of a request.
    pub fn cluster(&self, facts: &Facts, random: impl FnOnce() -> u64) -> &str {
        let chosen = self.by.as_ref().and_then(|by| by.draw(facts));
        self.pick(chosen.unwrap_or_else(random))
    }

    /// The cluster at this point of the whole range of draws. The shares lie
    /// side by side in the order of the configuration, so that moving weight
    /// between neighbours moves no more values than it must.
    fn pick(&self, draw: u64) -> &str {
        let point = ((u128::from(draw) * u128::from(self.total)) >> 64) as u64;
        let share = self.shares.partition_point(|(end, _)| *end <= point);
        &self.shares[share].1
    }

    /// The clusters, also those without a share.
    pub fn clusters(&self) -> impl Iterator<Item = &str> {
        self.shares.iter().map(|(_, cluster)| &**cluster)
    }

    /// Where the value that picks comes from.
    pub fn by(&self) -> Option<&SplitBy> {
        self.by.as_ref()
    }
}

impl SplitBy {
    fn draw(&self, facts: &Facts) -> Option<u64> {
        let mut draw = None;
        let mut take = |value: &[u8]| {
            draw = Some(spread(value));
            true
        };
        match self {
            SplitBy::Header(name) => facts.fields.any(name, &mut take),
            SplitBy::Cookie(name) => any_cookie(facts.fields, name, &mut take),
        };
        draw
    }
}

/// Without a secret, because every worker, every proxy and every later version
/// must pick the same.
fn spread(value: &[u8]) -> u64 {
    lockgate_sdk::random::keyed(0, value)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Weights, and how often each was picked in 100,000 draws.
    fn check_shares(draw: impl Fn(u64) -> u64) {
        let weights = [("a", 70), ("none", 0), ("b", 25), ("c", 5)];
        let split = Split::new(weights.map(|(name, weight)| (weight, name.into())), None).unwrap();
        let mut counts = HashMap::<&str, f64>::new();
        for number in 0..100_000 {
            *counts.entry(split.pick(draw(number))).or_default() += 1.0;
        }
        assert_eq!(counts.get("none"), None);
        let chi_square: f64 = weights
            .iter()
            .filter(|(_, weight)| *weight > 0)
            .map(|(name, weight)| {
                let expected = f64::from(*weight) * 1000.0;
                (counts[name] - expected).powi(2) / expected
            })
            .sum();
        // Two degrees of freedom: one fair draw in 10,000 would exceed this, and
        // these draws are the same in every run.
        assert!(chi_square < 18.42, "{chi_square}: {counts:?}");
    }

    #[test]
    fn random_draws_keep_the_weights() {
        check_shares(|number| {
            // SplitMix64.
            let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        });
    }

    #[test]
    fn values_keep_the_weights() {
        check_shares(|number| spread(format!("user-{number}").as_bytes()));
        check_shares(|number| spread(number.to_string().as_bytes()));
        check_shares(|number| spread(&number.to_le_bytes()));
    }

    #[test]
    fn a_value_keeps_its_place_for_ever() {
        let split = Split::new((0..100).map(|n| (1, n.to_string().into())), None).unwrap();
        let clusters = ["", "alice", "bob"].map(|value| split.pick(spread(value.as_bytes())));
        assert_eq!(clusters, ["35", "64", "2"]);
    }

    #[test]
    fn the_ends_of_the_range() {
        let split = Split::new([(1, "a".into()), (1, "b".into())], None).unwrap();
        assert_eq!(split.pick(0), "a");
        assert_eq!(split.pick(u64::MAX / 2), "a");
        assert_eq!(split.pick(u64::MAX / 2 + 1), "b");
        assert_eq!(split.pick(u64::MAX), "b");
        let last_is_empty = Split::new([(1, "a".into()), (0, "b".into())], None).unwrap();
        assert_eq!(last_is_empty.pick(u64::MAX), "a");
        assert!(Split::new([(0, "a".into())], None).is_none());
    }

    #[test]
    fn more_weight_takes_only_from_the_neighbour() {
        let split =
            |weight| Split::new([(100 - weight, "a".into()), (weight, "b".into())], None).unwrap();
        let (before, after) = (split(5), split(10));
        for number in 0..10_000_u32 {
            let draw = spread(&number.to_le_bytes());
            if before.pick(draw) == "b" {
                assert_eq!(after.pick(draw), "b");
            }
        }
    }
}
