//! Reading and changing heads through the contract.

use super::*;
use crate::filter::timeouts::Timed;

/// Runs steps in `on-request` and gives the last outcome.
fn outcome(steps: &[&str]) -> String {
    let config = json!({
        "wants": { "phases": ["request"], "clusters": ["c"], "retries": ["p"], "routes": ["r"] },
        "request": steps,
    });
    let mut bench = Bench::new(&[entry("guest", config)]);
    assert!(matches!(bench.on_request(), Flow::Next), "{steps:?}");
    bench.attribute("guest.outcome").unwrap().to_owned()
}

#[test]
fn changes_are_allowed_or_refused_by_name() {
    let check = |step: &str, expected: &str| {
        assert_eq!(outcome(&[step]), expected, "{step}");
    };
    check("request.set x-a 1", "ok");
    check("request.set X-A 1", "ok");
    check("request.set connection close", "HeadError::Forbidden");
    check(
        "request.append transfer-encoding chunked",
        "HeadError::Forbidden",
    );
    check("request.remove content-length", "HeadError::Forbidden");
    check("request.set host other", "HeadError::Forbidden");
    check("request.set :path /x", "HeadError::Invalid");
    check("request.set x\u{1} 1", "HeadError::Invalid");
    check("request.set x-a a\r\nb: c", "HeadError::Invalid");
    check("request.fill x-a 9000", "HeadError::TooLarge");
    check("request.method PURGE", "ok");
    check("request.method CONNECT", "HeadError::Forbidden");
    check("request.path /x?y", "ok");
    check("request.path /../x", "HeadError::Invalid");
    check("request.authority a.test:80", "ok");
    check("request.authority a@b", "HeadError::Invalid");
    check("response.set x-a 1", "HeadError::TooLate");
    check("response.status 200", "HeadError::TooLate");
    check("trailers.set x-a 1", "HeadError::TooLate");
    check("route-to c", "ok");
    check("route-to other", "RouteError::Unknown");
    check("set-route r", "ok");
    check("set-route other", "RouteError::Unknown");
    check("mirror-to c 1", "ok");
    check("mirror-to other 1", "RouteError::Unknown");
    check("set-retry p", "ok");
    check("set-retry other", "RouteError::Unknown");
    check("set-hash-key k", "ok");
    check("set-subset a b", "ok");
}

#[test]
fn a_head_has_so_many_fields() {
    let steps: Vec<String> = (0..20).map(|n| format!("request.append x-{n} 1")).collect();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    assert_eq!(outcome(&steps), "HeadError::TooLarge");
}

#[test]
fn a_request_cannot_be_changed_once_it_is_sent() {
    let check = |step: &str, expected: &str| {
        let config = json!({ "wants": { "phases": ["response"] }, "response": [step] });
        let mut bench = Bench::new(&[entry("guest", config)]);
        bench.answer(200);
        bench.on_response();
        assert_eq!(bench.attribute("guest.outcome"), Some(expected), "{step}");
    };
    check("request.set x-a 1", "HeadError::TooLate");
    check("request.path /x", "HeadError::TooLate");
    check("route-to c", "RouteError::TooLate");
    check("response.set x-a 1", "ok");
    check("response.status 404", "ok");
    check("response.status 204", "HeadError::Forbidden");
    check("response.status 100", "HeadError::Invalid");
}

#[test]
fn prefetched_fields_are_those_that_a_call_gives() {
    for field in [
        ":method",
        ":scheme",
        ":authority",
        ":path",
        "host",
        "accept",
        "Accept",
        "x-odd",
        "x-absent",
        "x-api-key",
    ] {
        let config = |step: &str| {
            json!({
                "wants": { "phases": ["request"], "request_fields": [field] },
                "request": [step],
            })
        };
        let read = |step: &str| {
            let mut bench = Bench::new(&[entry("guest", config(step))]);
            bench.on_request();
            bench.attribute("guest.read").unwrap().to_owned()
        };
        let asked = read(&format!("read.request {field}"));
        assert_eq!(read("read.prefetched"), asked, "{field}");
        assert_ne!(asked, "", "{field}");
    }
}

#[test]
fn prefetched_fields_of_an_answer_are_those_that_a_call_gives() {
    for field in [":status", "x-a", "x-absent"] {
        let read = |step: &str| {
            let config = json!({
                "wants": { "phases": ["response"], "response_fields": [field] },
                "response": [step],
            });
            let mut bench = Bench::new(&[entry("guest", config)]);
            bench.answer(206);
            let headers = &mut bench.view.response.as_mut().unwrap().headers;
            headers.append("x-a", HeaderValue::from_static("1"));
            headers.append("x-a", HeaderValue::from_static("2"));
            bench.on_response();
            bench.attribute("guest.read").unwrap().to_owned()
        };
        assert_eq!(
            read("read.prefetched"),
            read(&format!("read.response {field}")),
            "{field}"
        );
    }
}

#[test]
fn facts_are_told() {
    let check = |step: &str, expected: &str| {
        let mut bench = Bench::request(&[step]);
        bench.view.upstream = Some(("c".into(), "10.0.0.1:80".into()));
        bench
            .view
            .attributes
            .push(("earlier.fact".into(), "f".into()));
        bench.on_request();
        assert_eq!(bench.attribute("guest.read"), Some(expected), "{step}");
    };
    check("read.line", "GET http example.test /a?b=c");
    check("read.first accept", "Some(\"text/html\")");
    check("read.first x-absent", "None");
    check(
        "read.entries",
        "user-agent=test/1 accept=text/html accept=text/plain x-api-key=secret x-odd= ",
    );
    check("read.status", "None false");
    check("read.client", "192.0.2.7");
    check("read.bytes", "3 5");
    check("read.time", "true");
    check("read.random", "true");
    check("read.attribute listener.name", "Some(\"web\")");
    check("read.attribute client.address", "Some(\"192.0.2.7\")");
    check("read.attribute request.id", "Some(\"id-1\")");
    check(
        "read.attribute trace.id",
        "Some(\"0af7651916cd43dd8448eb211c80319c\")",
    );
    check("read.attribute upstream.cluster", "Some(\"c\")");
    check("read.attribute upstream.endpoint", "Some(\"10.0.0.1:80\")");
    check("read.attribute earlier.fact", "Some(\"f\")");
    check("read.attribute route.name", "None");
    check("read.attribute nothing", "None");
    // No arguments, no environment, no directory.
    check("read.world", "0 0 true");
}

#[test]
fn decisions_are_left_on_the_view() {
    let config = json!({
        "wants": { "phases": ["request"], "clusters": ["c"], "routes": ["r"] },
        "request": [
            "route-to c", "set-route r", "mirror-to c yes", "timeout total 5", "timeout try 6",
            "timeout idle 7", "try-timeout connect 8", "try-timeout tls 9",
            "try-timeout answer 10", "try-timeout answer 11", "attribute user ann", "attribute user bob", "set-hash-key k",
        ],
    });
    let mut bench = Bench::new(&[entry("guest", config)]);
    bench.on_request();
    let decisions = &bench.view.decisions;
    assert_eq!(decisions.cluster.as_deref(), Some("c"));
    assert_eq!(decisions.route.as_deref(), Some("r"));
    assert_eq!(decisions.hash_key, Some(crate::balance::hash::hash(b"k")));
    assert_eq!(decisions.mirrors[0].headers["x-copy"], "yes");
    for (which, millis) in [
        (Timed::Total, 5),
        (Timed::Try, 6),
        (Timed::Idle, 7),
        (Timed::Connect, 8),
        (Timed::Tls, 9),
        (Timed::Answer, 11),
    ] {
        let wanted = Duration::from_millis(millis);
        assert_eq!(decisions.timeouts[which], Some(wanted), "{which:?}");
    }
    assert_eq!(bench.attribute("guest.user"), Some("bob"));
}
