//! What one client may take: times, sizes and counts, each with its status.

mod support;

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use support::admin::metric_sum;
use support::{Origin, Proxy, Seen, read_request, within};

/// A proxy whose listener has `more` keys.
fn proxy_to(origin: &Origin, more: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin, {more} }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    ))
}

/// Sends `request` and wants `status`, and the connection closed.
fn check_refused(proxy: &Proxy, request: &str, status: u16) {
    let mut client = proxy.connect();
    client.try_send(request);
    let answer = client.answer();
    assert_eq!(
        answer.status,
        status,
        "{}",
        &request[..request.len().min(80)]
    );
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_head_that_does_not_end_is_answered_408() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin, "timeouts: { head: 100ms }");
    check_refused(&proxy, "GET / HTTP/1.1\r\nhost: a\r\n", 408);
    assert_eq!(origin.seen_now(), None);
}

/// Each byte in time, and yet the head as a whole is too slow.
#[test]
fn a_head_that_trickles_is_answered_408() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin, "timeouts: { head: 150ms }");
    check_trickle(&proxy, "GET / HTTP/1.1\r\nhost: a\r\nx: ");
}

/// Sends `begin` and then byte after byte until there is an answer, a 408.
fn check_trickle(proxy: &Proxy, begin: &str) {
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    let patience = Duration::from_millis(5);
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(begin.as_bytes()).unwrap();
    let answer = within("the proxy loses patience", || {
        stream.write_all(b"y").ok();
        let mut piece = [0; 512];
        let count = stream.read(&mut piece).unwrap_or(0);
        (count > 0).then(|| piece[..count].to_vec())
    });
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{answer:?}");
}

#[test]
fn a_connection_that_says_nothing_is_closed_without_a_word() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin, "timeouts: { idle: 50ms }");
    assert_eq!(proxy.connect().rest(), b"");
    let mut client = proxy.connect();
    assert_eq!(
        client
            .send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .answer()
            .status,
        200
    );
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_body_that_stops_coming_is_answered_408() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin, "timeouts: { body: 100ms }");
    for framing in [
        "content-length: 10\r\n\r\n12345",
        "transfer-encoding: chunked\r\n\r\n5\r\n123",
    ] {
        check_refused(
            &proxy,
            &format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}"),
            408,
        );
    }
    assert_eq!(origin.seen_now(), None, "no whole request");
}

/// Each byte in time, and yet the body as a whole is too slow.
#[test]
fn a_body_that_trickles_is_answered_408() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin, "timeouts: { total: 200ms }");
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n";
    check_trickle(&proxy, head);
    assert_eq!(origin.seen_now(), None);
}

/// Nobody waits for the answer any more, so the origin is left alone too.
#[test]
fn a_client_that_goes_away_takes_its_request_with_it() {
    let origin = Origin::scripted(|stream, seen| {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            seen.send(request).ok();
        }
        seen.send(Seen::named("closed")).ok();
    });
    let admin = "admin: { address: '127.0.0.1:0' }\n";
    let proxy = Proxy::start(&format!(
        "{admin}listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    ));
    let mut client = proxy.connect();
    client.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(origin.seen().line, "GET /slow HTTP/1.1");
    drop(client);
    assert_eq!(origin.seen().line, "closed");
    within("the exchange is counted", || {
        let count = metric_sum(
            proxy.admin(),
            "lockgate_request_errors_total",
            "client_gone",
        );
        (count == 1.0).then_some(())
    });
}

#[test]
fn an_exchange_that_takes_too_long_is_answered_504() {
    let origin = Origin::scripted(|stream, _| {
        let mut reader = BufReader::new(stream);
        while !support::read_some(&mut reader).is_empty() {}
    });
    let proxy = proxy_to(&origin, "timeouts: { total: 100ms }");
    assert_eq!(proxy.get("/").status, 504);
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let origin = Origin::scripted(|mut stream, seen| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        support::read_head(&mut reader);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
            .unwrap();
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
        seen.send(Seen::named("cut off")).ok();
    });
    let proxy = proxy_to(&origin, "timeouts: { body: 100ms }");
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(origin.seen().line, "cut off");
}

#[test]
fn a_head_that_is_too_large_is_answered_431() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(
        &origin,
        "limits: { max_head_bytes: 1KiB, max_target_bytes: 512, max_headers: 10 }",
    );
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(1100));
    check_refused(&proxy, &long, 431);
    check_refused(&proxy, &format!("{long}\r\n\r\n"), 431);
    let many = |count| {
        format!(
            "GET / HTTP/1.1\r\nhost: a\r\n{}\r\n",
            "x: y\r\n".repeat(count)
        )
    };
    check_refused(&proxy, &many(10), 431);
    assert_eq!(proxy.connect().send(many(9)).answer().status, 200);
    assert_eq!(origin.seen().all("x").len(), 9);
}

#[test]
fn a_target_that_is_too_long_is_answered_414() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin, "limits: { max_target_bytes: 100 }");
    let target = |length: usize| format!("/{}", "a".repeat(length - 1));
    check_refused(&proxy, &format!("GET {}", target(101)), 414);
    check_refused(
        &proxy,
        &format!("GET {} HTTP/1.1\r\nhost: a\r\n\r\n", target(101)),
        414,
    );
    assert_eq!(proxy.get(&target(100)).status, 200);
}

#[test]
fn a_body_that_is_too_large_is_answered_413() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin, "limits: { max_body_bytes: 8 }");
    for framing in [
        "content-length: 9\r\n\r\n123456789",
        "content-length: 9999999999\r\n\r\n123",
        "transfer-encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n5\r\n12345\r\n4\r\n1234\r\n0\r\n\r\n",
    ] {
        let request =
            format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}GET /next HTTP/1.1\r\nhost: a\r\n\r\n");
        check_refused(&proxy, &request, 413);
    }
    assert_eq!(origin.seen_now(), None);
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n12345678");
    assert_eq!(client.answer().status, 200);
    assert_eq!(origin.seen().body, b"12345678");
}

#[test]
fn the_last_request_of_a_connection_is_told_so() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin, "limits: { max_requests: 3 }");
    let mut client = proxy.connect();
    for _ in 0..5 {
        client.try_send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    for closing in [None, None, Some("close")] {
        assert_eq!(client.answer().header("connection"), closing);
    }
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_client_that_asks_to_close_is_obeyed() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin, "timeouts: { idle: 1h }");
    let mut client = proxy.connect();
    let answer = client
        .send("GET / HTTP/1.1\r\nhost: a\r\nconnection: x, Close\r\n\r\n")
        .answer();
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(client.rest(), b"");
}

/// Over all workers; and a place that comes free can be taken.
#[test]
fn connections_beyond_the_limit_are_closed() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin, "limits: { max_connections: 4 }");
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut clients: Vec<_> = (0..4).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.send(request).answer().status, 200);
    }
    assert_eq!(proxy.connect().rest(), b"");
    assert_eq!(clients[0].send(request).answer().status, 200);
    clients.pop();
    within("a place comes free", || {
        let mut client = proxy.connect();
        client.try_send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        (!client.rest().is_empty()).then_some(())
    });
}
