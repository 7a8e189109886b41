//! Origins that speak TLS: who they have to be, and what they are shown.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, SanType, SerialNumber};
use support::admin::{metric, metric_sum};
use support::http2::{Http2, run};
use support::process::lockgate;
use support::tls::{Authority, Pair, TLS12, put, valid};
use support::tls_origin::{Serves, TlsOrigin};
use support::{Answer, Client, Origin, Process, Proxy, within};

const ADMIN: &str = "admin: { address: '127.0.0.1:0' }\n";

/// A folder with the files that most tests want.
struct Scene {
    folder: PathBuf,
    authority: Authority,
}

impl Scene {
    fn new() -> Self {
        let folder = Proxy::folder();
        let authority = Authority::new("root");
        put(&folder.join("roots.pem"), authority.pem());
        Self { folder, authority }
    }

    /// With these keys of the cluster, and these of its TLS.
    fn text(&self, endpoints: &[String], cluster: &str, tls: &str) -> String {
        let roots = match tls.contains("roots:") || tls.contains("insecure") {
            true => "",
            false => "roots: [roots.pem], ",
        };
        format!(
            "{ADMIN}workers: 1\naccess_log: {{ to: ./access.log }}\n\
             listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
             clusters: [{{ name: origin, endpoints: {endpoints:?}, {cluster}\
             tls: {{ {roots}{tls} }} }}]\n"
        )
    }

    fn start(&self, endpoints: &[String], cluster: &str, tls: &str) -> Proxy {
        Proxy::start_in(self.folder.clone(), &self.text(endpoints, cluster, tls))
    }

    /// A proxy in front of this origin, by its address.
    fn proxy(&self, origin: &TlsOrigin, tls: &str) -> Proxy {
        self.start(&[origin.address.to_string()], "", tls)
    }

    /// What comes of a request.
    fn ask(&self, origin: &TlsOrigin, tls: &str) -> Asked {
        let proxy = self.proxy(origin, tls);
        asked(&proxy)
    }
}

struct Asked {
    status: u16,
    text: String,
    proxy_status: String,
    log: String,
}

fn asked(proxy: &Proxy) -> Asked {
    let answer = proxy.get("/");
    let log = within("a line in the log", || {
        let log = std::fs::read_to_string(proxy.path().join("access.log")).ok()?;
        log.ends_with('\n').then_some(log)
    });
    Asked {
        status: answer.status,
        text: answer.text(),
        proxy_status: answer.header("proxy-status").unwrap_or_default().to_owned(),
        log,
    }
}

impl Asked {
    #[track_caller]
    fn is_good(&self, words: &str) {
        assert_eq!(self.status, 200, "{} {}", self.text, self.log);
        assert!(self.text.contains(words), "no `{words}` in: {}", self.text);
    }

    #[track_caller]
    fn is_refused(&self, words: &str) {
        assert_eq!(self.status, 502, "{}", self.text);
        assert_eq!(self.text, "there is no TLS connection with the origin\n");
        assert_eq!(self.proxy_status, "lockgate; error=tls_protocol_error");
        for words in [words, "upstream_tls_failed"] {
            assert!(self.log.contains(words), "no `{words}` in: {}", self.log);
        }
    }
}

fn with_uris(authority: &Authority, uris: &[&str]) -> Pair {
    let key = KeyPair::generate().unwrap();
    authority.issue_with(&[], &key, |params| {
        let uris = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
    })
}

fn serial(number: u64) -> impl FnOnce(&mut CertificateParams) {
    move |params| params.serial_number = Some(SerialNumber::from(number))
}

#[test]
fn an_origin_is_known_by_its_name_or_its_address() {
    let scene = Scene::new();
    let pair = scene.authority.issue(&["localhost"]);
    let origin = Serves::new(&pair).start();
    let by_name = [format!("localhost:{}", origin.address.port())];
    let proxy = scene.start(&by_name, "", "");
    asked(&proxy).is_good("http1 TLSv1_3 full sni=localhost client=- sent=0");
    drop(proxy);
    let scene = Scene {
        folder: Proxy::folder(),
        ..scene
    };
    put(&scene.folder.join("roots.pem"), scene.authority.pem());
    scene
        .ask(&origin, "")
        .is_refused("certificate not valid for name");
    let scene = Scene::new();
    let pair = scene.authority.issue(&["127.0.0.1"]);
    scene.ask(&Serves::new(&pair).start(), "").is_good("sni=- ");
}

#[test]
fn another_name_can_be_asked_for() {
    let scene = Scene::new();
    let pair = scene.authority.issue(&["origin.test"]);
    let origin = Serves::new(&pair).start();
    scene
        .ask(&origin, "sni: origin.test")
        .is_good("sni=origin.test");
    let scene = Scene::new();
    scene
        .ask(&origin, "sni: origin.test")
        .is_refused("BadSignature");
    let scene = Scene::new();
    let pair = scene.authority.issue(&["origin.test"]);
    let origin = Serves::new(&pair).start();
    scene
        .ask(&origin, "sni: other.test")
        .is_refused("not valid for name");
}

#[test]
fn names_are_who_an_origin_may_be() {
    let scene = || Scene::new();
    let names = "names: [other.test, 'spiffe://test/a', 'spiffe://test/b']";
    let first = scene();
    let pair = with_uris(&first.authority, &["spiffe://test/b"]);
    first
        .ask(&Serves::new(&pair).start(), names)
        .is_good("sni=- ");
    let second = scene();
    let pair = second.authority.issue(&["other.test"]);
    second
        .ask(&Serves::new(&pair).start(), names)
        .is_good("sni=- ");
    // Its own name is none of them.
    let third = scene();
    let pair = third.authority.issue(&["127.0.0.1"]);
    third
        .ask(&Serves::new(&pair).start(), names)
        .is_refused("NotValidForName");
    for uris in [
        &["spiffe://test/c"][..],
        &["spiffe://test/a", "spiffe://test/c"],
    ] {
        let scene = scene();
        let pair = with_uris(&scene.authority, uris);
        scene
            .ask(&Serves::new(&pair).start(), names)
            .is_refused("NotValidForName");
    }
}

#[test]
fn a_certificate_that_is_not_good_is_refused() {
    let scene = Scene::new();
    let key = KeyPair::generate().unwrap();
    let past = |params: &mut _| valid(params, -9, -2);
    let pair = scene.authority.issue_with(&["127.0.0.1"], &key, past);
    scene
        .ask(&Serves::new(&pair).start(), "")
        .is_refused("certificate expired");
    let scene = Scene::new();
    let client_only = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    };
    let pair = scene
        .authority
        .issue_with(&["127.0.0.1"], &key, client_only);
    scene
        .ask(&Serves::new(&pair).start(), "")
        .is_refused("TLS: ");
    let scene = Scene::new();
    let pair = Authority::new("nobody").issue(&["127.0.0.1"]);
    let origin = Serves::new(&pair).start();
    scene.ask(&origin, "").is_refused("UnknownIssuer");
    // Unless nobody looks.
    let scene = Scene::new();
    scene
        .ask(&origin, "insecure_skip_verify: true")
        .is_good("http1");
}

#[test]
fn an_origin_that_asks_for_a_certificate_gets_the_proxys() {
    for versions in [rustls::ALL_VERSIONS, TLS12] {
        let scene = Scene::new();
        let key = KeyPair::generate().unwrap();
        let own = scene
            .authority
            .issue_with(&["proxy.test"], &key, serial(77));
        own.write(&scene.folder, "own");
        let pair = scene.authority.issue(&["127.0.0.1"]);
        let serves = Serves {
            clients: Some(&scene.authority),
            versions,
            ..Serves::new(&pair)
        };
        let origin = serves.start();
        let proxy = scene.proxy(&origin, "certificate: { chain: own.pem, key: own.key }");
        asked(&proxy).is_good("client=77");
        let text = support::admin::get(proxy.admin(), "/metrics").text();
        let expiry = "lockgate_certificate_expiry_seconds{cluster=\"origin\",file=\"";
        assert!(text.contains(expiry), "{text}");
    }
}

#[test]
fn an_origin_that_misses_a_certificate_refuses() {
    for versions in [rustls::ALL_VERSIONS, TLS12] {
        for protocol in ["", "protocol: http2, "] {
            let scene = Scene::new();
            let pair = scene.authority.issue(&["127.0.0.1"]);
            let serves = Serves {
                clients: Some(&scene.authority),
                versions,
                alpn: &["h2", "http/1.1"],
                ..Serves::new(&pair)
            };
            let origin = serves.start();
            let proxy = scene.start(&[origin.address.to_string()], protocol, "");
            let asked = asked(&proxy);
            // The alert may be lost behind what the origin did not read.
            assert_eq!(asked.status, 502, "{}", asked.text);
            let is_told = asked.log.contains("CertificateRequired")
                || asked.log.contains("HandshakeFailure")
                || asked.log.contains("upstream_reset");
            assert!(is_told, "{}", asked.log);
        }
    }
}

#[test]
fn old_versions_are_spoken_where_they_may_be() {
    let scene = Scene::new();
    let pair = scene.authority.issue(&["127.0.0.1"]);
    let origin = Serves {
        versions: TLS12,
        ..Serves::new(&pair)
    }
    .start();
    scene.ask(&origin, "").is_good("TLSv1_2");
    let scene = Scene {
        folder: Proxy::folder(),
        ..scene
    };
    put(&scene.folder.join("roots.pem"), scene.authority.pem());
    scene
        .ask(&origin, "min_version: TLSv1.3")
        .is_refused("ProtocolVersion");
}

#[test]
fn sessions_are_resumed() {
    let scene = Scene::new();
    let pair = scene.authority.issue(&["127.0.0.1"]);
    let origin = Serves::new(&pair).start();
    let proxy = scene.start(&[origin.address.to_string()], "pool: { max_idle: 0 }, ", "");
    asked(&proxy).is_good("full");
    asked(&proxy).is_good("resumed");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_session_does_not_outlive_its_certificate() {
    let scene = Scene::new();
    let ends = SystemTime::now() + Duration::from_secs(3);
    let key = KeyPair::generate().unwrap();
    let pair = scene.authority.issue_with(&["127.0.0.1"], &key, |params| {
        valid(params, -9, 9);
        params.not_after = ends.into();
    });
    let origin = Serves::new(&pair).start();
    let proxy = scene.start(&[origin.address.to_string()], "pool: { max_idle: 0 }, ", "");
    asked(&proxy).is_good("full");
    asked(&proxy).is_good("resumed");
    within("it has expired", || {
        let second = Duration::from_secs(1);
        (SystemTime::now() > ends + second).then_some(())
    });
    let refused = proxy.get("/");
    assert_eq!(refused.status, 502);
    let why = refused.header("proxy-status");
    assert_eq!(why, Some("lockgate; error=tls_protocol_error"));
}

#[test]
fn bodies_pass_and_their_end_is_what_tls_says() {
    let scene = Scene::new();
    let pair = scene.authority.issue(&["127.0.0.1"]);
    let origin = Serves::new(&pair).start();
    let proxy = scene.proxy(&origin, "");
    assert_eq!(proxy.get("/big").body.len(), 3 << 20);
    let mut client = proxy.connect();
    let length = 2 << 20;
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n"
    ));
    client.send(vec![b'x'; length]);
    let told = client.answer().text();
    assert!(told.ends_with(&format!("sent={length}")), "{told}");
    // One connection serves many.
    assert_eq!(origin.connections(), 1);
    assert_eq!(proxy.get("/whole").text(), "to the end");
    let mut client = proxy.connect();
    client.send("GET /cut HTTP/1.1\r\nhost: test\r\n\r\n");
    let cut = String::from_utf8(client.rest()).unwrap();
    assert!(!cut.ends_with("0\r\n\r\n"), "{cut}");
}

#[test]
fn http2_is_agreed_on() {
    let scene = Scene::new();
    let pair = scene.authority.issue(&["127.0.0.1"]);
    let origin = Serves {
        alpn: &["h2"],
        ..Serves::new(&pair)
    }
    .start();
    let proxy = scene.start(&[origin.address.to_string()], "protocol: http2, ", "");
    asked(&proxy).is_good("http2 TLSv1_3 full sni=- client=- sent=0 scheme=https");
    let called = run(async {
        let mut client = Http2::connect(proxy.address()).await;
        let call = support::http2::post("/").header("content-type", "application/grpc");
        let (answer, mut body) = client.open(call, false).await;
        body.send_data(bytes::Bytes::from_static(b"12345"), true)
            .unwrap();
        answer.await.unwrap()
    });
    assert!(String::from_utf8(called.body).unwrap().contains("sent=5"));
    assert_eq!(called.trailers.unwrap()["grpc-status"], "0");
    assert_eq!(origin.connections(), 1);
    drop(proxy);
    for alpn in [&[][..], &["http/1.1"]] {
        let scene = Scene::new();
        let pair = scene.authority.issue(&["127.0.0.1"]);
        let origin = Serves {
            alpn,
            ..Serves::new(&pair)
        }
        .start();
        let proxy = scene.start(&[origin.address.to_string()], "protocol: http2, ", "");
        asked(&proxy).is_refused("does not speak HTTP/2 over TLS");
    }
}

#[test]
fn an_origin_chooses_its_protocol_and_changes_its_mind() {
    let scene = Scene::new();
    let pair = scene.authority.issue(&["127.0.0.1"]);
    let both = || Serves {
        alpn: &["h2", "http/1.1"],
        ..Serves::new(&pair)
    };
    let origin = Serves::new(&pair).start();
    let endpoint = [origin.address.to_string()];
    let proxy = scene.start(
        &endpoint,
        "protocol: auto, pool: { max_lifetime: 1ms }, ",
        "",
    );
    // A connection may still be young enough for the request behind it.
    let becomes = |spoken: &str| {
        within("what it speaks now", || {
            proxy.get("/").text().starts_with(spoken).then_some(())
        });
    };
    becomes("http1");
    origin.change(&both());
    becomes("http2");
    origin.change(&Serves {
        alpn: &["http/1.1"],
        ..Serves::new(&pair)
    });
    becomes("http1");
}

#[test]
fn requests_that_come_together_share_what_the_first_one_learns() {
    let scene = Scene::new();
    let pair = scene.authority.issue(&["127.0.0.1"]);
    for (alpn, words) in [("h2", "http2"), ("http/1.1", "http1")] {
        let folder = Proxy::folder();
        put(&folder.join("roots.pem"), scene.authority.pem());
        let origin = Serves {
            alpn: &[alpn],
            ..Serves::new(&pair)
        }
        .start();
        let text = scene.text(&[origin.address.to_string()], "protocol: auto, ", "");
        let proxy = Proxy::start_in(folder, &text);
        let address = proxy.address();
        std::thread::scope(|threads| {
            for _ in 0..20 {
                threads.spawn(|| {
                    let told = get(address).text();
                    assert!(told.starts_with(words), "{told}");
                });
            }
        });
        if words == "http2" {
            assert_eq!(origin.connections(), 1);
        }
    }
}

#[test]
fn connections_of_tcp_pass_over_tls_too() {
    let scene = Scene::new();
    let pair = scene.authority.issue(&["127.0.0.1"]);
    // Nothing is agreed on: it is not known what will be spoken.
    let serves = Serves {
        alpn: &["h2"],
        ..Serves::new(&pair)
    };
    let origin = serves.start();
    let endpoint = [origin.address.to_string()];
    let text = scene.text(&endpoint, "protocol: http2, ", "");
    let text = text.replace("cluster: origin }", "cluster: origin, protocols: [tcp] }");
    let proxy = Proxy::start_in(scene.folder.clone(), &text);
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert!(client.answer().text().starts_with("http1 TLSv1_3 full"));
    client.send("GET /big HTTP/1.1\r\n\r\n");
    assert_eq!(client.answer().body.len(), 3 << 20);
    // The client's end is passed on, and so is the origin's.
    assert!(client.finish().rest().is_empty());
}

#[test]
fn without_tls_the_choice_is_http1() {
    let origin = Origin::saying("plain");
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'], protocol: auto }}]\n",
        origin.address
    ));
    assert_eq!(proxy.get("/").text(), "plain");
}

/// An origin that does this with every connection.
fn scripted(serve: impl Fn(&mut std::net::TcpStream) + Send + Sync + 'static) -> Origin {
    Origin::scripted(move |mut stream, _| serve(&mut stream))
}

#[test]
fn what_is_no_handshake_is_told_and_not_waited_for() {
    let plain = scripted(|stream| {
        stream.read_exact(&mut [0; 100]).ok();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            .ok();
    });
    // The beginning of a record of a handshake that never goes on.
    let truncated = scripted(|stream| {
        stream.read_exact(&mut [0; 100]).ok();
        stream.write_all(&[22, 3, 3, 0, 100, 2, 0]).ok();
        stream.shutdown(std::net::Shutdown::Write).ok();
        stream.read_to_end(&mut Vec::new()).ok();
    });
    for (origin, words) in [
        (plain, "does not speak TLS"),
        (truncated, "closed the connection"),
    ] {
        let scene = Scene::new();
        let proxy = scene.start(&[origin.address.to_string()], "", "");
        asked(&proxy).is_refused(words);
    }
}

#[test]
fn a_handshake_that_does_not_end_takes_the_time_of_connecting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = [listener.local_addr().unwrap().to_string()];
    let scene = Scene::new();
    let proxy = scene.start(&endpoint, "timeouts: { connect: 100ms }, ", "");
    let asked = asked(&proxy);
    assert_eq!(asked.status, 504);
    assert!(asked.log.contains("connect_timeout"), "{}", asked.log);
}

#[test]
fn another_endpoint_is_tried() {
    let scene = Scene::new();
    let good = scene.authority.issue(&["127.0.0.1"]);
    let good = Serves::new(&good).start();
    let bad = Authority::new("nobody").issue(&["127.0.0.1"]);
    let bad = Serves::new(&bad).start();
    let endpoints = [bad.address.to_string(), good.address.to_string()];
    let proxy = scene.start(&endpoints, "refused_pause: 1h, pool: { max_idle: 0 }, ", "");
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status, 200);
    }
    // It was passed over after that.
    assert_eq!(bad.connections(), 1);
    let failures = "lockgate_cluster_connect_failures_total{cluster=\"origin\"}";
    assert_eq!(metric(proxy.admin(), failures), 1.0);
}

fn get(address: SocketAddr) -> Answer {
    let mut client = Client::connect(address);
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").answer()
}

/// Asks all the time while `change` is made, then stops; nothing may fail.
fn under_traffic(proxy: &Proxy, change: impl FnOnce(&dyn Fn() -> usize)) {
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = proxy.address();
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let answer = get(address);
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        change(&|| answered.load(Ordering::Relaxed));
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(
        metric_sum(proxy.admin(), "lockgate_request_errors_total", ""),
        0.0
    );
}

#[test]
fn the_proxys_certificate_is_exchanged_without_a_lost_request() {
    let scene = Scene::new();
    let key = KeyPair::generate().unwrap();
    let issue = |number| {
        let own = scene
            .authority
            .issue_with(&["proxy.test"], &key, serial(number));
        own.write(&scene.folder, "own");
    };
    issue(1);
    let pair = scene.authority.issue(&["127.0.0.1"]);
    let origin = Serves {
        clients: Some(&scene.authority),
        ..Serves::new(&pair)
    }
    .start();
    let proxy = scene.proxy(&origin, "certificate: { chain: own.pem, key: own.key }");
    under_traffic(&proxy, |answered| {
        for number in 2..6 {
            issue(number);
            within("the new certificate is shown", || {
                let told = proxy.get("/").text();
                told.contains(&format!("client={number}")).then_some(())
            });
            let many = answered() + 20;
            within("more answers", || (answered() > many).then_some(()));
        }
    });
}

#[test]
fn roots_are_exchanged_without_a_lost_request() {
    let scene = Scene::new();
    let next = Authority::new("next");
    let pair = scene.authority.issue(&["127.0.0.1"]);
    let origin = Serves::new(&pair).start();
    let proxy = scene.proxy(&origin, "");
    let reloads = || metric_sum(proxy.admin(), "lockgate_reloads_total", "");
    let roots = |text: String| {
        let before = reloads();
        put(&scene.folder.join("roots.pem"), text);
        within("the change is taken", || (reloads() > before).then_some(()));
    };
    under_traffic(&proxy, |answered| {
        // First both are believed, then the origin is another one, then the old is not.
        roots(scene.authority.pem() + &next.pem());
        let (old, new) = (origin.connections(), next.issue(&["127.0.0.1"]));
        origin.change(&Serves::new(&new));
        roots(next.pem());
        let many = answered() + 20;
        within("more answers", || (answered() > many).then_some(()));
        assert!(origin.connections() > old);
    });
    // What was believed once is not believed any more.
    roots(scene.authority.pem());
    within("the new origin is refused", || {
        (proxy.get("/").status == 502).then_some(())
    });
}

#[test]
fn a_bad_block_is_told_with_what_was_found_and_wanted() {
    let scene = Scene::new();
    let check = |tls: &str| {
        let text = scene.text(&["127.0.0.1:1".into()], "", tls);
        let path = support::process::write_in(&scene.folder, &text);
        let output = support::process::run(&["check", &path]);
        let told = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(told).unwrap())
    };
    let refused = |tls: &str, words: &[&str]| {
        let (is_good, told) = check(tls);
        assert!(!is_good, "{told}");
        for word in words {
            assert!(told.contains(word), "no `{word}` in: {told}");
        }
    };
    refused(
        "roots: [none.pem]",
        &["lockgate.yaml:", "none.pem", "cannot be read"],
    );
    refused("roots: []", &["an empty list"]);
    refused("sni: 10.0.0.1", &["`10.0.0.1`", "a host name"]);
    for name in [
        "https://a",
        "spiffe://A/b",
        "spiffe://a//b",
        "spiffe://a/",
        "spiffe://",
    ] {
        refused(&format!("names: ['{name}']"), &[name, "SPIFFE ID"]);
    }
    refused("certificate: { chain: roots.pem }", &["key"]);
    refused("verify: none", &["verify"]);
    refused(
        "insecure_skip_verify: true, names: [a.test]",
        &["one of the two"],
    );
    let (is_good, told) = check("insecure_skip_verify: true");
    assert!(is_good && told.contains("whoever stands between"), "{told}");
    let key = KeyPair::generate().unwrap();
    let soon = scene
        .authority
        .issue_with(&["a.test"], &key, |params| valid(params, -9, 10));
    soon.write(&scene.folder, "own");
    let (is_good, told) = check("certificate: { chain: own.pem, key: own.key }");
    assert!(is_good && told.contains("expires in 9 days"), "{told}");
    let other = scene.authority.issue(&["a.test"]);
    put(&scene.folder.join("own.key"), &other.key);
    refused(
        "certificate: { chain: own.pem, key: own.key }",
        &["another key"],
    );
    let text = scene.text(&["unix:/run/origin".into()], "", "");
    let path = support::process::write_in(&scene.folder, &text);
    let output = support::process::run(&["check", &path]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("`sni` or `names`"), "{told}");
    std::fs::remove_dir_all(&scene.folder).unwrap();
}

/// Roots of the system are wherever the environment says that they are.
#[test]
fn the_system_may_vouch_for_origins() {
    let pair = Authority::new("root").issue(&["localhost"]);
    let refused = Serves::new(&pair).start();
    let scene = Scene::new();
    let pair = scene.authority.issue(&["localhost"]);
    let origin = Serves::new(&pair).start();
    let endpoint = |origin: &TlsOrigin| [format!("localhost:{}", origin.address.port())];
    for (origin, status) in [(&origin, 200), (&refused, 502)] {
        let folder = Proxy::folder();
        put(&folder.join("roots.pem"), scene.authority.pem());
        let mut command = lockgate(&["run", "--config"]);
        command.env("SSL_CERT_FILE", folder.join("roots.pem"));
        command.env_remove("SSL_CERT_DIR");
        let text = scene.text(&endpoint(origin), "", "roots: [system]");
        let process = Process::spawn_by(command, folder, &text);
        process.logged("listening");
        assert_eq!(process.get("/").status, status);
    }
}

/// A server that others have made, `origin.test`, at a path.
struct Program {
    child: Child,
    folder: PathBuf,
}

impl Program {
    /// By the command for this folder, in which it listens on `socket`.
    fn start(authority: &Authority, command: impl FnOnce(&Path) -> Command) -> Self {
        let folder = Proxy::folder();
        authority.issue(&["origin.test"]).write(&folder, "own");
        let mut command = command(&folder);
        let command = command.current_dir(&folder).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let wanted = "Debian's packages `nginx-light` and `openssl` are wanted for this test";
        let program = Self {
            child: child.expect(wanted),
            folder,
        };
        within("it listens", || UnixStream::connect(program.socket()).ok());
        program
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    fn endpoint(&self) -> [String; 1] {
        [format!("unix:{}", self.socket().display())]
    }

    fn nginx(authority: &Authority) -> Self {
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("  {name}_temp_path {name};\n"))
            .collect();
        let text = format!(
            "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\n{temporary}  access_log off;\n  server {{\n    \
             listen unix:socket ssl http2;\n    \
             ssl_protocols TLSv1.2 TLSv1.3;\n    \
             ssl_certificate own.pem;\n    ssl_certificate_key own.key;\n    \
             location / {{ return 200 \"$request_method $server_protocol $ssl_protocol \
             $ssl_server_name $connection_requests\"; }}\n  }}\n}}\n"
        );
        Self::start(authority, |folder| {
            put(&folder.join("nginx.conf"), text);
            let mut command = Command::new("nginx");
            command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]);
            command.arg(folder);
            command
        })
    }

    fn s_server(authority: &Authority, version: &str) -> Self {
        Self::start(authority, |_| {
            let mut command = Command::new("openssl");
            command.args(["s_server", "-www", version, "-unix", "socket"]);
            command.args(["-cert", "own.pem", "-key", "own.key"]);
            command
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// Its names are asked for and shown, connections are used again, and bodies go up.
#[test]
fn nginx_is_an_origin_in_both_versions() {
    for (protocol, version) in [
        ("http1", "HTTP/1.1"),
        ("http2", "HTTP/2.0"),
        ("auto", "HTTP/2.0"),
    ] {
        let scene = Scene::new();
        let nginx = Program::nginx(&scene.authority);
        let protocol = format!("protocol: {protocol}, ");
        let proxy = scene.start(&nginx.endpoint(), &protocol, "sni: origin.test");
        let mut client = proxy.connect();
        for count in 1..=3 {
            client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
            let told = format!("GET {version} TLSv1.3 origin.test {count}");
            assert_eq!(client.answer().text(), told);
        }
        let body = "x".repeat(300_000);
        let head = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 300000\r\n\r\n";
        client.send(head).send(body);
        let answer = client.answer().text();
        assert!(answer.starts_with(&format!("POST {version} ")), "{answer}");
    }
}

#[test]
fn a_server_of_openssl_is_an_origin() {
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let scene = Scene::new();
        let server = Program::s_server(&scene.authority, option);
        let proxy = scene.start(&server.endpoint(), "", "sni: origin.test");
        for _ in 0..2 {
            asked(&proxy).is_good(&format!("{version}, Cipher is "));
        }
        drop(proxy);
        let scene = Scene {
            folder: Proxy::folder(),
            ..scene
        };
        put(&scene.folder.join("roots.pem"), scene.authority.pem());
        let proxy = scene.start(&server.endpoint(), "", "sni: other.test");
        asked(&proxy).is_refused("certificate not valid for name");
    }
}
