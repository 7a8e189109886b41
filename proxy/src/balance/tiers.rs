//! How much each priority tier takes, by its health.
//!
//! Envoy's priority levels, degraded endpoints and panic threshold (its architecture overview
//! has the formulas and the tables that the tests repeat), without rounding to percents. A
//! tier is taken for whole as long as its healthy endpoints, loaded 1.4 times as much, carry
//! all of it. What the healthy ones of all tiers leave over goes to degraded ones. Where both
//! together do not suffice, a tier with too few of them is asked as a whole, sick ones among
//! it: a health check that fails everywhere is rather wrong than right.

/// Endpoints of a tier, by number or by weight.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tier {
    pub healthy: u64,
    pub degraded: u64,
    pub all: u64,
}

#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// How much more than its share a healthy endpoint may be given in place of a sick one.
    pub overprovisioning: f64,
    /// The share of endpoints that have to be healthy or degraded; 0 for no panic, so that
    /// sick endpoints are never asked.
    pub panic_below: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            overprovisioning: 1.4,
            panic_below: 0.5,
        }
    }
}

/// What a tier takes, as shares of the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    pub healthy: f64,
    pub degraded: f64,
    /// For any of its endpoints, because it is in panic.
    pub any: f64,
}

/// One load for each tier; all of them nothing where nobody is to be asked.
pub fn loads(tiers: &[Tier], rules: &Rules) -> Vec<Load> {
    let carries = |part: u64, all: u64| match all {
        0 => 0.0,
        all => (part as f64 / all as f64 * rules.overprovisioning).clamp(0.0, 1.0),
    };
    let health = |tier: &Tier| carries(tier.healthy, tier.all);
    let more = |tier: &Tier| carries(tier.degraded, tier.all);
    let total: f64 = tiers.iter().map(|tier| health(tier) + more(tier)).sum();
    if total < 1.0 && tiers.iter().all(|tier| is_in_panic(tier, rules)) {
        return by_size(tiers, rules);
    }
    let scale = total.clamp(f64::MIN_POSITIVE, 1.0);
    let mut left = 1.0;
    let mut take = |carried: f64| {
        let taken = (carried / scale).min(left);
        left -= taken;
        taken
    };
    let healthy: Vec<_> = tiers.iter().map(|tier| take(health(tier))).collect();
    let degraded: Vec<_> = tiers.iter().map(|tier| take(more(tier))).collect();
    let loads = healthy.into_iter().zip(degraded);
    let load = |(tier, (healthy, degraded))| match total < 1.0 && is_in_panic(tier, rules) {
        false => Load {
            healthy,
            degraded,
            any: 0.0,
        },
        true => Load {
            any: healthy + degraded,
            ..Load::default()
        },
    };
    tiers.iter().zip(loads).map(load).collect()
}

/// Of a tier without endpoints nothing is asked, in panic or not.
fn is_in_panic(tier: &Tier, rules: &Rules) -> bool {
    let able = tier.healthy.saturating_add(tier.degraded) as f64;
    able < tier.all as f64 * rules.panic_below || tier.all == 0
}

/// Where all are in panic.
fn by_size(tiers: &[Tier], rules: &Rules) -> Vec<Load> {
    let total: f64 = tiers.iter().map(|tier| tier.all as f64).sum();
    let any = |tier: &Tier| match total > 0.0 && rules.panic_below > 0.0 {
        true => tier.all as f64 / total,
        false => 0.0,
    };
    let load = |tier| Load {
        any: any(tier),
        ..Load::default()
    };
    tiers.iter().map(load).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tier(healthy: u64, degraded: u64) -> Tier {
        Tier {
            healthy,
            degraded,
            all: 100,
        }
    }

    /// Percents of healthy and degraded endpoints; wanted percents for healthy, degraded,
    /// any. Envoy's tables are rounded.
    fn check(tiers: &[(u64, u64)], wanted: &[(f64, f64, f64)]) {
        let given = tiers
            .iter()
            .map(|(healthy, degraded)| tier(*healthy, *degraded));
        let found = loads(&given.collect::<Vec<_>>(), &Rules::default());
        for (found, wanted) in found.iter().zip(wanted) {
            let near = |found: f64, wanted: f64| (found * 100.0 - wanted).abs() < 0.75;
            let all_near = near(found.healthy, wanted.0)
                && near(found.degraded, wanted.1)
                && near(found.any, wanted.2);
            assert!(all_near, "{tiers:?}: {found:?}, not {wanted:?}");
        }
        assert_eq!(found.len(), wanted.len());
    }

    fn check_healthy(healthy: &[u64], wanted: &[f64]) {
        let tiers: Vec<_> = healthy.iter().map(|healthy| (*healthy, 0)).collect();
        let wanted: Vec<_> = wanted.iter().map(|wanted| (*wanted, 0.0, 0.0)).collect();
        check(&tiers, &wanted);
    }

    #[test]
    fn what_a_tier_does_not_carry_goes_to_the_next() {
        check_healthy(&[100, 100], &[100.0, 0.0]);
        check_healthy(&[72, 100], &[100.0, 0.0]);
        check_healthy(&[71, 100], &[99.0, 1.0]);
        check_healthy(&[50, 100], &[70.0, 30.0]);
        check_healthy(&[25, 100], &[35.0, 65.0]);
        check_healthy(&[0, 100], &[0.0, 100.0]);
        check_healthy(&[72, 72], &[100.0, 0.0]);
        check_healthy(&[71, 71], &[99.0, 1.0]);
        check_healthy(&[50, 50], &[70.0, 30.0]);
        check_healthy(&[72, 72, 100], &[100.0, 0.0, 0.0]);
        check_healthy(&[71, 71, 100], &[99.0, 1.0, 0.0]);
        check_healthy(&[25, 100, 100], &[35.0, 65.0, 0.0]);
        check_healthy(&[25, 25, 100], &[35.0, 35.0, 30.0]);
    }

    #[test]
    fn degraded_ones_take_what_is_left_over() {
        check(&[(100, 0)], &[(100.0, 0.0, 0.0)]);
        check(&[(71, 0)], &[(100.0, 0.0, 0.0)]);
        check(&[(71, 29)], &[(99.4, 0.6, 0.0)]);
        check(&[(25, 65)], &[(35.0, 65.0, 0.0)]);
        // Healthy ones of a later tier go before degraded ones of the first.
        check(&[(25, 75), (100, 0)], &[(35.0, 0.0, 0.0), (65.0, 0.0, 0.0)]);
        check(&[(25, 75), (25, 0)], &[(35.0, 30.0, 0.0), (35.0, 0.0, 0.0)]);
    }

    #[test]
    fn panic_asks_all_where_too_few_are_left() {
        check(&[(5, 0)], &[(0.0, 0.0, 100.0)]);
        check(&[(49, 0)], &[(0.0, 0.0, 100.0)]);
        check(&[(50, 0)], &[(100.0, 0.0, 0.0)]);
        check(&[(0, 0)], &[(0.0, 0.0, 100.0)]);
        check(&[(5, 0), (65, 0)], &[(0.0, 0.0, 7.0), (93.0, 0.0, 0.0)]);
        check(&[(25, 0), (25, 0)], &[(0.0, 0.0, 50.0), (0.0, 0.0, 50.0)]);
        check(&[(0, 0), (0, 0)], &[(0.0, 0.0, 50.0), (0.0, 0.0, 50.0)]);
        // Envoy's table says 36, 36 and 28: with a threshold that is not reached.
        let total = 35.0 + 35.0 + 28.0;
        let wanted = [35.0, 35.0, 28.0].map(|load| load / total);
        let rules = Rules {
            panic_below: 0.1,
            ..Rules::default()
        };
        let found = loads(&[tier(25, 0), tier(25, 0), tier(20, 0)], &rules);
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found.healthy - wanted).abs() < 0.001, "{found:?}");
        }
    }

    #[test]
    fn without_panic_nobody_sick_is_asked() {
        let rules = Rules {
            panic_below: 0.0,
            ..Rules::default()
        };
        assert_eq!(loads(&[tier(0, 0)], &rules), [Load::default()]);
        assert_eq!(loads(&[tier(1, 0)], &rules)[0].healthy, 1.0);
        let empty = Tier::default();
        assert_eq!(loads(&[empty, tier(1, 0)], &rules)[1].healthy, 1.0);
    }

    #[test]
    fn tiers_may_be_empty() {
        assert_eq!(loads(&[], &Rules::default()), []);
        let empty = Tier::default();
        assert_eq!(loads(&[empty], &Rules::default()), [Load::default()]);
        let found = loads(&[empty, tier(0, 0), empty], &Rules::default());
        let any: Vec<_> = found.iter().map(|load| load.any).collect();
        assert_eq!(any, [0.0, 1.0, 0.0]);
    }

    /// Whatever is given, all of it goes somewhere, and only to who is there.
    #[test]
    fn loads_come_to_the_whole() {
        let mut rng = fastrand::Rng::with_seed(9);
        for _ in 0..10_000 {
            let tiers: Vec<_> = (0..rng.usize(1..5))
                .map(|_| {
                    let all = rng.u64(..20);
                    let healthy = rng.u64(..=all);
                    let degraded = rng.u64(..=all - healthy);
                    Tier {
                        healthy,
                        degraded,
                        all,
                    }
                })
                .collect();
            let found = loads(&tiers, &Rules::default());
            let sum: f64 = found
                .iter()
                .map(|load| load.healthy + load.degraded + load.any)
                .sum();
            let wanted = f64::from(u8::from(tiers.iter().any(|tier| tier.all > 0)));
            assert!((sum - wanted).abs() < 1e-9, "{tiers:?}: {found:?}");
            for (tier, load) in tiers.iter().zip(&found) {
                assert!(
                    tier.healthy > 0 || load.healthy == 0.0,
                    "{tier:?}: {load:?}"
                );
                assert!(
                    tier.degraded > 0 || load.degraded == 0.0,
                    "{tier:?}: {load:?}"
                );
                assert!(tier.all > 0 || load.any == 0.0, "{tier:?}: {load:?}");
            }
        }
    }
}
