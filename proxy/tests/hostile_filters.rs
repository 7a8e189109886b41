//! Filters that trap, loop, hoard, lie and fail, over sockets: the exchange at
//! hand gets its due, neighbours lose nothing, and the next request is served.

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use hostile::{Hostile, all, tracer};
use serde_json::{Map, Value, json};
use support::filtered::counted;
use support::{Client, LIMIT, Origin, Proxy, within};

/// A route's name, its bad step, and the name of the fault.
const BAD: [(&str, &str, &str); 21] = [
    ("trap", "trap", "trap"),
    ("panic", "panic oh no", "trap"),
    ("exit", "exit", "trap"),
    ("leak", "leak", "host-calls"),
    ("loop", "loop", "overrun"),
    ("ask-without-end", "ask-without-end", "host-calls"),
    ("log-flood", "log-flood 1000000", "host-calls"),
    ("series-flood", "series-flood 1000000", "host-calls"),
    ("fields-flood", "fields-flood 1000000", "host-calls"),
    ("garbage-text", "garbage-text", "trap"),
    ("garbage-error", "garbage-error", "trap"),
    ("allocate", "allocate", "memory"),
    ("recurse", "recurse", "stack"),
    ("error", "error refused", "error"),
    ("status-99", "respond 99 x", "invalid-reply"),
    ("body-of-204", "respond 204 x", "invalid-reply"),
    ("framing", "respond-with content-length 3", "invalid-reply"),
    ("garbage-field", "respond-with a\nb c", "invalid-reply"),
    ("garbage-value", "respond-with x a\r\nb: c", "invalid-reply"),
    ("huge", "respond-huge 3000000", "reply-too-large"),
    ("gigabyte", "respond-huge 1073741824", "memory"),
];

/// One guest, harmless on the route `good`, and bad in one phase on a route for
/// each way.
fn bad_in(phase: &str, on_error: &str, origin: &Origin) -> Proxy {
    let mut routes = Map::new();
    for (route, step, _) in BAD {
        let mut config = tracer("guest");
        let before = match phase {
            "request" => "request.set x-half done",
            "response" => "response.set x-half done",
            _ => "stderr bye",
        };
        config[phase] = json!([before, step]);
        routes.insert(route.to_owned(), json!({ "config": config }));
    }
    let names: Vec<_> = BAD.iter().map(|(route, ..)| *route).collect();
    Hostile::routed(&[&names[..], &["good"]].concat())
        .guest("before", json!({ "config": tracer("before") }))
        .guest(
            "guest",
            json!({
                "config": tracer("guest"),
                "routes": routes,
                "on_error": on_error,
                "limits": {
                    "max_overruns": 1_000_000, "memory": "16MiB", "cpu": "20ms",
                    "max_host_calls": 1000,
                },
            }),
        )
        .start(origin)
}

/// An origin that shows what marks it was sent.
fn showing() -> Origin {
    Origin::start(|seen| {
        let marks = all(&seen.headers, "x-seen").join(",");
        let half = seen.header("x-half").unwrap_or("none");
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-marks: {marks}\r\nx-was-half: {half}\r\n\r\n"
        )
        .into_bytes()
    })
}

fn get(client: &mut Client, path: &str) -> support::Answer {
    client
        .send(format!("GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n"))
        .answer()
}

/// A neighbour on the same worker, of the same filter, on another route.
fn neighbour_is_well(neighbour: &mut Client, after: &str) {
    let answer = get(neighbour, "good");
    assert_eq!(answer.status, 200, "after {after}");
    assert_eq!(
        answer.header("x-marks"),
        Some("before,guest"),
        "after {after}"
    );
    let seen = all(&answer.headers, "x-seen");
    assert_eq!(seen, ["guest", "before"], "after {after}");
}

/// Each fault was counted as often as it was made.
fn faults_are_counted(proxy: &Proxy, times: u64) {
    for (_, _, fault) in BAD {
        let ways = BAD.iter().filter(|(.., other)| *other == fault).count() as u64;
        let labels = [("filter", "guest"), ("fault", fault)];
        let count = counted(proxy, "lockgate_filter_faults_total", &labels);
        assert_eq!(count, ways * times, "{fault}");
    }
}

#[test]
fn a_failure_is_500_where_it_denies() {
    for phase in ["request", "response"] {
        let origin = showing();
        let proxy = bad_in(phase, "deny", &origin);
        let (mut client, mut neighbour) = (proxy.connect(), proxy.connect());
        for (route, ..) in BAD {
            for _ in 0..2 {
                let answer = get(&mut client, route);
                assert_eq!(answer.status, 500, "{route} in {phase}");
                assert_eq!(answer.text(), "a filter failed\n");
                // Those that took part see the answer; the failed one does not.
                assert_eq!(all(&answer.headers, "x-seen"), ["before"], "{route}");
                assert_eq!(answer.header("x-half"), None);
                neighbour_is_well(&mut neighbour, route);
            }
        }
        faults_are_counted(&proxy, 2);
    }
}

#[test]
fn a_failure_is_passed_over_where_it_skips() {
    for phase in ["request", "response"] {
        let origin = showing();
        let proxy = bad_in(phase, "skip", &origin);
        let (mut client, mut neighbour) = (proxy.connect(), proxy.connect());
        for (route, ..) in BAD {
            let answer = get(&mut client, route);
            assert_eq!(answer.status, 200, "{route} in {phase}");
            assert_eq!(answer.header("x-half"), None, "{route} in {phase}");
            assert_eq!(answer.header("x-was-half"), Some("none"));
            assert_eq!(all(&answer.headers, "x-seen"), ["before"], "{route}");
            neighbour_is_well(&mut neighbour, route);
        }
        faults_are_counted(&proxy, 1);
    }
}

#[test]
fn a_failure_closes_where_it_resets() {
    for phase in ["request", "response"] {
        let origin = showing();
        let proxy = bad_in(phase, "reset", &origin);
        let mut neighbour = proxy.connect();
        for (route, ..) in BAD {
            let mut client = proxy.connect();
            client.send(format!("GET /{route} HTTP/1.1\r\nhost: a\r\n\r\n"));
            assert_eq!(client.rest(), b"", "{route} in {phase}");
            neighbour_is_well(&mut neighbour, route);
        }
        faults_are_counted(&proxy, 1);
    }
}

#[test]
fn a_failure_when_all_is_over_is_only_counted() {
    let origin = showing();
    let proxy = bad_in("done", "deny", &origin);
    let (mut client, mut neighbour) = (proxy.connect(), proxy.connect());
    // An `err` and an answer are nothing that this phase could give.
    let answers = |step: &str| step.starts_with("respond") || step.contains("error");
    let bad = BAD.iter().filter(|(_, step, _)| !answers(step));
    for (route, ..) in bad.clone() {
        let answer = get(&mut client, route);
        assert_eq!(answer.status, 200, "{route}");
        assert_eq!(answer.header("x-marks"), Some("before,guest"));
        assert_eq!(all(&answer.headers, "x-seen"), ["guest", "before"]);
        neighbour_is_well(&mut neighbour, route);
    }
    for (.., fault) in bad.clone() {
        let times = bad.clone().filter(|(.., other)| other == fault).count() as u64;
        let labels = [("filter", "guest"), ("fault", *fault)];
        let count = || counted(&proxy, "lockgate_filter_faults_total", &labels);
        within(fault, || (count() == times).then_some(()));
    }
}

#[test]
fn an_exchange_under_way_survives_its_neighbours_failures() {
    let (let_go, go) = channel::<()>();
    let go = Arc::new(Mutex::new(go));
    let origin = Origin::start(move |seen| {
        if seen.line.contains("/good/slow") {
            go.lock().unwrap().recv_timeout(LIMIT).unwrap();
        }
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()
    });
    let proxy = bad_in("request", "deny", &origin);
    let mut slow = proxy.connect();
    slow.send("GET /good/slow HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(origin_has_it(&proxy));
    let mut client = proxy.connect();
    for (route, ..) in BAD {
        assert_eq!(get(&mut client, route).status, 500, "{route}");
    }
    let_go.send(()).unwrap();
    let answer = slow.answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(all(&answer.headers, "x-seen"), ["guest", "before"]);
}

/// The request phases of one exchange are over, and it waits for its answer.
fn origin_has_it(proxy: &Proxy) -> bool {
    let active = || {
        counted(
            proxy,
            "lockgate_cluster_requests_active",
            &[("cluster", "o")],
        )
    };
    within("the request is under way", || {
        (active() == 1).then_some(true)
    })
}

#[test]
fn what_it_lost_is_made_anew_and_nothing_else() {
    let origin = showing();
    let proxy = bad_in("request", "deny", &origin);
    let mut client = proxy.connect();
    let instances = |which: &str| {
        let name = format!("lockgate_filter_instances_{which}_total");
        counted(&proxy, &name, &[("filter", "guest")])
    };
    for _ in 0..5 {
        assert_eq!(get(&mut client, "trap").status, 500);
        assert_eq!(get(&mut client, "error").status, 500);
        assert_eq!(get(&mut client, "good").status, 200);
    }
    assert_eq!(instances("lost"), 5, "an error costs no instance");
    assert_eq!(instances("made"), 6);
}

fn pausing(on_error: &str, origin: &Origin) -> Proxy {
    let mut looping = tracer("guest");
    looping["request"] = json!(["loop"]);
    Hostile::routed(&["loop", "good", "without"])
        .guest(
            "guest",
            json!({
                "config": tracer("guest"),
                "routes": { "loop": { "config": looping }, "without": "off" },
                "on_error": on_error,
                "limits": { "max_overruns": 3, "overrun_window": "1m", "pause": "300ms" },
            }),
        )
        .start(origin)
}

#[test]
fn a_filter_that_overruns_again_and_again_is_paused_and_comes_back() {
    let origin = showing();
    let proxy = pausing("deny", &origin);
    let mut client = proxy.connect();
    for _ in 0..3 {
        assert_eq!(get(&mut client, "loop").status, 500);
    }
    // Were this machine slow enough to miss a pause, a longer one follows.
    let paused = within("it is paused", || {
        Some(get(&mut client, "loop")).filter(|answer| answer.status == 503)
    });
    assert_eq!(paused.text(), "a filter is not available\n");
    assert!(paused.header("retry-after").is_some());
    let labels = [("filter", "guest"), ("fault", "paused")];
    let count = counted(&proxy, "lockgate_filter_faults_total", &labels);
    assert!(count >= 1);
    assert_eq!(get(&mut client, "without").status, 200, "where it is off");
    within("it is called again", || {
        (get(&mut client, "good").header("x-marks") == Some("guest")).then_some(())
    });
}

#[test]
fn a_paused_filter_is_passed_over_where_it_skips() {
    let origin = showing();
    let proxy = pausing("skip", &origin);
    let mut client = proxy.connect();
    let labels = [("filter", "guest"), ("fault", "paused")];
    let paused = || counted(&proxy, "lockgate_filter_faults_total", &labels) > 0;
    within("it is paused", || {
        assert_eq!(get(&mut client, "loop").status, 200);
        paused().then_some(())
    });
}

#[test]
fn a_refused_change_changes_nothing_and_the_call_goes_on() {
    // A cluster that it did not declare, and a field that the proxy owns.
    let config: Value = json!({
        "wants": { "phases": ["request"] },
        "request": ["route-to o", "request.set content-length 7", "request.set x-ok 1"],
    });
    let origin = Origin::saying("whole");
    let proxy = Hostile::routed(&["good"])
        .guest("guest", json!({ "config": config }))
        .start(&origin);
    let answer = proxy.get("/good");
    assert_eq!((answer.status, answer.text().as_str()), (200, "whole"));
    let seen = origin.seen();
    assert_eq!(seen.header("content-length"), None);
    assert_eq!(seen.header("x-ok"), Some("1"));
}
