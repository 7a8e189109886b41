//! The shipped filter that decides who may do what, behind TLS with certificates of
//! clients and beside the one that authenticates.

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{KeyPair, SanType};
use rustls::ClientConfig;
use support::admin::{get, metric};
use support::tls::{Authority, Speaks, TlsClient, put};
use support::{Origin, Process, Proxy, within};

struct Scene {
    folder: PathBuf,
    authority: Authority,
    origin: Origin,
}

impl Scene {
    fn new() -> Self {
        let folder = Proxy::folder();
        let authority = Authority::new("root");
        authority.issue(&["edge.test"]).write(&folder, "edge");
        put(&folder.join("clients.pem"), authority.pem());
        let origin = Origin::saying("body");
        Self {
            folder,
            authority,
            origin,
        }
    }

    fn text(&self, log: &str, authz: &str) -> String {
        format!(
            "admin: {{ address: '127.0.0.1:0' }}\nlog: {{ level: '{log}' }}\n\
             listeners:\n- name: web\n  address: 127.0.0.1:0\n  cluster: origin\n  \
             filters: [auth, authz]\n  tls:\n    \
             certificates: [{{ chain: edge.pem, key: edge.key }}]\n    \
             client: {{ ca: [clients.pem], mode: optional }}\n\
             filters:\n  auth:\n    component: lockgate:auth\n    \
             config: {{ api_keys: [{{ name: ann, key: the-key-of-ann }}] }}\n  \
             authz:\n    component: lockgate:authz\n    config: {authz}\n\
             clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
            self.origin.address
        )
    }

    /// A client with a SPIFFE ID.
    fn client(&self, id: &str) -> Arc<ClientConfig> {
        let key = KeyPair::generate().unwrap();
        let pair = self.authority.issue_with(&["web.test"], &key, |params| {
            let id = SanType::URI(id.try_into().unwrap());
            params.subject_alt_names.push(id);
        });
        let mut speaks = Speaks::new(&self.authority);
        speaks.certificate = Some(pair);
        speaks.config()
    }
}

fn ask(process: &Process, client: &Arc<ClientConfig>, method: &str, path: &str) -> u16 {
    let mut client = TlsClient::connect(process.address(), client, "edge.test").unwrap();
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: shop.test\r\nx-api-key: the-key-of-ann\r\n\r\n");
    client.send(head).answer().status
}

const RULES: &str = "{ \
    allow: [ \
        { name: web-reads, when: { spiffe: 'spiffe://test/*/web', method: GET, path: /a/** } }, \
        { name: by-name, when: { san: 'DNS:web.test', subject: ann, path: /b } } ], \
    deny: [{ name: no-secrets, when: { path: /a/secret/** } }]";

#[test]
fn certificates_and_tokens_decide_and_each_denial_is_told() {
    let scene = Scene::new();
    let text = scene.text("info,lockgate::guest=off", &format!("{RULES} }}"));
    let process = Process::start_in(scene.folder.clone(), &text);
    let web = scene.client("spiffe://test/x/web");
    let other = scene.client("spiffe://test/x/other");
    let nobody = Speaks::new(&scene.authority).config();
    assert_eq!(ask(&process, &web, "GET", "/a/b"), 200);
    assert_eq!(ask(&process, &web, "POST", "/a/b"), 403);
    assert_eq!(ask(&process, &other, "GET", "/a/b"), 403);
    assert_eq!(ask(&process, &nobody, "GET", "/a/b"), 403);
    assert_eq!(ask(&process, &other, "GET", "/b"), 200);
    assert_eq!(ask(&process, &nobody, "GET", "/b"), 403);
    // However it is written.
    for path in [
        "/a/secret/key?token=1",
        "/a/./secret",
        "/a/%73ecret",
        "/x/../a/secret/",
    ] {
        assert_eq!(ask(&process, &web, "GET", path), 403, "{path}");
    }
    let line = process.logged("path=/a/secret/key");
    for words in [
        "INFO audit: access",
        "filter=\"authz\"",
        "audit=deny rule=no-secrets subject=ann spiffe=spiffe://test/x/web",
        "address=127.0.0.1 method=GET host=shop.test path=/a/secret/key",
    ] {
        assert!(line.contains(words), "no `{words}` in: {line}");
    }
    let log = within("eight denials", || {
        let log = process.log();
        let denials = log.lines().filter(|line| line.contains("audit=deny"));
        (denials.count() == 8).then_some(log)
    });
    assert!(!log.contains("token=1"), "{log}");
}

#[test]
fn a_dry_run_denies_nothing_and_counts() {
    let scene = Scene::new();
    let proxy = Proxy::start_in(
        scene.folder.clone(),
        &scene.text("info", &format!("{RULES}, dry_run: true }}")),
    );
    let web = scene.client("spiffe://test/x/web");
    let mut client = TlsClient::connect(proxy.address(), &web, "edge.test").unwrap();
    for path in ["/a/b", "/a/secret", "/c"] {
        client.send(format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nx-api-key: the-key-of-ann\r\n\r\n"
        ));
        assert_eq!(client.answer().status, 200);
    }
    let metrics = get(proxy.admin(), "/metrics").text();
    let series = |decision: &str, rule: &str| {
        let labels = format!("{{filter=\"authz\",decision=\"{decision}\",rule=\"{rule}\"}}");
        metric(
            proxy.admin(),
            &format!("lockgate_guest_decisions_total{labels}"),
        )
    };
    assert_eq!(series("allow", "web-reads"), 1.0, "{metrics}");
    assert_eq!(series("would_deny", "no-secrets"), 1.0, "{metrics}");
    assert_eq!(series("would_deny", "(none)"), 1.0, "{metrics}");
}
