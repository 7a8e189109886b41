use serde_json::{Value, json};

use super::check;
use crate::config::Config;

/// The mistakes of these routes, as `pointer: message`.
fn mistakes(routes: Value) -> Vec<String> {
    let config: Config = serde_json::from_value(json!({ "routes": routes })).unwrap();
    let mistakes = check(&config).err().unwrap_or_default();
    mistakes
        .into_iter()
        .map(|mistake| format!("{}: {}", mistake.at, mistake.message))
        .collect()
}

/// A route has this one mistake.
#[track_caller]
fn expect(route: Value, at: &str, message: &str) {
    let mut route = route;
    route["name"] = "it".into();
    let mistakes = mistakes(json!([route]));
    let [mistake] = mistakes.as_slice() else {
        panic!("{mistakes:?}");
    };
    let expected = format!("/routes/0{at}: ");
    assert!(mistake.starts_with(&expected), "{mistake}");
    assert!(mistake.contains(message), "{mistake}");
}

#[test]
fn all_mistakes_at_once() {
    let mistakes = mistakes(json!([
        { "name": "a", "match": { "host": ["ok.com", "a:80"], "path": "x", "headers": { "x y": "1" } } },
        { "name": "a", "cluster": "", "timeout": "0s" },
        { "name": "", "split": [{ "cluster": "c", "weight": 0 }], "rewrite": { "prefix": "y" } },
    ]));
    let places: Vec<_> = mistakes
        .iter()
        .map(|mistake| mistake.split_once(": ").unwrap().0)
        .collect();
    let expected = [
        "/routes/0/match/host/1",
        "/routes/0/match/path",
        "/routes/0/match/headers/x y",
        "/routes/0",
        "/routes/1/name",
        "/routes/1/cluster",
        "/routes/1/timeout",
        "/routes/2/name",
        "/routes/2/split",
        "/routes/2/rewrite/prefix",
    ];
    assert_eq!(places, expected, "{mistakes:#?}");
}

#[test]
fn names() {
    expect_of_second(
        json!({ "name": "a", "cluster": "c" }),
        "/name: `/routes/0` has the name `a` already",
    );
    expect_of_second(
        json!({ "name": "", "cluster": "c" }),
        "/name: wanted a name",
    );
    expect_of_second(
        json!({ "name": "a\nb", "cluster": "c" }),
        "/name: wanted a name",
    );
    expect_of_second(
        json!({ "name": "x".repeat(200), "cluster": "c" }),
        "/name: wanted a name",
    );
}

#[track_caller]
fn expect_of_second(route: Value, expected: &str) {
    let mistakes = mistakes(json!([{ "name": "a", "cluster": "c" }, route]));
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    let expected = format!("/routes/1{expected}");
    assert!(mistakes[0].starts_with(&expected), "{mistakes:?}");
}

#[test]
fn exactly_one_action() {
    let wanted = "exactly one of `cluster`, `split`, `redirect` and `respond`";
    expect(json!({}), "", wanted);
    expect(
        json!({ "cluster": "a", "respond": { "status": 200 } }),
        "",
        wanted,
    );
    expect(
        json!({ "cluster": "a", "split": [{ "cluster": "a", "weight": 1 }] }),
        "",
        wanted,
    );
}

#[test]
fn conditions() {
    let check = |condition: Value, at: &str, message: &str| {
        let at = format!("/match{at}");
        expect(json!({ "match": condition, "cluster": "c" }), &at, message);
    };
    check(json!({ "host": "*" }), "/host", "leave `host` out");
    check(json!({ "host": [] }), "/host", "matches nothing");
    check(json!({ "path": "a" }), "/path", "begins with `/`");
    check(json!({ "path_prefix": "/a?b" }), "/path_prefix", "query");
    check(
        json!({ "path_regex": "/(" }),
        "/path_regex",
        "unclosed group",
    );
    check(
        json!({ "path": "/a", "path_prefix": "/a" }),
        "",
        "wanted one of `path`",
    );
    check(json!({ "method": "get" }), "/method", "wanted `GET`");
    check(
        json!({ "method": ["GET", "A B"] }),
        "/method/1",
        "not a method",
    );
    check(json!({ "method": [] }), "/method", "matches nothing");
    check(
        json!({ "headers": { "": "1" } }),
        "/headers/",
        "not a field name",
    );
    check(
        json!({ "headers": { "Host": "a" } }),
        "/headers/Host",
        "`match.host`",
    );
    check(
        json!({ "headers": { "a": { "regex": "[" } } }),
        "/headers/a/regex",
        "unclosed",
    );
    check(
        json!({ "headers": { "a": { "not": { "regex": "[" } } } }),
        "/headers/a/not/regex",
        "unclosed",
    );
    check(
        json!({ "query": { "": "1" } }),
        "/query/",
        "wanted the name",
    );
    check(
        json!({ "cookies": { "a=b": "1" } }),
        "/cookies/a=b",
        "not the name of a cookie",
    );
}

#[test]
fn splits() {
    expect(json!({ "split": [] }), "/split", "weight that is not 0");
    expect(
        json!({ "split": [{ "cluster": "", "weight": 0 }] }),
        "/split/0/cluster",
        "name of a cluster",
    );
    expect(
        json!({ "cluster": "c", "split_by": { "header": "x" } }),
        "/split_by",
        "no `split`",
    );
    let by = |by: Value| json!({ "split": [{ "cluster": "c", "weight": 1 }], "split_by": by });
    expect(
        by(json!({ "header": "a b" })),
        "/split_by/header",
        "not a field name",
    );
    expect(
        by(json!({ "cookie": "a=b" })),
        "/split_by/cookie",
        "not the name of a cookie",
    );
}

#[test]
fn redirects() {
    let check = |redirect: Value, at: &str, message: &str| {
        let at = format!("/redirect{at}");
        expect(json!({ "redirect": redirect }), &at, message);
    };
    check(json!({}), "", "lead to itself");
    check(
        json!({ "status": 200, "scheme": "https" }),
        "/status",
        "none of 301",
    );
    check(json!({ "host": "a:80" }), "/host", "leave the port out");
    check(json!({ "port": 0 }), "/port", "1 to 65535");
    check(json!({ "path": "a" }), "/path", "begins with `/`");
    check(
        json!({ "prefix": "/a" }),
        "/prefix",
        "no `match.path_prefix`",
    );
    expect(
        json!({
            "match": { "path_prefix": "/c" },
            "redirect": { "path": "/a", "prefix": "/b" },
        }),
        "/redirect",
        "one of `prefix` and `path`",
    );
}

#[test]
fn rewrites() {
    let check = |rewrite: Value, at: &str, message: &str| {
        let at = format!("/rewrite{at}");
        expect(json!({ "cluster": "c", "rewrite": rewrite }), &at, message);
    };
    check(json!({}), "", "at least one of");
    check(
        json!({ "prefix": "/a" }),
        "/prefix",
        "no `match.path_prefix`",
    );
    check(json!({ "path": "/a/.." }), "/path", "resolved before");
    check(json!({ "host": "a b" }), "/host", "not a host");
    check(json!({ "host": "a:x" }), "/host", "no port");
    check(json!({ "host": "a:0" }), "/host", "no port");
    check(json!({ "host": "::1" }), "/host", "brackets");
    expect(
        json!({ "cluster": "c", "match": { "path_regex": "/(a)" }, "rewrite": { "path": "/$2" } }),
        "/rewrite/path",
        "no group `2`",
    );
}

#[test]
fn authorities() {
    for good in ["a", "a.b:80", "[::1]", "[::1]:80", "10.0.0.1:65535"] {
        let route = json!({ "name": "a", "cluster": "c", "rewrite": { "host": good } });
        assert_eq!(mistakes(json!([route])), [""; 0]);
    }
}

#[test]
fn answers() {
    let check = |respond: Value, at: &str, message: &str| {
        let at = format!("/respond{at}");
        expect(json!({ "respond": respond }), &at, message);
    };
    check(json!({ "status": 101 }), "/status", "200 to 599");
    check(json!({ "status": 600 }), "/status", "200 to 599");
    check(
        json!({ "status": 204, "body": "x" }),
        "/body",
        "has no body",
    );
    check(
        json!({ "status": 200, "body": "x".repeat(70_000) }),
        "/body",
        "longer than",
    );
    check(
        json!({ "status": 200, "headers": { "Content-Length": "1" } }),
        "/headers/Content-Length",
        "belongs to the proxy",
    );
}

#[test]
fn what_has_no_effect_is_refused() {
    let beside = |key: &str, value: Value| {
        let mut route = json!({ "respond": { "status": 200 } });
        route[key] = value;
        route
    };
    expect(
        beside("rewrite", json!({ "path": "/a" })),
        "/rewrite",
        "no effect",
    );
    for key in [
        "timeout",
        "try_timeout",
        "idle_timeout",
        "connect_timeout",
        "tls_timeout",
        "answer_timeout",
    ] {
        expect(beside(key, json!("1s")), &format!("/{key}"), "no effect");
    }
    expect(beside("retry", json!("reads")), "/retry", "no effect");
    expect(
        beside("headers", json!({ "request": { "remove": ["a"] } })),
        "/headers/request",
        "no effect",
    );
}

#[test]
fn fields() {
    let check = |edits: Value, at: &str, message: &str| {
        for head in ["request", "response"] {
            let route = json!({ "cluster": "c", "headers": { head: edits } });
            expect(route, &format!("/headers/{head}{at}"), message);
        }
    };
    check(
        json!({ "set": { "a b": "1" } }),
        "/set/a b",
        "not a field name",
    );
    check(json!({ "set": { "a": "x\r\ny" } }), "/set/a", "line ends");
    check(
        json!({ "append": { "a": " x" } }),
        "/append/a",
        "begin or end",
    );
    check(
        json!({ "remove": ["a", ":path"] }),
        "/remove/1",
        "not a field name",
    );
    check(
        json!({ "set": { "Host": "x" } }),
        "/set/Host",
        "rewrite.host",
    );
    check(
        json!({ "remove": ["Transfer-Encoding"] }),
        "/remove/0",
        "belongs to the proxy",
    );
}

#[test]
fn expressions_have_a_common_limit() {
    let routes: Vec<Value> = (0..1000)
        .map(|number| {
            let regex = format!("/{number}/[a-z]{{900}}");
            json!({ "name": number.to_string(), "match": { "path_regex": regex }, "cluster": "c" })
        })
        .collect();
    let mistakes = mistakes(routes.into());
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert!(mistakes[0].contains("more than 16 MiB"), "{mistakes:?}");
}
