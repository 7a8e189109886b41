//! What one client may take: times, sizes and counts, each with its status.

mod support;

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use support::admin::metric_sum;
use support::{Client, Origin, Proxy, Seen, read_request, within};

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
    let proxy = proxy_with_admin(&origin, "", "timeouts: { idle: 50ms }");
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
    let ended = "lockgate_connections_ended_total";
    assert_eq!(metric_sum(proxy.admin(), ended, "reason=\"idle\""), 2.0);
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

/// Each byte in time, and yet too few of them. The rate is the reason, and not that
/// everything has its end.
#[test]
fn a_body_that_comes_too_slowly_is_answered_408() {
    let origin = Origin::saying("ok");
    let keys = "timeouts: { body: 2s }, limits: { min_body_rate: 1MiB }";
    let proxy = proxy_with_admin(&origin, "", keys);
    let mut other = proxy.connect();
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n";
    check_trickle(&proxy, head);
    assert_eq!(failed(&proxy, "body_too_slow"), 1.0);
    assert_eq!(origin.seen_now(), None);
    assert_eq!(other.send(GET).answer().status, 200);
}

#[test]
fn a_slow_body_is_as_good_as_any_where_no_rate_is_wanted() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin, "limits: { min_body_rate: 0 }");
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200\r\n\r\n");
    for _ in 0..200 {
        client.send("y");
    }
    assert_eq!(client.answer().status, 200);
    assert_eq!(origin.seen().body.len(), 200);
}

/// An answer without end, taken piece by piece and too slowly.
#[test]
fn a_client_that_reads_too_slowly_is_given_up() {
    let origin = Origin::scripted(|mut stream, seen| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let request = support::read_head(&mut reader).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        if request.line.contains("/short") {
            stream.write_all(b"content-length: 2\r\n\r\nok").unwrap();
            return;
        }
        stream.write_all(b"connection: close\r\n\r\n").unwrap();
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
        seen.send(Seen::named("cut off")).ok();
    });
    let keys = "timeouts: { body: 2s }, limits: { min_body_rate: 1GiB }";
    let proxy = proxy_with_admin(&origin, "", keys);
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    let patience = Duration::from_millis(5);
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(GET.as_bytes()).unwrap();
    let mut piece = vec![0; 64 << 10];
    let line = within("the proxy loses patience", || {
        let _taken = stream.read(&mut piece).unwrap_or(0);
        std::thread::sleep(patience);
        origin.seen_now()
    });
    assert_eq!(line.line, "cut off");
    assert_eq!(proxy.get("/short").status, 200);
    within("it is counted", || {
        (failed(&proxy, "client_too_slow") == 1.0).then_some(())
    });
}

/// Exchanges that failed in this way.
fn failed(proxy: &Proxy, error: &str) -> f64 {
    let label = format!("error=\"{error}\"");
    metric_sum(proxy.admin(), "lockgate_request_errors_total", &label)
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
    let proxy = proxy_with_admin(&origin, "", "limits: { max_requests: 3 }");
    let mut client = proxy.connect();
    for _ in 0..5 {
        client.try_send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    for closing in [None, None, Some("close")] {
        assert_eq!(client.answer().header("connection"), closing);
    }
    assert_eq!(client.rest(), b"");
    let ended = "lockgate_connections_ended_total";
    let used_up = metric_sum(proxy.admin(), ended, "reason=\"max_requests\"");
    assert_eq!(used_up, 1.0);
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

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

const ADMIN: &str = "admin: { address: '127.0.0.1:0' }";

/// A proxy with an admin address and `more` at the top, whose listener has `keys`.
fn proxy_with_admin(origin: &Origin, more: &str, keys: &str) -> Proxy {
    Proxy::start(&format!(
        "{ADMIN}\n{more}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin, {keys} }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    ))
}

/// Connections that were closed as they came, by whose limit.
fn refused(proxy: &Proxy, limit: &str) -> f64 {
    let label = format!("limit=\"{limit}\"");
    metric_sum(proxy.admin(), "lockgate_connections_refused_total", &label)
}

/// Over all workers; and a place that comes free can be taken.
#[test]
fn connections_beyond_the_limit_are_closed() {
    let origin = Origin::saying("ok");
    let proxy = proxy_with_admin(&origin, "", "limits: { max_connections: 4 }");
    let mut clients: Vec<_> = (0..4).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.send(GET).answer().status, 200);
    }
    assert_eq!(proxy.connect().rest(), b"");
    assert_eq!(clients[0].send(GET).answer().status, 200);
    assert_eq!(refused(&proxy, "listener"), 1.0);
    clients.pop();
    a_place_comes_free(|| proxy.connect());
}

/// Whether a further connection is served, sooner or later.
fn a_place_comes_free(connect: impl Fn() -> Client) {
    within("a place comes free", || {
        let mut client = connect();
        client.try_send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        (!client.rest().is_empty()).then_some(())
    });
}

#[test]
fn connections_of_all_listeners_together_are_limited() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::start(&format!(
        "{ADMIN}\nmax_connections: 3\n\
         listeners:\n\
         - {{ name: web, address: '127.0.0.1:0', cluster: origin }}\n\
         - {{ name: other, address: '127.0.0.1:0', cluster: origin }}\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    ));
    let other = proxy.listener("other").unwrap();
    let mut clients = vec![
        proxy.connect(),
        Client::connect(other),
        Client::connect(other),
    ];
    for client in &mut clients {
        assert_eq!(client.send(GET).answer().status, 200);
    }
    assert_eq!(proxy.connect().rest(), b"");
    assert_eq!(Client::connect(other).rest(), b"");
    assert_eq!(clients[0].send(GET).answer().status, 200);
    assert_eq!(refused(&proxy, "process"), 2.0);
    clients.pop();
    a_place_comes_free(|| proxy.connect());
}

/// A flood from one address is turned away, and whoever comes from another is served.
#[test]
fn connections_of_one_client_are_limited() {
    let origin = Origin::saying("ok");
    let proxy = proxy_with_admin(&origin, "", "limits: { max_client_connections: 2 }");
    let mut own: Vec<_> = (0..2).map(|_| proxy.connect()).collect();
    for client in &mut own {
        assert_eq!(client.send(GET).answer().status, 200);
    }
    let mut other = Client::connect_from([127, 0, 0, 2], proxy.address());
    assert_eq!(other.send(GET).answer().status, 200);
    for _ in 0..500 {
        assert_eq!(proxy.connect().rest(), b"");
    }
    assert_eq!(other.send(GET).answer().status, 200);
    assert_eq!(own[0].send(GET).answer().status, 200);
    assert_eq!(refused(&proxy, "client"), 500.0);
    own.pop();
    a_place_comes_free(|| proxy.connect());
}

/// Behind a balancer it is the client of the header who is counted, by IPv6 with all of
/// its network, and the balancer itself is not.
#[test]
fn clients_behind_a_balancer_are_counted_each() {
    let origin = Origin::saying("ok");
    let keys = "proxy_protocol: { from: [127.0.0.0/8] }, limits: { max_client_connections: 1 }";
    let proxy = proxy_with_admin(&origin, "", keys);
    let connect = |line: &str| {
        let mut client = proxy.connect();
        client.try_send(format!("PROXY {line}\r\n{GET}"));
        client
    };
    let mut held = Vec::new();
    for (line, is_served) in [
        ("TCP4 192.0.2.1 192.0.2.9 1 443", true),
        ("TCP4 192.0.2.1 192.0.2.9 2 443", false),
        ("TCP4 192.0.2.2 192.0.2.9 3 443", true),
        ("TCP6 2001:db8::1 2001:db8::9 4 443", true),
        ("TCP6 2001:db8::2 2001:db8::9 5 443", false),
        ("TCP6 2001:db8:0:1::1 2001:db8::9 6 443", true),
        ("UNKNOWN", true),
        ("UNKNOWN", true),
        // A client that happens to have an address like a balancer's is one.
        ("TCP4 127.0.0.9 192.0.2.9 7 443", true),
        ("TCP4 127.0.0.9 192.0.2.9 8 443", false),
    ] {
        let mut client = connect(line);
        match is_served {
            true => {
                assert_eq!(client.answer().status, 200, "{line}");
                held.push(client);
            }
            false => assert_eq!(client.rest(), b"", "{line}"),
        }
    }
    assert_eq!(refused(&proxy, "client"), 3.0);
}

#[test]
fn trusted_hops_bring_as_many_connections_as_they_like() {
    let origin = Origin::saying("ok");
    let keys = "headers: { trusted_hops: [127.0.0.1] }, limits: { max_client_connections: 1 }";
    let proxy = proxy_to(&origin, keys);
    let mut clients: Vec<_> = (0..3).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.send(GET).answer().status, 200);
    }
}
