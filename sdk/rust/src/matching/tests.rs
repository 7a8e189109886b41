use serde_json::{Value, json};

use super::*;
use crate::testing::{self, Harness};
use crate::{Error, Exchange, Filter, Verdict, Wants};

struct Probe(Matcher);

impl Filter for Probe {
    type Config = Match;

    fn create(config: Match) -> Result<Self, ConfigErrors> {
        Matcher::check(config, "").map(Probe)
    }

    fn wants(&self) -> Wants {
        Wants::request().request_fields(self.0.fields())
    }

    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        match self.0.is_match(&exchange.request()) {
            true => Ok(Verdict::Next),
            false => Ok(Verdict::Leave),
        }
    }
}

#[test]
fn conditions() {
    let get = testing::Exchange::get;
    check(json!({}), get("/"), true);
    check(json!({ "path": "/a" }), get("/a?b=c"), true);
    check(json!({ "path": "/a" }), get("/a/"), false);
    check(json!({ "path_prefix": "/a" }), get("/a"), true);
    check(json!({ "path_prefix": "/a" }), get("/a/b"), true);
    check(json!({ "path_prefix": "/a" }), get("/a?b"), true);
    check(json!({ "path_prefix": "/a" }), get("/ab"), false);
    check(json!({ "path_prefix": "/a/" }), get("/a/b"), true);
    check(json!({ "path_prefix": "/" }), get("/ab"), true);
    check(json!({ "method": "GET" }), get("/"), true);
    check(json!({ "method": ["PUT", "POST"] }), get("/"), false);
    check(
        json!({ "method": ["PUT", "POST"] }),
        testing::Exchange::post("/"),
        true,
    );
    let beta = json!({ "headers": { "X-Beta": "1" } });
    check(beta.clone(), get("/"), false);
    check(beta.clone(), get("/").header("x-beta", "2"), false);
    check(
        beta,
        get("/").header("x-beta", "2").header("x-beta", "1"),
        true,
    );
    let both = json!({ "path": "/a", "headers": { "x-beta": "1" } });
    check(both.clone(), get("/a"), false);
    check(both, get("/a").header("x-beta", "1"), true);
}

#[test]
fn mistakes_are_told_with_their_places() {
    let config = json!({ "path": "a", "path_prefix": "/?", "method": [] });
    let errors = Harness::<Probe>::new(config).err().expect("three mistakes");
    let places: Vec<_> = errors.iter().map(|error| error.at.as_str()).collect();
    assert_eq!(places, ["/path", "/path_prefix", "/method"]);
}

#[test]
fn only_what_is_looked_at_is_asked_for() {
    let fields = |config| {
        let harness = Harness::<Probe>::new(config).expect("a good configuration");
        harness.wants().request_fields.clone()
    };
    assert!(fields(json!({})).is_empty());
    assert_eq!(
        fields(json!({ "path": "/a", "path_prefix": "/a", "headers": { "X-A": "" } })),
        [":path", "x-a"]
    );
}

fn check(config: Value, exchange: testing::Exchange, wanted: bool) {
    let shown = format!("{config} {exchange:?}");
    let mut harness = Harness::<Probe>::new(config).expect("a good configuration");
    assert_eq!(harness.request(exchange).is_next(), wanted, "{shown}");
}
