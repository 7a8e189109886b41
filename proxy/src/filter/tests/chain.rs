//! Order, who takes part, and what becomes of a failure.

use super::*;
use crate::error::ErrorKind;

/// Leaves its name in `x-seen` of the request and of the answer.
fn tracer(name: &str) -> Filter {
    entry(
        name,
        json!({
            "wants": { "phases": ["request", "response", "done"] },
            "request": [format!("request.append x-seen {name}")],
            "response": [format!("response.append x-seen {name}")],
            "done": [format!("attribute done {name}")],
        }),
    )
}

fn response_seen(bench: &Bench) -> Vec<String> {
    let headers = &bench.view.response.as_ref().unwrap().headers;
    let seen = headers.get_all("x-seen").iter();
    seen.map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn requests_run_in_order_and_the_rest_in_reverse() {
    let mut bench = Bench::new(&[tracer("a"), tracer("b"), tracer("c")]);
    assert!(matches!(bench.on_request(), Flow::Next));
    assert_eq!(bench.request_field("x-seen"), ["a", "b", "c"]);
    bench.answer(200);
    assert!(matches!(bench.on_response(), Flow::Next));
    assert_eq!(response_seen(&bench), ["c", "b", "a"]);
    bench.on_done();
    let done: Vec<_> = bench
        .view
        .attributes
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let done: Vec<_> = done
        .into_iter()
        .filter(|name| name.ends_with("done"))
        .collect();
    assert_eq!(done, ["c.done", "b.done", "a.done"]);
}

#[test]
fn a_filter_that_left_is_not_called_again() {
    let mut leaver = tracer("b");
    leaver.config.value["request"] = json!(["leave"]);
    let mut bench = Bench::new(&[tracer("a"), leaver, tracer("c")]);
    bench.on_request();
    bench.answer(200);
    bench.on_response();
    assert_eq!(response_seen(&bench), ["c", "a"]);
    bench.on_done();
    assert_eq!(bench.attribute("b.done"), None);
}

#[test]
fn an_answer_skips_later_filters_and_runs_back_through_earlier_ones() {
    let mut responder = tracer("b");
    responder.config.value["request"] = json!(["respond 403 no"]);
    let mut bench = Bench::new(&[tracer("a"), responder, tracer("c")]);
    let Flow::Respond(reply) = bench.on_request() else {
        panic!("an answer")
    };
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert_eq!(&*reply.body, b"no");
    assert_eq!(&*reply.filter, "b");
    bench.answer(403);
    bench.view.is_local = true;
    assert!(matches!(bench.on_response(), Flow::Next));
    assert_eq!(response_seen(&bench), ["a"]);
}

#[test]
fn an_answer_in_the_response_phase_goes_on_through_those_left() {
    let mut responder = tracer("b");
    responder.config.value["response"] = json!(["respond 500 hidden"]);
    let mut bench = Bench::new(&[tracer("a"), responder, tracer("c")]);
    bench.on_request();
    bench.answer(200);
    assert!(matches!(bench.on_response(), Flow::Respond(_)));
    assert_eq!(response_seen(&bench), ["c"]);
    bench.answer(500);
    assert!(matches!(bench.on_response(), Flow::Next));
    assert_eq!(response_seen(&bench), ["a"]);
    assert!(matches!(bench.on_response(), Flow::Next));
    assert_eq!(response_seen(&bench), ["a"]);
}

#[test]
fn a_filter_for_answers_alone_takes_part_from_the_start() {
    let mut last = tracer("last");
    last.config.value["wants"] = json!({ "phases": ["response"] });
    let responder = entry("first", on_request(&["respond 403 no"]));
    let mut bench = Bench::new(&[responder, last]);
    assert!(matches!(bench.on_request(), Flow::Respond(_)));
    bench.answer(403);
    bench.on_response();
    assert_eq!(response_seen(&bench), ["last"]);
}

#[test]
fn the_route_selects_the_configuration_of_later_filters() {
    let router = entry(
        "router",
        json!({
            "wants": { "phases": ["request"], "routes": ["strict", "open"] },
            "request": ["set-route strict"],
        }),
    );
    let mut later = tracer("later");
    let strict = on_request(&["request.append x-seen strict"]);
    later.routes = vec![
        (
            "strict".into(),
            RouteConfig::Config(configured(strict, "/filters/later/routes/strict")),
        ),
        ("open".into(), RouteConfig::Off),
    ];
    let mut open = router.clone();
    open.config.value["request"] = json!(["set-route open"]);
    let seen = |entries: &[Filter]| {
        let mut bench = Bench::new(entries);
        bench.on_request();
        bench.request_field("x-seen").join(",")
    };
    assert_eq!(seen(&[router.clone(), later.clone()]), "strict");
    assert_eq!(seen(&[open, later.clone()]), "");
    assert_eq!(seen(&[later, router]), "later");
}

#[test]
fn a_configuration_is_fixed_at_the_first_call() {
    let mut first = tracer("first");
    first.routes = vec![("r".into(), RouteConfig::Off)];
    let router = entry(
        "router",
        json!({
            "wants": { "phases": ["request"], "routes": ["r"] },
            "request": ["set-route r"],
        }),
    );
    let mut bench = Bench::new(&[first, router]);
    bench.on_request();
    bench.answer(200);
    bench.on_response();
    assert_eq!(response_seen(&bench), ["first"]);
}

#[test]
fn a_failure_does_what_the_operator_chose() {
    let failing = |on_error| {
        let mut first = tracer("bad");
        first.config.value["request"] = json!(["request.set x-half done", "error refused"]);
        first.on_error = on_error;
        let mut bench = Bench::new(&[first, tracer("next")]);
        let flow = bench.on_request();
        assert_eq!(bench.faults(FilterFault::Error), 1);
        assert_eq!(bench.request_field("x-half"), [] as [&str; 0]);
        (flow, bench)
    };
    let (flow, bench) = failing(OnError::Deny);
    let failed = failure(flow);
    assert_eq!(failed.kind, ErrorKind::FilterFailed);
    assert_eq!(failed.to_string(), "filter `bad`: error: refused");
    assert!(bench.request_field("x-seen").is_empty());

    let (flow, mut bench) = failing(OnError::Skip);
    assert!(matches!(flow, Flow::Next));
    assert_eq!(bench.request_field("x-seen"), ["next"]);
    bench.answer(200);
    bench.on_response();
    assert_eq!(response_seen(&bench), ["next"]);

    let (flow, _) = failing(OnError::Reset);
    assert!(matches!(flow, Flow::Reset { filter } if &*filter == "bad"));
}

#[test]
fn a_filter_may_reset() {
    let mut bench = Bench::request(&["reset"]);
    assert!(matches!(bench.on_request(), Flow::Reset { .. }));
}

#[test]
fn delays_add_up_to_the_limit_of_each_filter() {
    let waits = |name: &str, millis: &str| {
        entry(
            name,
            json!({
                "wants": { "phases": ["request", "response"] },
                "request": [format!("delay {millis}")],
                "response": ["delay 4"],
            }),
        )
    };
    let mut bench = Bench::new(&[waits("a", "2"), waits("b", "100")]);
    let started = Instant::now();
    bench.on_request();
    assert!(started.elapsed() >= Duration::from_millis(7));
    assert_eq!(bench.taken.slot(0).delayed, Duration::from_millis(2));
    assert_eq!(bench.taken.slot(1).delayed, Duration::from_millis(5));
    assert_eq!(bench.view.decisions.delay, Duration::ZERO);
    bench.answer(200);
    bench.on_response();
    assert_eq!(bench.taken.slot(0).delayed, Duration::from_millis(5));
    assert_eq!(bench.taken.slot(1).delayed, Duration::from_millis(5));
}

#[test]
fn a_phase_given_up_in_a_delay_leaves_the_view() {
    let mut bench = Bench::request(&["request.set x-a 1", "delay 5"]);
    bench.runtime.block_on(async {
        let phase = bench.chain.on_request(&mut bench.view, &mut bench.taken);
        let given_up = tokio::time::timeout(Duration::ZERO, phase).await;
        assert!(given_up.is_err());
    });
    assert_eq!(bench.request_field("x-a"), ["1"]);
}

#[test]
fn phases_nobody_wants_are_known() {
    let bench = Bench::request(&[]);
    assert!(bench.chain.wants().request);
    assert!(!bench.chain.wants().response);
    assert!(!bench.chain.wants().done);
}

#[test]
fn state_follows_one_filter_through_its_phases() {
    let keeper = |name: &str| {
        entry(
            name,
            json!({
                "wants": { "phases": ["request", "response"] },
                "request": [format!("state of {name}")],
                "response": ["read.state"],
            }),
        )
    };
    let mut bench = Bench::new(&[keeper("a"), keeper("b")]);
    bench.on_request();
    bench.answer(200);
    bench.on_response();
    assert_eq!(bench.attribute("a.read"), Some("of a"));
    assert_eq!(bench.attribute("b.read"), Some("of b"));
}
