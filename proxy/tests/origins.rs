//! Clusters at work: which endpoint is asked, on which connection, and how much
//! is held in between.

mod support;

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use support::{Origin, Proxy, Seen, read_request, refusing, within};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// One worker, so that its pool and its balancer are seen whole. `cluster` is
/// what stands in the cluster beside its name.
fn proxy_with(cluster: &str) -> Proxy {
    Proxy::start(&format!(
        "workers: 1\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
         clusters: [{{ name: origin, {cluster} }}]\n"
    ))
}

/// An origin that says on which connection a request came.
fn numbering() -> Origin {
    let next = AtomicUsize::new(0);
    Origin::scripted(move |mut stream, seen| {
        let number = next.fetch_add(1, Ordering::Relaxed).to_string();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(request) = read_request(&mut reader) {
            seen.send(request).ok();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{number}",
                number.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    })
}

/// An origin that answers one request on each connection and closes it without
/// an answer when the next has come.
fn answering_once() -> Origin {
    Origin::scripted(|mut stream, seen| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        for answer in [OK, b""] {
            let Some(request) = read_request(&mut reader) else {
                return;
            };
            seen.send(request).ok();
            stream.write_all(answer).unwrap();
        }
    })
}

#[test]
fn connections_are_used_again() {
    let origin = numbering();
    let proxy = proxy_with(&format!("endpoints: ['{}']", origin.address));
    for _ in 0..5 {
        assert_eq!(proxy.get("/").text(), "0");
    }
}

#[test]
fn a_pool_that_keeps_none_connects_for_each_request() {
    let origin = numbering();
    let proxy = proxy_with(&format!(
        "endpoints: ['{}'], pool: {{ max_idle: 0 }}",
        origin.address
    ));
    for number in 0..3 {
        assert_eq!(proxy.get("/").text(), number.to_string());
    }
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    let closed = Arc::new(AtomicBool::new(false));
    let origin = Origin::scripted({
        let closed = closed.clone();
        move |mut stream, _| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while read_request(&mut reader).is_some() {
                stream.write_all(OK).unwrap();
            }
            closed.store(true, Ordering::Relaxed);
        }
    });
    let proxy = proxy_with(&format!(
        "endpoints: ['{}'], pool: {{ idle_timeout: 50ms }}",
        origin.address
    ));
    assert_eq!(proxy.get("/").status, 200);
    within("the idle connection closes", || {
        closed.load(Ordering::Relaxed).then_some(())
    });
}

#[test]
fn a_get_that_met_a_dead_connection_is_sent_once_more() {
    let origin = answering_once();
    let proxy = proxy_with(&format!("endpoints: ['{}']", origin.address));
    for path in ["/1", "/2"] {
        assert_eq!(proxy.get(path).status, 200);
    }
    let lines: Vec<_> = (0..3).map(|_| origin.seen().line).collect();
    assert_eq!(
        lines,
        ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1", "GET /2 HTTP/1.1"]
    );
}

#[test]
fn a_post_that_met_a_dead_connection_is_not_sent_again() {
    let origin = answering_once();
    let proxy = proxy_with(&format!("endpoints: ['{}']", origin.address));
    assert_eq!(proxy.get("/1").status, 200);
    let mut client = proxy.connect();
    client.send("POST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nok");
    assert_eq!(client.answer().status, 502);
    assert_eq!(origin.seen().line, "GET /1 HTTP/1.1");
    assert_eq!(origin.seen().line, "POST /2 HTTP/1.1");
    assert_eq!(origin.seen_now(), None);
}

#[test]
fn a_get_is_not_sent_again_when_a_fresh_connection_died() {
    let origin = Origin::scripted(|stream, seen| {
        seen.send(read_request(&mut BufReader::new(stream)).unwrap())
            .ok();
    });
    let proxy = proxy_with(&format!("endpoints: ['{}']", origin.address));
    assert_eq!(proxy.get("/once").status, 502);
    assert_eq!(origin.seen().line, "GET /once HTTP/1.1");
    assert_eq!(origin.seen_now(), None);
}

/// The origin closed while the connection was idle: nothing was sent on it, so
/// that even a POST loses nothing.
#[test]
fn a_connection_that_the_origin_closed_meanwhile_costs_no_request() {
    let closed = Arc::new(AtomicUsize::new(0));
    let origin = Origin::scripted({
        let closed = closed.clone();
        move |mut stream, _| {
            read_request(&mut BufReader::new(&stream)).unwrap();
            stream.write_all(OK).unwrap();
            drop(stream);
            closed.fetch_add(1, Ordering::Release);
        }
    });
    let proxy = proxy_with(&format!("endpoints: ['{}']", origin.address));
    for round in 0..20 {
        let mut client = proxy.connect();
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nok");
        assert_eq!(client.answer().status, 200, "round {round}");
        within("the origin closes", || {
            (closed.load(Ordering::Acquire) > round).then_some(())
        });
    }
}

#[test]
fn a_cluster_that_takes_no_connection_is_answered_502() {
    let proxy = proxy_with(&format!("endpoints: ['{}']", refusing()));
    let answer = proxy.get("/");
    assert_eq!(answer.status, 502);
    assert!(
        answer
            .header("proxy-status")
            .unwrap()
            .contains("connection_refused")
    );
    assert_eq!(
        answer.header("connection"),
        None,
        "the client did nothing wrong"
    );
}

#[test]
fn an_endpoint_that_refuses_is_passed_over() {
    let origin = Origin::saying("ok");
    for balance in ["round_robin", "least_request", "random", "peak_ewma"] {
        let proxy = proxy_with(&format!(
            "endpoints: ['{}', '{}'], balance: {balance}, refused_pause: 1h",
            refusing(),
            origin.address
        ));
        for _ in 0..10 {
            assert_eq!(proxy.get("/").status, 200, "{balance}");
        }
    }
}

#[test]
fn weights_are_kept() {
    let (one, three) = (Origin::saying("one"), Origin::saying("three"));
    let proxy = proxy_with(&format!(
        "endpoints: ['{}', {{ address: '{}', weight: 3 }}]",
        one.address, three.address
    ));
    let mut counts = HashMap::new();
    for _ in 0..40 {
        *counts.entry(proxy.get("/").text()).or_insert(0) += 1;
    }
    assert_eq!((counts["one"], counts["three"]), (10, 30));
}

#[test]
fn chance_reaches_every_endpoint() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    for balance in ["random", "least_request"] {
        let endpoints = format!("endpoints: ['{}', '{}']", one.address, two.address);
        let proxy = proxy_with(&format!("{endpoints}, balance: {balance}"));
        let mut missing = vec!["one".to_owned(), "two".to_owned()];
        within("both are asked", || {
            let found = proxy.get("/").text();
            missing.retain(|name| *name != found);
            missing.is_empty().then_some(())
        });
    }
}

/// Of two drawn, the one that is busy is left alone.
#[test]
fn least_request_asks_who_has_less_to_do() {
    let busy = Origin::scripted(|mut stream, seen| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(request) = read_request(&mut reader) {
            let holds = request.line.contains("/hold");
            seen.send(request).ok();
            if !holds {
                stream.write_all(OK).unwrap();
            }
        }
    });
    let free = Origin::saying("free");
    let proxy = proxy_with(&format!(
        "endpoints: ['{}', '{}'], balance: least_request",
        busy.address, free.address
    ));
    let mut held = Vec::new();
    within("a request is held", || {
        let mut client = proxy.connect();
        client.send("GET /hold HTTP/1.1\r\nhost: a\r\n\r\n");
        held.push(client);
        within("either has it", || {
            busy.seen_now()
                .map(|_| true)
                .or(free.seen_now().map(|_| false))
        })
        .then_some(())
    });
    let before = held.len();
    // Both are drawn at least half of the time, and then it is the free one.
    let free_answers = (0..60).filter(|_| proxy.get("/").text() == "free").count();
    assert!(free_answers > 30, "{free_answers} of 60, {before} held");
}

#[test]
fn a_unix_socket_is_an_endpoint() {
    let folder = Proxy::folder();
    let path = folder.join("origin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while read_request(&mut reader).is_some() {
                stream.write_all(OK).unwrap();
            }
        }
    });
    let proxy = proxy_with(&format!("endpoints: ['unix:{}']", path.display()));
    for _ in 0..2 {
        assert_eq!(proxy.get("/").text(), "ok");
    }
    std::fs::remove_dir_all(folder).ok();
}

/// `localhost` may also be `::1`, where nobody listens: that is passed over.
#[test]
fn a_host_name_is_an_endpoint() {
    let origin = Origin::saying("ok");
    let proxy = proxy_with(&format!(
        "endpoints: ['localhost:{}']",
        origin.address.port()
    ));
    for _ in 0..3 {
        assert_eq!(proxy.get("/").text(), "ok");
    }
}

#[test]
fn an_ipv6_address_is_an_endpoint() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        eprintln!("this machine has no IPv6");
        return;
    };
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut BufReader::new(stream.try_clone().unwrap()));
        stream.write_all(OK).unwrap();
    });
    assert_eq!(
        proxy_with(&format!("endpoints: ['{address}']"))
            .get("/")
            .text(),
        "ok"
    );
}

/// Far less than the body is ever held: neither side is read faster than the
/// other takes it.
const HELD: u64 = 24 << 20;
const BODY: u64 = 256 << 20;

#[test]
fn a_client_that_reads_slowly_holds_the_origin_back() {
    let sent = Arc::new(AtomicU64::new(0));
    let origin = Origin::scripted({
        let sent = sent.clone();
        move |mut stream, _| {
            read_request(&mut BufReader::new(stream.try_clone().unwrap()));
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n").unwrap();
            let piece = [b'x'; 65536];
            while sent.load(Ordering::Relaxed) < BODY && stream.write_all(&piece).is_ok() {
                sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        }
    });
    let proxy = proxy_with(&format!("endpoints: ['{}']", origin.address));
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    stands_still(&sent);
    assert!(sent.load(Ordering::Relaxed) < HELD);
    while !client.line().is_empty() {}
    for _ in 0..BODY / 65536 {
        client.exactly(65536);
    }
}

#[test]
fn an_origin_that_reads_slowly_holds_the_client_back() {
    let go_on = Arc::new(AtomicBool::new(false));
    let origin = Origin::scripted({
        let go_on = go_on.clone();
        move |mut stream, seen| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            support::read_head(&mut reader).unwrap();
            within("the test lets it go on", || {
                go_on.load(Ordering::Relaxed).then_some(())
            });
            let mut body = reader.take(BODY);
            let count = std::io::copy(&mut body, &mut std::io::sink()).unwrap();
            seen.send(Seen::named(&count.to_string())).ok();
            stream.write_all(OK).unwrap();
        }
    });
    let proxy = proxy_with(&format!("endpoints: ['{}']", origin.address));
    let sent = Arc::new(AtomicU64::new(0));
    let mut client = proxy.connect();
    let upload = std::thread::spawn({
        let sent = sent.clone();
        move || {
            client.send(format!(
                "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {BODY}\r\n\r\n"
            ));
            for _ in 0..BODY / 65536 {
                client.send([b'x'; 65536]);
                sent.fetch_add(65536, Ordering::Relaxed);
            }
            client.answer().status
        }
    });
    stands_still(&sent);
    assert!(sent.load(Ordering::Relaxed) < HELD);
    go_on.store(true, Ordering::Relaxed);
    assert_eq!(upload.join().unwrap(), 200);
    assert_eq!(origin.seen().line, BODY.to_string());
}

/// Waits until a count has begun and stays the same for some looks.
fn stands_still(count: &AtomicU64) {
    let mut last = (0, 0);
    within("the sender is held back", || {
        let now = count.load(Ordering::Relaxed);
        last = if now == last.0 {
            (now, last.1 + 1)
        } else {
            (now, 0)
        };
        (now > 0 && last.1 > 100).then_some(())
    });
}
