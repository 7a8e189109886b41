//! What runs out first, who is told of it, and what a chain of proxies does to an origin.

mod support;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use bytes::Bytes;
use support::admin::{get, json, metric};
use support::http2::{self, Http2, post};
use support::http2_origin::Http2Origin;
use support::{Answer, Origin, Proxy, Seen, refusing, within};
use tokio::sync::mpsc::UnboundedReceiver;

fn proxy(listener: &str, cluster: &str, origin: SocketAddr) -> Proxy {
    Proxy::start(&format!(
        "workers: 1\nadmin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, {listener} }}]\n\
         clusters: [{{ name: o, endpoints: ['{origin}'], {cluster} }}]\n"
    ))
}

/// One exchange failed so, which is counted once it is over.
fn failed_once(proxy: &Proxy, kind: &str) {
    let series = format!("lockgate_request_errors_total{{listener=\"web\",error=\"{kind}\"}}");
    within(kind, || {
        (metric(proxy.admin(), &series) == 1.0).then_some(())
    });
}

/// 504, where the answer and the metrics name the time that ran out.
#[track_caller]
fn ran_out(proxy: &Proxy, answer: &Answer, kind: &str) {
    assert_eq!(answer.status, 504);
    let told = answer.header("proxy-status").unwrap();
    assert!(told.ends_with(&format!("details=\"{kind}\"")), "{told}");
    failed_once(proxy, kind);
}

fn deadline_of(seen: &Seen) -> Option<u64> {
    seen.header("lockgate-deadline")?.parse().ok()
}

/// The same where a route has these times, and `more` of the cluster.
fn routed(times: &str, origin: SocketAddr, more: &str) -> Proxy {
    Proxy::start(&format!(
        "workers: 1\nadmin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', filters: [router] }}]\n\
         filters: {{ router: {{ component: 'lockgate:router', \
         config: {{ routes: [{{ name: r, cluster: o, {times} }}] }} }} }}\n\
         clusters: [{{ name: o, endpoints: ['{origin}'], {more} }}]\n"
    ))
}

#[test]
fn a_route_has_each_time_of_a_try() {
    // Connections wait in its queue, and nobody says anything.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let tls = "tls: { insecure_skip_verify: true }";
    for (times, cluster, kind) in [
        ("answer_timeout: 100ms", "", "answer_timeout"),
        ("connect_timeout: 100ms", tls, "connect_timeout"),
        (
            "connect_timeout: 30s, tls_timeout: 100ms",
            tls,
            "tls_timeout",
        ),
        ("try_timeout: 100ms", tls, "try_timeout"),
    ] {
        let proxy = routed(times, address, cluster);
        ran_out(&proxy, &proxy.get("/"), kind);
    }
    // Longer than the cluster's, too.
    let proxy = routed(
        "answer_timeout: 300ms",
        address,
        "timeouts: { answer: 1ms }",
    );
    let began = std::time::Instant::now();
    ran_out(&proxy, &proxy.get("/"), "answer_timeout");
    assert!(began.elapsed() >= Duration::from_millis(300));
}

/// A time that is short and not unfair is one like the configuration's.
#[test]
fn who_had_time_is_to_blame() {
    let (origin, _release) = Origin::holding("late");
    let more = "breaker: { min_requests: 2, open: 1h, max_open: 1h }";
    let proxy = routed("timeout: 150ms", origin.address, more);
    within("the breaker to open", || {
        (proxy.get("/held").status == 503).then_some(())
    });
}

/// A filter that gives an endpoint no time costs its own exchanges, and nobody else an endpoint
/// or a cluster.
#[test]
fn who_had_no_time_is_not_to_blame() {
    let (origin, _release) = Origin::holding("late");
    let silent = Origin::scripted(|mut stream, _| {
        std::io::copy(&mut stream, &mut std::io::sink()).ok();
    });
    let more = "outliers: { consecutive_no_answer: 10, max_ejected: 100 }, \
                breaker: { min_requests: 2 }";
    let tls = format!("tls: {{ insecure_skip_verify: true }}, {more}");
    for (times, origin, cluster) in [
        ("timeout: 1ms", origin.address, more),
        ("try_timeout: 1ms", origin.address, more),
        ("answer_timeout: 1ms", origin.address, more),
        ("connect_timeout: 1ms", silent.address, &tls),
        ("tls_timeout: 1ms", silent.address, &tls),
    ] {
        let proxy = routed(times, origin, cluster);
        let told = || json(&get(proxy.admin(), "/clusters"))[0].clone();
        let refusing = (0..200).filter(|_| {
            let answer = proxy.get("/held");
            let why = answer.header("proxy-status").unwrap_or_default();
            assert_eq!(answer.status, 504, "{times}: {why}");
            told()["endpoints"][0]["refusing"] == true
        });
        assert_eq!(refusing.count(), 0, "{times}");
        let cluster = told();
        assert_eq!(cluster["endpoints"][0]["health"], "healthy", "{times}");
        assert_eq!(cluster["endpoints"][0]["ejections"], 0, "{times}");
        assert_eq!(cluster["breaker"], "closed", "{times}");
    }
}

#[test]
fn a_request_whose_deadline_has_passed_is_not_sent() {
    let origin = Origin::saying("ok");
    let proxy = proxy("", "", origin.address);
    let answer = proxy.ask("/", &[("lockgate-deadline", "0")]);
    ran_out(&proxy, &answer, "deadline_exceeded");
    assert_eq!(proxy.get("/second").text(), "ok");
    assert!(origin.seen().line.contains("/second"));
}

#[test]
fn a_deadline_ends_what_takes_longer() {
    let (origin, _release) = Origin::holding("late");
    let proxy = proxy("", "", origin.address);
    let answer = proxy.ask("/held", &[("lockgate-deadline", "300")]);
    ran_out(&proxy, &answer, "deadline_exceeded");
}

#[test]
fn what_is_left_is_told_to_the_next_hop() {
    let origin = Origin::saying("ok");
    let proxy = proxy("", "", origin.address);
    proxy.ask("/", &[("lockgate-deadline", "20000")]);
    let left = deadline_of(&origin.seen()).expect("a deadline");
    assert!(left <= 20_000, "{left}");
    // Of several the least counts, and what is no number does not.
    let fields = [("lockgate-deadline", "x"), ("lockgate-deadline", "9000")];
    proxy.ask("/", &fields);
    let left = deadline_of(&origin.seen()).expect("a deadline");
    assert!(left <= 9_000, "{left}");
}

#[test]
fn a_deadline_lengthens_nothing() {
    let origin = Origin::saying("ok");
    let proxy = proxy("", "timeouts: { total: 20s }", origin.address);
    for told in ["1000000000000", "99999999999999999999999999"] {
        proxy.ask("/", &[("lockgate-deadline", told)]);
        let left = deadline_of(&origin.seen()).expect("a deadline");
        assert!(left <= 20_000, "{left}");
    }
}

#[test]
fn where_nobody_knows_of_a_deadline_nothing_is_told() {
    let origin = Origin::saying("ok");
    let proxy = proxy("", "", origin.address);
    proxy.get("/");
    let seen = origin.seen();
    assert_eq!(seen.header("lockgate-deadline"), None);
    assert_eq!(seen.header("lockgate-retry"), None);
}

#[test]
fn a_cluster_has_a_time_for_all_and_one_for_each_try() {
    let (origin, _release) = Origin::holding("late");
    for (timeouts, kind) in [
        ("total: 100ms", "total_timeout"),
        ("try: 100ms, answer: 1m", "try_timeout"),
        ("answer: 100ms", "answer_timeout"),
        ("try: 10s, total: 100ms", "total_timeout"),
    ] {
        let proxy = proxy("", &format!("timeouts: {{ {timeouts} }}"), origin.address);
        ran_out(&proxy, &proxy.get("/held"), kind);
    }
}

#[test]
fn a_handshake_has_a_time_of_its_own() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let cluster = "tls: { insecure_skip_verify: true }, timeouts: { tls: 100ms, connect: 30s }";
    let proxy = proxy("", cluster, address);
    ran_out(&proxy, &proxy.get("/"), "tls_timeout");
    let cluster = "tls: { insecure_skip_verify: true }, timeouts: { tls: 30s, connect: 100ms }";
    let proxy = self::proxy("", cluster, address);
    ran_out(&proxy, &proxy.get("/"), "connect_timeout");
}

/// What an origin of gRPC is told of its time; the calls that it gets are never answered.
fn silent_origin() -> (Http2Origin, UnboundedReceiver<Option<String>>) {
    let (sender, told) = tokio::sync::mpsc::unbounded_channel();
    let origin = Http2Origin::start(move |request, respond| {
        let timeout = request.headers().get("grpc-timeout");
        let timeout = timeout.map(|value| value.to_str().unwrap().to_owned());
        sender.send(timeout).ok();
        async move {
            let _respond = respond;
            std::future::pending().await
        }
    });
    (origin, told)
}

#[test]
fn a_call_of_grpc_ends_with_its_own_deadline() {
    let (origin, mut told) = silent_origin();
    let proxy = proxy("protocols: [http2]", "protocol: http2", origin.address);
    http2::run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let call = |timeout: &str| {
            post("/a.B/C")
                .header("content-type", "application/grpc")
                .header("grpc-timeout", timeout)
        };
        let message = Bytes::from_static(b"\0\0\0\0\0");
        let (answer, mut body) = client.open(call("2S"), false).await;
        body.send_data(message.clone(), true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["grpc-status"], "4");
        assert!(answer.body.is_empty() && answer.trailers.is_none());
        let first = told.recv().await.unwrap().expect("a timeout");
        let micros = first
            .strip_suffix('u')
            .and_then(|number| number.parse().ok());
        assert!(
            micros.is_some_and(|micros: u64| micros <= 2_000_000),
            "{first}"
        );
        // One that nobody understands is passed on as it is.
        let (answer, mut body) = client.open(call("123456789S"), false).await;
        body.send_data(message, true).unwrap();
        let second = told.recv().await.unwrap();
        assert_eq!(second.as_deref(), Some("123456789S"));
        drop((answer, body));
    });
    failed_once(&proxy, "deadline_exceeded");
}

#[test]
fn a_call_of_grpc_whose_time_is_over_is_not_sent() {
    let (origin, mut told) = silent_origin();
    let proxy = proxy("protocols: [http2]", "protocol: http2", origin.address);
    http2::run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let call = post("/a.B/C")
            .header("content-type", "application/grpc")
            .header("grpc-timeout", "1n");
        let answer = client.ask(call).await;
        assert_eq!(answer.headers["grpc-status"], "4");
    });
    assert!(told.try_recv().is_err());
}

const CHAIN: usize = 5;
const LOAD: usize = 100;

/// Proxies one behind the other, the outermost first, each of which tries again whatever
/// fails, as often as a fifth of its requests. Endpoints that are silent get no rest, which
/// would be most of it.
fn chain(origin: SocketAddr) -> Vec<Proxy> {
    let mut chain: Vec<Proxy> = Vec::new();
    for _ in 0..CHAIN {
        let next = chain.first().map_or(origin, Proxy::address);
        let hop = Proxy::start(&format!(
            "workers: 1\nadmin: {{ address: '127.0.0.1:0' }}\n\
             listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
             retry_policies: [{{ name: all, on: [connect_failure, reset, 5xx], backoff: {{ base: 0ms, max: 0ms }} }}]\n\
             clusters: [{{ name: o, endpoints: ['{next}'], retry: all, \
               retry_budget: {{ percent: 20, floor: 0, floor_at_once: 100 }}, silent_pause: 0s }}]\n"
        ));
        chain.insert(0, hop);
    }
    chain
}

fn load(outermost: &Proxy, status: u16) {
    let mut client = outermost.connect();
    for _ in 0..LOAD {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.answer().status, status);
    }
}

/// 3 to the power of 5 tries, were each hop to try again what the next one did.
#[test]
fn a_chain_sends_an_origin_that_fails_a_fifth_more() {
    let origin = Origin::start(|_| b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n".to_vec());
    let chain = chain(origin.address);
    load(&chain[0], 503);
    let count = std::iter::from_fn(|| origin.seen_now()).count();
    assert!((LOAD + 10..=LOAD + LOAD / 5).contains(&count), "{count}");
}

#[test]
fn a_chain_connects_to_an_origin_that_is_down_a_fifth_more() {
    let chain = chain(refusing());
    load(&chain[0], 502);
    let failures = "lockgate_cluster_connect_failures_total{cluster=\"o\"}";
    let count = metric(chain[CHAIN - 1].admin(), failures) as usize;
    assert!((LOAD + 10..=LOAD + LOAD / 5).contains(&count), "{count}");
}

#[test]
fn a_chain_sends_an_origin_that_closes_a_fifth_more() {
    let origin = Origin::scripted(|stream, seen| {
        let mut line = String::new();
        if BufReader::new(stream).read_line(&mut line).is_ok() && !line.is_empty() {
            seen.send(Seen::named(&line)).ok();
        }
    });
    let chain = chain(origin.address);
    load(&chain[0], 502);
    let count = std::iter::from_fn(|| origin.seen_now()).count();
    assert!((LOAD + 10..=LOAD + LOAD / 5).contains(&count), "{count}");
}
