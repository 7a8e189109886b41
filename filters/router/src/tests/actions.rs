//! What routes do.

use std::collections::HashSet;
use std::time::Duration;

use lockgate_sdk::testing::Exchange;
use lockgate_sdk::{Timeout, Verdict, Wants};
use serde_json::{Value, json};

use super::{router, send};

#[test]
fn a_cluster() {
    let outcome = send(
        json!({ "cluster": "c", "timeout": "250ms" }),
        Exchange::get("/"),
    );
    assert_eq!(outcome.verdict, Ok(Verdict::Leave));
    assert_eq!(outcome.cluster.as_deref(), Some("c"));
    assert_eq!(
        outcome.timeouts,
        [(Timeout::Total, Duration::from_millis(250))]
    );
}

#[test]
fn times_and_a_retry_policy() {
    let outcome = send(
        json!({
            "cluster": "c",
            "try_timeout": "1s",
            "idle_timeout": "2s",
            "connect_timeout": "3s",
            "tls_timeout": "4s",
            "answer_timeout": "5s",
            "retry": "reads"
        }),
        Exchange::get("/"),
    );
    assert_eq!(outcome.retry.as_deref(), Some("reads"));
    assert_eq!(
        outcome.timeouts,
        [
            (Timeout::Try, Duration::from_secs(1)),
            (Timeout::Connect, Duration::from_secs(3)),
            (Timeout::Tls, Duration::from_secs(4)),
            (Timeout::Answer, Duration::from_secs(5)),
            (Timeout::Idle, Duration::from_secs(2)),
        ]
    );
}

#[test]
fn a_subset() {
    let labels = json!({ "version": "v2", "stage": "test" });
    let route = json!({ "cluster": "c", "subset": labels });
    let outcome = send(route, Exchange::get("/"));
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let wanted = [pair("stage", "test"), pair("version", "v2")];
    assert_eq!(outcome.subset, wanted);
    assert_eq!(
        send(json!({ "cluster": "c" }), Exchange::get("/")).subset,
        []
    );
}

#[test]
fn a_split_draws_by_weight() {
    let mut router = router(json!([{
        "name": "it",
        "split": [{ "cluster": "a", "weight": 3 }, { "cluster": "b", "weight": 1 }],
    }]));
    router.set_seed(7);
    let to_a = (0..4000)
        .filter(|_| router.request(Exchange::get("/")).cluster.as_deref() == Some("a"))
        .count();
    assert!((2900..3100).contains(&to_a), "{to_a}");
}

#[test]
fn a_sticky_split_stays() {
    let by_header = |user: &str| Exchange::get("/").header("x-user", user);
    let by_cookie = |user: &str| Exchange::get("/").header("cookie", format!("a=b; sid={user}"));
    check_sticky(json!({ "header": "X-User" }), by_header);
    check_sticky(json!({ "cookie": "sid" }), by_cookie);
}

fn check_sticky(by: Value, request: impl Fn(&str) -> Exchange) {
    let mut router = router(json!([{
        "name": "it",
        "split": [{ "cluster": "a", "weight": 50 }, { "cluster": "b", "weight": 50 }],
        "split_by": by,
    }]));
    let mut pick = |exchange| router.request(exchange).cluster.unwrap();
    let mut seen = HashSet::new();
    for number in 0..50 {
        let user = format!("user-{number}");
        let first = pick(request(&user));
        assert!((0..20).all(|_| pick(request(&user)) == first));
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2);
    // Without the value it is drawn.
    let drawn: HashSet<_> = (0..50).map(|_| pick(Exchange::get("/"))).collect();
    assert_eq!(drawn.len(), 2);
}

#[test]
fn rewrites() {
    let check = |condition: Value, rewrite: Value, path: &str, expected: (&str, &str)| {
        let route = json!({ "match": condition, "rewrite": rewrite, "cluster": "c" });
        let outcome = send(route, Exchange::get(path));
        assert_eq!((&*outcome.path, &*outcome.authority), expected);
    };
    let old = || json!({ "path_prefix": "/old" });
    check(
        old(),
        json!({ "prefix": "/new" }),
        "/old/a?b=c",
        ("/new/a?b=c", "localhost"),
    );
    check(old(), json!({ "prefix": "/" }), "/old", ("/", "localhost"));
    check(
        old(),
        json!({ "path": "/x" }),
        "/old/a?",
        ("/x?", "localhost"),
    );
    check(
        old(),
        json!({ "host": "Origin:8080" }),
        "/old",
        ("/old", "origin:8080"),
    );
    check(
        json!({}),
        json!({ "path": "/cost$1" }),
        "/",
        ("/cost$1", "localhost"),
    );
    check(
        json!({ "path_regex": r"/(?P<kind>\w+)/(\d+)" }),
        json!({ "path": "/$2/$kind" }),
        "/items/7?q",
        ("/7/items?q", "localhost"),
    );
}

#[test]
fn a_rewrite_that_brings_dots_back_is_refused() {
    let route = json!({
        "match": { "path_regex": "/files/(.*)[.]json" },
        "rewrite": { "path": "/data/$1" },
        "cluster": "c",
    });
    let outcome = send(route, Exchange::get("/files/...json"));
    assert_eq!(outcome.reply().status, 400);
    assert_eq!(outcome.cluster, None);
}

#[test]
fn redirects() {
    let check = |route: Value, exchange: Exchange, status: u16, location: &str| {
        let outcome = send(route, exchange);
        let reply = outcome.reply();
        assert_eq!(reply.status, status);
        assert_eq!(reply.headers[0], ("location".to_owned(), location.into()));
    };
    let at = |path| Exchange::get(path).authority("Shop.example:8080");
    check(
        json!({ "redirect": { "scheme": "https" } }),
        at("/a?b"),
        302,
        "https://shop.example/a?b",
    );
    check(
        json!({ "redirect": { "status": 308, "host": "b.example", "path": "/x" } }),
        at("/a?b"),
        308,
        "//b.example/x?b",
    );
    check(
        json!({ "match": { "path_prefix": "/a" }, "redirect": { "prefix": "/b" } }),
        at("/a/c"),
        302,
        "/b/c",
    );
    check(
        json!({ "match": { "path_regex": "/a/(.*)" }, "redirect": { "port": 81, "path": "/$1" } }),
        at("/a/x/y"),
        302,
        "//shop.example:81/x/y",
    );
}

#[test]
fn a_redirect_that_names_no_host_is_refused() {
    let outcome = send(
        json!({ "redirect": { "scheme": "https" } }),
        Exchange::get("/").authority(""),
    );
    assert_eq!(outcome.reply().status, 400);
}

#[test]
fn answers() {
    let route = json!({
        "respond": { "status": 503, "body": "closed\n", "headers": { "Retry-After": "60", "x-old": "1" } },
        "headers": { "response": { "set": { "x-old": "2" }, "remove": ["content-type"] } },
    });
    let outcome = send(route, Exchange::get("/"));
    let reply = outcome.reply();
    assert_eq!((reply.status, &*reply.body), (503, &b"closed\n"[..]));
    let expected = [("retry-after", "60"), ("x-old", "2")];
    assert_eq!(
        reply.headers,
        expected.map(|(name, value)| (name.to_owned(), value.into()))
    );
    assert_eq!(outcome.route.as_deref(), Some("it"));
}

#[test]
fn an_answer_with_a_body_has_a_type() {
    let outcome = send(
        json!({ "respond": { "status": 200, "body": "ok" } }),
        Exchange::get("/"),
    );
    let headers = &outcome.reply().headers;
    assert_eq!(
        headers[0],
        (
            "content-type".to_owned(),
            b"text/plain; charset=utf-8".to_vec()
        )
    );
    let outcome = send(json!({ "respond": { "status": 204 } }), Exchange::get("/"));
    assert_eq!(outcome.reply().headers, []);
}

#[test]
fn header_edits() {
    let mut router = router(json!([
        { "name": "plain", "match": { "path": "/plain" }, "cluster": "c" },
        {
            "name": "edits",
            "cluster": "c",
            "headers": {
                "request": {
                    "remove": ["X-Gone"],
                    "set": { "X-Set": "1" },
                    "append": { "x-more": "2" },
                },
                "response": { "set": { "x-by": "router" }, "remove": ["server"] },
            },
        },
    ]));
    let exchange = Exchange::get("/")
        .header("x-gone", "a")
        .header("x-set", "old")
        .header("x-more", "1");
    let outcome = router.request(exchange);
    assert_eq!(outcome.verdict, Ok(Verdict::Next));
    assert_eq!(outcome.request.header("x-gone"), None);
    assert_eq!(outcome.request.headers("x-set"), ["1"]);
    assert_eq!(outcome.request.headers("x-more"), ["1", "2"]);
    let outcome = router.response(200, &[("server", "origin")]);
    assert_eq!(outcome.response.header("x-by"), Some("router"));
    assert_eq!(outcome.response.header("server"), None);

    let outcome = router.request(Exchange::get("/plain"));
    assert_eq!(
        outcome.verdict,
        Ok(Verdict::Leave),
        "its response phase costs nothing"
    );
}

#[test]
fn it_asks_for_what_its_routes_need() {
    let all = router(json!([
        {
            "name": "a",
            "match": { "host": "a.com", "method": "GET", "headers": { "X-A": "1" }, "cookies": { "c": "1" } },
            "split": [{ "cluster": "one", "weight": 1 }, { "cluster": "two", "weight": 0 }],
            "split_by": { "header": "x-user" },
            "headers": { "response": { "remove": ["x"] } },
        },
        { "name": "b", "cluster": "one" },
    ]));
    let expected = Wants::request()
        .request_fields([":path", ":authority", ":method", "x-a", "x-user", "cookie"])
        .response()
        .clusters(["one", "two"])
        .routes(["a", "b"]);
    assert_eq!(*all.wants(), expected);

    let least = router(json!([{ "name": "a", "cluster": "one" }]));
    let expected = Wants::request()
        .request_field(":path")
        .cluster("one")
        .route("a");
    assert_eq!(*least.wants(), expected);
}

#[test]
fn fields_beyond_the_prefetch_are_asked_for() {
    let routes: Vec<Value> = (0..40)
        .map(|number| {
            let name = format!("x-{number}");
            json!({ "name": name, "match": { "headers": { &name: "1" } }, "cluster": name })
        })
        .collect();
    let mut router = router(routes.into());
    for number in [0, 17, 39] {
        let name = format!("x-{number}");
        let outcome = router.request(Exchange::get("/").header(&name, "1"));
        assert_eq!(outcome.cluster, Some(name));
    }
}

#[test]
fn a_route_without_requests_is_a_warning() {
    let mut router = router(json!([
        { "name": "all", "match": { "path_prefix": "/a" }, "cluster": "c" },
        { "name": "lost", "match": { "path": "/a/b", "method": "GET" }, "cluster": "c" },
    ]));
    let logs = router.request(Exchange::get("/")).logs;
    assert_eq!(logs.len(), 1);
    assert_eq!(logs[0].level, lockgate_sdk::log::Level::Warn);
    assert_eq!(
        logs[0].message,
        "route `lost` can never be reached: `all` takes all of its requests first"
    );
    assert_eq!(
        logs[0].fields,
        [("config_at".to_owned(), "/routes/1".to_owned())]
    );
}
