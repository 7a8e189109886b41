//! Connections of TCP: bytes in both directions, how they end, and what is told of them.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use support::admin::{metric, metric_sum};
use support::tls::{Authority, Speaks, TlsClient};
use support::{Client, Origin, Process, Proxy, Seen, within};

const LOG: &str = "access_log: { to: ./access.log }\nadmin: { address: '127.0.0.1:0' }\n";

fn yaml(endpoints: &str, more: &str) -> String {
    format!(
        "{LOG}listeners:\n- name: web\n  address: 127.0.0.1:0\n  protocols: [tcp]\n  cluster: db\n  \
         {more}\n\
         clusters: [{{ name: db, endpoints: [{endpoints}], balance: least_request }}]\n"
    )
}

fn to(origin: &Origin) -> String {
    format!("'{}'", origin.address)
}

fn proxy_to(origin: &Origin) -> Proxy {
    Proxy::start(&yaml(&to(origin), ""))
}

/// Sends everything back, and ends when the client does.
fn echo() -> Origin {
    Origin::scripted(|mut stream, seen| {
        seen.send(Seen::named("connected")).ok();
        let mut reader = stream.try_clone().unwrap();
        std::io::copy(&mut reader, &mut stream).ok();
        stream.shutdown(Shutdown::Write).ok();
    })
}

fn records(folder: &Path, count: usize) -> Vec<Value> {
    within(&format!("{count} records"), || {
        let text = std::fs::read_to_string(folder.join("access.log")).ok()?;
        let lines = text.lines().map(serde_json::from_str);
        let records: Vec<Value> = lines.collect::<Result<_, _>>().ok()?;
        (records.len() >= count).then_some(records)
    })
}

fn only(folder: &Path) -> Value {
    records(folder, 1).remove(0)
}

/// A connection that has been passed on.
fn talking(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    client.send("hello");
    assert_eq!(client.exactly(5), b"hello");
    client
}

/// Has a connection end by a reset.
fn reset(stream: TcpStream) {
    let socket = socket2::SockRef::from(&stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_client_that_has_ended_still_gets_its_answer() {
    let origin = Origin::scripted(|mut stream, _| {
        let mut asked = String::new();
        stream.read_to_string(&mut asked).unwrap();
        stream.write_all(asked.to_uppercase().as_bytes()).unwrap();
    });
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    client.send("all of it").finish();
    assert!(!client.is_reset_after(b"ALL OF IT"));

    let record = only(proxy.path());
    for (key, value) in [
        ("listener", "web"),
        ("protocol", "tcp"),
        ("client", "127.0.0.1"),
        ("cluster", "db"),
        ("endpoint", &origin.address.to_string()),
    ] {
        assert_eq!(record[key], value, "{key} in {record}");
    }
    assert_eq!(
        (&record["bytes_in"], &record["bytes_out"]),
        (&9.into(), &9.into())
    );
    assert!(record["duration_us"].as_u64() >= record["upstream_us"].as_u64());
    for absent in ["error", "status", "method", "version"] {
        assert_eq!(record[absent], Value::Null, "{record}");
    }
}

#[test]
fn an_origin_that_has_ended_still_gets_what_the_client_sends() {
    let origin = Origin::scripted(|mut stream, seen| {
        stream.write_all(b"220 ready").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).unwrap();
        seen.send(Seen::named(&told)).ok();
    });
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    // It speaks first, and the end is heard before the client says anything.
    assert_eq!(client.rest(), b"220 ready");
    client.send("bye").finish();
    assert_eq!(origin.seen().line, "bye");
}

#[test]
fn a_client_that_breaks_off_is_broken_off_to_the_origin() {
    let origin = Origin::scripted(|mut stream, seen| {
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
        let ended = stream.read(&mut bytes);
        seen.send(Seen::named(&format!(
            "{:?}",
            ended.map_err(|error| error.kind())
        )))
        .ok();
    });
    let proxy = proxy_to(&origin);
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    reset(client);
    assert_eq!(origin.seen().line, "Err(ConnectionReset)");
    let record = only(proxy.path());
    assert_eq!(record["error"], "client_gone", "{record}");
}

#[test]
fn an_origin_that_breaks_off_is_broken_off_to_the_client() {
    let origin = Origin::scripted(|mut stream, _| {
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).unwrap();
        reset(stream);
    });
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    client.send("hello");
    assert!(client.is_reset());
    let record = only(proxy.path());
    assert_eq!(record["error"], "upstream_reset", "{record}");
    assert_eq!(
        metric_sum(
            proxy.admin(),
            "lockgate_cluster_errors_total",
            "upstream_reset"
        ),
        1.0
    );
}

/// What it said before is heard, and no clean end behind it.
#[test]
fn the_last_words_of_an_origin_that_reads_no_more_are_passed_on() {
    let origin = Origin::scripted(|mut stream, seen| {
        stream.read_exact(&mut [0; 5]).unwrap();
        stream.write_all(b"too much").unwrap();
        seen.send(Seen::named("said")).ok();
        // Bytes that nobody reads make the kernel reset the connection at its close.
        stream.peek(&mut [0; 1]).ok();
    });
    let proxy = proxy_to(&origin);
    let mut client = proxy.connect();
    client.send("hello");
    origin.seen();
    assert_eq!(client.exactly(8), b"too much");
    client.send("more");
    assert!(client.is_reset());
}

#[test]
fn many_bytes_pass_both_ways_at_once() {
    const BYTES: usize = 32 << 20;
    let origin = echo();
    let proxy = proxy_to(&origin);
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let piece: Vec<u8> = (0..1 << 20).map(|at: u32| ((at * 7) >> 3) as u8).collect();
    let sent = piece.clone();
    let sending = std::thread::spawn(move || {
        for _ in 0..BYTES / sent.len() {
            writer.write_all(&sent).unwrap();
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = vec![0; piece.len()];
    for _ in 0..BYTES / piece.len() {
        stream.read_exact(&mut got).unwrap();
        assert!(got == piece);
    }
    assert_eq!(stream.read(&mut got).unwrap(), 0);
    sending.join().unwrap();
    let record = only(proxy.path());
    assert_eq!(record["bytes_in"], BYTES, "{record}");
    let passed = |name: &str| metric(proxy.admin(), &format!("{name}{{listener=\"web\"}}"));
    assert_eq!(passed("lockgate_request_body_bytes_total"), BYTES as f64);
    assert_eq!(passed("lockgate_response_body_bytes_total"), BYTES as f64);
    assert_eq!(passed("lockgate_tcp_connections_total"), 1.0);
}

#[test]
fn another_endpoint_takes_what_one_refuses() {
    // Bound, so that nobody else takes it, and not listening.
    let refusing = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    refusing.bind(&any.into()).unwrap();
    let refused = refusing.local_addr().unwrap().as_socket().unwrap();
    let origin = echo();
    let proxy = Proxy::start(&yaml(&format!("'{refused}', '{}'", origin.address), ""));
    // Which of them is drawn first is chance.
    within("the other was tried", || {
        talking(proxy.address()).finish().rest();
        let failures = metric_sum(
            proxy.admin(),
            "lockgate_cluster_connect_failures_total",
            "db",
        );
        (failures >= 1.0).then_some(())
    });

    let proxy = Proxy::start(&yaml(&format!("'{refused}'"), ""));
    assert!(proxy.connect().is_reset());
    let record = only(proxy.path());
    assert_eq!(record["error"], "connect_failed", "{record}");
    let failed = metric_sum(
        proxy.admin(),
        "lockgate_request_errors_total",
        "connect_failed",
    );
    assert_eq!(failed, 1.0);
}

#[test]
fn connections_are_load_for_as_long_as_they_last() {
    let (one, other) = (echo(), echo());
    let endpoints = format!("'{}', '{}'", one.address, other.address);
    let proxy = Proxy::start(&format!("workers: 1\n{}", yaml(&endpoints, "")));
    let open: Vec<_> = (0..60).map(|_| talking(proxy.address())).collect();
    let count = |origin: &Origin| std::iter::from_fn(|| origin.seen_now()).count();
    // Now and then both that are drawn are the same one.
    let (one, other) = (count(&one), count(&other));
    assert_eq!(one + other, 60);
    assert!(one.abs_diff(other) <= 8, "{one} and {other}");
    let active = "lockgate_cluster_requests_active{cluster=\"db\"}";
    assert_eq!(metric(proxy.admin(), active), 60.0);
    drop(open);
    within("none is active", || {
        (metric(proxy.admin(), active) == 0.0).then_some(())
    });
}

#[test]
fn tls_is_terminated() {
    let authority = Authority::new("root");
    let folder = Proxy::folder();
    authority.issue(&["db.test"]).write(&folder, "db");
    let origin = echo();
    let more = "tls: { certificates: [{ chain: db.pem, key: db.key }] }";
    let proxy = Proxy::start_in(folder, &yaml(&to(&origin), more));
    let mut client = TlsClient::connect(
        proxy.address(),
        &Speaks::new(&authority).config(),
        "db.test",
    )
    .unwrap();
    client.send("hello");
    assert_eq!(client.exactly(5), b"hello");
    let long = vec![b'x'; 300_000];
    client.send(&long);
    assert_eq!(client.exactly(long.len()), long);
    client.end();
    assert_eq!(client.rest().unwrap(), b"");
    let record = only(proxy.path());
    assert_eq!(record["bytes_in"], 300_005, "{record}");
    assert_eq!(record["error"], Value::Null, "{record}");
}

#[test]
fn a_proxy_header_tells_whose_connection_it_is() {
    let origin = echo();
    let more = "proxy_protocol: { from: [127.0.0.0/8] }";
    let proxy = Proxy::start(&yaml(&to(&origin), more));
    let mut client = proxy.connect();
    client.send("PROXY TCP4 192.0.2.7 203.0.113.9 4711 443\r\nhello");
    assert_eq!(client.exactly(5), b"hello");
    client.finish().rest();
    assert_eq!(only(proxy.path())["client"], "192.0.2.7");
}

#[test]
fn a_connection_on_which_nothing_comes_is_closed() {
    let origin = echo();
    let proxy = Proxy::start(&yaml(&to(&origin), "tcp: { idle: 50ms }"));
    let mut client = talking(proxy.address());
    assert!(!client.is_reset(), "nothing was lost");
    assert_eq!(only(proxy.path())["error"], "idle_timeout");
}

#[test]
fn a_connection_lasts_no_longer_than_it_may() {
    let origin = Origin::scripted(|mut stream, _| while stream.write_all(b"tick").is_ok() {});
    let proxy = Proxy::start(&yaml(&to(&origin), "tcp: { max_lifetime: 50ms }"));
    assert!(proxy.connect().is_reset(), "nobody takes that for the end");
    assert_eq!(only(proxy.path())["error"], "lifetime_over");
}

#[test]
fn a_drain_leaves_connections_until_its_limit() {
    let origin = echo();
    let mut process = Process::start(&format!("drain_timeout: 2s\n{}", yaml(&to(&origin), "")));
    let mut client = talking(process.address());
    let mut other = talking(process.address());
    process.signal("TERM");
    process.logged("draining");
    client.send("still");
    assert_eq!(client.exactly(5), b"still");
    client.finish();
    assert_eq!(client.rest(), b"");
    assert!(other.is_reset());
    assert_eq!(process.exit_code(), Some(0));
    let line = process.logged("the drain limit was reached");
    assert!(line.contains("open=1"), "{line}");
    let records = records(process.path(), 2);
    assert_eq!(records[0]["error"], Value::Null, "{records:?}");
    assert_eq!(records[1]["error"], "draining", "{records:?}");
}

#[test]
fn a_reload_ends_only_what_has_lost_its_listener() {
    let origin = echo();
    let both = |clusters: &str, cluster: &str, web: &str| {
        let listener = |name: &str, cluster: &str| {
            format!(
                "- {{ name: {name}, address: '127.0.0.1:0', protocols: [tcp], cluster: {cluster} }}\n"
            )
        };
        let web = if web.is_empty() {
            String::new()
        } else {
            listener(web, "db")
        };
        format!(
            "drain_timeout: 300ms\n{LOG}listeners:\n{web}{}clusters:\n{clusters}",
            listener("other", cluster)
        )
    };
    let cluster = |name: &str| format!("- {{ name: {name}, endpoints: ['{}'] }}\n", origin.address);
    let proxy = Proxy::start(&both(&cluster("db"), "db", "web"));
    let mut kept = talking(proxy.listener("web").unwrap());
    let mut moved = talking(proxy.listener("other").unwrap());
    // Another cluster for one of them.
    proxy.edit(&both(&(cluster("db") + &cluster("new")), "new", "web"));
    assert!(proxy.reload().ok);
    assert!(moved.is_reset());
    kept.send("still");
    assert_eq!(kept.exactly(5), b"still");
    // And none for the other.
    proxy.edit(&both(&(cluster("db") + &cluster("new")), "new", ""));
    assert!(proxy.reload().ok);
    assert!(kept.is_reset());
    let errors: Vec<_> = records(proxy.path(), 2);
    assert!(
        errors.iter().all(|record| record["error"] == "draining"),
        "{errors:?}"
    );
}

/// A generation does not live on for a connection that was opened by it.
#[test]
fn connections_outlive_generations() {
    let origin = echo();
    let policy = |drain: u32| {
        format!(
            "max_generations: 2\ndrain_timeout: {drain}s\n{}",
            yaml(&to(&origin), "")
        )
    };
    let proxy = Proxy::start(&policy(1));
    let mut client = talking(proxy.address());
    for drain in 2..8 {
        proxy.edit(&policy(drain));
        // Workers let a generation go a moment after the next was published.
        within("a reload finds room", || proxy.reload().ok.then_some(()));
    }
    client.send("still");
    assert_eq!(client.exactly(5), b"still");
}
