//! What other people's tools and the specifications' cases find at a proxy.

mod support;

use std::net::SocketAddr;

use support::Proxy;
use support::python::{self, Peer};
use support::tls::Authority;

/// A proxy with a listener in plain text and one over TLS, for the name `test`, in front
/// of an origin that tells what it was sent.
struct Scene {
    authority: Authority,
    proxy: Proxy,
    _origin: Peer,
}

impl Scene {
    fn new() -> Self {
        let folder = Proxy::folder();
        let authority = Authority::new("root");
        authority.issue(&["test"]).write(&folder, "ecdsa");
        authority.issue_rsa(&["test"]).write(&folder, "rsa");
        let mut origin = Peer::start("heads.py", &[]);
        let proxy = Proxy::start_in(
            folder,
            &format!(
                "listeners:\n\
                 \x20 - {{ name: plain, address: '127.0.0.1:0', cluster: origin }}\n\
                 \x20 - name: tls\n\
                 \x20   address: 127.0.0.1:0\n\
                 \x20   cluster: origin\n\
                 \x20   tls:\n\
                 \x20     certificates:\n\
                 \x20       - {{ chain: ecdsa.pem, key: ecdsa.key }}\n\
                 \x20       - {{ chain: rsa.pem, key: rsa.key }}\n\
                 clusters: [{{ name: origin, endpoints: ['127.0.0.1:{}'] }}]\n",
                origin.line()
            ),
        );
        Self {
            authority,
            proxy,
            _origin: origin,
        }
    }

    fn address(&self, listener: &str) -> SocketAddr {
        self.proxy.listener(listener).unwrap()
    }

    /// Runs a peer against both listeners.
    fn play(&self, peer: &str) {
        for listener in ["plain", "tls"] {
            let address = self.address(listener).to_string();
            python::run(peer, &[&address, listener]);
        }
    }
}

#[test]
fn every_case_of_http2_and_hpack_is_answered_as_it_must_be() {
    if python::has("hpack") {
        Scene::new().play("h2_cases.py");
    }
}

#[test]
fn nothing_of_http2_becomes_another_request_in_http1() {
    if python::has("hpack") {
        Scene::new().play("h2_downgrade.py");
    }
}

#[test]
fn httpx_is_served_in_every_version() {
    if !python::has("httpx") {
        return;
    }
    let scene = Scene::new();
    let roots = scene.proxy.path().join("roots.pem");
    std::fs::write(&roots, scene.authority.pem()).unwrap();
    let [plain, tls] = ["plain", "tls"].map(|name| scene.address(name).to_string());
    python::run("httpx_calls.py", &[&plain, &tls, roots.to_str().unwrap()]);
}

#[test]
fn sslyze_finds_nothing_weak() {
    if python::has("sslyze") {
        let scene = Scene::new();
        let tls = scene.address("tls").to_string();
        python::run("tls_scan.py", &[&tls, "test"]);
    }
}
