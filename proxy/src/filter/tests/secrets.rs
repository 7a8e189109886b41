//! Using secrets through the contract.

use std::collections::BTreeMap;

use super::*;
use crate::config::{SecretBytes, SecretSource, SecretUse};
use crate::secrets::Secret;

fn module() -> Arc<Module> {
    static MODULE: OnceLock<Arc<Module>> = OnceLock::new();
    let load = || {
        let bytes = guests::secrets_component();
        engine().load(Digest::of(bytes), bytes, Pace::Full).unwrap()
    };
    MODULE.get_or_init(load).clone()
}

fn secrets() -> Vec<Arc<Secret>> {
    let secret = |(name, value): (&str, &[u8])| {
        Secret::new(&crate::config::Secret {
            name: name.into(),
            source: SecretSource::Value,
            bytes: SecretBytes::new(value).unwrap(),
        })
    };
    let all: [(&str, &[u8]); 4] = [
        ("token", b"t0ken"),
        ("seen", b"open sesame"),
        ("binary", b"a\0b"),
        ("others", b"not granted"),
    ];
    all.into_iter().map(secret).collect()
}

/// A filter with all secrets but one, of which it may see one.
fn load(name: &str, config: Value) -> Result<Arc<LoadedFilter>, Vec<BuildError>> {
    let uses = [
        ("token", SecretUse::Use),
        ("seen", SecretUse::Reveal),
        ("binary", SecretUse::Use),
    ];
    let uses = uses.map(|(name, granted_use)| (name.into(), granted_use));
    let mut filter = entry(name, config);
    filter.grants.secrets = BTreeMap::from(uses);
    let granted = Granted {
        lines: None,
        shared: None,
        secrets: GrantedSecrets::of(&filter.grants, &secrets()),
    };
    let stats = Arc::new(PerWorker::new(1, FilterStats::default));
    let metrics = Arc::new(GuestMetrics::new(1, 1));
    LoadedFilter::build(
        module(),
        filter.clone(),
        &filter,
        stats,
        metrics,
        granted,
        1,
    )
    .map_err(|refused| refused.errors)
}

fn bench(configs: &[Value]) -> Bench {
    let named = |(place, config): (usize, &Value)| {
        let name = format!("guest-{place}");
        load(&name, config.clone()).unwrap()
    };
    Bench::of(configs.iter().enumerate().map(named))
}

#[track_caller]
fn check(step: &str, outcome: &str) {
    let mut bench = bench(&[json!({ "request": [step] })]);
    assert!(matches!(bench.on_request(), Flow::Next), "{step}");
    assert_eq!(bench.attribute("guest-0.outcome"), Some(outcome), "{step}");
}

#[test]
fn what_is_not_granted_is_denied() {
    check("matches token t0ken", "true");
    check("matches token t0keN", "false");
    check("matches token ", "false");
    check("matches seen open", "false");
    check(
        "sign token data",
        "\"20a2c481dacffb1fb3ecec3baf8b090e62246de2f9f4c99cbf291f21208c329b\"",
    );
    check("reveal seen", "\"6f70656e20736573616d65\"");
    check("reveal token", "SecretError::Denied");
    for name in ["others", "nothing", ""] {
        check(&format!("matches {name} x"), "SecretError::Denied");
        check(&format!("sign {name} x"), "SecretError::Denied");
        check(&format!("reveal {name}"), "SecretError::Denied");
        check(&format!("put x-a b {name}"), "SecretError::Denied");
    }
}

#[test]
fn it_is_put_only_where_a_field_could_be_set() {
    check("put authorization Bearer: token", "()");
    check(
        "put connection x token",
        "SecretError::Head(HeadError::Forbidden)",
    );
    check(
        "put x\u{1} x token",
        "SecretError::Head(HeadError::Invalid)",
    );
    check("put x-a x binary", "SecretError::Head(HeadError::Invalid)");
    check(
        &format!("put x-a {} token", "x".repeat(9000)),
        "SecretError::Head(HeadError::TooLarge)",
    );
    let mut bench = bench(&[json!({ "response": ["put x-a b token", "matches token t0ken"] })]);
    bench.on_request();
    bench.answer(200);
    bench.on_response();
    assert_eq!(
        bench.attribute("guest-0.outcome"),
        Some("SecretError::Head(HeadError::TooLate); true")
    );
}

#[test]
fn what_was_put_goes_to_the_origin_and_to_no_filter() {
    let first = json!({ "request": [
        "put accept Bearer: token",
        "read accept",
        "append accept more",
        "read-all accept",
    ]});
    let second = json!({
        "fields": ["accept"],
        "request": ["read Accept", "read-all accept", "entries accept", "prefetched"],
        "response": ["read-all accept"],
    });
    let mut bench = bench(&[first, second]);
    assert!(matches!(bench.on_request(), Flow::Next));
    assert_eq!(
        bench.attribute("guest-0.outcome"),
        Some(r#"(); Some(""); (); ["", "more"]"#)
    );
    assert_eq!(
        bench.attribute("guest-1.outcome"),
        Some(
            r#"Some(""); ["", "more"]; ["", "more"]; [2, 0, 0, 0, 0, 0, 4, 0, 0, 0, 109, 111, 114, 101]"#
        )
    );
    assert_eq!(bench.request_field("accept"), ["Bearer:t0ken", "more"]);
    let shown = format!("{:?}", bench.view);
    assert!(!shown.contains("t0ken"), "{shown}");
    bench.answer(200);
    bench.on_response();
    assert_eq!(bench.attribute("guest-1.outcome"), Some(r#"["", "more"]"#));
}

#[test]
fn a_failed_call_puts_nothing() {
    let config = json!({ "request": ["put accept Bearer: token", "fail seen"] });
    let mut bench = bench(&[config]);
    let failed = failure(bench.on_request());
    let told = failed.failure.to_string();
    assert!(told.contains("failed with ***"), "{told}");
    assert_eq!(bench.request_field("accept"), ["text/html", "text/plain"]);
}

#[test]
fn what_may_be_seen_is_not_left_in_an_attribute() {
    check("tell seen", "it is ***");
}

/// A filter can refuse a configuration for the want of a grant.
#[test]
fn they_can_be_used_while_a_configuration_is_made() {
    let steps = json!({ "create": [
        "matches token t0ken",
        "matches others x",
        "reveal seen",
        "put x-a b token",
        "tell seen",
    ]});
    let told = load("guest", steps).err().expect("it refuses all");
    assert_eq!(
        told[0].message,
        "true; SecretError::Denied; \"6f70656e20736573616d65\"; \
         SecretError::Head(HeadError::TooLate); it is ***"
    );
}

#[test]
fn it_is_loaded_without_a_grant() {
    let filter = entry("guest", json!({ "request": ["matches token t0ken"] }));
    let stats = Arc::new(PerWorker::new(1, FilterStats::default));
    let metrics = Arc::new(GuestMetrics::new(1, 1));
    let granted = Granted::default();
    let loaded = LoadedFilter::build(
        module(),
        filter.clone(),
        &filter,
        stats,
        metrics,
        granted,
        1,
    )
    .unwrap();
    let mut bench = Bench::of([loaded]);
    bench.on_request();
    assert_eq!(
        bench.attribute("guest.outcome"),
        Some("SecretError::Denied")
    );
}
