//! `lockgate:mirror` over sockets: the copy arrives and says so, and whatever
//! becomes of it, the original does not notice.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use support::filtered::yaml_to;
use support::{LIMIT, Origin, Proxy, refusing};

fn mirrored(config: &str, origin: &Origin, shadow: String) -> Proxy {
    let filters = format!(
        "  shadow:\n    component: lockgate:mirror\n    config: {{ cluster: shadow {config} }}"
    );
    Proxy::start(&yaml_to(
        "shadow",
        ", cluster: origin",
        &filters,
        &[("origin", origin.address.to_string()), ("shadow", shadow)],
    ))
}

fn post(proxy: &Proxy, body: &str) -> support::Answer {
    let head = format!(
        "POST /pay?x=1 HTTP/1.1\r\nhost: shop\r\nx-own: 1\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    proxy.connect().send(head).answer()
}

#[test]
fn a_copy_has_all_of_the_request_and_a_mark() {
    let (origin, shadow) = (Origin::saying("original"), Origin::saying("copy"));
    let proxy = mirrored(
        ", headers: { x-env: shadow }",
        &origin,
        shadow.address.to_string(),
    );
    assert_eq!(post(&proxy, "the body").text(), "original");
    let (seen, copy) = (origin.seen(), shadow.seen());
    assert_eq!(copy.line, "POST /pay?x=1 HTTP/1.1");
    assert_eq!(copy.body, b"the body");
    assert_eq!(copy.header("x-own"), Some("1"));
    assert_eq!(copy.header("host"), Some("shop"));
    assert_eq!(copy.header("x-lockgate-mirror"), Some("1"));
    assert_eq!(copy.header("x-env"), Some("shadow"));
    assert_eq!(seen.body, b"the body");
    assert_eq!(seen.header("x-lockgate-mirror"), None);
    assert_eq!(seen.header("x-env"), None);
    assert_eq!(seen.header("x-request-id"), copy.header("x-request-id"));
}

#[test]
fn a_chunked_body_and_its_trailers_are_copied() {
    let (origin, shadow) = (Origin::saying("original"), Origin::saying("copy"));
    let proxy = mirrored("", &origin, shadow.address.to_string());
    let request = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n";
    assert_eq!(proxy.connect().send(request).answer().text(), "original");
    for seen in [origin.seen(), shadow.seen()] {
        assert_eq!(seen.body, b"abcde");
        assert_eq!(seen.trailers, [("x-sum".to_owned(), "5".to_owned())]);
    }
}

#[test]
fn only_what_matches_is_copied() {
    let (origin, shadow) = (Origin::saying("original"), Origin::saying("copy"));
    let config = ", match: { path_prefix: /a, method: GET }";
    let proxy = mirrored(config, &origin, shadow.address.to_string());
    for path in ["/b", "/ab", "/a/1"] {
        assert_eq!(proxy.get(path).text(), "original");
    }
    assert_eq!(shadow.seen().line, "GET /a/1 HTTP/1.1");

    let never = mirrored(", percent: 0", &origin, shadow.address.to_string());
    for _ in 0..20 {
        assert_eq!(never.get("/a").text(), "original");
    }
    drop(never);
    assert!(shadow.seen_now().is_none());
}

/// The original is answered as if there were no copy.
fn originals_are_well(shadow: String) {
    let origin = Origin::saying("original");
    let proxy = mirrored("", &origin, shadow);
    let mut client = proxy.connect();
    for _ in 0..20 {
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nok");
        let answer = client.answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "original"));
        assert_eq!(origin.seen().body, b"ok");
    }
}

#[test]
fn a_shadow_that_refuses_is_not_noticed() {
    originals_are_well(refusing().to_string());
}

#[test]
fn a_shadow_that_hangs_is_not_noticed() {
    // Connections wait in its queue, and nobody takes them.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    originals_are_well(deaf.local_addr().unwrap().to_string());
    // One that takes requests and never answers.
    let silent = Origin::scripted(|mut stream, _| {
        // Ends with the connection, in whichever way.
        std::io::copy(&mut stream, &mut std::io::sink()).ok();
    });
    originals_are_well(silent.address.to_string());
}

#[test]
fn a_shadow_that_misbehaves_is_not_noticed() {
    let failing = Origin::start(|_| b"HTTP/1.1 500 no\r\ncontent-length: 3\r\n\r\nbad".to_vec());
    originals_are_well(failing.address.to_string());
    let babbling = Origin::start(|_| b"this is not HTTP\r\n\r\n".to_vec());
    originals_are_well(babbling.address.to_string());
    let closing = Origin::scripted(|stream, _| drop(stream));
    originals_are_well(closing.address.to_string());
}

/// A shadow that reads a head, waits to be let go on, and then tells how many
/// bytes of a body there were.
fn slow_shadow() -> (Origin, Sender<()>, Receiver<u64>) {
    let (let_go, go) = channel();
    let (tell, told) = channel();
    let (go, tell) = (Arc::new(Mutex::new(go)), Arc::new(Mutex::new(tell)));
    let shadow = Origin::scripted(move |stream, _| read_late(stream, &go, &tell));
    (shadow, let_go, told)
}

fn read_late(stream: TcpStream, go: &Mutex<Receiver<()>>, tell: &Mutex<Sender<u64>>) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
        line.clear();
    }
    if go.lock().unwrap().recv().is_err() {
        return;
    }
    let mut count = 0;
    let mut piece = vec![0; 65536];
    while let Ok(more @ 1..) = reader.read(&mut piece) {
        count += more as u64;
    }
    tell.lock().unwrap().send(count).ok();
}

#[test]
fn a_copy_of_a_large_body_that_lags_is_cut_off() {
    // More than the kernel keeps for a connection that nobody reads from.
    const SIZE: usize = 64 << 20;
    let origin = Origin::start(|seen| {
        let text = seen.body.len().to_string();
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        )
        .into_bytes()
    });
    let (shadow, let_go, told) = slow_shadow();
    let proxy = mirrored("", &origin, shadow.address.to_string());
    let mut client = proxy.connect();
    client.send(format!(
        "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {SIZE}\r\n\r\n"
    ));
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..SIZE / piece.len() {
        client.send(&piece);
    }
    // The whole original is answered while the copy waits.
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (200, SIZE.to_string()));
    let_go.send(()).unwrap();
    let copied = told.recv_timeout(LIMIT).expect("the copy ends");
    assert!(copied < SIZE as u64, "{copied} bytes of a copy that lagged");

    // The connection goes on, and the next copy is whole again.
    client.send("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nok");
    assert_eq!(client.answer().text(), "2");
}
