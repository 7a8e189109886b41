//! What HTTP/2 must refuse, and what clients flood servers with: it costs them their
//! stream or their connection, and nobody else anything.

mod support;

use support::admin::{ask_unix, metric_sum};
use support::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, RawFrame,
    RawHttp2, SETTINGS, WINDOW_UPDATE, get, literals, run,
};
use support::{Origin, Process, Proxy, Seen, read_head, within};

const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

const PRIORITY: u8 = 2;
const UNKNOWN: u8 = 0xbb;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

const HEAD: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "test"),
    (":path", "/"),
];

fn proxy_to(origin: &Origin, more: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin{more} }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    ))
}

/// How a request ended whose head was sent as it is.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// Answered with a head; its status is Huffman-coded, so only that is known.
    Answered,
    Reset(u32),
    Closed(Option<u32>),
}

fn outcome(client: &mut RawHttp2) -> Ended {
    match client.read_one_of(&[HEADERS, RST_STREAM, GOAWAY]) {
        Some(frame) if frame.kind == HEADERS => Ended::Answered,
        Some(frame) if frame.kind == RST_STREAM => Ended::Reset(frame.code()),
        Some(frame) => Ended::Closed(Some(frame.code())),
        None => Ended::Closed(None),
    }
}

/// After each of these another stream of the same connection is served.
#[test]
fn malformed_heads_cost_their_stream() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "");
    let with = |more: &[(&'static str, &'static str)]| [&HEAD[..], more].concat();
    let without = |name: &str| -> Vec<_> {
        HEAD.iter()
            .filter(|(known, _)| *known != name)
            .copied()
            .collect()
    };
    let mut client = RawHttp2::connect(proxy.address());
    let mut stream = 1;
    for fields in [
        with(&[("connection", "close")]),
        with(&[("keep-alive", "1")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("upgrade", "websocket")]),
        with(&[("te", "gzip")]),
        with(&[(":path", "/again")]),
        with(&[(":status", "200")]),
        with(&[("x", "1"), (":method", "GET")]),
        with(&[("content-length", "5")]),
        without(":method"),
        without(":scheme"),
        without(":path"),
    ] {
        client.head(stream, END_STREAM, &fields);
        assert_eq!(
            outcome(&mut client),
            Ended::Reset(PROTOCOL_ERROR),
            "{fields:?}"
        );
        stream += 2;
        client.head(stream, END_STREAM, &HEAD);
        assert_eq!(outcome(&mut client), Ended::Answered);
        origin.seen();
        stream += 2;
    }
    assert_eq!(origin.seen_now(), None, "a malformed request went on");
}

/// These break the encoding, which is of the connection.
#[test]
fn malformed_fields_cost_their_connection() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "");
    for field in [
        ("X-Upper", "1"),
        ("a b", "1"),
        ("x", "1\r\ny: 2"),
        ("x", "a\0b"),
        ("", "1"),
    ] {
        let mut client = RawHttp2::connect(proxy.address());
        client.head(1, END_STREAM, &[&HEAD[..], &[field]].concat());
        let ended = outcome(&mut client);
        let is_refused = matches!(ended, Ended::Reset(_) | Ended::Closed(_));
        assert!(is_refused, "{field:?}: {ended:?}");
    }
    assert_eq!(origin.seen_now(), None, "a malformed request went on");
}

/// The codec takes these, as no codec of HTTP/1 would.
#[test]
fn malformed_heads_that_the_codec_takes_are_answered_400() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "");
    let mut client = RawHttp2::connect(proxy.address());
    let with = |more: (&'static str, &'static str)| [&HEAD[..], &[more]].concat();
    let mut no_scheme = HEAD.to_vec();
    no_scheme[1].1 = "";
    for (number, fields) in [
        with(("x\"y", "1")),
        with(("\"", "1")),
        with(("x", "1 ")),
        no_scheme,
    ]
    .into_iter()
    .enumerate()
    {
        client.head(2 * number as u32 + 1, END_STREAM, &fields);
        let answer = client.read_one_of(&[HEADERS, RST_STREAM, GOAWAY]).unwrap();
        // `:status: 400` in the static table of RFC 7541.
        const STATUS_400: u8 = 0x80 | 12;
        assert_eq!((answer.kind, answer.payload[0]), (HEADERS, STATUS_400));
    }
    assert_eq!(origin.seen_now(), None, "a malformed request went on");
}

#[test]
fn malformed_trailers_end_their_request() {
    let origin = Origin::scripted(|stream, seen| {
        // A whole request is reported, a cut-off one is not.
        if let Some(request) = support::read_request(&mut std::io::BufReader::new(stream)) {
            seen.send(request).unwrap();
        }
    });
    let proxy = with_admin(&origin, "");
    let post = [&[(":method", "POST")], &HEAD[1..]].concat();
    for (number, field) in [("x\"y", "1"), ("x", " 1")].into_iter().enumerate() {
        let mut client = RawHttp2::connect(proxy.address());
        client.head(1, 0, &post);
        client.head(1, END_STREAM, &[field]);
        within("it is refused", || {
            (failed(&proxy, "bad_body") == number as f64 + 1.0).then_some(())
        });
    }
    assert_eq!(origin.seen_now(), None);
}

/// What is well-formed HTTP/2 and no good request is answered with 400.
#[test]
fn what_http1_refuses_is_answered_400() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "");
    run(async {
        let mut client = support::http2::Http2::connect(proxy.address()).await;
        for request in [
            get("/").header("host", "other"),
            get("/%00"),
            get("/a%2fb"),
            get("/")
                .header("content-length", "0")
                .header("content-length", "0"),
            get("/").method("OPTIONS").uri("http://user@test/"),
        ] {
            let shown = format!("{request:?}");
            let answer = client.ask(request).await;
            assert_eq!(answer.status, 400, "{shown}");
            assert!(answer.headers.contains_key("proxy-status"));
        }
        assert_eq!(client.get("/").await.status, 200);
    });
    assert_eq!(origin.seen().line, "GET / HTTP/1.1");
    assert_eq!(origin.seen_now(), None);
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_is_no_request() {
    let origin = Origin::scripted(|stream, seen| {
        // A whole request is reported, a cut-off one is not.
        if let Some(request) = support::read_request(&mut std::io::BufReader::new(stream)) {
            seen.send(request).unwrap();
        }
    });
    let proxy = proxy_to(&origin, "");
    for (length, sent) in [("5", &b"1234"[..]), ("5", b"123456"), ("0", b"1")] {
        let mut client = RawHttp2::connect(proxy.address());
        let fields = [
            &HEAD[1..],
            &[(":method", "POST"), ("content-length", length)][..],
        ];
        let mut fields = fields.concat();
        fields.rotate_right(2);
        fields.sort_by_key(|(name, _)| !name.starts_with(':'));
        client.head(1, 0, &fields);
        client.send(&RawFrame::new(DATA, END_STREAM, 1, sent));
        assert_eq!(outcome(&mut client), Ended::Reset(PROTOCOL_ERROR));
    }
    assert_eq!(origin.seen_now(), None);
}

#[test]
fn streams_that_are_opened_to_be_broken_off_cost_the_connection() {
    let origin = Origin::saying("hello");
    let proxy = with_admin(&origin, ", http2: { max_resets: 50 }");
    let mut other = proxy.connect();
    let mut client = RawHttp2::connect(proxy.address());
    for number in 0..20_000 {
        let stream = 2 * number + 1;
        client.head(stream, END_STREAM, &HEAD);
        let reset = RawFrame::new(RST_STREAM, 0, stream, 8_u32.to_be_bytes());
        if !client.send(&reset) {
            break;
        }
    }
    let last = client.read_one_of(&[GOAWAY]).expect("it is told");
    assert_eq!(last.code(), ENHANCE_YOUR_CALM);
    // The codec has a limit of its own on those that nobody has looked at yet.
    assert_eq!(ended(&proxy, "resets") + ended(&proxy, "protocol"), 1.0);
    assert_eq!(other.send(GET).answer().status, 200);
}

/// The origin does not hear of it before it is known that nothing follows.
#[test]
fn bytes_of_a_body_that_has_none_make_it_no_request() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "");
    let mut client = RawHttp2::connect(proxy.address());
    let post = [
        &[(":method", "POST")],
        &HEAD[1..],
        &[("content-length", "0")],
    ]
    .concat();
    client.head(1, 0, &post);
    client.head(3, END_STREAM, &HEAD);
    assert_eq!(outcome(&mut client), Ended::Answered);
    assert_eq!(origin.seen().line, "GET / HTTP/1.1");
    client.send(&RawFrame::new(DATA, END_STREAM, 1, [b'x']));
    let reset = client.read_one_of(&[RST_STREAM, GOAWAY]).unwrap();
    assert_eq!((reset.stream, reset.code()), (1, PROTOCOL_ERROR));
    assert_eq!(origin.seen_now(), None);
}

/// Many that are broken off before anybody could look at them: what is under way goes on.
#[test]
fn streams_that_are_broken_off_at_once_cost_no_others() {
    let (origin, release) = Origin::holding("there");
    let proxy = with_admin(&origin, "");
    let mut client = RawHttp2::connect(proxy.address());
    let held = [&HEAD[..3], &[(":path", "/held")]].concat();
    client.head(1, END_STREAM, &held);
    origin.seen();
    let many: Vec<RawFrame> = (1..100)
        .flat_map(|number| {
            let stream = 2 * number + 1;
            [
                RawFrame::new(HEADERS, END_STREAM | END_HEADERS, stream, literals(&HEAD)),
                RawFrame::new(RST_STREAM, 0, stream, 8_u32.to_be_bytes()),
            ]
        })
        .collect();
    client.send_together(&many);
    release.send(()).unwrap();
    let answer = client.read_one_of(&[HEADERS, GOAWAY]).unwrap();
    assert_eq!((answer.kind, answer.stream), (HEADERS, 1));
    assert_eq!(ended(&proxy, "protocol") + ended(&proxy, "resets"), 0.0);
}

/// Each of them has reached the origin, where its work ends as well.
#[test]
fn streams_that_are_broken_off_at_work_cost_the_connection() {
    let (origin, _release) = Origin::holding("there");
    let proxy = with_admin(&origin, ", http2: { max_resets: 20 }");
    let mut other = proxy.connect();
    let mut client = RawHttp2::connect(proxy.address());
    let held = [&HEAD[..3], &[(":path", "/held")]].concat();
    for number in 0..21 {
        let stream = 2 * number + 1;
        client.head(stream, END_STREAM, &held);
        origin.seen();
        client.send(&RawFrame::new(RST_STREAM, 0, stream, 8_u32.to_be_bytes()));
    }
    let last = client.read_one_of(&[GOAWAY]).expect("it is told");
    assert_eq!(last.code(), ENHANCE_YOUR_CALM);
    assert_eq!(ended(&proxy, "resets"), 1.0);
    assert_eq!(other.send(GET).answer().status, 200);
}

#[test]
fn a_head_without_end_costs_its_connection() {
    let origin = Origin::saying("hello");
    let proxy = with_admin(&origin, ", limits: { max_head_bytes: 8KiB }");
    let mut other = proxy.connect();
    // Empty ones too, which make no head any larger.
    for filler in [literals(&[("x", &"1".repeat(1000))]), Vec::new()] {
        let mut client = RawHttp2::connect(proxy.address());
        client.send(&RawFrame::new(HEADERS, END_STREAM, 1, literals(&HEAD)));
        let mut sent = 0;
        while client.send(&RawFrame::new(CONTINUATION, 0, 1, filler.clone())) {
            sent += filler.len() + 9;
            assert!(sent < 32 << 20, "nobody stopped it");
        }
    }
    assert_eq!(ended(&proxy, "protocol"), 2.0);
    assert_eq!(other.send(GET).answer().status, 200);
}

/// A head of many references to one large entry of the table is as large as what
/// they stand for.
#[test]
fn a_bomb_of_compressed_fields_is_too_large() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "");
    let mut client = RawHttp2::connect(proxy.address());
    let mut block = literals(&HEAD);
    // With indexing, into the table of 4,096 bytes; then 15,000 times that entry.
    block.push(0x40);
    block.extend([1, b'x', 127, 0xa1, 0x1e]);
    block.extend([b'v'; 4000]);
    block.extend([0x80 | 62; 10_000]);
    client.send(&RawFrame::new(HEADERS, END_STREAM | END_HEADERS, 1, block));
    let ended = outcome(&mut client);
    assert_ne!(ended, Ended::Reset(0), "{ended:?}");
    assert_eq!(origin.seen_now(), None, "it went on");
    assert_eq!(proxy.get("/").status, 200);
}

#[test]
fn no_more_streams_than_allowed_are_served_at_once() {
    let (origin, release) = Origin::holding("there");
    let proxy = with_admin(&origin, ", http2: { max_streams: 2 }");
    let mut client = RawHttp2::connect(proxy.address());
    let held = [&HEAD[..3], &[(":path", "/held")]].concat();
    for stream in [1, 3, 5] {
        client.head(stream, END_STREAM, &held);
    }
    let refused = client.read_one_of(&[RST_STREAM]).unwrap();
    assert_eq!((refused.stream, refused.code()), (5, REFUSED_STREAM));
    within("it is counted", || {
        let refused = metric_sum(proxy.admin(), "lockgate_streams_refused_total", "");
        (refused == 1.0).then_some(())
    });
    release.send(()).unwrap();
    release.send(()).unwrap();
}

/// Frames that carry nothing, some of which ask for an answer, from a client that reads
/// none: its connection ends, and others are served.
#[test]
fn floods_of_control_frames_cost_only_their_connection() {
    let origin = Origin::saying("hello");
    let proxy = with_admin(&origin, "");
    let mut other = proxy.connect();
    for frame in [
        RawFrame::new(PING, 0, 0, [0; 8]),
        RawFrame::new(SETTINGS, 0, 0, []),
        RawFrame::new(WINDOW_UPDATE, 0, 0, 1_u32.to_be_bytes()),
        RawFrame::new(PRIORITY, 0, 1, [0, 0, 0, 0, 0]),
        RawFrame::new(UNKNOWN, 0, 0, []),
        RawFrame::new(DATA, 0, 1, []),
    ] {
        let mut client = RawHttp2::connect(proxy.address());
        if frame.kind == DATA {
            let post = [&HEAD[1..], &[(":method", "POST")]].concat();
            client.head(1, 0, &post);
        }
        client.set_write_timeout();
        let mut sent = 0;
        while client.send(&frame) {
            sent += 1;
            assert!(sent < 1_000_000, "nobody stopped it: {frame:?}");
        }
        assert_eq!(other.send(GET).answer().status, 200);
    }
    // The codec has a limit of its own on empty DATA, which is reached before.
    assert_eq!(
        ended(&proxy, "control_frames") + ended(&proxy, "protocol"),
        6.0
    );
    assert!(ended(&proxy, "control_frames") >= 5.0);
}

/// Whoever takes what it is sent may say so as often as it takes something.
#[test]
fn room_for_what_was_sent_is_no_flood() {
    let origin = Origin::saying(&"x".repeat(100_000));
    let proxy = with_admin(&origin, ", http2: { max_control_frames: 100 }");
    let mut client = RawHttp2::connect(proxy.address());
    for stream in [1, 3, 5] {
        client.head(stream, END_STREAM, &HEAD);
        let mut left = 100_000;
        while left > 0 {
            let data = client.read_one_of(&[DATA, RST_STREAM, GOAWAY]).unwrap();
            assert_eq!(data.kind, DATA, "{data:?}");
            left -= data.payload.len();
            let pieces = data.payload.len() / 100;
            for _ in 0..pieces {
                for of in [0, stream] {
                    client.send(&RawFrame::new(WINDOW_UPDATE, 0, of, 100_u32.to_be_bytes()));
                }
            }
        }
    }
    assert_eq!(ended(&proxy, "control_frames"), 0.0);
}

/// A client that gives no room at all is answered once it does, refusals among it.
#[test]
fn a_window_of_nothing_holds_up_only_its_own_answer() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "");
    for path in ["/", "/%00"] {
        let mut client = RawHttp2::connect(proxy.address());
        const INITIAL_WINDOW_SIZE: [u8; 6] = [0, 4, 0, 0, 0, 0];
        client.send(&RawFrame::new(SETTINGS, 0, 0, INITIAL_WINDOW_SIZE));
        let head = [&HEAD[..3], &[(":path", path)]].concat();
        client.head(1, END_STREAM, &head);
        assert_eq!(outcome(&mut client), Ended::Answered, "{path}");
        assert_eq!(proxy.get("/").status, 200);
        client.send(&RawFrame::new(WINDOW_UPDATE, 0, 1, 1000_u32.to_be_bytes()));
        let body = client.read_one_of(&[DATA, RST_STREAM]).expect("the body");
        assert_eq!((body.kind, body.flags), (DATA, END_STREAM), "{path}");
    }
}

/// What was broken off makes room for others only once nothing is done for it.
#[test]
fn a_broken_off_upload_ends_while_its_origin_takes_nothing() {
    let origin = Origin::scripted(|stream, seen| {
        read_head(&mut std::io::BufReader::with_capacity(1, &stream)).unwrap();
        seen.send(Seen::named("begun")).unwrap();
        // Nothing of the body is read, until the proxy has closed.
        let mut probe = [0; 1];
        within("the end", || match stream.peek(&mut probe) {
            Ok(_) => closed_by_peer(&stream).then_some(()),
            Err(_) => Some(()),
        });
        seen.send(Seen::named("closed")).unwrap();
    });
    let proxy = proxy_to(
        &origin,
        ", http2: { stream_window: 16MiB, connection_window: 64MiB }",
    );
    let mut client = RawHttp2::connect(proxy.address());
    let post = [&[(":method", "POST")], &HEAD[1..]].concat();
    client.head(1, 0, &post);
    assert_eq!(origin.seen().line, "begun");
    for _ in 0..900 {
        client.send(&RawFrame::new(DATA, 0, 1, vec![b'x'; 16 << 10]));
    }
    client.send(&RawFrame::new(RST_STREAM, 0, 1, 8_u32.to_be_bytes()));
    assert_eq!(origin.seen().line, "closed");
}

/// Whether the other end has closed, although what it sent before was not read.
fn closed_by_peer(stream: &std::net::TcpStream) -> bool {
    let info = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let peer = stream.peer_addr().unwrap().port();
    let port = stream.local_addr().unwrap().port();
    const ESTABLISHED: &str = "01";
    let ends = (format!(":{port:04X}"), format!(":{peer:04X}"));
    !info.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&ends.0))
            && words.next().is_some_and(|remote| remote.ends_with(&ends.1))
            && words.next() == Some(ESTABLISHED)
    })
}

#[test]
fn a_client_that_does_not_answer_pings_is_let_go() {
    let (origin, _release) = Origin::holding("there");
    let proxy = with_admin(
        &origin,
        ", http2: { ping_every: 100ms, ping_timeout: 100ms }",
    );
    let mut client = RawHttp2::connect(proxy.address());
    let held = [&HEAD[..3], &[(":path", "/held")]].concat();
    client.head(1, END_STREAM, &held);
    assert!(client.read_one_of(&[PING]).is_some());
    assert_eq!(client.read_one_of(&[HEADERS]), None, "the connection ends");
    assert_eq!(ended(&proxy, "ping"), 1.0);
}

/// Room for a byte now and then, or a byte of a body: each in time, and too little.
#[test]
fn streams_that_trickle_are_broken_off() {
    let origin = Origin::saying(&"x".repeat(100_000));
    let proxy = with_admin(
        &origin,
        ", timeouts: { body: 2s }, limits: { min_body_rate: 1MiB }",
    );
    const INITIAL_WINDOW_SIZE: [u8; 6] = [0, 4, 0, 0, 0, 0];
    for (is_reader, error) in [(true, "client_too_slow"), (false, "body_too_slow")] {
        let mut client = RawHttp2::connect(proxy.address());
        let (flags, piece) = match is_reader {
            true => {
                client.send(&RawFrame::new(SETTINGS, 0, 0, INITIAL_WINDOW_SIZE));
                let room = RawFrame::new(WINDOW_UPDATE, 0, 1, 1_u32.to_be_bytes());
                (END_STREAM, room)
            }
            false => (0, RawFrame::new(DATA, 0, 1, [b'x'])),
        };
        let method = if is_reader { "GET" } else { "POST" };
        client.head(1, flags, &[&[(":method", method)], &HEAD[1..]].concat());
        within("the proxy loses patience", || {
            client.send(&piece);
            (failed(&proxy, error) == 1.0).then_some(())
        });
        assert_eq!(proxy.get("/").status, 200);
    }
}

/// In pieces of which each comes in time, or with an end that never comes.
#[test]
fn a_head_that_does_not_end_in_time_costs_its_connection() {
    let origin = Origin::saying("hello");
    let proxy = with_admin(&origin, ", timeouts: { head: 200ms }");
    let mut other = proxy.connect();
    let whole = RawFrame::new(HEADERS, END_STREAM | END_HEADERS, 1, vec![0; 16_000]).encode();
    let open = RawFrame::new(HEADERS, END_STREAM, 1, literals(&HEAD)).encode();
    for (number, (at_once, trickle)) in [(&open[..], &[][..]), (&[], &whole[..])]
        .into_iter()
        .enumerate()
    {
        let mut client = RawHttp2::connect(proxy.address());
        client.send_bytes(at_once);
        let mut trickle = trickle.iter();
        within("the proxy loses patience", || {
            if let Some(byte) = trickle.next() {
                client.send_bytes(&[*byte]);
            }
            (ended(&proxy, "head_timeout") == number as f64 + 1.0).then_some(())
        });
    }
    assert_eq!(origin.seen_now(), None);
    assert_eq!(other.send(GET).answer().status, 200);
}

/// A client that does not hear that it has had its requests, and never says that it did.
#[test]
fn who_goes_on_behind_the_last_request_is_refused() {
    let origin = Origin::saying("hello");
    let more = ", limits: { max_requests: 3 }, http2: { max_streams: 5 }";
    let proxy = with_admin(&origin, more);
    let mut client = RawHttp2::connect(proxy.address());
    let mut served = 0;
    let refused = loop {
        client.get(2 * served + 1);
        let ended = client.read_end();
        match ended.kind {
            DATA => served += 1,
            _ => break ended,
        }
    };
    assert_eq!(served, 3 + 5);
    assert_eq!(refused.code(), REFUSED_STREAM);
    assert_eq!(ended(&proxy, "max_requests"), 1.0);
    let last = client.read_one_of(&[GOAWAY]).expect("it is told again");
    assert_eq!(last.code(), 0);
    assert_eq!(client.read(), None);
}

/// One that is told to go because it was idle, and does not answer.
#[test]
fn who_does_not_hear_that_it_is_to_go_is_not_waited_for() {
    let origin = Origin::saying("hello");
    let proxy = with_admin(&origin, ", timeouts: { idle: 50ms }");
    let mut client = RawHttp2::connect(proxy.address());
    client.get(1);
    let lasts = [(); 2].map(|()| {
        let told = client.read_one_of(&[GOAWAY]).expect("it is told");
        assert_eq!(told.code(), 0);
        let last_stream = told.payload[..4].try_into();
        u32::from_be_bytes(last_stream.unwrap())
    });
    assert_eq!(lasts, [u32::MAX >> 1, 1]);
    assert_eq!(client.read(), None);
    assert_eq!(ended(&proxy, "idle"), 1.0);
}

fn with_admin(origin: &Origin, more: &str) -> Proxy {
    Proxy::start(&format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin{more} }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    ))
}

/// Connections that the proxy ended for this reason, once there are any.
fn ended(proxy: &Proxy, reason: &str) -> f64 {
    let label = format!("reason=\"{reason}\"");
    metric_sum(proxy.admin(), "lockgate_connections_ended_total", &label)
}

fn failed(proxy: &Proxy, error: &str) -> f64 {
    let label = format!("error=\"{error}\"");
    metric_sum(proxy.admin(), "lockgate_request_errors_total", &label)
}

/// What a client makes the proxy say, nobody waits for, though nobody reads it.
#[test]
fn a_flood_of_what_is_logged_holds_up_nobody() {
    let origin = Origin::saying("body");
    let folder = Proxy::folder();
    let admin = folder.join("admin.sock");
    let process = Process::start_in(
        folder,
        &format!(
            "workers: 1\nlog: {{ level: 'info,h2=warn' }}\nadmin: {{ address: 'unix:{}' }}\n\
             listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
             clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
            admin.display(),
            origin.address
        ),
    );
    let address = process.address();
    let unread = process.unread();
    // An acknowledgement of a ping that nobody sent is warned of.
    let mut client = RawHttp2::connect(address);
    for _ in 0..9000 {
        client.send(&RawFrame::new(PING, 1, 0, [7; 8]));
    }
    let lost = || {
        let text = ask_unix(&admin, "GET", "/metrics").text();
        let mut lines = text.lines();
        let lost = lines.find_map(|line| line.strip_prefix("lockgate_log_lost_lines_total{} "));
        lost.and_then(|lost| lost.parse::<u64>().ok())
    };
    within("lines are lost", || lost().filter(|lost| *lost > 0));
    assert_eq!(process.get("/").status, 200);
    drop(unread);
    process.logged("h2::proto");
    process.signal("HUP");
    process.logged("reloaded why=\"SIGHUP\"");
}
