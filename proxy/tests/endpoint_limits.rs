//! How much there may be at once at each endpoint, over all workers.

mod support;

use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier};

use support::admin::metric;
use support::http2_origin::{Http2Origin, answer};
use support::{Answer, Client, Origin, Proxy, read_request, within};

fn yaml(cluster: &str) -> String {
    format!(
        "workers: 3\n\
         admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
         clusters: [{{ name: origin, {cluster} }}]\n"
    )
}

fn two(rest: &str) -> (Proxy, [(Origin, Sender<()>); 2]) {
    let origins = [Origin::holding("one"), Origin::holding("two")];
    let [one, two] = &origins;
    let endpoints = format!("endpoints: ['{}', '{}']", one.0.address, two.0.address);
    (
        Proxy::start(&yaml(&format!("{endpoints}, {rest}"))),
        origins,
    )
}

fn hold(proxy: &Proxy) -> Client {
    let mut client = proxy.connect();
    client.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    client
}

/// Waits until the origin has so many of these.
fn has(origin: &Origin, count: usize) {
    let mut seen = 0;
    while seen < count {
        seen += usize::from(origin.seen().line.contains("/held"));
    }
}

fn is_refused(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    let status = answer.header("proxy-status").unwrap();
    assert!(status.contains("details=\"endpoint_limit\""), "{status}");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[test]
fn who_has_as_many_requests_as_it_may_is_passed_over() {
    let (proxy, origins) = two("limits: { per_endpoint: { requests: 2 } }");
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(hold(&proxy));
    }
    for (origin, _) in &origins {
        has(origin, 2);
    }
    for _ in 0..6 {
        is_refused(&proxy.get("/"));
    }
    let refused = "lockgate_cluster_errors_total{cluster=\"origin\",error=\"endpoint_limit\"}";
    assert_eq!(metric(proxy.admin(), refused), 6.0);
    // One place at the first endpoint: all go there.
    origins[0].1.send(()).unwrap();
    within("room", || (proxy.get("/").status == 200).then_some(()));
    for _ in 0..6 {
        let served = || Some(proxy.get("/")).filter(|answer| answer.status == 200);
        assert_eq!(within("an answer", served).text(), "one");
    }
    // Who leaves makes room as well, and so does who is answered.
    drop(clients);
    for _ in 0..6 {
        within("the second has room", || {
            (proxy.get("/").text() == "two").then_some(())
        });
    }
}

/// Requests that come and go on all workers are never more than that.
#[test]
fn there_are_never_more_at_one_endpoint() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (at_work, told) = (now.clone(), most.clone());
    let both = Barrier::new(2);
    let origin = Origin::scripted(move |stream, _| {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            told.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            match request.line.contains("/both") {
                true => drop(both.wait()),
                false => std::thread::yield_now(),
            }
            at_work.fetch_sub(1, Ordering::SeqCst);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            if reader.get_mut().write_all(answer).is_err() {
                return;
            }
        }
    });
    let limits = "limits: { per_endpoint: { requests: 2 } }";
    let proxy = Proxy::start(&yaml(&format!(
        "endpoints: ['{}'], {limits}",
        origin.address
    )));
    let served = AtomicUsize::new(0);
    let address = proxy.address();
    let ask = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        Client::connect(address).send(request).answer()
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..30 {
                    let answer = ask("/");
                    match answer.status {
                        200 => drop(served.fetch_add(1, Ordering::Relaxed)),
                        _ => is_refused(&answer),
                    }
                }
            });
        }
    });
    assert!(most.load(Ordering::SeqCst) <= 2);
    assert!(served.load(Ordering::Relaxed) > 0);
    // None of the permits is lost: two are there at once.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                within("room for both", || {
                    (ask("/both").status == 200).then_some(())
                });
            });
        }
    });
}

/// A reload that keeps an endpoint, makes its cluster anew, or takes it away and brings it
/// back, forgets nothing that is under way there.
#[test]
fn what_is_under_way_counts_through_reloads() {
    let (one, release) = Origin::holding("one");
    let other = Origin::saying("other");
    let both = format!("endpoints: ['{}', '{}']", one.address, other.address);
    let with = |endpoints: &str, most: u8, rest: &str| {
        yaml(&format!(
            "{endpoints}, balance: ring_hash, hash_key: [{{ header: x-key }}], \
             limits: {{ per_endpoint: {{ requests: {most} }} }}{rest}"
        ))
    };
    let proxy = Proxy::start(&with(&both, 1, ""));
    let by = |key: &str| proxy.ask("/", &[("x-key", key)]).text();
    // A key that is for the endpoint which holds.
    let key = (0..1000).map(|key| key.to_string());
    let key = { key }.find(|key| by(key) == "one").unwrap();
    let held = || {
        let mut client = proxy.connect();
        client.send(format!(
            "GET /held HTTP/1.1\r\nhost: a\r\nx-key: {key}\r\n\r\n"
        ));
        has(&one, 1);
        client
    };
    let mut clients = vec![held()];
    // Its key goes on in its order.
    assert_eq!(by(&key), "other");
    proxy.edit(&with(&both, 2, ""));
    within("another limit", || (by(&key) == "one").then_some(()));
    clients.push(held());
    assert_eq!(by(&key), "other");
    proxy.edit(&with(&both, 2, ", pool: { max_idle: 3 }"));
    proxy.reload();
    for _ in 0..9 {
        assert_eq!(by(&key), "other");
    }
    let alone = format!("endpoints: ['{}']", other.address);
    for endpoints in [&alone, &both] {
        proxy.edit(&with(endpoints, 2, ", pool: { max_idle: 3 }"));
        proxy.reload();
        within("so many endpoints", || {
            let clusters = support::admin::json(&support::admin::get(proxy.admin(), "/clusters"));
            let count = clusters[0]["endpoints"].as_array().unwrap().len();
            (count == endpoints.matches(':').count() - 1).then_some(())
        });
    }
    for _ in 0..9 {
        assert_eq!(by(&key), "other");
    }
    // Whichever of them is let go by which.
    for _ in &clients {
        release.send(()).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.answer().text(), "one");
    }
    within("it has room again", || (by(&key) == "one").then_some(()));
    let _last = held();
    assert_eq!(by(&key), "one");
}

/// Idle connections of other workers make room, or others are asked.
#[test]
fn no_more_connections_than_there_may_be() {
    let (proxy, origins) = two("limits: { per_endpoint: { connections: 1 } }");
    let mut clients = [hold(&proxy), hold(&proxy)];
    for (origin, release) in &origins {
        has(origin, 1);
        release.send(()).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    for _ in 0..12 {
        within("room", || (proxy.get("/").status == 200).then_some(()));
        let open = "lockgate_cluster_connections{cluster=\"origin\"}";
        assert!(metric(proxy.admin(), open) <= 2.0);
    }
}

#[test]
fn connections_of_tcp_count() {
    let echo = || {
        Origin::scripted(|mut stream, _| {
            std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).ok();
        })
    };
    let (one, two) = (echo(), echo());
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', protocols: [tcp], cluster: origin }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}', '{}'], \
         limits: {{ per_endpoint: {{ connections: 1 }} }} }}]\n",
        one.address, two.address
    ));
    let mut clients = [proxy.connect(), proxy.connect()];
    for client in &mut clients {
        assert_eq!(client.send("hello").exactly(5), b"hello");
    }
    let mut third = proxy.connect();
    third.try_send("hello");
    assert!(third.rest().is_empty());
    clients[1].finish().rest();
    within("room", || {
        let mut client = proxy.connect();
        let is_sent = client.try_send("x");
        (is_sent && client.finish().rest() == b"x").then_some(())
    });
    assert_eq!(clients[0].send("still").exactly(5), b"still");
}

/// Streams count as requests, and one connection carries them all.
#[test]
fn streams_count() {
    let (gate, held) = tokio::sync::watch::channel(false);
    let at_work = Arc::new(AtomicUsize::new(0));
    let count = at_work.clone();
    let origin = Http2Origin::start(move |_, mut respond| {
        let mut held = held.clone();
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            held.wait_for(|is_open| *is_open).await.ok();
            answer(&mut respond, 200, "ok");
        }
    });
    let proxy = Proxy::start(&yaml(&format!(
        "endpoints: ['{}'], protocol: http2, \
         limits: {{ per_endpoint: {{ requests: 3, connections: 3 }} }}",
        origin.address
    )));
    let mut clients = [(); 3].map(|()| hold(&proxy));
    within("three streams", || {
        (at_work.load(Ordering::SeqCst) == 3).then_some(())
    });
    is_refused(&proxy.get("/"));
    gate.send(true).unwrap();
    for client in &mut clients {
        assert_eq!(client.answer().text(), "ok");
    }
    within("room", || (proxy.get("/").status == 200).then_some(()));
    assert!(origin.connections() <= 3);
}

#[test]
fn few_wait_for_a_connection_to_one_endpoint() {
    // It takes connections, and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(&yaml(&format!(
        "endpoints: ['{}'], tls: {{ roots: [system] }}, timeouts: {{ connect: 1m }}, \
         limits: {{ per_endpoint: {{ pending: 1 }} }}",
        silent.local_addr().unwrap()
    )));
    let (tell, told) = channel();
    for _ in 0..2 {
        let (tell, mut client) = (tell.clone(), hold(&proxy));
        std::thread::spawn(move || tell.send(client.answer()));
    }
    is_refused(&told.recv().unwrap());
}

/// One of the endpoints fails all requests, which the other is asked for then.
#[test]
fn few_are_tried_again_at_one_endpoint() {
    let bad = Origin::start(|_| b"HTTP/1.1 500 Oh\r\ncontent-length: 3\r\n\r\nbad".to_vec());
    let (good, open) = Origin::holding("good");
    let proxy = Proxy::start(&format!(
        "{}retry_policies: [{{ name: it, on: [5xx], attempts: 2, backoff: {{ base: 1ms, max: 1ms }} }}]\n",
        yaml(&format!(
            "endpoints: ['{}', '{}'], retry: it, retry_budget: {{ percent: 100, floor: 100 }}, \
             limits: {{ per_endpoint: {{ retries: 1 }} }}",
            bad.address, good.address
        ))
    ));
    let of_cluster = |name: &str| format!("lockgate_cluster_{name}{{cluster=\"origin\"");
    let retries = of_cluster("retries_total") + "}";
    let mut clients = Vec::new();
    within("one that is tried again, and held", || {
        clients.push(hold(&proxy));
        (metric(proxy.admin(), &retries) == 1.0).then_some(())
    });
    // What the first answers is given.
    within("one that is not", || {
        (proxy.get("/").text() == "bad").then_some(())
    });
    let denied = of_cluster("retries_denied_total") + ",reason=\"limit\"}";
    assert!(metric(proxy.admin(), &denied) >= 1.0);
    drop(open);
    for client in &mut clients {
        client.answer();
    }
    within("room for others", || {
        proxy.get("/");
        (metric(proxy.admin(), &retries) > 1.0).then_some(())
    });
}
