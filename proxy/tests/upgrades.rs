//! Connections that go on in another protocol, which is WebSocket nearly always.

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use support::admin::{live, metric_sum};
use support::{Client, Origin, Proxy, Seen, read_head, read_some, within};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\n\
     upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     sec-websocket-version: 13\r\nsec-websocket-protocol: chat\r\n\r\n";

fn switch(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\nsec-websocket-protocol: chat\r\n\r\n"
    )
}

/// Answers the first request of each connection with `answer`, and then gives the
/// connection to `serve`.
fn origin(
    answer: impl Into<Vec<u8>>,
    serve: impl Fn(BufReader<TcpStream>, &Seen) + Send + Sync + 'static,
) -> Origin {
    let answer = answer.into();
    Origin::scripted(move |stream, seen| {
        let mut reader = BufReader::new(stream);
        let Some(request) = read_head(&mut reader) else {
            return;
        };
        seen.send(request.clone()).ok();
        if reader.get_mut().write_all(&answer).is_ok() {
            serve(reader, &request);
        }
    })
}

/// Sends back what it is sent.
fn echo(mut reader: BufReader<TcpStream>, _: &Seen) {
    let mut writer = reader.get_ref().try_clone().unwrap();
    std::io::copy(&mut reader, &mut writer).ok();
    writer.shutdown(Shutdown::Write).ok();
}

fn echoing() -> Origin {
    origin(switch(ACCEPT), echo)
}

fn yaml(origin: &Origin, more: &str) -> String {
    format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o{more} }}]\n\
         clusters: [{{ name: o, endpoints: ['{}'] }}]\n",
        origin.address
    )
}

fn proxy_to(origin: &Origin, more: &str) -> Proxy {
    Proxy::start(&yaml(origin, more))
}

fn open(proxy: &Proxy) -> Client {
    let mut client = proxy.connect();
    client.send(HANDSHAKE);
    assert_eq!(client.answer().status, 101);
    client
}

fn say(client: &mut Client, text: &str) {
    client.send(text);
    assert_eq!(client.exactly(text.len()), text.as_bytes());
}

#[test]
fn a_handshake_passes_with_all_that_belongs_to_it() {
    let origin = echoing();
    let proxy = proxy_to(&origin, "");
    let mut client = proxy.connect();
    client.send(HANDSHAKE);
    let answer = client.answer();
    assert_eq!(answer.status, 101);
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", ACCEPT),
        ("sec-websocket-protocol", "chat"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!(answer.header("content-length"), None);
    let seen = origin.seen();
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-version", "13"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(seen.all(name), [value], "{name}");
    }
    say(&mut client, "hello");
    client.finish();
    assert_eq!(client.rest(), b"");
}

#[test]
fn bytes_right_behind_the_handshake_are_kept() {
    // More than one read takes, in both directions.
    let early = vec![b'e'; 100_000];
    let answer = [switch(ACCEPT).as_bytes(), &early].concat();
    let origin = origin(answer, echo);
    let proxy = proxy_to(&origin, "");
    let mut client = proxy.connect();
    let late: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
    let mut sender = client.clone_writer();
    let bytes = [HANDSHAKE.as_bytes(), &late].concat();
    let sending = std::thread::spawn(move || sender.write_all(&bytes).unwrap());
    assert_eq!(client.answer().status, 101);
    assert_eq!(client.exactly(early.len()), early);
    assert!(client.exactly(late.len()) == late);
    sending.join().unwrap();
}

#[test]
fn each_direction_ends_by_itself() {
    let origin = origin(switch(ACCEPT), |mut reader, _| {
        let mut said = Vec::new();
        reader.read_to_end(&mut said).unwrap();
        reader.get_mut().write_all(b"you said: ").unwrap();
        reader.get_mut().write_all(&said).unwrap();
    });
    let proxy = proxy_to(&origin, "");
    let mut client = open(&proxy);
    client.send("goodbye").finish();
    assert_eq!(client.rest(), b"you said: goodbye");

    let origin = self::origin(switch(ACCEPT), |mut reader, _| {
        let stream = reader.get_mut();
        stream.write_all(b"first").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut said = Vec::new();
        reader.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"last");
    });
    let proxy = proxy_to(&origin, "");
    let mut client = open(&proxy);
    assert_eq!(client.rest(), b"first");
    client.send("last").finish();
    within("it is over", || {
        (metric_sum(proxy.admin(), "lockgate_tunnels_active", "web") == 0.0).then_some(())
    });
}

#[test]
fn a_side_that_breaks_off_breaks_off_the_other() {
    let origin = origin(switch(ACCEPT), |mut reader, _| {
        let mut one = [0];
        reader.read_exact(&mut one).unwrap();
        let socket = socket2::SockRef::from(reader.get_ref());
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    });
    let proxy = proxy_to(&origin, "");
    let mut client = open(&proxy);
    client.send("x");
    assert!(client.is_reset());

    let origin = Origin::scripted(|stream, seen| {
        let mut reader = BufReader::new(stream);
        read_head(&mut reader).unwrap();
        reader
            .get_mut()
            .write_all(switch(ACCEPT).as_bytes())
            .unwrap();
        let ended = reader.read_to_end(&mut Vec::new());
        let kind = ended.map_err(|error| error.kind());
        seen.send(Seen::named(&format!("{kind:?}"))).unwrap();
    });
    let proxy = proxy_to(&origin, "");
    let client = open(&proxy);
    let socket = client.clone_writer();
    socket2::SockRef::from(&socket)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop((client, socket));
    assert_eq!(origin.seen().line, "Err(ConnectionReset)");
}

#[test]
fn handshakes_that_break_a_rule_are_refused() {
    let origin = echoing();
    let proxy = proxy_to(&origin, "");
    for (was, is, wanted) in [
        ("sec-websocket-key: dGhl", "x: ", 400),
        ("sec-websocket-key: dGhl", "sec-websocket-key: ", 400),
        ("GET", "POST", 400),
        ("sec-websocket-version: 13\r\n", "", 426),
        ("sec-websocket-version: 13", "sec-websocket-version: 8", 426),
        (
            "sec-websocket-version: 13",
            "sec-websocket-version: 13, 8",
            400,
        ),
        (
            "sec-websocket-version: 13",
            "sec-websocket-version: 13\r\nsec-websocket-version: 13",
            400,
        ),
    ] {
        let mut client = proxy.connect();
        client.send(HANDSHAKE.replace(was, is));
        let answer = client.answer();
        assert_eq!(answer.status, wanted, "{is}");
        let version = (wanted == 426).then_some("13");
        assert_eq!(answer.header("sec-websocket-version"), version, "{is}");
        let upgrade = (wanted == 426).then_some("websocket");
        assert_eq!(answer.header("upgrade"), upgrade, "{is}");
    }
    assert!(origin.seen_now().is_none());
}

#[test]
fn a_protocol_that_is_not_allowed_is_passed_over() {
    let asking = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c, Echo/1\r\n\r\n";
    let origin = Origin::saying("no");
    let proxy = proxy_to(&origin, "");
    let mut client = proxy.connect();
    assert_eq!(client.send(asking).answer().text(), "no");
    let seen = origin.seen();
    assert_eq!(
        (seen.header("upgrade"), seen.header("connection")),
        (None, None)
    );
    // Nor is WebSocket, where it is not wanted, or asked for on another connection.
    assert_eq!(
        client
            .send(HANDSHAKE.replace("connection: keep-alive, Upgrade\r\n", ""))
            .answer()
            .text(),
        "no"
    );
    let proxy = proxy_to(&origin, ", upgrades: { protocols: [] }");
    let mut client = proxy.connect();
    for handshake in [HANDSHAKE, &HANDSHAKE.replace("version: 13", "version: 8")] {
        assert_eq!(client.send(handshake).answer().text(), "no");
    }

    let answer = "HTTP/1.1 101 Fine\r\nupgrade: echo/1\r\nconnection: upgrade\r\n\r\n";
    let origin = self::origin(answer, echo);
    let proxy = proxy_to(&origin, ", upgrades: { protocols: [echo/1] }");
    let mut client = proxy.connect();
    let answer = client.send(asking).answer();
    assert_eq!(answer.status, 101);
    assert_eq!(origin.seen().all("upgrade"), ["echo/1"]);
    say(&mut client, "hello");
}

#[test]
fn an_origin_may_refuse() {
    let origin = Origin::start(|_| b"HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno".to_vec());
    let proxy = proxy_to(&origin, "");
    let mut client = proxy.connect();
    for _ in 0..2 {
        let answer = client.send(HANDSHAKE).answer();
        assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    }
}

#[test]
fn an_origin_that_switches_to_something_else_is_502() {
    for answer in [
        switch("bm90IHRoaXMgb25lIQ=="),
        switch(ACCEPT).replace("upgrade: websocket", "upgrade: h2c"),
        switch(ACCEPT).replace("upgrade: websocket\r\n", ""),
        switch(ACCEPT).replace("sec-websocket-accept", "x"),
    ] {
        let origin = origin(answer, echo);
        let proxy = proxy_to(&origin, "");
        let mut client = proxy.connect();
        assert_eq!(client.send(HANDSHAKE).answer().status, 502);
    }
}

#[test]
fn a_clusters_time_bounds_the_handshake_and_not_what_follows() {
    let count = AtomicUsize::new(0);
    let origin = Origin::scripted(move |stream, _| {
        let mut reader = BufReader::new(stream);
        let request = read_head(&mut reader).expect("a handshake");
        if count.fetch_add(1, Relaxed) == 0 {
            reader
                .get_mut()
                .write_all(switch(ACCEPT).as_bytes())
                .unwrap();
            echo(reader, &request);
        } else {
            // Until the proxy gives it up.
            read_some(&mut reader);
        }
    });
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
         clusters: [{{ name: o, endpoints: ['{}'], timeouts: {{ total: 1s }} }}]\n",
        origin.address
    ));
    let mut first = open(&proxy);
    let second = proxy.connect().send(HANDSHAKE).answer();
    assert_eq!(second.status, 504);
    let told = second.header("proxy-status").unwrap();
    assert!(told.ends_with("details=\"total_timeout\""), "{told}");
    // Older than that by now.
    say(&mut first, "still there");
}

/// Their defaults are an hour, and none.
#[test]
fn a_silent_one_and_an_old_one_end() {
    for (upgrades, kind) in [
        ("{ idle: 300ms }", "idle_timeout"),
        ("{ max_lifetime: 300ms }", "lifetime_over"),
    ] {
        let origin = echoing();
        let proxy = proxy_to(&origin, &format!(", upgrades: {upgrades}"));
        let mut client = open(&proxy);
        say(&mut client, "hello");
        assert_eq!(client.rest(), b"");
        within(kind, || {
            let errors = metric_sum(proxy.admin(), "lockgate_request_errors_total", kind);
            (errors == 1.0).then_some(())
        });
    }
}

#[test]
fn an_open_one_goes_on_through_reloads_and_ends_with_the_drain() {
    let origin = echoing();
    let proxy = proxy_to(&origin, "");
    let mut client = open(&proxy);
    for number in 1..=20 {
        proxy.edit(&yaml(
            &origin,
            &format!(", upgrades: {{ idle: {number}h }}"),
        ));
        proxy.reload();
        say(&mut client, "hello");
    }
    // What it began with is gone all the same.
    within("one generation lives", || (live(&proxy) == 1).then_some(()));
    assert_eq!(
        metric_sum(proxy.admin(), "lockgate_tunnels_active", "web"),
        1.0
    );
    let ended = std::thread::spawn(move || proxy.stop());
    assert_eq!(client.rest(), b"", "at the end of the drain");
    ended.join().unwrap();
}

#[test]
fn an_open_one_has_a_drains_time_when_its_listener_is_removed() {
    let origin = echoing();
    let proxy = proxy_to(&origin, "");
    let mut client = open(&proxy);
    say(&mut client, "hello");
    proxy.edit(&yaml(&origin, "").replace("name: web", "name: other"));
    proxy.reload();
    say(&mut client, "still here");
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_filter_takes_part_in_the_handshake_and_may_wait_for_the_end() {
    let origin = echoing();
    let folder = Proxy::folder();
    std::fs::write(folder.join("guest.wasm"), hostile::component()).unwrap();
    let with = |config: serde_json::Value| {
        let guest =
            serde_json::json!({ "guest": { "component": "./guest.wasm", "config": config } });
        yaml(&origin, ", filters: [guest]")
            + &format!("filters: {guest}\naccess_log: {{ to: ./access.log }}\n")
    };
    let phases = serde_json::json!({ "phases": ["request", "response", "done"] });
    let proxy = Proxy::start_in(
        folder,
        &with(serde_json::json!({ "wants": phases, "request": ["request.set x-seen 1"] })),
    );
    let mut client = open(&proxy);
    assert_eq!(origin.seen().header("x-seen"), Some("1"));
    say(&mut client, "hello");
    proxy.edit(&with(
        serde_json::json!({ "wants": phases, "request": ["respond 403"] }),
    ));
    proxy.reload();
    assert_eq!(live(&proxy), 2, "the old one waits for the end");
    let mut refused = proxy.connect();
    assert_eq!(refused.send(HANDSHAKE).answer().status, 403);
    say(&mut client, "hello");
    client.finish();
    assert_eq!(client.rest(), b"");
    within("one generation lives", || (live(&proxy) == 1).then_some(()));
    let record = within("its record", || {
        let text = std::fs::read_to_string(proxy.path().join("access.log")).ok()?;
        let mut records = text.lines().map(|line| serde_json::from_str(line).unwrap());
        records.find(|record: &serde_json::Value| record["status"] == 101)
    });
    assert_eq!(
        (&record["bytes_in"], &record["bytes_out"]),
        (&10.into(), &10.into())
    );
}
