//! How much stays in the own zone.
//!
//! Envoy's zone aware routing: as much as the own zone carries without its endpoints having
//! more to do than those of other zones, and the rest to zones that have more endpoints than
//! traffic of their own, in proportion to what they have left. All proxies that know the same
//! come to loads that are even, though none asks another. How the traffic is spread over
//! zones is told, or thought even; Envoy counts its own kind.

use super::shares::Shares;

/// A zone with endpoints of one tier.
#[derive(Debug, Clone, Copy, Default)]
pub struct Zone {
    /// What weighs in those that are to be asked.
    pub able: f64,
    /// What weighs in all.
    pub all: f64,
    /// The share of all traffic that begins here, compared with other zones'.
    pub traffic: f64,
}

/// The share of each zone in what begins in the zone `own`; `None` where the proxy is in
/// none of them, so that each gets what it carries. A zone carries as much as it would with
/// all of its endpoints while those that are able, loaded so many times as much, do.
pub fn shares(zones: &[Zone], own: Option<usize>, overprovisioning: f64) -> Shares {
    let carried = |zone: &Zone| {
        (zone.able * overprovisioning.max(1.0))
            .min(zone.all)
            .max(0.0)
    };
    let carried = fractions(zones, carried);
    let traffic = fractions(zones, |zone| zone.traffic.max(0.0));
    let Some(own) = own.filter(|own| traffic.get(*own).is_some_and(|traffic| *traffic > 0.0))
    else {
        return Shares::new(carried);
    };
    let stays = (carried[own] / traffic[own]).min(1.0);
    let left = |(carried, traffic): (&f64, &f64)| (carried - traffic).max(0.0);
    let left: Vec<_> = carried.iter().zip(&traffic).map(left).collect();
    let all_left: f64 = left.iter().sum();
    if stays == 1.0 || all_left <= 0.0 {
        return Shares::new((0..zones.len()).map(|zone| f64::from(u8::from(zone == own))));
    }
    let share = |(zone, left)| match zone == own {
        true => stays,
        false => (1.0 - stays) * left / all_left,
    };
    Shares::new(left.into_iter().enumerate().map(share))
}

/// Parts of one; even where all are nothing.
fn fractions(zones: &[Zone], part: impl Fn(&Zone) -> f64) -> Vec<f64> {
    let sum: f64 = zones.iter().map(&part).sum();
    let even = 1.0 / zones.len() as f64;
    let fraction = |zone| match sum > 0.0 {
        true => part(zone) / sum,
        false => even,
    };
    zones.iter().map(fraction).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(given: &[(f64, f64)]) -> Vec<Zone> {
        let zone = |(able, all): &(f64, f64)| Zone {
            able: *able,
            all: *all,
            traffic: 1.0,
        };
        given.iter().map(zone).collect()
    }

    /// By weights of able and of all endpoints.
    fn check(given: &[(f64, f64)], own: Option<usize>, wanted: &[f64]) {
        let shares = shares(&zones(given), own, 1.4);
        for (zone, wanted) in wanted.iter().enumerate() {
            let found = shares.of(zone);
            assert!(
                (found - wanted).abs() < 0.001,
                "{given:?}: {found}, not {wanted}"
            );
        }
    }

    #[test]
    fn what_the_own_zone_carries_stays_there() {
        check(&[(2.0, 2.0), (2.0, 2.0)], Some(0), &[1.0, 0.0]);
        check(&[(2.0, 2.0), (2.0, 2.0)], Some(1), &[0.0, 1.0]);
        check(&[(3.0, 3.0), (1.0, 1.0)], Some(0), &[1.0, 0.0]);
        // The small one keeps half of what begins there.
        check(&[(3.0, 3.0), (1.0, 1.0)], Some(1), &[0.5, 0.5]);
        // The rest by what others have left: 5/10 and 3/10 less a third each.
        let three = [(5.0, 5.0), (4.0, 4.0), (1.0, 1.0)];
        check(&three, Some(2), &[0.5, 0.2, 0.3]);
    }

    #[test]
    fn a_zone_that_loses_endpoints_keeps_what_it_carries() {
        check(&[(8.0, 10.0), (10.0, 10.0)], Some(0), &[1.0, 0.0]);
        // 7 of 17 against a half.
        check(&[(5.0, 10.0), (10.0, 10.0)], Some(0), &[0.8235, 0.1765]);
        check(&[(0.0, 10.0), (10.0, 10.0)], Some(0), &[0.0, 1.0]);
        check(&[(0.0, 10.0), (0.0, 10.0)], Some(0), &[1.0, 0.0]);
    }

    #[test]
    fn who_is_in_no_zone_asks_all() {
        check(&[(3.0, 3.0), (1.0, 1.0)], None, &[0.75, 0.25]);
        check(&[(3.0, 3.0), (1.0, 1.0)], Some(7), &[0.75, 0.25]);
        assert_eq!(shares(&[], None, 1.4).at(0.5), None);
        let bad = Zone {
            able: f64::NAN,
            all: -1.0,
            traffic: f64::NAN,
        };
        assert_eq!(shares(&[bad, bad], Some(0), f64::NAN).at(0.9), Some(0));
    }

    /// However zones are, what comes to each from all is what it carries, and no zone sends
    /// away what it could keep.
    #[test]
    fn no_zone_has_more_to_do_than_another() {
        let mut rng = fastrand::Rng::with_seed(4);
        for _ in 0..1000 {
            let zone = |_| Zone {
                able: rng.f64() * 10.0,
                all: 10.0,
                traffic: rng.f64(),
            };
            let zones: Vec<Zone> = (0..5).map(zone).collect();
            let carried = fractions(&zones, |zone| (zone.able * 1.4).min(zone.all));
            let traffic = fractions(&zones, |zone| zone.traffic);
            let from: Vec<_> = (0..5).map(|own| shares(&zones, Some(own), 1.4)).collect();
            for to in 0..5 {
                let come: f64 = (0..5).map(|own| traffic[own] * from[own].of(to)).sum();
                assert!((come - carried[to]).abs() < 1e-9, "{zones:?}");
                let stays = (carried[to] / traffic[to]).min(1.0);
                assert!((from[to].of(to) - stays).abs() < 1e-9, "{zones:?}");
            }
        }
    }
}
