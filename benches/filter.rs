//! A call of a filter: what the host itself costs, and what a guest's own calls
//! back to it do.

use criterion::{Criterion, criterion_group, criterion_main};
use lockgate_benches::{Bench, configuration, guest};

/// What `filter-guest` is told, and the fields that it leaves behind.
const CALLS: [(&str, &[&str]); 6] = [
    ("empty", &[]),
    ("two fields", &[]),
    ("get", &[]),
    ("set", &["x-one"]),
    ("set twice", &["x-one", "x-two"]),
    ("both phases", &[]),
];

fn calls(criterion: &mut Criterion) {
    let component = guest::component();
    let mut group = criterion.benchmark_group("filter");
    for (does, leaves) in CALLS {
        let component = component.display();
        let filters = format!("  guest: {{ component: '{component}', config: {does} }}");
        let mut bench = Bench::new(&configuration("guest", &filters));
        bench.exchange();
        let headers = &bench.view().request.headers;
        assert!(leaves.iter().all(|name| headers.contains_key(*name)));
        group.bench_function(does, |bencher| bencher.iter(|| bench.exchange()));
    }
    group.finish();
}

/// What a chain of filters costs, each of which reads two fields and sets one.
fn chain(criterion: &mut Criterion) {
    let component = guest::component();
    let mut group = criterion.benchmark_group("filter/chain of set");
    for length in [1, 2, 5] {
        let names: Vec<_> = (0..length).map(|number| format!("guest{number}")).collect();
        let component = component.display();
        let entry = |name| format!("  {name}: {{ component: '{component}', config: set }}\n");
        let filters: String = names.iter().map(entry).collect();
        let mut bench = Bench::new(&configuration(&names.join(", "), &filters));
        group.bench_function(length.to_string(), |bencher| {
            bencher.iter(|| bench.exchange());
        });
    }
    group.finish();
}

criterion_group!(benches, calls, chain);
criterion_main!(benches);
