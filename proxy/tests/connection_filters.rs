//! Filters of connections: what they see, what becomes of a connection that they refuse
//! or fail at, and the two that are shipped.

#[path = "guests/component.rs"]
mod guest;
mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;

use serde_json::Value;
use support::admin::{ask, metric, metric_sum};
use support::filtered::check;
use support::tls::{Authority, Speaks, TlsClient, put};
use support::{Origin, Process, Proxy, Seen, within};

const LOG: &str = "access_log: { to: ./access.log }\nadmin: { address: '127.0.0.1:0' }\n";

/// Says its name, then sends everything back.
fn echo(name: &'static str) -> Origin {
    Origin::scripted(move |mut stream, seen| {
        seen.send(Seen::named("connected")).ok();
        stream.write_all(name.as_bytes()).ok();
        let mut reader = stream.try_clone().unwrap();
        std::io::copy(&mut reader, &mut stream).ok();
        stream.shutdown(Shutdown::Write).ok();
    })
}

/// A listener with these keys, and these filters, in front of `db` and `other`.
fn yaml(listener: &str, filters: &str, db: &Origin, other: &Origin) -> String {
    format!(
        "{LOG}listeners:\n- name: web\n  address: 127.0.0.1:0\n  {listener}\n\
         filters:\n{filters}\
         clusters:\n- {{ name: db, endpoints: ['{}'] }}\n- {{ name: other, endpoints: ['{}'] }}\n",
        db.address, other.address
    )
}

const TCP: &str = "protocols: [tcp]\n  cluster: db\n  connection_filters: [gate]";

/// The guest, which is told by words.
fn gate(words: &str, more: &str) -> String {
    format!("  gate: {{ component: ./gate.wasm, config: {{ do: '{words}' }} {more} }}\n")
}

fn folder() -> std::path::PathBuf {
    let folder = Proxy::folder();
    put(&folder.join("gate.wasm"), guest::gate());
    folder
}

fn gated(words: &str, more: &str) -> (Proxy, Origin) {
    let (db, other) = (echo("db"), echo("other"));
    let yaml = yaml(TCP, &gate(words, more), &db, &other);
    (Proxy::start_in(folder(), &yaml), db)
}

fn records(folder: &Path, count: usize) -> Vec<Value> {
    within(&format!("{count} records"), || {
        let text = std::fs::read_to_string(folder.join("access.log")).ok()?;
        let lines = text.lines().map(serde_json::from_str);
        let records: Vec<Value> = lines.collect::<Result<_, _>>().ok()?;
        (records.len() >= count).then_some(records)
    })
}

fn only(proxy: &Proxy) -> Value {
    records(proxy.path(), 1).remove(0)
}

/// What a client hears that says `hello` and ends, if it is let.
fn heard(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"hello").ok();
    stream.shutdown(Shutdown::Write).ok();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).ok();
    heard
}

/// Waits until the proxy has a connection.
fn is_open(proxy: &Proxy, listener: &str) {
    let active = format!("lockgate_connections_active{{listener=\"{listener}\"}}");
    within("a connection is open", || {
        (metric(proxy.admin(), &active) == 1.0).then_some(())
    });
}

#[test]
fn it_sees_the_facts_and_leaves_some() {
    let (proxy, _db) = gated("next", "");
    assert_eq!(heard(proxy.address()), "dbhello");
    let record = only(&proxy);
    let port = proxy.address().port().to_string();
    for (name, value) in [
        ("gate.listener.name", "web"),
        ("gate.destination.address", "127.0.0.1"),
        ("gate.destination.port", &port),
        ("gate.client", "127.0.0.1"),
        ("gate.preview", ""),
    ] {
        assert_eq!(record["attributes"][name], value, "{name} in {record}");
    }
    let calls = "lockgate_filter_calls_total";
    assert_eq!(
        metric_sum(proxy.admin(), calls, "phase=\"connection\""),
        1.0
    );
}

#[test]
fn it_sends_connections_elsewhere() {
    let (proxy, _db) = gated("route-to-other", "");
    assert_eq!(heard(proxy.address()), "otherhello");
    let record = only(&proxy);
    assert_eq!(record["cluster"], "other", "{record}");
    let (proxy, _db) = gated("route-to-unknown", "");
    assert_eq!(heard(proxy.address()), "dbhello");
    let refused = &only(&proxy)["attributes"]["gate.refused"];
    assert_eq!(refused, "Err(RouteError::Unknown)");
}

#[test]
fn it_sees_the_first_bytes_where_it_wants_to() {
    let (proxy, _db) = gated("preview", "");
    assert_eq!(heard(proxy.address()), "dbhello");
    assert_eq!(only(&proxy)["attributes"]["gate.preview"], "hell");
}

/// Who sends little at a time is not judged by that little.
#[test]
fn as_many_first_bytes_are_waited_for_as_it_wants() {
    let db = echo("db");
    let authority = Authority::new("root");
    let listener = |name: &str, tls: &str| {
        format!(
            "- {{ name: {name}, address: '127.0.0.1:0', protocols: [tcp], cluster: db, \
             detection: 60s, connection_filters: [gate] {tls} }}\n"
        )
    };
    let folder = folder();
    authority.issue(&["db.test"]).write(&folder, "db");
    let tls = ", tls: { certificates: [{ chain: db.pem, key: db.key }] }";
    let yaml = format!(
        "{LOG}listeners:\n{}{}filters:\n{}clusters: [{{ name: db, endpoints: ['{}'] }}]\n",
        listener("plain", ""),
        listener("tls", tls),
        gate("preview", ""),
        db.address
    );
    let proxy = Proxy::start_in(folder, &yaml);
    let mut client = support::Client::connect(proxy.listener("plain").unwrap());
    client.send("h");
    is_open(&proxy, "plain");
    client.send("el").send("lo");
    assert_eq!(client.exactly(7), b"dbhello");
    client.finish().rest();
    // A client that ends before has no more to show.
    let mut client = support::Client::connect(proxy.listener("plain").unwrap());
    client.send("he").finish();
    assert_eq!(client.rest(), b"dbhe");

    let config = Speaks::new(&authority).config();
    let address = proxy.listener("tls").unwrap();
    let mut client = TlsClient::connect(address, &config, "db.test").unwrap();
    client.send("h");
    is_open(&proxy, "tls");
    client.send("ello");
    assert_eq!(client.exactly(7), b"dbhello");
    client.end();
    let records = records(proxy.path(), 3);
    let shown = records.iter();
    let shown = shown.map(|record| record["attributes"]["gate.preview"].as_str());
    let mut shown: Vec<_> = shown.map(Option::unwrap_or_default).collect();
    // Each worker writes its own lines.
    shown.sort_unstable();
    assert_eq!(shown, ["he", "hell", "hell"]);
}

#[test]
fn a_client_that_breaks_off_before_it_is_asked_about_is_told_of() {
    let (db, other) = (echo("db"), echo("other"));
    let listener = format!("detection: 60s\n  {TCP}");
    let yaml = yaml(&listener, &gate("preview", ""), &db, &other);
    let proxy = Proxy::start_in(folder(), &yaml);
    let stream = TcpStream::connect(proxy.address()).unwrap();
    is_open(&proxy, "web");
    let socket = socket2::SockRef::from(&stream);
    socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(stream);
    assert_eq!(only(&proxy)["error"], "client_gone");
    assert!(db.seen_now().is_none());
}

/// Whoever comes in while a reload changes who may, is asked about by the new rules.
#[test]
fn a_reload_lets_nobody_in_who_was_waiting() {
    let (db, other) = (echo("db"), echo("other"));
    let policy = |protocol: &str, cluster: &str, words: &str| {
        let listener = format!(
            "detection: 60s\n  protocols: [{protocol}]\n  cluster: {cluster}\n  \
             connection_filters: [gate]"
        );
        yaml(&listener, &gate(words, ""), &db, &other)
    };
    for protocol in ["tcp", "http1"] {
        let proxy = Proxy::start_in(folder(), &policy(protocol, "db", "preview"));
        let mut client = proxy.connect();
        client.send("he");
        is_open(&proxy, "web");
        proxy.edit(&policy(protocol, "other", "deny"));
        assert!(proxy.reload().ok);
        client.try_send("llo");
        assert_eq!(client.rest(), b"", "{protocol}");
        assert_eq!(only(&proxy)["error"], "connection_denied", "{protocol}");
        // Of HTTP none is counted among those of TCP.
        let of_tcp = "lockgate_tcp_connections_total{listener=\"web\"}";
        let wanted = f64::from(u8::from(protocol == "tcp"));
        assert_eq!(metric(proxy.admin(), of_tcp), wanted, "{protocol}");
    }
    let proxy = Proxy::start_in(folder(), &policy("tcp", "db", "preview"));
    let mut client = proxy.connect();
    client.send("he");
    is_open(&proxy, "web");
    proxy.edit(&policy("tcp", "other", "preview next"));
    assert!(proxy.reload().ok);
    client.send("llo");
    assert_eq!(client.exactly(10), b"otherhello", "by the new rules it may");
    assert!(db.seen_now().is_none() && other.seen_now().is_some());
}

/// Which certificate was asked for in a handshake is not to be made good later.
#[test]
fn a_reload_that_asks_for_certificates_closes_who_was_waiting_without_one() {
    let (db, other) = (echo("db"), echo("other"));
    let authority = Authority::new("root");
    let folder = folder();
    authority.issue(&["db.test"]).write(&folder, "db");
    put(&folder.join("clients.pem"), authority.pem());
    let policy = |client: &str| {
        let tls = format!("tls: {{ certificates: [{{ chain: db.pem, key: db.key }}] {client} }}");
        let listener = format!("detection: 60s\n  {tls}\n  {TCP}");
        yaml(&listener, &gate("preview", ""), &db, &other)
    };
    let proxy = Proxy::start_in(folder, &policy(""));
    let config = Speaks::new(&authority).config();
    let mut client = TlsClient::connect(proxy.address(), &config, "db.test").unwrap();
    client.send("he");
    is_open(&proxy, "web");
    proxy.edit(&policy(", client: { ca: [clients.pem] }"));
    assert!(proxy.reload().ok);
    client.try_send("llo").ok();
    assert!(!client.rest().is_ok_and(|rest| !rest.is_empty()));
    assert_eq!(only(&proxy)["error"], "draining");
    assert!(db.seen_now().is_none());
}

/// A request of which nothing has come is not waited for by a drain.
#[test]
fn a_drain_ends_who_has_said_nothing_to_filters_of_http() {
    let (db, other) = (echo("db"), echo("other"));
    let listener = "cluster: db\n  detection: 60s\n  connection_filters: [gate]";
    let yaml = yaml(listener, &gate("preview", ""), &db, &other);
    let yaml = format!("drain_timeout: 60s\n{yaml}");
    let mut process = Process::start_in(folder(), &yaml);
    let mut silent = process.connect();
    process.signal("TERM");
    assert_eq!(silent.rest(), b"");
    assert_eq!(process.exit_code(), Some(0));
}

/// A server that speaks first is heard all the same.
#[test]
fn first_bytes_that_do_not_come_are_not_waited_for_long() {
    let (db, other) = (echo("db"), echo("other"));
    let listener = format!("detection: 50ms\n  {TCP}");
    let yaml = yaml(&listener, &gate("preview", ""), &db, &other);
    let proxy = Proxy::start_in(folder(), &yaml);
    let mut client = proxy.connect();
    assert_eq!(client.exactly(2), b"db");
    client.finish().rest();
    assert_eq!(only(&proxy)["attributes"]["gate.preview"], "");
}

#[test]
fn who_is_refused_reaches_no_origin() {
    let (proxy, db) = gated("deny done", "");
    let mut client = proxy.connect();
    client.try_send("hello");
    assert_eq!(client.rest(), b"");
    let record = only(&proxy);
    assert_eq!(record["error"], "connection_denied", "{record}");
    assert_eq!(record["detail"], "denied as it was told", "{record}");
    assert_eq!(record["filter"], "gate", "{record}");
    assert_eq!(record["attributes"]["gate.client"], "127.0.0.1", "{record}");
    assert!(db.seen_now().is_none());
    let denied = "error=\"connection_denied\"";
    assert_eq!(
        metric_sum(proxy.admin(), "lockgate_request_errors_total", denied),
        1.0
    );
}

/// What happens where the filter fails is the operator's choice, and what it did before
/// is undone.
#[test]
fn a_failure_is_what_on_error_says() {
    for (words, fault) in [("trap", "trap"), ("loop", "overrun"), ("fail", "error")] {
        let (proxy, db) = gated(words, ", on_error: skip");
        assert_eq!(heard(proxy.address()), "dbhello", "{words}");
        let record = only(&proxy);
        assert_eq!(record["attributes"], Value::Null, "{record}");
        let fault = format!("fault=\"{fault}\"");
        let faults = || metric_sum(proxy.admin(), "lockgate_filter_faults_total", &fault);
        assert_eq!(faults(), 1.0, "{words}");
        drop((proxy, db));

        let (proxy, db) = gated(words, ", on_error: deny");
        let mut client = proxy.connect();
        assert_eq!(client.rest(), b"", "{words}");
        assert_eq!(only(&proxy)["error"], "filter_failed", "{words}");
        assert!(db.seen_now().is_none());
    }
    let (proxy, _db) = gated("trap", ", on_error: reset");
    assert!(proxy.connect().is_reset());
    // A trap costs its instance and no other connection.
    assert!(proxy.connect().is_reset());
}

#[test]
fn it_hears_of_the_end() {
    let (db, other) = (echo("db"), echo("other"));
    let yaml = yaml(TCP, &gate("done", ""), &db, &other);
    let process = Process::start_in(folder(), &yaml);
    let mut client = process.connect();
    client.send("hello");
    assert_eq!(client.exactly(7), b"dbhello");
    assert!(!process.log().contains("over: "));
    client.finish().rest();
    process.logged("over: 127.0.0.1");
}

#[test]
fn exchanges_of_a_connection_have_its_facts() {
    let origin = Origin::saying("body");
    let listener = "cluster: db\n  connection_filters: [gate]";
    let yaml = yaml(listener, &gate("route-to-other done", ""), &origin, &origin);
    let proxy = Proxy::start_in(folder(), &yaml);
    for _ in 0..2 {
        assert_eq!(proxy.get("/").text(), "body");
    }
    for record in records(proxy.path(), 2) {
        let facts = &record["attributes"];
        assert_eq!(facts["gate.client"], "127.0.0.1", "{record}");
        // Where there is HTTP, filters of exchanges decide.
        assert_eq!(
            facts["gate.routed"], "Err(RouteError::Unsupported)",
            "{record}"
        );
    }
    let calls = metric_sum(
        proxy.admin(),
        "lockgate_filter_calls_total",
        "phase=\"done\"",
    );
    assert_eq!(calls, 2.0);
}

#[test]
fn it_is_asked_behind_a_proxy_header_and_a_handshake() {
    let (db, other) = (echo("db"), echo("other"));
    let authority = Authority::new("root");
    let folder = folder();
    authority.issue(&["db.test"]).write(&folder, "db");
    put(&folder.join("clients.pem"), authority.pem());
    let listener = format!(
        "proxy_protocol: {{ from: [127.0.0.0/8] }}\n  \
         tls: {{ certificates: [{{ chain: db.pem, key: db.key }}], \
         client: {{ ca: [clients.pem] }} }}\n  {TCP}"
    );
    let proxy = Proxy::start_in(folder, &yaml(&listener, &gate("preview", ""), &db, &other));
    let key = rcgen::KeyPair::generate().unwrap();
    let identity = "spiffe://example.org/web";
    let certificate = authority.issue_with(&[], &key, |params| {
        let uri = identity.try_into().unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI(uri));
    });
    let speaks = Speaks {
        certificate: Some(certificate),
        ..Speaks::new(&authority)
    };
    let header = b"PROXY TCP4 192.0.2.7 203.0.113.9 4711 443\r\n";
    let address = proxy.address();
    let mut client =
        TlsClient::connect_behind(address, &speaks.config(), "db.test", header).unwrap();
    client.send("hello");
    assert_eq!(client.exactly(7), b"dbhello");
    client.end();
    let facts = &only(&proxy)["attributes"];
    for (name, value) in [
        ("gate.client", "192.0.2.7"),
        ("gate.tls.sni", "db.test"),
        ("gate.tls.version", "TLSv1.3"),
        ("gate.tls.peer.spiffe", identity),
        ("gate.proxy_protocol.version", "1"),
        ("gate.preview", "hell"),
    ] {
        assert_eq!(facts[name], value, "{name} in {facts}");
    }
}

#[test]
fn a_reload_swaps_it_and_leaves_open_connections_alone() {
    let (db, other) = (echo("db"), echo("other"));
    let policy = |words: &str| yaml(TCP, &gate(words, ""), &db, &other);
    let proxy = Proxy::start_in(folder(), &policy("next done"));
    let mut open = proxy.connect();
    open.send("hello");
    assert_eq!(open.exactly(7), b"dbhello");
    proxy.edit(&policy("deny"));
    assert!(proxy.reload().ok);
    let mut refused = proxy.connect();
    assert_eq!(refused.rest(), b"");
    open.send("still");
    assert_eq!(open.exactly(5), b"still");
    open.finish().rest();
    // A bad configuration changes nothing.
    proxy.edit(&policy("refuse-me"));
    let outcome = proxy.reload();
    assert!(!outcome.ok);
    assert!(
        outcome.mistakes[0].contains("refused as it was told"),
        "{outcome:?}"
    );
    assert_eq!(proxy.connect().rest(), b"");
}

#[test]
fn a_canary_takes_its_share_and_is_promoted() {
    let (db, other) = (echo("db"), echo("other"));
    let state = Proxy::folder();
    let canary =
        ", canary: { component: ./gate.wasm, percent: 100, config: { do: 'route-to-other' } }";
    let yaml = format!(
        "state_dir: {}\n{}",
        state.display(),
        yaml(TCP, &gate("next", canary), &db, &other)
    );
    let proxy = Proxy::start_in(folder(), &yaml);
    assert_eq!(heard(proxy.address()), "otherhello");
    let calls = "lockgate_filter_calls_total";
    assert_eq!(
        metric_sum(proxy.admin(), calls, "+canary\",phase=\"connection\""),
        1.0
    );
    let host = [("host", "localhost")];
    let promoted = ask(proxy.admin(), "POST", "/filters/gate/promote", &host);
    assert_eq!(promoted.status, 200, "{}", promoted.text());
    assert_eq!(heard(proxy.address()), "otherhello");
    drop(proxy);
    std::fs::remove_dir_all(state).ok();
}

#[test]
fn a_filter_in_the_wrong_place_is_refused() {
    let folder = folder();
    let refused = |listener: &str, filters: &str, words: &[&str]| {
        let yaml = format!(
            "listeners:\n- name: web\n  address: 127.0.0.1:0\n  cluster: db\n  {listener}\n\
             filters:\n{filters}clusters: [{{ name: db, endpoints: ['127.0.0.1:1'] }}]\n"
        );
        let checked = check(&folder, &yaml);
        assert_eq!(checked.code, 2, "{checked:?}");
        for word in words {
            assert!(checked.text.contains(word), "`{word}` in {checked:?}");
        }
    };
    refused(
        "filters: [gate]",
        &gate("next", ""),
        &[
            "checked.yaml:6:13: found `gate`, which is a filter of connections, \
             wanted a filter of exchanges in `filters`",
        ],
    );
    let mirror = "  mirror: { component: 'lockgate:fault', config: { abort: { status: 500 } } }\n";
    refused(
        "connection_filters: [mirror]",
        mirror,
        &[
            "checked.yaml:6:24: found `mirror`, which is a filter of exchanges, \
             wanted a filter of connections in `connection_filters`",
        ],
    );
    refused(
        "connection_filters: [gate]",
        &gate("next", ", shadow: { component: ./gate.wasm, percent: 1 }"),
        &["found `shadow` of a filter of connections, which sees no exchange"],
    );
    refused(
        "protocols: [tcp]\n  connection_filters: [gate]",
        &gate("route-to-other", ""),
        &["filter `gate` naming the cluster `other`"],
    );
    std::fs::remove_dir_all(folder).ok();
}

#[test]
fn l4_authz_lets_in_whom_it_should() {
    let (db, other) = (echo("db"), echo("other"));
    let policy = |rules: &str| {
        let filters =
            format!("  gate: {{ component: 'lockgate:l4-authz', config: {{ {rules} }} }}\n");
        yaml(TCP, &filters, &db, &other)
    };
    let proxy = Proxy::start(&policy("allow: [{ name: near, clients: [127.0.0.0/8] }]"));
    assert_eq!(heard(proxy.address()), "dbhello");
    proxy.edit(&policy("allow: [{ clients: [192.0.2.0/24] }]"));
    assert!(proxy.reload().ok);
    assert_eq!(heard(proxy.address()), "");
    proxy.edit(&policy("dry_run: true"));
    assert!(proxy.reload().ok);
    assert_eq!(heard(proxy.address()), "dbhello");
    let decided = |decision: &str, rule: &str| {
        let labels = format!("decision=\"{decision}\",rule=\"{rule}\"");
        metric_sum(proxy.admin(), "lockgate_guest_decisions_total", &labels)
    };
    assert_eq!(decided("allowed", "near"), 1.0);
    assert_eq!(decided("denied", "none"), 1.0);
    assert_eq!(decided("would_deny", "none"), 1.0);
    let records = records(proxy.path(), 3);
    let is_denied = |record: &&Value| record["attributes"]["gate.decision"] == "denied";
    let denied = records.iter().find(is_denied).expect("a denial");
    assert_eq!(denied["detail"], "rule none", "{records:?}");
}

/// TLS goes through: the certificate is the origin's.
#[test]
fn tcp_router_goes_by_the_name_that_is_asked_for() {
    let (one, other) = (Origin::saying("one"), Origin::saying("other"));
    let authority = Authority::new("root");
    let behind = |name: &str, origin: &Origin| {
        let folder = Proxy::folder();
        authority.issue(&[name]).write(&folder, "own");
        let yaml = format!(
            "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, \
             tls: {{ certificates: [{{ chain: own.pem, key: own.key }}] }} }}]\n\
             clusters: [{{ name: o, endpoints: ['{}'] }}]\n",
            origin.address
        );
        Proxy::start_in(folder, &yaml)
    };
    let (tls_one, tls_other) = (behind("one.test", &one), behind("a.other.test", &other));
    let routes = "routes: [\
         { match: { sni: [one.test] }, cluster: one }, \
         { match: { sni: ['*.other.test'] }, cluster: other }]";
    let proxy = Proxy::start(&format!(
        "{LOG}listeners:\n- {{ name: web, address: '127.0.0.1:0', protocols: [tcp], \
         connection_filters: [router] }}\n\
         filters:\n  router: {{ component: 'lockgate:tcp-router', config: {{ {routes} }} }}\n\
         clusters:\n- {{ name: one, endpoints: ['{}'] }}\n- {{ name: other, endpoints: ['{}'] }}\n",
        tls_one.address(),
        tls_other.address()
    ));
    let config = Speaks::new(&authority).config();
    for (name, wanted) in [("one.test", "one"), ("a.other.test", "other")] {
        let mut client = TlsClient::connect(proxy.address(), &config, name).unwrap();
        assert_eq!(client.get("/").text(), wanted);
    }
    // Nobody's name, and no TLS at all: there is no cluster for what no route takes.
    assert!(TlsClient::connect(proxy.address(), &config, "nobody.test").is_err());
    let mut client = proxy.connect();
    client.try_send("GET / HTTP/1.1\r\n\r\n");
    assert!(client.is_reset());
    let records = records(proxy.path(), 4);
    let errors: Vec<_> = records.iter().map(|record| &record["error"]).collect();
    let no_route = errors.iter().filter(|error| **error == "no_route").count();
    assert_eq!(no_route, 2, "{records:?}");
}

/// A ClientHello that comes byte by byte is waited for.
#[test]
fn a_handshake_may_come_in_pieces() {
    let (db, other) = (echo("db"), echo("other"));
    let yaml = yaml(
        &format!("detection: 60s\n  {TCP}"),
        &gate("preview", ""),
        &db,
        &other,
    );
    let proxy = Proxy::start_in(folder(), &yaml);
    let authority = Authority::new("root");
    let name = "db.test".try_into().unwrap();
    let config = Speaks::new(&authority).config();
    let mut hello = Vec::new();
    let mut connection = rustls::ClientConnection::new(config, name).unwrap();
    connection.write_tls(&mut hello).unwrap();
    let mut client = proxy.connect();
    for piece in hello.chunks(200) {
        client.send(piece);
        std::thread::yield_now();
    }
    client.finish();
    assert!(client.rest().ends_with(&hello));
    assert_eq!(only(&proxy)["attributes"]["gate.tls.sni"], "db.test");
}
