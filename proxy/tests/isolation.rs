//! Which exchanges share an instance, over sockets.

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use hostile::Hostile;
use serde_json::json;
use support::filtered::counted;
use support::{Origin, Proxy};

/// A guest that tells how often its instance was called for this so far.
fn start(origin: &Origin, isolation: &str) -> Proxy {
    let config = json!({
        "wants": { "phases": ["request", "response", "done"] },
        "request": ["read.calls"],
        "response": ["read.calls", "response.show a.read"],
    });
    Hostile::straight()
        .guest("a", json!({ "isolation": isolation, "config": config }))
        .start(origin)
}

fn calls(proxy: &Proxy) -> String {
    let answer = proxy.get("/");
    assert_eq!(answer.status, 200);
    answer.header("x-shown").unwrap().to_owned()
}

#[test]
fn exchanges_share_an_instance_unless_told_otherwise() {
    let origin = Origin::saying("ok");
    let proxy = start(&origin, "shared");
    assert_eq!([calls(&proxy), calls(&proxy)], ["2", "4"]);
    let made = counted(&proxy, "lockgate_filter_instances_made_total", &[]);
    assert_eq!(made, 1);
}

#[test]
fn each_request_may_have_a_fresh_one() {
    let origin = Origin::saying("ok");
    let proxy = start(&origin, "request");
    assert_eq!(
        [calls(&proxy), calls(&proxy), calls(&proxy)],
        ["2", "2", "2"]
    );
    let lost = counted(&proxy, "lockgate_filter_instances_lost_total", &[]);
    assert_eq!(
        lost, 0,
        "what has served its exchange is not lost to a fault"
    );
}

#[test]
fn a_reload_may_change_it() {
    let origin = Origin::saying("ok");
    let proxy = start(&origin, "shared");
    assert_eq!(calls(&proxy), "2");
    let yaml = std::fs::read_to_string(proxy.path().join("lockgate.yaml")).unwrap();
    let shared = "\"isolation\":\"shared\"";
    assert!(yaml.contains(shared), "{yaml}");
    let own = yaml.replace(shared, "\"isolation\":\"request\"");
    std::fs::write(proxy.path().join("lockgate.yaml"), own).unwrap();
    assert!(proxy.reload().ok);
    assert_eq!([calls(&proxy), calls(&proxy)], ["2", "2"]);
}

/// Who asked for nothing but the request's head holds nothing of it.
#[test]
fn an_instance_that_is_not_called_again_is_let_go() {
    let (origin, release) = Origin::holding("ok");
    let config = json!({ "wants": { "phases": ["request"] } });
    let limits = json!({ "max_instances": 1, "max_wait": "60s" });
    let entry = json!({ "isolation": "request", "limits": limits, "config": config });
    let proxy = Hostile::straight().guest("a", entry).start(&origin);
    let mut held = proxy.connect();
    held.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    while !origin.seen().line.contains("/held") {}
    let mut second = proxy.connect();
    second.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(second.answer().status, 200);
    release.send(()).unwrap();
    assert_eq!(held.answer().status, 200);
}

#[test]
fn more_exchanges_than_instances_wait_also_where_each_has_its_own() {
    let (origin, release) = Origin::holding("ok");
    let config = json!({ "wants": { "phases": ["request", "response"] } });
    let limits = json!({ "max_instances": 1, "max_wait": "60s" });
    let entry = json!({ "isolation": "request", "limits": limits, "config": config });
    let proxy = Hostile::straight().guest("a", entry).start(&origin);
    let mut held = proxy.connect();
    held.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    while !origin.seen().line.contains("/held") {}
    let mut second = proxy.connect();
    second.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    support::within("the second waits", || {
        (counted(&proxy, "lockgate_filter_waits_total", &[]) == 1).then_some(())
    });
    release.send(()).unwrap();
    assert_eq!(held.answer().status, 200);
    assert_eq!(second.answer().status, 200);
}
