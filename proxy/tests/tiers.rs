//! Which part of the endpoints is asked: by tiers, zones and subsets.

#[path = "guests/component.rs"]
mod guest;
mod support;

use std::collections::HashMap;

use support::admin::ask;
use support::{Origin, Proxy, within};

fn yaml(process: &str, cluster: &str) -> String {
    format!(
        "workers: 1\n\
         admin: {{ address: '127.0.0.1:0' }}\n{process}\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
         clusters: [{{ name: o, {cluster} }}]\n"
    )
}

/// Who answers how many of these requests.
fn counts(proxy: &Proxy, requests: usize) -> HashMap<String, usize> {
    let mut client = proxy.connect();
    let mut counts = HashMap::new();
    for _ in 0..requests {
        let answer = client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").answer();
        *counts.entry(answer.text()).or_insert(0) += 1;
    }
    counts
}

/// Origins by what they say, each with what is to be said of its endpoint.
fn origins(all: &[(&str, &str)]) -> (Vec<Origin>, String) {
    let started: Vec<_> = all.iter().map(|(name, _)| Origin::saying(name)).collect();
    let endpoint = |(origin, (_, more)): (&Origin, &(&str, &str))| {
        format!("{{ address: '{}', {more} }}", origin.address)
    };
    let endpoints: Vec<_> = started.iter().zip(all).map(endpoint).collect();
    (started, format!("endpoints: [{}]", endpoints.join(", ")))
}

fn tell(proxy: &Proxy, origin: &Origin, word: &str) {
    let path = format!("/clusters/o/{}/{word}", origin.address);
    let told = ask(proxy.admin(), "POST", &path, &[("host", "localhost")]);
    assert_eq!(told.status, 200);
}

#[test]
fn a_later_tier_is_asked_where_the_earlier_is_sick() {
    let sick = Origin::start(|seen| {
        let status = if seen.line.contains("/healthz") {
            500
        } else {
            200
        };
        format!("HTTP/1.1 {status} X\r\ncontent-length: 4\r\n\r\nsick").into_bytes()
    });
    let (_origins, others) = origins(&[("first", "tier: 0"), ("second", "tier: 1")]);
    let others = others.trim_start_matches("endpoints: [");
    let check = "{ http: { path: /healthz }, interval: 20ms }";
    let cluster = |more: &str| {
        let own = format!("{{ address: '{}', tier: 0 }}", sick.address);
        format!("endpoints: [{own}, {others}, {more}")
    };
    let proxy = Proxy::start(&yaml("", &cluster("balance: random")));
    let found = counts(&proxy, 200);
    assert_eq!(found.get("second"), None, "{found:?}");
    // One of two is sick: what is left, loaded 1.4 times as much, carries 70 %.
    let checked = cluster(&format!("balance: random, health_checks: [{check}]"));
    proxy.edit(&yaml("", &checked));
    proxy.reload();
    within("it is found out", || {
        counts(&proxy, 20).contains_key("second").then_some(())
    });
    let found = counts(&proxy, 2000);
    assert_eq!(found.get("sick"), None, "{found:?}");
    // By chance, 110 is more than five standard deviations.
    assert!(found["second"].abs_diff(600) < 110, "{found:?}");
}

#[test]
fn a_later_tier_stands_in_where_nobody_listens() {
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    let nobody: Vec<_> = (0..4)
        .map(|_| {
            let (domain, kind) = (socket2::Domain::IPV4, socket2::Type::STREAM);
            let socket = socket2::Socket::new(domain, kind, None).unwrap();
            socket.bind(&any.into()).unwrap();
            socket
        })
        .collect();
    let first = nobody.iter().map(|socket| {
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        format!("'{address}'")
    });
    let first: Vec<_> = first.collect();
    let second = Origin::saying("second");
    let proxy = Proxy::start(&yaml(
        "",
        &format!(
            "endpoints: [{}, {{ address: '{}', tier: 1 }}], refused_pause: 1h",
            first.join(", "),
            second.address
        ),
    ));
    // The first requests find out that nobody is there, three tries each.
    within("all are known to refuse", || {
        (proxy.get("/").status == 200).then_some(())
    });
    assert_eq!(counts(&proxy, 20), [("second".into(), 20)].into());
}

#[test]
fn the_own_zone_is_preferred_as_far_as_it_carries() {
    let all = [
        ("a", "zone: a"),
        ("b", "zone: b"),
        ("b", "zone: b"),
        ("b", "zone: b"),
    ];
    let (origins, endpoints) = origins(&all);
    let cluster = format!("{endpoints}, balance: random");
    let proxy = Proxy::start(&yaml("zone: b\n", &cluster));
    assert_eq!(counts(&proxy, 100), [("b".into(), 100)].into());
    // A quarter of the endpoints carries a quarter of all, half of what begins there.
    proxy.edit(&yaml("zone: a\n", &cluster));
    proxy.reload();
    let found = counts(&proxy, 2000);
    assert!(found["a"].abs_diff(1000) < 120, "{found:?}");
    // Elsewhere all are alike.
    proxy.edit(&yaml("zone: elsewhere\n", &cluster));
    proxy.reload();
    let found = counts(&proxy, 2000);
    assert!(found["a"].abs_diff(500) < 110, "{found:?}");
    // With nobody left in its own zone, it asks the other.
    proxy.edit(&yaml("zone: a\n", &cluster));
    proxy.reload();
    tell(&proxy, &origins[0], "drain");
    within("only others are asked", || {
        (counts(&proxy, 40) == [("b".into(), 40)].into()).then_some(())
    });
}

/// A proxy whose guest asks for a subset by this step.
fn asking(step: &str, subsets: &str) -> (Proxy, Vec<Origin>) {
    let (origins, endpoints) = origins(&[
        ("v1", "labels: { version: v1, stage: prod }"),
        ("v2", "labels: { version: v2, stage: prod }"),
        ("v2", "labels: { version: v2, stage: test }"),
        ("none", ""),
    ]);
    let folder = Proxy::folder();
    std::fs::write(folder.join("guest.wasm"), guest::component()).unwrap();
    let proxy = Proxy::start_in(
        folder,
        &format!(
            "workers: 1\n\
             listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, filters: [guest] }}]\n\
             filters:\n  guest:\n    component: ./guest.wasm\n    \
             config: {{ wants: {{ phases: [request] }}, request: [{step}] }}\n\
             clusters: [{{ name: o, {endpoints}{subsets} }}]\n"
        ),
    );
    (proxy, origins)
}

#[test]
fn a_filter_asks_for_a_subset() {
    let by = ", subsets: { by: [[version]], fallback: ";
    let check = |step: &str, subsets: &str, wanted: &[(&str, usize)]| {
        let (proxy, _origins) = asking(step, subsets);
        let wanted = wanted
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count));
        assert_eq!(counts(&proxy, 8), wanted.collect(), "{step} {subsets}");
    };
    let all: &[(&str, usize)] = &[("v1", 2), ("v2", 4), ("none", 2)];
    check("", &format!("{by}none }}"), all);
    check(
        "set-subset version v1",
        &format!("{by}none }}"),
        &[("v1", 8)],
    );
    check(
        "set-subset version v2",
        &format!("{by}none }}"),
        &[("v2", 8)],
    );
    check("set-subset version v3", &format!("{by}all }}"), all);
    let default = format!("{by}default, default: {{ version: v1 }} }}");
    check("set-subset version v3", &default, &[("v1", 8)]);
    let (proxy, _origins) = asking("set-subset version v3", &format!("{by}none }}"));
    assert_eq!(proxy.get("/").status, 503);
}

#[test]
fn a_route_asks_for_a_subset() {
    let (_origins, endpoints) = origins(&[
        ("v1", "labels: { version: v1 }"),
        ("v2", "labels: { version: v2 }"),
    ]);
    let proxy = Proxy::start(&format!(
        "workers: 1\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', filters: [router] }}]\n\
         filters:\n  router:\n    component: lockgate:router\n    config:\n      routes:\n      \
         - {{ name: new, match: {{ path_prefix: /new }}, cluster: o, subset: {{ version: v2 }} }}\n      \
         - {{ name: old, cluster: o, subset: {{ version: v1 }} }}\n\
         clusters: [{{ name: o, {endpoints}, subsets: {{ by: [[version]] }} }}]\n"
    ));
    for _ in 0..3 {
        assert_eq!(proxy.get("/new").text(), "v2");
        assert_eq!(proxy.get("/").text(), "v1");
    }
}
