//! TLS towards clients: names, kinds of keys, versions, protocols, and handshakes that
//! come to nothing.

mod support;

use std::path::PathBuf;

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};
use rustls::{HandshakeKind, NamedGroup, ProtocolVersion};
use support::admin::metric;
use support::tls::{Authority, Pair, Speaks, TLS12, TLS13, TlsClient, get};
use support::{Client, Origin, Proxy, within};

struct Scene {
    authority: Authority,
    origin: Origin,
    folder: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            authority: Authority::new("root"),
            origin: Origin::saying("body"),
            folder: Proxy::folder(),
        };
        scene.write("edge", &["edge.test"]);
        scene
    }

    fn write(&self, name: &str, names: &[&str]) -> Pair {
        let pair = self.authority.issue(names);
        pair.write(&self.folder, name);
        pair
    }

    fn yaml(&self, certificates: &[&str], tls: &str, listener: &str) -> String {
        let certificates = certificates.iter();
        let certificates: String = certificates
            .map(|name| format!("        - {{ chain: {name}.pem, key: {name}.key }}\n"))
            .collect();
        format!(
            "admin: {{ address: '127.0.0.1:0' }}\n\
             listeners:\n\
             \x20 - name: web\n\
             \x20   address: 127.0.0.1:0\n\
             \x20   cluster: origin\n\
             \x20   tls:\n\
             \x20     certificates:\n\
             {certificates}\
             {tls}\
             {listener}\
             clusters:\n\
             \x20 - name: origin\n\
             \x20   endpoints: [{{ address: '{}' }}]\n",
            self.origin.address
        )
    }

    fn start(&self, certificates: &[&str], tls: &str, listener: &str) -> Proxy {
        Proxy::start_in(self.folder.clone(), &self.yaml(certificates, tls, listener))
    }

    fn speaks(&self) -> Speaks {
        Speaks::new(&self.authority)
    }
}

fn failures(proxy: &Proxy, reason: &str) -> f64 {
    let series =
        format!("lockgate_tls_handshake_failures_total{{listener=\"web\",reason=\"{reason}\"}}");
    metric(proxy.admin(), &series)
}

fn failed(proxy: &Proxy, reason: &str) {
    within(&format!("a failure is counted as {reason}"), || {
        (failures(proxy, reason) > 0.0).then_some(())
    });
}

/// For which names the certificate is that a client gets.
fn given(proxy: &Proxy, speaks: &Speaks, name: &str) -> Vec<u8> {
    let client = TlsClient::connect(proxy.address(), &speaks.config(), name).unwrap();
    client.connection().peer_certificates().unwrap()[0].to_vec()
}

fn der(pair: &Pair) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    let der = rustls::pki_types::CertificateDer::from_pem_slice(pair.chain.as_bytes());
    der.unwrap().to_vec()
}

#[test]
fn an_exchange_goes_over_tls() {
    let scene = Scene::new();
    let proxy = scene.start(&["edge"], "", "");
    let config = scene.speaks().config();
    let mut client = TlsClient::connect(proxy.address(), &config, "edge.test").unwrap();
    assert_eq!(
        client.connection().protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
    assert_eq!(client.get("/one").text(), "body");
    assert_eq!(client.get("/two").text(), "body");
    for line in ["GET /one HTTP/1.1", "GET /two HTTP/1.1"] {
        let seen = scene.origin.seen();
        assert_eq!(seen.line, line);
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    }
    let series = "lockgate_tls_handshakes_total\
                  {listener=\"web\",version=\"TLSv1.3\",resumed=\"false\"}";
    assert_eq!(metric(proxy.admin(), series), 1.0);
    let expiry = format!(
        "lockgate_certificate_expiry_seconds{{listener=\"web\",file=\"{}\"}}",
        scene.folder.join("edge.pem").display()
    );
    assert!(metric(proxy.admin(), &expiry) > 1.7e9);
}

/// Its end is told, so that nothing that was cut off passes for whole.
#[test]
fn a_connection_ends_with_a_goodbye() {
    let scene = Scene::new();
    let proxy = scene.start(&["edge"], "", "");
    let config = scene.speaks().config();
    let mut client = TlsClient::connect(proxy.address(), &config, "edge.test").unwrap();
    client.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    let answer = String::from_utf8(client.rest().unwrap()).unwrap();
    assert!(answer.ends_with("body"), "{answer}");
    // The same where the proxy refuses what it reads.
    let mut client = TlsClient::connect(proxy.address(), &config, "edge.test").unwrap();
    client.send("GET / HTTP/1.1\r\nbad\r\n\r\n");
    let answer = String::from_utf8(client.rest().unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn an_answer_that_is_cut_off_ends_without_one() {
    let scene = Scene {
        origin: Origin::scripted(|mut stream, _| {
            use std::io::{BufReader, Write};
            support::read_head(&mut BufReader::new(&stream));
            let half = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
            stream.write_all(half).ok();
        }),
        ..Scene::new()
    };
    let proxy = scene.start(&["edge"], "", "");
    let config = scene.speaks().config();
    let mut client = TlsClient::connect(proxy.address(), &config, "edge.test").unwrap();
    // To such a client the end of the connection is that of the body.
    client.send("GET / HTTP/1.0\r\nhost: test\r\n\r\n");
    client.rest().unwrap_err();
}

#[test]
fn large_bodies_pass_both_ways() {
    let body = "0123456789abcdef".repeat(256 * 1024);
    for versions in [TLS12, TLS13] {
        let scene = Scene {
            origin: Origin::start(|seen| {
                let length = seen.body.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                [head.as_bytes(), &seen.body].concat()
            }),
            ..Scene::new()
        };
        let proxy = scene.start(&["edge"], "", "");
        let speaks = Speaks {
            versions,
            ..scene.speaks()
        };
        let config = speaks.config();
        let mut client = TlsClient::connect(proxy.address(), &config, "edge.test").unwrap();
        let length = body.len();
        let head = format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n");
        client.send(head).send(&body);
        assert!(client.answer().text() == body);
    }
}

#[test]
fn a_client_gets_the_certificate_for_the_name_it_asks_for() {
    let scene = Scene::new();
    let first = scene.write("edge", &["edge.test"]);
    let exact = scene.write("exact", &["a.wild.test"]);
    let wildcard = scene.write("wildcard", &["*.wild.test"]);
    let all = ["edge", "exact", "wildcard"];
    let proxy = scene.start(&all, "", "");
    let speaks = scene.speaks();
    assert_eq!(given(&proxy, &speaks, "edge.test"), der(&first));
    assert_eq!(given(&proxy, &speaks, "a.wild.test"), der(&exact));
    assert_eq!(given(&proxy, &speaks, "A.Wild.Test"), der(&exact));
    assert_eq!(given(&proxy, &speaks, "b.wild.test"), der(&wildcard));
    // The first is for no other name, which the client says.
    for name in ["other.test", "a.b.wild.test", "wild.test"] {
        let config = speaks.config();
        let error = TlsClient::connect(proxy.address(), &config, name)
            .err()
            .unwrap();
        assert!(error.to_string().contains("certificate"), "{name}: {error}");
    }
    failed(&proxy, "alert");
    drop(proxy);

    std::fs::create_dir_all(&scene.folder).unwrap();
    scene.write("edge", &["edge.test"]);
    let strict = "      unknown_name: refuse\n      require_name: true\n";
    let proxy = scene.start(&["edge"], strict, "");
    for (name, told) in [
        ("other.test", "UnrecognisedName"),
        ("127.0.0.1", "MissingExtension"),
    ] {
        let config = speaks.config();
        let error = TlsClient::connect(proxy.address(), &config, name)
            .err()
            .unwrap();
        assert!(error.to_string().contains(told), "{name}: {error}");
    }
    within("both are counted", || {
        (failures(&proxy, "no_certificate") == 2.0).then_some(())
    });
}

#[test]
fn both_kinds_of_keys_serve_one_name() {
    let scene = Scene::new();
    let rsa = scene.authority.issue_rsa(&["edge.test"]);
    rsa.write(&scene.folder, "rsa");
    let ecdsa = scene.write("edge", &["edge.test"]);
    // Whichever stands first.
    let proxy = scene.start(&["rsa", "edge"], "", "");
    let everything = scene.speaks();
    assert_eq!(given(&proxy, &everything, "edge.test"), der(&ecdsa));
    let only_rsa = Speaks {
        versions: TLS12,
        suites: Some(vec![cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]),
        ..scene.speaks()
    };
    assert_eq!(given(&proxy, &only_rsa, "edge.test"), der(&rsa));
    let only_ecdsa = Speaks {
        versions: TLS12,
        suites: Some(vec![cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]),
        ..scene.speaks()
    };
    assert_eq!(given(&proxy, &only_ecdsa, "edge.test"), der(&ecdsa));
}

/// Before TLS 1.3 the groups of a client say which curves of certificates it takes too.
#[test]
fn a_client_gets_no_certificate_of_a_curve_that_it_has_not() {
    let scene = Scene::new();
    let rsa = scene.authority.issue_rsa(&["edge.test"]);
    rsa.write(&scene.folder, "rsa");
    let p256 = scene.write("edge", &["edge.test"]);
    let proxy = scene.start(&["edge", "rsa"], "", "");
    let with = |versions, groups: &[&'static dyn SupportedKxGroup]| Speaks {
        versions,
        groups: Some(groups.to_vec()),
        ..scene.speaks()
    };
    let few = [kx_group::X25519, kx_group::SECP384R1];
    let many = [kx_group::X25519, kx_group::SECP256R1];
    assert_eq!(given(&proxy, &with(TLS12, &few), "edge.test"), der(&rsa));
    assert_eq!(given(&proxy, &with(TLS12, &many), "edge.test"), der(&p256));
    // Who speaks nothing older says by its schemes what it takes.
    let new = Speaks {
        suites: Some(vec![cipher_suite::TLS13_AES_128_GCM_SHA256]),
        ..with(TLS13, &few)
    };
    assert_eq!(given(&proxy, &new, "edge.test"), der(&p256));
    drop(proxy);

    let scene = Scene::new();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let p384 = scene.authority.issue_with(&["edge.test"], &key, |_| {});
    p384.write(&scene.folder, "p384");
    scene
        .authority
        .issue_rsa(&["edge.test"])
        .write(&scene.folder, "rsa");
    let proxy = scene.start(&["rsa", "p384"], "", "");
    let speaks = Speaks {
        versions: TLS12,
        groups: Some(few.to_vec()),
        ..scene.speaks()
    };
    assert_eq!(given(&proxy, &speaks, "edge.test"), der(&p384));
}

#[test]
fn versions_and_protocols_are_agreed_on() {
    let scene = Scene::new();
    let proxy = scene.start(&["edge"], "      min_version: TLSv1.3\n", "");
    let old = Speaks {
        versions: TLS12,
        ..scene.speaks()
    };
    let error = get(proxy.address(), &old.config(), "edge.test").unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    failed(&proxy, "nothing_in_common");

    let alpn = |protocols: &[&str]| Speaks {
        alpn: protocols.iter().map(|p| p.as_bytes().to_vec()).collect(),
        ..scene.speaks()
    };
    let config = alpn(&["odd/1", "http/1.1"]).config();
    let client = TlsClient::connect(proxy.address(), &config, "edge.test").unwrap();
    assert_eq!(client.connection().alpn_protocol(), Some(&b"http/1.1"[..]));
    let error = get(proxy.address(), &alpn(&["odd/1"]).config(), "edge.test").unwrap_err();
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
    failed(&proxy, "no_protocol");
}

#[test]
fn http2_is_preferred_and_agreed_on() {
    let scene = Scene::new();
    let proxy = scene.start(&["edge"], "", "");
    let speaks = Speaks {
        alpn: vec![b"http/1.1".to_vec(), b"h2".to_vec()],
        ..scene.speaks()
    };
    let config = speaks.config();
    let mut client = TlsClient::connect(proxy.address(), &config, "edge.test").unwrap();
    assert_eq!(client.connection().alpn_protocol(), Some(&b"h2"[..]));
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    client
        .send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .send(settings);
    // The first frame is of settings too (RFC 9113, section 3.4).
    assert_eq!(client.exactly(9)[3], 4);
}

#[test]
fn no_suite_in_common_is_told() {
    let scene = Scene::new();
    let suites = "      cipher_suites: [TLS_AES_256_GCM_SHA384]\n";
    let proxy = scene.start(&["edge"], suites, "");
    let other = Speaks {
        suites: Some(vec![cipher_suite::TLS13_AES_128_GCM_SHA256]),
        ..scene.speaks()
    };
    let error = get(proxy.address(), &other.config(), "edge.test").unwrap_err();
    assert!(error.to_string().contains("HandshakeFailure"), "{error}");
    failed(&proxy, "nothing_in_common");
    let config = scene.speaks().config();
    let client = TlsClient::connect(proxy.address(), &config, "edge.test").unwrap();
    let suite = client.connection().negotiated_cipher_suite().unwrap();
    assert_eq!(suite, cipher_suite::TLS13_AES_256_GCM_SHA384);
}

#[test]
fn configured_suites_are_taken_in_their_order() {
    let order = "[TLS_CHACHA20_POLY1305_SHA256, TLS_AES_128_GCM_SHA256]";
    let ours = format!("      cipher_suites: {order}\n");
    for (more, wanted) in [
        (&*ours, cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
        ("", cipher_suite::TLS13_AES_128_GCM_SHA256),
    ] {
        let scene = Scene::new();
        let proxy = scene.start(&["edge"], more, "");
        let theirs = Speaks {
            suites: Some(vec![
                cipher_suite::TLS13_AES_128_GCM_SHA256,
                cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ]),
            ..scene.speaks()
        };
        let config = theirs.config();
        let client = TlsClient::connect(proxy.address(), &config, "edge.test").unwrap();
        let suite = client.connection().negotiated_cipher_suite();
        assert_eq!(suite, Some(wanted));
    }
}

#[test]
fn a_group_is_agreed_on_that_no_quantum_computer_undoes() {
    let scene = Scene::new();
    let proxy = scene.start(&["edge"], "", "");
    let config = scene.speaks().config();
    let client = TlsClient::connect(proxy.address(), &config, "edge.test").unwrap();
    let group = client.connection().negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
}

#[test]
fn http_without_tls_is_told_so() {
    let scene = Scene::new();
    let proxy = scene.start(&["edge"], "", "");
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("HTTPS"), "{}", answer.text());
    assert!(client.rest().is_empty());
    failed(&proxy, "plain_http");
}

#[test]
fn handshakes_that_come_to_nothing_are_counted() {
    let scene = Scene::new();
    let proxy = scene.start(&["edge"], "", "    timeouts: { handshake: 50ms }\n");
    let mut hello = Vec::new();
    let name = "edge.test".try_into().unwrap();
    let mut connection = rustls::ClientConnection::new(scene.speaks().config(), name).unwrap();
    connection.write_tls(&mut hello).unwrap();
    // Half of a hello, and the end.
    proxy
        .connect()
        .send(&hello[..hello.len() / 2])
        .finish()
        .rest();
    failed(&proxy, "closed");
    // Half of a hello, and nothing more.
    proxy.connect().send(&hello[..hello.len() / 2]).rest();
    failed(&proxy, "timeout");
    // Nothing at all.
    proxy.connect().rest();
    // What is no hello.
    for garbage in [
        &b"\x16\x03\x01\x00\x05hello"[..],
        b"\x00\x01\x02",
        &[22; 4096],
    ] {
        proxy.connect().send(garbage).rest();
    }
    failed(&proxy, "malformed");
    let config = scene.speaks().config();
    assert_eq!(
        get(proxy.address(), &config, "edge.test").unwrap().text(),
        "body"
    );
}

#[test]
fn handshakes_under_way_are_limited() {
    let scene = Scene::new();
    let proxy = scene.start(&["edge"], "", "    limits: { max_handshakes: 1 }\n");
    let config = scene.speaks().config();
    // Until a slow one is under way, others may pass, and may be why it is refused itself.
    let mut slow = Vec::new();
    within("another is refused", || {
        let mut client = Client::connect(proxy.address());
        client.try_send(b"\x16");
        slow.push(client);
        get(proxy.address(), &config, "edge.test").err()
    });
    failed(&proxy, "limit");
    drop(slow);
    within("there is room again", || {
        get(proxy.address(), &config, "edge.test").ok()
    });
}

/// Handshakes that are begun and never ended take what there is for them, and nothing
/// else: who is in is served, and so are others as soon as there is room.
#[test]
fn a_flood_of_handshakes_costs_nobody_who_is_in() {
    let scene = Scene::new();
    let proxy = scene.start(&["edge"], "", "    limits: { max_handshakes: 4 }\n");
    let config = scene.speaks().config();
    let mut inside = TlsClient::connect(proxy.address(), &config, "edge.test").unwrap();
    assert_eq!(inside.get("/before").status, 200);
    // The beginning of a ClientHello.
    let begun = || {
        let mut client = Client::connect(proxy.address());
        client.try_send(b"\x16\x03\x01\x02\x00\x01");
        client
    };
    let flood: Vec<_> = (0..100).map(|_| begun()).collect();
    within("the rest is refused", || {
        (failures(&proxy, "limit") >= 96.0).then_some(())
    });
    assert_eq!(inside.get("/meanwhile").status, 200);
    drop(flood);
    within("there is room again", || {
        get(proxy.address(), &config, "edge.test").ok()
    });
    failed(&proxy, "closed");
}

/// One client cannot take what there is for all.
#[test]
fn handshakes_of_one_client_are_limited() {
    let scene = Scene::new();
    let proxy = scene.start(&["edge"], "", "    limits: { max_client_handshakes: 2 }\n");
    let config = scene.speaks().config();
    let silent: Vec<_> = (0..20)
        .map(|_| Client::connect_from([127, 0, 0, 2], proxy.address()))
        .collect();
    within("the rest is refused", || {
        (failures(&proxy, "client_limit") >= 18.0).then_some(())
    });
    let another = get(proxy.address(), &config, "edge.test");
    assert_eq!(another.unwrap().status, 200);
    drop(silent);
    failed(&proxy, "closed");
}

#[test]
fn a_connection_is_resumed_on_every_worker_and_across_a_reload() {
    let scene = Scene::new();
    let proxy = scene.start(&["edge"], "", "");
    for versions in [TLS12, TLS13] {
        let config = Speaks {
            versions,
            ..scene.speaks()
        };
        let config = config.config();
        let kind = |number: usize| {
            let mut client = TlsClient::connect(proxy.address(), &config, "edge.test").unwrap();
            assert_eq!(client.get(&format!("/{number}")).status, 200);
            client.connection().handshake_kind()
        };
        assert_eq!(kind(0), Some(HandshakeKind::Full));
        for number in 1..12 {
            assert_eq!(kind(number), Some(HandshakeKind::Resumed), "{number}");
        }
        scene.write("edge", &["edge.test"]);
        assert!(proxy.reload().ok);
        assert_eq!(kind(12), Some(HandshakeKind::Resumed));
    }
    let series = "lockgate_tls_handshakes_total\
                  {listener=\"web\",version=\"TLSv1.2\",resumed=\"true\"}";
    assert_eq!(metric(proxy.admin(), series), 12.0);
}

#[test]
fn without_tickets_nothing_is_resumed() {
    let scene = Scene::new();
    let proxy = scene.start(&["edge"], "      session_tickets: false\n", "");
    let config = scene.speaks().config();
    for _ in 0..3 {
        let mut client = TlsClient::connect(proxy.address(), &config, "edge.test").unwrap();
        assert_eq!(client.get("/").status, 200);
        let kind = client.connection().handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Full));
    }
}

#[test]
fn a_key_log_is_written_where_it_is_asked_for() {
    let scene = Scene::new();
    let proxy = scene.start(
        &["edge"],
        &format!("      key_log: {}/keys.log\n", scene.folder.display()),
        "",
    );
    let config = scene.speaks().config();
    assert_eq!(
        get(proxy.address(), &config, "edge.test").unwrap().status,
        200
    );
    let log = std::fs::read_to_string(scene.folder.join("keys.log")).unwrap();
    let line = log
        .lines()
        .find(|line| line.starts_with("CLIENT_TRAFFIC_SECRET_0 "));
    let words: Vec<_> = line.unwrap().split(' ').map(str::len).collect();
    assert_eq!(words[1], 64, "{log}");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(scene.folder.join("keys.log"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
