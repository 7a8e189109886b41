//! Where listeners listen and connections to endpoints come from: Unix sockets, abstract
//! ones, and options of sockets.

mod support;

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream};
use std::path::Path;

use serde_json::Value;
use support::{LIMIT, Origin, Proxy, read_head, within};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";

fn yaml(address: &str, rules: &str, origin: &str) -> String {
    format!(
        "access_log: {{ to: ./access.log }}\nlisteners:\n- {{ name: web, address: '{address}', \
         cluster: o{rules} }}\nclusters: [{{ name: o, endpoints: ['{origin}'] }}]\n"
    )
}

/// What is answered on a connection of its own.
fn ask(mut stream: UnixStream, bytes: &str) -> String {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn ask_at(path: &Path, bytes: &str) -> String {
    ask(UnixStream::connect(path).unwrap(), bytes)
}

fn record(proxy: &Proxy) -> Value {
    within("a record", || {
        let text = std::fs::read_to_string(proxy.path().join("access.log")).ok()?;
        serde_json::from_str(text.lines().next()?).ok()
    })
}

#[test]
fn clients_of_a_unix_socket_have_no_address() {
    let origin = Origin::saying("hello");
    let folder = Proxy::folder();
    let path = folder.join("web.sock");
    let address = format!("unix:{}", path.display());
    let rules = ", headers: { forwarded: both }";
    let proxy = Proxy::start_in(folder, &yaml(&address, rules, &origin.address.to_string()));
    let lying = GET.replace("\r\n\r\n", "\r\nx-forwarded-for: 192.0.2.7\r\n\r\n");
    let answer = ask_at(&path, &lying);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = origin.seen();
    assert_eq!(seen.header("x-forwarded-for"), Some("unknown"));
    let forwarded = seen.header("forwarded").unwrap();
    assert!(forwarded.starts_with("for=unknown;"), "{forwarded}");
    let record = record(&proxy);
    assert_eq!(record["peer"], "0.0.0.0:0", "{record}");
    proxy.stop();
    assert!(!path.exists());
}

#[test]
fn hops_and_balancers_by_a_unix_socket_may_be_trusted() {
    let origin = Origin::saying("hello");
    let folder = Proxy::folder();
    let path = folder.join("web.sock");
    let address = format!("unix:{}", path.display());
    let rules = ", headers: { trusted_hops: ['unix:'] }, proxy_protocol: { from: ['unix:'] }";
    let _proxy = Proxy::start_in(folder, &yaml(&address, rules, &origin.address.to_string()));
    let introduced = format!("PROXY TCP4 192.0.2.7 203.0.113.9 4711 443\r\n{GET}");
    let answer = ask_at(&path, &introduced);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(origin.seen().header("x-forwarded-for"), Some("192.0.2.7"));
    let hop = GET.replace("\r\n\r\n", "\r\nx-forwarded-for: 192.0.2.8\r\n\r\n");
    let answer = ask_at(&path, &format!("PROXY UNKNOWN\r\n{hop}"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = origin.seen();
    assert_eq!(seen.header("x-forwarded-for"), Some("192.0.2.8, unknown"));
}

#[test]
fn abstract_sockets_are_listened_on_and_connected_to() {
    let name = |what: &str| format!("lockgate-{what}-{}", std::process::id());
    let unix = |name: &str| UnixAddress::from_abstract_name(name).unwrap();
    let origin = UnixListener::bind_addr(&unix(&name("origin"))).unwrap();
    std::thread::spawn(move || {
        for mut stream in origin.incoming().map_while(Result::ok) {
            let reader = stream.try_clone().unwrap();
            if read_head(&mut std::io::BufReader::new(reader)).is_some() {
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    let [web, origin] = ["web", "origin"].map(name);
    let _proxy = Proxy::start(&yaml(
        &format!("unix:@{web}"),
        "",
        &format!("unix:@{origin}"),
    ));
    let client = UnixStream::connect_addr(&unix(&web)).unwrap();
    let answer = ask(client, GET);
    assert!(answer.ends_with("hello"), "{answer}");
}

#[test]
fn tcp_over_a_unix_socket_ends_in_both_directions() {
    let origin = Origin::scripted(|mut stream, _| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    });
    let folder = Proxy::folder();
    let path = folder.join("tcp.sock");
    let address = format!("unix:{}", path.display());
    let rules = ", protocols: [tcp]";
    let _proxy = Proxy::start_in(folder, &yaml(&address, rules, &origin.address.to_string()));
    let mut client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.write_all(b"bytes").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"bytes");
}

#[test]
fn a_reload_binds_the_new_address_before_it_leaves_the_old_one() {
    let origin = Origin::saying("hello");
    let origin = origin.address.to_string();
    let folder = Proxy::folder();
    let path = folder.join("web.sock");
    let taken = folder.join("taken");
    std::fs::write(&taken, "precious").unwrap();
    let unix = |path: &Path| format!("unix:{}", path.display());
    let proxy = Proxy::start_in(folder, &yaml(&unix(&path), "", &origin));
    proxy.edit(&yaml(&unix(&taken), "", &origin));
    let refused = proxy.reload();
    assert!(!refused.ok && refused.mistakes[0].contains("not a socket"));
    assert!(ask_at(&path, GET).ends_with("hello"));
    proxy.edit(&yaml("127.0.0.1:0", "", &origin));
    assert!(proxy.reload().ok);
    assert_eq!(proxy.get("/").status, 200);
    assert!(!path.exists());
    proxy.edit(&yaml(&unix(&path), "", &origin));
    assert!(proxy.reload().ok);
    assert!(ask_at(&path, GET).ends_with("hello"));
}

#[test]
fn a_reload_tells_that_options_count_from_the_next_start() {
    let origin = Origin::saying("hello");
    let origin = origin.address.to_string();
    let proxy = Proxy::start(&yaml("127.0.0.1:0", "", &origin));
    proxy.edit(&yaml("127.0.0.1:0", ", socket: { backlog: 7 }", &origin));
    let outcome = proxy.reload();
    assert!(outcome.ok);
    let told = &outcome.warnings;
    assert!(
        told.iter()
            .any(|told| told.contains("count from the next start")),
        "{told:?}"
    );
}

#[test]
fn connections_to_endpoints_come_from_where_they_are_told_to() {
    let origin = Origin::scripted(|mut stream, _| {
        let peer = stream.peer_addr().unwrap().ip().to_string();
        let reader = stream.try_clone().unwrap();
        if read_head(&mut std::io::BufReader::new(reader)).is_some() {
            let length = peer.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{peer}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let options = "bind: 127.0.0.9, no_delay: false, keep_alive: { idle: 5s }";
    let yaml = |options: &str| {
        format!(
            "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
             clusters: [{{ name: o, endpoints: ['{}'], socket: {{ {options} }} }}]\n",
            origin.address
        )
    };
    let proxy = Proxy::start(&yaml(options));
    assert_eq!(proxy.get("/").text(), "127.0.0.9");
    proxy.edit(&yaml("bind: 192.0.2.77"));
    let refused = proxy.reload();
    let told = &refused.mistakes[0];
    assert!(!refused.ok && told.contains("Cannot assign"), "{told}");
    assert_eq!(proxy.get("/").text(), "127.0.0.9");
}
