//! Calls of gRPC where what counts is heads and time, by a client of HTTP/2 alone.

mod support;

use bytes::Bytes;
use http::Response;
use support::admin::metric_sum;
use support::http2::{Http2, get, post, run};
use support::http2_origin::Http2Origin;
use support::{Origin, Proxy, within};

/// What is refused before anybody looks further at it is a call all the same.
#[test]
fn a_refused_head_is_answered_in_grpcs_words() {
    let origin = Origin::saying("hello");
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin,\n\
         \x20 limits: {{ max_headers: 10, max_target_bytes: 100 }} }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    ));
    let call = |path: &str| post(path).header("content-type", "application/grpc+proto");
    let many = (0..20).fold(call("/a.B/C"), |call, at| {
        call.header(format!("x-{at}"), "1")
    });
    let long = call(&format!("/{}", "x".repeat(200)));
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        for (request, status) in [
            (many, "13"),
            (long, "2"),
            (call("/%00"), "13"),
            (call("/").header("host", "other"), "13"),
            (
                call("/")
                    .header("content-length", "0")
                    .header("content-length", "0"),
                "13",
            ),
            (call("/").header("expect", "wonders"), "2"),
        ] {
            let shown = format!("{request:?}");
            let answer = client.ask(request).await;
            assert_eq!(answer.status, 200, "{shown}");
            assert_eq!(answer.headers["grpc-status"], status, "{shown}");
            assert_eq!(answer.headers["content-type"], "application/grpc");
            assert!(answer.headers.contains_key("grpc-message"), "{shown}");
            assert!(answer.headers.contains_key("proxy-status"), "{shown}");
            assert_eq!(answer.text(), "", "{shown}");
        }
        // Not to others.
        assert_eq!(client.get("/%00").await.status, 400);
    });
    assert_eq!(origin.seen_now(), None);
}

/// `timeouts.body` is for answers too, and not for calls: one that its client does not read
/// for so long goes on, while another answer on the same connection is cut off.
#[test]
fn a_call_may_be_read_as_slowly_as_its_client_likes() {
    const LENGTH: usize = 300_000;
    let origin = Http2Origin::start(|_, mut respond| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        let mut body = Bytes::from(vec![b'x'; LENGTH]);
        while !body.is_empty() {
            stream.reserve_capacity(body.len());
            let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
            let Some(Ok(room)) = room else { return };
            let piece = body.split_to(room.min(body.len()));
            stream.send_data(piece, body.is_empty()).unwrap();
        }
    });
    let proxy = Proxy::start(&format!(
        "workers: 1\nadmin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin,\n\
         \x20 timeouts: {{ body: 200ms }} }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'], protocol: http2 }}]\n",
        origin.address
    ));
    let admin = proxy.admin();
    let stalled = move || {
        let error = "error=\"client_stalled\"";
        metric_sum(admin, "lockgate_request_errors_total", error)
    };
    run(async {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1000);
        let mut client = Http2::with(&mut builder, proxy.address()).await;
        let call = post("/").header("content-type", "application/grpc");
        // What is not polled is not read.
        let (call, _) = client.open(call, true).await;
        let (other, _) = client.open(get("/"), true).await;
        tokio::task::spawn_blocking(move || {
            within("the other is cut off", || (stalled() >= 1.0).then_some(()));
        })
        .await
        .unwrap();
        assert!(other.await.is_err());
        assert_eq!(call.await.unwrap().body.len(), LENGTH);
    });
}
