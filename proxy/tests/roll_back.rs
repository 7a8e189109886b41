//! What a failed call changed is undone in every phase, and a local answer goes on as it
//! was. (`hostile_filters.rs` has every way to fail in the phases of heads.)

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use hostile::Hostile;
use serde_json::{Value, json};
use support::filtered::counted;
use support::{Origin, Proxy, within};

const PHASES: [&str; 5] = [
    "request",
    "request-trailers",
    "response",
    "response-trailers",
    "done",
];

/// An origin whose answers have a trailer.
fn origin() -> Origin {
    Origin::start(|_| {
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-end: 1\r\n\r\n"
            .to_vec()
    })
}

/// The guest fails in this phase after it changed what it could.
fn start(origin: &Origin, phase: &str, on_error: &str) -> Proxy {
    let mut config = json!({ "wants": { "phases": PHASES } });
    if let Some(head) = phase.strip_suffix("_body") {
        config[head] = json!(["buffer 1000"]);
    }
    let changed = match phase {
        "request_body" => "request.set x-half done",
        "response_body" => "response.set x-half done",
        _ => "trailers.set x-half done",
    };
    config[phase] = json!([changed, "attribute half done", "trap"]);
    // Nearer to the client, so that it sees the answer later.
    let showing = json!({
        "wants": { "phases": ["request", "response"] },
        "response": ["response.show guest.half"],
    });
    Hostile::straight()
        .guest("showing", json!({ "config": showing }))
        .guest("guest", json!({ "config": config, "on_error": on_error }))
        .start(origin)
}

fn post(proxy: &Proxy) -> String {
    let mut client = proxy.connect();
    client.send(
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
         te: trailers\r\ntrailer: x-end\r\n\r\n4\r\nbody\r\n0\r\nx-end: 1\r\n\r\n",
    );
    String::from_utf8(client.rest()).unwrap()
}

fn faults(proxy: &Proxy) -> u64 {
    let labels = [("filter", "guest"), ("fault", "trap")];
    counted(proxy, "lockgate_filter_faults_total", &labels)
}

#[test]
fn what_a_failed_call_changed_is_undone_where_it_is_passed_over() {
    for phase in [
        "request_body",
        "request_trailers",
        "response_body",
        "response_trailers",
    ] {
        let origin = origin();
        let proxy = start(&origin, phase, "skip");
        let all = post(&proxy);
        assert!(all.starts_with("HTTP/1.1 200"), "{phase}: {all}");
        assert!(
            all.contains("body") && all.contains("x-end: 1"),
            "{phase}: {all}"
        );
        let seen = origin.seen();
        assert_eq!(seen.body, b"body", "{phase}");
        let end = ("x-end".to_owned(), "1".to_owned());
        assert_eq!(seen.trailers, [end], "{phase}");
        assert_eq!(seen.header("x-half"), None, "{phase}");
        assert!(!all.contains("done"), "{phase}: {all}");
        assert_eq!(faults(&proxy), 1, "{phase}");
    }
}

#[test]
fn nothing_of_a_failed_call_is_in_the_answer_in_its_place() {
    for phase in ["request_body", "response_body"] {
        let origin = origin();
        let proxy = start(&origin, phase, "deny");
        let all = post(&proxy);
        assert!(all.starts_with("HTTP/1.1 500"), "{phase}: {all}");
        assert!(!all.contains("done"), "{phase}: {all}");
        assert_eq!(faults(&proxy), 1, "{phase}");
    }
}

/// It took part before: what it counted up it can count down.
#[test]
fn who_took_part_and_then_failed_or_answered_hears_of_the_end() {
    for (phase, script) in [
        ("request_body", "trap"),
        ("request_body", "respond 403 no"),
        ("request_trailers", "trap"),
        ("response", "trap"),
        ("response_body", "trap"),
        ("response_trailers", "trap"),
    ] {
        for on_error in ["deny", "skip", "reset"] {
            let origin = origin();
            let mut config = json!({ "wants": { "phases": PHASES }, "done": ["count over a"] });
            if let Some(head) = phase.strip_suffix("_body") {
                config[head] = json!(["buffer 1000"]);
            }
            config[phase] = json!([script]);
            let proxy = Hostile::straight()
                .guest("guest", json!({ "config": config, "on_error": on_error }))
                .start(&origin);
            post(&proxy);
            let over = || counted(&proxy, "lockgate_guest_over_total", &[]);
            within("it hears of the end", || (over() == 1).then_some(()));
            post(&proxy);
            within("once for each", || (over() == 2).then_some(()));
        }
    }
}

/// Who failed in its first call took no part.
#[test]
fn who_took_no_part_hears_of_no_end() {
    for script in ["trap", "respond 403 no", "leave"] {
        let origin = origin();
        let config = |request: &[&str]| {
            let wants = json!({ "phases": ["request", "done"] });
            json!({ "wants": wants, "request": request, "done": ["count over a"] })
        };
        // Told after the other one would be.
        let proxy = Hostile::straight()
            .guest("first", json!({ "config": config(&[]) }))
            .guest("guest", json!({ "config": config(&[script]) }))
            .start(&origin);
        post(&proxy);
        let over = |filter| counted(&proxy, "lockgate_guest_over_total", &[("filter", filter)]);
        within("the first is told", || (over("first") == 1).then_some(()));
        assert_eq!(over("guest"), 0, "{script}");
    }
}

/// A filter answers by itself, and one nearer to the client fails over that.
fn local(on_error: &str) -> (Origin, Proxy) {
    let origin = origin();
    let failing: Value = json!({
        "wants": { "phases": ["request", "response"] },
        "response": ["response.set x-half done", "response.status 202", "trap"],
    });
    let answering = json!({
        "wants": { "phases": ["request"] },
        "request": ["respond 403 no"],
    });
    let proxy = Hostile::straight()
        .guest("guest", json!({ "config": failing, "on_error": on_error }))
        .guest("answering", json!({ "config": answering }))
        .start(&origin);
    (origin, proxy)
}

#[test]
fn a_local_answer_goes_on_as_it_was_or_is_taken_back() {
    let (origin, proxy) = local("skip");
    let answer = proxy.get("/");
    assert_eq!((answer.status, &*answer.text()), (403, "no"));
    assert_eq!(answer.header("x-half"), None);
    assert_eq!(faults(&proxy), 1);
    assert!(origin.seen_now().is_none());

    let (_, proxy) = local("deny");
    let answer = proxy.get("/");
    assert_eq!((answer.status, &*answer.text()), (500, "a filter failed\n"));
    assert_eq!(answer.header("x-half"), None);

    let (_, proxy) = local("reset");
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.rest(), b"");
    assert_eq!(faults(&proxy), 1);
}
