//! One condition at a time.

use lockgate_sdk::testing::Exchange;
use serde_json::{Value, json};

use super::{router, send};

/// Whether a route with this `match` takes the request.
fn check(condition: Value, exchange: Exchange, expected: bool) {
    let text = condition.to_string();
    let outcome = send(
        json!({ "match": condition, "cluster": "c" }),
        exchange.clone(),
    );
    assert_eq!(outcome.cluster.is_some(), expected, "{text} {exchange:?}");
    assert_eq!(outcome.route.is_some(), expected);
}

#[test]
fn host() {
    let at = |authority: &str| Exchange::get("/").authority(authority);
    check(json!({ "host": "a.com" }), at("a.com"), true);
    check(json!({ "host": "A.com" }), at("a.COM:8080"), true);
    check(json!({ "host": "a.com" }), at("a.com."), true);
    check(json!({ "host": "a.com" }), at("b.a.com"), false);
    check(json!({ "host": "*.a.com" }), at("c.b.a.com"), true);
    check(json!({ "host": "*.a.com" }), at("a.com"), false);
    check(json!({ "host": ["a.com", "*.b.com"] }), at("x.b.com"), true);
    check(json!({ "host": ["a.com", "*.b.com"] }), at("b.com"), false);
    check(json!({ "host": "[::1]" }), at("[0::1]:80"), true);
    check(
        json!({ "host": "*.com" }),
        at(&format!("{}.com", "a.".repeat(2000))),
        false,
    );
    check(json!({ "host": "a.com" }), at(""), false);
    check(json!({}), at(""), true);
}

#[test]
fn path() {
    check(json!({ "path": "/a" }), Exchange::get("/a"), true);
    check(json!({ "path": "/a" }), Exchange::get("/a?b=c"), true);
    check(json!({ "path": "/a" }), Exchange::get("/a/"), false);
    check(json!({ "path": "/%7Ea" }), Exchange::get("/~a"), true);
    check(json!({ "path_prefix": "/a" }), Exchange::get("/a"), true);
    check(json!({ "path_prefix": "/a/" }), Exchange::get("/a?x"), true);
    check(
        json!({ "path_prefix": "/a" }),
        Exchange::get("/a/b/c"),
        true,
    );
    check(json!({ "path_prefix": "/a" }), Exchange::get("/ab"), false);
    check(json!({ "path_prefix": "/a/b" }), Exchange::get("/a"), false);
    check(json!({ "path_prefix": "/" }), Exchange::get("/x"), true);
    check(
        json!({ "path_prefix": "/" }),
        Exchange::new("OPTIONS", "*"),
        true,
    );
    check(
        json!({ "path_prefix": "/a" }),
        Exchange::new("OPTIONS", "*"),
        false,
    );
    check(
        json!({ "path_regex": r"/u/\d+" }),
        Exchange::get("/u/42?x"),
        true,
    );
    check(
        json!({ "path_regex": r"/u/\d+" }),
        Exchange::get("/u/42/x"),
        false,
    );
    check(
        json!({ "path_regex": r".*\.png" }),
        Exchange::get("/i/a.png"),
        true,
    );
}

#[test]
fn method() {
    check(json!({ "method": "GET" }), Exchange::get("/"), true);
    check(
        json!({ "method": "GET" }),
        Exchange::new("HEAD", "/"),
        false,
    );
    check(
        json!({ "method": ["GET", "POST"] }),
        Exchange::post("/"),
        true,
    );
    check(
        json!({ "method": "PURGE" }),
        Exchange::new("PURGE", "/"),
        true,
    );
}

#[test]
fn headers() {
    let with = |value: &str| Exchange::get("/").header("x-a", value);
    let test = |test: Value| json!({ "headers": { "X-A": test } });
    check(test(json!("1")), with("1"), true);
    check(test(json!("1")), with("11"), false);
    check(test(json!("1")), with("2").header("x-a", "1"), true);
    check(test(json!("1")), Exchange::get("/"), false);
    check(test(json!({ "exact": "1" })), with("1"), true);
    check(test(json!({ "prefix": "ab" })), with("abc"), true);
    check(test(json!({ "prefix": "bc" })), with("abc"), false);
    check(test(json!({ "suffix": "bc" })), with("abc"), true);
    check(test(json!({ "contains": "b" })), with("abc"), true);
    check(test(json!({ "contains": "x" })), with("abc"), false);
    check(test(json!({ "regex": "[a-c]+" })), with("abc"), true);
    check(test(json!({ "regex": "[a-b]+" })), with("abc"), false);
    check(test(json!({ "present": true })), with(""), true);
    check(test(json!({ "present": true })), Exchange::get("/"), false);
    check(test(json!({ "present": false })), with(""), false);
    check(test(json!({ "present": false })), Exchange::get("/"), true);
    check(test(json!({ "not": "1" })), with("2"), true);
    check(
        test(json!({ "not": "1" })),
        with("2").header("x-a", "1"),
        false,
    );
    check(test(json!({ "not": "1" })), Exchange::get("/"), true);
    check(
        test(json!({ "not": { "not": { "prefix": "a" } } })),
        with("abc"),
        true,
    );
    check(
        test(json!({ "contains": "b" })),
        Exchange::get("/").header("x-a", b"\xffb\xff"),
        true,
    );
    check(
        json!({ "headers": { "x-a": "1", "x-b": "2" } }),
        with("1").header("x-b", "2"),
        true,
    );
    check(
        json!({ "headers": { "x-a": "1", "x-b": "2" } }),
        with("1"),
        false,
    );
}

#[test]
fn query() {
    let test = |test: Value| json!({ "query": { "a b": test } });
    check(test(json!("1")), Exchange::get("/?a+b=1"), true);
    check(test(json!("1")), Exchange::get("/?x&a%20b=%31&y"), true);
    check(test(json!("1")), Exchange::get("/?a+b=2&a+b=1"), true);
    check(test(json!("1")), Exchange::get("/?A+b=1"), false);
    check(test(json!("1")), Exchange::get("/"), false);
    check(test(json!("")), Exchange::get("/?a+b"), true);
    check(test(json!("%zz%4")), Exchange::get("/?a+b=%zz%4"), true);
    check(
        test(json!({ "present": false })),
        Exchange::get("/?c"),
        true,
    );
    check(
        json!({ "query": { "a": "b=c" } }),
        Exchange::get("/?a=b=c"),
        true,
    );
}

#[test]
fn cookies() {
    let with = |value: &str| Exchange::get("/").header("cookie", value);
    let test = json!({ "cookies": { "beta": "1" } });
    check(test.clone(), with("beta=1"), true);
    check(test.clone(), with("a=b; beta=1 ;c"), true);
    check(test.clone(), with("a=b").header("cookie", "beta=1"), true);
    check(test.clone(), with("Beta=1"), false);
    check(test.clone(), with("beta=\"1\""), false);
    check(test.clone(), with("xbeta=1; beta"), false);
    check(test, Exchange::get("/"), false);
    check(
        json!({ "cookies": { "id": { "present": true } } }),
        with("id="),
        true,
    );
}

#[test]
fn first_match_wins() {
    let mut router = router(json!([
        { "name": "beta", "match": { "path_prefix": "/a", "headers": { "x-beta": "1" } }, "cluster": "beta" },
        { "name": "any", "match": { "path_prefix": "/" }, "cluster": "any" },
        { "name": "never", "match": { "path": "/a" }, "cluster": "never" },
    ]));
    let mut check = |exchange, expected: &str| {
        let outcome = router.request(exchange);
        assert_eq!(outcome.cluster.as_deref(), Some(expected));
        assert_eq!(outcome.route.as_deref(), Some(expected));
    };
    check(Exchange::get("/a").header("x-beta", "1"), "beta");
    check(Exchange::get("/a"), "any");
    check(Exchange::get("/b").header("x-beta", "1"), "any");
}

/// The router steps aside, and the listener's own cluster (or 404) follows.
#[test]
fn no_match_leaves_the_exchange_alone() {
    let outcome = send(
        json!({ "match": { "path": "/a" }, "cluster": "c" }),
        Exchange::get("/b"),
    );
    assert_eq!(outcome.verdict, Ok(lockgate_sdk::Verdict::Leave));
    assert_eq!((outcome.route, outcome.cluster), (None, None));
}
