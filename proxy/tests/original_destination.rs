//! Clients that a rule of the firewall redirects here: where they wanted to go is known,
//! and gone to. In a network namespace that the test makes for itself.

#[path = "guests/component.rs"]
mod guest;
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::tls::put;
use support::{Client, LIMIT, Proxy, read_head, within};

const INSIDE: &str = "LOCKGATE_TEST_INSIDE";

/// The mark of what the proxy sends itself, which is not redirected again.
const MARK: u32 = 77;

/// Whether this is the namespace; if not, the test of this name is run in one.
fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let may = Command::new("unshare").args(["--net", "true"]).output();
    let may = may.expect("`unshare` of util-linux is there");
    if !may.status.success() {
        let why = String::from_utf8_lossy(&may.stderr);
        assert!(why.contains("not permitted"), "{why}");
        // Behind the back of the test's harness, which hides what passes.
        std::fs::write(
            "/dev/stderr",
            format!("\nNOT RUN: {test}: no network namespace: {why}\n"),
        )
        .ok();
        return false;
    }
    let own = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .arg("--net")
        .arg(own)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(status.unwrap().success(), "in the namespace");
    false
}

/// Redirects what goes to these ports of this machine.
fn redirect(ports: &[u16], to: u16) {
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    let ports = ports.join(", ");
    let mut rules = String::new();
    for (family, own) in [("ip", "127.0.0.1"), ("ip6", "::1")] {
        rules += &format!(
            "table {family} lockgate{to} {{ chain output {{ type nat hook output priority -100; \
             meta mark != {MARK} {family} daddr {own} tcp dport {{ {ports} }} redirect to :{to}; }}; }}\n"
        );
    }
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("Debian's package `nftables` is wanted for this test");
    nft.stdin
        .take()
        .unwrap()
        .write_all(rules.as_bytes())
        .unwrap();
    assert!(nft.wait().unwrap().success(), "{rules}");
}

fn bring_loopback_up() {
    let status = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(status.expect("`ip` of iproute2 is there").success());
}

/// Tells each client, of HTTP, its name and how often it was asked on its connection.
fn origin(address: &str, name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let reader = stream.try_clone().unwrap();
                let mut reader = std::io::BufReader::new(reader);
                let mut asked = 0;
                while read_head(&mut reader).is_some() {
                    asked += 1;
                    let body = format!("{name} {asked}");
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    if stream.write_all((head + &body).as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Speaks first, and says nothing else.
fn greeter() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            stream.write_all(b"220 ready\r\n").ok();
        }
    });
    address
}

fn get(address: SocketAddr) -> (u16, String) {
    let answer = Client::connect(address)
        .send("GET / HTTP/1.1\r\nhost: whatever\r\n\r\n")
        .answer();
    (answer.status, answer.text())
}

#[test]
fn http_and_tcp_go_to_where_clients_wanted_to_go() {
    if !is_inside("http_and_tcp_go_to_where_clients_wanted_to_go") {
        return;
    }
    bring_loopback_up();
    let (one, two) = (origin("127.0.0.1:0", "one"), origin("127.0.0.1:0", "two"));
    let (three, six) = (origin("127.0.0.1:0", "three"), origin("[::1]:0", "six"));
    redirect(&[one.port(), two.port(), six.port()], 15001);
    redirect(&[three.port()], 15002);
    let folder = Proxy::folder();
    put(&folder.join("gate.wasm"), guest::gate());
    // Each worker has its own pools.
    let yaml = format!(
        "workers: 1\naccess_log: {{ to: ./access.log }}\nlisteners:\n\
         - {{ name: web, address: '[::]:15001', cluster: there, connection_filters: [gate] }}\n\
         - {{ name: tcp, address: '127.0.0.1:15002', protocols: [tcp], cluster: there }}\n\
         filters:\n  gate: {{ component: ./gate.wasm, config: {{ do: next }} }}\n\
         clusters: [{{ name: there, endpoints: [original_dst], socket: {{ mark: {MARK} }} }}]\n"
    );
    let proxy = Proxy::start_in(folder, &yaml);
    assert_eq!(get(one), (200, "one 1".to_owned()));
    assert_eq!(get(two), (200, "two 1".to_owned()));
    // The pool of its destination, and of no other.
    assert_eq!(get(one), (200, "one 2".to_owned()));
    assert_eq!(get(two), (200, "two 2".to_owned()));
    assert_eq!(get(six), (200, "six 1".to_owned()));
    assert_eq!(get(three), (200, "three 1".to_owned()));

    let records = within("six records", || {
        let text = std::fs::read_to_string(proxy.path().join("access.log")).ok()?;
        let records: Vec<Value> = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .ok()?;
        (records.len() >= 6).then_some(records)
    });
    assert_eq!(records[0]["endpoint"], one.to_string(), "{}", records[0]);
    let attributes = &records[0]["attributes"];
    assert_eq!(attributes["gate.original_destination.address"], "127.0.0.1");
    assert_eq!(
        attributes["gate.original_destination.port"],
        one.port().to_string()
    );
    assert_eq!(attributes["gate.destination.port"], "15001");

    // Who was not redirected wanted to go nowhere else.
    assert_eq!(get("127.0.0.1:15001".parse().unwrap()).0, 503);
    assert_eq!(get("[::1]:15001".parse().unwrap()).0, 503);
    let mut direct = TcpStream::connect("127.0.0.1:15002").unwrap();
    direct.set_read_timeout(Some(LIMIT)).unwrap();
    // The reset is told once: to whoever comes first after it.
    let said = direct.write_all(b"GET / HTTP/1.1\r\n\r\n");
    let mut heard = Vec::new();
    let read = direct.read_to_end(&mut heard);
    assert!(said.is_err() || read.is_err(), "it is reset");
    assert!(heard.is_empty());
}

/// Nothing is waited for on a port that is named, and that is the client's.
#[test]
fn servers_speak_first_on_ports_that_clients_wanted_to_go_to() {
    if !is_inside("servers_speak_first_on_ports_that_clients_wanted_to_go_to") {
        return;
    }
    bring_loopback_up();
    let (web, mail) = (origin("127.0.0.1:0", "web"), greeter());
    redirect(&[web.port(), mail.port()], 15001);
    let yaml = format!(
        "listeners: [{{ name: web, address: '127.0.0.1:15001', protocols: [http1, http2, tcp], \
         detection: 60s, server_first_ports: [{}], cluster: there }}]\n\
         clusters: [{{ name: there, endpoints: [original_dst], socket: {{ mark: {MARK} }} }}]\n",
        mail.port()
    );
    let _proxy = Proxy::start(&yaml);
    assert_eq!(Client::connect(mail).line(), "220 ready");
    assert_eq!(get(web), (200, "web 1".to_owned()));
}
