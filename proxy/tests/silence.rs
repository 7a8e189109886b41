//! Endpoints that give nothing are asked now and then, until they answer.

mod support;

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use support::admin::{get, json, metric};
use support::{Client, Origin, Proxy, read_request, within};

/// As many as make an endpoint silent, where it lasts for so long.
const ROW: usize = 5;
const HALF_A_SECOND: Duration = Duration::from_millis(500);

/// None of them is ejected, and none passed over for what it refused.
const ALONE: &str = "outliers: { consecutive_gateway: 0, consecutive_no_answer: 0 }, \
    refused_pause: 0s, retry_budget: { percent: 100 }, panic_threshold: 0";

fn start(origins: &[&Mute], more: &str) -> Proxy {
    let all = origins.iter().map(|mute| format!("'{}'", mute.0.address));
    start_at(&all.collect::<Vec<_>>().join(", "), "", more)
}

fn start_at(endpoints: &str, listener: &str, more: &str) -> Proxy {
    Proxy::start(&yaml(endpoints, listener, more))
}

fn yaml(endpoints: &str, listener: &str, more: &str) -> String {
    format!(
        "workers: 1\nadmin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, {listener} }}]\n\
         clusters: [{{ name: o, endpoints: [{endpoints}], {ALONE}, {more} }}]\n"
    )
}

/// An origin that takes connections and resets them, or answers while it may.
struct Mute(Origin, Arc<AtomicBool>, Arc<AtomicUsize>);

impl Mute {
    fn new() -> Self {
        let speaks = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(AtomicUsize::new(0));
        let (told, count) = (speaks.clone(), Arc::clone(&connections));
        let origin = Origin::scripted(move |stream, _| {
            count.fetch_add(1, Ordering::SeqCst);
            let mut reader = BufReader::new(stream);
            while let Some(request) = read_request(&mut reader) {
                if !told.load(Ordering::SeqCst) {
                    let socket = socket2::SockRef::from(reader.get_ref());
                    return socket.set_linger(Some(Default::default())).unwrap();
                }
                let is_bad = request.line.contains("/bad");
                let status = if is_bad { "503 No" } else { "200 OK" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        });
        Self(origin, speaks, connections)
    }

    fn speak(&self, speaks: bool) {
        self.1.store(speaks, Ordering::SeqCst);
    }

    fn connections(&self) -> usize {
        self.2.load(Ordering::SeqCst)
    }
}

fn endpoint(proxy: &Proxy, index: usize) -> Value {
    json(&get(proxy.admin(), "/clusters"))[0]["endpoints"][index].clone()
}

/// Nobody listens there, and nobody else will.
fn nobody() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

#[test]
fn a_silent_endpoint_is_asked_once_in_a_pause() {
    let mute = Mute::new();
    let proxy = start(&[&mute], "silent_pause: 1m");
    let begin = Instant::now();
    let mut asked = 0;
    within("it is silent", || {
        let answer = proxy.get("/");
        let why = answer.header("proxy-status").unwrap();
        let is_silent = why.contains("endpoint_silent");
        let is_reset = answer.status == 502 && why.contains("connection_terminated");
        assert!(is_silent || is_reset, "{why}");
        asked += usize::from(is_reset);
        is_silent.then_some(())
    });
    assert!(asked >= ROW && begin.elapsed() >= HALF_A_SECOND);
    for _ in 0..50 {
        let answer = proxy.get("/");
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some("1"));
        let why = answer.header("proxy-status").unwrap();
        assert!(why.contains("endpoint_silent"), "{why}");
    }
    assert_eq!(mute.connections(), asked);
    let told = within("its health is told", || {
        let told = endpoint(&proxy, 0);
        (told["health"] == "silent").then_some(told)
    });
    assert!(told["why"].as_str().unwrap().contains("silent"), "{told}");
    let name = "lockgate_cluster_errors_total{cluster=\"o\",error=\"endpoint_silent\"}";
    assert_eq!(metric(proxy.admin(), name), 51.0);
    let name = "lockgate_cluster_endpoints{cluster=\"o\",state=\"silent\"}";
    assert_eq!(metric(proxy.admin(), name), 1.0);
}

#[test]
fn with_its_first_answer_it_is_as_all_others() {
    let mute = Mute::new();
    let proxy = start(&[&mute], "silent_pause: 20ms");
    within("it is silent", || {
        (proxy.get("/").status == 503).then_some(())
    });
    mute.speak(true);
    within("it is asked again", || {
        (proxy.get("/").status == 200).then_some(())
    });
    for _ in 0..50 {
        assert_eq!(proxy.get("/").status, 200);
    }
    within("its health is told", || {
        (endpoint(&proxy, 0)["health"] == "healthy").then_some(())
    });
}

/// Where it cannot be ejected, as one of many that may not be.
#[test]
fn others_have_its_turns() {
    let (mute, good) = (Mute::new(), Mute::new());
    good.speak(true);
    for balance in ["round_robin", "least_request", "random", "peak_ewma"] {
        let before = mute.connections();
        let more = format!("silent_pause: 1m, balance: {balance}");
        let proxy = start(&[&mute, &good], &more);
        let silent = || {
            assert_eq!(proxy.get("/").status, 200, "{balance}");
            (endpoint(&proxy, 0)["health"] == "silent").then_some(())
        };
        within("it is silent", silent);
        assert!(mute.connections() - before >= ROW, "{balance}");
        let before = mute.connections();
        for _ in 0..100 {
            assert_eq!(proxy.get("/").status, 200, "{balance}");
        }
        assert!(mute.connections() <= before + 1, "{balance}");
    }
}

#[test]
fn keys_of_a_silent_endpoint_go_on_to_the_next() {
    let (mute, good) = (Mute::new(), Mute::new());
    good.speak(true);
    for policy in ["ring_hash", "maglev"] {
        let before = mute.connections();
        let more = format!("silent_pause: 1m, balance: {policy}, hash_key: [{{ header: x-key }}]");
        let proxy = start(&[&mute, &good], &more);
        let ask = |key: usize| {
            let answer = proxy.ask("/", &[("x-key", &key.to_string())]);
            assert_eq!(answer.status, 200, "{policy}");
        };
        let mut keys = 0..;
        within("it is silent", || {
            ask(keys.next().unwrap());
            (endpoint(&proxy, 0)["health"] == "silent").then_some(())
        });
        assert!(mute.connections() - before >= ROW, "{policy}");
        let before = mute.connections();
        (0..100).for_each(ask);
        assert!(mute.connections() <= before + 1, "{policy}");
    }
}

#[test]
fn refused_connections_are_counted_too() {
    let (socket, address) = nobody();
    let proxy = start_at(&format!("'{address}'"), "", "silent_pause: 20ms");
    within("it is silent", || {
        let answer = proxy.get("/");
        let why = answer.header("proxy-status").unwrap();
        assert!(
            why.contains("connection_refused") || why.contains("endpoint_silent"),
            "{why}"
        );
        (answer.status == 503).then_some(())
    });
    socket.listen(16).unwrap();
    let _origin = Origin::listening(TcpListener::from(socket), |stream, _| {
        let mut reader = BufReader::new(stream);
        while read_request(&mut reader).is_some() {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            reader.get_mut().write_all(answer).unwrap();
        }
    });
    within("it is asked again", || {
        (proxy.get("/").status == 200).then_some(())
    });
}

#[test]
fn one_of_tcp_is_asked_once_in_a_pause() {
    let (socket, address) = nobody();
    let listener = "protocols: [tcp]";
    let proxy = start_at(&format!("'{address}'"), listener, "silent_pause: 20ms");
    let name = "lockgate_cluster_errors_total{cluster=\"o\",error=\"endpoint_silent\"}";
    within("it is silent", || {
        Client::connect(proxy.address()).rest();
        (metric(proxy.admin(), name) > 0.0).then_some(())
    });
    socket.listen(16).unwrap();
    let _origin = Origin::listening(TcpListener::from(socket), |mut stream, _| {
        stream.write_all(b"hello").unwrap();
    });
    let heard = |proxy: &Proxy| Client::connect(proxy.address()).rest() == b"hello";
    within("it is asked again", || heard(&proxy).then_some(()));
    assert!((0..20).all(|_| heard(&proxy)));
}

/// Something is there, and speaks.
#[test]
fn bad_answers_are_no_silence() {
    let mute = Mute::new();
    mute.speak(true);
    let proxy = start(&[&mute], "silent_pause: 1m");
    for _ in 0..50 {
        let answer = proxy.get("/bad");
        assert_eq!((answer.status, answer.text().as_str()), (503, "ok"));
    }
    // And one between those that got nothing begins the row again.
    let begin = Instant::now();
    while begin.elapsed() < 2 * HALF_A_SECOND {
        for place in 0..ROW {
            let is_last = place == ROW - 1;
            mute.speak(is_last);
            let status = proxy.get("/").status;
            assert_eq!(status, if is_last { 200 } else { 502 });
        }
    }
}

/// What hangs for one may be well for others.
#[test]
fn who_is_late_is_asked_where_there_is_nobody_else() {
    let origin = Origin::start(|request| match request.line.contains("/hangs") {
        true => Vec::new(),
        false => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec(),
    });
    let endpoints = format!("'{}'", origin.address);
    let proxy = start_at(&endpoints, "", "silent_pause: 1m, timeouts: { try: 100ms }");
    for _ in 0..2 * ROW {
        assert_eq!(proxy.get("/hangs").status, 504);
    }
    for _ in 0..20 {
        assert_eq!(proxy.get("/").status, 200);
    }
}

/// Where all are late, as under too much load, no one has the load of all.
#[test]
fn who_is_late_is_asked_no_more_than_others_are() {
    let origins: Vec<_> = (0..3).map(|_| Origin::start(|_| Vec::new())).collect();
    let all = origins.iter().map(|origin| format!("'{}'", origin.address));
    let all = all.collect::<Vec<_>>().join(", ");
    let proxy = start_at(&all, "", "silent_pause: 1m, timeouts: { try: 20ms }");
    let counts = |requests| {
        for _ in 0..requests {
            assert_eq!(proxy.get("/").status, 504);
        }
        let seen = |origin: &Origin| std::iter::from_fn(|| origin.seen_now()).count();
        origins.iter().map(seen).collect::<Vec<_>>()
    };
    // Until it is known of all.
    counts(100);
    let found = counts(30);
    assert!(found.iter().all(|count| *count >= 5), "{found:?}");
}

/// Two of three that are gone are no reason for the third to carry everything.
#[test]
fn tiers_do_not_count_on_who_is_gone() {
    let (gone, good, other) = (Mute::new(), Mute::new(), Mute::new());
    good.speak(true);
    other.speak(true);
    let address = |mute: &Mute| mute.0.address.to_string();
    let endpoints = format!(
        "'{}', '{}', {{ address: '{}', tier: 1 }}",
        address(&gone),
        address(&good),
        address(&other)
    );
    let proxy = start_at(&endpoints, "", "silent_pause: 1m");
    within("it is silent", || {
        assert_eq!(proxy.get("/").status, 200);
        (endpoint(&proxy, 0)["health"] == "silent").then_some(())
    });
    within("the next tier is asked too", || {
        assert_eq!(proxy.get("/").status, 200);
        (other.connections() > 0).then_some(())
    });
    gone.speak(true);
    proxy.edit(&yaml(&endpoints, "", "silent_pause: 10ms"));
    assert!(proxy.reload().ok);
    within("it is asked again", || {
        assert_eq!(proxy.get("/").status, 200);
        (endpoint(&proxy, 0)["health"] == "healthy").then_some(())
    });
}

#[test]
fn without_a_pause_all_are_sent() {
    let mute = Mute::new();
    let proxy = start(&[&mute], "silent_pause: 0s");
    for _ in 0..50 {
        assert_eq!(proxy.get("/").status, 502);
    }
    assert_eq!(mute.connections(), 50);
}

#[test]
fn a_reload_begins_anew_where_the_cluster_changes() {
    let mute = Mute::new();
    let proxy = start(&[&mute], "silent_pause: 1m");
    within("it is silent", || {
        (proxy.get("/").status == 503).then_some(())
    });
    mute.speak(true);
    let endpoints = format!("'{}'", mute.0.address);
    proxy.edit(&yaml(&endpoints, "", "silent_pause: 0s"));
    assert!(proxy.reload().ok);
    assert_eq!(proxy.get("/").status, 200);
}
