//! Bodies and trailers through filters, over sockets: collected, replaced,
//! transformed piece by piece, in both directions.

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use std::io::{BufReader, Read, Write};
use std::sync::mpsc::channel;

use hostile::Hostile;
use serde_json::{Value, json};
use support::filtered::counted;
use support::{Answer, Client, Origin, Proxy, within};

/// A filter that is called for heads in both directions and does these steps.
fn guest(steps: Value) -> Value {
    let mut config = json!({ "wants": { "phases": ["request", "response"] } });
    let given = steps.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(given);
    json!({ "config": config })
}

/// Guests `a`, `b`, ... in this order.
fn start(origin: &Origin, guests: &[Value]) -> Proxy {
    let names = ["a", "b", "c"];
    let chain = names.iter().zip(guests);
    let chain = chain.fold(Hostile::straight(), |chain, (name, steps)| {
        chain.guest(name, guest(steps.clone()))
    });
    chain.start(origin)
}

fn post(proxy: &Proxy, body: &str) -> Answer {
    let length = body.len();
    proxy
        .connect()
        .send(format!(
            "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .answer()
}

fn get(proxy: &Proxy) -> Answer {
    proxy
        .connect()
        .send("GET /x HTTP/1.1\r\nhost: a\r\n\r\n")
        .answer()
}

fn chunked(proxy: &Proxy, chunks: &[&str], trailers: &str) -> Answer {
    let mut client = proxy.connect();
    client.send("POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    for chunk in chunks {
        client.send(format!("{:x}\r\n{chunk}\r\n", chunk.len()));
    }
    client.send(format!("0\r\n{trailers}\r\n")).answer()
}

#[test]
fn a_request_is_collected_and_replaced() {
    let origin = Origin::saying("ok");
    let steps = json!({ "request": ["buffer 100"], "request_body": ["upper"] });
    let proxy = start(&origin, &[steps]);
    assert_eq!(post(&proxy, "hello").status, 200);
    let seen = origin.seen();
    assert_eq!(seen.body, b"HELLO");
    assert_eq!(seen.header("content-length"), Some("5"));
    assert_eq!(chunked(&proxy, &["he", "llo"], "").status, 200);
    let seen = origin.seen();
    assert_eq!(seen.body, b"HELLO");
    assert_eq!(seen.header("content-length"), Some("5"));
    assert_eq!(seen.header("transfer-encoding"), None);
}

#[test]
fn what_one_filter_makes_the_next_one_sees() {
    let origin = Origin::saying("ok");
    let first = json!({ "request": ["buffer"], "request_body": ["replace quite another"] });
    let second = json!({
        "request": ["read.first content-length", "buffer"],
        "request_body": ["request.set x-from body", "upper"],
        "response": ["response.show b.read"],
    });
    let proxy = start(&origin, &[first, second]);
    let answer = post(&proxy, "hello");
    assert_eq!(answer.header("x-shown"), Some("Some(\"13\")"));
    let seen = origin.seen();
    assert_eq!(seen.body, b"QUITE ANOTHER");
    assert_eq!(seen.header("content-length"), Some("13"));
    assert_eq!(seen.header("x-from"), Some("body"));
}

#[test]
fn a_message_without_a_body_has_an_empty_one() {
    let origin = Origin::saying("ok");
    let steps = json!({
        "request": ["buffer"],
        "request_body": ["read.body"],
        "response": ["response.show a.body"],
    });
    let proxy = start(&origin, &[steps]);
    assert_eq!(get(&proxy).header("x-shown"), Some("|true"));
    assert_eq!(origin.seen().header("content-length"), None);
    let proxy = start(
        &origin,
        &[json!({ "request": ["buffer"], "request_body": ["replace one"] })],
    );
    get(&proxy);
    assert_eq!(origin.seen().body, b"one");
    let proxy = start(&origin, &[json!({ "request": ["transform end"] })]);
    for _ in 0..3 {
        get(&proxy);
        assert_eq!(origin.seen().body, b"");
    }
    let lost = counted(&proxy, "lockgate_filter_instances_lost_total", &[]);
    assert_eq!(lost, 0, "what has nothing to transform goes back");
}

#[test]
fn what_is_longer_than_a_filter_takes_is_refused() {
    let origin = Origin::saying("more than four");
    let proxy = start(&origin, &[json!({ "request": ["buffer 4"] })]);
    assert_eq!(post(&proxy, "four").status, 200);
    assert_eq!(post(&proxy, "fives").status, 413);
    assert_eq!(chunked(&proxy, &["fi", "ves"], "").status, 413);
    let proxy = start(&origin, &[json!({ "response": ["buffer 4"] })]);
    let refused = get(&proxy);
    assert_eq!(refused.status, 502);
    let why = Some("lockgate; error=http_response_body_size");
    assert_eq!(refused.header("proxy-status"), why);
}

#[test]
fn a_limit_of_the_configuration_holds_whatever_is_asked_for() {
    let origin = Origin::saying("ok");
    let mut limited = guest(json!({ "request": ["buffer 1000000"] }));
    limited["limits"] = json!({ "max_buffer_bytes": 4 });
    let proxy = Hostile::straight().guest("a", limited).start(&origin);
    assert_eq!(post(&proxy, "four").status, 200);
    assert_eq!(post(&proxy, "fives").status, 413);
}

#[test]
fn a_beginning_is_shown_and_all_of_it_passes() {
    let origin = Origin::saying("ok");
    let steps = json!({
        "request": ["peek 4"],
        "request_body": ["read.body"],
        "response": ["response.show a.body"],
    });
    let proxy = start(&origin, &[steps]);
    let answer = post(&proxy, "hello");
    assert_eq!(answer.header("x-shown"), Some("hell|false"));
    let seen = origin.seen();
    assert_eq!(seen.body, b"hello");
    assert_eq!(seen.header("content-length"), Some("5"));
    assert_eq!(post(&proxy, "hell").header("x-shown"), Some("hell|true"));
    origin.seen();
    let long = "x".repeat(300_000);
    post(&proxy, &long);
    assert_eq!(origin.seen().body, long.as_bytes());
    let steps = json!({ "request": ["peek 4"], "request_body": ["replace all"] });
    let proxy = start(&origin, &[steps]);
    assert_eq!(post(&proxy, "hello").status, 500);
    let labels = [("fault", "invalid-verdict")];
    let faults = counted(&proxy, "lockgate_filter_faults_total", &labels);
    assert_eq!(faults, 1);
}

#[test]
fn a_body_may_be_answered_or_reset() {
    let origin = Origin::saying("ok");
    let before = json!({ "response": ["response.set x-before seen"] });
    let steps = json!({
        "request": ["buffer"],
        "request_body": ["respond 403 no"],
        "response": ["response.set x-own seen"],
    });
    let proxy = start(&origin, &[before, steps]);
    let answer = post(&proxy, "hello");
    assert_eq!((answer.status, answer.text()), (403, "no".into()));
    assert_eq!(answer.header("x-before"), Some("seen"));
    assert_eq!(answer.header("x-own"), None);
    let proxy = start(
        &origin,
        &[json!({ "request": ["buffer"], "request_body": ["reset"] })],
    );
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx");
    assert_eq!(client.rest(), b"");
    assert!(origin.seen_now().is_none());
    let steps = json!({ "response": ["buffer"], "response_body": ["respond 418 tea"] });
    let proxy = start(&origin, &[steps]);
    let answer = get(&proxy);
    assert_eq!((answer.status, answer.text()), (418, "tea".into()));
}

#[test]
fn the_client_is_asked_for_a_body_that_is_collected() {
    let origin = Origin::saying("ok");
    let steps = json!({ "request": ["buffer"], "request_body": ["upper"] });
    let proxy = start(&origin, &[steps]);
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(client.line(), "HTTP/1.1 100 Continue");
    assert_eq!(client.line(), "");
    assert_eq!(client.send("hello").answer().status, 200);
    assert_eq!(origin.seen().body, b"HELLO");
}

#[test]
fn the_client_is_not_asked_for_a_body_that_is_too_long() {
    let origin = Origin::saying("ok");
    let proxy = start(&origin, &[json!({ "request": ["buffer 4"] })]);
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(client.answer().status, 413);
    // Nor is it waited for.
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(client.answer().status, 413);
}

#[test]
fn a_request_is_transformed_piece_by_piece() {
    let origin = Origin::saying("ok");
    let proxy = start(&origin, &[json!({ "request": ["transform upper"] })]);
    assert_eq!(post(&proxy, "hello").status, 200);
    let seen = origin.seen();
    assert_eq!(seen.body, b"HELLO");
    assert_eq!(seen.header("transfer-encoding"), Some("chunked"));
    assert_eq!(seen.header("content-length"), None);
    let long = "ab".repeat(1_000_000);
    assert_eq!(post(&proxy, &long).status, 200);
    assert_eq!(origin.seen().body, long.to_uppercase().as_bytes());
    let made = counted(&proxy, "lockgate_filter_instances_made_total", &[]);
    assert_eq!(made, 1, "an instance goes back at the body's end");
}

#[test]
fn several_filters_may_want_the_same_body() {
    let origin = Origin::saying("answer");
    let check = |guests: &[Value], expected: &str| {
        let proxy = start(&origin, guests);
        assert_eq!(post(&proxy, "ab").status, 200);
        let seen = origin.seen();
        assert_eq!(String::from_utf8_lossy(&seen.body), expected);
        let made = counted(&proxy, "lockgate_filter_instances_lost_total", &[]);
        assert_eq!(made, 0);
    };
    let twice = || json!({ "request": ["transform twice"] });
    let end = || json!({ "request": ["transform end"] });
    let upper = || json!({ "request": ["buffer"], "request_body": ["upper"] });
    let peek = || json!({ "request": ["peek 1"] });
    check(&[twice(), end()], "abab the end");
    check(&[end(), twice()], "abab the end the end");
    check(&[end(), upper()], "AB THE END");
    check(&[upper(), end()], "AB the end");
    // In the pieces that the one before looked at.
    check(&[end(), peek(), twice()], "aabb the end the end");
    check(&[peek(), peek(), end()], "ab the end");
    check(
        &[json!({ "request": ["transform hold"] }), end()],
        "ab the end",
    );
}

#[test]
fn an_answer_is_collected_and_transformed_in_reverse() {
    let origin = Origin::saying("answer");
    let check = |guests: &[Value], expected: &str| {
        let proxy = start(&origin, guests);
        let answer = get(&proxy);
        assert_eq!((answer.status, &*answer.text()), (200, expected));
    };
    let end = || json!({ "response": ["transform end"] });
    let upper = || json!({ "response": ["buffer"], "response_body": ["upper"] });
    check(&[upper(), end()], "ANSWER THE END");
    check(&[end(), upper()], "ANSWER the end");
    let proxy = start(&origin, &[upper()]);
    assert_eq!(get(&proxy).header("content-length"), Some("6"));
    let proxy = start(&origin, &[end()]);
    assert_eq!(get(&proxy).header("transfer-encoding"), Some("chunked"));
    let answer = proxy.connect().send("GET /x HTTP/1.0\r\n\r\n").rest();
    assert!(answer.ends_with(b"\r\n\r\nanswer the end"));
}

#[test]
fn answers_that_filters_make_pass_the_others() {
    let origin = Origin::saying("never");
    let first = json!({ "response": ["transform upper"] });
    let second = json!({ "response": ["buffer"], "response_body": ["replace mine"] });
    let third = json!({ "request": ["respond 403 no"] });
    let proxy = start(&origin, &[first, second, third]);
    let answer = get(&proxy);
    assert_eq!((answer.status, answer.text()), (403, "MINE".into()));
}

#[test]
fn an_answer_without_a_body_keeps_its_framing() {
    let origin = Origin::start(|seen| match &*seen.line {
        line if line.starts_with("HEAD") => {
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_vec()
        }
        _ => b"HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n".to_vec(),
    });
    let ask = |proxy: &Proxy, method: &str| {
        let mut client = proxy.connect();
        client.send(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"));
        let answer = client.answer_to_head();
        // The connection is where it should be.
        client.send(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert_eq!(client.answer_to_head().status, answer.status);
        answer
    };
    let keep = start(&origin, &[json!({ "response": ["buffer"] })]);
    assert_eq!(ask(&keep, "HEAD").header("content-length"), Some("9"));
    assert_eq!(ask(&keep, "GET").status, 304);
    for steps in [
        json!({ "response": ["transform end"] }),
        json!({ "response": ["buffer"], "response_body": ["replace "] }),
    ] {
        let proxy = start(&origin, &[steps]);
        assert_eq!(ask(&proxy, "HEAD").header("content-length"), None);
        assert_eq!(ask(&proxy, "GET").status, 304);
    }
}

#[test]
fn a_local_answer_to_a_head_keeps_its_length_when_filters_look_at_its_body() {
    let origin = Origin::saying("never");
    for (body_steps, length) in [
        (json!([]), "2"),
        (json!(["upper"]), "2"),
        (json!(["replace another"]), "7"),
    ] {
        let looks = json!({ "response": ["buffer"], "response_body": body_steps });
        let answers = json!({ "request": ["respond 403 no"] });
        let proxy = start(&origin, &[looks, answers]);
        let mut client = proxy.connect();
        // The connection is where it should be after the first.
        for _ in 0..2 {
            client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
            let answer = client.answer_to_head();
            assert_eq!(answer.status, 403);
            assert_eq!(answer.header("content-length"), Some(length));
        }
    }
}

#[test]
fn trailers_of_a_body_that_goes_nowhere_are_nobodys_matter() {
    let origin = Origin::saying("never");
    let traps = json!({
        "wants": { "phases": ["request", "request-trailers"] },
        "request_trailers": ["trap"],
    });
    let answers = json!({ "request": ["respond 403 no"] });
    let proxy = start(&origin, &[traps, answers]);
    let mut client = proxy.connect();
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
        client.send("1\r\na\r\n0\r\nx-end: 1\r\n\r\n");
        assert_eq!(client.answer().status, 403);
    }
    let faults = counted(&proxy, "lockgate_filter_faults_total", &[]);
    assert_eq!(faults, 0);
}

#[test]
fn trailers_pass_in_the_order_of_their_message() {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                  2\r\nok\r\n0\r\nx-sum: 7\r\nx-gone: 1\r\n\r\n";
    let origin = Origin::start(move |_| answer.as_bytes().to_vec());
    let steps = |name: &str| {
        json!({
            "wants": { "phases": ["request", "request-trailers", "response", "response-trailers"] },
            "request_trailers": [
                format!("trailers.set x-last {name}"), "trailers.remove x-gone",
                format!("trailers.set x-{name} seen"), "trailers.set content-length 1",
            ],
            "response_trailers": [
                format!("trailers.set x-last {name}"), "trailers.remove x-gone",
            ],
        })
    };
    let proxy = start(&origin, &[steps("first"), steps("second")]);
    let answer = chunked(&proxy, &["a"], "x-sum: 1\r\nx-gone: 1\r\n");
    let seen = origin.seen();
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert!(seen.trailers.contains(&field("x-sum", "1")), "{seen:?}");
    assert!(
        seen.trailers.contains(&field("x-first", "seen")),
        "{seen:?}"
    );
    assert!(
        seen.trailers.contains(&field("x-last", "second")),
        "{seen:?}"
    );
    assert!(!seen.trailers.iter().any(|(name, _)| name == "x-gone"));
    assert!(
        !seen
            .trailers
            .iter()
            .any(|(name, _)| name == "content-length")
    );
    assert!(answer.trailers.contains(&field("x-sum", "7")), "{answer:?}");
    assert!(answer.trailers.contains(&field("x-last", "first")));
    assert!(!answer.trailers.iter().any(|(name, _)| name == "x-gone"));
}

#[test]
fn trailers_survive_a_collected_and_a_transformed_body() {
    let origin = Origin::saying("ok");
    for steps in [
        json!({ "request": ["buffer"], "request_body": ["upper"] }),
        json!({ "request": ["transform upper"] }),
    ] {
        let proxy = start(&origin, &[steps]);
        chunked(&proxy, &["a", "b"], "x-sum: 1\r\n");
        let seen = origin.seen();
        assert_eq!(seen.body, b"AB");
        assert_eq!(seen.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    }
}

#[test]
fn a_body_that_never_ends_streams_through() {
    let (next, pieces) = channel::<&'static str>();
    let pieces = std::sync::Mutex::new(pieces);
    let origin = Origin::scripted(move |stream, _| {
        let mut reader = BufReader::new(stream);
        support::read_request(&mut reader).unwrap();
        let stream = reader.get_mut();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .unwrap();
        for piece in pieces.lock().unwrap().iter() {
            let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
            stream.write_all(chunk.as_bytes()).unwrap();
        }
    });
    let proxy = start(&origin, &[json!({ "response": ["transform upper"] })]);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    while !client.line().is_empty() {}
    for (piece, upper) in [("one", "ONE"), ("two", "TWO"), ("three", "THREE")] {
        next.send(piece).unwrap();
        let chunk = format!("{:x}\r\n{upper}\r\n", upper.len());
        assert_eq!(client.exactly(chunk.len()), chunk.as_bytes());
    }
    drop(client);
    // What the client left costs its instance, and that alone.
    within("the exchange is over", || {
        next.send("more").ok();
        let lost = counted(&proxy, "lockgate_filter_instances_lost_total", &[]);
        (lost == 1).then_some(())
    });
}

#[test]
fn a_transform_sees_the_exchange_and_cannot_change_what_is_sent() {
    let origin = Origin::saying("ok");
    let steps = json!({ "request": ["transform heads"], "response": ["response.show a.tried"] });
    let proxy = start(&origin, &[steps]);
    let tried = "[Err(HeadError::TooLate), Err(HeadError::TooLate)]";
    assert_eq!(post(&proxy, "x").header("x-shown"), Some(tried));
    let steps = json!({ "request": ["transform count"], "response": ["response.show a.seen"] });
    let proxy = start(&origin, &[steps]);
    assert_eq!(post(&proxy, "four").header("x-shown"), Some("(4, 0)"));
}

#[test]
fn what_a_filter_gives_of_a_body_at_once_is_bounded() {
    let origin = Origin::saying("more");
    let limited = |steps: Value, max: usize| {
        let mut entry = guest(steps);
        entry["limits"] = json!({ "max_output_bytes": max, "memory": "256MiB", "cpu": "1s" });
        Hostile::straight().guest("a", entry).start(&origin)
    };
    let faults = |proxy: &Proxy| {
        let labels = [("filter", "a"), ("fault", "output-limit")];
        counted(proxy, "lockgate_filter_faults_total", &labels)
    };
    let replaced = json!({ "request": ["buffer 10"], "request_body": ["replace-huge 1001"] });
    let proxy = limited(replaced.clone(), 1000);
    assert_eq!((post(&proxy, "x").status, faults(&proxy)), (500, 1));
    let proxy = limited(replaced, 1001);
    assert_eq!((post(&proxy, "x").status, faults(&proxy)), (200, 0));
    assert_eq!(origin.seen().body.len(), 1001);
    let transformed = json!({ "request": ["transform twice"] });
    let proxy = limited(transformed, 9);
    assert_eq!((post(&proxy, "four").status, faults(&proxy)), (200, 0));
    assert_eq!((post(&proxy, "fives").status, faults(&proxy)), (500, 1));
    // Also where so much is not even looked at.
    let huge = json!({ "request": ["transform huge"] });
    let proxy = limited(huge, 1 << 20);
    assert_eq!((post(&proxy, "x").status, faults(&proxy)), (500, 1));
}

/// Ways to fail in the middle of a body, and the name of the fault.
const BAD: [(&str, &str); 7] = [
    ("error", "error"),
    ("trap", "trap"),
    ("loop", "overrun"),
    ("allocate", "memory"),
    ("huge", "memory"),
    ("error-at-end", "error"),
    ("trap-at-end", "trap"),
];

#[test]
fn a_transform_that_fails_costs_its_own_exchange() {
    for direction in ["request", "response"] {
        let names: Vec<_> = BAD.iter().map(|(name, _)| *name).collect();
        let origin = Origin::saying("answer");
        let routes = BAD.iter().map(|(name, _)| {
            let steps = json!({ direction: [format!("transform {name}")] });
            (*name, json!({ "config": guest(steps)["config"] }))
        });
        let routes: serde_json::Map<_, _> = routes
            .map(|(name, config)| (name.to_owned(), config))
            .collect();
        let mut entry = guest(json!({ direction: ["transform upper"] }));
        entry["routes"] = Value::Object(routes);
        entry["limits"] = json!({ "max_overruns": 1_000_000, "memory": "16MiB", "cpu": "20ms" });
        let proxy = Hostile::routed(&[&names[..], &["good"]].concat())
            .guest("guest", entry)
            .start(&origin);
        let mut neighbour = proxy.connect();
        for (name, fault) in BAD {
            let head = format!("POST /{name} HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n");
            let mut client = proxy.connect();
            client.send(head + "body");
            let all = String::from_utf8(client.rest()).unwrap();
            match direction {
                "request" => assert!(all.starts_with("HTTP/1.1 500"), "{name}: {all}"),
                _ => {
                    assert!(all.starts_with("HTTP/1.1 200"), "{name}: {all}");
                    assert!(!all.ends_with("0\r\n\r\n"), "{name} is cut off: {all}");
                }
            }
            let labels = [("filter", "guest"), ("fault", fault)];
            assert_ne!(
                counted(&proxy, "lockgate_filter_faults_total", &labels),
                0,
                "{name}"
            );
            neighbour_is_well(&mut neighbour, name);
        }
    }
}

fn neighbour_is_well(neighbour: &mut Client, after: &str) {
    let answer = neighbour
        .send("POST /good HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody")
        .answer();
    assert_eq!(answer.status, 200, "after {after}");
    assert!(
        answer.text().eq_ignore_ascii_case("answer"),
        "after {after}"
    );
}

#[test]
fn an_exchange_does_not_wait_for_the_instance_that_it_has() {
    // It answers before the body has ended.
    let origin = Origin::scripted(|mut stream, _| {
        let answer = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno";
        let count = stream.read(&mut [0; 1000]).unwrap();
        assert_ne!(count, 0);
        stream.write_all(answer).unwrap();
        stream.read_to_end(&mut Vec::new()).ok();
    });
    let mut entry = guest(json!({
        "wants": { "phases": ["request", "response", "done"] },
        "request": ["transform upper"],
        "response": ["response.set x-seen yes"],
        "done": ["count over a"],
    }));
    entry["limits"] = json!({ "max_instances": 1, "max_wait": "60s" });
    let proxy = Hostile::straight().guest("a", entry).start(&origin);
    for times in 1..=3 {
        let mut client = proxy.connect();
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nbody");
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("x-seen")), (413, Some("yes")));
        drop(client);
        within("it is told that it is over", || {
            (counted(&proxy, "lockgate_guest_over_total", &[]) == times).then_some(())
        });
    }
}

#[test]
fn a_delay_in_a_transform_holds_nobody() {
    let origin = Origin::saying("ok");
    let mut entry = guest(json!({
        "request": ["transform delay"],
        "response": ["response.set x-seen yes"],
    }));
    // Longer than a client of these tests waits.
    entry["limits"] = json!({ "max_delay": "1h" });
    let proxy = Hostile::straight().guest("a", entry).start(&origin);
    assert_eq!(post(&proxy, "x").header("x-seen"), Some("yes"));
}

#[test]
fn an_answer_that_was_only_looked_at_keeps_its_length() {
    let origin = Origin::saying("a longer answer");
    let proxy = start(&origin, &[json!({ "response": ["peek 3"] })]);
    let answer = get(&proxy);
    assert_eq!(answer.header("content-length"), Some("15"));
    assert_eq!(answer.text(), "a longer answer");
}

#[test]
fn calls_wait_in_line_for_an_instance() {
    let (origin, release) = Origin::holding("ok");
    let limited = |limits: Value| {
        let mut entry = guest(json!({
            "wants": { "phases": ["request"] },
            "request": ["transform upper"],
        }));
        entry["limits"] = limits;
        Hostile::straight().guest("a", entry).start(&origin)
    };
    let begin = |proxy: &Proxy, path: &str| {
        let mut client = proxy.connect();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na"
        ));
        client
    };
    let proxy = limited(json!({ "max_instances": 1, "max_waiting": 1, "max_wait": "60s" }));
    // It has the only instance until its body ends.
    let mut first = begin(&proxy, "/held");
    within("the first has it", || {
        let calls = counted(
            &proxy,
            "lockgate_filter_calls_total",
            &[("phase", "transform")],
        );
        (calls > 0).then_some(())
    });
    let mut second = begin(&proxy, "/second");
    within("the second waits", || {
        (counted(&proxy, "lockgate_filter_waits_total", &[]) == 1).then_some(())
    });
    // Only one may.
    assert_eq!(begin(&proxy, "/third").send("b").answer().status, 503);
    first.send("b");
    release.send(()).unwrap();
    assert_eq!(first.answer().status, 200);
    assert_eq!(second.send("b").answer().status, 200);
    let proxy = limited(json!({ "max_instances": 1, "max_wait": "1ms" }));
    let _first = begin(&proxy, "/held");
    within("the first has it", || {
        let calls = counted(
            &proxy,
            "lockgate_filter_calls_total",
            &[("phase", "transform")],
        );
        (calls > 0).then_some(())
    });
    assert_eq!(begin(&proxy, "/second").send("b").answer().status, 503);
}
