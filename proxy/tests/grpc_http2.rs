//! Calls of gRPC where what counts is heads and time, by a client of HTTP/2 alone.

mod support;

use support::http2::{Http2, post, run};
use support::{Origin, Proxy};

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
