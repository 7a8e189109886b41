//! PROXY headers to origins: whose connection they get, and that nobody else's request
//! is on it.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;

use support::{Client, Origin, Proxy, Seen, read_request};

/// Reports the header of each connection, then its requests.
fn origin() -> Origin {
    Origin::scripted(|stream, seen| {
        let mut reader = BufReader::new(stream);
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        seen.send(Seen::named(&header)).ok();
        while let Some(request) = read_request(&mut reader) {
            seen.send(request).ok();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            if reader.get_mut().write_all(answer).is_err() {
                return;
            }
        }
    })
}

fn yaml(origin: &Origin, listener: &str, cluster: &str) -> String {
    format!(
        "workers: 1\nlisteners:\n- {{ name: web, address: '127.0.0.1:0', cluster: o {listener} }}\n\
         clusters:\n- {{ name: o, endpoints: ['{}'] {cluster} }}\n",
        origin.address
    )
}

fn line(source: &str, destination: SocketAddr) -> String {
    let SocketAddr::V4(to) = destination else {
        panic!("{destination}")
    };
    let (ip, port) = source.split_once(':').unwrap();
    format!("PROXY TCP4 {ip} {} {port} {}\r\n", to.ip(), to.port())
}

fn get(client: &mut Client) {
    let answer = client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").answer();
    assert_eq!(answer.text(), "ok");
}

#[test]
fn a_connection_of_http_belongs_to_one_client() {
    let origin = origin();
    let proxy = Proxy::start(&yaml(&origin, "", ", proxy_protocol: v1"));
    let (mut one, mut other) = (proxy.connect(), proxy.connect());
    let sources = [one.local_address(), other.local_address()].map(|source| source.to_string());
    for (client, source) in [(&mut one, &sources[0]), (&mut other, &sources[1])] {
        get(client);
        assert_eq!(origin.seen().line, line(source, proxy.address()));
        assert_eq!(origin.seen().line, "GET / HTTP/1.1");
    }
    // Each finds its own again.
    for is_one in [true, false, true] {
        get(if is_one { &mut one } else { &mut other });
        assert_eq!(origin.seen().line, "GET / HTTP/1.1");
    }
}

#[test]
fn the_client_of_a_header_is_told_on() {
    let origin = origin();
    let listener = ", proxy_protocol: { from: [127.0.0.0/8] }";
    let proxy = Proxy::start(&yaml(&origin, listener, ", proxy_protocol: v1"));
    let header = "PROXY TCP4 192.0.2.7 203.0.113.9 4711 443\r\n";
    let mut client = proxy.connect();
    client.send(header);
    get(&mut client);
    assert_eq!(origin.seen().line, header);
}

#[test]
fn connections_of_tcp_begin_with_it() {
    let origin = Origin::scripted(|mut stream, seen| {
        let mut header = [0; 28];
        stream.read_exact(&mut header).unwrap();
        seen.send(Seen {
            body: header.to_vec(),
            ..Seen::named("header")
        })
        .ok();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        stream.write_all(rest.to_uppercase().as_bytes()).unwrap();
    });
    let listener = ", protocols: [tcp]";
    let proxy = Proxy::start(&yaml(&origin, listener, ", proxy_protocol: v2"));
    let mut client = proxy.connect();
    client.send("hello").finish();
    assert_eq!(client.rest(), b"HELLO");
    let (source, destination) = (client.local_address(), proxy.address());
    let mut wanted = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01".to_vec();
    wanted.extend(source.port().to_be_bytes());
    wanted.extend(destination.port().to_be_bytes());
    assert_eq!(origin.seen().body, wanted);
}

/// Copies are nobody's.
#[test]
fn what_is_no_clients_says_so() {
    let (main, copies) = (Origin::saying("ok"), origin());
    let filters =
        "filters: { copy: { component: 'lockgate:mirror', config: { cluster: copies } } }\n";
    let copying = format!(
        "{}- {{ name: copies, endpoints: ['{}'], proxy_protocol: v1 }}\n{filters}",
        yaml(&main, ", filters: [copy]", ""),
        copies.address
    );
    let proxy = Proxy::start(&copying);
    get(&mut proxy.connect());
    assert_eq!(copies.seen().line, "PROXY UNKNOWN\r\n");
    assert_eq!(copies.seen().line, "GET / HTTP/1.1");
}
