//! Files of certificates: what is told of bad ones, and what happens when they change.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rcgen::KeyPair;
use rustls::ClientConfig;
use support::admin::{metric_sum, refusal};
use support::process::run;
use support::tls::{Authority, Speaks, TlsClient, get, put, valid};
use support::{Origin, Proxy, within};

const ADMIN: &str = "admin: { address: '127.0.0.1:0' }\n";

fn yaml(origin: &str, tls: &str) -> String {
    format!(
        "{ADMIN}listeners:\n- name: web\n  address: 127.0.0.1:0\n  cluster: origin\n  tls:\n{tls}\
         clusters: [{{ name: origin, endpoints: [{{ address: '{origin}' }}] }}]\n"
    )
}

const EDGE: &str = "    certificates: [{ chain: edge.pem, key: edge.key }]\n";

/// What `check` says of this.
fn check(folder: &Path, tls: &str) -> (bool, String) {
    let path = support::process::write_in(folder, &yaml("127.0.0.1:1", tls));
    let output = run(&["check", &path]);
    let told = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(told).unwrap())
}

fn refused(folder: &Path, tls: &str, words: &[&str]) {
    let (is_good, told) = check(folder, tls);
    assert!(!is_good, "{told}");
    for word in words {
        assert!(told.contains(word), "no `{word}` in: {told}");
    }
}

#[test]
fn early_data_is_refused_where_it_cannot_be() {
    let folder = Proxy::folder();
    let authority = Authority::new("root");
    authority.issue(&["edge.test"]).write(&folder, "edge");
    put(&folder.join("ca.pem"), authority.pem());
    for (beside, why) in [
        ("    client: { ca: [ca.pem] }\n", "`client`"),
        ("    session_tickets: false\n", "`session_tickets: false`"),
        ("  protocols: [tcp]\n", "`protocols: [tcp]`"),
    ] {
        let tls = format!("{EDGE}    early_data: true\n{beside}");
        refused(
            &folder,
            &tls,
            &["data before the end of the handshake", why],
        );
    }
}

#[test]
fn a_bad_file_is_told_with_what_was_found_and_wanted() {
    let folder = Proxy::folder();
    let authority = Authority::new("root");
    let good = authority.issue(&["edge.test"]);
    let write = |chain: &str, key: &str| {
        put(&folder.join("edge.pem"), chain);
        put(&folder.join("edge.key"), key);
    };
    let edge = |words: &[&str]| refused(&folder, EDGE, words);
    edge(&["lockgate.yaml:", "edge.pem", "edge.key", "cannot be read"]);
    write("no certificate", "no key");
    edge(&[
        "edge.pem",
        "no certificate in it",
        "edge.key",
        "no private key in it",
    ]);
    write(&good.chain.replace('M', "!"), &good.key);
    edge(&["edge.pem", "not in PEM"]);
    write(&good.key, &good.chain);
    edge(&[
        "edge.pem",
        "no certificate in it",
        "edge.key",
        "no private key in it",
    ]);
    write(&good.chain, &authority.issue(&["edge.test"]).key);
    edge(&[
        "edge.key",
        "another key than the one that the certificate is for",
    ]);
    let key = KeyPair::generate().unwrap();
    let past = authority.issue_with(&["edge.test"], &key, |params| valid(params, -9, -2));
    write(&past.chain, &past.key);
    edge(&["edge.pem", "which expired at"]);
    let future = authority.issue_with(&["edge.test"], &key, |params| valid(params, 2, 9));
    write(&future.chain, &future.key);
    edge(&["edge.pem", "which is not valid before"]);
    let encrypted = good.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    write(&good.chain, &encrypted);
    edge(&["edge.key", "a passphrase"]);
    // No tool here makes such a key any more.
    write(include_str!("data/weak.pem"), &good.key);
    edge(&["edge.pem", "an RSA key of 1024 bits"]);
    write(&"x".repeat(5 << 20), &good.key);
    edge(&["edge.pem", "larger than 4 MiB"]);

    write(&good.chain, &good.key);
    let twice = "    certificates:\n    - { chain: edge.pem, key: edge.key }\n    - { chain: edge.pem, key: edge.key }\n";
    refused(&folder, twice, &["`edge.test` again"]);
    let suites = format!("{EDGE}    cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n");
    refused(
        &folder,
        &suites,
        &["TLS_RSA_WITH_RC4_128_SHA", "TLS_AES_128_GCM_SHA256"],
    );
    let groups = format!("{EDGE}    groups: [secp192r1]\n");
    refused(&folder, &groups, &["secp192r1", "X25519MLKEM768"]);
    refused(&folder, "    certificates: []\n", &["an empty list"]);
    refused(
        &folder,
        "    certificates: [{ chain: edge.pem }]\n",
        &["key"],
    );
    let client = format!("{EDGE}    client: {{ ca: [none.pem] }}\n");
    refused(&folder, &client, &["none.pem", "cannot be read"]);
    put(&folder.join("list"), "no list");
    let list = format!("{EDGE}    client: {{ ca: [edge.pem], crl: [list] }}\n");
    refused(
        &folder,
        &list,
        &["list", "a revocation list that cannot be read"],
    );

    let (is_good, told) = check(&folder, EDGE);
    assert!(is_good && !told.contains("expires in"), "{told}");
    let soon = authority.issue_with(&["edge.test"], &key, |params| valid(params, -9, 10));
    write(&soon.chain, &soon.key);
    let (is_good, told) = check(&folder, EDGE);
    assert!(is_good && told.contains("expires in 9 days"), "{told}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_chain_is_in_order_and_has_no_gaps() {
    let folder = Proxy::folder();
    let root = Authority::new("root");
    let upper = root.authorize("upper", |_| {});
    let lower = upper.authorize("lower", |_| {});
    let key = KeyPair::generate().unwrap();
    let pair = lower.issue_with(&["edge.test"], &key, |params| {
        params.use_authority_key_identifier_extension = true;
    });
    put(&folder.join("edge.key"), &pair.key);
    let (leaf, lower_pem, upper_pem, root_pem) =
        (&pair.chain, lower.pem(), upper.pem(), root.pem());
    let write = |chain: &[&str]| put(&folder.join("edge.pem"), chain.concat());
    for good in [
        &[&leaf[..]][..],
        &[leaf, &lower_pem],
        &[leaf, &lower_pem, &upper_pem],
        &[leaf, &lower_pem, &upper_pem, &root_pem],
    ] {
        write(good);
        let (is_good, told) = check(&folder, EDGE);
        assert!(is_good && !told.contains("wanted"), "{told}");
    }
    for (bad, subject, wanted) in [
        (&[&leaf[..], &upper_pem, &lower_pem][..], "upper", "lower"),
        (&[leaf, &upper_pem], "upper", "lower"),
        (&[leaf, &lower_pem, &root_pem], "root", "upper"),
    ] {
        write(bad);
        let told = format!(
            "`CN={subject}` behind none that it has issued: the next would be that of `CN={wanted}`"
        );
        refused(&folder, EDGE, &["edge.pem", &told]);
    }
    write(&[&lower_pem, leaf]);
    refused(&folder, EDGE, &["edge.pem"]);
    // Of the same name, and not the same.
    write(&[leaf, &upper.authorize("lower", |_| {}).pem()]);
    refused(
        &folder,
        EDGE,
        &["`CN=lower` behind none that it has issued"],
    );
    // An authority that two others vouch for has two certificates.
    let other = Authority::new("other");
    let crossed = other.authorize_again("upper", &upper);
    write(&[leaf, &lower_pem, &upper_pem, &crossed]);
    let (is_good, told) = check(&folder, EDGE);
    assert!(is_good, "{told}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_authority_in_the_chain_that_is_not_valid_is_warned_of() {
    let folder = Proxy::folder();
    let root = Authority::new("root");
    for (from, to, words) in [
        (-9, -2, "`CN=old`, which expired at"),
        (2, 90, "`CN=old`, which is not valid before"),
        (-9, 5, "expires in 4 days"),
    ] {
        let old = root.authorize("old", |params| valid(params, from, to));
        let pair = old.issue(&["edge.test"]);
        put(&folder.join("edge.key"), &pair.key);
        put(&folder.join("edge.pem"), pair.chain + &old.pem());
        let (is_good, told) = check(&folder, EDGE);
        assert!(is_good && told.contains(words), "no `{words}` in: {told}");
    }
    let proxy = Proxy::start_in(folder, &yaml("127.0.0.1:1", EDGE));
    let file = proxy.path().join("edge.pem").display().to_string();
    let expiry = metric_sum(proxy.admin(), "lockgate_certificate_expiry_seconds", &file);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let left = expiry - now.unwrap().as_secs_f64();
    assert!(left < 6.0 * 86_400.0, "the first of the chain: {left}");
}

/// rustls looks at no dates of a root.
#[test]
fn an_authority_that_is_not_valid_vouches_for_nobody() {
    let folder = Proxy::folder();
    let root = Authority::new("root");
    root.issue(&["edge.test"]).write(&folder, "edge");
    let of = |from, to| {
        root.authorize("old", |params| valid(params, from, to))
            .pem()
    };
    let write = |pem: &str| put(&folder.join("ca.pem"), pem);
    let client = format!("{EDGE}    client: {{ ca: [ca.pem] }}\n");
    let check_cluster = || {
        let text = yaml("127.0.0.1:1", EDGE)
            .replace("name: origin, ", "name: origin, tls: { roots: [ca.pem] }, ");
        let output = run(&["check", &support::process::write_in(&folder, &text)]);
        let told = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(told).unwrap())
    };
    let check_all = |wanted: bool, words: &str| {
        for (is_good, told) in [check(&folder, &client), check_cluster()] {
            assert_eq!(is_good, wanted, "{told}");
            for words in [words, "ca.pem"] {
                assert!(told.contains(words), "no `{words}` in: {told}");
            }
        }
    };
    write(&(of(-9, -2) + &root.pem()));
    check_all(true, "`CN=old`, which expired at");
    check_all(true, "nobody is believed for it");
    write(&(root.pem() + &of(2, 9)));
    check_all(true, "`CN=old`, which is not valid before");
    write(&of(-9, -2));
    check_all(false, "`CN=old`, which expired at");
    write(&(of(-9, 5) + &root.pem()));
    check_all(true, "`CN=old`, which expires in 4 days");
    let key = KeyPair::generate().unwrap();
    let leaf = root.issue_with(&["a.test"], &key, |params| {
        params.is_ca = rcgen::IsCa::ExplicitNoCa;
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "leaf");
    });
    write(&(leaf.chain + &root.pem()));
    let (is_good, told) = check(&folder, &client);
    let words = "`CN=leaf`, which is no authority's";
    assert!(is_good && told.contains(words), "{told}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn authorities_and_revocation_lists_tell_when_they_expire() {
    let folder = Proxy::folder();
    let (root, other) = (Authority::new("root"), Authority::new("other"));
    root.issue(&["edge.test"]).write(&folder, "edge");
    let old = root.authorize("old", |params| valid(params, -9, 40));
    put(&folder.join("ca.pem"), root.pem() + &old.pem());
    put(
        &folder.join("roots.pem"),
        other.authorize("sub", |params| valid(params, -9, 50)).pem(),
    );
    put(&folder.join("list.crl"), root.revoke(&[7]));
    let tls = format!("{EDGE}    client: {{ ca: [ca.pem, edge.pem], crl: [list.crl] }}\n");
    let text = yaml("127.0.0.1:1", &tls).replace(
        "name: origin, ",
        "name: origin, tls: { roots: [roots.pem] }, ",
    );
    let proxy = Proxy::start_in(folder, &text);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    for (of, file, days) in [
        ("listener=\"web\"", "ca.pem", 40.0),
        ("listener=\"web\"", "list.crl", 30.0),
        // Named twice, and there once.
        ("listener=\"web\"", "edge.pem", 90.0),
        ("cluster=\"origin\"", "roots.pem", 50.0),
    ] {
        let file = proxy.path().join(file).display().to_string();
        let label = format!("{of},file=\"{file}\"");
        let expiry = metric_sum(proxy.admin(), "lockgate_certificate_expiry_seconds", &label);
        let left = (expiry - now.as_ref().unwrap().as_secs_f64()) / 86_400.0;
        assert!(left > days - 1.0 && left < days + 1.0, "{label}: {left}");
    }
}

#[test]
fn an_old_revocation_list_is_refused_and_the_good_one_stays() {
    let scene = start();
    let client = Authority::new("clients");
    put(&scene.folder.join("ca.pem"), client.pem());
    let list = scene.folder.join("list.crl");
    put(&list, client.revoke(&[7]));
    let text = yaml(
        &scene._origin.address.to_string(),
        &format!("{EDGE}    client: {{ ca: [ca.pem], crl: [list.crl] }}\n"),
    );
    let folder = Proxy::folder();
    for file in ["ca.pem", "list.crl", "edge.pem", "edge.key"] {
        std::fs::copy(scene.folder.join(file), folder.join(file)).unwrap();
    }
    let proxy = Proxy::start_in(folder.clone(), &text);
    let speaks = Speaks {
        certificate: Some(client.issue(&["a.test"])),
        ..Speaks::new(&scene.authority)
    };
    let ask = || get(proxy.address(), &speaks.config(), "edge.test");
    assert_eq!(ask().unwrap().text(), "body");
    let past = std::time::SystemTime::now() - support::tls::DAY;
    put(&folder.join("list.crl"), client.revoke_until(&[7], past));
    let told = refusal(&proxy);
    for words in [
        "list.crl",
        "a revocation list of `CN=clients` that was to be replaced by",
    ] {
        assert!(told.contains(words), "no `{words}` in: {told}");
    }
    assert_eq!(ask().unwrap().text(), "body");
}

struct Scene {
    authority: Authority,
    proxy: Proxy,
    folder: PathBuf,
    _origin: Origin,
}

fn start() -> Scene {
    let folder = Proxy::folder();
    let authority = Authority::new("root");
    let origin = Origin::saying("body");
    authority.issue(&["edge.test"]).write(&folder, "edge");
    let text = yaml(&origin.address.to_string(), EDGE);
    Scene {
        authority,
        proxy: Proxy::start_in(folder.clone(), &text),
        folder,
        _origin: origin,
    }
}

fn serves(proxy: &Proxy, config: &Arc<ClientConfig>) -> Vec<u8> {
    let client = TlsClient::connect(proxy.address(), config, "edge.test").unwrap();
    client.connection().peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn a_changed_certificate_is_served_and_nothing_is_closed() {
    let scene = start();
    let config = Speaks::new(&scene.authority).config();
    let mut old = TlsClient::connect(scene.proxy.address(), &config, "edge.test").unwrap();
    let first = serves(&scene.proxy, &config);
    scene
        .authority
        .issue(&["edge.test"])
        .write(&scene.folder, "edge");
    within("another certificate is served", || {
        let config = Speaks::new(&scene.authority).config();
        (serves(&scene.proxy, &config) != first).then_some(())
    });
    assert_eq!(old.get("/").text(), "body");
}

#[test]
fn what_does_not_fit_is_refused_and_the_good_one_stays() {
    let scene = start();
    let fresh = || Speaks::new(&scene.authority).config();
    let first = serves(&scene.proxy, &fresh());
    let other = scene.authority.issue(&["edge.test"]);
    put(&scene.folder.join("edge.key"), &other.key);
    let told = refusal(&scene.proxy);
    assert!(told.contains("another key"), "{told}");
    assert_eq!(serves(&scene.proxy, &fresh()), first);
    let key = KeyPair::generate().unwrap();
    let change = |params: &mut _| valid(params, -9, -2);
    let past = scene.authority.issue_with(&["edge.test"], &key, change);
    past.write(&scene.folder, "edge");
    within("an expired certificate is refused", || {
        refusal(&scene.proxy).contains("expired at").then_some(())
    });
    assert_eq!(serves(&scene.proxy, &fresh()), first);
    // Whole again, it is taken without further ado.
    other.write(&scene.folder, "edge");
    within("the new one is served", || {
        (serves(&scene.proxy, &fresh()) != first).then_some(())
    });
}

#[test]
fn certificates_are_exchanged_under_load_without_a_lost_request() {
    let scene = start();
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let config = Speaks::new(&scene.authority).config();
    std::thread::scope(|threads| {
        for resumes in [true, false] {
            let (authority, stop, answered) = (&scene.authority, &stop, &answered);
            let (address, config) = (scene.proxy.address(), config.clone());
            threads.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let config = match resumes {
                        true => config.clone(),
                        false => Speaks::new(authority).config(),
                    };
                    let answer = get(address, &config, "edge.test").unwrap();
                    assert_eq!(answer.text(), "body");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let fresh = || Speaks::new(&scene.authority).config();
        for _ in 0..5 {
            let before = serves(&scene.proxy, &fresh());
            let many = answered.load(Ordering::Relaxed) + 20;
            scene
                .authority
                .issue(&["edge.test"])
                .write(&scene.folder, "edge");
            within("a new certificate and more answers", || {
                let is_new = serves(&scene.proxy, &fresh()) != before;
                (is_new && answered.load(Ordering::Relaxed) > many).then_some(())
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
}
