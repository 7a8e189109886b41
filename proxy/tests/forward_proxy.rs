//! A forward proxy: clients say where they go, and go where they may.

#[path = "guests/component.rs"]
mod guest;
mod support;

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use support::admin::{live, metric_sum};
use support::http2::{Http2, run, send};
use support::tls::{Authority, put};
use support::tls_origin::Serves;
use support::{Client, Origin, Proxy, within};

/// A listener for clients that go where `targets` lets them, with these keys beside.
fn yaml(targets: &str, more: &str) -> String {
    format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         access_log: {{ to: ./access.log }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', forward_proxy: outside{more} }}]\n\
         clusters: [{{ name: outside, endpoints: [request_target], targets: {targets} }}]\n"
    )
}

/// Lets clients go to these ports of this machine.
fn here(ports: &[u16]) -> String {
    format!("{{ hosts: [localhost], networks: [127.0.0.0/8, '::1'], ports: {ports:?} }}")
}

fn proxy_to(address: SocketAddr) -> Proxy {
    Proxy::start(&yaml(&here(&[address.port()]), ""))
}

/// Sends back what it is sent, and ends when the client has.
fn echo() -> Origin {
    Origin::scripted(|mut stream, _| {
        let mut writer = stream.try_clone().unwrap();
        std::io::copy(&mut stream, &mut writer).ok();
        writer.shutdown(Shutdown::Write).ok();
    })
}

fn connect_to(target: impl std::fmt::Display) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n")
}

/// Reads the head of an answer that says that the client is connected.
fn connected(client: &mut Client) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        match client.line() {
            line if line.is_empty() => break,
            line => lines.push(line.to_ascii_lowercase()),
        }
    }
    assert_eq!(lines[0], "http/1.1 200 ok");
    lines
}

fn open(proxy: &Proxy, target: SocketAddr) -> Client {
    let mut client = proxy.connect();
    client.send(connect_to(target));
    connected(&mut client);
    client
}

fn say(client: &mut Client, text: &str) {
    client.send(text);
    assert_eq!(client.exactly(text.len()), text.as_bytes());
}

/// The records of the access log, once there are so many.
fn records(proxy: &Proxy, count: usize) -> Vec<Value> {
    within("its record", || {
        let text = std::fs::read_to_string(proxy.path().join("access.log")).ok()?;
        let records: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        records.ok().filter(|records| records.len() >= count)
    })
}

/// What curl makes of these arguments: its output and its exit code.
fn curl(arguments: &[&str]) -> (String, Option<i32>) {
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "60", "--noproxy", ""])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("`curl` is there");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (text, output.status.code())
}

#[test]
fn curl_fetches_through_it() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(origin.address);
    let through = format!("http://{}", proxy.address());
    let (port, address) = (origin.address.port(), origin.address);
    for url in [
        format!("http://{address}/a?b"),
        format!("http://localhost:{port}/a?b"),
        format!("http://LOCALHOST.:{port}/a?b"),
    ] {
        let got = curl(&["-x", &through, &url]);
        assert_eq!(got, ("hello".to_owned(), Some(0)), "{url}");
        let seen = origin.seen();
        assert_eq!(seen.line, "GET /a?b HTTP/1.1", "{url}");
        assert_eq!(seen.header("proxy-connection"), None);
        let got = curl(&["-x", &through, "--proxytunnel", &url]);
        assert_eq!(got, ("hello".to_owned(), Some(0)), "{url}");
        // Of a tunnel nothing is changed.
        assert_eq!(origin.seen().header("via"), None);
    }
    let records = records(&proxy, 6);
    for record in &records {
        assert_eq!(record["status"], 200, "{record}");
        assert_eq!(record["cluster"], "outside", "{record}");
        assert_eq!(record["endpoint"], address.to_string(), "{record}");
    }
    let tunnels = records
        .iter()
        .filter(|record| record["method"] == "CONNECT");
    let tunnels: Vec<_> = tunnels.collect();
    assert_eq!(tunnels.len(), 3);
    for tunnel in tunnels {
        assert!(tunnel["bytes_in"].as_u64().unwrap() > 20, "{tunnel}");
        assert!(tunnel["bytes_out"].as_u64().unwrap() > 20, "{tunnel}");
    }
}

#[test]
fn curl_speaks_tls_with_an_origin_through_it() {
    let folder = Proxy::folder();
    let authority = Authority::new("root");
    let pair = authority.issue(&["localhost"]);
    let origin = Serves::new(&pair).start();
    put(&folder.join("root.pem"), authority.pem());
    let roots = folder.join("root.pem").display().to_string();
    let targets = here(&[origin.address.port()]);
    let proxy = Proxy::start_in(folder, &yaml(&targets, ""));
    let through = format!("http://{}", proxy.address());
    let url = format!("https://localhost:{}/", origin.address.port());
    let (text, code) = curl(&["-x", &through, "--cacert", &roots, &url]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.is_empty());
    assert_eq!(records(&proxy, 1)[0]["method"], "CONNECT");
}

#[test]
fn curl_speaks_tls_with_the_proxy_too() {
    let folder = Proxy::folder();
    let authority = Authority::new("root");
    let pair = authority.issue(&["localhost"]);
    pair.write(&folder, "edge");
    put(&folder.join("root.pem"), authority.pem());
    let roots = folder.join("root.pem").display().to_string();
    let (plain, secret) = (Origin::saying("plain"), Serves::new(&pair).start());
    let targets = here(&[plain.address.port(), secret.address.port()]);
    let tls = ", tls: { certificates: [{ chain: ./edge.pem, key: ./edge.key }] }";
    let proxy = Proxy::start_in(folder, &yaml(&targets, tls));
    let through = format!("https://localhost:{}", proxy.address().port());
    let ask = |url: &str| {
        let known = ["--proxy-cacert", &roots, "--cacert", &roots];
        curl(&[&["-x", &through], &known[..], &[url]].concat())
    };
    let (text, code) = ask(&format!("https://localhost:{}/", secret.address.port()));
    assert_eq!(code, Some(0), "{text}");
    let got = ask(&format!("http://{}/", plain.address));
    assert_eq!(got, ("plain".to_owned(), Some(0)));
    // By which it was asked for, and not how the proxy was.
    assert_eq!(plain.seen().all("x-forwarded-proto"), ["http"]);
}

#[test]
fn what_an_answer_to_connect_says() {
    let origin = echo();
    let proxy = proxy_to(origin.address);
    let mut client = proxy.connect();
    client.send(connect_to(origin.address));
    let head = connected(&mut client);
    for name in ["content-length:", "transfer-encoding:", "connection:"] {
        assert!(!head.iter().any(|line| line.starts_with(name)), "{head:?}");
    }
    say(&mut client, "hello");
    assert_eq!(
        metric_sum(proxy.admin(), "lockgate_tunnels_active", "web"),
        1.0
    );
    client.finish();
    assert_eq!(client.rest(), b"");
    // Clients of HTTP/1.0 say no `Host`.
    let mut client = proxy.connect();
    client.send(format!("CONNECT {} HTTP/1.0\r\n\r\n", origin.address));
    connected(&mut client);
    say(&mut client, "hello");
}

#[test]
fn bytes_right_behind_the_head_are_kept() {
    let origin = echo();
    let proxy = proxy_to(origin.address);
    let early: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
    let mut client = proxy.connect();
    let mut sender = client.clone_writer();
    let bytes = [connect_to(origin.address).as_bytes(), &early].concat();
    let sending = std::thread::spawn(move || {
        sender.write_all(&bytes).unwrap();
        // Nor is an end that comes so early taken for one of the client.
        sender.shutdown(Shutdown::Write).unwrap();
    });
    connected(&mut client);
    assert!(client.rest() == early);
    sending.join().unwrap();
}

#[test]
fn each_direction_ends_by_itself() {
    let origin = Origin::scripted(|mut stream, _| {
        stream.write_all(b"first").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"last");
    });
    let proxy = proxy_to(origin.address);
    let mut client = open(&proxy, origin.address);
    assert_eq!(client.rest(), b"first");
    client.send("last").finish();
    within("it is over", || {
        let open = metric_sum(proxy.admin(), "lockgate_tunnels_active", "web");
        (open == 0.0).then_some(())
    });
}

#[test]
fn a_tunnel_goes_on_through_reloads_and_ends_with_the_drain() {
    let origin = echo();
    let targets = here(&[origin.address.port()]);
    let proxy = Proxy::start(&yaml(&targets, ""));
    let mut client = open(&proxy, origin.address);
    for hours in 1..=3 {
        let upgrades = format!(", upgrades: {{ idle: {hours}h }}");
        // What is allowed from now on is asked about by those who come from now on.
        proxy.edit(&yaml("{ hosts: [a.test] }", &upgrades));
        proxy.reload();
        say(&mut client, "hello");
    }
    within("one generation lives", || (live(&proxy) == 1).then_some(()));
    let mut refused = proxy.connect();
    assert_eq!(
        refused.send(connect_to(origin.address)).answer().status,
        403
    );
    let ended = std::thread::spawn(move || proxy.stop());
    assert_eq!(client.rest(), b"", "at the end of the drain");
    ended.join().unwrap();
}

#[test]
fn a_silent_tunnel_ends() {
    let origin = echo();
    let targets = here(&[origin.address.port()]);
    let proxy = Proxy::start(&yaml(&targets, ", upgrades: { idle: 300ms }"));
    let mut client = open(&proxy, origin.address);
    assert_eq!(client.rest(), b"");
    assert_eq!(records(&proxy, 1)[0]["error"], "idle_timeout");
}

#[test]
fn a_clusters_time_bounds_the_way_to_a_tunnel_and_not_the_tunnel() {
    let origin = echo();
    let targets = here(&[origin.address.port()]);
    let more = "timeouts: { total: 1s }, limits: { requests: 1 }, queue: { timeout: 5m }";
    let proxy = Proxy::start(&yaml(&format!("{targets}, {more}"), ""));
    let mut tunnel = open(&proxy, origin.address);
    // Waits for its turn until its time is over, when the first is older than that.
    let (status, told) = refused(&proxy, &connect_to(origin.address));
    assert_eq!(status, 504);
    assert!(told.ends_with("details=\"total_timeout\""), "{told}");
    say(&mut tunnel, "still there");
}

/// Sends a head, and reads the answer and the end of the connection.
fn refused(proxy: &Proxy, head: &str) -> (u16, String) {
    let mut client = proxy.connect();
    // What would be meant for the target is no request.
    let behind = match head.starts_with("CONNECT") {
        true => "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
        false => "",
    };
    client.send(format!("{head}{behind}"));
    let answer = client.answer();
    assert_eq!(client.rest(), b"", "{head}");
    let told = answer.header("proxy-status").unwrap_or_default();
    (answer.status, told.to_owned())
}

#[test]
fn targets_that_are_refused() {
    let origin = Origin::saying("never");
    let (own, port) = (origin.address, origin.address.port());
    let targets = format!(
        "{{ hosts: ['*.internal', '*.invalid', localhost], networks: [127.0.0.1], ports: [80, {port}] }}"
    );
    let proxy = Proxy::start(&yaml(&targets, ""));
    let mut wanted = Vec::new();
    let mut check = |target: &str, status, kind: &'static str| {
        let found = refused(&proxy, &connect_to(target));
        assert_eq!(found.0, status, "{target}");
        wanted.push((target.to_owned(), kind));
    };
    check("example.com:80", 403, "target_refused");
    check("internal:80", 403, "target_refused");
    check("a.internal.evil.test:80", 403, "target_refused");
    check("127.0.0.1:22", 403, "target_refused");
    check("127.0.0.2:80", 403, "target_refused");
    check("169.254.169.254:80", 403, "target_refused");
    check("[::1]:80", 403, "target_refused");
    check("[::ffff:127.0.0.2]:80", 403, "target_refused");
    check("[64:ff9b::7f00:2]:80", 403, "target_refused");
    check("2130706433:80", 400, "bad_target");
    check("0x7f000001:80", 400, "bad_target");
    check("127.1:80", 400, "bad_target");
    check("a..internal:80", 400, "bad_target");
    // Each worker writes its own.
    let records = records(&proxy, wanted.len());
    for (target, kind) in wanted {
        let mut records = records.iter();
        let record = records.find(|record| record["authority"] == *target);
        let record = record.expect(&target);
        assert_eq!(record["error"], *kind, "{record}");
        assert_eq!(record["endpoint"], Value::Null, "{record}");
    }
    // A resolver may take its time to say so, or make something up.
    let nowhere = refused(&proxy, &connect_to("nowhere.invalid:80"));
    assert!(matches!(nowhere.0, 403 | 502 | 504), "{nowhere:?}");
    let errors = |kind| metric_sum(proxy.admin(), "lockgate_request_errors_total", kind);
    assert_eq!(errors("target_refused"), 9.0);
    // What cannot be read is refused before anybody is asked.
    for (head, status) in [
        (
            "CONNECT a.internal HTTP/1.1\r\nhost: a.internal\r\n\r\n",
            400,
        ),
        (
            "CONNECT a.internal: HTTP/1.1\r\nhost: a.internal\r\n\r\n",
            400,
        ),
        ("CONNECT a.internal:0 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("CONNECT a.internal:65536 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("CONNECT u:p@a.internal:80 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("CONNECT a%2einternal:80 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (
            "CONNECT \u{e9}.internal:80 HTTP/1.1\r\nhost: a\r\n\r\n",
            400,
        ),
        (
            "CONNECT http://a.internal:80/ HTTP/1.1\r\nhost: a\r\n\r\n",
            400,
        ),
        ("CONNECT / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("CONNECT * HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("CONNECT a.internal:80 HTTP/1.1\r\n\r\n", 400),
        (
            "CONNECT a.internal:80 HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n",
            400,
        ),
        (
            "CONNECT a.internal:80 HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n",
            400,
        ),
        (
            "CONNECT a.internal:80 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "GET https://a.internal/ HTTP/1.1\r\nhost: a.internal\r\nconnection: close\r\n\r\n",
            400,
        ),
        (
            "GET ftp://a.internal/ HTTP/1.1\r\nhost: a.internal\r\nconnection: close\r\n\r\n",
            400,
        ),
        (
            "GET http://u@a.internal/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            400,
        ),
        (
            "GET http://example.com/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            403,
        ),
        (
            "GET http://127.0.0.1:22/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            403,
        ),
        // An origin's own form is not for others, and there is none here.
        (
            "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            404,
        ),
    ] {
        assert_eq!(refused(&proxy, head).0, status, "{head}");
    }
    assert!(origin.seen_now().is_none(), "{own}");
}

/// A name that is turned to this machine, as whoever has it may do.
#[test]
fn names_do_not_lead_into_this_machine() {
    let origin = Origin::saying("never");
    let port = origin.address.port();
    for networks in ["[]", "[10.0.0.0/8]"] {
        let targets = format!("{{ hosts: ['*'], networks: {networks}, ports: [{port}] }}");
        let proxy = Proxy::start(&yaml(&targets, ""));
        for target in [format!("localhost:{port}"), format!("LocalHost.:{port}")] {
            let (status, told) = refused(&proxy, &connect_to(&target));
            assert_eq!(status, 403, "{target}");
            assert!(told.contains("destination_ip_prohibited"), "{told}");
        }
        let records = records(&proxy, 2);
        assert_eq!(records[0]["error"], "address_refused", "{}", records[0]);
        let detail = records[0]["detail"].as_str().unwrap();
        assert!(
            detail.contains("127.0.0.1") || detail.contains("::1"),
            "{detail}"
        );
    }
    assert!(origin.seen_now().is_none());
}

#[test]
fn nobody_comes_back_to_the_proxy_itself() {
    // Both ports have to be known before, and somebody else may take one meanwhile.
    let free = || {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    };
    let start = |_| {
        let (web, admin) = (free(), free());
        let targets = format!(
            "{{ hosts: [localhost], networks: [127.0.0.0/8, 0.0.0.0/8], ports: [{web}, {admin}] }}"
        );
        let yaml = yaml(&targets, "")
            .replacen("'127.0.0.1:0'", &format!("'127.0.0.1:{admin}'"), 1)
            .replacen("'127.0.0.1:0'", &format!("'0.0.0.0:{web}'"), 1);
        let proxy = Proxy::try_start_in(Proxy::folder(), &yaml).ok()?;
        Some((proxy, web, admin))
    };
    let started = (0..20).find_map(start);
    let (proxy, web, admin) = started.expect("two ports that are free");
    for target in [
        format!("127.0.0.1:{web}"),
        format!("127.0.0.2:{web}"),
        format!("0.0.0.0:{web}"),
        format!("[::ffff:127.0.0.1]:{web}"),
        format!("127.0.0.1:{admin}"),
        format!("0.0.0.0:{admin}"),
    ] {
        let mut client = Client::connect(([127, 0, 0, 1], web).into());
        let answer = client.send(connect_to(&target)).answer();
        assert_eq!(answer.status, 403, "{target}");
    }
    for record in records(&proxy, 6) {
        assert_eq!(record["error"], "address_refused", "{record}");
    }
}

#[test]
fn an_absolute_target_takes_the_place_of_host() {
    let (outside, inside) = (Origin::saying("outside"), Origin::saying("inside"));
    let yaml = yaml(&here(&[outside.address.port()]), ", cluster: inside").replace(
        "clusters: [",
        &format!(
            "clusters: [{{ name: inside, endpoints: ['{}'] }}, ",
            inside.address
        ),
    );
    let proxy = Proxy::start(&yaml);
    let mut client = proxy.connect();
    let target = format!("http://{}/x", outside.address);
    let head = format!(
        "GET {target} HTTP/1.1\r\nhost: other.test\r\nproxy-authorization: Basic eDp5\r\n\
         proxy-connection: keep-alive\r\nauthorization: Basic eDp5\r\n\r\n"
    );
    // On one connection, each where it belongs.
    for _ in 0..2 {
        assert_eq!(client.send(&head).answer().text(), "outside");
        let seen = outside.seen();
        assert_eq!(seen.line, "GET /x HTTP/1.1");
        assert_eq!(seen.all("host"), [outside.address.to_string()]);
        assert_eq!(seen.header("proxy-authorization"), None);
        assert_eq!(seen.header("proxy-connection"), None);
        assert_eq!(seen.header("authorization"), Some("Basic eDp5"));
        let own = "GET /y HTTP/1.1\r\nhost: other.test\r\n\r\n";
        assert_eq!(client.send(own).answer().text(), "inside");
        assert_eq!(inside.seen().all("host"), ["other.test"]);
    }
    let body = format!(
        "POST {target} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    );
    assert_eq!(client.send(body).answer().text(), "outside");
    assert_eq!(outside.seen().body, b"hello");
}

#[test]
fn without_the_key_nothing_of_it_is_served() {
    let origin = Origin::saying("inside");
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
         clusters: [{{ name: o, endpoints: ['{}'] }}]\n",
        origin.address
    ));
    let target = origin.address;
    for head in [
        connect_to(target),
        "CONNECT / HTTP/1.1\r\n\r\n".to_owned(),
        format!("CONNECT {target} HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n"),
    ] {
        assert_eq!(refused(&proxy, &head).0, 501, "{head}");
    }
    let absolute = |host: &str| format!("GET http://a.test/ HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let mut client = proxy.connect();
    assert_eq!(client.send(absolute("a.test")).answer().text(), "inside");
    assert_eq!(client.send(absolute("b.test")).answer().status, 400);
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let request = Request::builder().method(Method::CONNECT);
        let answer = client.ask(request.uri(target.to_string())).await;
        assert_eq!(answer.status, 501);
    });
}

#[test]
fn connecting_fails_as_it_does_elsewhere() {
    // Bound, and not listening.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let closed = socket.local_addr().unwrap().as_socket().unwrap();
    let proxy = proxy_to(closed);
    assert_eq!(refused(&proxy, &connect_to(closed)).0, 502);
    let record = &records(&proxy, 1)[0];
    assert_eq!(record["error"], "connect_failed", "{record}");
    assert_eq!(record["endpoint"], closed.to_string(), "{record}");
}

#[test]
fn a_name_with_several_addresses_is_tried_by_all_of_them() {
    // `localhost` may stand for `::1` too, where nobody listens.
    let origin = echo();
    let proxy = proxy_to(origin.address);
    for _ in 0..3 {
        let mut client = proxy.connect();
        client.send(connect_to(format!("localhost:{}", origin.address.port())));
        connected(&mut client);
        say(&mut client, "hello");
    }
}

async fn read(stream: &mut h2::RecvStream, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let piece = stream.data().await.expect("more comes").unwrap();
        stream.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend_from_slice(&piece);
    }
    bytes
}

#[test]
fn connect_over_http2() {
    let origin = echo();
    let proxy = proxy_to(origin.address);
    run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let connect = |target: String| {
            let request = Request::builder().method(Method::CONNECT).uri(target);
            request.body(()).unwrap()
        };
        // Several on one connection.
        let mut open = Vec::new();
        for _ in 0..3 {
            poll_fn(|context| client.send.poll_ready(context))
                .await
                .unwrap();
            let request = connect(origin.address.to_string());
            let (answer, mut stream) = client.send.send_request(request, false).unwrap();
            // Before it is known whether it goes on.
            send(&mut stream, b"early").await;
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200);
            assert!(!answer.headers().contains_key("content-length"));
            open.push((answer.into_body(), stream));
        }
        let much = vec![b'x'; 300_000];
        for (received, stream) in &mut open {
            assert_eq!(read(received, 5).await, b"early");
            let (_, echoed) = tokio::join!(send(stream, &much), read(received, much.len()));
            assert!(echoed == much);
            stream.send_data(Bytes::new(), true).unwrap();
            while let Some(rest) = received.data().await {
                assert!(rest.unwrap().is_empty());
            }
        }
        for (target, status) in [("127.0.0.1:1", 403), ("localhost", 400)] {
            let request = Request::builder().method(Method::CONNECT).uri(target);
            assert_eq!(client.ask(request).await.status, status, "{target}");
        }
        // Other requests are as ever: there is no cluster for them.
        assert_eq!(client.get("/").await.status, 404);
    });
    let connected = within("records of three", || {
        let all = records(&proxy, 3).into_iter();
        let connected: Vec<_> = all.filter(|record| record["status"] == 200).collect();
        (connected.len() == 3).then_some(connected)
    });
    for record in connected {
        assert_eq!(record["method"], "CONNECT", "{record}");
        assert_eq!(record["version"], "2", "{record}");
        assert_eq!(record["endpoint"], origin.address.to_string(), "{record}");
    }
}

/// A proxy with the guest in front, which runs these steps.
fn guarded(targets: &str, config: &Value) -> Proxy {
    let folder = Proxy::folder();
    put(&folder.join("guest.wasm"), guest::component());
    let filters = json!({ "guest": { "component": "./guest.wasm", "config": config } });
    let yaml = yaml(targets, ", filters: [guest]");
    Proxy::start_in(folder, &format!("{yaml}filters: {filters}\n"))
}

#[test]
fn a_filter_asks_who_is_there() {
    let origin = Origin::saying("hello");
    let config =
        json!({ "wants": { "phases": ["request"] }, "request": ["challenge Basic realm=\"out\""] });
    let proxy = guarded(&here(&[origin.address.port()]), &config);
    let through = format!("http://{}", proxy.address());
    let url = format!("http://{}/", origin.address);
    for tunnel in [&[][..], &["--proxytunnel"]] {
        let ask = |more: &[&str]| {
            let always = [
                "-x",
                &through,
                "-o",
                "-",
                "-w",
                "%{http_code} %{http_connect}",
                &url,
            ];
            curl(&[&always[..], tunnel, more].concat()).0
        };
        let denied = ask(&[]);
        assert!(denied.contains("407"), "{denied}");
        assert!(origin.seen_now().is_none());
        let known = ask(&["--proxy-anyauth", "--proxy-user", "me:secret"]);
        assert!(known.starts_with("hello200"), "{known}");
        let seen = origin.seen();
        assert_eq!(seen.header("proxy-authorization"), None);
    }
    let mut client = proxy.connect();
    let answer = client.send(connect_to(origin.address)).answer();
    assert_eq!(answer.status, 407);
    assert_eq!(
        answer.header("proxy-authenticate"),
        Some("Basic realm=\"out\"")
    );
    assert_eq!(client.rest(), b"");
}

#[test]
fn filters_see_and_decide_where_requests_go() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    let to_two = format!("request.authority {}", two.address);
    let config = json!({
        "wants": { "phases": ["request", "response"] },
        "request": [to_two],
        "response": ["response.show request.target"],
    });
    let targets = here(&[one.address.port(), two.address.port()]);
    let proxy = guarded(&targets, &config);
    let mut client = proxy.connect();
    client.send(connect_to(one.address));
    let head = connected(&mut client);
    assert!(head.contains(&"x-shown: authority".to_owned()), "{head:?}");
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.answer().text(), "two");
    let absolute = format!("GET http://{}/ HTTP/1.1\r\nhost: a\r\n\r\n", one.address);
    let answer = proxy.connect().send(absolute).answer();
    assert_eq!(
        (answer.text(), answer.header("x-shown")),
        ("two".to_owned(), Some("absolute"))
    );
    // What a filter asks for has to be allowed as well.
    let config = json!({ "wants": { "phases": ["request"] }, "request": ["request.authority example.com:22"] });
    let proxy = guarded(&targets, &config);
    assert_eq!(refused(&proxy, &connect_to(one.address)).0, 403);
    assert!(one.seen_now().is_none());
    // Nobody is told that he is connected who is not.
    let config = json!({ "wants": { "phases": ["request"] }, "request": ["respond 200 no"] });
    let proxy = guarded(&targets, &config);
    assert_eq!(refused(&proxy, &connect_to(one.address)).0, 500);
    let config = json!({
        "wants": { "phases": ["request", "response"] },
        "response": ["response.status 403"],
    });
    let proxy = guarded(&targets, &config);
    assert_eq!(refused(&proxy, &connect_to(one.address)).0, 403);
}

#[test]
fn mistakes_are_told() {
    let check = |yaml: &str, wanted: &str| match Proxy::try_start_in(Proxy::folder(), yaml) {
        Ok(_) => panic!("taken: {yaml}"),
        Err(error) => assert!(error.to_string().contains(wanted), "{error}"),
    };
    let all = "{ hosts: ['*'] }";
    let good = yaml(all, "");
    check(
        &good.replace(", targets: { hosts: ['*'] }", ""),
        "`request_target` without `targets`",
    );
    check(
        &good.replace("[request_target]", "['127.0.0.1:9']"),
        "`targets` where endpoints are known",
    );
    check(
        &good.replace("[request_target]", "[request_target, '127.0.0.1:9']"),
        "`request_target` beside other endpoints",
    );
    check(
        &good.replace("forward_proxy", "cluster"),
        "a cluster that goes where requests say",
    );
    check(
        &good.replace("forward_proxy: outside", "forward_proxy: outsid"),
        "outsid",
    );
    check(
        &good.replace("targets:", "tls: {}, targets:"),
        "`tls` where requests say where they go",
    );
    check(
        &yaml("{ hosts: ['10.0.0.1'] }", ""),
        "addresses go in `networks`",
    );
    check(&yaml("{ hosts: ['a.*.b'] }", ""), "`*.` and a name");
    check(
        &yaml("{ hosts: ['*'], ports: [0] }", ""),
        "a whole number from 1 to 65535",
    );
    check(
        &yaml("{ hosts: ['*'], ports: [65536] }", ""),
        "a whole number from 1 to 65535",
    );
    check(
        &yaml("{ networks: [10.0.0.1/8] }", ""),
        "the first address of the network",
    );
    check(
        &yaml(all, ", protocols: [tcp]"),
        "`forward_proxy` where TCP is spoken",
    );
    let other = "{ name: o, endpoints: ['127.0.0.1:9'] }";
    let known = good.replace("clusters: [", &format!("clusters: [{other}, "));
    check(
        &known.replace("forward_proxy: outside", "forward_proxy: o"),
        "a cluster whose endpoints are known",
    );
}
