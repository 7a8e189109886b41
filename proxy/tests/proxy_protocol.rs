//! PROXY headers of clients: whose connection it is, by whom that is believed, and
//! what a bad one costs.

mod support;

use std::net::SocketAddr;

use serde_json::Value;
use support::admin::metric;
use support::http2::{RawFrame, RawHttp2};
use support::tls::{Authority, Speaks, TlsClient};
use support::{Client, Origin, Proxy, within};

const V1: &str = "PROXY TCP4 192.0.2.7 203.0.113.9 4711 443\r\n";
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Of version 2, with an address of IPv4 and these fields.
fn v2(fields: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend((12 + fields.len() as u16).to_be_bytes());
    header.extend([192, 0, 2, 7, 203, 0, 113, 9, 0x12, 0x67, 1, 187]);
    header.extend(fields);
    header
}

/// Of version 2, for a connection of the balancer's own.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn yaml(origin: &Origin, rules: &str) -> String {
    format!(
        "access_log: {{ to: ./access.log }}\nadmin: {{ address: '127.0.0.1:0' }}\n\
         listeners:\n- name: web\n  address: 127.0.0.1:0\n  cluster: o\n  \
         proxy_protocol: {{ {rules} }}\n\
         clusters: [{{ name: o, endpoints: ['{}'] }}]\n",
        origin.address
    )
}

fn proxy_to(origin: &Origin, rules: &str) -> Proxy {
    Proxy::start(&yaml(origin, rules))
}

/// The first of the access log.
fn record(proxy: &Proxy) -> Value {
    within("a record", || {
        let text = std::fs::read_to_string(proxy.path().join("access.log")).ok()?;
        serde_json::from_str(text.lines().next()?).ok()
    })
}

fn outcome(proxy: &Proxy, outcome: &str, count: u64) {
    let series = format!("lockgate_proxy_headers_total{{listener=\"web\",outcome=\"{outcome}\"}}");
    within(&format!("{count} {outcome}"), || {
        (metric(proxy.admin(), &series) == count as f64).then_some(())
    });
}

/// Whoever sends this is not talked to.
fn is_closed(address: SocketAddr, bytes: impl AsRef<[u8]>) {
    let mut client = Client::connect(address);
    client.try_send(bytes);
    assert!(client.rest().is_empty(), "an answer");
}

#[test]
fn the_client_is_who_the_header_says() {
    for header in [V1.as_bytes().to_vec(), v2(&[])] {
        let origin = Origin::saying("hello");
        let proxy = proxy_to(&origin, "from: [127.0.0.0/8]");
        let mut client = proxy.connect();
        client.send([&header, GET.as_bytes()].concat());
        assert_eq!(client.answer().text(), "hello");
        assert_eq!(origin.seen().header("x-forwarded-for"), Some("192.0.2.7"));
        // Every request of the connection.
        client.send(GET);
        assert_eq!(client.answer().status, 200);
        assert_eq!(origin.seen().header("x-forwarded-for"), Some("192.0.2.7"));
        let record = record(&proxy);
        assert_eq!(record["client"], "192.0.2.7");
        let peer = record["peer"].as_str().unwrap();
        assert!(peer.starts_with("127.0.0.1:"), "{peer}");
    }
}

#[test]
fn a_connection_of_the_balancers_own_is_the_balancers() {
    for header in [LOCAL, b"PROXY UNKNOWN\r\n"] {
        let origin = Origin::saying("hello");
        let proxy = proxy_to(&origin, "from: [127.0.0.1]");
        let mut client = proxy.connect();
        client.send([header, GET.as_bytes()].concat());
        assert_eq!(client.answer().status, 200);
        assert_eq!(origin.seen().header("x-forwarded-for"), Some("127.0.0.1"));
    }
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "from: [127.0.0.1]");
    for header in [V1.as_bytes().to_vec(), v2(&[4, 0, 2, 0, 0])] {
        let mut client = proxy.connect();
        for byte in [&header, GET.as_bytes()].concat() {
            client.send([byte]);
        }
        assert_eq!(client.answer().status, 200);
        assert_eq!(origin.seen().header("x-forwarded-for"), Some("192.0.2.7"));
    }
}

#[test]
fn a_long_header_is_read_whole() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "from: [127.0.0.1]");
    let mut padding = vec![4, 0x20, 0];
    padding.extend([0; 0x2000]);
    let mut client = proxy.connect();
    client.send([&v2(&padding), GET.as_bytes()].concat());
    assert_eq!(client.answer().status, 200);
    assert_eq!(origin.seen().header("x-forwarded-for"), Some("192.0.2.7"));
}

#[test]
fn http2_may_follow() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "from: [127.0.0.1]");
    let mut client = RawHttp2::connect_behind(proxy.address(), &v2(&[]));
    const END: u8 = 1 | 4;
    client.head(
        1,
        END,
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/"),
        ],
    );
    const HEADERS: u8 = 1;
    let answer: Option<RawFrame> = client.read_one_of(&[HEADERS]);
    assert_eq!(answer.map(|frame| frame.stream), Some(1));
    assert_eq!(origin.seen().header("x-forwarded-for"), Some("192.0.2.7"));
}

#[test]
fn tls_may_follow() {
    let authority = Authority::new("root");
    let folder = Proxy::folder();
    authority.issue(&["edge.test"]).write(&folder, "edge");
    let origin = Origin::saying("hello");
    let tls = "from: [127.0.0.1], required: false }\n  \
               tls: { certificates: [{ chain: edge.pem, key: edge.key }]";
    let proxy = Proxy::start_in(folder, &yaml(&origin, tls));
    let speaks = Speaks::new(&authority).config();
    for (header, wanted) in [(&*v2(&[]), "192.0.2.7"), (&[], "127.0.0.1")] {
        let client = TlsClient::connect_behind(proxy.address(), &speaks, "edge.test", header);
        let mut client = client.expect("a handshake");
        assert_eq!(client.get("/").text(), "hello");
        assert_eq!(origin.seen().header("x-forwarded-for"), Some(wanted));
    }
    // Not taken out of the way for what comes behind it.
    let behind = TlsClient::connect_behind(proxy.address(), &speaks, "edge.test", b"PRO");
    assert!(behind.is_err());
}

#[test]
fn from_others_no_header_is_believed() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "from: [192.0.2.0/24]");
    is_closed(proxy.address(), format!("{V1}{GET}"));
    is_closed(proxy.address(), GET);
    outcome(&proxy, "untrusted", 2);
    assert_eq!(origin.seen_now(), None);

    let proxy = proxy_to(&origin, "from: [192.0.2.0/24], required: false");
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(origin.seen().header("x-forwarded-for"), Some("127.0.0.1"));
    // To them it is no request either.
    let mut client = proxy.connect();
    assert_eq!(client.send(format!("{V1}{GET}")).answer().status, 400);
    outcome(&proxy, "absent", 2);
}

#[test]
fn without_a_header_it_depends() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "from: [127.0.0.1]");
    is_closed(proxy.address(), GET);
    outcome(&proxy, "missing", 1);

    let proxy = proxy_to(&origin, "from: [127.0.0.1], required: false");
    assert_eq!(proxy.get("/").status, 200);
    // Begins as a header does, and is none.
    let mut client = proxy.connect();
    for byte in GET.replacen("GET", "PROPFIND", 1).bytes() {
        client.send([byte]);
    }
    assert_eq!(client.answer().status, 200);
    assert_eq!(origin.seen().line, "GET / HTTP/1.1");
    assert_eq!(origin.seen().line, "PROPFIND / HTTP/1.1");
    outcome(&proxy, "absent", 2);
}

#[test]
fn who_waits_is_not_waited_for() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "from: [127.0.0.1], timeout: 50ms");
    is_closed(proxy.address(), "PROXY TCP4 192.");
    outcome(&proxy, "timeout", 1);
    is_closed(proxy.address(), "");
    outcome(&proxy, "timeout", 2);

    let rules = "from: [127.0.0.1], timeout: 50ms, required: false";
    let proxy = proxy_to(&origin, rules);
    let mut client = proxy.connect();
    client.send("PRO");
    outcome(&proxy, "absent", 1);
    assert_eq!(
        client.send(GET.replacen("GET", "PFIND", 1)).answer().status,
        200
    );
    assert_eq!(origin.seen().line, "PROPFIND / HTTP/1.1");
}

#[test]
fn a_bad_header_costs_its_connection() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "from: [127.0.0.1]");
    // Of versions 2, lengths: of a field, of all of it, of addresses.
    let field = v2(&[0xea, 0xff, 0xff, 1]);
    let (mut huge, mut short) = (v2(&[]), v2(&[]));
    huge[14] = 0xff;
    short[15] = 4;
    let bad = [
        format!("PROXY TCP4 nobody 203.0.113.9 4711 443\r\n{GET}").into_bytes(),
        format!("PROXY {}", "x".repeat(4096)).into_bytes(),
        field,
        huge,
        short,
    ];
    let mut good = proxy.connect();
    good.send(V1);
    for bytes in &bad {
        is_closed(proxy.address(), bytes);
    }
    outcome(&proxy, "malformed", 5);
    let mut gone = proxy.connect();
    gone.send("PROXY TCP4").finish();
    assert!(gone.rest().is_empty());
    outcome(&proxy, "closed", 1);
    assert_eq!(good.send(GET).answer().status, 200);
}

#[test]
fn filters_see_what_it_says() {
    let origin = Origin::saying("hello");
    let by = |name: &str, attribute: &str| {
        format!(
            "{{ name: {name}, rate: 1, per: hour, burst: 1, \
             key: {{ attribute: proxy_protocol.{attribute} }} }}"
        )
    };
    let rules = "from: [127.0.0.1] }\n  filters: [few]\n  http2: { max_streams: 9";
    let yaml = yaml(&origin, rules);
    let proxy = Proxy::start(&format!(
        "{yaml}filters:\n  few:\n    component: lockgate:rate-limit\n    \
         grants: {{ shared: true }}\n    config: {{ limits: [{}, {}] }}\n",
        by("names", "authority"),
        by("tags", "tlv.ea"),
    ));
    let ask = |fields: &[u8]| {
        let mut client = proxy.connect();
        client
            .send([&v2(fields), GET.as_bytes()].concat())
            .answer()
            .status
    };
    const SHOP: &[u8] = &[2, 0, 4, b's', b'h', b'o', b'p'];
    assert_eq!(ask(SHOP), 200);
    assert_eq!(ask(SHOP), 429, "the same name");
    assert_eq!(ask(&[2, 0, 1, b'a']), 200, "another name");
    assert_eq!(ask(&[0xea, 0, 1, 7]), 200);
    assert_eq!(ask(&[0xea, 0, 1, 7]), 429, "the same tag");
    assert_eq!(ask(&[0xea, 0, 1, 8]), 200, "another tag");
}

#[test]
fn a_reload_changes_who_is_believed() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&origin, "from: [127.0.0.1]");
    let mut before = proxy.connect();
    assert_eq!(before.send(format!("{V1}{GET}")).answer().status, 200);
    proxy.edit(&yaml(&origin, "from: [192.0.2.0/24], required: false"));
    proxy.reload();
    assert_eq!(before.send(GET).answer().status, 200);
    for wanted in ["192.0.2.7", "192.0.2.7"] {
        assert_eq!(origin.seen().header("x-forwarded-for"), Some(wanted));
    }
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(origin.seen().header("x-forwarded-for"), Some("127.0.0.1"));
}
