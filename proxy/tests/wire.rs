//! What a client of HTTP/1.1 may do, and what it gets for it.

mod support;

use std::io::{BufReader, Write};

use support::{Origin, Proxy, read_request};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn proxy_to(origin: &Origin) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    ))
}

/// An origin that sends these bytes for every request.
fn origin_sending(bytes: impl Into<Vec<u8>>) -> Origin {
    let bytes = bytes.into();
    Origin::start(move |_| bytes.clone())
}

#[test]
fn a_client_that_expects_100_gets_it_before_its_body() {
    let origin = Origin::saying("done");
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    client.send("PUT /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(client.answer().status, 100);
    let answer = client.send("hello").answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    assert_eq!(origin.seen().body, b"hello");
}

#[test]
fn a_client_that_expects_100_gets_only_the_refusal_of_a_body_too_large() {
    let origin = Origin::saying("done");
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin, \
         limits: {{ max_body_bytes: 4 }} }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    ));
    let mut client = proxy.connect();
    client.send("PUT /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 413);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(client.finish().rest(), b"");
    assert_eq!(origin.seen_now(), None);
}

#[test]
fn an_unknown_expectation_is_refused() {
    let origin = Origin::saying("done");
    let proxy = proxy_to(&origin);
    assert_eq!(proxy.ask("/", &[("expect", "a-miracle")]).status, 417);
    assert_eq!(origin.seen_now(), None);
}

#[test]
fn an_answer_to_head_keeps_its_length_and_has_no_body() {
    let origin = origin_sending("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n");
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    for _ in 0..2 {
        client.send("HEAD /a HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = client.answer_to_head();
        assert_eq!(answer.header("content-length"), Some("1234"));
        assert_eq!(origin.seen().line, "HEAD /a HTTP/1.1");
    }
}

#[test]
fn answers_that_have_no_body_leave_the_connection_open() {
    for status in ["204 No Content", "304 Not Modified"] {
        let origin = origin_sending(format!("HTTP/1.1 {status}\r\netag: x\r\n\r\n"));
        let proxy = proxy_to(&origin);
        let mut client = proxy.connect();
        for _ in 0..2 {
            let answer = client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").answer();
            assert_eq!(answer.status.to_string(), status[..3]);
            assert_eq!(answer.header("transfer-encoding"), None);
            assert_eq!(answer.header("connection"), None);
        }
    }
}

#[test]
fn early_hints_reach_a_client_of_http_1_1_before_the_answer() {
    let origin = Origin::start(|_| {
        let mut bytes = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n".to_vec();
        bytes.extend_from_slice(OK);
        bytes
    });
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let hints = client.answer();
    assert_eq!(
        (hints.status, hints.header("link")),
        (103, Some("</a.css>"))
    );
    assert_eq!(client.answer().text(), "ok");
}

#[test]
fn a_client_of_http_1_0_gets_no_interim_answer_and_no_chunks() {
    let origin = origin_sending(
        "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n\
         HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    let text = String::from_utf8(client.rest()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(body, "abc");
    assert_eq!(origin.seen().line, "GET / HTTP/1.1");
}

#[test]
fn a_client_of_http_1_0_may_keep_its_connection() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    for _ in 0..2 {
        let answer = client
            .send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
            .answer();
        assert_eq!(answer.header("connection"), Some("keep-alive"));
    }
    let answer = client.send("GET / HTTP/1.0\r\n\r\n").answer();
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(client.rest(), b"");
    assert_eq!(origin.seen().header("host"), Some("origin"), "no host came");
}

#[test]
fn an_absolute_target_becomes_a_path_and_a_host() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin);
    for (target, path) in [
        ("http://Shop.example:8080/a?b=c", "/a?b=c"),
        ("http://shop.example:8080", "/"),
        ("HTTP://shop.example:8080?q", "/?q"),
    ] {
        let mut client = proxy.connect();
        client.send(format!(
            "GET {target} HTTP/1.1\r\nhost: shop.example:8080\r\n\r\n"
        ));
        assert_eq!(client.answer().status, 200, "{target}");
        let seen = origin.seen();
        assert_eq!(seen.line, format!("GET {path} HTTP/1.1"));
        assert_eq!(seen.header("host"), Some("shop.example:8080"));
    }
}

#[test]
fn options_with_an_asterisk_is_passed_on() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin);
    for target in ["*", "http://a"] {
        let mut client = proxy.connect();
        client.send(format!("OPTIONS {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert_eq!(client.answer().status, 200);
        assert_eq!(origin.seen().line, "OPTIONS * HTTP/1.1");
    }
    let answer = proxy
        .connect()
        .send("GET * HTTP/1.1\r\nhost: a\r\n\r\n")
        .answer();
    assert_eq!(answer.status, 400);
}

#[test]
fn max_forwards_ends_a_request_here() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin);
    for (method, forwards, status) in [("OPTIONS", 0, 200), ("TRACE", 0, 501)] {
        let mut client = proxy.connect();
        client.send(format!(
            "{method} / HTTP/1.1\r\nhost: a\r\nmax-forwards: {forwards}\r\n\r\n"
        ));
        assert_eq!(client.answer().status, status);
        assert_eq!(origin.seen_now(), None);
    }
    let mut client = proxy.connect();
    client.send("OPTIONS / HTTP/1.1\r\nhost: a\r\nmax-forwards: 3\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert_eq!(origin.seen().header("max-forwards"), Some("2"));
}

#[test]
fn paths_are_normalised_once_and_so_sent_on() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin);
    for (asked, sent) in [
        ("/a/../b/./c", "/b/c"),
        ("/a//b", "/a/b"),
        ("/%7Euser/%2e%2e/x", "/x"),
        ("/a?x=/../y", "/a?x=/../y"),
    ] {
        assert_eq!(proxy.get(asked).status, 200, "{asked}");
        assert_eq!(origin.seen().line, format!("GET {sent} HTTP/1.1"));
    }
    for refused in ["/a%2Fb", "/a%00b", "/a%zz"] {
        assert_eq!(proxy.get(refused).status, 400, "{refused}");
    }
}

/// The answer comes while the body still does; the rest of the body is not lost
/// on the next request.
#[test]
fn an_answer_that_comes_before_the_body_has_ended_is_passed_on_at_once() {
    let origin = Origin::scripted(|mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        support::read_head(&mut reader);
        stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
            .unwrap();
        while !support::read_some(&mut reader).is_empty() {}
    });
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    client.send("POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345");
    let answer = client.answer();
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    if answer.header("connection") != Some("close") {
        client.send("67890GET /next HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.answer().status, 403);
    }
}

#[test]
fn a_body_streams_on_while_its_answer_streams_back() {
    let origin = Origin::scripted(|mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        support::read_head(&mut reader);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .unwrap();
        let mut left = 4;
        while left > 0 {
            let piece = support::read_some(&mut reader);
            left -= piece.len();
            write!(stream, "{:x}\r\n", piece.len()).unwrap();
            stream
                .write_all(&[&piece, b"\r\n".as_slice()].concat())
                .unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n");
    while !client.line().is_empty() {}
    for letter in ["a", "b", "c", "d"] {
        // Each comes back before the next is sent.
        client.send(letter);
        assert_eq!(client.exactly(6), format!("1\r\n{letter}\r\n").as_bytes());
    }
    assert_eq!(client.exactly(5), b"0\r\n\r\n");
}

/// As with other proxies: there is no telling it from one that is gone.
#[test]
fn a_client_that_closes_its_side_is_not_waited_for() {
    let (origin, _never) = Origin::holding("ok");
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    client.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(origin.seen().line, "GET /held HTTP/1.1");
    assert_eq!(client.finish().answer().status, 499);
    assert_eq!(client.rest(), b"", "and the connection ends");
}

#[test]
fn a_client_that_closes_in_the_middle_of_a_head_is_told_so() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n").finish();
    assert_eq!(client.answer().status, 400);
    assert_eq!(client.rest(), b"");
    assert_eq!(origin.seen_now(), None);
}

/// The origin must not take half a body for a whole one.
#[test]
fn a_client_that_closes_in_the_middle_of_a_body_is_told_so_and_so_is_the_origin() {
    let origin = Origin::scripted(|stream, seen| {
        let mut reader = BufReader::new(stream);
        let request = read_request(&mut reader);
        seen.send(support::Seen::named(if request.is_some() {
            "whole"
        } else {
            "cut off"
        }))
        .ok();
    });
    let proxy = proxy_to(&origin);
    for framing in [
        "content-length: 10\r\n\r\n12345",
        "transfer-encoding: chunked\r\n\r\n5\r\n12345\r\n",
    ] {
        let mut client = proxy.connect();
        client
            .send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}"))
            .finish();
        let answer = client.answer();
        assert_eq!(answer.status, 400);
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(client.rest(), b"");
        assert_eq!(origin.seen().line, "cut off");
    }
}

#[test]
fn one_empty_line_before_a_request_is_passed_over() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    for _ in 0..2 {
        assert_eq!(
            client
                .send("\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n")
                .answer()
                .status,
            200
        );
    }
}

#[test]
fn a_head_that_comes_byte_by_byte_is_read() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    for byte in b"GET /slow HTTP/1.1\r\nhost: a\r\nx-a: b\r\n\r\n" {
        client.send([*byte]);
    }
    assert_eq!(client.answer().status, 200);
    assert_eq!(origin.seen().header("x-a"), Some("b"));
}

#[test]
fn chunk_extensions_are_dropped_and_their_chunks_kept() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: Chunked\r\n\r\n");
    client.send("5;name=\"va;lue\"\r\nhello\r\n00;x\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert_eq!(origin.seen().body, b"hello");
}
