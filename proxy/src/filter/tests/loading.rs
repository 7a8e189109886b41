//! Configurations that are refused when a filter is built.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use super::*;
use crate::filter::loaded::Refused;
use crate::filter::pool::{Lease, Room, WorkerFilter};

#[test]
fn mistakes_are_told_with_their_place() {
    check(
        json!({ "create": ["error not like this"] }),
        "/filters/guest/config",
        "/create",
        "not like this",
    );
    check(
        json!({ "unknown": 1 }),
        "/filters/guest/config",
        "",
        "unknown field `unknown`",
    );
    check(
        json!({ "create": ["trap"] }),
        "/filters/guest/config",
        "",
        "`create` failed: trap: wasm trap: wasm `unreachable` instruction executed",
    );
    check(
        json!({ "create": ["loop"] }),
        "/filters/guest/config",
        "",
        "`create` failed: overrun: ",
    );
    check(
        json!({ "create": ["allocate"] }),
        "/filters/guest/config",
        "",
        "`create` failed: memory: ",
    );
    check(
        json!({ "create": ["read.line"] }),
        "/filters/guest/config",
        "",
        "there is no exchange in `describe`, `create` and `wants`",
    );
    check(
        json!({ "wants": { "steps": ["loop"] } }),
        "/filters/guest/config",
        "",
        "`wants` failed: overrun: ",
    );
    check(
        json!({ "wants": { "steps": ["trap"] } }),
        "/filters/guest/config",
        "",
        "`wants` failed: trap: ",
    );
    check(
        json!({ "wants": { "request_fields": ["a b"] } }),
        "/filters/guest/config",
        "",
        "wants the field `a b`, which is no name of a field",
    );
}

fn check(config: Value, pointer: &str, at: &str, message: &str) {
    let mistakes = build(&entry("guest", config.clone()))
        .err()
        .expect("refused");
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert_eq!(
        (&*mistakes[0].pointer, &*mistakes[0].at),
        (pointer, at),
        "{config}"
    );
    assert!(mistakes[0].message.contains(message), "{mistakes:?}");
}

#[test]
fn every_configuration_is_checked() {
    let bad = json!({ "create": ["error bad"] });
    let mut filter = entry("guest", bad.clone());
    let route = |name: &str, value: Value| {
        let pointer = format!("/filters/guest/routes/{name}/config");
        (
            name.into(),
            RouteConfig::Config(configured(value, &pointer)),
        )
    };
    filter.routes = vec![
        route("good", json!({})),
        route("worse", json!({ "create": ["error worse"] })),
        route("same", bad),
    ];
    let mistakes = build(&filter).err().expect("refused");
    let places: Vec<_> = mistakes
        .iter()
        .map(|mistake| mistake.pointer.as_str())
        .collect();
    assert_eq!(
        places,
        [
            "/filters/guest/config",
            "/filters/guest/routes/worse/config"
        ]
    );
}

#[test]
fn declarations_come_back() {
    let config = json!({
        "wants": { "phases": ["response", "done"], "clusters": ["b", "a"], "routes": ["r"] },
    });
    let loaded = build(&entry("guest", config)).unwrap();
    let interest = &loaded.configs()[0].interest;
    let names: Vec<&str> = interest.clusters.iter().map(|name| &**name).collect();
    assert_eq!(names, ["a", "b"]);
    let names: Vec<&str> = interest.routes.iter().map(|name| &**name).collect();
    assert_eq!(names, ["r"]);
    let wanted = Phases {
        response: true,
        done: true,
        ..Phases::default()
    };
    assert_eq!(interest.phases, wanted);
}

#[test]
fn names_that_facts_begin_with_are_reserved() {
    let mistakes = build(&entry("route", json!({}))).err().expect("refused");
    assert_eq!(mistakes[0].pointer, "/filters/route");
    assert_eq!(
        mistakes[0].message,
        "`route` is reserved and cannot be a filter's name"
    );
}

#[test]
fn identity_follows_what_matters() {
    let identity = |filter: &Filter| build(filter).unwrap().identity().to_owned();
    let filter = entry("guest", json!({}));
    assert_eq!(identity(&filter), identity(&filter.clone()));
    let mut other = filter.clone();
    other.config.value = json!({ "request": ["leave"] });
    assert_ne!(identity(&filter), identity(&other));
    let mut other = filter.clone();
    other.limits.cpu *= 2;
    assert_ne!(identity(&filter), identity(&other));
    let mut other = filter.clone();
    other.on_error = OnError::Skip;
    assert_ne!(identity(&filter), identity(&other));
}

#[test]
fn a_module_tells_about_itself() {
    let module = module();
    assert_eq!(module.manifest().name, "guest");
    assert_eq!(
        module.manifest().config_schema,
        Some(json!({ "type": "object" }))
    );
    assert!(module.digest().starts_with("sha256:"));
    assert_eq!(module.size(), guests::component().len());
    assert!(
        module
            .imports()
            .contains(&"lockgate:filter/request@0.1.0".to_owned())
    );
    assert_eq!(module.exports(), ["lockgate:filter/http-filter@0.1.0"]);
    let again = engine()
        .load(
            Digest::of(guests::component()),
            guests::component(),
            Pace::Full,
        )
        .unwrap();
    assert!(Arc::ptr_eq(&module, &again));
}

/// A filter on so many workers, by an engine that has so many instances.
fn build_with(max_instances: u32, workers: usize) -> Result<Arc<LoadedFilter>, Refused> {
    let options = EngineOptions {
        max_instances,
        ..EngineOptions::default()
    };
    let engine = FilterEngine::start(options).unwrap();
    let component = guests::component();
    let module = engine.load(Digest::of(component), component, Pace::Full);
    let filter = entry("guest", json!({}));
    LoadedFilter::build(
        module.unwrap(),
        filter.clone(),
        &filter,
        Arc::new(PerWorker::new(workers, FilterStats::default)),
        Arc::new(GuestMetrics::new(workers, 1)),
        Granted::default(),
        workers,
    )
}

#[test]
fn a_filter_waits_for_its_own_when_the_engine_has_no_instances_left() {
    let loaded = build_with(1, 1);
    let on_worker = WorkerFilter::new(loaded.unwrap_or_else(|_| panic!("refused")), 0);
    on_worker.warm();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let first = on_worker.lease(0, Room::Limited).await.unwrap();
        let mut second = pin!(on_worker.lease(0, Room::Limited));
        let waits = poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending()));
        assert!(waits.await);
        first.finish();
        assert!(second.await.is_ok());
    });
}

#[test]
fn more_instances_than_the_engine_has_are_refused() {
    let refused = build_with(1, 2);
    let mistakes = refused.err().expect("refused").errors;
    assert_eq!(mistakes[0].pointer, "/filters/guest");
    assert!(
        mistakes[0].message.starts_with("no-instance: "),
        "{mistakes:?}"
    );
}

#[test]
fn where_create_is_slow_a_spare_is_ready() {
    let slow = json!({ "create": ["busy 3000000"], "request": ["trap"], "wants": { "phases": ["request"] } });
    let mut bench = Bench::new(&[entry("guest", slow)]);
    let loaded = bench.filters[0].loaded().clone();
    assert!(loaded.is_slow());
    failure(bench.on_request());
    bench.again();
    // The spare serves this one, and its own replacement is made elsewhere.
    failure(bench.on_request());
    let deadline = Instant::now() + Duration::from_secs(30);
    let refilled = std::iter::repeat_with(|| loaded.take()).any(|spare| {
        assert!(Instant::now() < deadline, "no spare was made");
        std::thread::yield_now();
        spare.is_some_and(|spare| spare.has(0))
    });
    assert!(refilled);
}

/// Neighbours would wait for as long as `create` takes.
#[test]
fn where_create_is_heavy_no_worker_makes_instances() {
    let heavy = json!({ "create": ["busy 20000000"] });
    let filter = WorkerFilter::new(build(&entry("guest", heavy)).unwrap(), 0);
    assert!(filter.loaded().is_heavy());
    // The one for this worker, and the spare.
    let first = filter.lease_now(0, Room::Limited).unwrap();
    let second = filter.lease_now(0, Room::Limited).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        // Others are made elsewhere, for who can wait.
        let third = filter.lease(0, Room::Limited).await.unwrap();
        let fourth = filter.lease(0, Room::Limited).await.unwrap();
        [third, fourth].into_iter().for_each(Lease::finish);
    });
    [first, second].into_iter().for_each(Lease::finish);
    let light = WorkerFilter::new(build(&entry("guest", json!({}))).unwrap(), 0);
    assert!(!light.loaded().is_heavy());
}

#[test]
fn an_instance_in_advance_is_none_too_many() {
    let mut one = entry("guest", json!({}));
    one.limits.max_instances = 1;
    let filter = WorkerFilter::new(build(&one).unwrap(), 0);
    // Not the one that is ready: there was no time to take it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let lease = runtime.block_on(filter.lease(0, Room::Limited)).unwrap();
    filter.warm();
    assert_eq!(filter.stats().instances_made.get(), 1);
    lease.finish();
}
