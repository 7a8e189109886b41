//! Certificates of clients: who is let in, what is told of them, and who is refused.

mod support;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rcgen::{ExtendedKeyUsagePurpose, KeyPair, SanType, SerialNumber};
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, SignatureScheme};
use support::admin::metric;
use support::tls::{Authority, Pair, Speaks, TLS12, TLS13, TlsClient, get, put, valid};
use support::{Answer, Origin, Proxy, within};

struct Scene {
    servers: Authority,
    clients: Authority,
    origin: Origin,
    folder: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            servers: Authority::new("servers"),
            clients: Authority::new("clients"),
            origin: Origin::saying("body"),
            folder: Proxy::folder(),
        };
        scene
            .servers
            .issue(&["edge.test"])
            .write(&scene.folder, "edge");
        put(&scene.folder.join("clients.pem"), scene.clients.pem());
        scene
    }

    fn yaml(&self, client: &str) -> String {
        format!(
            "admin: {{ address: '127.0.0.1:0' }}\n\
             listeners:\n\
             - name: web\n\
             \x20 address: 127.0.0.1:0\n\
             \x20 cluster: origin\n\
             \x20 tls:\n\
             \x20   certificates: [{{ chain: edge.pem, key: edge.key }}]\n\
             \x20   client: {{ ca: [clients.pem]{client} }}\n\
             clusters: [{{ name: origin, endpoints: [{{ address: '{}' }}] }}]\n",
            self.origin.address
        )
    }

    fn start(&self, client: &str) -> Proxy {
        Proxy::start_in(self.folder.clone(), &self.yaml(client))
    }

    fn client(&self, serial: u64) -> Pair {
        let key = KeyPair::generate().unwrap();
        self.clients.issue_with(&["a.test"], &key, |params| {
            params.serial_number = Some(SerialNumber::from(serial));
            let uri = "spiffe://test/a".try_into().unwrap();
            params.subject_alt_names.push(SanType::URI(uri));
        })
    }

    fn ask(&self, proxy: &Proxy, certificate: Option<Pair>) -> io::Result<Answer> {
        let speaks = Speaks {
            certificate,
            ..Speaks::new(&self.servers)
        };
        get(proxy.address(), &speaks.config(), "edge.test")
    }

    /// A client is refused by this alert, and counted so.
    fn refused(&self, proxy: &Proxy, certificate: Option<Pair>, alert: &str, reason: &str) {
        for versions in [TLS12, TLS13] {
            let series = format!(
                "lockgate_tls_handshake_failures_total{{listener=\"web\",reason=\"{reason}\"}}"
            );
            let before = metric(proxy.admin(), &series);
            let speaks = Speaks {
                certificate: certificate.clone(),
                versions,
                ..Speaks::new(&self.servers)
            };
            let error = get(proxy.address(), &speaks.config(), "edge.test").unwrap_err();
            assert!(error.to_string().contains(alert), "{reason}: {error}");
            within(reason, || {
                (metric(proxy.admin(), &series) > before).then_some(())
            });
        }
    }
}

#[test]
fn only_a_client_with_a_good_certificate_is_let_in() {
    let scene = Scene::new();
    put(
        &scene.folder.join("revoked.pem"),
        scene.clients.revoke(&[7]),
    );
    let proxy = scene.start(", crl: [revoked.pem]");
    let answer = scene.ask(&proxy, Some(scene.client(1))).unwrap();
    assert_eq!(answer.text(), "body");
    scene.refused(&proxy, None, "CertificateRequired", "certificate_missing");
    let revoked = scene.client(7);
    scene.refused(
        &proxy,
        Some(revoked),
        "CertificateRevoked",
        "certificate_revoked",
    );
    let key = KeyPair::generate().unwrap();
    let made = |authority: &Authority, change: fn(&mut rcgen::CertificateParams)| {
        Some(authority.issue_with(&["a.test"], &key, change))
    };
    let past = made(&scene.clients, |params| valid(params, -9, -2));
    scene.refused(&proxy, past, "CertificateExpired", "certificate_expired");
    let stranger = made(&Authority::new("strangers"), |_| {});
    scene.refused(&proxy, stranger, "UnknownCA", "certificate_unknown_issuer");
    let server = made(&scene.clients, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    scene.refused(
        &proxy,
        server,
        "UnsupportedCertificate",
        "certificate_purpose",
    );
}

#[test]
fn an_optional_certificate_may_be_missing_and_must_be_good() {
    let scene = Scene::new();
    let proxy = scene.start(", mode: optional");
    assert_eq!(scene.ask(&proxy, None).unwrap().text(), "body");
    assert_eq!(
        scene.ask(&proxy, Some(scene.client(1))).unwrap().text(),
        "body"
    );
    let stranger = Authority::new("strangers").issue(&["a.test"]);
    scene.refused(
        &proxy,
        Some(stranger),
        "UnknownCA",
        "certificate_unknown_issuer",
    );
}

/// A ticket is no way around what has changed since.
#[test]
fn a_resumed_connection_is_of_a_client_that_is_still_let_in() {
    let scene = Scene::new();
    put(
        &scene.folder.join("revoked.pem"),
        scene.clients.revoke(&[99]),
    );
    let proxy = scene.start(", crl: [revoked.pem]");
    let speaks = Speaks {
        certificate: Some(scene.client(1)),
        ..Speaks::new(&scene.servers)
    };
    let config = speaks.config();
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let mut client = TlsClient::connect(proxy.address(), &config, "edge.test").unwrap();
        assert_eq!(client.get("/").text(), "body");
        kinds.push(client.connection().handshake_kind().unwrap());
    }
    assert_eq!(kinds[2], rustls::HandshakeKind::Resumed);
    put(
        &scene.folder.join("revoked.pem"),
        scene.clients.revoke(&[1]),
    );
    within("the client is refused", || {
        get(proxy.address(), &config, "edge.test").err()
    });
}

/// Shows whichever certificate it has at the time.
#[derive(Debug)]
struct Renews(Mutex<Arc<CertifiedKey>>);

impl Renews {
    fn key(pair: &Pair) -> Arc<CertifiedKey> {
        let key = any_supported_type(&pair.key()).unwrap();
        Arc::new(CertifiedKey::new(pair.chain(), key))
    }
}

impl ResolvesClientCert for Renews {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.lock().unwrap().clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A ticket says who a client was, and a client may hold a better certificate than then.
#[test]
fn a_client_that_has_renewed_its_certificate_is_never_turned_away() {
    for versions in [TLS12, TLS13] {
        let scene = Scene::new();
        let proxy = scene.start("");
        let speaks = Speaks {
            versions,
            ..Speaks::new(&scene.servers)
        };
        let mut config = Arc::unwrap_or_clone(speaks.config());
        let key = KeyPair::generate().unwrap();
        let brief = scene.clients.issue_with(&["a.test"], &key, |params| {
            params.not_after = (SystemTime::now() + Duration::from_secs(4)).into();
        });
        let renews = Arc::new(Renews(Mutex::new(Renews::key(&brief))));
        config.client_auth_cert_resolver = renews.clone();
        let config = Arc::new(config);
        let is_resumed = || {
            let mut client = TlsClient::connect(proxy.address(), &config, "edge.test").unwrap();
            assert_eq!(client.get("/").text(), "body");
            client.connection().handshake_kind() == Some(HandshakeKind::Resumed)
        };
        assert!(!is_resumed());
        *renews.0.lock().unwrap() = Renews::key(&scene.client(1));
        assert!(is_resumed());
        within("the old certificate expires", || {
            (!is_resumed()).then_some(())
        });
        assert!(is_resumed(), "the session of the new one is good");
    }
}

#[test]
fn authorities_overlap_and_change() {
    let scene = Scene::new();
    let proxy = scene.start("");
    let (before, after) = (scene.client(1), Authority::new("later"));
    let later = after.issue(&["b.test"]);
    put(
        &scene.folder.join("clients.pem"),
        scene.clients.pem() + &after.pem(),
    );
    within("the new authority is known", || {
        scene.ask(&proxy, Some(later.clone())).ok()
    });
    assert_eq!(
        scene.ask(&proxy, Some(before.clone())).unwrap().text(),
        "body"
    );
    put(&scene.folder.join("clients.pem"), after.pem());
    within("the old one is gone", || {
        scene.ask(&proxy, Some(before.clone())).err()
    });
    assert_eq!(scene.ask(&proxy, Some(later)).unwrap().text(), "body");
}

/// A client's own word about who it is never passes.
#[test]
fn who_the_client_is_goes_on_to_the_origin() {
    let scene = Scene::new();
    let yaml = scene.yaml(", mode: optional").replace(
        "  cluster: origin\n",
        "  cluster: origin\n  headers: { client_certificate: forward }\n",
    );
    let proxy = Proxy::start_in(scene.folder.clone(), &yaml);
    let ask = |certificate: Option<Pair>| {
        let speaks = Speaks {
            certificate,
            ..Speaks::new(&scene.servers)
        };
        let config = speaks.config();
        let mut client = TlsClient::connect(proxy.address(), &config, "edge.test").unwrap();
        let forged = "X-Forwarded-Client-Cert: Hash=00;URI=spiffe://test/root";
        client.send(format!("GET / HTTP/1.1\r\nhost: test\r\n{forged}\r\n\r\n"));
        assert_eq!(client.answer().status, 200);
        let seen = scene.origin.seen();
        seen.header("x-forwarded-client-cert").map(str::to_owned)
    };
    assert_eq!(ask(None), None);
    let told = ask(Some(scene.client(1))).unwrap();
    let (hash, rest) = told.split_once(';').unwrap();
    assert_eq!(hash.len(), "Hash=".len() + 64, "{told}");
    assert_eq!(
        rest,
        "Subject=\"CN=rcgen self signed cert\";URI=spiffe://test/a;DNS=a.test"
    );
    let key = KeyPair::generate().unwrap();
    let odd = scene.clients.issue_with(&["b.test"], &key, |params| {
        let kind = rcgen::DnType::OrganizationName;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(kind, "Acme, \"Inc.\";Hash=00\\");
    });
    let told = ask(Some(odd)).unwrap();
    let (_, rest) = told.split_once(';').unwrap();
    assert_eq!(
        rest,
        r#"Subject="O=Acme\, \"Inc.\"\;Hash\=00\\";DNS=b.test"#
    );
}
