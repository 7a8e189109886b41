//! WebSocket where one side or both speak HTTP/2 (RFC 8441), and peers that are real.

mod support;

use std::future::poll_fn;
use std::io::{BufReader, Write};
use std::sync::Arc;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response};
use support::admin::metric_sum;
use support::http2::{Http2, run, send};
use support::http2_origin::{Http2Origin, answer};
use support::python::{self, Peer};
use support::{Origin, Proxy, read_head, within};
use tokio::sync::Notify;

fn yaml(endpoint: &str, protocol: &str, more: &str) -> String {
    format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o{more} }}]\n\
         clusters: [{{ name: o, endpoints: ['{endpoint}'], protocol: {protocol} }}]\n"
    )
}

fn proxy_to(endpoint: impl ToString, protocol: &str) -> Proxy {
    Proxy::start(&yaml(&endpoint.to_string(), protocol, ""))
}

/// Takes every WebSocket, and sends back what it is sent.
fn http2_echo() -> Http2Origin {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    Http2Origin::with(builder, |request, mut respond| async move {
        let protocol = request.extensions().get::<Protocol>().cloned();
        if request.method() != Method::CONNECT || protocol.unwrap().as_str() != "websocket" {
            return answer(&mut respond, 400, "no WebSocket");
        }
        for name in ["sec-websocket-key", "connection", "upgrade"] {
            assert!(!request.headers().contains_key(name), "{name}");
        }
        assert_eq!(request.headers()["sec-websocket-protocol"], "chat");
        let head = Response::builder().header("sec-websocket-protocol", "chat");
        let mut back = respond
            .send_response(head.body(()).unwrap(), false)
            .unwrap();
        let mut body = request.into_body();
        while let Some(Ok(piece)) = body.data().await {
            body.flow_control().release_capacity(piece.len()).unwrap();
            send(&mut back, &piece).await;
        }
        back.send_data(Bytes::new(), true).ok();
    })
}

/// The same over HTTP/1, for the one key or for whatever comes.
fn http1_echo(status: &'static str) -> Origin {
    Origin::scripted(move |stream, seen| {
        let mut reader = BufReader::new(stream);
        let Some(request) = read_head(&mut reader) else {
            return;
        };
        let key = request.header("sec-websocket-key").unwrap().to_owned();
        seen.send(request).ok();
        let salted = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let digest = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
            salted.as_bytes(),
        );
        let accept = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
        let head = format!(
            "HTTP/1.1 {status}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-accept: {accept}\r\nsec-websocket-protocol: chat\r\n\r\n"
        );
        let mut writer = reader.get_ref().try_clone().unwrap();
        writer.write_all(head.as_bytes()).unwrap();
        std::io::copy(&mut reader, &mut writer).ok();
        writer.shutdown(std::net::Shutdown::Write).ok();
    })
}

fn connect(protocol: &'static str) -> Request<()> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri("http://test/chat")
        .header("sec-websocket-protocol", "chat")
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    request
        .extensions_mut()
        .insert(Protocol::from_static(protocol));
    request
}

/// Once the proxy has said that it takes such requests.
async fn open(
    client: &mut Http2,
    request: Request<()>,
) -> (Response<RecvStream>, SendStream<Bytes>) {
    while !client.send.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    poll_fn(|context| client.send.poll_ready(context))
        .await
        .unwrap();
    let (response, stream) = client.send.send_request(request, false).unwrap();
    (response.await.unwrap(), stream)
}

async fn read(stream: &mut RecvStream, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let piece = stream.data().await.expect("more comes").unwrap();
        stream.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend_from_slice(&piece);
    }
    bytes
}

/// With the end, nothing more comes.
async fn ends(stream: &mut RecvStream) {
    while let Some(piece) = stream.data().await {
        assert!(piece.unwrap().is_empty());
    }
}

async fn check_echo(proxy: &Proxy) {
    let mut client = Http2::connect(proxy.address()).await;
    let (response, mut out) = open(&mut client, connect("websocket")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    for name in [
        "upgrade",
        "connection",
        "sec-websocket-accept",
        "content-length",
    ] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
    let mut back = response.into_body();
    send(&mut out, b"hello").await;
    assert_eq!(read(&mut back, 5).await, b"hello");
    // More than any window, while others have their turns.
    let (mut out, large) = (out, vec![b'x'; 3 << 20]);
    let sending = tokio::spawn(async move {
        send(&mut out, &large).await;
        out
    });
    assert_eq!(read(&mut back, 3 << 20).await.len(), 3 << 20);
    let mut out = sending.await.unwrap();
    out.send_data(Bytes::new(), true).unwrap();
    ends(&mut back).await;
}

#[test]
fn from_http2_to_http1() {
    let origin = http1_echo("101 Switching Protocols");
    let proxy = proxy_to(origin.address, "http1");
    run(check_echo(&proxy));
    let seen = origin.seen();
    assert_eq!(seen.line, "GET /chat HTTP/1.1");
    assert_eq!(seen.all("upgrade"), ["websocket"]);
    assert_eq!(seen.all("connection"), ["upgrade"]);
    assert_eq!(seen.all("sec-websocket-version"), ["13"]);
}

#[test]
fn from_http2_to_http2() {
    let origin = http2_echo();
    let proxy = proxy_to(origin.address, "http2");
    run(async {
        check_echo(&proxy).await;
        check_echo(&proxy).await;
    });
}

#[test]
fn from_http1_to_http2() {
    let origin = http2_echo();
    let proxy = proxy_to(origin.address, "http2");
    let mut client = proxy.connect();
    client.send(
        "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\
         sec-websocket-protocol: chat\r\n\r\nhello",
    );
    let answer = client.answer();
    assert_eq!(answer.status, 101);
    let accept = answer.header("sec-websocket-accept");
    assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(client.exactly(5), b"hello");
    client.finish();
    assert_eq!(client.rest(), b"");
}

#[test]
fn an_origin_that_does_not_take_it_is_502() {
    // By HTTP/2 that says nothing of it, and by an answer that would look like a yes.
    let origin = Http2Origin::start(|_, mut respond| async move { answer(&mut respond, 200, "") });
    let proxy = proxy_to(origin.address, "http2");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let (response, _) = open(&mut client, connect("websocket")).await;
        assert_eq!(response.status(), 502);
    });
    let origin = Origin::saying("a page");
    let proxy = proxy_to(origin.address, "http1");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let (response, _) = open(&mut client, connect("websocket")).await;
        assert_eq!(response.status(), 502);
        let (response, _) = open(&mut client, connect("tcp")).await;
        assert_eq!(response.status(), 501);
    });
}

/// What looks like a yes of HTTP/2 is none, whoever says it.
#[test]
fn a_filter_that_answers_with_success_does_not_open_a_websocket() {
    let origin = http1_echo("101 Switching Protocols");
    let policy = |status: u16| {
        yaml(&origin.address.to_string(), "http1", ", filters: [faults]")
            + "filters:\n  faults:\n    component: lockgate:fault\n    config: "
            + &format!("{{ abort: {{ status: {status}, percent: 100 }} }}\n")
    };
    for (status, wanted) in [(200, 500), (403, 403)] {
        let proxy = Proxy::start(&policy(status));
        run(async {
            let mut client = Http2::connect(proxy.address()).await;
            let (response, _) = open(&mut client, connect("websocket")).await;
            assert_eq!(response.status(), wanted);
        });
    }
}

#[test]
fn handshakes_that_come_at_once_wait_for_one_origin() {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let all_sent = Arc::new(Notify::new());
    let gate = all_sent.clone();
    let origin = Http2Origin::scripted(move |socket| {
        let (builder, gate) = (builder.clone(), gate.clone());
        async move {
            // Its settings are late.
            gate.notified().await;
            let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else {
                return;
            };
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let head = Response::builder().body(()).unwrap();
                respond.send_response(head, false).unwrap();
                drop(request);
            }
        }
    });
    let proxy = Proxy::start(&format!(
        "workers: 1\n{}",
        yaml(
            &origin.address.to_string(),
            "http2, timeouts: { connect: 1m }",
            ""
        )
    ));
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let mut opening = Vec::new();
        for _ in 0..10 {
            while !client.send.is_extended_connect_protocol_enabled() {
                tokio::task::yield_now().await;
            }
            poll_fn(|context| client.send.poll_ready(context))
                .await
                .unwrap();
            opening.push(
                client
                    .send
                    .send_request(connect("websocket"), false)
                    .unwrap(),
            );
        }
        all_sent.notify_one();
        for (response, _out) in opening {
            assert_eq!(response.await.unwrap().status(), 200);
        }
    });
    assert_eq!(origin.connections(), 1);
}

/// It has none (RFC 9113 section 8.6), and a client of HTTP/1 would go by it.
#[test]
fn a_101_of_an_origin_over_http2_is_502() {
    let origin = Http2Origin::start(|_, mut respond| async move {
        let switch = Response::builder().status(101).body(()).unwrap();
        respond.send_informational(switch).ok();
        answer(&mut respond, 200, "hello");
    });
    let proxy = proxy_to(origin.address, "http2");
    assert_eq!(proxy.get("/").status, 502);
}

#[test]
fn a_stream_that_is_broken_off_ends_the_origins_connection_and_no_other_stream() {
    let origin = http1_echo("101 Switching Protocols");
    let proxy = proxy_to(origin.address, "http1");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let (response, mut out) = open(&mut client, connect("websocket")).await;
        let (other, mut other_out) = open(&mut client, connect("websocket")).await;
        drop(response);
        out.send_reset(h2::Reason::CANCEL);
        let mut other = other.into_body();
        send(&mut other_out, b"still here").await;
        assert_eq!(read(&mut other, 10).await, b"still here");
        within("one is left", || {
            let open = metric_sum(proxy.admin(), "lockgate_tunnels_active", "web");
            (open == 1.0).then_some(())
        });
        other_out.send_data(Bytes::new(), true).unwrap();
        ends(&mut other).await;
    });
}

/// Where it is not wanted, clients are not told that it is there.
#[test]
fn without_websocket_extended_connect_is_not_offered() {
    let origin = Origin::saying("a page");
    let more = ", upgrades: { protocols: [] }";
    let proxy = Proxy::start(&yaml(&origin.address.to_string(), "http1", more));
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        // Its settings were there before this.
        assert_eq!(client.get("/").await.text(), "a page");
        assert!(!client.send.is_extended_connect_protocol_enabled());
    });
}

#[test]
fn real_peers_talk_through_it() {
    if !python::has("websockets") {
        return;
    }
    let mut server = Peer::start("websocket.py", &["serve"]);
    let proxy = proxy_to(format!("127.0.0.1:{}", server.line()), "http1");
    python::run("websocket.py", &["talk", &proxy.address().to_string()]);
    assert_eq!(server.line(), "closed 4000");
}

#[test]
fn a_handshake_has_one_version() {
    let origin = Origin::saying("no");
    let proxy = proxy_to(origin.address, "http1");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        for (versions, wanted) in [
            (&[][..], 426),
            (&["8"], 426),
            (&["13, 8"], 400),
            (&["13", "13"], 400),
            (&["13", "8"], 400),
        ] {
            let mut request = connect("websocket");
            request.headers_mut().remove("sec-websocket-version");
            for version in versions {
                let version = http::HeaderValue::from_static(version);
                request
                    .headers_mut()
                    .append("sec-websocket-version", version);
            }
            let (answer, _) = open(&mut client, request).await;
            assert_eq!(answer.status(), wanted, "{versions:?}");
            let told = answer.headers().get("sec-websocket-version");
            let told = told.map(|told| told.to_str().unwrap());
            assert_eq!(told, (wanted == 426).then_some("13"), "{versions:?}");
        }
    });
    assert!(origin.seen_now().is_none());
}
