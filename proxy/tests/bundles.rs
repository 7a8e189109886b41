//! Signatures as cosign 3 writes them: bundles of Sigstore that refer to an image, or
//! lie beside a file. Keys and signatures are openssl's.

#[path = "support/registry.rs"]
mod registry;
#[path = "support/signing.rs"]
mod signing;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lockgate::digest::Digest;
use registry::{Access, Layer, OCI_INDEX, OCI_MANIFEST, Registry, WASM, manifest};
use serde_json::{Value, json};
use signing::{
    Kind, TRUST, check, component, good, of_file, other, refused, sign, with_keys, yaml,
};
use support::admin::{get, json as read};
use support::{Origin, Proxy, within};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const STATEMENT: &str = "application/vnd.in-toto+json";
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
const NOT_BY_ANY: &str = "which is signed, but not by a key that is trusted for it";

/// What cosign signs for an image.
fn statement(image: &str, predicate_type: &str) -> Vec<u8> {
    let hex = image.strip_prefix("sha256:").unwrap();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": hex }, "annotations": {} }],
        "predicateType": predicate_type,
        "predicate": {},
    });
    statement.to_string().into_bytes()
}

/// A key of the folder, which signs.
struct Signer<'a> {
    folder: &'a Path,
    name: &'a str,
    kind: Kind,
}

impl Signer<'_> {
    fn envelope(&self, payload_type: &str, payload: &[u8]) -> Value {
        let (type_length, length) = (payload_type.len(), payload.len());
        let head = format!("DSSEv1 {type_length} {payload_type} {length} ");
        let message = [head.as_bytes(), payload].concat();
        let signature = sign(self.folder, self.name, self.kind, &message);
        json!({
            "payload": STANDARD.encode(payload),
            "payloadType": payload_type,
            "signatures": [{ "sig": STANDARD.encode(signature) }],
        })
    }

    /// What `cosign sign` makes.
    fn bundle(&self, image: &str) -> Value {
        in_bundle(self.envelope(STATEMENT, &statement(image, SIGN)))
    }

    /// What `cosign sign-blob --bundle` makes.
    fn bundle_of(&self, bytes: &[u8]) -> Value {
        let signature = sign(self.folder, self.name, self.kind, bytes);
        json!({
            "mediaType": BUNDLE,
            "verificationMaterial": { "publicKey": { "hint": "aGludA==" } },
            "messageSignature": {
                "messageDigest": {
                    "algorithm": "SHA2_256",
                    "digest": STANDARD.encode(Digest::of(bytes).bytes()),
                },
                "signature": STANDARD.encode(signature),
            },
        })
    }
}

fn in_bundle(envelope: Value) -> Value {
    json!({
        "mediaType": BUNDLE,
        "verificationMaterial": { "publicKey": { "hint": "aGludA==" }, "tlogEntries": [] },
        "dsseEnvelope": envelope,
    })
}

fn by_ops(folder: &Path) -> Signer<'_> {
    Signer {
        folder,
        name: "ops",
        kind: Kind::P256,
    }
}

fn by_release(folder: &Path) -> Signer<'_> {
    Signer {
        folder,
        name: "release",
        kind: Kind::Ed25519,
    }
}

fn by_stranger(folder: &Path) -> Signer<'_> {
    Signer {
        folder,
        name: "stranger",
        kind: Kind::P256,
    }
}

/// The manifest of a bundle that refers to an image.
fn referrer(image: &str, bundle: &[u8]) -> Vec<u8> {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": BUNDLE,
        "config": Layer::new(EMPTY, b"{}").descriptor(),
        "layers": [Layer::new(BUNDLE, bundle).descriptor()],
        "subject": { "mediaType": OCI_MANIFEST, "digest": image, "size": 1 },
    });
    manifest.to_string().into_bytes()
}

/// A list of what refers to an image, with a type of each as cosign writes it where
/// the registry has no list.
fn list(referrers: &[Vec<u8>], artifact_type: &str) -> Vec<u8> {
    let described = |manifest: &Vec<u8>| {
        json!({
            "mediaType": OCI_MANIFEST,
            "digest": Digest::of(manifest).to_string(),
            "size": manifest.len(),
            "artifactType": artifact_type,
        })
    };
    let manifests: Vec<_> = referrers.iter().map(described).collect();
    let list = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    list.to_string().into_bytes()
}

/// Pushes bundles as clients do to a registry without the referrers API.
fn push_bundles(registry: &Registry, image: &str, bundles: &[Value]) {
    let mut referrers = Vec::new();
    registry.push_blob("mine", b"{}");
    for bundle in bundles {
        let bundle = bundle.to_string().into_bytes();
        registry.push_blob("mine", &bundle);
        let referrer = referrer(image, &bundle);
        let digest = Digest::of(&referrer).to_string();
        registry.push_manifest("mine", &digest, OCI_MANIFEST, &referrer);
        referrers.push(referrer);
    }
    let tag = image.replace(':', "-");
    registry.push_manifest("mine", &tag, OCI_INDEX, &list(&referrers, EMPTY));
}

fn of_image(folder: &Path, host: &str, version: &str, more: &str) -> String {
    let rest = format!(
        "    component: 'oci://{host}/mine{version}'\n{more}\
         registries: [{{ host: '{host}', plain_http: true }}]\n"
    );
    yaml(folder, &rest)
}

#[test]
fn a_registry_without_referrers_has_them_under_a_tag() {
    let Some(registry) = Registry::start(Access::Anybody) else {
        return;
    };
    let folder = with_keys();
    let image = registry.push("mine", "1", component());
    let host = registry.address.to_string();
    let yaml = of_image(&folder, &host, &format!("@{image}"), "");
    let none = format!(
        "which is not signed: there is no `sha256-{}.sig` and no bundle with a signature in \
         its registry",
        &image[7..]
    );
    refused(&folder, &yaml, &none);
    push_bundles(&registry, &image, &[]);
    refused(&folder, &yaml, &none);
    let by_stranger = by_stranger(&folder).bundle(&image);
    push_bundles(&registry, &image, std::slice::from_ref(&by_stranger));
    refused(&folder, &yaml, NOT_BY_ANY);
    let by_ops = by_ops(&folder).bundle(&image);
    push_bundles(&registry, &image, &[by_stranger.clone(), by_ops]);
    good(&folder, &yaml);
    let only_release = of_image(
        &folder,
        &host,
        &format!("@{image}"),
        "    trust: [release]\n",
    );
    refused(&folder, &only_release, NOT_BY_ANY);
    let by_release = by_release(&folder).bundle(&image);
    push_bundles(&registry, &image, &[by_stranger, by_release]);
    good(&folder, &only_release);
}

#[test]
fn bundles_are_kept_with_what_they_sign() {
    let Some(registry) = Registry::start(Access::Anybody) else {
        return;
    };
    let folder = with_keys();
    let image = registry.push("mine", "stable", component());
    push_bundles(&registry, &image, &[by_ops(&folder).bundle(&image)]);
    let host = registry.address.to_string();
    let yaml = of_image(&folder, &host, ":stable", "    pull: always\n");
    let proxy = Proxy::start_in(folder.clone(), &yaml);
    let told = read(&get(proxy.admin(), "/filters"));
    assert_eq!(told[0]["signed_by"], json!("ops"), "{told}");
    assert_eq!(proxy.get("/").status, 418);

    registry.stop();
    good(&folder, &yaml);
    good(&folder, &of_image(&folder, &host, &format!("@{image}"), ""));
    let stranger = yaml.replace(TRUST, "trust: [{ name: stranger, file: stranger.pub }]\n");
    let (is_good, told) = check(&folder, &stranger);
    assert!(!is_good && told.contains("Connection refused"), "{told}");
    fs::remove_dir_all(folder.join("cache/components/tags")).unwrap();
    let (is_good, told) = check(&folder, &yaml);
    assert!(!is_good && told.contains("Connection refused"), "{told}");
}

/// A registry with the referrers API, of one image: what it has, by the path below
/// the image's name.
struct Content {
    answers: BTreeMap<String, Vec<u8>>,
    image: String,
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

impl Content {
    fn new() -> Self {
        let config = Layer::new("application/vnd.wasm.config.v0+json", b"{}");
        let image = manifest(OCI_MANIFEST, &config, &[Layer::new(WASM, component())]);
        let mut content = Self {
            answers: BTreeMap::new(),
            image: Digest::of(&image).to_string(),
        };
        content.put("manifests", &image);
        content.put("blobs", component());
        content
    }

    fn put(&mut self, kind: &str, bytes: &[u8]) {
        let path = format!("{kind}/{}", Digest::of(bytes));
        self.answers.insert(path, answer("200 OK", "", bytes));
    }

    /// Gives the manifest that refers to the image.
    fn put_bundle(&mut self, bundle: &[u8]) -> Vec<u8> {
        let referrer = referrer(&self.image, bundle);
        self.put("blobs", bundle);
        self.put("manifests", &referrer);
        referrer
    }

    fn put_page(&mut self, query: &str, headers: &str, referrers: &[Vec<u8>]) {
        let path = format!("referrers/{}{query}", self.image);
        let page = answer("200 OK", headers, &list(referrers, BUNDLE));
        self.answers.insert(path, page);
    }

    /// With this one bundle.
    fn with(bundle: impl FnOnce(&str) -> Vec<u8>) -> Self {
        let mut content = Self::new();
        let bundle = bundle(&content.image);
        let referrer = content.put_bundle(&bundle);
        content.put_page("", "", &[referrer]);
        content
    }

    fn serve(self) -> Origin {
        Origin::start(move |seen| {
            let path = seen.line.split(' ').nth(1).unwrap();
            let path = path.strip_prefix("/v2/mine/").unwrap();
            let known = self.answers.get(path).cloned();
            known.unwrap_or_else(|| answer("404 Not Found", "", b""))
        })
    }
}

/// The paths that were asked for.
fn asked(origin: &Origin) -> Vec<String> {
    let seen = std::iter::from_fn(|| origin.seen_now());
    seen.map(|seen| seen.line).collect()
}

fn count(asked: &[String], part: &str) -> usize {
    asked.iter().filter(|line| line.contains(part)).count()
}

fn of_content(folder: &Path, image: &str, origin: &Origin) -> String {
    let host = origin.address.to_string();
    of_image(folder, &host, &format!("@{image}"), "")
}

#[test]
fn a_registry_is_asked_for_what_refers_to_an_image() {
    let folder = with_keys();
    let mut content = Content::new();
    let image = content.image.clone();
    let bundle = |signer: Signer<'_>| signer.bundle(&image).to_string().into_bytes();
    let by_stranger = content.put_bundle(&bundle(by_stranger(&folder)));
    let by_release = content.put_bundle(&bundle(by_release(&folder)));
    let next = format!("link: </v2/mine/referrers/{image}?last=1>; rel=\"next\"\r\n");
    content.put_page("", &next, &[by_stranger]);
    content.put_page("?last=1", "", &[by_release]);
    let origin = content.serve();
    let yaml = of_content(&folder, &image, &origin);
    good(&folder, &yaml);
    let first = asked(&origin);
    assert_eq!(count(&first, "/referrers/"), 2, "{first:?}");
    // What was good once needs no registry.
    good(&folder, &yaml);
    assert_eq!(asked(&origin), Vec::<String>::new());
}

#[test]
fn a_next_page_elsewhere_is_not_asked_for() {
    let folder = with_keys();
    let elsewhere = Origin::saying("nothing");
    let mut content = Content::new();
    let image = content.image.clone();
    let next = format!(
        "link: <http://{}/v2/mine/referrers/{image}>; rel=\"next\"\r\n",
        elsewhere.address
    );
    content.put_page("", &next, &[]);
    let origin = content.serve();
    refused(
        &folder,
        &of_content(&folder, &image, &origin),
        "which is not signed",
    );
    assert_eq!(asked(&elsewhere), Vec::<String>::new());
}

#[test]
fn lists_without_an_end() {
    let folder = with_keys();
    let content = Content::new();
    let image = content.image.clone();
    let served = content.answers;
    let origin = Origin::start(move |seen| {
        let path = seen.line.split(' ').nth(1).unwrap();
        let path = path.strip_prefix("/v2/mine/").unwrap();
        match path.starts_with("referrers/") {
            true => answer("200 OK", "link: <?n=1>; rel=next\r\n", &list(&[], BUNDLE)),
            false => match served.get(path) {
                Some(known) => known.clone(),
                None => answer("404 Not Found", "", b""),
            },
        }
    });
    refused(
        &folder,
        &of_content(&folder, &image, &origin),
        "which is not signed",
    );
    let pages = count(&asked(&origin), "/referrers/");
    assert_eq!(pages, 8);

    // A long one, of which nothing is there.
    let mut content = Content::new();
    let many: Vec<_> = (0..1000)
        .map(|number| format!("{number}").into_bytes())
        .collect();
    content.put_page("", "", &many);
    let origin = content.serve();
    let why = "which has no signature that can be read: there is `sha256:";
    refused(&folder, &of_content(&folder, &image, &origin), why);
    // The image itself is in the cache.
    assert_eq!(count(&asked(&origin), "/manifests/sha256:"), 32);
}

#[test]
fn a_registry_that_fails_with_its_list_is_told() {
    let folder = with_keys();
    let mut content = Content::new();
    let image = content.image.clone();
    let path = format!("referrers/{image}");
    let failure = answer("503 Service Unavailable", "", b"");
    content.answers.insert(path.clone(), failure);
    let (is_good, told) = check(&folder, &of_content(&folder, &image, &content.serve()));
    let why = "whose registry answers 503 for a page of referrers";
    assert!(!is_good && told.contains(why), "{told}");

    // A page for people is no list, and neither is one that is too long.
    let mut content = Content::new();
    content
        .answers
        .insert(path.clone(), answer("200 OK", "", b"<html>"));
    let why = "which is not signed";
    refused(&folder, &of_content(&folder, &image, &content.serve()), why);
    let mut content = Content::new();
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 5000000000\r\n\r\n";
    content.answers.insert(path, head.into());
    let why =
        "there is a list of referrers, of which a page of referrers is larger than 4194304 bytes";
    refused(&folder, &of_content(&folder, &image, &content.serve()), why);
}

#[test]
fn bundles_that_do_not_do() {
    let folder = with_keys();
    let check = |bundle: &dyn Fn(&str) -> Vec<u8>, why: &str| {
        let content = Content::with(bundle);
        let image = content.image.clone();
        refused(&folder, &of_content(&folder, &image, &content.serve()), why);
    };
    let ops = || by_ops(&folder);
    let changed = |change: &dyn Fn(&mut Value)| {
        let change = |image: &str| {
            let mut bundle = ops().bundle(image);
            change(&mut bundle);
            bundle.to_string().into_bytes()
        };
        check(&change, NOT_BY_ANY);
    };
    // Of another image, and a good one that was changed.
    let another = Digest::of(b"another").to_string();
    let why = format!("whose signature is for {another}, which is another component");
    check(&|_| ops().bundle(&another).to_string().into_bytes(), &why);
    changed(&|bundle| {
        let payload = STANDARD.encode(statement(&another, SIGN));
        bundle["dsseEnvelope"]["payload"] = json!(payload);
    });
    changed(&|bundle| bundle["dsseEnvelope"]["payloadType"] = json!("text/plain"));
    changed(&|bundle| bundle["dsseEnvelope"]["signatures"] = json!([]));
    changed(&|bundle| bundle["dsseEnvelope"]["signatures"][0]["sig"] = json!("!"));
    check(
        &|image| by_stranger(&folder).bundle(image).to_string().into_bytes(),
        NOT_BY_ANY,
    );
    // A signature of the statement alone, without its type.
    changed(&|bundle| {
        let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
        let bare = sign(
            &folder,
            "ops",
            Kind::P256,
            &STANDARD.decode(payload).unwrap(),
        );
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = json!(STANDARD.encode(bare));
    });

    // What a trusted key signed, and not as the signature of an image.
    let signed = |payload_type: &'static str, payload: &dyn Fn(&str) -> Vec<u8>, why: &str| {
        let bundle = |image: &str| {
            let envelope = ops().envelope(payload_type, &payload(image));
            in_bundle(envelope).to_string().into_bytes()
        };
        check(&bundle, why);
    };
    signed(
        "text/plain",
        &|image| statement(image, SIGN),
        "it is no statement of in-toto",
    );
    signed(
        STATEMENT,
        &|image| statement(image, "https://cyclonedx.org/bom"),
        "it is no `https://sigstore.dev/cosign/sign/v1`",
    );
    signed(
        STATEMENT,
        &|_| b"{".to_vec(),
        "cannot be read: EOF while parsing",
    );
    signed(
        STATEMENT,
        &|_| {
            let none = json!({ "_type": "https://in-toto.io/Statement/v1", "subject": [],
                "predicateType": SIGN });
            none.to_string().into_bytes()
        },
        "it names no digest",
    );

    // With a certificate, which is not believed.
    check(
        &|image| {
            let mut bundle = by_stranger(&folder).bundle(image);
            bundle["verificationMaterial"] = json!({ "certificate": { "rawBytes": "AAAA" } });
            bundle.to_string().into_bytes()
        },
        "which is signed with a certificate, and by no key that is trusted for it",
    );
    let illegible = "which has no signature that can be read: there is `sha256:";
    check(&|_| b"<html>".to_vec(), illegible);
    check(&|_| b"{}".to_vec(), "which holds no statement");
    check(
        &|_| ops().bundle_of(component()).to_string().into_bytes(),
        "which holds no statement",
    );
    check(
        &|image| (ops().bundle(image).to_string() + &" ".repeat(300 << 10)).into_bytes(),
        "of which the bundle is larger than 262144 bytes",
    );
    let mut content = Content::new();
    let image = content.image.clone();
    let referrer = content.put_bundle(ops().bundle(&image).to_string().as_bytes());
    let huge = [referrer, vec![b' '; 70 << 10]].concat();
    content.put("manifests", &huge);
    content.put_page("", "", &[huge]);
    refused(
        &folder,
        &of_content(&folder, &image, &content.serve()),
        "of which its manifest is larger than 65536 bytes",
    );
}

#[test]
fn the_one_that_tells_most_is_told() {
    let folder = with_keys();
    let mut content = Content::new();
    let image = content.image.clone();
    let bundles = [
        b"{}".to_vec(),
        by_stranger(&folder).bundle(&image).to_string().into_bytes(),
        b"<html>".to_vec(),
    ];
    let mut referrers: Vec<_> = bundles.iter().map(|one| content.put_bundle(one)).collect();
    content.put_page("", "", &referrers);
    let origin = content.serve();
    refused(&folder, &of_content(&folder, &image, &origin), NOT_BY_ANY);

    // A good one behind them does, whatever stands before it.
    let mut content = Content::new();
    for bundle in &bundles {
        content.put_bundle(bundle);
    }
    let good_one = by_ops(&folder).bundle(&image).to_string().into_bytes();
    referrers.push(content.put_bundle(&good_one));
    content.put_page("", "", &referrers);
    let signatures = format!("manifests/{}.sig", image.replace(':', "-"));
    content
        .answers
        .insert(signatures, answer("200 OK", "", b"<html>"));
    good(&folder, &of_content(&folder, &image, &content.serve()));
}

#[test]
fn a_bundle_beside_a_file() {
    let folder = with_keys();
    fs::write(folder.join("mine.wasm"), component()).unwrap();
    let put = |bundle: &[u8]| fs::write(folder.join("mine.wasm.sigstore.json"), bundle).unwrap();
    let yaml = of_file(&folder, "");
    refused(&folder, &yaml, "mine.wasm.sigstore.json`");
    for signer in [by_ops(&folder), by_release(&folder)] {
        put(signer.bundle_of(component()).to_string().as_bytes());
        good(&folder, &yaml);
        put(signer.bundle_of(&other()).to_string().as_bytes());
        let why = "mine.wasm.sigstore.json` is none of these bytes by a key that is trusted";
        refused(&folder, &yaml, why);
    }
    let mut by_certificate = by_stranger(&folder).bundle_of(component());
    by_certificate["verificationMaterial"] = json!({ "certificate": { "rawBytes": "AAAA" } });
    put(by_certificate.to_string().as_bytes());
    refused(&folder, &yaml, "which is signed with a certificate");
    put(by_ops(&folder)
        .bundle(&Digest::of(component()).to_string())
        .to_string()
        .as_bytes());
    refused(&folder, &yaml, "which holds no signature of a file");
    put(b"{");
    refused(&folder, &yaml, "whose bundle cannot be read: EOF");
    put(&vec![b' '; 300 << 10]);
    refused(&folder, &yaml, "mine.wasm.sigstore.json` cannot be read: ");
    // The other one does.
    let signature = sign(&folder, "ops", Kind::P256, component());
    fs::write(folder.join("mine.wasm.sig"), signature).unwrap();
    good(&folder, &yaml);
}

#[test]
fn a_new_bundle_beside_a_file_is_a_reload() {
    let folder = with_keys();
    fs::write(folder.join("mine.wasm"), component()).unwrap();
    let put = |signer: Signer<'_>| {
        let bundle = signer.bundle_of(component()).to_string();
        fs::write(folder.join("aside"), bundle).unwrap();
        fs::rename(folder.join("aside"), folder.join("mine.wasm.sigstore.json")).unwrap();
    };
    put(by_release(&folder));
    let proxy = Proxy::start_in(folder.clone(), &of_file(&folder, ""));
    let signer = || read(&get(proxy.admin(), "/filters"))[0]["signed_by"].clone();
    assert_eq!(signer(), json!("release"));
    put(by_ops(&folder));
    within("the new signature is there", || {
        (signer() == json!("ops")).then_some(())
    });
}
