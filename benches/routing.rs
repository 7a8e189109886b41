//! `lockgate:router` in the real host, with few routes and with many.

use std::fmt::Write;

use criterion::{Criterion, criterion_group, criterion_main};
use lockgate_benches::{Bench, configuration};

/// So many routes on one host, each for one path.
fn routes(count: usize) -> String {
    let mut text =
        String::from("  router:\n    component: lockgate:router\n    config:\n      routes:\n");
    for number in 0..count {
        let path = path(number);
        writeln!(
            text,
            "        - {{ name: r{number}, match: {{ host: shop.example.com, path: {path} }}, cluster: origin }}"
        )
        .expect("writing to a string does not fail");
    }
    text
}

fn path(number: usize) -> String {
    format!("/catalogue/item-{number}/details")
}

fn routing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("routing");
    for count in [10, 10_000] {
        let mut bench = Bench::new(&configuration("router", &routes(count)));
        for (which, number) in [("first", 0), ("last", count - 1)] {
            bench.view().request.path = path(number).parse().expect("a good path");
            bench.exchange();
            let route = bench.view().decisions.route.as_deref();
            assert_eq!(route, Some(format!("r{number}").as_str()));
            group.bench_function(format!("{count} paths, {which}"), |bencher| {
                bencher.iter(|| bench.exchange());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, routing);
criterion_main!(benches);
