//! `lockgate:router` over sockets: which route takes a request, and what
//! becomes of it then.

mod support;

use std::collections::BTreeMap;
use std::io::{BufReader, Read};

use support::filtered::{ask_raw, yaml};
use support::{Answer, Origin, Proxy};

/// A proxy with these routes, each a line, in front of these clusters.
fn routed(routes: &str, listener: &str, clusters: &[(&str, &Origin)]) -> Proxy {
    let routes: String = routes
        .lines()
        .map(|route| format!("        - {}\n", route.trim()))
        .collect();
    let filters =
        format!("  router:\n    component: lockgate:router\n    config:\n      routes:\n{routes}");
    Proxy::start(&yaml("router", listener, &filters, clusters))
}

fn get(proxy: &Proxy, host: &str, path: &str, more: &str) -> Answer {
    ask_raw(
        proxy,
        &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{more}\r\n"),
    )
}

#[test]
fn every_kind_of_match_takes_its_requests_and_no_others() {
    let proxy = routed(
        r#"{ name: host, match: { path: /h, host: shop.example }, respond: { status: 200, body: host } }
        { name: suffix, match: { path: /h, host: "*.shop.example" }, respond: { status: 200, body: suffix } }
        { name: path, match: { path: /exact }, respond: { status: 200, body: path } }
        { name: prefix, match: { path_prefix: /exact }, respond: { status: 200, body: prefix } }
        { name: regex, match: { path_regex: "/items/[0-9]+" }, respond: { status: 200, body: regex } }
        { name: method, match: { path: /m, method: [PUT, POST] }, respond: { status: 200, body: method } }
        { name: header, match: { path: /hd, headers: { x-kind: { prefix: a } } }, respond: { status: 200, body: header } }
        { name: absent, match: { path: /hd, headers: { x-kind: { present: false } } }, respond: { status: 200, body: absent } }
        { name: query, match: { path: /q, query: { v: "2 x" } }, respond: { status: 200, body: query } }
        { name: cookie, match: { path: /c, cookies: { beta: { regex: "on|yes" } } }, respond: { status: 200, body: cookie } }"#,
        "",
        &[],
    );
    let took = |host: &str, path: &str, more: &str| {
        let answer = get(&proxy, host, path, more);
        match answer.status {
            200 => answer.text(),
            status => status.to_string(),
        }
    };
    assert_eq!(took("shop.example", "/h", ""), "host");
    assert_eq!(took("SHOP.example:80", "/h", ""), "host");
    assert_eq!(took("a.shop.example", "/h", ""), "suffix");
    assert_eq!(took("ashop.example", "/h", ""), "404");
    assert_eq!(took("a", "/exact", ""), "path");
    assert_eq!(took("a", "/./x/../exact?q=1", ""), "path");
    assert_eq!(took("a", "/exact/", ""), "prefix");
    assert_eq!(took("a", "/exact/more", ""), "prefix");
    assert_eq!(took("a", "/exactly", ""), "404");
    assert_eq!(took("a", "/items/12", ""), "regex");
    assert_eq!(took("a", "/items/12/x", ""), "404");
    assert_eq!(took("a", "/m", ""), "404");
    let put = "PUT /m HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(ask_raw(&proxy, put).text(), "method");
    assert_eq!(took("a", "/hd", "x-kind: abc\r\n"), "header");
    assert_eq!(took("a", "/hd", "x-kind: b\r\nx-kind: ab\r\n"), "header");
    assert_eq!(took("a", "/hd", "x-kind: b\r\n"), "404");
    assert_eq!(took("a", "/hd", ""), "absent");
    assert_eq!(took("a", "/q?a=1&v=2%20x", ""), "query");
    assert_eq!(took("a", "/q?v=2", ""), "404");
    assert_eq!(took("a", "/c", "cookie: a=b; beta=yes\r\n"), "cookie");
    assert_eq!(took("a", "/c", "cookie: beta=yesterday\r\n"), "404");
}

#[test]
fn what_no_route_takes_goes_to_the_listeners_cluster() {
    let (rest, shop) = (Origin::saying("rest"), Origin::saying("shop"));
    let proxy = routed(
        "{ name: shop, match: { path_prefix: /shop }, cluster: shop }",
        ", cluster: rest",
        &[("rest", &rest), ("shop", &shop)],
    );
    assert_eq!(proxy.get("/shop/1").text(), "shop");
    assert_eq!(proxy.get("/other").text(), "rest");
}

#[test]
fn a_split_sends_shares_by_weight() {
    let origins = [
        Origin::saying("a"),
        Origin::saying("b"),
        Origin::saying("c"),
    ];
    let proxy = routed(
        "{ name: s, split: [{ cluster: a, weight: 1 }, { cluster: b, weight: 3 }, { cluster: c, weight: 0 }] }",
        "",
        &[("a", &origins[0]), ("b", &origins[1]), ("c", &origins[2])],
    );
    let mut shares: BTreeMap<String, u32> = BTreeMap::new();
    let mut client = proxy.connect();
    for _ in 0..400 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        *shares.entry(client.answer().text()).or_default() += 1;
    }
    assert_eq!(shares.get("c"), None);
    // A quarter of 400, and six standard deviations to either side.
    assert!((48..=152).contains(&shares["a"]), "{shares:?}");
}

#[test]
fn a_sticky_split_keeps_a_value_where_it_is() {
    let origins = [Origin::saying("a"), Origin::saying("b")];
    let start = || {
        routed(
            "{ name: s, split: [{ cluster: a, weight: 1 }, { cluster: b, weight: 1 }], split_by: { cookie: session } }",
            "",
            &[("a", &origins[0]), ("b", &origins[1])],
        )
    };
    let picks = |proxy: &Proxy| -> Vec<String> {
        let pick = |session: u32| {
            let cookie = format!("x=1; session=s{session}");
            proxy.ask("/", &[("cookie", &cookie)]).text()
        };
        (0..64).map(pick).collect()
    };
    let proxy = start();
    let first = picks(&proxy);
    assert!(first.contains(&"a".to_owned()) && first.contains(&"b".to_owned()));
    for _ in 0..3 {
        assert_eq!(picks(&proxy), first);
    }
    drop(proxy);
    assert_eq!(picks(&start()), first, "after a restart");
}

#[test]
fn redirects_and_answers_need_no_origin() {
    let proxy = routed(
        r#"{ name: moved, match: { path_prefix: /old }, redirect: { status: 301, prefix: /new } }
        { name: secure, match: { host: plain.example }, redirect: { status: 308, scheme: https } }
        { name: health, match: { path: /healthz }, respond: { status: 207, body: "fine\n", headers: { cache-control: no-store } } }"#,
        "",
        &[],
    );
    let moved = get(&proxy, "a", "/old/x?q=1", "");
    assert_eq!(
        (moved.status, moved.header("location")),
        (301, Some("/new/x?q=1"))
    );
    let secure = get(&proxy, "plain.example", "/a?b=c", "");
    assert_eq!(
        (secure.status, secure.header("location")),
        (308, Some("https://plain.example/a?b=c"))
    );
    let health = get(&proxy, "a", "/healthz", "");
    assert_eq!((health.status, health.text().as_str()), (207, "fine\n"));
    assert_eq!(health.header("cache-control"), Some("no-store"));
    assert_eq!(
        health.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
}

#[test]
fn paths_and_hosts_are_rewritten() {
    let origin = Origin::saying("ok");
    let proxy = routed(
        r#"{ name: api, match: { path_prefix: /api/v1 }, cluster: o, rewrite: { prefix: /, host: "api.internal:8080" } }
        { name: item, match: { path_regex: "/shop/(?P<kind>[a-z]+)/([0-9]+)" }, cluster: o, rewrite: { path: /items/$2/$kind } }
        { name: dots, match: { path_regex: "/f/(.+)[.]bin" }, cluster: o, rewrite: { path: /f/$1/x } }"#,
        "",
        &[("o", &origin)],
    );
    assert_eq!(proxy.get("/api/v1/items?x=1").status, 200);
    let seen = origin.seen();
    assert_eq!(seen.line, "GET /items?x=1 HTTP/1.1");
    assert_eq!(seen.header("host"), Some("api.internal:8080"));

    assert_eq!(proxy.get("/shop/book/12?y").status, 200);
    let seen = origin.seen();
    assert_eq!(seen.line, "GET /items/12/book?y HTTP/1.1");
    assert_eq!(seen.header("host"), Some("test"));

    assert_eq!(proxy.get("/f/...bin").status, 400, "`..` as a group");
    assert!(origin.seen_now().is_none());
}

#[test]
fn fields_of_requests_and_answers_are_edited() {
    let origin = Origin::start(|_| {
        b"HTTP/1.1 200 OK\r\nserver: old\r\nvary: accept\r\nx-internal: 1\r\ncontent-length: 0\r\n\r\n"
            .to_vec()
    });
    let proxy = routed(
        r#"{ name: shop, cluster: o, headers: { request: { set: { x-via: lockgate }, append: { x-more: "2" }, remove: [x-debug] }, response: { set: { x-route: shop }, append: { vary: accept-language }, remove: [x-internal] } } }"#,
        "",
        &[("o", &origin)],
    );
    let answer = proxy.ask("/", &[("x-debug", "1"), ("x-via", "me"), ("x-more", "1")]);
    let seen = origin.seen();
    let all = |name: &str| -> Vec<&str> {
        let named = seen.headers.iter().filter(|(known, _)| known == name);
        named.map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!(all("x-via"), ["lockgate"]);
    assert_eq!(all("x-more"), ["1", "2"]);
    assert!(all("x-debug").is_empty());
    assert_eq!(answer.header("x-route"), Some("shop"));
    assert_eq!(answer.header("x-internal"), None);
    let vary: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "vary")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(vary, ["accept", "accept-language"]);
}

#[test]
fn a_routes_timeout_ends_what_takes_longer() {
    // Reads on without ever answering.
    let silent = Origin::scripted(|stream, _| {
        BufReader::new(stream).bytes().for_each(drop);
    });
    let quick = Origin::saying("quick");
    let proxy = routed(
        "{ name: slow, match: { path: /slow }, cluster: silent, timeout: 50ms }
        { name: quick, cluster: quick, timeout: 1m }",
        "",
        &[("silent", &silent), ("quick", &quick)],
    );
    assert_eq!(proxy.get("/slow").status, 504);
    assert_eq!(proxy.get("/").text(), "quick");
}

#[test]
fn an_unknown_cluster_and_an_unreachable_route_are_told() {
    let folder = Proxy::folder();
    let filters = "  router:\n    component: lockgate:router\n    config:\n      routes:\n";
    let unknown = format!("{filters}        - {{ name: a, cluster: shopp }}");
    let checked = support::filtered::check(&folder, &yaml("router", "", &unknown, &[]));
    assert_eq!(checked.code, 2, "{checked:?}");
    assert!(checked.text.contains("`shopp`"), "{checked:?}");

    let hidden = format!(
        "{filters}        - {{ name: all, respond: {{ status: 204 }} }}\n        \
         - {{ name: never, match: {{ path: /x }}, respond: {{ status: 204 }} }}"
    );
    let checked = support::filtered::check(&folder, &yaml("router", "", &hidden, &[]));
    assert_eq!(checked.code, 0, "{checked:?}");
    let warning = checked.text.lines().find(|line| line.contains("warning: "));
    assert!(
        warning.is_some_and(|line| line.contains("all")),
        "{checked:?}"
    );
    std::fs::remove_dir_all(folder).ok();
}
