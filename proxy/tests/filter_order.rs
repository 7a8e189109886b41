//! In which order filters are called, with which configuration, and on which
//! answers.

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use hostile::{Hostile, all, tracer};
use serde_json::json;
use support::filtered::counted;
use support::{Origin, Proxy, within};

fn chain(middle: serde_json::Value, origin: &Origin) -> Proxy {
    Hostile::routed(&["any"])
        .guest("a", json!({ "config": tracer("a") }))
        .guest("b", json!({ "config": middle }))
        .guest("c", json!({ "config": tracer("c") }))
        .start(origin)
}

/// How often these were told that an exchange was over.
fn over(proxy: &Proxy) -> [u64; 3] {
    ["a", "b", "c"].map(|name| counted(proxy, "lockgate_guest_over_total", &[("filter", name)]))
}

#[test]
fn requests_pass_in_order_and_answers_in_reverse() {
    let origin = Origin::saying("ok");
    let proxy = chain(tracer("b"), &origin);
    let answer = proxy.get("/any");
    assert_eq!(all(&origin.seen().headers, "x-seen"), ["a", "b", "c"]);
    assert_eq!(all(&answer.headers, "x-seen"), ["c", "b", "a"]);
    within("all are told once", || {
        (over(&proxy) == [1, 1, 1]).then_some(())
    });
}

#[test]
fn one_that_left_is_not_called_again() {
    let origin = Origin::saying("ok");
    let mut leaving = tracer("b");
    leaving["request"] = json!(["request.append x-seen b", "leave"]);
    let proxy = chain(leaving, &origin);
    let answer = proxy.get("/any");
    assert_eq!(all(&origin.seen().headers, "x-seen"), ["a", "b", "c"]);
    assert_eq!(all(&answer.headers, "x-seen"), ["c", "a"]);
    within("the others are told", || {
        (over(&proxy) == [1, 0, 1]).then_some(())
    });
}

#[test]
fn an_answer_of_a_filter_passes_those_before_it() {
    let origin = Origin::saying("ok");
    let mut answering = tracer("b");
    answering["request"] = json!(["respond 403 no"]);
    let proxy = chain(answering, &origin);
    let answer = proxy.get("/any");
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    assert_eq!(all(&answer.headers, "x-seen"), ["a"]);
    assert!(origin.seen_now().is_none());
    within("who took part is told", || {
        (over(&proxy) == [1, 0, 0]).then_some(())
    });
}

#[test]
fn an_answer_in_place_of_the_origins_passes_those_that_are_left() {
    let origin = Origin::saying("hidden");
    let mut replacing = tracer("b");
    replacing["response"] = json!(["respond 502 replaced"]);
    let proxy = chain(replacing, &origin);
    let mut client = proxy.connect();
    for _ in 0..2 {
        client.send("GET /any HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = client.answer();
        assert_eq!((answer.status, answer.text().as_str()), (502, "replaced"));
        assert_eq!(all(&answer.headers, "x-seen"), ["a"]);
    }
}

#[test]
fn the_proxys_own_answers_pass_all_filters() {
    let closing = Origin::scripted(|stream, _| drop(stream));
    let mut telling = tracer("b");
    telling["response"] = json!(["response.set x-told yes"]);
    let proxy = chain(telling, &closing);
    let answer = proxy.get("/any");
    assert_eq!(answer.status, 502);
    assert_eq!(all(&answer.headers, "x-seen"), ["c", "a"]);
    assert_eq!(answer.header("x-told"), Some("yes"));
}

#[test]
fn a_route_selects_the_configuration_of_later_filters_or_none() {
    let origin = Origin::saying("ok");
    let proxy = Hostile::routed(&["strict", "off", "plain"])
        .guest(
            "a",
            json!({
                "config": tracer("default"),
                "routes": { "strict": { "config": tracer("strict") }, "off": "off" },
            }),
        )
        .start(&origin);
    for (path, marks) in [
        ("/strict", &["strict"][..]),
        ("/off", &[]),
        ("/plain", &["default"]),
        ("/no-route", &["default"]),
    ] {
        let answer = proxy.get(path);
        assert_eq!(answer.status, 200);
        assert_eq!(all(&origin.seen().headers, "x-seen"), marks, "{path}");
        assert_eq!(all(&answer.headers, "x-seen"), marks, "{path}");
    }
}

#[test]
fn a_filter_without_a_configuration_is_given_an_empty_one() {
    let origin = Origin::saying("ok");
    let proxy = Hostile::routed(&["any"])
        .guest("a", json!({}))
        .start(&origin);
    assert_eq!(proxy.get("/any").text(), "ok");
}
