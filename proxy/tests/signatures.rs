//! With keys in `trust`, a component is loaded only if one of them signed it: beside
//! its file, or beside its image as cosign does. Keys and signatures are openssl's.

#[path = "support/registry.rs"]
mod registry;
#[path = "support/signing.rs"]
mod signing;
mod support;

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lockgate::digest::Digest;
use registry::{Access, Layer, OCI_MANIFEST, Registry};
use serde_json::{Value, json};
use signing::{
    Kind, TRUST, check, component, good, of_file, openssl, other, refused, sign, with_keys, yaml,
};
use support::admin::{ask, get, json as read};
use support::process::run;
use support::{Proxy, within};

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

#[test]
fn a_file_needs_a_signature_beside_it() {
    let folder = with_keys();
    let (file, signature) = (folder.join("mine.wasm"), folder.join("mine.wasm.sig"));
    fs::write(&file, component()).unwrap();
    let yaml = of_file(&folder, "");
    refused(
        &folder,
        &yaml,
        "mine.wasm`, which is not signed: there is no `",
    );
    let wrong = "mine.wasm.sig` is none of these bytes by a key that is trusted for it";
    for (name, kind) in [("release", Kind::Ed25519), ("ops", Kind::P256)] {
        let signed = sign(&folder, name, kind, component());
        for written in [
            signed.clone(),
            (STANDARD.encode(&signed) + "\n").into_bytes(),
            wrapped(&STANDARD.encode(&signed)).into_bytes(),
        ] {
            fs::write(&signature, written).unwrap();
            good(&folder, &yaml);
        }
        // That of another component, one with a bit changed.
        let mut changed = signed.clone();
        *changed.last_mut().unwrap() ^= 1;
        let of_another = sign(&folder, name, kind, &other());
        for bad in [of_another, changed] {
            fs::write(&signature, bad).unwrap();
            refused(&folder, &yaml, wrong);
        }
        // A part of one, nothing, and what tools of others write: not the key's fault.
        for none in [&signed[..signed.len() - 1], b"", b"untrusted comment: x\n"] {
            fs::write(&signature, none).unwrap();
            refused(
                &folder,
                &yaml,
                "mine.wasm.sig` is neither 64 bytes (Ed25519)",
            );
        }
    }
    fs::write(
        &signature,
        sign(&folder, "stranger", Kind::P256, component()),
    )
    .unwrap();
    refused(&folder, &yaml, wrong);
    fs::write(&signature, vec![0; 5000]).unwrap();
    let why = "mine.wasm.sig` cannot be read: it is larger than 4096 bytes, wanted";
    refused(&folder, &yaml, why);
}

/// As `base64` and `openssl base64` write it.
fn wrapped(text: &str) -> String {
    let lines = text.as_bytes().chunks(64);
    let lines = lines.map(|line| format!("{}\r\n", String::from_utf8_lossy(line)));
    lines.collect()
}

#[test]
fn inspecting_tells_who_signed() {
    let folder = with_keys();
    let file = folder.join("mine.wasm");
    fs::write(&file, component()).unwrap();
    good(&folder, &yaml(&folder, "    component: lockgate:fault\n"));
    let config = folder.join("lockgate.yaml");
    let (file, config) = (file.to_str().unwrap(), config.to_str().unwrap());
    let output = run(&["filter", "inspect", file, "--config", config]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("which is not signed"),
        "{output:?}"
    );
    let signed = sign(&folder, "ops", Kind::P256, component());
    fs::write(folder.join("mine.wasm.sig"), signed).unwrap();
    let output = run(&["filter", "inspect", file, "--config", config]);
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("\nsigned by ops\n"),
        "{output:?}"
    );
    assert!(run(&["filter", "inspect", file]).status.success());
}

#[test]
fn a_filter_may_trust_some_keys_only() {
    let folder = with_keys();
    fs::write(folder.join("mine.wasm"), component()).unwrap();
    let by_release = sign(&folder, "release", Kind::Ed25519, component());
    fs::write(folder.join("mine.wasm.sig"), by_release).unwrap();
    good(&folder, &of_file(&folder, "    trust: [release, ops]\n"));
    let only_ops = of_file(&folder, "    trust: [ops]\n");
    refused(&folder, &only_ops, "by a key that is trusted for it");
}

#[test]
fn a_promoted_canary_is_known_by_who_signed_it() {
    let (folder, state) = (with_keys(), Proxy::folder());
    for (name, bytes, by, kind) in [
        ("mine.wasm", component(), "release", Kind::Ed25519),
        ("canary.wasm", &other(), "ops", Kind::P256),
    ] {
        fs::write(folder.join(name), bytes).unwrap();
        let signature = sign(&folder, by, kind, bytes);
        fs::write(folder.join(format!("{name}.sig")), signature).unwrap();
    }
    let more = "    probation: { time: 1ms, min_calls: 1 }\n    \
                canary: { component: ./canary.wasm, percent: 0 }\n";
    let yaml = format!(
        "state_dir: '{}'\n{}",
        state.display(),
        of_file(&folder, more)
    );
    let proxy = Proxy::start_in(folder, &yaml);
    let path = "/filters/mine/promote";
    let promoted = ask(proxy.admin(), "POST", path, &[("host", "localhost")]);
    assert_eq!(promoted.status, 200, "{promoted:?}");
    let told = read(&get(proxy.admin(), "/filters"));
    assert_eq!(told[0]["signed_by"], "ops", "{told}");
    // So it is one to go back to.
    let digest = Digest::of(&other()).hex();
    let good = within("it is on record as good", || {
        assert_eq!(proxy.get("/").status, 418);
        let records = fs::read(state.join("filters.json")).ok()?;
        let records: Value = serde_json::from_slice(&records).ok()?;
        let good = records["filters"]["mine"]["good"].clone();
        (good["digest"] == json!(digest)).then_some(good)
    });
    assert_eq!(good["signed_by"], "ops", "{good}");
    fs::remove_dir_all(&state).ok();
}

#[test]
fn a_new_signature_is_a_reload() {
    let folder = with_keys();
    fs::write(folder.join("mine.wasm"), component()).unwrap();
    let signed = sign(&folder, "release", Kind::Ed25519, component());
    fs::write(folder.join("mine.wasm.sig"), signed).unwrap();
    let newer = sign(&folder, "ops", Kind::P256, &other());
    let proxy = Proxy::start_in(folder.clone(), &of_file(&folder, ""));
    let told = || read(&get(proxy.admin(), "/filters"))[0].clone();
    assert_eq!(told()["signed_by"], json!("release"));
    assert_eq!(proxy.get("/").status, 418);
    // The component first, which is refused, and then its signature.
    let replace = |name: &str, bytes: &[u8]| {
        fs::write(folder.join("aside"), bytes).unwrap();
        fs::rename(folder.join("aside"), folder.join(name)).unwrap();
    };
    replace("mine.wasm", &other());
    let outcome = proxy.reload();
    assert!(
        outcome.mistakes[0].contains("none of these bytes"),
        "{outcome:?}"
    );
    assert_eq!(told()["signed_by"], json!("release"));
    assert_eq!(proxy.get("/").status, 418);
    replace("mine.wasm.sig", &newer);
    within("the new version is there", || {
        (told()["signed_by"] == json!("ops")).then_some(())
    });
    assert_eq!(told()["digest"], json!(Digest::of(&other()).to_string()));
}

/// What cosign signs for an image.
fn payload(registry: &Registry, name: &str, image: &str) -> Vec<u8> {
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": format!("{}/{name}", registry.address) },
            "image": { "docker-manifest-digest": image },
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    payload.to_string().into_bytes()
}

/// Pushes signatures of an image as cosign does: each a payload, and its signature.
fn push_signatures(registry: &Registry, name: &str, image: &str, signed: &[(&[u8], Vec<u8>)]) {
    let layers: Vec<_> = signed
        .iter()
        .map(|(payload, signature)| Layer {
            annotations: json!({ "dev.cosignproject.cosign/signature": STANDARD.encode(signature) }),
            ..Layer::new(PAYLOAD, payload)
        })
        .collect();
    let tag = format!("{}.sig", image.replace(':', "-"));
    registry.push_image(
        name,
        &tag,
        OCI_MANIFEST,
        &Layer::new(CONFIG, b"{}"),
        &layers,
    );
}

fn of_image(folder: &Path, registry: &Registry, reference: &str, more: &str) -> String {
    let rest = format!(
        "    component: '{}'\n{more}{}",
        registry.reference(reference),
        registry.named()
    );
    yaml(folder, &rest)
}

#[test]
fn an_image_needs_a_signature_of_cosign() {
    let Some(registry) = Registry::start(Access::Anybody) else {
        return;
    };
    let folder = with_keys();
    let image = registry.push("mine", "1", component());
    let another = registry.push("mine", "2", &other());
    let payload = payload(&registry, "mine", &image);
    let yaml = of_image(&folder, &registry, &format!("mine@{image}"), "");
    refused(
        &folder,
        &yaml,
        &format!(
            "which is not signed: there is no `sha256-{}.sig`",
            &image[7..]
        ),
    );

    let by = |name: &str, kind: Kind| sign(&folder, name, kind, &payload);
    let by_stranger = by("stranger", Kind::P256);
    push_signatures(
        &registry,
        "mine",
        &image,
        &[(&payload, by_stranger.clone())],
    );
    refused(
        &folder,
        &yaml,
        "which is signed, but not by a key that is trusted for it",
    );
    push_signatures(
        &registry,
        "mine",
        &image,
        &[(&payload, b"no signature".to_vec())],
    );
    refused(
        &folder,
        &yaml,
        "which is signed, but not by a key that is trusted for it",
    );
    push_signatures(&registry, "mine", &image, &[]);
    refused(
        &folder,
        &yaml,
        "which is signed, but not by a key that is trusted for it",
    );

    // One that a trusted key made for another image.
    let of_another = self::payload(&registry, "mine", &another);
    let signed = sign(&folder, "ops", Kind::P256, &of_another);
    push_signatures(&registry, "mine", &image, &[(&of_another, signed.clone())]);
    refused(
        &folder,
        &yaml,
        &format!("whose signature is for {another}, which is another component"),
    );
    let other_type = String::from_utf8(payload.clone())
        .unwrap()
        .replace("cosign container", "other");
    let signed_type = sign(&folder, "ops", Kind::P256, other_type.as_bytes());
    push_signatures(
        &registry,
        "mine",
        &image,
        &[(other_type.as_bytes(), signed_type)],
    );
    refused(
        &folder,
        &yaml,
        "it is no `cosign container image signature`",
    );

    // A good one among others.
    let by_ops = by("ops", Kind::P256);
    let all: [(&[u8], Vec<u8>); 3] = [
        (&payload, by_stranger),
        (&of_another, signed),
        (&payload, by_ops),
    ];
    push_signatures(&registry, "mine", &image, &all);
    good(&folder, &yaml);
    let only_release = of_image(
        &folder,
        &registry,
        &format!("mine@{image}"),
        "    trust: [release]\n",
    );
    refused(
        &folder,
        &only_release,
        "which is signed, but not by a key that is trusted for it",
    );
    let by_release = by("release", Kind::Ed25519);
    push_signatures(&registry, "mine", &image, &[(&payload, by_release)]);
    good(&folder, &only_release);
}

#[test]
fn signatures_are_kept_with_what_they_sign() {
    let Some(registry) = Registry::start(Access::Anybody) else {
        return;
    };
    let folder = with_keys();
    let image = registry.push("mine", "stable", component());
    let payload = payload(&registry, "mine", &image);
    let signed = sign(&folder, "ops", Kind::P256, &payload);
    push_signatures(&registry, "mine", &image, &[(&payload, signed)]);
    let unsigned = registry.push("mine", "unsigned", &other());
    let yaml = of_image(&folder, &registry, "mine:stable", "    pull: always\n");
    let proxy = Proxy::start_in(folder.clone(), &yaml);
    let signer = || -> Value { read(&get(proxy.admin(), "/filters"))[0]["signed_by"].clone() };
    assert_eq!(signer(), json!("ops"));

    // The tag becomes a version that nobody signed.
    registry.push("mine", "stable", &other());
    let outcome = proxy.reload();
    assert!(
        outcome.mistakes[0].contains("which is not signed"),
        "{outcome:?}"
    );
    assert_eq!(proxy.get("/").status, 418);

    // Without the registry: what is signed still is, what is not still is not.
    let by_digest = |digest: &str| of_image(&folder, &registry, &format!("mine@{digest}"), "");
    let (signed, unsigned) = (by_digest(&image), by_digest(&unsigned));
    registry.stop();
    good(&folder, &signed);
    good(&folder, &yaml);
    let (is_good, told) = check(&folder, &unsigned);
    assert!(!is_good && told.contains("Connection refused"), "{told}");
    fs::remove_dir_all(folder.join("cache/components/tags")).unwrap();
    let (is_good, told) = check(&folder, &signed);
    assert!(!is_good && told.contains("Connection refused"), "{told}");
}

#[test]
fn keys_that_are_none_are_told() {
    let folder = with_keys();
    openssl(
        &[
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
            "rsa.key",
        ],
        &folder,
    );
    openssl(
        &["pkey", "-in", "rsa.key", "-pubout", "-out", "rsa.pub"],
        &folder,
    );
    let public = fs::read_to_string(folder.join("ops.pub")).unwrap();
    let mut damaged: Vec<_> = public.lines().map(str::to_owned).collect();
    damaged[2] = damaged[2]
        .chars()
        .rev()
        .filter(|letter| *letter != '=')
        .collect::<String>()
        + "==";
    fs::write(folder.join("damaged.pub"), damaged.join("\n")).unwrap();
    let check = |key: &str, why: &str| {
        let text = of_file(&folder, "").replace(TRUST, &format!("trust: [{key}]\n"));
        let (is_good, told) = check(&folder, &text);
        assert!(!is_good && told.contains(why), "wanted `{why}` in {told}");
        assert!(!told.contains("BEGIN"), "{told}");
    };
    fs::write(folder.join("mine.wasm"), component()).unwrap();
    check(
        "{ name: a, file: release.key }",
        "that is a private key, which belongs to nobody but who signs",
    );
    check(
        "{ name: a, file: rsa.pub }",
        "that is of another kind, wanted a public key in PEM, ECDSA P-256 or Ed25519",
    );
    check("{ name: a, file: mine.wasm }", "that is not in PEM");
    check(
        "{ name: a, file: damaged.pub }",
        "damaged.pub`, a file that is ",
    );
    check("{ name: a, file: none.pub }", "that cannot be read: ");
    check("{ name: a, pem: no }", "a key that is not in PEM");
    check(
        "{ name: a }",
        "found no key, wanted exactly one of `file` and `pem`",
    );
    check(
        "{ name: a, file: ops.pub, pem: x }",
        "found a key in two ways, wanted exactly one of `file` and `pem`",
    );
    check(
        "{ name: a, file: ops.pub }, { name: a, file: ops.pub }",
        "found the trusted key `a` again",
    );
    check("{ file: ops.pub }", "found no key `name`");

    let inline = public.replace('\n', "\n      ");
    let text = of_file(&folder, "").replace(
        TRUST,
        &format!("trust:\n  - name: a\n    pem: |\n      {inline}\n"),
    );
    refused(&folder, &text, "which is not signed");
    let (_, told) = self::check(&folder, &of_file(&folder, "    trust: [realease]\n"));
    assert!(
        told.contains("found `realease`, wanted the name of a trusted key, such as `release`"),
        "{told}"
    );
    let shipped = yaml(&folder, "    component: lockgate:fault\n    trust: [ops]\n");
    let (_, told) = self::check(&folder, &shipped);
    assert!(
        told.contains("`trust` of a component that is shipped inside Lockgate"),
        "{told}"
    );
    good(&folder, &yaml(&folder, "    component: lockgate:fault\n"));
}
