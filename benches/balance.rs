//! Picking an endpoint by each policy, of few and of many.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fastrand::Rng;
use lockgate::config::Balance;
use lockgate::upstream::balance::{Balancer, Candidates};

/// Endpoints of one weight, of which every tenth is passed over.
struct Endpoints {
    schedule: Vec<u32>,
}

impl Endpoints {
    fn new(count: u32) -> Self {
        Self {
            schedule: (0..count).collect(),
        }
    }
}

impl Candidates for Endpoints {
    fn count(&self) -> usize {
        self.schedule.len()
    }

    fn schedule(&self) -> &[u32] {
        &self.schedule
    }

    fn weight(&self, _: usize) -> u32 {
        1
    }

    fn active(&self, index: usize) -> u32 {
        index as u32 % 7
    }

    fn is_passed_over(&self, index: usize) -> bool {
        index % 10 == 9
    }
}

fn balance(criterion: &mut Criterion) {
    for (name, policy) in [
        ("round_robin", Balance::RoundRobin),
        ("least_request", Balance::LeastRequest),
        ("random", Balance::Random),
    ] {
        let mut group = criterion.benchmark_group(format!("balance {name}"));
        for count in [2, 20, 10_000] {
            let endpoints = Endpoints::new(count);
            let mut rng = Rng::with_seed(7);
            let mut balancer = Balancer::new(policy, &mut rng);
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter(|| balancer.pick(&endpoints, &mut rng));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, balance);
criterion_main!(benches);
