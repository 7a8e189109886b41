//! `lockgate:fault` over sockets: delays, failures, and what a request may ask
//! for itself.

mod support;

use std::time::{Duration, Instant};

use support::filtered::{counted, yaml};
use support::{Answer, Origin, Proxy};

fn faulty(config: &str, listener: &str, origin: &Origin) -> Proxy {
    let filters = format!(
        "  faults:\n    component: lockgate:fault\n    limits: {{ max_instances: 1 }}\n    config: {{ {config} }}"
    );
    let listener = format!(", cluster: o {listener}");
    Proxy::start(&format!(
        "workers: 1\n{}",
        yaml("faults", &listener, &filters, &[("o", origin)])
    ))
}

fn abort(config: &str) -> Answer {
    let origin = Origin::saying("fine");
    let answer = faulty(&format!("abort: {{ {config} }}"), "", &origin).get("/");
    assert!(origin.seen_now().is_none(), "the origin is left alone");
    answer
}

#[test]
fn a_request_is_answered_with_a_failure() {
    let answer = abort("status: 418, body: \"no tea\\n\"");
    assert_eq!((answer.status, answer.text().as_str()), (418, "no tea\n"));
    assert_eq!(abort("status: 503").text(), "fault injected\n");
}

#[test]
fn a_grpc_failure_is_a_head_of_its_own() {
    let answer = abort("grpc_status: 14");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/grpc"));
    assert_eq!(answer.header("grpc-status"), Some("14"));
    assert!(answer.body.is_empty());
}

#[test]
fn a_reset_closes_without_an_answer() {
    let origin = Origin::saying("fine");
    let config = "abort: { reset: true }, match: { path: /bad }";
    let proxy = faulty(config, "", &origin);
    let mut client = proxy.connect();
    client.send("GET /bad HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.rest(), b"");
    assert_eq!(proxy.get("/good").text(), "fine");
}

#[test]
fn a_delay_holds_the_request_before_the_origin_sees_it() {
    let origin = Origin::saying("fine");
    let proxy = faulty("delay: { fixed: 40ms }", "", &origin);
    let asked = Instant::now();
    let answer = proxy.get("/");
    // Never sooner; how much later is the machine's affair.
    assert!(asked.elapsed() >= Duration::from_millis(40));
    assert_eq!(answer.text(), "fine");
    let delayed = [("filter", "faults"), ("kind", "delay")];
    assert_eq!(
        counted(&proxy, "lockgate_guest_injected_total", &delayed),
        1
    );
}

#[test]
fn a_delay_holds_no_instance() {
    let origin = Origin::saying("fine");
    let proxy = faulty("headers: { max_delay: 30s }", "", &origin);
    let mut held: Vec<_> = (0..8).map(|_| proxy.connect()).collect();
    for client in &mut held {
        client.send("GET /held HTTP/1.1\r\nhost: a\r\nx-lockgate-fault-delay: 30s\r\n\r\n");
    }
    // All eight are held by the only worker, and its only instance is free.
    let made = [("filter", "faults")];
    let calls = || counted(&proxy, "lockgate_filter_calls_total", &made);
    support::within("eight are held", || (calls() >= 8).then_some(()));
    assert_eq!(proxy.get("/free").text(), "fine");
    assert_eq!(origin.seen().line, "GET /free HTTP/1.1");
    assert!(origin.seen_now().is_none());
    assert_eq!(
        counted(&proxy, "lockgate_filter_instances_made_total", &made),
        1
    );
}

#[test]
fn a_request_may_ask_where_that_is_allowed() {
    let origin = Origin::saying("fine");
    let ask = |proxy: &Proxy, value: &str| proxy.ask("/", &[("x-lockgate-fault-abort", value)]);
    let open = faulty("headers: { abort: true, max_delay: 1ms }", "", &origin);
    assert_eq!(ask(&open, "503").status, 503);
    assert_eq!(ask(&open, "grpc 14").header("grpc-status"), Some("14"));
    assert_eq!(ask(&open, "teapot").text(), "fine");
    assert_eq!(open.get("/").text(), "fine");
    // A maximum, or this test would take an hour.
    let hour = [("x-lockgate-fault-delay", "1h")];
    assert_eq!(open.ask("/", &hour).text(), "fine");

    let closed = faulty("abort: { status: 500, percent: 0 }", "", &origin);
    assert_eq!(ask(&closed, "503").text(), "fine");
}

#[test]
fn with_a_seed_a_request_id_draws_the_same_again() {
    let origin = Origin::saying("fine");
    let drawn = |seed: u32| -> Vec<u16> {
        let config = format!("seed: {seed}, abort: {{ status: 503, percent: 50 }}");
        // Only from a trusted hop is an id believed.
        let trusted = ", headers: { trusted_hops: [127.0.0.1] }";
        let proxy = faulty(&config, trusted, &origin);
        let draw = |id: u32| {
            let id = format!("request-{id:032}");
            proxy.ask("/", &[("x-request-id", &id)]).status
        };
        let first: Vec<_> = (0..60).map(draw).collect();
        assert_eq!((0..60).map(draw).collect::<Vec<_>>(), first, "again");
        first
    };
    let seven = drawn(7);
    assert!(seven.contains(&200) && seven.contains(&503), "{seven:?}");
    assert_eq!(drawn(7), seven, "after a restart");
    assert_ne!(drawn(8), seven, "by another seed");
}
