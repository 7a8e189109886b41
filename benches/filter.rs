//! A call of a filter: what the host itself costs, and what a guest's own calls
//! back to it do.

use criterion::{Criterion, criterion_group, criterion_main};
use lockgate::filter::Collected;
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

/// Calls that are more than a call: with a fiber, with shared state, with a body, in
/// an instance that is new.
fn more(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("filter/more");
    for (name, feature, entry) in [
        (
            "imports calls",
            "calls",
            "config: empty, grants: { call: [origin] }",
        ),
        (
            "shared add",
            "shared",
            "config: add, grants: { shared: true }",
        ),
        ("fresh instance", "", "config: empty, isolation: request"),
        ("replaced instance", "", "config: trap, on_error: skip"),
    ] {
        let component = guest::component_with(feature);
        let filters = format!(
            "  guest: {{ component: '{}', {entry} }}",
            component.display()
        );
        let mut bench = Bench::new(&configuration("guest", &filters));
        group.bench_function(name, |bencher| bencher.iter(|| bench.exchange()));
    }
    let component = guest::component();
    let of = |does: &str| {
        let filters = format!(
            "  guest: {{ component: '{}', config: {does} }}",
            component.display()
        );
        Bench::new(&configuration("guest", &filters))
    };
    let (mut bench, mut body) = (of("buffer"), Collected::default());
    body.bytes = vec![b'x'; 64 << 10];
    body.is_complete = true;
    group.bench_function("buffer 64 KiB", |bencher| {
        bencher.iter(|| bench.collected(&mut body));
    });
    let (mut bench, piece) = (of("transform"), vec![b'x'; 64 << 10]);
    group.bench_function("transform 1 MiB", |bencher| {
        bencher.iter(|| bench.transformed(&piece, 16));
    });
    group.finish();
}

criterion_group!(benches, calls, chain, more);
criterion_main!(benches);
