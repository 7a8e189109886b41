//! Origins that speak HTTP/2.

mod support;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use support::http2::{Http2, get, post, run};
use support::http2_origin::{Http2Origin, answer, read_body};
use support::{Proxy, within};
use tokio::sync::Semaphore;

fn proxy_to(origin: &Http2Origin, more: &str) -> Proxy {
    Proxy::start(&format!(
        "workers: 1\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'], protocol: http2{more} }}]\n",
        origin.address
    ))
}

#[test]
fn a_request_of_http1_goes_on_as_one_of_http2() {
    let seen = Arc::new(Mutex::new(None));
    let told = seen.clone();
    let origin = Http2Origin::start(move |request, mut respond| {
        *told.lock().unwrap() = Some(request.into_parts().0);
        async move { answer(&mut respond, 200, "hello") }
    });
    let proxy = proxy_to(&origin, "");
    let got = proxy.ask("/a?b", &[("x-one", "1"), ("te", "deflate")]);
    assert_eq!((got.status, got.text().as_str()), (200, "hello"));
    assert_eq!(got.header("via"), Some("2.0 lockgate"));
    assert_eq!(got.header("transfer-encoding"), Some("chunked"));
    let seen = seen.lock().unwrap().take().unwrap();
    assert_eq!(seen.uri.to_string(), "http://test/a?b");
    assert_eq!(seen.headers["x-one"], "1");
    assert_eq!(seen.headers["te"], "trailers");
    for absent in ["host", "connection", "transfer-encoding", "content-length"] {
        assert!(!seen.headers.contains_key(absent), "{absent}");
    }
}

#[test]
fn bodies_and_trailers_pass_from_one_http2_to_the_other() {
    let origin = Http2Origin::start(|request, mut respond| async move {
        let (body, trailers) = read_body(request.into_body()).await.unwrap();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        for piece in body.chunks(10_000) {
            let mut piece = Bytes::copy_from_slice(piece);
            while !piece.is_empty() {
                stream.reserve_capacity(piece.len());
                let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
                let room = room.unwrap().unwrap().min(piece.len());
                stream.send_data(piece.split_to(room), false).unwrap();
            }
        }
        stream.send_trailers(trailers.unwrap()).unwrap();
    });
    let proxy = proxy_to(&origin, "");
    let sent: Vec<u8> = (0..500_000_u32).map(|at| at as u8).collect();
    let got = run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let (answer, mut body) = client.open(post("/"), false).await;
        let answer = tokio::spawn(answer);
        for piece in sent.chunks(50_000) {
            support::http2::send(&mut body, piece).await;
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-check", HeaderValue::from_static("9"));
        body.send_trailers(trailers).unwrap();
        answer.await.unwrap().unwrap()
    });
    assert_eq!(got.body, sent);
    assert_eq!(got.trailers.unwrap()["x-check"], "9");
    assert!(!got.headers.contains_key("content-length"));
}

#[test]
fn bodies_of_http1_are_sent_as_long_as_they_are() {
    let origin = Http2Origin::start(|request, mut respond| async move {
        let length = request.headers().get("content-length").cloned();
        let (body, trailers) = read_body(request.into_body()).await.unwrap();
        let text = format!("{length:?} {} {trailers:?}", body.len());
        answer(&mut respond, 200, &text);
    });
    let proxy = proxy_to(&origin, "");
    let mut client = proxy.connect();
    let head = "POST / HTTP/1.1\r\nhost: a\r\n";
    client.send(format!("{head}content-length: 5\r\n\r\nhello"));
    assert_eq!(client.answer().text(), "Some(\"5\") 5 None");
    client.send(format!(
        "{head}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-a: 1\r\n\r\n"
    ));
    assert_eq!(client.answer().text(), "None 5 Some({\"x-a\": \"1\"})");
    client.send(format!("{head}content-length: 0\r\n\r\n"));
    assert_eq!(client.answer().text(), "Some(\"0\") 0 None");
}

/// Requests that are under way at once share connections, as many as the origin lets
/// them, and no more are made.
#[test]
fn requests_share_connections() {
    let gate = Arc::new(Semaphore::new(0));
    let at_work = Arc::new(AtomicUsize::new(0));
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(10);
    let (held, working) = (gate.clone(), at_work.clone());
    let origin = Http2Origin::with(builder, move |_, mut respond| {
        let (held, working) = (held.clone(), working.clone());
        async move {
            working.fetch_add(1, Ordering::Relaxed);
            drop(held.acquire().await);
            answer(&mut respond, 200, "hello");
        }
    });
    let proxy = proxy_to(&origin, "");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        // So that the origin's settings are known.
        gate.add_permits(1);
        assert_eq!(client.get("/").await.status, 200);
        gate.forget_permits(1);
        let mut answers = Vec::new();
        for _ in 0..30 {
            let (answer, _) = client.open(get("/"), true).await;
            answers.push(tokio::spawn(answer));
        }
        while at_work.load(Ordering::Relaxed) < 31 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        gate.add_permits(30);
        for answer in answers {
            assert_eq!(answer.await.unwrap().unwrap().text(), "hello");
        }
    });
    assert_eq!(origin.connections(), 3);
}

/// Requests that come together before the origin has said how many streams it allows: none
/// is refused, and none gets a connection that it does not need.
#[test]
fn requests_on_a_new_connection_wait_for_what_its_origin_allows() {
    for (allowed, connections) in [(Some(4), 3), (Some(1), 12), (None, 1)] {
        let (gate, at_work) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut builder = h2::server::Builder::new();
        if let Some(allowed) = allowed {
            builder.max_concurrent_streams(allowed);
        }
        let (held, working) = (gate.clone(), at_work.clone());
        let origin = Http2Origin::with(builder, move |_, mut respond| {
            let (held, working) = (held.clone(), working.clone());
            async move {
                working.fetch_add(1, Ordering::Relaxed);
                drop(held.acquire().await);
                answer(&mut respond, 200, "hello");
            }
        });
        let proxy = proxy_to(&origin, "");
        run(async {
            let mut client = Http2::connect(proxy.address()).await;
            let mut answers = Vec::new();
            for _ in 0..12 {
                let (answer, _) = client.open(post("/"), true).await;
                answers.push(tokio::spawn(answer));
            }
            // Whoever was refused is answered before.
            while at_work.load(Ordering::Relaxed) < 12 && !answers.iter().any(|a| a.is_finished()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            gate.add_permits(12);
            for answer in answers {
                assert_eq!(answer.await.unwrap().unwrap().status, 200, "{allowed:?}");
            }
        });
        assert_eq!(origin.connections(), connections, "{allowed:?}");
    }
}

#[test]
fn a_client_that_leaves_ends_the_stream_and_not_the_connection() {
    let (told, resets) = std::sync::mpsc::channel();
    let origin = Http2Origin::start(move |request, mut respond| {
        let told = told.clone();
        async move {
            if request.uri().path() == "/held" {
                let reason = std::future::poll_fn(|context| respond.poll_reset(context)).await;
                told.send(reason.unwrap()).unwrap();
                return;
            }
            answer(&mut respond, 200, "hello");
        }
    });
    let proxy = proxy_to(&origin, "");
    let mut client = proxy.connect();
    client.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(proxy.get("/").status, 200);
    drop(client);
    let reason = resets.recv_timeout(support::LIMIT).unwrap();
    assert_eq!(reason, h2::Reason::CANCEL);
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn what_an_origin_has_not_looked_at_is_sent_again() {
    let count = Arc::new(AtomicUsize::new(0));
    let origin = Http2Origin::start(move |_, mut respond| {
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            match first {
                true => respond.send_reset(h2::Reason::REFUSED_STREAM),
                false => answer(&mut respond, 200, "hello"),
            }
        }
    });
    let proxy = proxy_to(&origin, "");
    // Also of a method that may not be repeated: nobody has looked at it.
    let mut client = proxy.connect();
    client.send("GET /warm HTTP/1.1\r\nhost: a\r\n\r\n");
    let warm = client.answer();
    assert!(matches!(warm.status, 200 | 502), "{}", warm.status);
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn an_origin_that_refuses_all_streams_gets_no_more_connections() {
    let origin = Http2Origin::start(|_, mut respond| async move {
        respond.send_reset(h2::Reason::REFUSED_STREAM);
    });
    let proxy = proxy_to(&origin, "");
    let mut client = proxy.connect();
    for _ in 0..20 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.answer().status, 502);
    }
    assert_eq!(origin.connections(), 1);
}

/// GOAWAY: what is under way ends well, what comes goes to a new connection.
#[test]
fn an_origin_that_drains_loses_nothing() {
    let origin = Http2Origin::scripted(|socket| async move {
        let Ok(mut connection) = h2::server::handshake(socket).await else {
            return;
        };
        let mut served = 0;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            served += 1;
            if served == 5 {
                connection.graceful_shutdown();
            }
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                answer(&mut respond, 200, "hello");
            });
        }
    });
    let proxy = proxy_to(&origin, "");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        for _ in 0..100 {
            assert_eq!(client.get("/").await.status, 200);
        }
    });
    assert!(origin.connections() > 5, "{}", origin.connections());
}

#[test]
fn an_origin_that_dies_is_connected_to_again() {
    let origin = Http2Origin::scripted(|socket| async move {
        let Ok(mut connection) = h2::server::handshake(socket).await else {
            return;
        };
        // One answer, then gone in the middle of the next request.
        if let Some(Ok((_, mut respond))) = connection.accept().await {
            answer(&mut respond, 200, "hello");
            connection.accept().await;
        }
    });
    let proxy = proxy_to(&origin, "");
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status, 200);
    }
}

#[test]
fn answers_that_break_rules_are_502_and_cost_no_other_stream() {
    let origin = Http2Origin::start(|request, mut respond| async move {
        match request.uri().path() {
            "/length" => {
                let head = Response::builder().header("content-length", "+5").body(());
                respond.send_response(head.unwrap(), false).unwrap();
            }
            "/short" => {
                let head = Response::builder().header("content-length", "5").body(());
                let mut body = respond.send_response(head.unwrap(), false).unwrap();
                body.send_data(Bytes::from_static(b"no"), true).unwrap();
            }
            "/reset" => respond.send_reset(h2::Reason::INTERNAL_ERROR),
            "/name" => respond_with(&mut respond, "x\"y", "1"),
            "/blank" => respond_with(&mut respond, "x", "1 "),
            "/tab" => respond_with(&mut respond, "x", "\t1"),
            "/message" => respond_with(&mut respond, "grpc-message", "not there "),
            "/trailers" => {
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                let mut trailers = HeaderMap::new();
                trailers.insert(name("x\"y"), HeaderValue::from_static("1"));
                body.send_trailers(trailers).unwrap();
            }
            _ => answer(&mut respond, 200, "hello"),
        }
    });
    let proxy = proxy_to(&origin, "");
    assert_eq!(proxy.get("/length").status, 502);
    assert_eq!(proxy.get("/reset").status, 502);
    for path in ["/name", "/blank", "/tab"] {
        assert_eq!(proxy.get(path).status, 502, "{path}");
    }
    // That of gRPC may have blanks anywhere.
    let answer = proxy.get("/message");
    assert_eq!(answer.header("grpc-message"), Some("not there"));
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        for path in ["/short", "/trailers"] {
            let (cut_off, _) = client.open(get(path), true).await;
            assert!(cut_off.await.is_err(), "{path}");
        }
        assert_eq!(client.get("/").await.status, 200);
    });
    assert_eq!(origin.connections(), 1);
}

/// As the codec reads it: there are names of HTTP/2 in no other.
fn name(name: &'static str) -> HeaderName {
    HeaderName::from_lowercase(name.as_bytes()).unwrap()
}

fn respond_with(respond: &mut SendResponse<Bytes>, field: &'static str, value: &'static str) {
    let mut head = Response::new(());
    let value = HeaderValue::from_static(value);
    head.headers_mut().insert(name(field), value);
    respond.send_response(head, true).unwrap();
}

#[test]
fn an_origin_that_is_silent_is_given_up_in_time() {
    let origin = Http2Origin::start(|request, mut respond| async move {
        if request.uri().path() == "/body" {
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"begun"), false).unwrap();
            std::future::pending::<()>().await;
        }
        let _kept = respond;
        std::future::pending().await
    });
    let proxy = proxy_to(&origin, ", timeouts: { answer: 100ms, idle: 100ms }");
    assert_eq!(proxy.get("/").status, 504);
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let (cut_off, _) = client.open(get("/body"), true).await;
        assert!(cut_off.await.is_err());
    });
}

/// A connection on which nothing comes back any more, as after a lost route.
#[test]
fn an_origin_that_does_not_answer_pings_is_let_go() {
    let origin = Http2Origin::scripted(|mut socket| async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        // Empty settings and their acknowledgement, and never a word more.
        socket
            .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        socket
            .write_all(&[0, 0, 0, 4, 1, 0, 0, 0, 0])
            .await
            .unwrap();
        let mut sink = vec![0; 4096];
        while socket.read(&mut sink).await.is_ok_and(|count| count > 0) {}
    });
    let proxy = proxy_to(
        &origin,
        ", http2: { ping_every: 100ms, ping_timeout: 100ms }",
    );
    // A POST is not sent again.
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(client.answer().status, 502);
}

#[test]
fn idle_connections_are_closed() {
    let (told, closed) = std::sync::mpsc::channel();
    let origin = Http2Origin::scripted(move |socket| {
        let told = told.clone();
        async move {
            let Ok(mut connection) = h2::server::handshake(socket).await else {
                return;
            };
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                answer(&mut respond, 200, "hello");
            }
            told.send(()).unwrap();
        }
    });
    let proxy = proxy_to(&origin, ", pool: { idle_timeout: 100ms }");
    assert_eq!(proxy.get("/").status, 200);
    closed.recv_timeout(support::LIMIT).unwrap();
    assert_eq!(proxy.get("/").status, 200);
    within("a second connection", || {
        (origin.connections() == 2).then_some(())
    });
}
