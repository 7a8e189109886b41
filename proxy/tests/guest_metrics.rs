//! What filters measure of their own accord, while versions of them come and go.

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use std::collections::HashSet;

use serde_json::{Value, json};
use support::admin::{get, metric};
use support::{Origin, Proxy, within};

/// One filter `guest`, whose versions are good at once, with this beside it.
fn yaml(origin: &Origin, config: &Value, limits: &Value) -> String {
    let guest = json!({
        "component": "./guest.wasm", "probation": { "time": "0s" },
        "config": config, "limits": limits,
    });
    format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, filters: [guest] }}]\n\
         filters: {}\nclusters: [{{ name: o, endpoints: ['{}'] }}]\n",
        json!({ "guest": guest }),
        origin.address
    )
}

/// Defines in `create` what it counts by.
fn counting(label: &str, value: &str) -> Value {
    json!({
        "wants": { "phases": ["request"] },
        "create": [format!("count-by made {label} {value}")],
        "request": [format!("count-by hits {label} {value}")],
    })
}

fn start(origin: &Origin, config: &Value, limits: &Value) -> Proxy {
    let folder = Proxy::folder();
    std::fs::write(folder.join("guest.wasm"), hostile::component()).unwrap();
    Proxy::start_in(folder, &yaml(origin, config, limits))
}

fn load(proxy: &Proxy, yaml: &str) {
    proxy.edit(yaml);
    let outcome = proxy.reload();
    assert!(outcome.ok, "{:?}", outcome.mistakes);
}

fn hits(proxy: &Proxy, label: &str, value: &str) -> f64 {
    let labels = format!("{{filter=\"guest\",{label}=\"{value}\"}}");
    metric(proxy.admin(), &format!("lockgate_guest_hits_total{labels}"))
}

/// `/metrics`, in which no family is told twice and no series.
fn valid(proxy: &Proxy) -> String {
    let page = get(proxy.admin(), "/metrics").text();
    let mut known = HashSet::new();
    for line in page.lines() {
        let what = match line.strip_prefix("# ") {
            Some(about) => about.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" "),
            None => line.rsplit_once(' ').unwrap().0.to_owned(),
        };
        assert!(known.insert(what), "twice: {line}");
    }
    page
}

#[test]
fn a_version_that_counts_by_another_label_is_loaded() {
    let (origin, release) = Origin::holding("ok");
    let proxy = start(&origin, &counting("kind", "a"), &json!({}));
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(hits(&proxy, "kind", "a"), 1.0);
    // One that counts alike goes on with what was counted.
    load(&proxy, &yaml(&origin, &counting("kind", "b"), &json!({})));
    assert_eq!(hits(&proxy, "kind", "a"), 1.0);
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(hits(&proxy, "kind", "b"), 1.0);

    let mut held = proxy.connect();
    held.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    within("it is on its way", || {
        (origin.seen().line.contains("/held")).then_some(())
    });
    load(&proxy, &yaml(&origin, &counting("route", "c"), &json!({})));
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(hits(&proxy, "route", "c"), 1.0);
    let page = valid(&proxy);
    assert!(
        page.contains("lockgate_guest_hits_total{filter=\"guest\",kind=\"b\"} 2"),
        "{page}"
    );

    // With its last exchange the old version goes, and so does what it counted by.
    release.send(()).unwrap();
    assert_eq!(held.answer().status, 200);
    within("the old series are gone", || {
        let page = valid(&proxy);
        (!page.contains("kind=\"")).then_some(())
    });
    assert_eq!(hits(&proxy, "route", "c"), 1.0);
}

#[test]
fn a_changed_limit_of_series_is_that_of_the_next_version() {
    let origin = Origin::saying("ok");
    let flood = json!({ "wants": { "phases": ["request"] }, "request": ["series-flood 5"] });
    let limited = |max: u32| json!({ "max_series": max });
    let proxy = start(&origin, &flood, &limited(2));
    let dropped = || {
        let series = "lockgate_filter_metric_updates_dropped_total{filter=\"guest\"}";
        metric(proxy.admin(), series)
    };
    let told = || {
        let page = valid(&proxy);
        page.lines()
            .filter(|line| line.starts_with("lockgate_guest_flood_total{"))
            .count()
    };
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!((told(), dropped()), (2, 3.0));
    load(&proxy, &yaml(&origin, &flood, &limited(4)));
    assert_eq!(told(), 2);
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!((told(), dropped()), (4, 4.0));
}

#[test]
fn a_refused_version_leaves_no_metric() {
    let origin = Origin::saying("ok");
    let proxy = start(&origin, &counting("kind", "a"), &json!({}));
    assert_eq!(proxy.get("/").status, 200);
    let before = valid(&proxy);
    let of_guest = |page: &str| -> Vec<String> {
        let lines = page.lines().filter(|line| line.contains("lockgate_guest"));
        lines.map(str::to_owned).collect()
    };
    let mut bad = counting("route", "b");
    let more = ["count-by made kind a", "count-by other kind b", "error no"];
    bad["create"] = json!(more);
    proxy.edit(&yaml(&origin, &bad, &json!({})));
    let outcome = proxy.reload();
    assert!(!outcome.ok);
    assert_eq!(of_guest(&valid(&proxy)), of_guest(&before));

    // What it defined stands in nobody's way.
    let mut good = counting("route", "b");
    good["create"] = json!(["count-by other route b"]);
    load(&proxy, &yaml(&origin, &good, &json!({})));
    let page = valid(&proxy);
    assert!(
        page.contains("lockgate_guest_other_total{filter=\"guest\",route=\"b\"}"),
        "{page}"
    );
}
