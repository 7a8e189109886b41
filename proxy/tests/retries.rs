//! What is tried again, how often, where, and what it may cost.

mod support;

use std::collections::HashSet;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};

use bytes::Bytes;
use h2::Reason;
use serde_json::{Value, json};
use support::admin::metric;
use support::http2::{self, Http2, post};
use support::http2_origin::{Http2Origin, answer, read_body};
use support::{Answer, LIMIT, Origin, Proxy, Seen, read_head, read_request, refusing, within};

/// One worker, so that endpoints are taken in turn.
fn proxy(policy: &str, cluster: &str, endpoints: &[SocketAddr]) -> Proxy {
    let endpoints: Vec<_> = endpoints.iter().map(|at| format!("'{at}'")).collect();
    Proxy::start(&format!(
        "workers: 1\nadmin: {{ address: '127.0.0.1:0' }}\n\
         access_log: {{ to: ./access.log }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
         retry_policies: [{{ name: it, backoff: {{ base: 1ms, max: 1ms }}, {policy} }}]\n\
         clusters: [{{ name: o, retry: it, endpoints: [{}], {cluster} }}]\n",
        endpoints.join(", ")
    ))
}

fn response(status: u16, more: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{more}\r\n{body}").into_bytes()
}

/// Fails so many times with what `fail` makes, and then says `ok`.
fn failing(times: usize, fail: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::start(move |_| match count.fetch_add(1, Relaxed) < times {
        true => fail(),
        false => response(200, "", "ok"),
    })
}

/// Closes so many connections behind the head of a request.
fn resetting(times: usize) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::scripted(move |stream, seen| {
        let mut reader = BufReader::new(stream);
        if count.fetch_add(1, Relaxed) < times {
            let head = read_head(&mut reader);
            seen.send(head.expect("a request")).ok();
            return;
        }
        while let Some(request) = read_request(&mut reader) {
            seen.send(request).ok();
            if reader
                .get_mut()
                .write_all(&response(200, "", "ok"))
                .is_err()
            {
                return;
            }
        }
    })
}

fn all_seen(origin: &Origin) -> Vec<Seen> {
    std::iter::from_fn(|| origin.seen_now()).collect()
}

fn denied(proxy: &Proxy, reason: &str) -> f64 {
    let series =
        format!("lockgate_cluster_retries_denied_total{{cluster=\"o\",reason=\"{reason}\"}}");
    metric(proxy.admin(), &series)
}

fn ask(proxy: &Proxy, method: &str, more: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n{more}\r\n");
    proxy.connect().send(head + body).answer()
}

#[test]
fn answers_are_tried_again_as_the_policy_says() {
    let check = |on: &str, status: u16, is_tried_again: bool| {
        let origin = failing(1, move || response(status, "", "no"));
        let proxy = proxy(&format!("on: [{on}]"), "", &[origin.address]);
        let answer = proxy.get("/");
        let (status, text) = match is_tried_again {
            true => (200, "ok"),
            false => (status, "no"),
        };
        assert_eq!((answer.status, &*answer.text()), (status, text), "{on}");
        let count = 1 + usize::from(is_tried_again);
        assert_eq!(all_seen(&origin).len(), count, "{on} {status}");
    };
    check("503", 503, true);
    check("429", 429, true);
    check("5xx", 500, true);
    check("gateway_error", 504, true);
    check("gateway_error", 500, false);
    check("5xx", 429, false);
    check("connect_failure, reset", 503, false);
}

#[test]
fn the_last_answer_is_passed_on_as_it_is() {
    let origin = Origin::start(|_| response(503, "x-a: 1\r\n", "busy"));
    let proxy = proxy("on: [503], attempts: 4", "", &[origin.address]);
    let answer = proxy.get("/");
    assert_eq!((answer.status, &*answer.text()), (503, "busy"));
    assert_eq!(answer.header("x-a"), Some("1"));
    assert_eq!(all_seen(&origin).len(), 4);
    let retries = metric(
        proxy.admin(),
        "lockgate_cluster_retries_total{cluster=\"o\"}",
    );
    assert_eq!(retries, 3.0);
    // What was not passed on was read to its end, so that its connection served again.
    let opened = "lockgate_cluster_connections_opened_total{cluster=\"o\"}";
    assert_eq!(metric(proxy.admin(), opened), 1.0);
}

#[test]
fn each_try_goes_to_another_endpoint() {
    let origins: [_; 3] = std::array::from_fn(|_| Origin::start(|_| response(503, "", "")));
    let proxy = proxy(
        "on: [503]",
        "",
        &origins.each_ref().map(|origin| origin.address),
    );
    for _ in 0..5 {
        assert_eq!(proxy.get("/").status, 503);
        for origin in &origins {
            assert_eq!(all_seen(origin).len(), 1);
        }
    }
}

#[test]
fn connections_that_cannot_be_made_are_tried_elsewhere_where_the_policy_says_so() {
    let check = |on: &str, wanted: [u16; 2]| {
        let origin = Origin::saying("ok");
        let proxy = proxy(&format!("on: [{on}]"), "", &[refusing(), origin.address]);
        // The first two take both endpoints, in any order.
        let mut found = [proxy.get("/").status, proxy.get("/").status];
        found.sort_unstable();
        assert_eq!(found, wanted, "{on}");
    };
    check("connect_failure", [200, 200]);
    check("503", [200, 502]);
}

#[test]
fn a_connection_that_dies_before_an_answer_is_tried_again() {
    let origin = resetting(1);
    let proxy = proxy("on: [reset]", "", &[origin.address]);
    assert_eq!(proxy.get("/").text(), "ok");
    assert_eq!(all_seen(&origin).len(), 2);
}

#[test]
fn nothing_is_tried_again_once_an_answer_began() {
    let origin = Origin::scripted(|stream, seen| {
        let mut reader = BufReader::new(stream);
        let request = read_request(&mut reader).expect("a request");
        seen.send(request).ok();
        let half = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
        reader.get_mut().write_all(half).ok();
    });
    let proxy = proxy("on: [reset, 5xx]", "", &[origin.address]);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let answer = String::from_utf8(client.rest()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("half"), "{answer}");
    assert_eq!(all_seen(&origin).len(), 1);
}

#[test]
fn a_try_that_takes_too_long_is_followed_by_another() {
    let count = AtomicUsize::new(0);
    let origin = Origin::scripted(move |stream, seen| {
        let is_first = count.fetch_add(1, Relaxed) == 0;
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            seen.send(request).ok();
            if !is_first {
                reader.get_mut().write_all(&response(200, "", "ok")).ok();
            }
        }
    });
    let policy = "on: [try_timeout], try_timeout: 1s, attempts: 10";
    let proxy = proxy(policy, "", &[origin.address]);
    assert_eq!(proxy.get("/").text(), "ok");
    assert!(all_seen(&origin).len() >= 2);
}

#[test]
fn a_try_that_takes_too_long_is_named() {
    let (origin, _release) = Origin::holding("late");
    let proxy = proxy("on: [reset]", "timeouts: { try: 50ms }", &[origin.address]);
    let answer = proxy.get("/held");
    assert_eq!(answer.status, 504);
    let status = answer.header("proxy-status").unwrap();
    assert!(status.ends_with("details=\"try_timeout\""), "{status}");
    let errors = "lockgate_request_errors_total{listener=\"web\",error=\"try_timeout\"}";
    within("it is counted", || {
        (metric(proxy.admin(), errors) == 1.0).then_some(())
    });
}

#[test]
fn a_body_is_sent_again_from_its_beginning() {
    let body = "0123456789".repeat(2000);
    for policy in ["on: [503]", "on: [503], max_body: 20000"] {
        let origin = failing(2, || response(503, "", ""));
        let proxy = proxy(policy, "", &[origin.address]);
        assert_eq!(ask(&proxy, "PUT", "", &body).text(), "ok");
        let seen = all_seen(&origin);
        assert_eq!(seen.len(), 3);
        assert!(seen.iter().all(|seen| seen.body == body.as_bytes()));
    }
}

#[test]
fn a_body_in_chunks_is_sent_again_with_its_trailers() {
    let origin = failing(1, || response(503, "", ""));
    let proxy = proxy("on: [503]", "", &[origin.address]);
    let mut client = proxy.connect();
    client
        .send("PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n");
    for _ in 0..2000 {
        client.send("3\r\nabc\r\n");
    }
    client.send("0\r\nx-end: yes\r\n\r\n");
    assert_eq!(client.answer().text(), "ok");
    let seen = all_seen(&origin);
    assert_eq!(seen.len(), 2);
    for seen in seen {
        assert_eq!(seen.body, "abc".repeat(2000).as_bytes());
        assert_eq!(seen.trailers, [("x-end".to_owned(), "yes".to_owned())]);
    }
}

/// Its origin has closed before it was there.
#[test]
fn a_body_goes_on_to_come_while_it_is_sent_again() {
    let origin = resetting(2);
    let proxy = proxy("on: [reset]", "", &[origin.address]);
    let mut client = proxy.connect();
    client.send("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nhalf");
    // The first two had heads only.
    origin.seen();
    origin.seen();
    client.send("more");
    assert_eq!(client.answer().text(), "ok");
    assert_eq!(origin.seen().body, b"halfmore");
}

#[test]
fn a_body_that_is_larger_than_what_is_kept_is_sent_once_and_whole() {
    let body = "0123456789".repeat(2000);
    let origin = Origin::start(|_| response(503, "", "no"));
    let proxy = proxy("on: [503], max_body: 19999", "", &[origin.address]);
    assert_eq!(ask(&proxy, "PUT", "", &body).text(), "no");
    let chunked = format!("4E20\r\n{body}\r\n0\r\n\r\n");
    let head = "PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = proxy.connect().send(head.to_owned() + &chunked).answer();
    assert_eq!(answer.text(), "no");
    let seen = all_seen(&origin);
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| seen.body == body.as_bytes()));
    assert_eq!(denied(&proxy, "body"), 2.0);
}

#[test]
fn what_is_not_idempotent_is_sent_once_unless_the_policy_says_otherwise() {
    let check = |methods: &str, count: usize| {
        let origin = Origin::start(|_| response(503, "", ""));
        let policy = format!("on: [503], methods: {methods}");
        let proxy = proxy(&policy, "", &[origin.address]);
        assert_eq!(ask(&proxy, "POST", "", "x").status, 503);
        assert_eq!(all_seen(&origin).len(), count, "{methods}");
    };
    check("idempotent", 1);
    check("any", 3);
}

#[test]
fn what_was_not_sent_is_tried_elsewhere_whatever_its_method() {
    let origin = Origin::saying("ok");
    let proxy = proxy("on: [connect_failure]", "", &[refusing(), origin.address]);
    for _ in 0..2 {
        assert_eq!(ask(&proxy, "POST", "", "whole").text(), "ok");
        assert_eq!(origin.seen().body, b"whole");
    }
}

#[test]
fn retry_after_is_waited_for_up_to_a_bound() {
    let origin = failing(1, || response(503, "retry-after: 1000000000000\r\n", ""));
    let proxy = proxy("on: [503], retry_after: 20ms", "", &[origin.address]);
    assert_eq!(proxy.get("/").text(), "ok");
}

/// It is the first endpoint's, and not all others'.
#[test]
fn retry_after_is_not_waited_for_where_others_can_be_had() {
    let busy = Origin::start(|_| response(503, "retry-after: 3000\r\n", "later"));
    let other = Origin::saying("ok");
    let policy = "on: [503], retry_after: 1h";
    let proxy = proxy(policy, "", &[busy.address, other.address]);
    for _ in 0..4 {
        assert_eq!(proxy.get("/").text(), "ok");
    }
    assert!(busy.seen_now().is_some());
}

#[test]
fn a_wait_for_which_there_is_no_time_is_not_made() {
    let origin = failing(1, || response(503, "retry-after: 3000\r\n", "later"));
    let proxy = proxy("on: [503], retry_after: 1h", "", &[origin.address]);
    assert_eq!(proxy.get("/").text(), "later");
    assert_eq!(denied(&proxy, "deadline"), 1.0);
    assert_eq!(all_seen(&origin).len(), 1);
}

/// Requests to a cluster of which nothing is there.
fn outage(policy: &str, cluster: &str, endpoints: &[SocketAddr]) -> Proxy {
    let proxy = proxy(policy, cluster, endpoints);
    let mut client = proxy.connect();
    for _ in 0..100 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert!(client.answer().status >= 500);
    }
    proxy
}

/// Without the rest that silent endpoints get, which would be most of it.
const A_FIFTH: &str =
    "retry_budget: { percent: 20, floor: 0, floor_at_once: 100 }, silent_pause: 0s";

#[test]
fn an_outage_gets_a_fifth_more_and_not_more() {
    let origin = Origin::start(|_| response(503, "", ""));
    let proxy = outage("on: [503], attempts: 10", A_FIFTH, &[origin.address]);
    let count = all_seen(&origin).len();
    assert!((110..=120).contains(&count), "{count}");
    assert!(denied(&proxy, "budget") >= 90.0);

    let dead = [refusing(), refusing(), refusing(), refusing()];
    let failures = "lockgate_cluster_connect_failures_total{cluster=\"o\"}";
    for cluster in [A_FIFTH, &format!("{A_FIFTH}, refused_pause: 1ms")] {
        let proxy = outage("on: [connect_failure], attempts: 10", cluster, &dead);
        let count = metric(proxy.admin(), failures);
        assert!((110.0..=120.0).contains(&count), "{count}");
    }
}

#[test]
fn without_a_policy_the_budget_holds_too() {
    let dead: [_; 3] = std::array::from_fn(|_| format!("'{}'", refusing()));
    let proxy = Proxy::start(&format!(
        "workers: 1\nadmin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
         clusters: [{{ name: o, endpoints: [{}], {A_FIFTH} }}]\n",
        dead.join(", ")
    ));
    let mut client = proxy.connect();
    for _ in 0..100 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.answer().status, 502);
    }
    let failures = "lockgate_cluster_connect_failures_total{cluster=\"o\"}";
    let count = metric(proxy.admin(), failures);
    assert!((110.0..=120.0).contains(&count), "{count}");
    assert!(denied(&proxy, "budget") >= 80.0);
}

#[test]
fn no_more_are_under_way_than_may_be() {
    let cluster = "retry_budget: { percent: 0, floor: 100, floor_at_once: 0 }";
    let origin = Origin::start(|_| response(503, "", ""));
    let proxy = proxy("on: [503]", cluster, &[origin.address]);
    assert_eq!(proxy.get("/").status, 503);
    assert_eq!(denied(&proxy, "at_once"), 1.0);
}

#[test]
fn no_more_are_under_way_than_the_limit_of_retries() {
    let origin = Origin::start(|_| response(503, "", ""));
    let none = proxy("on: [503]", "limits: { retries: 0 }", &[origin.address]);
    assert_eq!(none.get("/").status, 503);
    assert_eq!(denied(&none, "limit"), 1.0);
    assert_eq!(all_seen(&origin).len(), 1);

    // The second of each path is held.
    let (release, gate) = channel();
    let (gate, paths) = (Mutex::new(gate), Mutex::new(HashSet::new()));
    let origin = Origin::scripted(move |stream, seen| {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            let is_first = paths.lock().unwrap().insert(request.line.clone());
            seen.send(request).ok();
            let answer = match is_first {
                true => response(503, "", "no"),
                false => gate
                    .lock()
                    .unwrap()
                    .recv_timeout(LIMIT)
                    .map_or_else(|_| Vec::new(), |()| response(200, "", "ok")),
            };
            if reader.get_mut().write_all(&answer).is_err() {
                return;
            }
        }
    });
    let cluster = "limits: { retries: 1 }, retry_budget: { percent: 100, floor_at_once: 100 }";
    let one = proxy("on: [503]", cluster, &[origin.address]);
    let mut client = one.connect();
    client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n");
    origin.seen();
    origin.seen();
    assert_eq!(one.get("/b").status, 503);
    assert_eq!(denied(&one, "limit"), 1.0);
    release.send(()).unwrap();
    assert_eq!(client.answer().text(), "ok");
    release.send(()).unwrap();
    assert_eq!(one.get("/c").text(), "ok");
    assert_eq!(denied(&one, "limit"), 1.0);
}

fn record(proxy: &Proxy) -> Value {
    within("a record", || {
        let text = std::fs::read_to_string(proxy.path().join("access.log")).ok()?;
        serde_json::from_str(text.lines().next()?).ok()
    })
}

#[test]
fn the_access_log_tells_each_try() {
    let origin = failing(1, || response(503, "", ""));
    let proxy = proxy("on: [503, reset]", "", &[origin.address]);
    assert_eq!(proxy.get("/").status, 200);
    let record = record(&proxy);
    assert_eq!(record["retries"], 1);
    let tries = record["tries"].as_array().unwrap();
    let told: Vec<_> = tries
        .iter()
        .map(|told| (&told["endpoint"], &told["end"]))
        .collect();
    let endpoint = json!(origin.address.to_string());
    let wanted = [(&endpoint, &json!("503")), (&endpoint, &json!("200"))];
    assert_eq!(told, wanted);
    assert!(tries.iter().all(|told| told["us"].is_u64()));
    assert_eq!(record["no_retry"], Value::Null);
}

#[test]
fn the_access_log_tells_why_there_was_no_other() {
    let origin = Origin::start(|_| response(503, "", ""));
    let none = "retry_budget: { percent: 0, floor: 0 }";
    let proxy = proxy("on: [503]", none, &[origin.address]);
    assert_eq!(proxy.get("/").status, 503);
    let record = record(&proxy);
    assert_eq!(record["no_retry"], "budget");
    assert_eq!(record["tries"], Value::Null);
}

#[test]
fn what_the_hop_before_tries_again_is_not_tried_again_here() {
    let origin = Origin::start(|_| response(503, "", ""));
    let proxy = proxy("on: [503, 500]", "", &[origin.address]);
    let ask = |covered: &str| {
        assert_eq!(proxy.ask("/", &[("lockgate-retry", covered)]).status, 503);
        let seen = all_seen(&origin);
        let told = seen[0].header("lockgate-retry").map(str::to_owned);
        (seen.len(), told.unwrap_or_default())
    };
    assert_eq!(ask("503"), (1, "500, 503".to_owned()));
    assert_eq!(ask("5xx"), (1, "5xx, 500, 503".to_owned()));
    assert_eq!(ask("429, nonsense"), (3, "500, 503, 429".to_owned()));
    assert_eq!(denied(&proxy, "outer_hop"), 2.0);
}

#[test]
fn an_origin_that_refuses_a_stream_has_not_looked_at_it() {
    let count = Arc::new(AtomicUsize::new(0));
    let bodies = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (counted, kept) = (count.clone(), bodies.clone());
    let origin = Http2Origin::start(move |request, mut respond| {
        let (count, bodies) = (counted.clone(), kept.clone());
        async move {
            if count.fetch_add(1, Relaxed) == 0 {
                respond.send_reset(Reason::REFUSED_STREAM);
                return;
            }
            let (body, _) = read_body(request.into_body()).await.expect("a body");
            bodies.lock().unwrap().push(body);
            answer(&mut respond, 200, "ok");
        }
    });
    let proxy = proxy("on: [refused_stream]", "protocol: http2", &[origin.address]);
    assert_eq!(ask(&proxy, "POST", "", "once").text(), "ok");
    assert_eq!(*bodies.lock().unwrap(), [b"once"]);
}

#[test]
fn statuses_of_grpc_are_tried_again() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let origin = Http2Origin::start(move |request, mut respond| {
        let count = counted.clone();
        async move {
            read_body(request.into_body()).await.expect("a body");
            let status = match count.fetch_add(1, Relaxed) {
                0 => "14",
                _ => "0",
            };
            let head = http::Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", status);
            respond.send_response(head.body(()).unwrap(), true).unwrap();
        }
    });
    let policy = "on: [{ grpc: [unavailable] }], methods: any";
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', protocols: [http2], cluster: o }}]\n\
         retry_policies: [{{ name: it, {policy} }}]\n\
         clusters: [{{ name: o, retry: it, endpoints: ['{}'], protocol: http2 }}]\n",
        origin.address
    ));
    http2::run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let call = post("/a.B/C").header("content-type", "application/grpc");
        let (answer, mut body) = client.open(call, false).await;
        body.send_data(Bytes::from_static(b"\0\0\0\0\0"), true)
            .unwrap();
        assert_eq!(answer.await.unwrap().headers["grpc-status"], "0");
    });
    assert_eq!(count.load(Relaxed), 2);
}

#[test]
fn a_route_names_a_policy_and_times() {
    let origin = failing(2, || response(503, "", "busy"));
    let yaml = |policy: &str| {
        format!(
            "listeners: [{{ name: web, address: '127.0.0.1:0', filters: [router] }}]\n\
             retry_policies: [{{ name: reads, on: [503] }}]\n\
             clusters: [{{ name: o, endpoints: ['{}'] }}]\n\
             filters:\n  router:\n    component: lockgate:router\n    config:\n      routes:\n\
             \x20     - {{ name: again, match: {{ path: /again }}, cluster: o, retry: {policy}, try_timeout: 30s }}\n\
             \x20     - {{ name: once, cluster: o }}\n",
            origin.address
        )
    };
    let proxy = Proxy::start(&yaml("reads"));
    assert_eq!(proxy.get("/once").text(), "busy");
    assert_eq!(proxy.get("/again").text(), "ok");
    let refused = Proxy::try_start_in(Proxy::folder(), &yaml("raeds"));
    let message = match refused {
        Ok(_) => panic!("it starts"),
        Err(error) => error.to_string(),
    };
    assert!(
        message.contains("filter `router` naming the retry policy `raeds`"),
        "{message}"
    );
    assert!(
        message.contains("one of the configured retry policies: reads"),
        "{message}"
    );
}

#[test]
fn a_policy_that_is_changed_keeps_connections() {
    let origin = Origin::saying("ok");
    let yaml = |attempts: u32| {
        format!(
            "workers: 1\nadmin: {{ address: '127.0.0.1:0' }}\n\
             listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
             retry_policies: [{{ name: it, attempts: {attempts} }}]\n\
             clusters: [{{ name: o, retry: it, endpoints: ['{}'] }}]\n",
            origin.address
        )
    };
    let proxy = Proxy::start(&yaml(2));
    assert_eq!(proxy.get("/").text(), "ok");
    proxy.edit(&yaml(3));
    assert!(proxy.reload().ok);
    assert_eq!(proxy.get("/").text(), "ok");
    let opened = "lockgate_cluster_connections_opened_total{cluster=\"o\"}";
    assert_eq!(metric(proxy.admin(), opened), 1.0);
}

/// A kept connection that dies says that its origin may be dying too: the request goes on to
/// another, without a token of the budget, of which there are none here.
#[test]
fn a_dead_connection_s_request_goes_elsewhere() {
    let (dies, gate) = channel();
    let gate = Mutex::new(gate);
    // The connections of its listen queue are taken and reset.
    let dying = Origin::scripted(move |stream, _| {
        let mut reader = BufReader::new(stream);
        if read_request(&mut reader).is_some_and(|request| request.line.contains("/first")) {
            let answer = response(200, "", "dying");
            reader.get_mut().write_all(&answer).unwrap();
            read_request(&mut reader);
            gate.lock().unwrap().recv_timeout(LIMIT).ok();
        }
    });
    let other = Origin::saying("other");
    let proxy = Proxy::start(&format!(
        "workers: 1\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
         clusters: [{{ name: o, endpoints: ['{}', '{}'], \
           retry_budget: {{ percent: 0, floor: 0, floor_at_once: 0 }} }}]\n",
        dying.address, other.address
    ));
    let mut client = proxy.connect();
    let mut ask = |path: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        let answer = client.answer();
        (answer.status, answer.text())
    };
    let first = [ask("/first").1, ask("/first").1];
    assert!(first.contains(&"dying".to_owned()), "{first:?}");
    dies.send(()).unwrap();
    // Its turn is once more after as many requests.
    for who in first {
        assert_eq!(ask("/second"), (200, "other".to_owned()));
        if who == "dying" {
            return;
        }
    }
}

/// A try that finds an origin gone has reached nobody: the budget's bound on what is under way
/// at once is not for the next one.
#[test]
fn what_a_dying_origin_held_goes_elsewhere_however_much_it_is() {
    const EACH: usize = 10;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closing = listener.try_clone().unwrap();
    let (first, second) = (Barrier::new(EACH), Barrier::new(EACH));
    let dying = Origin::listening(listener, move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        read_request(&mut reader);
        // All have a connection, which is kept.
        first.wait();
        stream.write_all(&response(200, "", "")).unwrap();
        read_request(&mut reader);
        if second.wait().is_leader() {
            // As if its process were killed: nobody listens, and then all connections end.
            let closing = socket2::SockRef::from(&closing);
            closing.shutdown(std::net::Shutdown::Both).unwrap();
        }
        second.wait();
    });
    let (first, all) = (Barrier::new(EACH), Barrier::new(2 * EACH));
    let other = Origin::scripted(move |stream, _| {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            match request.line.contains("/first") {
                true => first.wait(),
                false => all.wait(),
            };
            let stream = reader.get_mut();
            stream.write_all(&response(200, "", "")).unwrap();
        }
    });
    let proxy = Proxy::start(&format!(
        "workers: 1\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
         clusters: [{{ name: o, endpoints: ['{}', '{}'] }}]\n",
        dying.address, other.address
    ));
    let mut clients: Vec<_> = (0..2 * EACH).map(|_| proxy.connect()).collect();
    for path in ["/first", "/second"] {
        for client in &mut clients {
            client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        }
        for client in &mut clients {
            assert_eq!(client.answer().status, 200, "{path}");
        }
    }
}
