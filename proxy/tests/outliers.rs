//! Endpoints that are ejected for how requests went, and how they come back.

mod support;

use std::io::{BufReader, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use serde_json::Value;
use support::admin::{get, json, metric, metric_sum};
use support::http2::{self, Http2, post};
use support::http2_origin::{Http2Origin, read_body};
use support::{Origin, Proxy, read_request, within};

/// Nobody comes back within the test.
const LONG: &str = "outliers: { base_time: 1h, max_time: 1h }";

fn start(cluster: &str) -> Proxy {
    Proxy::start(&yaml(cluster))
}

fn yaml(cluster: &str) -> String {
    format!(
        "workers: 1\n\
         admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
         clusters: [{{ name: o, {cluster} }}]\n"
    )
}

fn endpoints(origins: &[&Origin]) -> String {
    let all = origins.iter().map(|origin| format!("'{}'", origin.address));
    format!("endpoints: [{}]", all.collect::<Vec<_>>().join(", "))
}

/// What `/clusters` tells of an endpoint.
fn told(proxy: &Proxy, origin: &Origin) -> Value {
    told_at(proxy, origin.address)
}

fn told_at(proxy: &Proxy, address: SocketAddr) -> Value {
    let clusters = json(&get(proxy.admin(), "/clusters"));
    let endpoints = clusters[0]["endpoints"].as_array().unwrap();
    let mut endpoints = endpoints.iter();
    let is_it = |one: &&Value| one["address"] == *address.to_string();
    endpoints.find(is_it).unwrap().clone()
}

fn is_ejected(proxy: &Proxy, origin: &Origin) -> Option<()> {
    (told(proxy, origin)["health"] == "ejected").then_some(())
}

/// An origin that answers well, or with this status while it is told to.
fn failing(status: u16) -> (Origin, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(true));
    let told = fails.clone();
    let origin = Origin::start(move |_| match told.load(Ordering::SeqCst) {
        true => format!("HTTP/1.1 {status} No\r\ncontent-length: 3\r\n\r\nbad").into_bytes(),
        false => b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad".to_vec(),
    });
    (origin, fails)
}

#[test]
fn an_endpoint_that_serves_nothing_is_ejected_by_default() {
    let (bad, _) = failing(502);
    let good = Origin::saying("good");
    let proxy = start(&endpoints(&[&good, &bad]));
    let mut failures = 0;
    within("the bad one is ejected", || {
        failures += usize::from(proxy.get("/").status == 502);
        is_ejected(&proxy, &bad)
    });
    assert!(failures >= 5, "{failures}");
    let why = told(&proxy, &bad)["why"].to_string();
    assert!(why.contains("consecutive_gateway"), "{why}");
    // The plan is published a moment after the sign.
    within("nothing goes there", || {
        (0..10)
            .all(|_| proxy.get("/").text() == "good")
            .then_some(())
    });
    let series = |reason: &str| {
        format!("lockgate_cluster_ejections_total{{cluster=\"o\",reason=\"{reason}\"}}")
    };
    assert!(metric(proxy.admin(), &series("consecutive_gateway")) >= 1.0);
    assert_eq!(metric(proxy.admin(), &series("consecutive_no_answer")), 0.0);
    let series = |state| format!("lockgate_cluster_endpoints{{cluster=\"o\",state=\"{state}\"}}");
    within("it is counted", || {
        let counts = ["ejected", "healthy"].map(|state| metric(proxy.admin(), &series(state)));
        (counts == [1.0, 1.0]).then_some(())
    });
}

#[test]
fn a_frozen_endpoint_is_ejected_and_comes_back() {
    let is_frozen = Arc::new(AtomicBool::new(true));
    let told_so = is_frozen.clone();
    let frozen = Origin::scripted(move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while read_request(&mut reader).is_some() {
            if told_so.load(Ordering::SeqCst) {
                // It says nothing until the proxy gives it up.
                std::io::Read::read(&mut stream, &mut [0]).ok();
                return;
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nback")
                .ok();
        }
    });
    let good = Origin::saying("good");
    let proxy = start(&format!(
        "{}, timeouts: {{ answer: 20ms }}, \
         outliers: {{ base_time: 300ms, max_time: 300ms, interval: 10ms, consecutive_no_answer: 2 }}",
        endpoints(&[&good, &frozen])
    ));
    within("the frozen one is ejected", || {
        proxy.get("/");
        is_ejected(&proxy, &frozen)
    });
    is_frozen.store(false, Ordering::SeqCst);
    within("it is back", || {
        (proxy.get("/").text() == "back").then_some(())
    });
    let ejections = told(&proxy, &frozen)["ejections"].as_u64().unwrap();
    assert!(ejections >= 1);
}

/// Longer each time, and slowly at first when it is back.
#[test]
fn who_fails_again_is_ejected_for_longer() {
    let (bad, fails) = failing(502);
    let good = Origin::saying("good");
    let proxy = start(&format!(
        "{}, slow_start: {{ window: 1h, least: 10 }}, \
         outliers: {{ base_time: 4s, max_time: 1h, interval: 1h }}",
        endpoints(&[&good, &bad])
    ));
    let ejected_for = || {
        within("it is ejected", || {
            proxy.get("/");
            is_ejected(&proxy, &bad)
        });
        let why = told(&proxy, &bad)["why"].as_str().unwrap().to_owned();
        let (_, time) = why.split_once(", for ").unwrap();
        let (seconds, _) = time.split_once(' ').unwrap();
        seconds.parse::<f64>().unwrap()
    };
    let first = ejected_for();
    // Some jitter is on top.
    assert!(first < 4.5, "{first}");
    fails.store(false, Ordering::SeqCst);
    within("it is back", || {
        (proxy.get("/").text() == "bad").then_some(())
    });
    let share = told(&proxy, &bad)["slow_start"].as_f64().unwrap();
    assert!(share < 0.2, "{share}");
    fails.store(true, Ordering::SeqCst);
    let second = ejected_for();
    assert!((4.5..9.0).contains(&second), "{second}");
    assert_eq!(told(&proxy, &bad)["ejections"], 2);
}

#[test]
fn a_single_endpoint_is_never_ejected() {
    let (bad, fails) = failing(503);
    let proxy = start(&endpoints(&[&bad]));
    // What comes in before the control thread has looked is one accusation.
    within("that is counted", || {
        assert_eq!(proxy.get("/").status, 503);
        let refused = "lockgate_cluster_ejections_refused_total{cluster=\"o\"}";
        (metric(proxy.admin(), refused) >= 2.0).then_some(())
    });
    assert_ne!(told(&proxy, &bad)["health"], "ejected");
    fails.store(false, Ordering::SeqCst);
    assert_eq!(proxy.get("/").status, 200);
}

/// With one of two ejected that is still asked in panic: `panic_threshold` is above what is
/// left.
#[test]
fn in_panic_all_are_asked() {
    let (bad, fails) = failing(502);
    let good = Origin::saying("good");
    let proxy = start(&format!(
        "{}, panic_threshold: 60, {LONG}",
        endpoints(&[&good, &bad])
    ));
    within("the bad one is ejected", || {
        proxy.get("/");
        is_ejected(&proxy, &bad)
    });
    within("that is a panic", || {
        let panic = "lockgate_cluster_panic{cluster=\"o\"}";
        (metric(proxy.admin(), panic) == 1.0).then_some(())
    });
    fails.store(false, Ordering::SeqCst);
    within("it is asked all the same", || {
        (proxy.get("/").text() == "bad").then_some(())
    });
    assert!(is_ejected(&proxy, &bad).is_some());
}

#[test]
fn errors_of_an_application_are_none_by_default_and_may_be_counted() {
    let (bad, _) = failing(500);
    let good = Origin::saying("good");
    let proxy = start(&endpoints(&[&good, &bad]));
    for _ in 0..20 {
        proxy.get("/");
    }
    assert_eq!(told(&proxy, &bad)["health"], "healthy");
    proxy.edit(&yaml(&format!(
        "{}, outliers: {{ consecutive_5xx: 3 }}",
        endpoints(&[&good, &bad])
    )));
    proxy.reload();
    within("it is ejected", || {
        proxy.get("/");
        is_ejected(&proxy, &bad)
    });
    let why = told(&proxy, &bad)["why"].to_string();
    assert!(why.contains("consecutive_5xx"), "{why}");
}

#[test]
fn what_is_known_of_an_endpoint_outlives_reloads() {
    let (bad, _) = failing(502);
    let good = Origin::saying("good");
    let both = format!("{}, {LONG}", endpoints(&[&good, &bad]));
    let proxy = start(&both);
    within("the bad one is ejected", || {
        proxy.get("/");
        is_ejected(&proxy, &bad)
    });
    // One keeps connections, the other does not.
    for more in ["balance: random", "max_head_bytes: 32KiB"] {
        proxy.edit(&yaml(&format!("{both}, {more}")));
        proxy.reload();
        assert!(is_ejected(&proxy, &bad).is_some(), "{more}");
        for _ in 0..10 {
            assert_eq!(proxy.get("/").text(), "good", "{more}");
        }
    }
}

#[test]
fn an_outlier_by_rate_is_ejected() {
    let count = AtomicUsize::new(0);
    // Never five in a row.
    let bad = Origin::start(move |_| match count.fetch_add(1, Ordering::SeqCst) % 2 {
        0 => b"HTTP/1.1 500 No\r\ncontent-length: 3\r\n\r\nbad".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad".to_vec(),
    });
    let good: Vec<_> = (0..3).map(|_| Origin::saying("good")).collect();
    let all: Vec<_> = good.iter().chain([&bad]).collect();
    let rules = "interval: 100ms, min_requests: 4, min_endpoints: 3";
    for rule in ["failure_percent: 40", "success_rate_deviations: 1.5"] {
        let proxy = start(&format!(
            "{}, outliers: {{ {rule}, {rules} }}",
            endpoints(&all)
        ));
        let mut client = proxy.connect();
        within("it is ejected", || {
            for _ in 0..40 {
                client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").answer();
            }
            is_ejected(&proxy, &bad)
        });
        let why = told(&proxy, &bad)["why"].to_string();
        let name = rule.split([':', '_']).next().unwrap();
        assert!(why.contains(name), "{rule}: {why}");
    }
}

/// Whoever asks gives it less time than the proxy does.
#[test]
fn what_a_client_does_not_wait_for_counts() {
    let frozen = Origin::start(|_| Vec::new());
    let good = Origin::saying("good");
    let proxy = start(&format!("{}, {LONG}", endpoints(&[&frozen, &good])));
    within("it is ejected", || {
        let answer = proxy.ask("/", &[("lockgate-deadline", "150")]);
        assert!([200, 504].contains(&answer.status), "{}", answer.status);
        is_ejected(&proxy, &frozen)
    });
    let counted = |error: &str| {
        let series = format!("lockgate_cluster_errors_total{{cluster=\"o\",error=\"{error}\"}}");
        metric(proxy.admin(), &series)
    };
    assert!(counted("deadline_exceeded") >= 5.0);
}

/// Who gives it hardly any has asked for too much.
#[test]
fn what_nobody_could_answer_counts_for_nothing() {
    let frozen = Origin::start(|_| Vec::new());
    let good = Origin::saying("good");
    let proxy = start(&format!("{}, {LONG}", endpoints(&[&frozen, &good])));
    for _ in 0..40 {
        proxy.ask("/", &[("lockgate-deadline", "20")]);
    }
    assert_eq!(told(&proxy, &frozen)["health"], "healthy");
}

/// A process on a machine that is there: `refused_pause` is for that.
#[test]
fn connections_that_are_refused_at_once_eject_nobody() {
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&any.into()).unwrap();
    let nobody = socket.local_addr().unwrap().as_socket().unwrap();
    let good = Origin::saying("good");
    let proxy = start(&format!(
        "endpoints: ['{}', '{nobody}'], refused_pause: 0s, retry_budget: {{ percent: 100 }}",
        good.address
    ));
    for _ in 0..40 {
        assert_eq!(proxy.get("/").text(), "good");
    }
    let clusters = json(&get(proxy.admin(), "/clusters"));
    assert_eq!(clusters[0]["endpoints"][1]["health"], "healthy");
}

/// Answers each call with a message, and then with this status, or with none.
fn calling(status: Option<&'static str>) -> Http2Origin {
    Http2Origin::start(move |request, mut respond| async move {
        read_body(request.into_body()).await;
        let head = Response::builder().header("content-type", "application/grpc");
        let mut stream = respond
            .send_response(head.body(()).unwrap(), false)
            .unwrap();
        let message = Bytes::from_static(b"\0\0\0\0\0");
        stream.send_data(message, status.is_none()).unwrap();
        if let Some(status) = status {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static(status));
            stream.send_trailers(trailers).unwrap();
        }
    })
}

fn of_calls(origins: &[&Http2Origin], more: &str) -> Proxy {
    let all = origins.iter().map(|origin| format!("'{}'", origin.address));
    let endpoints = all.collect::<Vec<_>>().join(", ");
    Proxy::start(&format!(
        "workers: 1\nadmin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', protocols: [http2], cluster: o }}]\n\
         clusters: [{{ name: o, protocol: http2, endpoints: [{endpoints}], {more} }}]\n"
    ))
}

/// One call on a connection of its own.
fn call(proxy: &Proxy) {
    http2::run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let call = post("/a.B/C").header("content-type", "application/grpc");
        let (answer, mut body) = client.open(call, false).await;
        let message = Bytes::from_static(b"\0\0\0\0\0");
        body.send_data(message, true).unwrap();
        answer.await.unwrap();
    });
}

#[test]
fn a_call_says_behind_its_messages_how_it_went() {
    let good = calling(Some("0"));
    let bad = calling(Some("14"));
    let proxy = of_calls(&[&good, &bad], LONG);
    within("the bad one is ejected", || {
        call(&proxy);
        (told_at(&proxy, bad.address)["health"] == "ejected").then_some(())
    });
    let why = told_at(&proxy, bad.address)["why"].to_string();
    assert!(why.contains("consecutive_gateway"), "{why}");
    assert_eq!(told_at(&proxy, good.address)["failures"], 0);
}

#[test]
fn of_calls_only_what_is_the_servers_fault_is_a_failure() {
    let check = |status: Option<&'static str>, failures: u64| {
        let origin = calling(status);
        let proxy = of_calls(&[&origin], LONG);
        call(&proxy);
        call(&proxy);
        let told = within("they are counted", || {
            let told = told_at(&proxy, origin.address);
            (told["requests"] == 2).then_some(told)
        });
        assert_eq!(told["failures"], failures, "{status:?}");
    };
    for status in ["2", "4", "13", "14", "15"] {
        check(Some(status), 2);
    }
    for status in ["0", "1", "5", "7", "8", "12", "16"] {
        check(Some(status), 0);
    }
    // A call that ends without one.
    check(None, 2);
}

#[test]
fn calls_that_fail_open_the_breaker() {
    let origin = calling(Some("14"));
    let breaker = "outliers: { consecutive_gateway: 0 }, breaker: { min_requests: 3, open: 1h, max_open: 1h }";
    let proxy = of_calls(&[&origin], breaker);
    within("it opens", || {
        call(&proxy);
        let refused = metric_sum(
            proxy.admin(),
            "lockgate_cluster_errors_total",
            "breaker_open",
        );
        (refused >= 1.0).then_some(())
    });
}
