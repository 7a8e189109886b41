use super::*;
use crate::cluster::{Address, EndpointSet};

struct Given {
    set: EndpointSet,
    active: Vec<u32>,
    passed_over: Vec<usize>,
}

impl Given {
    fn weights(weights: &[u32]) -> Self {
        let addresses = (1..)
            .zip(weights)
            .map(|(port, weight)| (Address::Socket(([127, 0, 0, 1], port).into()), *weight));
        Self {
            set: EndpointSet::new(addresses, &EndpointSet::empty()),
            active: vec![0; weights.len()],
            passed_over: Vec::new(),
        }
    }
}

impl Candidates for Given {
    fn count(&self) -> usize {
        self.set.endpoints.len()
    }
    fn schedule(&self) -> &[u32] {
        &self.set.schedule
    }
    fn weight(&self, index: usize) -> u32 {
        self.set.endpoints[index].weight
    }
    fn active(&self, index: usize) -> u32 {
        self.active[index]
    }
    fn is_passed_over(&self, index: usize) -> bool {
        self.passed_over.contains(&index)
    }
}

const ALL: [Balance; 3] = [Balance::RoundRobin, Balance::LeastRequest, Balance::Random];

const PICKS: u32 = 100_000;

/// The share of each endpoint in many picks. The same seed every time.
fn shares(balance: Balance, given: &Given) -> Vec<f64> {
    let mut rng = Rng::with_seed(7);
    let mut balancer = Balancer::new(balance, &mut rng);
    let mut counts = vec![0_u32; given.count()];
    for _ in 0..PICKS {
        counts[balancer.pick(given, &mut rng).unwrap()] += 1;
    }
    let share = |count| f64::from(count) / f64::from(PICKS);
    counts.into_iter().map(share).collect()
}

fn check(balance: Balance, given: &Given, wanted: &[f64]) {
    let found = shares(balance, given);
    let near = |(a, b): (&f64, &f64)| (a - b).abs() < 0.01;
    assert!(
        std::iter::zip(&found, wanted).all(near),
        "{balance:?}: {found:?}, not {wanted:?}"
    );
}

#[test]
fn weights_are_honoured_within_one_percent() {
    for balance in ALL {
        check(balance, &Given::weights(&[3, 1]), &[0.75, 0.25]);
        check(balance, &Given::weights(&[1, 1, 1, 1]), &[0.25; 4]);
        check(balance, &Given::weights(&[8]), &[1.0]);
    }
    check(
        Balance::Random,
        &Given::weights(&[6, 3, 1]),
        &[0.6, 0.3, 0.1],
    );
    check(
        Balance::RoundRobin,
        &Given::weights(&[6, 3, 1]),
        &[0.6, 0.3, 0.1],
    );
}

#[test]
fn round_robin_is_even_and_not_only_fair_in_the_end() {
    let given = Given::weights(&[2, 1]);
    let mut round = Balancer::RoundRobin(RoundRobin::starting_at(u32::MAX));
    let mut rng = Rng::with_seed(1);
    let picks: Vec<_> = (0..9)
        .map(|_| round.pick(&given, &mut rng).unwrap())
        .collect();
    for three in picks.windows(3) {
        assert_eq!(
            three.iter().filter(|index| **index == 1).count(),
            1,
            "{picks:?}"
        );
    }
}

#[test]
fn no_endpoint_no_pick() {
    for balance in ALL {
        let mut rng = Rng::with_seed(1);
        let mut balancer = Balancer::new(balance, &mut rng);
        assert_eq!(balancer.pick(&Given::weights(&[]), &mut rng), None);
    }
}

#[test]
fn who_refused_is_passed_over() {
    for balance in ALL {
        let mut given = Given::weights(&[3, 1, 2]);
        given.passed_over = vec![0];
        assert_eq!(shares(balance, &given)[0], 0.0, "{balance:?}");
        given.passed_over = vec![0, 2];
        check(balance, &given, &[0.0, 1.0, 0.0]);
    }
}

#[test]
fn one_ready_endpoint_is_found_behind_a_heavy_one() {
    for balance in ALL {
        let mut given = Given::weights(&[60_000, 1, 1]);
        given.passed_over = vec![0, 1];
        check(balance, &given, &[0.0, 0.0, 1.0]);
    }
}

#[test]
fn where_all_refused_any_is_tried() {
    for balance in ALL {
        let mut given = Given::weights(&[1, 1]);
        given.passed_over = vec![0, 1];
        check(balance, &given, &[0.5, 0.5]);
    }
}

#[test]
fn least_request_prefers_the_less_busy() {
    let mut given = Given::weights(&[1, 1]);
    given.active = vec![5, 1];
    // Taken only where every further draw was the busy one again.
    let found = shares(Balance::LeastRequest, &given);
    assert!(found[0] < 0.07, "{found:?}");
    // Busy for its weight, not by the bare number.
    let mut given = Given::weights(&[10, 1]);
    given.active = vec![9, 1];
    assert!(shares(Balance::LeastRequest, &given)[0] > 0.9);
}

#[test]
fn least_request_levels_out_uneven_endpoints() {
    // Ten endpoints, requests of the first last ten times as long.
    let mut given = Given::weights(&[1; 10]);
    let mut rng = Rng::with_seed(3);
    let mut balancer = Balancer::new(Balance::LeastRequest, &mut rng);
    let mut ends: Vec<(u32, usize)> = Vec::new();
    let mut most = 0;
    for step in 0..20_000 {
        ends.retain(|(end, index)| {
            let running = *end > step;
            given.active[*index] -= u32::from(!running);
            running
        });
        let index = balancer.pick(&given, &mut rng).unwrap();
        given.active[index] += 1;
        most = most.max(given.active[0]);
        ends.push((step + if index == 0 { 200 } else { 20 }, index));
    }
    // By turns it would hold 20 at a time.
    assert!(most <= 12, "{most}");
}
