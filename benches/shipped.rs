//! The other shipped filters, and all four as a chain.

use criterion::{Criterion, criterion_group, criterion_main};
use lockgate_benches::{Bench, configuration};

const ROUTER: &str = "
  router:
    component: lockgate:router
    config: { routes: [ { name: shop, match: { path_prefix: /catalogue }, cluster: origin } ] }";
const AUTH: &str = "
  auth:
    component: lockgate:auth
    config: { api_keys: [ { name: garden, key: correct-horse-battery-staple } ] }";
/// So rarely that it does not happen here. At 0 nothing would be drawn at all.
const MIRROR: &str = "
  mirror:
    component: lockgate:mirror
    config: { cluster: origin, percent: 0.000000001 }";
const FAULT: &str = "
  fault:
    component: lockgate:fault
    config: { abort: { status: 503, percent: 0.000000001 } }";

fn shipped(criterion: &mut Criterion) {
    let all = [ROUTER, AUTH, MIRROR, FAULT].concat();
    let mut group = criterion.benchmark_group("shipped");
    for (name, chain, filters) in [
        ("router", "router", ROUTER),
        ("auth by api key", "auth", AUTH),
        ("mirror not drawn", "mirror", MIRROR),
        ("fault not drawn", "fault", FAULT),
        ("all four", "router, auth, mirror, fault", all.as_str()),
    ] {
        let mut bench = Bench::new(&configuration(chain, filters));
        bench.exchange();
        assert!(bench.view().decisions.mirrors.is_empty());
        group.bench_function(name, |bencher| bencher.iter(|| bench.exchange()));
    }
    group.finish();
}

criterion_group!(benches, shipped);
criterion_main!(benches);
