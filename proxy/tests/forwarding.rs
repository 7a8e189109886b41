//! What goes through, and what the proxy adds and removes on the way.

mod support;

use support::{Origin, Proxy};

fn proxy_to(origin: &Origin, more: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin{more} }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    ))
}

#[test]
fn a_request_goes_through_and_its_answer_comes_back() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "");
    let answer = proxy.ask("/a/b?c=d", &[("x-one", "1")]);
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    let seen = origin.seen();
    assert_eq!(seen.line, "GET /a/b?c=d HTTP/1.1");
    assert_eq!(seen.header("host"), Some("test"));
    assert_eq!(seen.header("x-one"), Some("1"));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("test"));
    assert_eq!(seen.header("x-request-id").map(str::len), Some(32));
    assert!(seen.header("traceparent").is_some());
    assert!(answer.header("date").is_some());
}

#[test]
fn many_requests_use_one_connection_and_pipelined_ones_are_answered_in_order() {
    let origin = Origin::start(|seen| {
        let path = seen.line.split(' ').nth(1).unwrap().to_owned();
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}",
            path.len()
        )
        .into_bytes()
    });
    let proxy = proxy_to(&origin, "");
    let mut client = proxy.connect();
    for _ in 0..3 {
        client.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /22 HTTP/1.1\r\nhost: a\r\n\r\n");
        client.send("POST /3 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nokGET /4 HTTP/1.1\r\nhost: a\r\n\r\n");
        for path in ["/1", "/22", "/3", "/4"] {
            assert_eq!(client.answer().text(), path);
        }
    }
}

#[test]
fn bodies_and_trailers_stream_both_ways() {
    let origin = Origin::start(|seen| {
        let mut answer =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n".to_vec();
        for chunk in seen.body.chunks(7000) {
            answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            answer.extend_from_slice(chunk);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"0\r\nx-sum: 42\r\n\r\n");
        answer
    });
    let proxy = proxy_to(&origin, "");
    let body: Vec<u8> = (0..300_000u32).map(|index| (index % 251) as u8).collect();
    let mut client = proxy.connect();
    client.send("POST /up HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    for chunk in body.chunks(10_000) {
        client
            .send(format!("{:x}\r\n", chunk.len()))
            .send(chunk)
            .send("\r\n");
    }
    client.send("0\r\nx-in: 7\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    assert!(answer.body == body);
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "42".to_owned())]);
    let seen = origin.seen();
    assert_eq!(seen.trailers, [("x-in".to_owned(), "7".to_owned())]);
}
