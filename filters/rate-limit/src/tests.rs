use std::cell::Cell;

use lockgate_sdk::prelude::*;
use lockgate_sdk::shared;
use lockgate_sdk::testing::{self, Harness, Outcome};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Value, json};

use crate::config::Config;
use crate::filter::RateLimit;
use crate::gcra;

const START: Duration = Duration::from_secs(1_767_225_600);
const DAY: Duration = Duration::from_secs(86_400);
const README: &str = include_str!("../README.md");

#[test]
fn a_burst_passes_and_then_the_rate() {
    let mut harness = harness(json!({ "limits": [client(1, 3)] }));
    assert_eq!(passes(&mut harness, 5), 3);
    harness.set_now(START + Duration::from_millis(1_999));
    assert_eq!(passes(&mut harness, 5), 1);
    harness.set_now(START + DAY);
    assert_eq!(passes(&mut harness, 5), 3);
    assert_eq!(harness.metric("refused_total", &["client"]), Some(8.0));
}

#[test]
fn without_a_burst_it_is_the_rate() {
    let limit = |rate: u64| self::limit("client", json!({ "by": "address" }), rate, "day");
    for (rate, wanted) in [(5, 5), (1_000, 1_000), (2_000, 1_000)] {
        let mut harness = harness(json!({ "limits": [limit(rate)] }));
        assert_eq!(passes(&mut harness, 2_001), wanted);
    }
}

#[test]
fn what_is_counted_apart() {
    // What both have in common, and then where each differs.
    let get = || testing::Exchange::get("/").client("192.0.2.1");
    let by_address = json!({ "by": "address" });
    check_apart(&by_address, get(), get().client("192.0.2.2"));
    check_together(&by_address, get(), get().client("::ffff:192.0.2.1"));
    let six = |end: &str| get().client(&format!("2001:db8:0:1:{end}"));
    check_together(&by_address, six("a::1"), six("b::2"));
    check_apart(&by_address, six("a::1"), get().client("2001:db8:0:2::1"));
    let narrow = json!({ "by": "address", "ipv6_prefix": 128 });
    check_apart(&narrow, six("a::1"), six("a::2"));

    let by_header = json!({ "header": "X-Key" });
    let key = |key: &str| get().header("x-key", key);
    check_apart(&by_header, key("a"), key("b"));
    check_together(&by_header, key("a"), key("a").client("192.0.2.9"));
    check_together(&by_header, key("a"), key("a").header("x-key", "b"));
    let long = |end: &str| key(&("k".repeat(5_000) + end));
    check_apart(&by_header, long("a"), long("b"));
    check_together(&by_header, long("a"), long("a"));

    let who = |name: &str| get().attribute("auth.subject", name);
    let by_attribute = json!({ "attribute": "auth.subject" });
    check_apart(&by_attribute, who("ann"), who("bob"));
    let route = |name: &str| get().attribute("route.name", name);
    check_apart(&json!({ "by": "route" }), route("a"), route("b"));
    check_together(&json!({ "by": "global" }), get(), get().client("192.0.2.2"));

    let both = json!({ "by": ["route", "address"], "header": "x-key" });
    let all = |name: &str, key: &str| route(name).header("x-key", key);
    check_together(&both, all("a", "1"), all("a", "1"));
    check_apart(&both, all("a", "1"), all("b", "1"));
    check_apart(&both, all("a", "1"), all("a", "2"));
    check_apart(&both, all("a", "1"), all("a", "1").client("192.0.2.2"));
    // The end of one is not taken for the beginning of the next.
    let pair = json!({ "header": "x-a", "attribute": "b" });
    let split = |a: &str, b: &str| get().header("x-a", a).attribute("b", b);
    check_apart(&pair, split("1", "2:3"), split("1:2", "3"));
}

#[test]
fn a_client_cannot_take_much_of_the_store() {
    let limit = limit("n", json!({ "header": "x-key" }), 1, "day");
    let mut harness = harness(json!({ "limits": [limit] }));
    harness.set_largest_entry(150);
    let outcome = harness.request(get().header("x-key", "k".repeat(60_000)));
    assert!(outcome.is_next());
    assert_eq!(outcome.attribute("undecided"), None);
}

#[test]
fn a_request_without_the_key() {
    for key in [
        json!({ "header": "x-key" }),
        json!({ "attribute": "auth.subject" }),
        json!({ "by": "route" }),
        json!({ "by": "address", "header": "x-key" }),
    ] {
        let limit = |missing: &str| {
            let mut limit = limit("n", key.clone(), 1, "day");
            limit["missing"] = missing.into();
            limit
        };
        let mut skipping = harness(json!({ "limits": [limit("skip")] }));
        assert_eq!(passes(&mut skipping, 3), 3);
        let outcome = skipping.request(get().header("x-key", ""));
        assert_eq!(outcome.verdict, Ok(Verdict::Leave));

        let mut denying = harness(json!({ "limits": [limit("deny")] }));
        let outcome = denying.request(get());
        assert_eq!(outcome.reply().status, 403);
        assert_eq!(outcome.attribute("refused"), Some("n"));
    }
}

#[test]
fn only_what_matches_is_counted() {
    let limit = json!({
        "name": "n", "key": { "by": "address" }, "rate": 1, "per": "day",
        "match": { "path_prefix": "/pay" }, "missing": "deny",
    });
    let mut harness = harness(json!({ "limits": [limit] }));
    assert_eq!(passes(&mut harness, 3), 3);
    assert!(harness.request(testing::Exchange::get("/pay")).is_next());
    let outcome = harness.request(testing::Exchange::get("/pay"));
    assert_eq!(outcome.reply().status, 429);
}

#[test]
fn the_strictest_of_several_decides() {
    let slow = limit("slow", json!({ "by": "global" }), 2, "hour");
    let mut harness = harness(json!({ "limits": [client(1, 3), slow] }));
    assert_eq!(passes(&mut harness, 5), 2);
    let outcome = harness.request(get());
    assert_eq!(outcome.attribute("refused"), Some("slow"));
    assert_eq!(field(&outcome, "retry-after"), "1800");
    assert_eq!(field(&outcome, "ratelimit"), r#""slow";r=0;t=1800"#);

    // What one refused was not counted by the other.
    let mut harness = self::harness(json!({ "limits": [client(1, 3)] }));
    assert_eq!(passes(&mut harness, 9), 3);
}

#[test]
fn what_is_refused_counts_in_none() {
    let narrow = limit("narrow", json!({ "header": "x-key" }), 1, "day");
    for limits in [json!([client(1, 3), narrow]), json!([narrow, client(1, 3)])] {
        let mut harness = harness(json!({ "limits": limits }));
        let mut passed = |key: &str| harness.request(get().header("x-key", key)).is_next();
        assert!(passed("a"));
        for _ in 0..10 {
            assert!(!passed("a"));
        }
        assert!(passed("b") && passed("c") && !passed("d"));
    }
}

#[test]
fn of_several_that_refuse_all_are_told() {
    let slow = limit("slow", json!({ "by": "global" }), 1, "hour");
    let mut harness = harness(json!({ "limits": [client(1, 1), slow] }));
    assert!(harness.request(get()).is_next());
    let outcome = harness.request(get());
    assert_eq!(outcome.attribute("refused"), Some("slow"));
    assert_eq!(field(&outcome, "retry-after"), "3600");
    assert_eq!(
        field(&outcome, "ratelimit"),
        r#""slow";r=0;t=3600, "client";r=0;t=1"#
    );
    for limit in ["slow", "client"] {
        assert_eq!(harness.metric("refused_total", &[limit]), Some(1.0));
    }
}

/// Another instance counts the same client whenever this one is about to.
#[test]
fn it_is_exact_whoever_is_faster() {
    let config = json!({ "limits": [client(1, 100)] });
    let mut harness = harness(config);
    let limit = gcra::Gcra::new(1, Duration::from_secs(1), 100).unwrap();
    let rivals = std::rc::Rc::new(Cell::new(0));
    let passed_rivals = rivals.clone();
    let busy = Cell::new(0u64);
    harness.set_rival(move |key| {
        busy.set(busy.get() + 1);
        if busy.get().is_multiple_of(4) {
            return;
        }
        shared::update(key, None, |value| {
            let tat = value.map(|value| u64::from_le_bytes(value.try_into().unwrap()));
            match limit.decide(tat, nanoseconds(START)) {
                gcra::Decision::Conforms { tat, .. } => {
                    passed_rivals.set(passed_rivals.get() + 1);
                    Some(tat.to_le_bytes().to_vec())
                }
                gcra::Decision::Exceeds { .. } => None,
            }
        })
        .unwrap();
    });
    let mine = passes(&mut harness, 200);
    assert!(
        mine > 10 && rivals.get() > 50,
        "{mine} and {}",
        rivals.get()
    );
    assert_eq!(mine + rivals.get(), 100);
}

#[test]
fn what_was_counted_before_a_rival_came_is_given_back() {
    let wide = limit("wide", json!({ "by": "address" }), 10, "day");
    let narrow = limit("narrow", json!({ "by": "global" }), 1, "day");
    let mut harness = harness(json!({ "limits": [wide, narrow] }));
    let used_up = nanoseconds(START + DAY);
    harness.set_rival(move |key| {
        if key.starts_with("narrow") {
            shared::set(key, used_up.to_le_bytes(), None).unwrap();
        }
    });
    let outcome = harness.request(get());
    assert_eq!(outcome.reply().status, 429);
    assert_eq!(outcome.attribute("refused"), Some("narrow"));

    let entry = shared::get(&format!(
        "wide {} address/64 =127.0.0.1",
        "8640000000000 77760000000000"
    ));
    let tat = u64::from_le_bytes(entry.unwrap().value.try_into().unwrap());
    assert_eq!(Duration::from_nanos(tat), START);
}

#[test]
fn what_cannot_be_decided() {
    for (undecided, status) in [("allow", None), ("deny", Some(503))] {
        let other = limit("other", json!({ "by": "global" }), 5, "day");
        let limits = json!([other, client(1, 3)]);
        let config = json!({ "limits": limits, "undecided": undecided });

        // Nothing can be kept.
        let mut harness = harness(config.clone());
        harness.set_largest_entry(0);
        check_undecided(harness.request(get()), status);

        // Somebody is always faster.
        let mut harness = self::harness(config);
        harness.set_rival(|key| {
            if key.starts_with("client") {
                shared::set(key, nanoseconds(START).to_le_bytes(), None).unwrap();
            }
        });
        let outcome = harness.request(get());
        assert_eq!(outcome.attribute("undecided"), Some("client"));
        check_undecided(outcome, status);
        assert_eq!(harness.metric("undecided_total", &["client"]), Some(1.0));
        assert_eq!(harness.metric("undecided_total", &["other"]), None);
        // Let in, it counts with the other; kept out, with none.
        harness.set_rival(|_| {});
        let left = if status.is_some() { 4 } else { 3 };
        let outcome = harness.request(get().client("192.0.2.9"));
        let told = String::from_utf8(outcome.state).unwrap();
        assert!(told.contains(&format!("\"other\";r={left};")), "{told}");
    }
}

fn check_undecided(outcome: Outcome, status: Option<u16>) {
    match status {
        None => assert!(!matches!(outcome.verdict, Ok(Verdict::Respond(_)))),
        Some(status) => {
            assert_eq!(outcome.reply().status, status);
            assert_eq!(field(&outcome, "retry-after"), "1");
        }
    }
}

#[test]
fn what_somebody_else_left_under_the_key_is_no_count() {
    let mut harness = harness(json!({ "limits": [client(1, 1)] }));
    for odd in ["", "1234567", "123456789"] {
        shared::set("client 1000000000 0 address/64 =127.0.0.1", odd, None).unwrap();
        assert!(harness.request(get()).is_next());
        assert!(!harness.request(get()).is_next());
    }
}

#[test]
fn clients_are_told() {
    let search = json!({
        "name": "search", "key": { "by": "global" }, "rate": 100, "per": "minute",
        "match": { "path": "/search" },
    });
    let mut harness = harness(json!({ "limits": [client(20, 40), search] }));
    assert!(harness.request(get()).is_next());
    let outcome = harness.response(200, &[("ratelimit", r#""origin";r=5;t=9"#)]);
    assert_eq!(
        outcome.response.headers("ratelimit-policy"),
        [r#""client";q=20;w=1"#]
    );
    assert_eq!(
        outcome.response.headers("ratelimit"),
        [r#""origin";r=5;t=9"#, r#""client";r=39;t=1"#]
    );

    assert!(harness.request(testing::Exchange::get("/search")).is_next());
    let outcome = harness.local_response(404, &[]);
    assert_eq!(
        outcome.response.header("ratelimit-policy"),
        Some(r#""client";q=20;w=1, "search";q=100;w=60"#)
    );
    assert_eq!(
        outcome.response.header("ratelimit"),
        Some(r#""client";r=38;t=1, "search";r=99;t=1"#)
    );

    assert_eq!(passes(&mut harness, 40), 38);
    let outcome = harness.request(get());
    assert_eq!(outcome.reply().status, 429);
    assert_eq!(field(&outcome, "retry-after"), "1");
    assert_eq!(field(&outcome, "ratelimit-policy"), r#""client";q=20;w=1"#);
    assert_eq!(field(&outcome, "ratelimit"), r#""client";r=0;t=1"#);
}

#[test]
fn the_last_that_passes_is_told_when_one_more_may_come() {
    let limit =
        json!({ "name": "n", "key": { "by": "global" }, "rate": 6, "per": "minute", "burst": 2 });
    let mut harness = harness(json!({ "limits": [limit] }));
    let mut told = || {
        assert!(harness.request(get()).is_next());
        let outcome = harness.response(200, &[]);
        outcome.response.header("ratelimit").unwrap().to_owned()
    };
    assert_eq!(told(), r#""n";r=1;t=10"#);
    assert_eq!(told(), r#""n";r=0;t=10"#);
    harness.set_now(START + Duration::from_millis(4_500));
    let outcome = harness.request(get());
    assert_eq!(field(&outcome, "retry-after"), "6");
    assert_eq!(field(&outcome, "ratelimit"), r#""n";r=0;t=6"#);
}

#[test]
fn clients_need_not_be_told() {
    let config = json!({ "limits": [client(1, 1)], "headers": false });
    let mut harness = harness(config);
    assert_eq!(harness.wants(), &Wants::request());
    assert_eq!(harness.request(get()).verdict, Ok(Verdict::Leave));
    let outcome = harness.request(get());
    let names: Vec<_> = outcome
        .reply()
        .headers
        .iter()
        .map(|(name, _)| &**name)
        .collect();
    assert_eq!(names, ["content-type", "retry-after"]);
}

#[test]
fn only_what_is_looked_at_is_asked_for() {
    let limit = json!({
        "name": "n", "key": { "header": "X-Key" }, "rate": 1, "per": "1h",
        "match": { "path": "/" },
    });
    assert_eq!(
        harness(json!({ "limits": [limit] })).wants(),
        &Wants::request()
            .request_fields([":path", "x-key"])
            .response()
    );
}

#[test]
fn mistakes() {
    check_mistakes(json!({}), &[""]);
    check_mistakes(json!({ "limits": [] }), &["/limits"]);
    let limit = |change: Value| {
        let mut limit = client(1, 1);
        for (key, value) in change.as_object().unwrap() {
            limit[key] = value.clone();
        }
        limit
    };
    let check = |change: Value, wanted: &str| {
        let wanted = format!("/limits/0/{wanted}");
        check_mistakes(json!({ "limits": [limit(change)] }), &[&wanted]);
    };
    check(json!({ "name": "a b" }), "name");
    check(json!({ "name": "" }), "name");
    check(json!({ "name": "n".repeat(65) }), "name");
    check(json!({ "rate": 0 }), "rate");
    check(json!({ "rate": 1_000_001 }), "rate");
    check(json!({ "per": "0s" }), "per");
    check(json!({ "per": "fortnight" }), "per");
    check(json!({ "per": "day", "burst": 367 }), "per");
    check(json!({ "burst": 0 }), "burst");
    check(json!({ "key": {} }), "key");
    check(json!({ "key": { "by": [] } }), "key");
    check(json!({ "key": { "by": ["route", "route"] } }), "key/by");
    check(json!({ "key": { "by": ["global", "route"] } }), "key/by");
    check(
        json!({ "key": { "by": "global", "header": "a" } }),
        "key/by",
    );
    check(json!({ "key": { "header": "a b" } }), "key/header");
    check(json!({ "key": { "attribute": "" } }), "key/attribute");
    check(
        json!({ "key": { "by": "address", "ipv6_prefix": 0 } }),
        "key/ipv6_prefix",
    );
    check(
        json!({ "key": { "by": "address", "ipv6_prefix": 129 } }),
        "key/ipv6_prefix",
    );
    check(
        json!({ "key": { "by": "route", "ipv6_prefix": 64 } }),
        "key/ipv6_prefix",
    );
    check(json!({ "match": { "path": "x" } }), "match/path");
    check(json!({ "nothing": 1 }), "nothing");
    check_mistakes(
        json!({ "limits": [
            limit(json!({ "rate": 0, "key": {}, "match": { "path": "x" } })),
            limit(json!({ "burst": 0 })),
        ] }),
        &[
            "/limits/0/rate",
            "/limits/0/key",
            "/limits/0/match/path",
            "/limits/1/name",
            "/limits/1/burst",
        ],
    );
}

#[test]
fn every_key_is_documented() {
    assert!(testing::undocumented_keys::<Config>(README).is_empty());
    assert!(testing::undescribed_keys::<Config>().is_empty());
}

#[test]
fn the_example_works() {
    let (_, example) = README.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let example = as_json(&Yaml::load_from_str(example).unwrap()[0]);
    let config = example.pointer("/filters/limits/config").unwrap();
    let harness = harness(config.clone());
    assert_eq!(harness.filter().limits.len(), 3);
}

/// As far as the example goes.
fn as_json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Value(Scalar::String(text)) => text.to_string().into(),
        Yaml::Value(Scalar::Integer(number)) => (*number).into(),
        Yaml::Value(Scalar::Boolean(is_it)) => (*is_it).into(),
        Yaml::Sequence(items) => items.iter().map(as_json).collect(),
        Yaml::Mapping(entries) => entries
            .iter()
            .map(|(key, value)| (key.as_str().unwrap().to_owned(), as_json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => panic!("the example has no {other:?}"),
    }
}

fn check_mistakes(config: Value, wanted: &[&str]) {
    let shown = config.to_string();
    let errors = Harness::<RateLimit>::new(config).err().expect("a mistake");
    let places: Vec<_> = errors.iter().map(|error| error.at.as_str()).collect();
    assert_eq!(places, wanted, "{shown}: {errors}");
}

fn check_apart(key: &Value, first: testing::Exchange, second: testing::Exchange) {
    assert!(is_apart(key, first, second), "together by {key}");
}

fn check_together(key: &Value, first: testing::Exchange, second: testing::Exchange) {
    assert!(!is_apart(key, first, second), "apart by {key}");
}

/// Whether the second passes after the first has used up its limit.
fn is_apart(key: &Value, first: testing::Exchange, second: testing::Exchange) -> bool {
    let limit = json!({ "name": "n", "key": key, "rate": 1, "per": "day", "missing": "deny" });
    let mut harness = harness(json!({ "limits": [limit] }));
    assert!(harness.request(first.clone()).is_next());
    assert!(!harness.request(first).is_next());
    harness.request(second).is_next()
}

fn limit(name: &str, key: Value, rate: u64, per: &str) -> Value {
    json!({ "name": name, "key": key, "rate": rate, "per": per })
}

/// So many in a second.
fn client(rate: u64, burst: u64) -> Value {
    let mut limit = limit("client", json!({ "by": "address" }), rate, "second");
    limit["burst"] = burst.into();
    limit
}

/// How many of so many at once.
fn passes(harness: &mut Harness<RateLimit>, requests: usize) -> usize {
    let is_refused = |outcome: &Outcome| matches!(outcome.verdict, Ok(Verdict::Respond(_)));
    let outcomes = (0..requests).map(|_| harness.request(get()));
    outcomes.filter(|outcome| !is_refused(outcome)).count()
}

fn field(outcome: &Outcome, name: &str) -> String {
    let headers = testing::Head(outcome.reply().headers.clone());
    headers.header(name).unwrap_or_default().to_owned()
}

fn get() -> testing::Exchange {
    testing::Exchange::get("/")
}

fn nanoseconds(since_epoch: Duration) -> u64 {
    since_epoch.as_nanos().try_into().unwrap()
}

fn harness(config: Value) -> Harness<RateLimit> {
    let mut harness = Harness::<RateLimit>::new(config).unwrap_or_else(|errors| panic!("{errors}"));
    harness.set_now(START);
    harness
}
