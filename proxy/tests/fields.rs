//! Fields that end at this hop, and those that it adds, checks or replaces.

mod support;

use support::{Origin, Proxy, Seen};

/// A proxy whose listener has `more` keys.
fn proxy_to(origin: &Origin, more: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin{more} }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    ))
}

/// What the origin sees of a request with these fields.
fn passed_on(more: &str, fields: &[(&str, &str)]) -> Seen {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin, more);
    assert_eq!(proxy.ask("/", fields).status, 200);
    origin.seen()
}

const TRUSTING: &str = ", headers: { trusted_hops: ['127.0.0.0/8'] }";

#[test]
fn fields_of_one_hop_are_removed_from_a_request() {
    let seen = passed_on(
        "",
        &[
            ("connection", "keep-alive, X-Named, upgrade"),
            ("x-named", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("x-kept", "1"),
        ],
    );
    for gone in [
        "connection",
        "x-named",
        "keep-alive",
        "proxy-connection",
        "te",
        "upgrade",
    ] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_eq!(seen.header("x-kept"), Some("1"));
}

/// Else a client could hide from the origin what a filter goes by.
#[test]
fn connection_cannot_name_away_what_is_meant_for_the_origin() {
    let seen = passed_on(
        "",
        &[
            ("connection", "x-forwarded-for, authorization, cookie, host"),
            ("authorization", "Basic eA=="),
            ("cookie", "a=b"),
        ],
    );
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("authorization"), Some("Basic eA=="));
    assert_eq!(seen.header("cookie"), Some("a=b"));
    assert_eq!(seen.header("host"), Some("test"));
}

#[test]
fn fields_of_one_hop_are_removed_from_an_answer() {
    let origin = Origin::start(|_| {
        b"HTTP/1.1 200 OK\r\nconnection: keep-alive, x-named\r\nx-named: 1\r\n\
          keep-alive: timeout=5\r\nupgrade: h2c\r\nx-kept: 1\r\ncontent-length: 2\r\n\r\nok"
            .to_vec()
    });
    let answer = proxy_to(&origin, "").get("/");
    for gone in ["connection", "x-named", "keep-alive", "upgrade"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
    assert_eq!(answer.header("x-kept"), Some("1"));
}

#[test]
fn fields_that_only_filters_may_set_are_removed_from_heads_and_trailers() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin, ", remove_request_headers: [x-user, X-Role]");
    let mut client = proxy.connect();
    client.send(
        "POST / HTTP/1.1\r\nhost: a\r\nX-User: root\r\nx-user: root\r\nx-role: admin\r\nX_Role: admin\r\nx-kept: 1\r\nx_kept: 2\r\n\
         transfer-encoding: chunked\r\ntrailer: x-user, x-sum\r\n\r\n\
         2\r\nok\r\n0\r\nx-user: root\r\nx_user: root\r\nx-sum: 1\r\n\r\n",
    );
    assert_eq!(client.answer().status, 200);
    let seen = origin.seen();
    assert_eq!((seen.header("x-user"), seen.header("x-role")), (None, None));
    assert_eq!(
        seen.header("x_role"),
        None,
        "CGI would take it for the other"
    );
    assert_eq!(seen.header("x-kept"), Some("1"));
    assert_eq!(seen.header("x_kept"), Some("2"));
    assert_eq!(seen.trailers, [("x-sum".to_owned(), "1".to_owned())]);
}

#[test]
fn what_a_stranger_says_about_forwarding_is_replaced() {
    let seen = passed_on(
        "",
        &[
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
            ("forwarded", "for=6.6.6.6"),
        ],
    );
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.all("x-forwarded-host"), ["test"]);
    assert_eq!(seen.header("forwarded"), None);
}

#[test]
fn what_a_trusted_hop_says_about_forwarding_is_added_to() {
    let seen = passed_on(
        TRUSTING,
        &[
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
        ],
    );
    assert_eq!(seen.all("x-forwarded-for"), ["192.0.2.1, 127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.all("x-forwarded-host"), ["shop.example"]);
}

#[test]
fn forwarding_is_told_in_the_style_that_is_configured() {
    let element = "for=127.0.0.1;host=\"test\";proto=http";
    let seen = passed_on(
        ", headers: { forwarded: forwarded }",
        &[("x-forwarded-for", "6.6.6.6")],
    );
    assert_eq!(seen.all("forwarded"), [element]);
    assert_eq!(seen.header("x-forwarded-for"), None);
    let seen = passed_on(", headers: { forwarded: both }", &[]);
    assert_eq!(seen.all("forwarded"), [element]);
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    let seen = passed_on(
        ", headers: { forwarded: none }",
        &[("forwarded", "for=6.6.6.6")],
    );
    assert_eq!(seen.header("forwarded"), None);
    assert_eq!(seen.header("x-forwarded-for"), None);
    let trusting = ", headers: { forwarded: forwarded, trusted_hops: ['127.0.0.1'] }";
    let seen = passed_on(trusting, &[("forwarded", "for=192.0.2.1")]);
    assert_eq!(seen.all("forwarded"), [format!("for=192.0.2.1, {element}")]);
}

#[test]
fn a_request_id_is_made_told_and_believed_of_trusted_hops_only() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin, "");
    let answer = proxy.ask("/", &[("x-request-id", "forged")]);
    let id = origin.seen().header("x-request-id").unwrap().to_owned();
    assert_eq!(
        (id.len(), answer.header("x-request-id")),
        (32, Some(id.as_str()))
    );
    assert_ne!(proxy.get("/").header("x-request-id"), Some(id.as_str()));

    let trusting = ", headers: { request_id: x-id, trusted_hops: ['127.0.0.1'] }";
    let proxy = proxy_to(&origin, trusting);
    origin.seen();
    let answer = proxy.ask("/", &[("x-id", "given-1")]);
    assert_eq!(answer.header("x-id"), Some("given-1"));
    assert_eq!(origin.seen().header("x-id"), Some("given-1"));
    let answer = proxy.ask("/", &[("x-id", "not a good id")]);
    assert_eq!(answer.header("x-id").map(str::len), Some(32));
}

#[test]
fn a_trace_is_gone_on_with_or_started() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let seen = passed_on("", &[("traceparent", PARENT), ("tracestate", "a=1")]);
    let parent = seen.header("traceparent").unwrap();
    assert_eq!(parent[..36], PARENT[..36], "the same trace");
    assert_ne!(
        parent[36..52],
        PARENT[36..52],
        "of which this hop is the parent"
    );
    assert_eq!(parent[52..], PARENT[52..]);
    assert_eq!(seen.header("tracestate"), Some("a=1"));

    for broken in [&PARENT[1..], "00-0-0-0", ""] {
        let seen = passed_on("", &[("traceparent", broken), ("tracestate", "a=1")]);
        let parent = seen.header("traceparent").unwrap();
        assert_eq!(parent.len(), 55, "{parent}");
        assert!(!parent.contains("4bf92f3577b34da6"), "{parent}");
        assert_eq!(seen.header("tracestate"), None);
    }
}

#[test]
fn via_server_and_date_are_as_configured() {
    let origin = Origin::start(|_| {
        b"HTTP/1.1 200 OK\r\nserver: theirs\r\nvia: 1.1 inner\r\n\
          date: Tue, 15 Nov 1994 08:12:31 GMT\r\ncontent-length: 2\r\n\r\nok"
            .to_vec()
    });
    let vias = |answer: &support::Answer| {
        let lines = answer.headers.iter().filter(|(name, _)| name == "via");
        lines.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let answer = proxy_to(&origin, "").get("/");
    assert_eq!(answer.header("server"), Some("lockgate"));
    assert_eq!(answer.header("date"), Some("Tue, 15 Nov 1994 08:12:31 GMT"));
    assert_eq!(vias(&answer), ["1.1 inner", "1.1 lockgate"]);
    assert_eq!(origin.seen().all("via"), ["1.1 lockgate"]);

    let proxy = proxy_to(&origin, ", headers: { server: pass, via: edge-7 }");
    let answer = proxy.ask("/", &[("via", "1.0 outer")]);
    assert_eq!(answer.header("server"), Some("theirs"));
    assert_eq!(vias(&answer), ["1.1 inner", "1.1 edge-7"]);
    assert_eq!(origin.seen().all("via"), ["1.0 outer", "1.1 edge-7"]);

    let answer = proxy_to(&origin, ", headers: { server: gate, via: 'off' }").get("/");
    assert_eq!(answer.header("server"), Some("gate"));
    assert_eq!(vias(&answer), ["1.1 inner"]);
    assert_eq!(origin.seen().header("via"), None);
}

#[test]
fn a_client_of_http_1_0_is_named_so_in_via() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&origin, "");
    let answer = proxy
        .connect()
        .send("GET / HTTP/1.0\r\nhost: a\r\n\r\n")
        .answer();
    assert_eq!(answer.status, 200);
    assert_eq!(origin.seen().all("via"), ["1.0 lockgate"]);
}

#[test]
fn a_listener_without_a_cluster_answers_404() {
    let proxy = Proxy::start("listeners: [{ name: web, address: '127.0.0.1:0' }]\n");
    let mut client = proxy.connect();
    for _ in 0..2 {
        let answer = client.send("GET /x HTTP/1.1\r\nhost: a\r\n\r\n").answer();
        assert_eq!(answer.status, 404);
        assert_eq!(answer.header("server"), Some("lockgate"));
        assert!(answer.header("date").is_some());
        assert!(
            answer
                .header("proxy-status")
                .unwrap()
                .contains("destination_not_found")
        );
        assert_eq!(answer.header("connection"), None, "nobody is to blame");
    }
    // The length that a GET would have had, and no body.
    let answer = client
        .send("HEAD /x HTTP/1.1\r\nhost: a\r\n\r\n")
        .answer_to_head();
    assert_ne!(answer.header("content-length"), Some("0"));
    assert_eq!(
        client
            .send("GET /x HTTP/1.1\r\nhost: a\r\n\r\n")
            .answer()
            .status,
        404
    );
}
