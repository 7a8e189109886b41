//! How much is asked of a cluster at once: who is let in, who waits, and who is refused.

mod support;

use std::io::{BufReader, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use support::admin::{get, json, metric};
use support::http2_origin::{Http2Origin, answer};
use support::{Answer, Client, LIMIT, Origin, Proxy, read_request, refusing, within};

fn yaml(workers: usize, cluster: &str) -> String {
    format!(
        "workers: {workers}\n\
         admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
         clusters: [{{ name: origin, {cluster} }}]\n"
    )
}

/// Several workers: the limits are of all together.
fn proxy_of(origin: &Origin, rest: &str) -> Proxy {
    Proxy::start(&yaml(
        3,
        &format!("endpoints: ['{}'], {rest}", origin.address),
    ))
}

/// A request that the origin holds.
fn held(proxy: &Proxy, origin: &Origin) -> Client {
    let mut client = proxy.connect();
    client.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    while !origin.seen().line.contains("/held") {}
    client
}

/// The answers to two requests, as they come.
fn two_at_once(proxy: &Proxy) -> Receiver<Answer> {
    let (sender, answers) = channel();
    for mut client in [proxy.connect(), proxy.connect()] {
        let sender = sender.clone();
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        std::thread::spawn(move || sender.send(client.answer()).ok());
    }
    answers
}

fn refused_for(answer: &Answer, why: &str) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    let status = answer.header("proxy-status").unwrap();
    assert!(status.contains(&format!("details=\"{why}\"")), "{status}");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[test]
fn no_more_requests_than_may_be() {
    let (origin, release) = Origin::holding("ok");
    let proxy = proxy_of(&origin, "limits: { requests: 3 }");
    let clients: Vec<_> = (0..3).map(|_| held(&proxy, &origin)).collect();
    for _ in 0..6 {
        refused_for(&proxy.get("/"), "request_limit");
    }
    // Whichever of them is let go by which.
    for _ in &clients {
        release.send(()).unwrap();
    }
    for mut client in clients {
        assert_eq!(client.answer().status, 200);
    }
    // All are given back, whichever worker had them.
    for _ in 0..12 {
        assert_eq!(within("room", || Some(proxy.get("/"))).status, 200);
    }
}

/// One whose client is gone makes room as well.
#[test]
fn who_leaves_makes_room() {
    let (origin, _release) = Origin::holding("ok");
    let proxy = proxy_of(&origin, "limits: { requests: 1 }");
    let client = held(&proxy, &origin);
    refused_for(&proxy.get("/"), "request_limit");
    drop(client);
    within("room", || (proxy.get("/").status == 200).then_some(()));
}

/// The limit follows a reload, and what is under way counts.
#[test]
fn limits_change_live() {
    let (origin, release) = Origin::holding("ok");
    let endpoints = format!("endpoints: ['{}']", origin.address);
    let with = |most: usize| yaml(2, &format!("{endpoints}, limits: {{ requests: {most} }}"));
    let proxy = Proxy::start(&with(1));
    let mut first = held(&proxy, &origin);
    refused_for(&proxy.get("/"), "request_limit");
    proxy.edit(&with(2));
    within("the second limit", || {
        (proxy.get("/").status == 200).then_some(())
    });
    let mut second = held(&proxy, &origin);
    refused_for(&proxy.get("/"), "request_limit");
    // Whichever of them is let go by which.
    for _ in [&first, &second] {
        release.send(()).unwrap();
    }
    for client in [&mut first, &mut second] {
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn requests_wait_for_their_turn() {
    let (origin, release) = Origin::holding("ok");
    let queue = "limits: { requests: 1 }, queue: { max: 1, timeout: 1m }";
    let endpoints = format!("endpoints: ['{}']", origin.address);
    let proxy = Proxy::start(&yaml(1, &format!("{endpoints}, {queue}")));
    let mut first = held(&proxy, &origin);
    // One waits, and there is no place for the other.
    let answers = two_at_once(&proxy);
    refused_for(&answers.recv_timeout(LIMIT).unwrap(), "queue_full");
    let queued = "lockgate_cluster_requests_queued{cluster=\"origin\"}";
    assert_eq!(metric(proxy.admin(), queued), 1.0);
    assert!(origin.seen_now().is_none(), "nobody was let in meanwhile");
    release.send(()).unwrap();
    assert_eq!(first.answer().status, 200);
    assert_eq!(answers.recv_timeout(LIMIT).unwrap().status, 200);
    assert!(origin.seen().line.contains("GET / "));
}

/// What another worker gives back serves those that wait here.
#[test]
fn requests_wait_for_other_workers() {
    let (origin, release) = Origin::holding("ok");
    let rest = "limits: { requests: 2 }, queue: { max: 100, timeout: 1m }";
    let proxy = proxy_of(&origin, rest);
    let mut clients: Vec<_> = (0..12).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        client.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    for _ in 0..2 {
        origin.seen();
    }
    for _ in &clients {
        release.send(()).unwrap();
    }
    let statuses: Vec<_> = clients
        .iter_mut()
        .map(|client| client.answer().status)
        .collect();
    let served = statuses.iter().filter(|status| **status == 200).count();
    // Who waited for too long may have been refused, and some who waited were served.
    assert!(served > 2, "{statuses:?}");
    assert!(
        statuses.iter().all(|status| matches!(status, 200 | 503)),
        "{statuses:?}"
    );
    assert_eq!(proxy.get("/").status, 200);
}

#[test]
fn nobody_waits_for_longer_than_they_may() {
    let (origin, release) = Origin::holding("ok");
    let rest = "limits: { requests: 1 }, queue: { timeout: 20ms }";
    let proxy = proxy_of(&origin, rest);
    let mut first = held(&proxy, &origin);
    refused_for(&proxy.get("/"), "queue_timeout");
    // The place was left: nobody has what is given back now.
    release.send(()).unwrap();
    assert_eq!(first.answer().status, 200);
    within("room", || (proxy.get("/").status == 200).then_some(()));
}

/// A socket that takes connections and never says anything.
fn silent() -> (std::net::TcpListener, std::net::SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn few_wait_for_a_connection() {
    let (_silent, address) = silent();
    let cluster = format!(
        "endpoints: ['{address}'], tls: {{ roots: [system] }}, limits: {{ pending: 1 }}, \
         timeouts: {{ connect: 1m }}"
    );
    let proxy = Proxy::start(&yaml(2, &cluster));
    let answers = two_at_once(&proxy);
    refused_for(&answers.recv_timeout(LIMIT).unwrap(), "pending_limit");
}

/// Idle connections, also those of other workers, make room for others.
#[test]
fn idle_connections_make_room() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let cluster = format!(
        "endpoints: ['{}', '{}'], limits: {{ connections: 1 }}, queue: {{ timeout: 1m }}",
        a.address, b.address
    );
    let proxy = Proxy::start(&yaml(3, &cluster));
    for _ in 0..10 {
        // Another worker may take its time to give one up.
        within("room", || (proxy.get("/").status == 200).then_some(()));
    }
    let open = metric(
        proxy.admin(),
        "lockgate_cluster_connections{cluster=\"origin\"}",
    );
    assert_eq!(open, 1.0);
}

/// A connection of HTTP/2 has so many streams, and another may not be made.
#[test]
fn streams_have_the_connections_that_there_may_be() {
    let (gate, held) = tokio::sync::watch::channel(false);
    let origin = Http2Origin::start(move |_, mut respond| {
        let mut held = held.clone();
        async move {
            held.wait_for(|is_open| *is_open).await.ok();
            answer(&mut respond, 200, "ok");
        }
    });
    let cluster = format!(
        "endpoints: ['{}'], protocol: http2, http2: {{ max_streams: 1 }}, \
         limits: {{ connections: 1 }}",
        origin.address
    );
    let proxy = Proxy::start(&yaml(1, &cluster));
    let mut first = proxy.connect();
    first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    within("the connection", || {
        (origin.connections() == 1).then_some(())
    });
    let mut second = proxy.connect();
    let second = second.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").answer();
    refused_for(&second, "connection_limit");
    gate.send(true).unwrap();
    assert_eq!(first.answer().status, 200);
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(origin.connections(), 1);
}

/// An origin that fails until it is mended, and how often it was asked.
fn failing() -> (Origin, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let (is_mended, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let (mended, count) = (is_mended.clone(), Arc::clone(&asked));
    let origin = Origin::scripted(move |stream, _| {
        let mut reader = BufReader::new(stream);
        while read_request(&mut reader).is_some() {
            AtomicUsize::fetch_add(&count, 1, Ordering::Relaxed);
            let answer: &[u8] = match mended.load(Ordering::Relaxed) {
                true => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                false => b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
            };
            if reader.get_mut().write_all(answer).is_err() {
                return;
            }
        }
    });
    (origin, is_mended, asked)
}

#[test]
fn a_cluster_that_fails_is_left_alone() {
    let (origin, is_mended, asked) = failing();
    let breaker = "breaker: { min_requests: 5, open: 1h, max_open: 1h }";
    let proxy = proxy_of(&origin, breaker);
    let refused = within("the breaker to open", || {
        let answer = proxy.get("/");
        (answer.status != 500).then_some(answer)
    });
    refused_for(&refused, "breaker_open");
    let before = asked.load(Ordering::Relaxed);
    assert!(before >= 5);
    is_mended.store(true, Ordering::Relaxed);
    for _ in 0..20 {
        refused_for(&proxy.get("/"), "breaker_open");
    }
    assert_eq!(asked.load(Ordering::Relaxed), before, "it is left alone");
    assert_eq!(
        metric(
            proxy.admin(),
            "lockgate_cluster_breaker{cluster=\"origin\"}"
        ),
        3.0
    );
    let clusters = json(&get(proxy.admin(), "/clusters"));
    assert_eq!(clusters[0]["breaker"], "open");
    proxy.edit(&yaml(2, &format!("endpoints: ['{}']", origin.address)));
    assert!(proxy.reload().ok);
    within("there is none any more", || {
        let series = "lockgate_cluster_breaker{cluster=\"origin\"}";
        (metric(proxy.admin(), series) == 0.0).then_some(())
    });
}

#[test]
fn a_cluster_that_is_mended_is_asked_again() {
    let (origin, is_mended, asked) = failing();
    let times = "window: 1s, open: 100ms, max_open: 100ms, closing: 0s";
    let breaker = format!("breaker: {{ min_requests: 5, probes: 2, {times} }}");
    let proxy = proxy_of(&origin, &breaker);
    let opened = || within("503", || (proxy.get("/").status == 503).then_some(()));
    opened();
    // Its probes fail, and it opens again.
    let before = asked.load(Ordering::Relaxed);
    within("a probe", || {
        proxy.get("/");
        (asked.load(Ordering::Relaxed) > before).then_some(())
    });
    opened();
    is_mended.store(true, Ordering::Relaxed);
    let mut row = 0;
    within("answers without an end", || {
        row = match proxy.get("/").status {
            200 => row + 1,
            _ => 0,
        };
        (row == 50).then_some(())
    });
}

/// An origin that fails while it is told to, and holds some requests.
fn failing_or_holding() -> (Origin, Arc<AtomicBool>, Sender<()>) {
    let (release, gate) = channel();
    let (gate, fails) = (Mutex::new(gate), Arc::new(AtomicBool::new(true)));
    let failing = Arc::clone(&fails);
    let origin = Origin::scripted(move |stream, seen| {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            let is_held = request.line.contains("/held");
            seen.send(request).ok();
            if is_held {
                gate.lock().unwrap().recv_timeout(LIMIT).ok();
            }
            let status = match failing.load(Ordering::Relaxed) {
                true => "500 No",
                false => "200 OK",
            };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    (origin, fails, release)
}

/// A probe whose client leaves tells nothing, and another request is one in its place.
#[test]
fn a_probe_that_is_given_up_leaves_room_for_another() {
    let (origin, fails, release) = failing_or_holding();
    // It is half open for twice as long before others are let in, which is not waited for.
    let breaker = "breaker: { min_requests: 5, open: 4s, max_open: 1h, probes: 1 }";
    let proxy = proxy_of(&origin, breaker);
    within("the breaker to open", || {
        (proxy.get("/").status == 503).then_some(())
    });
    fails.store(false, Ordering::Relaxed);
    let breaker = || json(&get(proxy.admin(), "/clusters"))[0]["breaker"].clone();
    within("half open", || (breaker() == "half_open").then_some(()));
    let probe = held(&proxy, &origin);
    refused_for(&proxy.get("/"), "breaker_open");
    drop(probe);
    let active = || json(&get(proxy.admin(), "/clusters"))[0]["active"].clone();
    within("it is given up", || (active() == 0).then_some(()));
    assert_eq!(proxy.get("/").status, 200);
    release.send(()).ok();
}

/// A probe for which the time of all runs out has failed.
#[test]
fn a_probe_that_is_late_has_failed() {
    let (origin, fails, _release) = failing_or_holding();
    let breaker = "breaker: { min_requests: 5, open: 500ms, max_open: 1h, probes: 1 }, \
                   timeouts: { total: 200ms }";
    let proxy = proxy_of(&origin, breaker);
    within("the breaker to open", || {
        (proxy.get("/").status == 503).then_some(())
    });
    fails.store(false, Ordering::Relaxed);
    within("a probe", || {
        (proxy.get("/held").status == 504).then_some(())
    });
    let breaker = || json(&get(proxy.admin(), "/clusters"))[0]["breaker"].clone();
    within("it is open again", || (breaker() == "open").then_some(()));
}

/// What nobody answers is a failure, what a client gives up is none.
#[test]
fn refused_connections_open_it_too() {
    let address = refusing();
    let cluster =
        format!("endpoints: ['{address}'], breaker: {{ min_requests: 3, open: 1h, max_open: 1h }}");
    let proxy = Proxy::start(&yaml(2, &cluster));
    let refused = within("the breaker to open", || {
        let answer = proxy.get("/");
        let why = answer.header("proxy-status").unwrap();
        // By then the endpoint may be silent as well.
        why.contains("breaker_open").then_some(answer)
    });
    refused_for(&refused, "breaker_open");
}

/// The limit that is learnt begins where it is said to, and is one of requests.
#[test]
fn a_limit_that_is_learnt_refuses() {
    let (origin, release) = Origin::holding("ok");
    let rest = "concurrency: { first: 2, least: 2, most: 2 }";
    let proxy = proxy_of(&origin, rest);
    let mut clients = [held(&proxy, &origin), held(&proxy, &origin)];
    refused_for(&proxy.get("/"), "request_limit");
    // Whichever of them is let go by which.
    for _ in &clients {
        release.send(()).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    within("room", || (proxy.get("/").status == 200).then_some(()));
}

/// Connections of TCP are bounded as requests are.
#[test]
fn connections_of_tcp_count() {
    let origin = Origin::scripted(|mut stream, _| {
        std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).ok();
    });
    let proxy = Proxy::start(&format!(
        "workers: 2\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', protocols: [tcp], cluster: origin }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'], limits: {{ connections: 1 }} }}]\n",
        origin.address
    ));
    let mut first = proxy.connect();
    assert_eq!(first.send("hello").exactly(5), b"hello");
    let mut second = proxy.connect();
    second.try_send("hello");
    assert!(second.rest().is_empty());
    first.finish().rest();
    within("room", || {
        let mut client = proxy.connect();
        let is_sent = client.try_send("x");
        (is_sent && client.finish().rest() == b"x").then_some(())
    });
}
