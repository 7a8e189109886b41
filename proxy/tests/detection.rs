//! Listeners that speak more than one thing: what a connection is, told from how it
//! begins.

#[path = "guests/component.rs"]
mod guest;
mod support;

use std::io::{BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;

use serde_json::Value;
use support::admin::{metric, metric_sum};
use support::http2::{HEADERS, Http2, RawHttp2, SETTINGS, run};
use support::tls::{Authority, Speaks, TlsClient, put};
use support::{Client, Origin, Process, Proxy, Seen, read_head, read_some, within};

const LOG: &str = "access_log: { to: ./access.log }\nadmin: { address: '127.0.0.1:0' }\n";
const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SMALL_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Answers requests that went through the proxy as such, and sends everything else back.
fn mixed(name: &'static str) -> Origin {
    Origin::scripted(move |mut stream, seen| {
        seen.send(Seen::named(name)).ok();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut first = read_some(&mut reader);
        while !first.is_empty() && is_proxied(&first) {
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}",
                name.len()
            );
            stream.write_all(answer.as_bytes()).ok();
            first = read_some(&mut reader);
        }
        stream.write_all(&first).ok();
        std::io::copy(&mut reader, &mut stream).ok();
        stream.shutdown(Shutdown::Write).ok();
    })
}

/// What was passed on as it came has no field of the proxy's.
fn is_proxied(head: &[u8]) -> bool {
    let head = read_head(&mut &*head);
    head.is_some_and(|head| head.header("via").is_some())
}

/// Speaks first, then sends everything back.
fn greeting() -> Origin {
    Origin::scripted(|mut stream, _| {
        stream.write_all(b"220 ready\r\n").ok();
        let mut reader = stream.try_clone().unwrap();
        std::io::copy(&mut reader, &mut stream).ok();
    })
}

fn yaml(listener: &str, db: &Origin, other: &Origin) -> String {
    format!(
        "{LOG}listeners:\n- name: web\n  address: 127.0.0.1:0\n  cluster: db\n  {listener}\n\
         clusters:\n- {{ name: db, endpoints: ['{}'] }}\n- {{ name: other, endpoints: ['{}'] }}\n",
        db.address, other.address
    )
}

const ALL: &str = "protocols: [http1, http2, tcp]";

/// Which tells nothing by time.
fn patient(listener: &str) -> String {
    format!("detection: 60s\n  {listener}")
}

fn start(listener: &str, db: &Origin) -> Proxy {
    Proxy::start(&yaml(listener, db, db))
}

fn detected(proxy: &Proxy, protocol: &str) -> f64 {
    let label = format!("listener=\"web\",protocol=\"{protocol}\"");
    metric_sum(proxy.admin(), "lockgate_connections_detected_total", &label)
}

/// Waits until the proxy has this many connections.
fn are_open(proxy: &Proxy, count: f64) {
    let active = "lockgate_connections_active{listener=\"web\"}";
    within("connections are open", || {
        (metric(proxy.admin(), active) == count).then_some(())
    });
}

fn records(folder: &Path, count: usize) -> Vec<Value> {
    within(&format!("{count} records"), || {
        let text = std::fs::read_to_string(folder.join("access.log")).ok()?;
        let lines = text.lines().map(serde_json::from_str);
        let records: Vec<Value> = lines.collect::<Result<_, _>>().ok()?;
        (records.len() >= count).then_some(records)
    })
}

fn send_slowly(client: &mut Client, bytes: &[u8]) {
    for byte in bytes {
        client.send([*byte]);
        std::thread::yield_now();
    }
}

fn is_echoed(client: &mut Client, bytes: &[u8]) {
    assert_eq!(client.exactly(bytes.len()), bytes);
}

fn client_hello(authority: &Authority) -> Vec<u8> {
    let config = Speaks::new(authority).config();
    let name = "db.test".try_into().unwrap();
    let mut hello = Vec::new();
    let mut connection = rustls::ClientConnection::new(config, name).unwrap();
    connection.write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn each_protocol_is_told_from_how_it_begins() {
    let db = mixed("http");
    let proxy = start(&patient(ALL), &db);
    let mut client = proxy.connect();
    for _ in 0..2 {
        assert_eq!(client.send(GET).answer().text(), "http");
    }
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        assert_eq!(client.get("/").await.text(), "http");
    });
    for opaque in [
        &b"\0\0\0\x08\x04\xd2\x16\x2f"[..],
        b"SET key value\r\n",
        b"get / HTTP\r\n\r\n",
        b"EHLO mx.test\r\n",
        b"PRI * HTTP/1.1\r\n\r\n",
    ] {
        let mut client = proxy.connect();
        client.send(opaque);
        match opaque.starts_with(b"get /") {
            // A method is any word.
            true => assert_eq!(client.answer().status, 400),
            false => is_echoed(&mut client, opaque),
        }
    }
    let hello = client_hello(&Authority::new("root"));
    let mut client = proxy.connect();
    client.send(&hello);
    is_echoed(&mut client, &hello);
    for (protocol, count) in [
        ("http1", 2.0),
        ("http2", 1.0),
        ("opaque", 4.0),
        ("tls", 1.0),
        ("timeout", 0.0),
    ] {
        assert_eq!(detected(&proxy, protocol), count, "{protocol}");
    }
    let tcp = "lockgate_tcp_connections_total{listener=\"web\"}";
    drop(client);
    within("those of TCP are counted", || {
        (metric(proxy.admin(), tcp) == 5.0).then_some(())
    });
}

#[test]
fn it_may_come_byte_by_byte() {
    let db = mixed("http");
    let proxy = start(&patient(ALL), &db);
    let mut client = proxy.connect();
    send_slowly(&mut client, GET.as_bytes());
    assert_eq!(client.answer().text(), "http");
    let mut client = proxy.connect();
    send_slowly(&mut client, PREFACE);
    send_slowly(&mut client, SMALL_SETTINGS);
    assert_eq!(client.exactly(9)[3], SETTINGS);
    for opaque in [&b"PRI * HTTP/2.0\r\n\r\nNO\r\n\r\n"[..], b"GET key\r\n"] {
        let mut client = proxy.connect();
        send_slowly(&mut client, opaque);
        is_echoed(&mut client, opaque);
    }
}

#[test]
fn what_the_list_has_not_is_passed_on() {
    let db = mixed("http");
    let proxy = start(&patient("protocols: [tcp, http1]"), &db);
    let mut client = proxy.connect();
    client.send(PREFACE);
    is_echoed(&mut client, PREFACE);
    assert_eq!(proxy.get("/").text(), "http");
    let proxy = start(&patient("protocols: [http2, tcp]"), &db);
    let mut client = proxy.connect();
    client.send(GET);
    is_echoed(&mut client, GET.as_bytes());
    let mut http2 = RawHttp2::connect(proxy.address());
    http2.get(1);
    assert!(http2.read_one_of(&[HEADERS]).is_some());
}

/// A server that speaks first is heard once nothing was said for long enough, or at once
/// on a port that is named.
#[test]
fn a_server_that_speaks_first_is_heard() {
    let db = greeting();
    let proxy = start(&format!("detection: 50ms\n  {ALL}"), &db);
    let mut client = proxy.connect();
    assert_eq!(client.line(), "220 ready");
    client.send("EHLO mx");
    is_echoed(&mut client, b"EHLO mx");
    assert_eq!(detected(&proxy, "timeout"), 1.0);

    let named = |ports: &str| {
        let listener = patient(&format!("{ALL}\n  server_first_ports: [{ports}]"));
        yaml(&listener, &db, &db)
    };
    let proxy = Proxy::start(&named("25"));
    let port = proxy.address().port();
    let mut unnamed = proxy.connect();
    are_open(&proxy, 1.0);
    proxy.edit(&named(&format!("25, {port}")));
    assert!(proxy.reload().ok);
    let mut client = proxy.connect();
    assert_eq!(client.line(), "220 ready");
    client.send(GET);
    is_echoed(&mut client, GET.as_bytes());
    assert_eq!(detected(&proxy, "server_first"), 1.0);
    // Who came before is still waited for.
    unnamed.send("EHLO mx");
    assert_eq!(unnamed.line(), "220 ready");
    is_echoed(&mut unnamed, b"EHLO mx");
}

/// Half a head is as little as nothing: no client of HTTP stops there.
#[test]
fn what_comes_too_slowly_to_tell_is_passed_on_whole() {
    let db = mixed("http");
    let proxy = start(&format!("detection: 50ms\n  {ALL}"), &db);
    let mut client = proxy.connect();
    client.send("GE");
    assert_eq!(db.seen().line, "http");
    client.send(&GET[2..]);
    is_echoed(&mut client, GET.as_bytes());
    assert_eq!(detected(&proxy, "timeout"), 1.0);
    // And so is what ends before it is told.
    let proxy = start(&patient(ALL), &db);
    let mut client = proxy.connect();
    client.send("GE").finish();
    assert_eq!(client.rest(), b"GE");
    assert_eq!(detected(&proxy, "opaque"), 1.0);
}

#[test]
fn within_tls_the_agreement_tells_or_the_first_bytes() {
    let db = mixed("http");
    let authority = Authority::new("root");
    let folder = Proxy::folder();
    authority.issue(&["db.test"]).write(&folder, "db");
    let tls = "tls: { certificates: [{ chain: db.pem, key: db.key }] }";
    let listener = patient(&format!("{ALL}\n  {tls}"));
    let proxy = Proxy::start_in(folder, &yaml(&listener, &db, &db));
    let connect = |alpn: &[&str]| {
        let speaks = Speaks {
            alpn: alpn.iter().map(|name| name.as_bytes().to_vec()).collect(),
            ..Speaks::new(&authority)
        };
        TlsClient::connect(proxy.address(), &speaks.config(), "db.test").unwrap()
    };
    for alpn in [&["http/1.1"][..], &[]] {
        assert_eq!(connect(alpn).get("/").text(), "http", "{alpn:?}");
    }
    for alpn in [&["h2", "http/1.1"][..], &[]] {
        let mut client = connect(alpn);
        client.send(PREFACE).send(SMALL_SETTINGS);
        assert_eq!(client.exactly(9)[3], SETTINGS, "{alpn:?}");
    }
    // Who wants something else is not sent away.
    for alpn in [&["postgresql"][..], &[]] {
        let mut client = connect(alpn);
        assert_eq!(client.connection().alpn_protocol(), None);
        client.send("\0\0\0\x08hello");
        assert_eq!(client.exactly(9), b"\0\0\0\x08hello");
        client.end();
        assert_eq!(client.rest().unwrap(), b"");
    }
    // Who agreed to HTTP has to speak it.
    let mut client = connect(&["http/1.1"]);
    assert_eq!(client.send("\0\0\0\x08\r\n\r\n").answer().status, 400);
    // There is nothing but TLS here.
    let mut plain = proxy.connect();
    assert_eq!(plain.send(GET).answer().status, 400);
    for (protocol, count) in [("http1", 3.0), ("http2", 2.0), ("opaque", 2.0)] {
        assert_eq!(detected(&proxy, protocol), count, "{protocol}");
    }
}

#[test]
fn a_proxy_header_comes_before() {
    let db = mixed("http");
    let listener = patient(&format!(
        "{ALL}\n  proxy_protocol: {{ from: [127.0.0.0/8] }}"
    ));
    let proxy = start(&listener, &db);
    let header = "PROXY TCP4 192.0.2.7 203.0.113.9 4711 443\r\n";
    for first in [1, 5, GET.len()] {
        let mut client = proxy.connect();
        client.send(format!("{header}{}", &GET[..first]));
        client.send(&GET[first..]);
        assert_eq!(client.answer().text(), "http");
    }
    let mut client = proxy.connect();
    client.send(format!("{header}\0\0hello")).finish();
    assert_eq!(client.rest(), b"\0\0hello");
    for record in records(proxy.path(), 4) {
        assert_eq!(record["client"], "192.0.2.7", "{record}");
    }
    // One that is not there was read in part as the beginning of one.
    let listener = patient(&format!(
        "{ALL}\n  proxy_protocol: {{ from: [127.0.0.0/8], required: false }}"
    ));
    let proxy = start(&listener, &db);
    let put = "PUT / HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(proxy.connect().send(put).answer().text(), "http");
    let mut client = proxy.connect();
    client.send("PROGRESS").finish();
    assert_eq!(client.rest(), b"PROGRESS");
}

/// What filters want to see and what is looked at are the same bytes.
#[test]
fn filters_of_connections_know_what_is_spoken() {
    let (db, other) = (mixed("db"), mixed("other"));
    let folder = Proxy::folder();
    put(&folder.join("gate.wasm"), guest::gate());
    let listener = patient(&format!("{ALL}\n  connection_filters: [gate]"));
    let text = |listener: &str| {
        let filters = "filters:\n  gate: { component: ./gate.wasm, config: { do: 'preview route-to-other' } }\n";
        let yaml = yaml(listener, &db, &other);
        // Each worker writes its own lines.
        let yaml = format!("workers: 1\n{yaml}");
        yaml.replace("clusters:\n", &format!("{filters}clusters:\n"))
    };
    let proxy = Proxy::start_in(folder, &text(&listener));
    let hello = client_hello(&Authority::new("root"));
    let facts = |count: usize| records(proxy.path(), count).pop().unwrap();
    assert_eq!(proxy.get("/").text(), "db");
    let record = facts(1);
    for (name, value) in [
        ("gate.connection.protocol", "http1"),
        ("gate.preview", "GET "),
        ("gate.routed", "Err(RouteError::Unsupported)"),
    ] {
        assert_eq!(record["attributes"][name], value, "{record}");
    }
    for (count, sent, protocol, sni) in [
        (2, &b"SET key value"[..], "opaque", Value::Null),
        (3, &hello, "tls", "db.test".into()),
    ] {
        let mut client = proxy.connect();
        client.send(sent).finish();
        assert_eq!(client.rest(), sent);
        let record = facts(count);
        assert_eq!(record["cluster"], "other", "{record}");
        let facts = &record["attributes"];
        assert_eq!(facts["gate.connection.protocol"], protocol, "{record}");
        assert_eq!(facts["gate.tls.sni"], sni, "{record}");
    }
    // One wait is for both.
    proxy.edit(&text(&listener.replace("60s", "50ms")));
    assert!(proxy.reload().ok);
    let mut client = proxy.connect();
    assert_eq!(other.seen().line, "other");
    assert_eq!(other.seen().line, "other");
    assert_eq!(other.seen().line, "other");
    client.send(GET);
    is_echoed(&mut client, GET.as_bytes());
    client.finish().rest();
    let facts = &facts(4)["attributes"];
    assert_eq!(facts["gate.connection.protocol"], "timeout");
    assert_eq!(facts["gate.preview"], "");
}

#[test]
fn a_filter_that_refuses_is_told_of_as_what_was_spoken() {
    let db = mixed("db");
    let folder = Proxy::folder();
    put(&folder.join("gate.wasm"), guest::gate());
    let listener = patient(&format!("{ALL}\n  connection_filters: [gate]"));
    let filters = "filters:\n  gate: { component: ./gate.wasm, config: { do: deny } }\n";
    let yaml = yaml(&listener, &db, &db).replace("clusters:\n", &format!("{filters}clusters:\n"));
    let proxy = Proxy::start_in(folder, &yaml);
    for sent in [GET, "SET key value"] {
        let mut client = proxy.connect();
        client.try_send(sent);
        assert_eq!(client.rest(), b"");
    }
    for record in records(proxy.path(), 2) {
        assert_eq!(record["error"], "connection_denied", "{record}");
    }
    let tcp = "lockgate_tcp_connections_total{listener=\"web\"}";
    assert_eq!(metric(proxy.admin(), tcp), 1.0);
    assert!(db.seen_now().is_none());
}

#[test]
fn a_reload_that_changes_the_list_counts_for_who_is_told_later() {
    let db = mixed("http");
    let policy = |protocols: &str| {
        let listener = patient(&format!("protocols: [{protocols}]"));
        format!("drain_timeout: 300ms\n{}", yaml(&listener, &db, &db))
    };
    let reload = |proxy: &Proxy, protocols: &str| {
        proxy.edit(&policy(protocols));
        assert!(proxy.reload().ok);
    };
    let proxy = Proxy::start(&policy("http1, tcp"));
    let mut http = proxy.connect();
    assert_eq!(http.send(GET).answer().text(), "http");
    let mut tcp = proxy.connect();
    tcp.send("hello\n");
    is_echoed(&mut tcp, b"hello\n");
    let mut waiting = proxy.connect();
    waiting.send("GE");
    are_open(&proxy, 3.0);

    // TCP goes: its connections have the time of a drain.
    reload(&proxy, "http1");
    assert!(tcp.is_reset());
    assert_eq!(http.send(GET).answer().text(), "http");
    waiting.send(&GET[2..]);
    assert_eq!(waiting.answer().text(), "http");

    // It comes back, and HTTP goes.
    reload(&proxy, "http1, tcp");
    let mut waiting = proxy.connect();
    waiting.send("GE");
    are_open(&proxy, 3.0);
    reload(&proxy, "tcp");
    waiting.send(&GET[2..]);
    is_echoed(&mut waiting, GET.as_bytes());
    let mut client = proxy.connect();
    client.send(GET);
    is_echoed(&mut client, GET.as_bytes());
    assert_eq!(http.send(GET).answer().status, 505);
}

#[test]
fn a_drain_ends_each_as_what_it_is() {
    let db = mixed("http");
    let yaml = yaml(&patient(ALL), &db, &db);
    let mut process = Process::start(&format!("drain_timeout: 10s\n{yaml}"));
    let mut http = process.connect();
    assert_eq!(http.send(GET).answer().text(), "http");
    let mut tcp = process.connect();
    tcp.send("hello\n");
    is_echoed(&mut tcp, b"hello\n");
    let mut silent = process.connect();
    process.signal("TERM");
    process.logged("draining");
    tcp.send("still");
    is_echoed(&mut tcp, b"still");
    tcp.finish().rest();
    assert_eq!(http.rest(), b"");
    assert_eq!(silent.rest(), b"");
    assert_eq!(process.exit_code(), Some(0));
}

#[test]
fn who_breaks_off_early_reaches_no_origin() {
    let db = mixed("http");
    let proxy = start(&patient(ALL), &db);
    let stream = TcpStream::connect(proxy.address()).unwrap();
    are_open(&proxy, 1.0);
    let socket = socket2::SockRef::from(&stream);
    socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(stream);
    are_open(&proxy, 0.0);
    assert!(db.seen_now().is_none());
    assert_eq!(detected(&proxy, "opaque"), 0.0);
}
