use super::*;
use crate::balance::subsets::Fallback;
use crate::cluster::{Address, EndpointSet, Found};
use crate::config::Subsets;

/// An endpoint at a port, in a tier and a zone, with a version.
fn found(port: u16, tier: u8, zone: &str, version: &str, weight: u32) -> Found {
    let labels: Vec<Label> = vec![("version".into(), version.into())];
    Found {
        place: Placement {
            tier,
            zone: Some(zone.into()),
            labels: labels.into(),
        },
        ..(Address::Socket(([127, 0, 0, 1], port).into()), weight).into()
    }
}

fn set(found: Vec<Found>, spread: &Spread) -> EndpointSet {
    EndpointSet::new(found, &EndpointSet::default(), &Balance::RoundRobin, spread)
}

/// The members and the share in percent of each group that such a request may go to.
fn groups(set: &EndpointSet, labels: &[Label]) -> Vec<(Vec<usize>, f64)> {
    let groups = &set.plan.groups()[set.plan.possible(labels)];
    let told = groups.iter().map(|group| {
        let members = (0..group.count()).map(|place| group.index(place));
        (members.collect(), (group.share * 1000.0).round() / 10.0)
    });
    told.collect()
}

fn again(set: &EndpointSet, spread: &Spread) -> EndpointSet {
    set.again(&Balance::RoundRobin, spread)
}

#[test]
fn all_are_one_group_while_nothing_tells_them_apart() {
    let spread = Spread::default();
    let all = (0..3).map(|port| found(port, 0, "a", "1", 1)).collect();
    let set = set(all, &spread);
    assert_eq!(groups(&set, &[]), [(vec![0, 1, 2], 100.0)]);
    assert_eq!(set.plan.draw(&[], || unreachable!("one has all")), Some(0));
    // A label is nothing to go by without subsets.
    let labels = [("version".into(), "9".into())];
    assert_eq!(groups(&set, &labels).len(), 1);
    assert!(!set.plan.is_in_panic());
}

#[test]
fn what_weighs_nothing_is_in_no_group_unless_nothing_weighs() {
    let spread = Spread::default();
    let weighing = |weights: [u32; 3]| {
        let all = weights.iter().zip(0..);
        let all = all.map(|(weight, port)| found(port, 0, "a", "1", *weight));
        groups(&set(all.collect(), &spread), &[])
    };
    assert_eq!(weighing([1, 0, 2]), [(vec![0, 2], 100.0)]);
    assert_eq!(weighing([0, 0, 0]), [(vec![0, 1, 2], 100.0)]);
}

#[test]
fn tiers_and_health_make_groups() {
    let spread = Spread::default();
    let all = (0..4).map(|port| found(port, u8::from(port > 1), "a", "1", 1));
    let set = set(all.collect(), &spread);
    assert_eq!(groups(&set, &[]), [(vec![0, 1], 100.0), (vec![2, 3], 0.0)]);
    let vitals = |index: usize| &set.endpoints[index].vitals;
    vitals(1).change(|signs| signs.ejected = true);
    let one = again(&set, &spread);
    assert_eq!(groups(&one, &[]), [(vec![0], 70.0), (vec![2, 3], 30.0)]);
    vitals(0).change(|signs| signs.degraded = true);
    let none = again(&set, &spread);
    let wanted = [(vec![0], 0.0), (vec![2, 3], 100.0)];
    assert_eq!(groups(&none, &[]), wanted);
    assert_eq!(none.plan.draw(&[], || 0.5), Some(1));
    for index in 0..4 {
        vitals(index).change(|signs| signs.checks_failed = true);
    }
    let panic = again(&set, &spread);
    assert!(panic.plan.is_in_panic());
    assert_eq!(
        groups(&panic, &[]),
        [(vec![0, 1], 50.0), (vec![2, 3], 50.0)]
    );
    let never = Spread {
        panic_percent: 0,
        ..Spread::default()
    };
    let nobody = again(&set, &never);
    assert_eq!(nobody.plan.draw(&[], || 0.5), None);
}

#[test]
fn who_is_drained_is_no_part_of_the_whole() {
    let spread = Spread::default();
    let all = (0..2).map(|port| found(port, 0, "a", "1", 1)).collect();
    let set = set(all, &spread);
    let drain = |index: usize| {
        let vitals = &set.endpoints[index].vitals;
        vitals.change(|signs| signs.told = Some(crate::balance::health::Told::Drain));
        again(&set, &spread)
    };
    let one = drain(0);
    assert_eq!(groups(&one, &[]), [(vec![1], 100.0)]);
    assert!(!one.plan.is_in_panic());
    assert_eq!(drain(1).plan.draw(&[], || 0.0), None);
}

#[test]
fn who_is_silent_is_with_the_best_and_alone_gets_hardly_anything() {
    let spread = Spread::default();
    let all = (0..4).map(|port| found(port, u8::from(port > 1), "a", "1", 1));
    let set = set(all.collect(), &spread);
    let vitals = |index: usize| &set.endpoints[index].vitals;
    vitals(0).change(|signs| signs.silent = true);
    let one = again(&set, &spread);
    assert_eq!(groups(&one, &[]), [(vec![0, 1], 70.0), (vec![2, 3], 30.0)]);
    vitals(1).change(|signs| signs.silent = true);
    let tier = again(&set, &spread);
    let [(first, little), (second, rest)] = &groups(&tier, &[])[..] else {
        panic!("{:?}", groups(&tier, &[]));
    };
    assert_eq!((first, second), (&vec![0, 1], &vec![2, 3]));
    assert_eq!((*little, *rest), (1.0, 100.0));
    assert_eq!(tier.plan.draw(&[], || 0.5), Some(1));
    assert_eq!(tier.plan.draw(&[], || 0.001), Some(0));
    // Who is degraded is asked before, and with them.
    vitals(1).change(|signs| {
        signs.silent = false;
        signs.degraded = true;
    });
    let degraded = again(&set, &spread);
    assert_eq!(groups(&degraded, &[])[0].0, [0, 1]);
}

#[test]
fn a_zone_of_which_all_are_silent_keeps_hardly_anything() {
    let spread = Spread {
        zone: Some("a".into()),
        ..Spread::default()
    };
    let all = ["a", "a", "b", "b"].iter().zip(0..);
    let all = all.map(|(zone, port)| found(port, 0, zone, "1", 1));
    let set = set(all.collect(), &spread);
    assert_eq!(groups(&set, &[]), [(vec![0, 1], 100.0), (vec![2, 3], 0.0)]);
    for index in [0, 1] {
        let vitals = &set.endpoints[index].vitals;
        vitals.change(|signs| signs.silent = true);
    }
    let silent = groups(&again(&set, &spread), &[]);
    assert_eq!((&silent[0].0, &silent[1].0), (&vec![0, 1], &vec![2, 3]));
    assert!((0.1..5.0).contains(&silent[0].1), "{silent:?}");
    assert!(silent[1].1 > 95.0, "{silent:?}");
}

#[test]
fn zones_make_groups_for_who_is_in_one() {
    let all = || {
        let all = ["a", "b", "b", "b"].iter().zip(0..);
        all.map(|(zone, port)| found(port, 0, zone, "1", 1))
            .collect()
    };
    let own = |zone: &str| {
        let spread = Spread {
            zone: Some(zone.into()),
            ..Spread::default()
        };
        groups(&set(all(), &spread), &[])
    };
    assert_eq!(own("a"), [(vec![0], 50.0), (vec![1, 2, 3], 50.0)]);
    assert_eq!(own("b"), [(vec![0], 0.0), (vec![1, 2, 3], 100.0)]);
    assert_eq!(own("c"), [(vec![0, 1, 2, 3], 100.0)]);
}

#[test]
fn subsets_have_groups_of_their_own() {
    let spread = Spread {
        subsets: Some(Subsets {
            by: vec![vec!["version".into()]],
            fallback: Fallback::None,
        }),
        ..Spread::default()
    };
    let all = ["1", "2", "2"].iter().zip(0..);
    let all = all.map(|(version, port)| found(port, 0, "a", version, 1));
    let set = set(all.collect(), &spread);
    let of = |version: &str| groups(&set, &[("version".into(), version.into())]);
    assert_eq!(groups(&set, &[]), [(vec![0, 1, 2], 100.0)]);
    assert_eq!(of("1"), [(vec![0], 100.0)]);
    assert_eq!(of("2"), [(vec![1, 2], 100.0)]);
    assert_eq!(of("3"), []);
    let nobody = [("version".into(), "3".into())];
    assert_eq!(set.plan.draw(&nobody, || 0.0), None);
}
