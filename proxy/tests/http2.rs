//! Clients that speak HTTP/2: their requests are exchanges like all others.

mod support;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use support::http2::{Http2, get, post, run, send};
use support::{Origin, Proxy, Seen, read_head, within};

fn proxy_to(origin: &Origin, more: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin{more} }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    ))
}

#[test]
fn a_request_goes_on_as_one_of_http1() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "");
    let answer = run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let request = get("/a/../b?c=d")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("te", "trailers")
            .header("x-one", "1");
        client.ask(request).await
    });
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "hello"));
    assert_eq!(answer.headers["content-length"], "5");
    assert_eq!(answer.headers["server"], "lockgate");
    assert!(answer.headers.contains_key("date"));
    assert!(!answer.headers.contains_key("connection"));
    let seen = origin.seen();
    assert_eq!(seen.line, "GET /b?c=d HTTP/1.1");
    assert_eq!(seen.header("host"), Some("test"));
    assert_eq!(seen.all("cookie"), ["a=1; b=2"]);
    assert_eq!(seen.header("x-one"), Some("1"));
    assert_eq!(seen.header("via"), Some("2.0 lockgate"));
    assert_eq!(seen.header("te"), None);
    assert_eq!(seen.header("transfer-encoding"), None);
}

#[test]
fn streams_do_not_wait_for_each_other() {
    let (origin, release) = Origin::holding("there");
    let proxy = proxy_to(&origin, "");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let (held, _) = client.open(get("/held"), true).await;
        let held = tokio::spawn(held);
        for _ in 0..20 {
            assert_eq!(client.get("/").await.text(), "there");
        }
        assert!(!held.is_finished());
        release.send(()).unwrap();
        assert_eq!(held.await.unwrap().unwrap().text(), "there");
    });
}

#[test]
fn bodies_and_trailers_stream_both_ways() {
    let origin = Origin::start(|seen| {
        let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for chunk in seen.body.chunks(7000) {
            answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            answer.extend_from_slice(chunk);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"0\r\nx-sum: 7\r\ncontent-length: 1\r\n\r\n");
        answer
    });
    let proxy = proxy_to(&origin, ", http2: { stream_window: 64KiB }");
    let sent: Vec<u8> = (0..300_000_u32).map(|at| at as u8).collect();
    let answer = run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let (answer, mut body) = client.open(post("/"), false).await;
        let answer = tokio::spawn(answer);
        send(&mut body, &sent).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-check", HeaderValue::from_static("9"));
        trailers.insert("authorization", HeaderValue::from_static("late"));
        body.send_trailers(trailers).unwrap();
        answer.await.unwrap().unwrap()
    });
    assert_eq!(answer.body, sent);
    let trailers = answer.trailers.unwrap();
    assert_eq!(trailers["x-sum"], "7");
    assert_eq!(trailers.len(), 1, "{trailers:?}");
    let seen = origin.seen();
    assert_eq!(seen.body, sent);
    assert_eq!(seen.header("transfer-encoding"), Some("chunked"));
    assert_eq!(seen.trailers, [("x-check".to_owned(), "9".to_owned())]);
}

#[test]
fn a_known_length_stays_known() {
    let origin = Origin::saying("");
    let proxy = proxy_to(&origin, "");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let (answer, mut body) = client
            .open(post("/").header("content-length", "5"), false)
            .await;
        body.send_data(Bytes::from_static(b"hello"), true).unwrap();
        assert_eq!(answer.await.unwrap().status, 200);
    });
    let seen = origin.seen();
    assert_eq!(seen.header("content-length"), Some("5"));
    assert_eq!(seen.body, b"hello");
}

/// Whose end comes by itself.
#[test]
fn a_body_of_nothing_is_waited_for() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let (answer, mut body) = client
            .open(post("/").header("content-length", "0"), false)
            .await;
        body.send_data(Bytes::new(), true).unwrap();
        assert_eq!(answer.await.unwrap().text(), "hello");
    });
    assert_eq!(origin.seen().header("content-length"), Some("0"));
}

#[test]
fn answers_without_a_body_have_none() {
    let origin = Origin::start(|seen| match &seen.line {
        line if line.starts_with("HEAD") => {
            b"HTTP/1.1 200 OK\r\ncontent-length: 77\r\n\r\n".to_vec()
        }
        line if line.contains("204") => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n".to_vec(),
    });
    let proxy = proxy_to(&origin, "");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let answer = client.ask(get("/").method("HEAD")).await;
        assert_eq!(answer.headers["content-length"], "77");
        assert_eq!(answer.body, b"");
        let answer = client.get("/204").await;
        assert_eq!(answer.status, 204);
        assert!(!answer.headers.contains_key("content-length"));
        let answer = client.get("/304").await;
        assert_eq!(answer.status, 304);
        assert_eq!(answer.headers["content-length"], "9");
    });
}

#[test]
fn a_stream_that_is_broken_off_ends_the_work_for_it() {
    let origin = Origin::scripted(|stream, seen| {
        let mut reader = std::io::BufReader::new(stream);
        while let Some(request) = read_head(&mut reader) {
            seen.send(request).unwrap();
        }
        seen.send(Seen::named("closed")).unwrap();
    });
    let proxy = proxy_to(&origin, "");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        // Before an answer, with its body sent and with more of it to come.
        for ends in [true, false] {
            let (answer, mut body) = client.open(post("/"), ends).await;
            let answer = tokio::spawn(answer);
            while origin.seen_now().is_none() {
                tokio::task::yield_now().await;
            }
            body.send_reset(h2::Reason::CANCEL);
            assert!(answer.await.unwrap().is_err());
            loop {
                match origin.seen_now() {
                    Some(seen) if seen.line == "closed" => break,
                    _ => tokio::task::yield_now().await,
                }
            }
        }
    });
}

#[test]
fn a_client_that_reads_nothing_holds_its_origin_up() {
    const WHOLE: usize = 64 << 20;
    let written = Arc::new(AtomicUsize::new(0));
    let counter = written.clone();
    let origin = Origin::scripted(move |mut stream, _| {
        read_head(&mut std::io::BufReader::new(stream.try_clone().unwrap())).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {WHOLE}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let piece = [7; 16 << 10];
        while counter.load(Ordering::Relaxed) < WHOLE && stream.write_all(&piece).is_ok() {
            counter.fetch_add(piece.len(), Ordering::Relaxed);
        }
    });
    let proxy = proxy_to(&origin, "");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let request = get("/").body(()).unwrap();
        let (response, _) = client.send.send_request(request, true).unwrap();
        let mut body = response.await.unwrap().into_body();
        // Without a word of room, the client is sent one window of 64 KiB. What the
        // origin can write beyond is what buffers of sockets hold.
        let mut before = usize::MAX;
        let mut still = 0;
        while still < 50 {
            let now = written.load(Ordering::Relaxed);
            still = if now == before { still + 1 } else { 0 };
            before = now;
            tokio::time::sleep(std::time::Duration::from_millis(4)).await;
        }
        assert!(before < WHOLE / 2, "{before} bytes were collected");
        let mut read = 0;
        while let Some(piece) = body.data().await {
            let piece = piece.unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
            read += piece.len();
        }
        assert_eq!(read, WHOLE);
    });
}

#[test]
fn interim_answers_pass_and_a_body_is_asked_for() {
    let origin = Origin::start(|_| {
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
            .to_vec()
    });
    let proxy = proxy_to(&origin, "");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let request = post("/").header("expect", "100-continue").body(()).unwrap();
        let (mut response, mut body) = client.send.send_request(request, false).unwrap();
        let mut interim = async || {
            std::future::poll_fn(|context| response.poll_informational(context))
                .await
                .unwrap()
                .unwrap()
        };
        assert_eq!(interim().await.status(), 100);
        body.send_data(Bytes::from_static(b"x"), true).unwrap();
        let hints = interim().await;
        assert_eq!(hints.status(), 103);
        assert_eq!(hints.headers()["link"], "</a>");
        assert_eq!(response.await.unwrap().status(), 200);
    });
    assert_eq!(origin.seen().body, b"x");
}

#[test]
fn an_answer_that_is_cut_off_is_a_broken_stream_and_its_connection_goes_on() {
    let origin = Origin::scripted(|mut stream, _| {
        read_head(&mut std::io::BufReader::new(stream.try_clone().unwrap())).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
            .unwrap();
    });
    let proxy = proxy_to(&origin, "");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        for _ in 0..2 {
            let (answer, _) = client.open(get("/"), true).await;
            let error = answer.await.unwrap_err();
            assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
        }
    });
}

#[test]
fn an_answer_may_come_before_the_body_has() {
    let origin = Origin::scripted(|mut stream, _| {
        read_head(&mut std::io::BufReader::new(stream.try_clone().unwrap())).unwrap();
        stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
            .unwrap();
    });
    let proxy = proxy_to(&origin, "");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let (answer, _body) = client.open(post("/"), false).await;
        let answer = answer.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text()), (403, "no"));
        assert_eq!(client.get("/").await.status, 403);
    });
}

#[test]
fn a_listener_speaks_what_it_is_told_to() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, ", protocols: [http2]");
    assert_eq!(proxy.get("/").status, 505);
    assert_eq!(
        run(async { Http2::connect(proxy.address()).await.get("/").await }).status,
        200
    );
    let proxy = proxy_to(&origin, ", protocols: [http1]");
    assert_eq!(proxy.get("/").status, 200);
    let answer = proxy
        .connect()
        .send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .answer();
    assert_eq!(answer.status, 505);
}

#[test]
fn the_preface_may_come_in_pieces() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "");
    let mut stream = std::net::TcpStream::connect(proxy.address()).unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
    let mut head = [0; 9];
    std::io::Read::read_exact(&mut stream, &mut head).unwrap();
    assert_eq!(head[3], support::http2::SETTINGS);
}

#[test]
fn filters_see_the_same_exchange() {
    let origin = Origin::saying("hello");
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', filters: [router, faults] }}]\n\
         filters:\n\
         \x20 router:\n    component: lockgate:router\n    config:\n      routes:\n\
         \x20     - {{ name: all, match: {{ path_prefix: /, headers: {{ x-beta: '1' }} }}, cluster: origin }}\n\
         \x20 faults:\n    component: lockgate:fault\n    config: {{ match: {{ path_prefix: /broken }}, abort: {{ status: 418, percent: 100 }} }}\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    ));
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let with = |path| get(path).header("x-beta", "1");
        assert_eq!(client.ask(with("/")).await.text(), "hello");
        assert_eq!(client.ask(with("/broken")).await.status, 418);
        assert_eq!(client.get("/").await.status, 404);
    });
}

#[test]
fn a_drain_tells_clients_to_go_and_lets_streams_finish() {
    let (origin, release) = Origin::holding("there");
    let proxy = proxy_to(&origin, "");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let (held, _) = client.open(get("/held"), true).await;
        let held = tokio::spawn(held);
        let proxy_stops = tokio::task::spawn_blocking(move || {
            origin.seen();
            let stopping = std::thread::spawn(move || proxy.stop());
            (origin, stopping)
        });
        let (_origin, stopping) = proxy_stops.await.unwrap();
        // GOAWAY makes the handle fail for new streams.
        while std::future::poll_fn(|context| client.send.poll_ready(context))
            .await
            .is_ok()
        {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        release.send(()).unwrap();
        assert_eq!(held.await.unwrap().unwrap().text(), "there");
        client.connection.await.unwrap().ok();
        tokio::task::spawn_blocking(|| stopping.join().unwrap())
            .await
            .unwrap();
    });
}

#[test]
fn a_connection_ends_after_its_requests_and_after_its_idle_time() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(
        &origin,
        ", limits: { max_requests: 3 }, timeouts: { idle: 50ms }",
    );
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        for _ in 0..3 {
            assert_eq!(client.get("/").await.status, 200);
        }
        client.connection.await.unwrap().unwrap();
        let mut client = Http2::connect(proxy.address()).await;
        assert_eq!(client.get("/").await.status, 200);
        client.connection.await.unwrap().unwrap();
    });
}

#[test]
fn a_listener_that_is_removed_tells_its_clients_to_go() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "");
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        assert_eq!(client.get("/").await.status, 200);
        proxy.edit(&support::whole(&format!(
            "listeners: [{{ name: other, address: '127.0.0.1:0', cluster: origin }}]\n\
             clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
            origin.address
        )));
        client.connection.await.unwrap().unwrap();
    });
    within("the new listener", || proxy.listener("other"));
}
