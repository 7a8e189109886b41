//! Paths and queries, normalised and checked.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use lockgate::http::path::normalize;
use lockgate_benches::listener;

/// What each is, the path, and what becomes of it.
const PATHS: [(&str, &str, &str); 4] = [
    ("short", "/checkout", "/checkout"),
    (
        "with query",
        "/catalogue/garden/chairs?sort=price&page=2",
        "/catalogue/garden/chairs?sort=price&page=2",
    ),
    (
        // Looked at closely, and left as it is.
        "encoded",
        "/catalogue/caf%C3%A9/men%C3%BC",
        "/catalogue/caf%C3%A9/men%C3%BC",
    ),
    (
        "to change",
        "/catalogue/../%63heckout/./cart?page=2",
        "/checkout/cart?page=2",
    ),
];

fn normalise(criterion: &mut Criterion) {
    let rules = listener().path;
    let mut group = criterion.benchmark_group("path");
    for (name, path, normal) in PATHS {
        assert_eq!(normalize(path, &rules).as_deref(), Ok(normal));
        group.bench_function(name, |bencher| {
            bencher.iter(|| normalize(black_box(path), &rules).is_ok());
        });
    }
    group.finish();
}

criterion_group!(benches, normalise);
criterion_main!(benches);
