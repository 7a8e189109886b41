//! Endpoints that are found: names (A, SRV) asked of a name server, and files.

mod support;

use std::collections::{HashMap, HashSet};
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use support::admin::get;
use support::{Origin, Proxy, read_request, within};

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// Answers by name and type: the seconds that they hold, and each record's bytes.
type Records = HashMap<(String, u16), (u32, Vec<Vec<u8>>)>;

/// A name server. Names that it does not know do not exist.
struct NameServer {
    address: SocketAddr,
    records: Arc<Mutex<Records>>,
    /// Types that it fails to answer for (SERVFAIL).
    failing: Arc<Mutex<HashSet<u16>>>,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: socket.local_addr().unwrap(),
            records: Arc::default(),
            failing: Arc::default(),
            asked: Arc::default(),
        };
        let (records, asked) = (server.records.clone(), server.asked.clone());
        let failing = server.failing.clone();
        std::thread::spawn(move || {
            let mut question = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                let failing = failing.lock().unwrap().clone();
                let answer = answer(&question[..length], &records.lock().unwrap(), &failing);
                asked.fetch_add(1, Ordering::Relaxed);
                socket.send_to(&answer, from).ok();
            }
        });
        server
    }

    fn set(&self, name: &str, kind: u16, holds: u32, records: Vec<Vec<u8>>) {
        let key = (name.to_owned(), kind);
        self.records.lock().unwrap().insert(key, (holds, records));
    }

    fn fail(&self, kind: u16) {
        self.failing.lock().unwrap().insert(kind);
    }

    fn forget(&self) {
        self.records.lock().unwrap().clear();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// RFC 1035 section 4: the question is given back, and the answers are about its name.
fn answer(question: &[u8], records: &Records, failing: &HashSet<u16>) -> Vec<u8> {
    let (mut at, mut labels) = (12, Vec::new());
    while question[at] != 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..end]).to_ascii_lowercase());
        at = end;
    }
    let name = labels.join(".");
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let is_known = records.keys().any(|(known, _)| *known == name);
    let (holds, mut found) = records.get(&(name, kind)).cloned().unwrap_or_default();
    let flags: u16 = match (failing.contains(&kind), is_known) {
        (true, _) => 0x8182,
        (false, true) => 0x8180,
        (false, false) => 0x8183,
    };
    if failing.contains(&kind) {
        found.clear();
    }
    let mut answer = question[..2].to_vec();
    answer.extend(flags.to_be_bytes());
    answer.extend([0, 1]);
    answer.extend((found.len() as u16).to_be_bytes());
    answer.extend([0, 0, 0, 0]);
    answer.extend(&question[12..at + 5]);
    for record in found {
        answer.extend([0xc0, 0x0c]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1]);
        answer.extend(holds.to_be_bytes());
        answer.extend((record.len() as u16).to_be_bytes());
        answer.extend(record);
    }
    answer
}

/// Where a service runs (RFC 2782).
fn service(priority: u16, weight: u16, port: u16, host: &str) -> Vec<u8> {
    let mut record = Vec::new();
    for number in [priority, weight, port] {
        record.extend(number.to_be_bytes());
    }
    for label in host.split('.') {
        record.push(label.len() as u8);
        record.extend(label.as_bytes());
    }
    record.push(0);
    record
}

fn yaml(server: Option<&NameServer>, cluster: &str) -> String {
    let dns = server.map(|server| {
        let address = server.address;
        format!("dns: {{ servers: ['{address}'], timeout: 500ms, attempts: 1 }}\n")
    });
    format!(
        "{}workers: 1\n\
         admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
         clusters: [{{ name: origin, {cluster} }}]\n",
        dns.unwrap_or_default()
    )
}

fn counts(proxy: &Proxy, requests: usize) -> HashMap<String, usize> {
    let mut client = proxy.connect();
    let mut counts = HashMap::new();
    for _ in 0..requests {
        let answer = client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").answer();
        *counts.entry(answer.text()).or_insert(0) += 1;
    }
    counts
}

fn says(proxy: &Proxy, text: &str) {
    within(text, || (proxy.get("/").text() == text).then_some(()));
}

/// Two origins at one port, of 127.0.0.1 and 127.0.0.2.
fn origins_at_one_port() -> (Origin, Origin, u16) {
    // Whoever has a port of the first address may have none of the second.
    within("a port of two addresses", || {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let second = TcpListener::bind(("127.0.0.2", port)).ok()?;
        Some((named(first, "first"), named(second, "second"), port))
    })
}

fn named(listener: TcpListener, name: &'static str) -> Origin {
    Origin::listening(listener, move |stream, _| {
        let mut reader = BufReader::new(stream);
        while read_request(&mut reader).is_some() {
            let length = name.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{name}");
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// Long before `resolve_every`.
#[test]
fn names_are_asked_again_when_their_answers_are_old() {
    let (_first, _second, port) = origins_at_one_port();
    let server = NameServer::start();
    server.set("shop.test", A, 1, vec![vec![127, 0, 0, 1]]);
    let cluster = format!("endpoints: ['shop.test:{port}'], resolve_every: 1h");
    let proxy = Proxy::start(&yaml(Some(&server), &cluster));
    says(&proxy, "first");
    server.set("shop.test", A, 1, vec![vec![127, 0, 0, 2]]);
    says(&proxy, "second");
}

/// However long an answer is said to hold.
#[test]
fn names_are_asked_again_each_resolve_every() {
    let (_first, _second, port) = origins_at_one_port();
    let server = NameServer::start();
    server.set("shop.test", A, 86_400, vec![vec![127, 0, 0, 1]]);
    let cluster = format!("endpoints: ['shop.test:{port}'], resolve_every: 100ms");
    let proxy = Proxy::start(&yaml(Some(&server), &cluster));
    says(&proxy, "first");
    server.set("shop.test", A, 86_400, vec![vec![127, 0, 0, 2]]);
    says(&proxy, "second");
}

/// Names that are gone, and answers without an address.
#[test]
fn the_last_good_answer_stays() {
    let origin = Origin::saying("here");
    let port = origin.address.port();
    let server = NameServer::start();
    server.set("shop.test", A, 1, vec![vec![127, 0, 0, 1]]);
    let cluster = format!("endpoints: ['shop.test:{port}'], resolve_every: 100ms");
    let proxy = Proxy::start(&yaml(Some(&server), &cluster));
    says(&proxy, "here");
    let asked_more = |more: usize| {
        let before = server.asked();
        within("more questions", || {
            (server.asked() >= before + more).then_some(())
        });
    };
    server.forget();
    asked_more(6);
    assert_eq!(proxy.get("/").text(), "here");
    server.set("shop.test", A, 1, Vec::new());
    asked_more(6);
    assert_eq!(proxy.get("/").text(), "here");
}

/// A server that cannot tell one does not take half of the endpoints away.
#[test]
fn addresses_of_a_family_that_cannot_be_asked_for_stay() {
    let server = NameServer::start();
    server.set("shop.test", A, 1, vec![vec![127, 0, 0, 1]]);
    let mut loopback = vec![0; 16];
    loopback[15] = 1;
    server.set("shop.test", AAAA, 1, vec![loopback]);
    let cluster = "endpoints: ['shop.test:9'], resolve_every: 100ms";
    let proxy = Proxy::start(&yaml(Some(&server), cluster));
    let lists = |addresses: [&str; 2]| {
        let told = get(proxy.admin(), "/clusters").text();
        addresses.map(|address| told.contains(&format!("\"{address}\"")))
    };
    within("both", || {
        (lists(["127.0.0.1:9", "[::1]:9"]) == [true, true]).then_some(())
    });
    let asked_more = |more: usize| {
        let before = server.asked();
        within("more questions", || {
            (server.asked() >= before + more).then_some(())
        });
    };
    server.fail(AAAA);
    // A round that began before may have an answer from before.
    asked_more(6);
    server.set("shop.test", A, 1, vec![vec![127, 0, 0, 2]]);
    asked_more(12);
    assert_eq!(lists(["127.0.0.1:9", "[::1]:9"]), [true, true]);
    // That there is none is an answer.
    server.set("shop.test", AAAA, 1, Vec::new());
    server.failing.lock().unwrap().clear();
    within("the new one alone", || {
        (lists(["127.0.0.2:9", "[::1]:9"]) == [true, false]).then_some(())
    });
}

/// Nor is one missed that was never there.
#[test]
fn a_family_that_was_never_found_is_not_waited_for() {
    let origin = Origin::saying("here");
    let port = origin.address.port();
    let server = NameServer::start();
    server.fail(AAAA);
    server.set("shop.test", A, 1, vec![vec![127, 0, 0, 1]]);
    let cluster = format!("endpoints: ['shop.test:{port}']");
    let proxy = Proxy::start(&yaml(Some(&server), &cluster));
    says(&proxy, "here");
}

/// Priorities are tiers, weights are weights.
#[test]
fn services_tell_ports_weights_and_priorities() {
    let (heavy, light, spare) = (
        Origin::saying("3"),
        Origin::saying("1"),
        Origin::saying("0"),
    );
    let server = NameServer::start();
    server.set("host.test", A, 60, vec![vec![127, 0, 0, 1]]);
    let records = vec![
        service(10, 30, heavy.address.port(), "host.test"),
        service(10, 10, light.address.port(), "host.test"),
        service(20, 50, spare.address.port(), "host.test"),
    ];
    server.set("_http._tcp.shop.test", SRV, 60, records);
    let cluster = "endpoints: ['srv:_http._tcp.shop.test']";
    let proxy = Proxy::start(&yaml(Some(&server), cluster));
    says(&proxy, "3");
    let counts = counts(&proxy, 400);
    assert!(counts["3"].abs_diff(300) <= 2, "{counts:?}");
    assert_eq!(counts.get("0"), None);
}

/// Who has no answer to one name of a service has none to the service.
#[test]
fn a_service_is_known_as_a_whole() {
    let origin = Origin::saying("here");
    let server = NameServer::start();
    server.set("host.test", A, 1, vec![vec![127, 0, 0, 1]]);
    let here = service(10, 30, origin.address.port(), "host.test");
    server.set("_http._tcp.shop.test", SRV, 1, vec![here.clone()]);
    let cluster = "endpoints: ['srv:_http._tcp.shop.test']";
    let proxy = Proxy::start(&yaml(Some(&server), cluster));
    says(&proxy, "here");
    let elsewhere = service(10, 30, 9, "unknown.test");
    server.set("_http._tcp.shop.test", SRV, 1, vec![here, elsewhere]);
    let before = server.asked();
    within("more questions", || {
        (server.asked() >= before + 8).then_some(())
    });
    assert_eq!(counts(&proxy, 10), [("here".to_owned(), 10)].into());
}

/// What is there is better than nothing.
#[test]
fn a_service_begins_with_the_hosts_that_are_found() {
    let origin = Origin::saying("here");
    let server = NameServer::start();
    server.set("host.test", A, 1, vec![vec![127, 0, 0, 1]]);
    let records = vec![
        service(10, 30, 9, "unknown.test"),
        service(10, 30, origin.address.port(), "host.test"),
    ];
    server.set("_http._tcp.shop.test", SRV, 60, records);
    let proxy = Proxy::start(&yaml(
        Some(&server),
        "endpoints: ['srv:_http._tcp.shop.test']",
    ));
    says(&proxy, "here");
}

fn write(file: &Path, text: &str) {
    // In place, so that it may be read before it is whole.
    std::fs::write(file, text).unwrap();
}

fn list(origins: &[&Origin]) -> String {
    let one = |origin: &&Origin| format!("  - '{}'\n", origin.address);
    format!(
        "endpoints:\n{}",
        origins.iter().map(one).collect::<String>()
    )
}

/// No generation ends for it.
#[test]
fn files_are_followed_without_a_reload() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let folder = Proxy::folder();
    let file = folder.join("shop.yaml");
    write(&file, &list(&[&a]));
    let cluster = "endpoints: ['file:shop.yaml'], resolve_every: 1h";
    let proxy = Proxy::start_in(folder, &yaml(None, cluster));
    assert_eq!(proxy.get("/").text(), "a");
    let generation = || get(proxy.admin(), "/generations").text();
    let before = generation();
    write(&file, &list(&[&b]));
    says(&proxy, "b");
    // JSON is YAML.
    write(&file, &format!("{{\"endpoints\": [\"{}\"]}}", a.address));
    says(&proxy, "a");
    assert_eq!(generation(), before);
}

/// As Kubernetes mounts a ConfigMap: a file is a link into a folder that is a link, which is
/// changed for another.
#[test]
fn a_file_behind_links_is_followed() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let folder = Proxy::folder();
    let link = |version: &str| {
        let new = folder.join("..data_tmp");
        std::os::unix::fs::symlink(version, &new).unwrap();
        std::fs::rename(new, folder.join("..data")).unwrap();
    };
    for (version, origin) in [("..first", &a), ("..second", &b)] {
        let version = folder.join(version);
        std::fs::create_dir(&version).unwrap();
        write(&version.join("shop.yaml"), &list(&[origin]));
    }
    link("..first");
    std::os::unix::fs::symlink("..data/shop.yaml", folder.join("shop.yaml")).unwrap();
    let cluster = "endpoints: ['file:shop.yaml'], resolve_every: 1h";
    let proxy = Proxy::start_in(folder.clone(), &yaml(None, cluster));
    assert_eq!(proxy.get("/").text(), "a");
    link("..second");
    says(&proxy, "b");
    link("..first");
    says(&proxy, "a");
}

#[test]
fn what_is_half_written_changes_nothing() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let folder = Proxy::folder();
    let file = folder.join("shop.yaml");
    write(&file, &list(&[&a]));
    let cluster = "endpoints: ['file:shop.yaml'], resolve_every: 100ms";
    let proxy = Proxy::start_in(folder, &yaml(None, cluster));
    for bad in [
        "",
        "endpoints: [",
        "endpoints: [ 'shop.test:80' ]",
        "endpoints: [ 'file:other.yaml' ]",
        "endpoint: []",
        "\0\u{1}",
    ] {
        write(&file, bad);
        for _ in 0..20 {
            assert_eq!(proxy.get("/").text(), "a", "{bad:?}");
        }
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(proxy.get("/").text(), "a");
    write(&file, &list(&[&b]));
    says(&proxy, "b");
}

/// All that is wrong with it is told where it is, and nothing starts.
#[test]
fn bad_files_are_refused_at_the_start() {
    let folder = Proxy::folder();
    let file = folder.join("shop.yaml");
    write(
        &file,
        "endpoints:\n  - 'shop.test:80'\n  - { address: 1, weight: -1 }\n",
    );
    let yaml = yaml(None, "endpoints: ['file:shop.yaml', 'file:missing.yaml']");
    let refused = Proxy::try_start_in(folder, &yaml)
        .err()
        .unwrap()
        .to_string();
    for told in [
        "shop.yaml:2:5: found `shop.test:80`, which would have to be looked up",
        "shop.yaml:3:",
        "missing.yaml",
    ] {
        assert!(refused.contains(told), "{told}: {refused}");
    }
}

/// Ten thousand of them, most of which nobody has asked yet.
#[test]
fn large_files_change_live() {
    let origin = Origin::saying("here");
    let folder = Proxy::folder();
    let file = folder.join("shop.yaml");
    let many = |count: usize| {
        let address = |number: usize| ([127, 1, (number >> 8) as u8, number as u8], 9).into();
        let addresses = (0..count).map(|number| -> SocketAddr { address(number) });
        let lines = addresses.map(|address| format!("  - {{ address: '{address}', weight: 0 }}\n"));
        format!("{}{}", list(&[&origin]), lines.collect::<String>())
    };
    write(&file, &many(10_000));
    let cluster = "endpoints: ['file:shop.yaml']";
    let proxy = Proxy::start_in(folder, &yaml(None, cluster));
    assert_eq!(proxy.get("/").text(), "here");
    let count = || {
        let answer = get(proxy.admin(), "/clusters").text();
        answer.matches("\"address\"").count()
    };
    assert_eq!(count(), 10_001);
    write(&file, &many(9_000));
    within("the smaller set", || {
        assert_eq!(proxy.get("/").text(), "here");
        (count() == 9_001).then_some(())
    });
}
