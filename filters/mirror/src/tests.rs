use lockgate_sdk::testing::{self, Harness, Outcome};
use serde_json::{Value, json};

use super::*;

#[test]
fn a_copy_is_sent_and_says_so() {
    let outcome = mirror(json!({ "cluster": "shadow", "headers": { "X-From": "edge" } }));
    assert!(outcome.is_next());
    let [copy] = outcome.mirrors.as_slice() else {
        panic!("one copy: {:?}", outcome.mirrors);
    };
    assert_eq!(copy.cluster, "shadow");
    let field = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    assert_eq!(
        copy.headers,
        [field("x-from", "edge"), field("x-lockgate-mirror", "1")]
    );
}

#[test]
fn the_original_is_not_changed() {
    let before = testing::Exchange::get("/").header("x-a", "1");
    let mut harness = Harness::<Mirror>::new(json!({ "cluster": "shadow" })).unwrap();
    let outcome = harness.request(before);
    assert_eq!(outcome.cluster, None);
    assert_eq!(outcome.request.header("x-lockgate-mirror"), None);
    assert_eq!(outcome.delay, Duration::ZERO);
}

#[test]
fn only_what_matches_is_copied() {
    let config = json!({ "cluster": "shadow", "match": { "path_prefix": "/pay" } });
    assert!(mirror(config.clone()).mirrors.is_empty());
    let mut harness = Harness::<Mirror>::new(config).unwrap();
    let outcome = harness.request(testing::Exchange::get("/pay/1"));
    assert_eq!(outcome.mirrors.len(), 1);
}

#[test]
fn as_many_are_copied_as_were_asked_for() {
    let copies = |percent: f64| {
        let config = json!({ "cluster": "shadow", "percent": percent });
        let mut harness = Harness::<Mirror>::new(config).unwrap();
        (0..100_000)
            .filter(|_| {
                !harness
                    .request(testing::Exchange::get("/"))
                    .mirrors
                    .is_empty()
            })
            .count()
    };
    assert_eq!(copies(0.0), 0);
    assert_eq!(copies(100.0), 100_000);
    let drawn = copies(10.0);
    assert!((9_500..=10_500).contains(&drawn), "{drawn}");
}

#[test]
fn only_what_the_match_needs_is_asked_for() {
    let wants = |config| Harness::<Mirror>::new(config).unwrap().wants().clone();
    assert_eq!(
        wants(json!({ "cluster": "shadow" })),
        Wants::request().cluster("shadow")
    );
    assert_eq!(
        wants(json!({ "cluster": "shadow", "match": { "headers": { "x-a": "1" } } })),
        Wants::request().cluster("shadow").request_field("x-a")
    );
}

#[test]
fn every_mistake_is_told() {
    let config = json!({
        "cluster": "",
        "percent": 101,
        "match": { "path": "x" },
        "headers": { "a b": "", "Content-Length": "1", "x-lockgate-mirror": "0", "x-ok": "a\n" },
    });
    let errors = Harness::<Mirror>::new(config).err().unwrap();
    let places: Vec<_> = errors.iter().map(|error| error.at.as_str()).collect();
    assert_eq!(
        places,
        [
            "/cluster",
            "/percent",
            "/headers/Content-Length",
            "/headers/a b",
            "/headers/x-lockgate-mirror",
            "/headers/x-ok",
            "/match/path",
        ]
    );
}

#[test]
fn every_key_is_documented() {
    let readme = include_str!("../README.md");
    assert!(testing::undocumented_keys::<Config>(readme).is_empty());
    assert!(testing::undescribed_keys::<Config>().is_empty());
}

fn mirror(config: Value) -> Outcome {
    let mut harness = Harness::<Mirror>::new(config).unwrap();
    harness.request(testing::Exchange::get("/"))
}
