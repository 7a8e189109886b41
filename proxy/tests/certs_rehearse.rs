//! Certificates to come, rehearsed: who would fail.

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, SerialNumber};
use support::Proxy;
use support::process::{run, write_in};
use support::tls::{Authority, Pair, put, valid};
use support::tls_origin::{Serves, TlsOrigin};

struct Scene {
    folder: PathBuf,
    old: Authority,
    new: Authority,
}

impl Drop for Scene {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

impl Scene {
    fn new() -> Self {
        let folder = Proxy::folder();
        let (old, new) = (Authority::new("old"), Authority::new("new"));
        put(&folder.join("old.pem"), old.pem());
        put(&folder.join("new.pem"), new.pem());
        put(&folder.join("both.pem"), old.pem() + &new.pem());
        old.issue(&["edge.test"]).write(&folder, "edge");
        old.issue(&["proxy.test"]).write(&folder, "own");
        Self { folder, old, new }
    }

    /// Clusters by name, with one endpoint and more keys of their TLS.
    fn configure(&self, clusters: &[(&str, String, &str)]) -> String {
        let mut text = "listeners:\n- name: mesh\n  address: 127.0.0.1:0\n  tls:\n    \
             certificates: [{ chain: edge.pem, key: edge.key }]\n    \
             client: { ca: [old.pem] }\n"
            .to_owned();
        if !clusters.is_empty() {
            text += "clusters:\n";
        }
        for (name, endpoint, tls) in clusters {
            text += &format!("- {{ name: {name}, endpoints: ['{endpoint}'], {tls} }}\n");
        }
        write_in(&self.folder, &text)
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

fn serving(pair: &Pair, clients: Option<&Authority>) -> TlsOrigin {
    let serves = Serves {
        clients,
        ..Serves::new(pair)
    };
    serves.start()
}

/// What it says, and ends with.
fn rehearse(arguments: &[&str]) -> (i32, String) {
    let mut all = vec!["certs", "rehearse"];
    all.extend(arguments);
    let output = run(&all);
    let told = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(told).unwrap(),
    )
}

#[track_caller]
fn check((code, told): (i32, String), wanted: i32, words: &[&str]) {
    assert_eq!(code, wanted, "{told}");
    for word in words {
        assert!(told.contains(word), "no `{word}` in: {told}");
    }
}

const TLS: &str = "tls: { roots: [old.pem] }";

#[test]
fn new_roots_are_asked_about_live() {
    let scene = Scene::new();
    let old = serving(&scene.old.issue(&["127.0.0.1"]), None);
    let new = serving(&scene.new.issue(&["127.0.0.1"]), None);
    let (old_at, new_at) = (old.address.to_string(), new.address.to_string());
    let config = scene.configure(&[
        ("old", old_at.clone(), TLS),
        ("new", new_at.clone(), TLS),
        ("any", old_at.clone(), "tls: { insecure_skip_verify: true }"),
        ("plain", "127.0.0.1:1".into(), ""),
    ]);
    let with = |file: &str, more: &[&str]| {
        let file = scene.file(file);
        rehearse(&[&[&*file, "--against", &config], more].concat())
    };
    let good = |name: &str, at: &str| format!("cluster {name}: {at} good\n");
    let (old_good, new_good) = (good("old", &old_at), good("new", &new_at));
    check(
        with("both.pem", &[]),
        0,
        &[&old_good, &new_good, "0 of 2 endpoints would fail"],
    );
    let fails = format!("cluster old: {old_at} would fail: upstream_tls_failed: TLS: ");
    check(
        with("new.pem", &[]),
        1,
        &[&fails, &new_good, "1 of 2 endpoints would fail"],
    );
    check(
        with("new.pem", &["--cluster", "new"]),
        0,
        &[&new_good, "0 of 1"],
    );
    let already = format!("cluster new: {new_at} fails now and would fail: ");
    check(with("old.pem", &[]), 1, &[&old_good, &already]);
    // Nothing is left behind there: each was asked by connections that are closed.
    assert!(old.connections() >= 4);
}

#[test]
fn who_cannot_be_asked_is_not_called_good() {
    let scene = Scene::new();
    let config = scene.configure(&[
        ("gone", "127.0.0.1:1".into(), TLS),
        ("nameless", "nobody.invalid:1".into(), TLS),
    ]);
    let told = rehearse(&[&scene.file("both.pem"), "--against", &config]);
    check(
        told,
        1,
        &[
            "cluster gone: 127.0.0.1:1 cannot be asked: connect_failed",
            "cluster nameless: nobody.invalid:1 cannot be asked: it cannot be resolved",
            "0 of 2 endpoints would fail, and 2 endpoints cannot be asked",
        ],
    );
}

/// Speaks TLS, and behind it something that is no HTTP.
fn mailing(pair: &Pair) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, config) = (listener.local_addr().unwrap(), Serves::new(pair).config());
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            let config = config.clone();
            std::thread::spawn(move || {
                let session = rustls::ServerConnection::new(config).unwrap();
                let mut tls = rustls::StreamOwned::new(session, socket);
                tls.write_all(b"220 mail.test\r\n").ok();
                tls.flush().ok();
                std::io::copy(&mut tls, &mut std::io::sink()).ok();
            });
        }
    });
    address
}

#[test]
fn who_speaks_no_http_is_judged_by_tls() {
    let scene = Scene::new();
    let (old, new) = (&scene.old, &scene.new);
    let (old, new) = (
        mailing(&old.issue(&["127.0.0.1"])),
        mailing(&new.issue(&["127.0.0.1"])),
    );
    let config = scene.configure(&[("old", old.to_string(), TLS), ("new", new.to_string(), TLS)]);
    let with = |file: &str| rehearse(&[&scene.file(file), "--against", &config]);
    let old_good = format!("cluster old: {old} good, by TLS alone: bad_answer");
    let new_good = format!("cluster new: {new} good, by TLS alone: bad_answer");
    check(
        with("both.pem"),
        0,
        &[&old_good, &new_good, "0 of 2 endpoints would fail"],
    );
    let old_fails = format!("cluster old: {old} would fail: upstream_tls_failed");
    check(
        with("new.pem"),
        1,
        &[&old_fails, &new_good, "1 of 2 endpoints would fail"],
    );
}

#[test]
fn who_never_answers_is_not_waited_for() {
    let scene = Scene::new();
    // The system accepts for it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let patient = format!("timeouts: {{ connect: 10m }}, {TLS}");
    let silent = silent
        .local_addr()
        .map(|at| (at.to_string(), silent))
        .unwrap();
    let config = scene.configure(&[("silent", silent.0.clone(), &patient)]);
    let told = rehearse(&[&scene.file("both.pem"), "--against", &config]);
    let words = format!(
        "cluster silent: {} cannot be asked: total_timeout: it came to no end within 10 seconds",
        silent.0
    );
    check(
        told,
        1,
        &[
            &words,
            "0 of 1 endpoints would fail, and 1 endpoint cannot be asked",
        ],
    );
}

#[test]
fn a_new_certificate_of_the_proxy_is_shown_live() {
    let scene = Scene::new();
    let pair = scene.old.issue(&["127.0.0.1"]);
    let (strict, lax) = (serving(&pair, Some(&scene.old)), serving(&pair, None));
    let own = "tls: { roots: [old.pem], certificate: { chain: own.pem, key: own.key } }";
    let config = scene.configure(&[
        ("strict", strict.address.to_string(), own),
        ("lax", lax.address.to_string(), own),
        ("without", lax.address.to_string(), TLS),
    ]);
    scene
        .old
        .issue(&["proxy.test"])
        .write(&scene.folder, "good");
    scene.new.issue(&["proxy.test"]).write(&scene.folder, "bad");
    let with = |name: &str| {
        let (chain, key) = (format!("{name}.pem"), format!("{name}.key"));
        rehearse(&[
            &scene.file(&chain),
            "--key",
            &scene.file(&key),
            "--against",
            &config,
        ])
    };
    check(with("good"), 0, &["0 of 2 endpoints would fail"]);
    let strict_fails = format!("cluster strict: {} would fail: ", strict.address);
    let lax_good = format!("cluster lax: {} good", lax.address);
    check(
        with("bad"),
        1,
        &[&strict_fails, &lax_good, "1 of 2 endpoints would fail"],
    );
    // Both in one file.
    let bad = scene.new.issue(&["proxy.test"]);
    put(&scene.folder.join("whole.pem"), bad.chain + &bad.key);
    let told = rehearse(&[&scene.file("whole.pem"), "--against", &config]);
    check(told, 1, &[&strict_fails, &lax_good]);
}

#[test]
fn chains_of_clients_are_verified_as_the_listener_would() {
    let scene = Scene::new();
    let key = KeyPair::generate().unwrap();
    let named = |name: &'static str, from: i32, to: i32| {
        move |params: &mut CertificateParams| {
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, name);
            params.serial_number = Some(SerialNumber::from(7));
            valid(params, from, to);
        }
    };
    let (old, new) = (&scene.old, &scene.new);
    let clients = [
        old.issue_with(&["a"], &key, named("old-one", -1, 9)).chain + &old.pem(),
        new.issue_with(&["b"], &key, named("new-one", -1, 9)).chain,
        new.issue_with(&["c"], &key, named("past-one", -9, -2))
            .chain,
    ];
    put(&scene.folder.join("clients.pem"), clients.concat());
    let config = scene.configure(&[]);
    let with = |file: &str, listener: &str| {
        let (file, clients) = (scene.file(file), scene.file("clients.pem"));
        let all = [
            &*file,
            "--against",
            &config,
            "--clients",
            &clients,
            "--listener",
            listener,
        ];
        rehearse(&all)
    };
    let (code, told) = with("new.pem", "mesh");
    check(
        (code, told.clone()),
        1,
        &[
            "listener mesh: client CN=old-one would be refused: ",
            "listener mesh: client CN=past-one would be refused, as it is now: ",
            "0 of 0 endpoints and 2 of 3 clients would fail",
        ],
    );
    assert!(!told.contains("new-one"), "{told}");
    check(with("both.pem", "mesh"), 1, &["1 of 3 clients", "past-one"]);
    check(with("new.pem", "web"), 2, &["there is no listener `web`"]);
}

/// As somebody makes one by `openssl req -x509`.
#[test]
fn a_client_that_vouches_for_itself_is_one() {
    let scene = Scene::new();
    let alone = Authority::new("alone").pem();
    let (first, last) = (scene.old.issue(&["a"]).chain, scene.new.issue(&["b"]).chain);
    let clients = [first, scene.old.pem(), alone, last, scene.new.pem()];
    put(&scene.folder.join("clients.pem"), clients.concat());
    let (new, clients) = (scene.file("both.pem"), scene.file("clients.pem"));
    let config = scene.configure(&[]);
    check(
        rehearse(&[&new, "--against", &config, "--clients", &clients]),
        1,
        &[
            "client CN=alone would be refused, as it is now",
            "1 of 3 clients would fail",
        ],
    );
}

#[test]
fn what_cannot_be_rehearsed_is_told() {
    let scene = Scene::new();
    let config = scene.configure(&[]);
    let bad = |arguments: &[&str], words: &[&str]| check(rehearse(arguments), 2, words);
    let new = scene.file("new.pem");
    bad(&[&new], &["--against"]);
    bad(&[&new, "--against", "none.yaml"], &["none.yaml"]);
    bad(
        &["none.pem", "--against", &config],
        &["`none.pem` is a file that cannot be read"],
    );
    bad(
        &[&config, "--against", &config],
        &["has no certificate in it"],
    );
    bad(
        &[&new, "--against", &config, "--cluster", "x"],
        &["there is no cluster `x`"],
    );
    bad(
        &[&new, "--against", &config, "--clients", &config],
        &["has no certificate in it"],
    );
    let (own, edge) = (scene.file("own.pem"), scene.file("edge.key"));
    bad(
        &[&own, "--key", &edge, "--against", &config],
        &["another key"],
    );
    let key = KeyPair::generate().unwrap();
    let past = scene
        .new
        .issue_with(&["p"], &key, |params| valid(params, -9, -2));
    write(&scene.folder, "past.pem", past.chain + &past.key);
    bad(
        &[&scene.file("past.pem"), "--against", &config],
        &["which expired at"],
    );
    let whole = scene.old.issue(&["p"]);
    write(&scene.folder, "whole.pem", whole.chain + &whole.key);
    let (whole, clients) = (scene.file("whole.pem"), scene.file("new.pem"));
    bad(
        &[&whole, "--against", &config, "--clients", &clients],
        &["goes with new"],
    );
    bad(&[&new, "--against", &config], &["nothing was asked"]);
    let (code, told) = rehearse(&["--help"]);
    assert!(code == 0 && told.contains("Exits with 0"), "{told}");
}

fn write(folder: &Path, name: &str, text: String) {
    put(&folder.join(name), text);
}
