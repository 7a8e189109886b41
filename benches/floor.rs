//! What wasmtime itself costs: the same call of the same component as `filter/empty`,
//! with nothing of Lockgate around it. No call of a filter can cost less.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use lockgate_benches::guest;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};

wasmtime::component::bindgen!({ path: "../wit", world: "filter" });

fn floor(criterion: &mut Criterion) {
    let mut config = Config::new();
    config.concurrency_support(false).epoch_interruption(true);
    let engine = Engine::new(&config).expect("the engine starts");
    let component = Component::from_file(&engine, guest::component()).expect("it compiles");
    let mut linker = Linker::<()>::new(&engine);
    linker
        .define_unknown_imports_as_traps(&component)
        .expect("nothing else is defined");
    let mut store = Store::new(&engine, ());
    store.set_epoch_deadline(1);
    let filter = Filter::instantiate(&mut store, &component, &linker).expect("it starts");
    let guest = filter.lockgate_filter_http_filter().filter();
    let created = guest.call_create(&mut store, "\"empty\"");
    let created = created.expect("it runs").expect("it is a configuration");
    for (name, fields) in [("empty", vec![]), ("64 bytes", vec![0; 64])] {
        criterion.bench_function(&format!("floor/{name}"), |bencher| {
            bencher.iter(|| {
                let verdict = guest.call_on_request(&mut store, created, black_box(&fields));
                verdict.expect("it runs").expect("it takes no offence")
            });
        });
    }
}

criterion_group!(benches, floor);
criterion_main!(benches);
