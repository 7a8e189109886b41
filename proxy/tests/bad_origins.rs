//! Origins that break the rules. The client gets one clear answer, or sees that
//! one was cut off; the connection is discarded, and the next request is served.

mod support;

use std::io::{BufReader, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use support::{Answer, Origin, Proxy, read_request};

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood";

/// One worker, so that a bad connection would be the one used next.
fn proxy_to(origin: &Origin, more: &str) -> Proxy {
    Proxy::start(&format!(
        "workers: 1\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}']{more} }}]\n",
        origin.address
    ))
}

/// What an origin does after its bytes.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Close,
    Wait,
}

/// Sends `bytes` for the first request of all, and is good from then on.
fn bad_once(bytes: impl Into<Vec<u8>>, then: Then) -> Origin {
    let (bytes, requests) = (bytes.into(), AtomicUsize::new(0));
    Origin::scripted(move |mut stream, seen| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(request) = read_request(&mut reader) {
            seen.send(request).ok();
            if requests.fetch_add(1, Ordering::Relaxed) > 0 {
                stream.write_all(GOOD).unwrap();
                continue;
            }
            // The proxy may give up in the middle.
            stream.write_all(&bytes).ok();
            if then == Then::Close {
                return;
            }
        }
    })
}

/// The answer to a request that met these bytes; the next must find all well,
/// for the same client.
fn answer_to(bytes: impl Into<Vec<u8>>, then: Then, more: &str) -> Answer {
    let origin = bad_once(bytes, then);
    let proxy = proxy_to(&origin, more);
    let mut client = proxy.connect();
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    client.send(request);
    let mut answer = client.answer();
    while answer.status < 200 {
        answer = client.answer();
    }
    assert_eq!(client.send(request).answer().text(), "good");
    answer
}

fn check(bytes: impl AsRef<[u8]>, status: u16) {
    let bytes = bytes.as_ref();
    for then in [Then::Close, Then::Wait] {
        let answer = answer_to(bytes, then, "");
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned();
        assert_eq!(answer.status, status, "{shown:?}");
        assert!(answer.header("proxy-status").is_some(), "{shown:?}");
    }
}

#[test]
fn an_answer_that_is_none_is_502() {
    for bytes in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\n\r\nok",
        "HTTP/1.1 200 OK\r\nx: a\r\n folded\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nx : a\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nno colon\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        " HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        check(bytes, 502);
    }
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_502() {
    for fields in [
        "content-length: 2\r\ntransfer-encoding: chunked",
        "content-length: 2\r\ncontent-length: 3",
        "content-length: 2\r\ncontent-length: 2",
        "content-length: +2",
        "content-length: 2, 2",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, gzip",
        "transfer-encoding: xchunked",
    ] {
        check(
            format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
            502,
        );
    }
    check(
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        502,
    );
    check(
        "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok",
        502,
    );
}

#[test]
fn a_101_that_nobody_asked_for_is_502() {
    check(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        502,
    );
}

#[test]
fn a_head_of_a_megabyte_is_502() {
    let field = format!("x: {}\r\n", "y".repeat(1000));
    check(
        format!("HTTP/1.1 200 OK\r\n{}\r\n", field.repeat(1000)),
        502,
    );
    check(
        format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)),
        502,
    );
    check(
        format!(
            "HTTP/1.1 103 Early Hints\r\nx: {}\r\n\r\n",
            "y".repeat(1 << 20)
        ),
        502,
    );
    check("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000), 502);
}

#[test]
fn the_limit_of_a_head_is_the_clusters_own() {
    let bytes = format!(
        "HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n",
        "y".repeat(3000)
    );
    let answer = answer_to(bytes.clone(), Then::Wait, ", max_head_bytes: 2KiB");
    assert_eq!(answer.status, 502);
    assert!(
        answer
            .header("proxy-status")
            .unwrap()
            .contains("header_section_size")
    );
    assert_eq!(
        answer_to(bytes, Then::Wait, ", max_head_bytes: 4KiB").status,
        200
    );
}

#[test]
fn a_connection_that_closes_without_a_whole_head_is_502() {
    for bytes in ["", "HTTP/1.1", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"] {
        assert_eq!(answer_to(bytes, Then::Close, "").status, 502, "{bytes:?}");
    }
}

#[test]
fn an_origin_that_does_not_answer_is_504() {
    for bytes in ["", "HTTP/1.1 200", "HTTP/1.1 103 Early Hints\r\nx"] {
        let answer = answer_to(bytes, Then::Wait, ", timeouts: { answer: 100ms }");
        assert_eq!(answer.status, 504, "{bytes:?}");
    }
}

/// What comes behind an answer is not the answer to the next request.
#[test]
fn a_second_answer_is_given_to_nobody() {
    const EVIL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    for first in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
    ] {
        let answer = answer_to(format!("{first}{EVIL}"), Then::Wait, "");
        assert!(!answer.text().contains("evil"), "{first}");
        assert_eq!(answer.status.to_string(), first[9..12]);
    }
}

#[test]
fn a_body_behind_the_answer_to_a_head_is_given_to_nobody() {
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 41\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let proxy = proxy_to(&bad_once(evil, Then::Wait), "");
    let mut client = proxy.connect();
    let answer = client
        .send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
        .answer_to_head();
    assert_eq!(answer.header("content-length"), Some("41"));
    assert_eq!(
        client
            .send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .answer()
            .text(),
        "good"
    );
}

#[test]
fn an_answer_longer_than_its_length_is_cut_to_it() {
    let answer = answer_to(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more",
        Then::Wait,
        "",
    );
    assert_eq!(answer.text(), "ok");
}

/// The raw bytes up to the close, of a request that met `bytes`.
fn raw(bytes: &str, then: Then, version: &str) -> String {
    let origin = bad_once(bytes, then);
    let proxy = proxy_to(&origin, ", timeouts: { idle: 100ms }");
    let mut client = proxy.connect();
    client.send(format!("GET / HTTP/{version}\r\nhost: a\r\n\r\n"));
    let bytes = client.rest();
    assert_eq!(proxy.get("/").text(), "good");
    String::from_utf8(bytes).unwrap()
}

#[test]
fn an_answer_that_ends_before_its_length_is_cut_off_for_the_client_too() {
    for then in [Then::Close, Then::Wait] {
        let text = raw(
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345",
            then,
            "1.1",
        );
        assert!(text.contains("content-length: 10\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n12345"), "{text}");
    }
}

#[test]
fn a_chunked_answer_without_its_end_has_none_for_the_client_either() {
    for (bytes, then) in [
        ("5\r\n12345\r\n", Then::Close),
        ("5\r\n12345\r\n", Then::Wait),
        ("5\r\n12345\r\n3", Then::Close),
        ("5\r\n12345\r\nzz\r\n0\r\n\r\n", Then::Wait),
        ("5\r\n12345\r\n0\r\n", Then::Close),
        ("5\r\n12345\r\n0\r\nbad trailer\r\n\r\n", Then::Wait),
    ] {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let text = raw(&format!("{head}{bytes}"), then, "1.1");
        assert!(
            text.ends_with("\r\n\r\n5\r\n12345\r\n"),
            "{bytes:?}: {text:?}"
        );
    }
}

/// For such a client the end of the body is the end of the connection: only a
/// reset tells it that this was not the end.
#[test]
fn an_answer_that_is_cut_off_is_reset_for_a_client_of_http_1_0() {
    let origin = bad_once(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n",
        Then::Wait,
    );
    let proxy = proxy_to(&origin, ", timeouts: { idle: 100ms }");
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert!(client.is_reset(), "it looks like a whole answer");
}

#[test]
fn an_answer_up_to_the_close_is_passed_on_with_a_framing_of_its_own() {
    let answer = answer_to("HTTP/1.1 200 OK\r\n\r\nall there is", Then::Close, "");
    assert_eq!(answer.text(), "all there is");
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    let answer = answer_to("HTTP/1.0 200 OK\r\n\r\nold", Then::Close, "");
    assert_eq!(answer.text(), "old");
}

/// A refusal that comes with a close, while the body is still being sent.
#[test]
fn an_early_answer_with_a_close_still_reaches_the_client() {
    let origin = Origin::scripted(|mut stream, _| {
        support::read_head(&mut BufReader::new(stream.try_clone().unwrap()));
        stream
            .write_all(b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nno!")
            .unwrap();
    });
    let proxy = proxy_to(&origin, "");
    for _ in 0..10 {
        let mut client = proxy.connect();
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 50000000\r\n\r\n");
        let piece = [b'x'; 65536];
        let mut left = 32;
        while left > 0 && client.try_send(piece) {
            left -= 1;
        }
        let answer = client.answer();
        assert_eq!((answer.status, answer.text().as_str()), (413, "no!"));
    }
}

#[test]
fn an_origin_that_takes_no_connection_in_time_is_504() {
    // A full queue of connections takes no more of them and refuses none.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) =
        std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(200))
    {
        waiting.push(stream);
    }
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
         clusters: [{{ name: origin, endpoints: ['{address}'], timeouts: {{ connect: 100ms }} }}]\n"
    ));
    let answer = proxy.get("/");
    assert_eq!(answer.status, 504);
    assert!(
        answer
            .header("proxy-status")
            .unwrap()
            .contains("connection_timeout")
    );
}
