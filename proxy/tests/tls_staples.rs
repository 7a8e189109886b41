//! Answers of OCSP that are handed on with certificates: which are, and which are refused.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{ExtendedKeyUsagePurpose, KeyPair};
use support::admin::refusal;
use support::ocsp::{Says, Sees, Status, try_later};
use support::process::{run, write_in};
use support::tls::{Authority, Pair, Speaks, TlsClient, put, valid};
use support::{Origin, Proxy, within};

struct Scene {
    folder: PathBuf,
    authority: Authority,
    edge: Pair,
}

impl Scene {
    /// Where the issuer is among the certificates of the file, or is not.
    fn new(has_issuer: bool) -> Self {
        let (folder, authority) = (Proxy::folder(), Authority::new("root"));
        let mut edge = authority.issue(&["edge.test"]);
        if has_issuer {
            edge.chain += &authority.pem();
        }
        edge.write(&folder, "edge");
        Self {
            folder,
            authority,
            edge,
        }
    }

    fn good(&self) -> Says<'_> {
        Says::good(&self.edge, &self.authority)
    }

    fn staple(&self, der: &[u8]) {
        put(&self.folder.join("edge.ocsp"), der);
    }
}

fn yaml(origin: &str) -> String {
    format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         listeners:\n- name: web\n  address: 127.0.0.1:0\n  cluster: origin\n  tls:\n    \
         certificates: [{{ chain: edge.pem, key: edge.key, ocsp: edge.ocsp }}]\n\
         clusters: [{{ name: origin, endpoints: ['{origin}'] }}]\n"
    )
}

/// What `check` says of it, with or without these words.
#[track_caller]
fn check(folder: &Path, wanted: Option<&str>) {
    let output = run(&["check", &write_in(folder, &yaml("127.0.0.1:1"))]);
    let is_good = output.status.success();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(is_good, wanted.is_none(), "{told}");
    if let Some(words) = wanted {
        for words in [words, "edge.ocsp", "an answer of OCSP in DER, of"] {
            assert!(told.contains(words), "no `{words}` in: {told}");
        }
    }
}

#[test]
fn only_an_answer_that_the_certificate_is_good_now_is_taken() {
    let scene = Scene::new(true);
    let check = |der: &[u8], wanted: Option<&str>| {
        scene.staple(der);
        check(&scene.folder, wanted);
    };
    let good = || scene.good();
    check(&good().der(), None);
    let none = Some("is no answer of OCSP");
    for bytes in [
        &b""[..],
        b"hello",
        b"0\x82\xff\xff",
        scene.edge.chain.as_bytes(),
    ] {
        check(bytes, none);
    }
    let whole = good().der();
    check(&whole[..whole.len() - 1], none);
    check(&[&whole[..], b"\0"].concat(), none);
    check(&try_later(), Some("`tryLater` is what the responder says"));
    let status = |status| Says { status, ..good() }.der();
    check(&status(Status::Revoked), Some("was revoked at"));
    check(
        &status(Status::Unknown),
        Some("the authority does not know"),
    );
    let days = |from, to| {
        let days = (from, to);
        Says { days, ..good() }.der()
    };
    check(&days(-9, -2), Some("an answer that was good until"));
    check(&days(2, 9), Some("an answer that is not good before"));
    let another = scene.authority.issue(&["edge.test"]);
    let about = Says {
        about: &another,
        ..good()
    };
    check(&about.der(), Some("about another certificate than that of"));
    // Another authority may use the same name.
    let namesake = Authority::new("root");
    let of_namesake = Says {
        issuer: &namesake,
        ..good()
    };
    check(&of_namesake.der(), Some("about another certificate"));
    std::fs::remove_dir_all(&scene.folder).unwrap();
}

#[test]
fn an_answer_is_signed_by_the_issuer_or_for_it() {
    let scene = Scene::new(true);
    let key = KeyPair::generate().unwrap();
    let signed = |delegate: Option<&Pair>| {
        let signer = &key;
        let says = Says {
            signer,
            delegate,
            ..scene.good()
        };
        scene.staple(&says.der());
    };
    let made = |authority: &Authority, purpose, days: (i32, i32)| {
        authority.issue_with(&["responder.test"], &key, |params| {
            params.extended_key_usages = vec![purpose];
            valid(params, days.0, days.1);
        })
    };
    let forged = Some("signed neither by `CN=root` nor by who may do so for it");
    let purpose = ExtendedKeyUsagePurpose::OcspSigning;
    signed(Some(&made(&scene.authority, purpose.clone(), (-1, 9))));
    check(&scene.folder, None);
    signed(None);
    check(&scene.folder, forged);
    for delegate in [
        made(
            &scene.authority,
            ExtendedKeyUsagePurpose::ServerAuth,
            (-1, 9),
        ),
        made(&scene.authority, purpose.clone(), (-9, -2)),
        made(&Authority::new("root"), purpose, (-1, 9)),
    ] {
        signed(Some(&delegate));
        check(&scene.folder, forged);
    }
    std::fs::remove_dir_all(&scene.folder).unwrap();
}

/// Without it, as much as can be is looked at.
#[test]
fn the_issuer_need_not_be_in_the_chain() {
    let scene = Scene::new(false);
    scene.staple(&scene.good().der());
    check(&scene.folder, None);
    let other = Authority::new("other");
    let another = other.issue(&["edge.test"]);
    scene.staple(&Says::good(&another, &other).der());
    check(&scene.folder, Some("about another certificate"));
    std::fs::remove_dir_all(&scene.folder).unwrap();
}

#[test]
fn a_bad_answer_is_refused_and_the_good_one_stays() {
    let (scene, origin) = (Scene::new(true), Origin::saying("body"));
    let good = scene.good().der();
    scene.staple(&good);
    let yaml = yaml(&origin.address.to_string());
    let proxy = Proxy::start_in(scene.folder.clone(), &yaml);
    let stapled = || {
        let sees = Arc::new(Sees::default());
        let mut config = Arc::unwrap_or_clone(Speaks::new(&scene.authority).config());
        config.dangerous().set_certificate_verifier(sees.clone());
        TlsClient::connect(proxy.address(), &Arc::new(config), "edge.test").unwrap();
        sees.0.lock().unwrap().clone()
    };
    assert_eq!(stapled(), good);
    let says = Says {
        status: Status::Revoked,
        ..scene.good()
    };
    scene.staple(&says.der());
    let told = refusal(&proxy);
    assert!(told.contains("was revoked at"), "{told}");
    assert_eq!(stapled(), good);
    let says = Says {
        days: (0, 9),
        ..scene.good()
    };
    let newer = says.der();
    scene.staple(&newer);
    within("the new answer is served", || {
        (stapled() == newer).then_some(())
    });
}
