use lockgate_sdk::testing::{self, Harness, Outcome};
use serde_json::{Value, json};

use super::*;

#[test]
fn a_fixed_delay() {
    let outcome = inject(json!({ "delay": { "fixed": "250ms" } }), get("/"));
    assert!(outcome.is_next());
    assert_eq!(outcome.delay, Duration::from_millis(250));
    assert_eq!(outcome.attribute("delay"), Some("250ms"));
}

#[test]
fn a_delay_between_two_lengths() {
    let config = json!({ "delay": { "min": "10ms", "max": "20ms" } });
    let mut harness = Harness::<Fault>::new(config).unwrap();
    let range = Duration::from_millis(10)..Duration::from_millis(20);
    let delays: Vec<_> = (0..100).map(|_| harness.request(get("/")).delay).collect();
    assert!(delays.iter().all(|delay| range.contains(delay)));
    assert!(delays.iter().any(|delay| *delay != delays[0]));
}

#[test]
fn aborts() {
    let abort = |abort| inject(json!({ "abort": abort }), get("/"));
    let outcome = abort(json!({ "status": 503, "body": "later" }));
    assert_eq!(outcome.reply(), &Reply::text(503, "later"));
    assert_eq!(outcome.attribute("abort"), Some("503"));
    assert_eq!(
        abort(json!({ "status": 500 })).reply().body,
        b"fault injected\n"
    );

    let outcome = abort(json!({ "grpc_status": 14 }));
    assert_eq!(outcome.reply().status, 200);
    let status = ("grpc-status".to_owned(), b"14".to_vec());
    assert!(outcome.reply().headers.contains(&status));

    assert_eq!(abort(json!({ "reset": true })).verdict, Ok(Verdict::Reset));
}

#[test]
fn a_delay_and_an_abort_together() {
    let config = json!({ "delay": { "fixed": "1s" }, "abort": { "status": 503 } });
    let outcome = inject(config, get("/"));
    assert_eq!(outcome.delay, Duration::from_secs(1));
    assert_eq!(outcome.reply().status, 503);
}

#[test]
fn what_does_not_match_is_left_alone() {
    let config = json!({ "match": { "path_prefix": "/pay" }, "abort": { "status": 503 } });
    assert!(inject(config.clone(), get("/")).is_next());
    assert_eq!(inject(config, get("/pay")).reply().status, 503);
}

#[test]
fn one_in_ten_is_drawn() {
    for seed in [Value::Null, json!(42)] {
        let config = json!({ "seed": seed, "abort": { "status": 503, "percent": 10 } });
        let mut harness = Harness::<Fault>::new(config).unwrap();
        let hits = (0..100_000)
            .filter(|number| !harness.request(with_id(*number)).is_next())
            .count();
        assert!((9_500..=10_500).contains(&hits), "seed {seed}: {hits}");
        assert_eq!(
            harness.metric("injected_total", &["abort"]),
            Some(hits as f64)
        );
    }
}

#[test]
fn with_a_seed_a_draw_repeats() {
    let hits = |seed: u64| -> Vec<bool> {
        let config = json!({ "seed": seed, "abort": { "status": 503, "percent": 50 } });
        let mut harness = Harness::<Fault>::new(config).unwrap();
        harness.set_seed(seed.wrapping_mul(3));
        let hit = |number| !harness.request(with_id(number)).is_next();
        (0..1_000).map(hit).collect()
    };
    assert_eq!(hits(1), hits(1));
    assert_ne!(hits(1), hits(2));
}

#[test]
fn a_request_may_ask_up_to_a_maximum() {
    let config = json!({ "headers": { "max_delay": "2s", "abort": true } });
    let ask = |name, value| inject(config.clone(), get("/").header(name, value));
    assert_eq!(ask(ask::DELAY, "1s").delay, Duration::from_secs(1));
    assert_eq!(ask(ask::DELAY, "1h").delay, Duration::from_secs(2));
    assert_eq!(ask(ask::ABORT, "503").reply().status, 503);
    assert_eq!(ask(ask::ABORT, "reset").verdict, Ok(Verdict::Reset));

    let outcome = ask(ask::DELAY, "soon");
    assert_eq!(outcome.delay, Duration::ZERO);
    assert_eq!(outcome.logs.len(), 1);
}

#[test]
fn a_request_may_not_ask_for_what_is_not_allowed() {
    let asking = || get("/").header(ask::DELAY, "1s").header(ask::ABORT, "503");
    let outcome = inject(
        json!({ "delay": { "fixed": "1s", "percent": 0 } }),
        asking(),
    );
    assert!(outcome.is_next());
    assert_eq!(outcome.delay, Duration::ZERO);

    let outcome = inject(json!({ "headers": { "max_delay": "5s" } }), asking());
    assert!(outcome.is_next());
    assert_eq!(outcome.delay, Duration::from_secs(1));

    let none = json!({ "headers": { "max_delay": "5s", "abort": true, "percent": 0 } });
    let outcome = inject(none, asking());
    assert!(outcome.is_next());
    assert_eq!(outcome.delay, Duration::ZERO);
}

#[test]
fn what_is_asked_for_takes_the_place_of_what_is_configured() {
    let config = json!({ "delay": { "fixed": "1s" }, "headers": { "max_delay": "5s" } });
    let outcome = inject(config, get("/").header(ask::DELAY, "3s"));
    assert_eq!(outcome.delay, Duration::from_secs(3));
}

#[test]
fn only_what_is_looked_at_is_asked_for() {
    let wants = |config| Harness::<Fault>::new(config).unwrap().wants().clone();
    assert_eq!(
        wants(json!({ "abort": { "reset": true } })),
        Wants::request()
    );
    assert_eq!(
        wants(json!({ "match": { "method": "GET" }, "headers": { "max_delay": "1s" } })),
        Wants::request().request_fields([":method", ask::DELAY])
    );
}

#[test]
fn mistakes() {
    check_mistake(json!({}), &[""]);
    check_mistake(json!({ "delay": {} }), &["/delay"]);
    check_mistake(
        json!({ "delay": { "fixed": "1s", "min": "1s" } }),
        &["/delay"],
    );
    check_mistake(json!({ "delay": { "min": "1s" } }), &["/delay"]);
    check_mistake(
        json!({ "delay": { "min": "2s", "max": "1s" } }),
        &["/delay/min"],
    );
    check_mistake(json!({ "delay": { "fixed": "1" } }), &["/delay/fixed"]);
    check_mistake(json!({ "abort": {} }), &["/abort"]);
    check_mistake(
        json!({ "abort": { "status": 503, "reset": true } }),
        &["/abort"],
    );
    check_mistake(json!({ "abort": { "status": 199 } }), &["/abort/status"]);
    check_mistake(
        json!({ "abort": { "grpc_status": 17 } }),
        &["/abort/grpc_status"],
    );
    check_mistake(
        json!({ "abort": { "reset": true, "body": "" } }),
        &["/abort/body"],
    );
    check_mistake(json!({ "headers": {} }), &["/headers"]);
    check_mistake(json!({ "nothing": 1 }), &["/nothing"]);
    check_mistake(
        json!({
            "match": { "path": "x" },
            "delay": { "fixed": "1s", "percent": 101 },
            "abort": { "status": 503, "percent": -1 },
        }),
        &["/delay/percent", "/abort/percent", "/match/path"],
    );
}

#[test]
fn every_key_is_documented() {
    let readme = include_str!("../README.md");
    assert!(testing::undocumented_keys::<Config>(readme).is_empty());
    assert!(testing::undescribed_keys::<Config>().is_empty());
}

fn check_mistake(config: Value, wanted: &[&str]) {
    let shown = config.to_string();
    let errors = Harness::<Fault>::new(config).err().expect("a mistake");
    let places: Vec<_> = errors.iter().map(|error| error.at.as_str()).collect();
    assert_eq!(places, wanted, "{shown}: {errors}");
}

fn inject(config: Value, exchange: testing::Exchange) -> Outcome {
    Harness::<Fault>::new(config).unwrap().request(exchange)
}

fn get(path: &str) -> testing::Exchange {
    testing::Exchange::get(path)
}

fn with_id(number: u64) -> testing::Exchange {
    get("/").attribute("request.id", &format!("{number:032x}"))
}
