//! Requests that can be read in two ways, or in none: each gets one clear
//! answer, its connection ends, and no origin sees anything of it.

mod support;

use support::{Origin, Proxy};

/// What a reader that was fooled would take for a request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

fn proxy_to(origin: &Origin) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin, \
         timeouts: {{ body: 10s }} }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    ))
}

/// Sends each, and more behind it, and wants the status, one answer only, and
/// the end of the connection.
fn check(cases: &[(&str, u16)]) {
    let origin = Origin::saying("reached");
    let proxy = proxy_to(&origin);
    for (request, status) in cases {
        let mut client = proxy.connect();
        client.try_send(request);
        client.try_send(SMUGGLED);
        let answer = client.answer();
        assert_eq!(answer.status, *status, "{request:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{request:?}");
        let more = client.rest();
        assert_eq!(more, b"", "{request:?}: {}", String::from_utf8_lossy(&more));
    }
    // The origin's counter of requests: this one is the first.
    assert_eq!(proxy.get("/after").status, 200);
    assert_eq!(origin.seen().line, "GET /after HTTP/1.1");
}

#[test]
fn a_length_beside_transfer_encoding_is_refused() {
    check(&[
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
    ]);
}

#[test]
fn a_length_that_is_repeated_or_malformed_is_refused() {
    for lengths in [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5\r\ncontent-length: 5",
        "content-length: 5, 5",
        "content-length: +5",
        "content-length: -5",
        "content-length: 0x5",
        "content-length: 5 5",
        "content-length: 5.0",
        "content-length:",
        "content-length: \u{0661}",
        "content-length: 18446744073709551616",
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\n{lengths}\r\n\r\nhello");
        check(&[(request.as_str(), 400)]);
    }
}

#[test]
fn a_transfer_encoding_in_disguise_is_refused() {
    for (coding, status) in [
        ("transfer-encoding: xchunked", 400),
        ("transfer-encoding: chunked, identity", 400),
        ("transfer-encoding: identity", 400),
        ("transfer-encoding: chunked, chunked", 400),
        (
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            400,
        ),
        ("transfer-encoding: chunked\r\ntransfer-encoding: x", 400),
        ("transfer-encoding: \"chunked\"", 400),
        ("transfer-encoding: chunked;q=1", 400),
        ("transfer-encoding: \u{b}chunked", 400),
        ("transfer-encoding:\r\n chunked", 400),
        ("transfer-encoding : chunked", 400),
        ("transfer-encoding\t: chunked", 400),
        (" transfer-encoding: chunked", 400),
        ("x: y\n transfer-encoding: chunked", 400),
        ("x: y\rtransfer-encoding: chunked", 400),
        ("transfer\u{7f}-encoding: chunked", 400),
        ("transfer-encoding: gzip, chunked", 501),
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\n{coding}\r\n\r\n0\r\n\r\n");
        check(&[(request.as_str(), status)]);
    }
    check(&[(
        "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    )]);
}

#[test]
fn line_ends_and_control_characters_are_taken_strictly() {
    check(&[
        ("GET / HTTP/1.1\nhost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: b\rc\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: b\0c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx\0y: b\r\n\r\n", 400),
        ("GET /a\0b HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: b\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: b\r\n\tfolded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n host: a\r\n\r\n", 400),
    ]);
}

#[test]
fn field_lines_that_are_none_are_refused() {
    check(&[
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\n: nameless\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx(y): b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx\u{e9}: b\r\n\r\n", 400),
    ]);
}

#[test]
fn request_lines_that_are_none_are_refused() {
    check(&[
        ("\x16\x03\x01\x02\0\x01\0", 400),
        ("GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET /  HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET\t/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET / a HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1 \r\nhost: a\r\n\r\n", 400),
        ("GET /\r\nhost: a\r\n\r\n", 400),
        ("G@T / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET a HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET https://a/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET / http/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/1.11\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/1.2\r\nhost: a\r\n\r\n", 505),
        ("GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505),
        ("GET / HTTP/0.9\r\nhost: a\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\nhost: a\r\n\r\n", 505),
    ]);
}

#[test]
fn a_host_that_is_missing_doubled_or_contradicted_is_refused() {
    check(&[
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a, b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a@b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a:99999\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n", 400),
        ("GET http://a@b/ HTTP/1.1\r\nhost: b\r\n\r\n", 400),
        ("GET http:///x HTTP/1.1\r\nhost: b\r\n\r\n", 400),
    ]);
}

/// The head was in order, so that the origin may have seen it, but it never
/// sees a whole request, and nothing that follows.
#[test]
fn a_chunked_body_that_is_malformed_ends_the_connection() {
    let origin = Origin::saying("reached");
    let proxy = proxy_to(&origin);
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(2000));
    for body in [
        "5 \r\nhello\r\n0\r\n\r\n",
        "zz\r\n0\r\n\r\n",
        "-1\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "10000000000000000\r\n0\r\n\r\n",
        "ffffffffffffffff\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloo\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
        "\r\n0\r\n\r\n",
        "0\r\nx : y\r\n\r\n",
        "0\r\nx: y\n\r\n",
        "0\r\n folded\r\n\r\n",
        &long,
    ] {
        let mut client = proxy.connect();
        client.send("POST /bad HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
        client.try_send(body);
        client.try_send(SMUGGLED);
        let answer = client.answer();
        let wanted = if body.starts_with("ffff") { 413 } else { 400 };
        assert_eq!(answer.status, wanted, "{body:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{body:?}");
        assert_eq!(client.rest(), b"", "{body:?}");
    }
    assert_eq!(proxy.get("/after").status, 200);
    assert_eq!(origin.seen().line, "GET /after HTTP/1.1");
}

#[test]
fn connect_is_not_served() {
    check(&[("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", 501)]);
}

#[test]
fn what_was_good_before_is_answered_before_what_is_bad_is_refused() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    client.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n");
    assert_eq!(client.answer().text(), "ok");
    let refused = client.answer();
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("two ways"), "{}", refused.text());
    assert_eq!(client.rest(), b"");
}
