//! Picking an endpoint by each policy, of few and of many, and taking over a set of many.

use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fastrand::Rng;
use lockgate::balance::bound::{self, Bound};
use lockgate::balance::choices::{self, load};
use lockgate::balance::maglev::{Maglev, Size};
use lockgate::balance::peak_ewma::{Outcome, Rules, Tally};
use lockgate::balance::ring::{Place, Ring};
use lockgate::balance::stride::{RoundRobin, Schedule};
use lockgate::cluster::{Address, Cluster, EndpointSet};
use lockgate::config;
use lockgate::stats::PerWorker;
use lockgate::upstream::{Sweep, WorkerCluster};

const TWO: NonZeroU8 = NonZeroU8::new(2).expect("it is not zero");

/// Of endpoints every tenth is passed over.
fn is_passed_over(index: usize) -> bool {
    index % 10 == 9
}

fn picks(criterion: &mut Criterion) {
    for count in [2, 20, 10_000] {
        let schedule = Schedule::new(&vec![1; count]);
        let mut rng = Rng::with_seed(7);
        let mut pick = |name: &str, pick: &mut dyn FnMut(&mut Rng) -> Option<usize>| {
            let id = BenchmarkId::new(name, count);
            let mut group = criterion.benchmark_group("balance");
            group.bench_function(id, |bencher| bencher.iter(|| pick(&mut rng)));
        };
        let mut round = RoundRobin::default();
        pick("round_robin", &mut |_| {
            round.pick(&schedule, is_passed_over)
        });
        pick("random", &mut |rng| {
            let cost = |index| (!is_passed_over(index)).then_some(0.0);
            choices::pick(&schedule, NonZeroU8::MIN, rng, cost)
        });
        let mut tallies = vec![Tally::default(); count];
        let (now, rules) = (Duration::from_secs(9), Rules::default());
        for (tally, number) in tallies.iter_mut().zip(0..) {
            let took = Duration::from_micros(number);
            tally.began(Duration::ZERO);
            tally.ended(took, took, Outcome::Answered, &rules);
        }
        pick("least_request", &mut |rng| {
            let cost = |index: usize| {
                let load = load(index as u32 % 7, 1);
                (!is_passed_over(index)).then(|| tallies[index].pressure().cost(now, load, 1.0))
            };
            choices::pick(&schedule, TWO, rng, cost)
        });
        let names: Vec<_> = (0..count)
            .map(|number| format!("10.0.0.1:{number}"))
            .collect();
        let places = names.iter().map(|name| Place { name, weight: 1 });
        let places: Vec<_> = places.collect();
        let (ring, table) = (Ring::new(&places), Maglev::new(&places, Size::MAX));
        let ready = |index: usize| !is_passed_over(index);
        pick("ring_hash", &mut |rng| {
            bound::pick(ring.order(rng.u64(..)), count, ready)
        });
        pick("maglev", &mut |rng| {
            bound::pick(table.order(rng.u64(..)), count, ready)
        });
        let bound = Bound::of_percent(125);
        let has_room =
            |index: usize| ready(index) && bound.has_room(1, 1, 2 * count as u64, count as u64);
        pick("maglev, bounded", &mut |rng| {
            bound::pick(table.order(rng.u64(..)), count, has_room)
        });
        pick("peak_ewma", &mut |rng| {
            let cost = |index: usize| {
                (!is_passed_over(index)).then(|| tallies[index].cost(now, 1, &rules))
            };
            choices::pick(&schedule, TWO, rng, cost)
        });
    }
}

const MANY: u32 = 10_000;

/// What is made anew, aside, where endpoints come or go.
fn tables(criterion: &mut Criterion) {
    let names: Vec<_> = (0..MANY)
        .map(|number| format!("10.0.0.1:{number}"))
        .collect();
    let places = names.iter().map(|name| Place { name, weight: 1 });
    let places: Vec<_> = places.collect();
    let mut group = criterion.benchmark_group("balance tables");
    group.sample_size(10);
    group.bench_function("ring_hash", |bencher| bencher.iter(|| Ring::new(&places)));
    group.bench_function("maglev", |bencher| {
        bencher.iter(|| Maglev::new(&places, Size::MAX));
    });
}

fn cluster() -> Arc<Cluster> {
    let text = "listeners: [{ name: a, address: '127.0.0.1:1', cluster: a }]\n\
                clusters: [{ name: a, endpoints: ['127.0.0.1:2'] }]\n";
    let loaded = config::load_text(text, "lockgate.yaml", &|_| None);
    let config = loaded
        .expect("a good configuration")
        .config
        .clusters
        .remove(0);
    Cluster::new(config, None, Arc::new(PerWorker::new(1, Default::default)))
}

fn addresses(first: u32) -> impl Iterator<Item = (Address, u32)> {
    (first..first + MANY).map(|number| {
        let [_, b, c, d] = number.to_be_bytes();
        (Address::Socket(SocketAddr::from(([10, b, c, d], 80))), 1)
    })
}

/// A tenth of the endpoints is replaced.
fn updates(criterion: &mut Criterion) {
    let round_robin = config::Balance::RoundRobin;
    let spread = config::Spread::default();
    let made = |first, before: &EndpointSet| {
        EndpointSet::new(addresses(first), before, &round_robin, &spread)
    };
    let first = made(0, &EndpointSet::default());
    let mut group = criterion.benchmark_group("balance update");
    group.bench_function("the set", |bencher| {
        bencher.iter(|| made(MANY / 10, &first));
    });
    group.bench_function("the plan, one of them ejected", |bencher| {
        let vitals = &first.endpoints[7].vitals;
        vitals.change(|signs| signs.ejected = true);
        bencher.iter(|| first.again(&round_robin, &spread));
        vitals.change(|signs| signs.ejected = false);
    });
    let second = Arc::new(made(MANY / 10, &first));
    let first = Arc::new(first);
    let cluster = cluster();
    cluster.endpoints.store(first.clone());
    let worker = WorkerCluster::carry(&cluster, None, 0);
    group.bench_function("a worker", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut took = Duration::ZERO;
            for _ in 0..rounds {
                for set in [&second, &first] {
                    cluster.endpoints.store(Arc::clone(set));
                    let start = Instant::now();
                    worker.sweep(start.into(), Sweep::Old);
                    took += start.elapsed() / 2;
                }
            }
            took
        });
    });
}

criterion_group!(benches, picks, tables, updates);
criterion_main!(benches);
