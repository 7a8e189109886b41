//! Components from a registry, against Debian's: pulled by digest or tag, kept, with
//! credentials, over TLS, in every layout.

#[path = "support/registry.rs"]
mod registry;
mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use lockgate::digest::Digest;
use registry::{Access, Layer, OCI_INDEX, OCI_MANIFEST, Registry, WASM, WASM_CONFIG};
use serde_json::json;
use support::admin::{get, json as read};
use support::process::{lockgate, run};
use support::{Process, Proxy};

/// Answers whatever its configuration says, which shows that it was pulled.
fn component() -> &'static [u8] {
    let mut shipped = lockgate::shipped::SHIPPED.iter();
    let fault = shipped.find(|shipped| shipped.name == "lockgate:fault");
    fault.unwrap().bytes
}

/// The same with other bytes: a custom section behind it.
fn other() -> Vec<u8> {
    [component(), b"\x00\x06\x04note\x07"].concat()
}

/// Every request is answered 418 by a filter that is got as `rest` says.
fn yaml(rest: &str) -> String {
    format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', filters: [mine] }}]\n\
         filters:\n  mine:\n    config: {{ abort: {{ status: 418, percent: 100 }} }}\n{rest}"
    )
}

/// With a cache of its own, in the folder.
fn cached(folder: &Path, rest: &str) -> String {
    let cache = folder.join("cache");
    format!("{}cache_dir: '{}'\n", yaml(rest), cache.display())
}

fn pulled(registry: &Registry, reference: &str) -> String {
    format!("    component: '{reference}'\n{}", registry.named())
}

/// What `check` says of a configuration, on both outputs.
fn check(folder: &Path, yaml: &str) -> (bool, String) {
    let path = folder.join("lockgate.yaml");
    fs::write(&path, support::whole(yaml)).unwrap();
    let output = run(&["check", path.to_str().unwrap()]);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn a_component_is_pulled_by_its_digest_and_kept() {
    let Some(registry) = Registry::start(Access::Anybody) else {
        return;
    };
    let digest = registry.push("team/fault", "1", component());
    let reference = registry.reference(&format!("team/fault@{digest}"));
    let folder = Proxy::folder();
    let yaml = cached(&folder, &pulled(&registry, &reference));
    let proxy = Process::start_in(folder.clone(), &yaml);
    assert_eq!(proxy.get("/").status, 418);
    proxy.logged("pulling the component");
    proxy.logged("pulled");

    // Offline, from what was kept: by a reload, and by a program that starts anew.
    registry.stop();
    proxy.signal("HUP");
    proxy.logged("reloaded");
    let again = Process::start_in(Proxy::folder(), &yaml);
    assert_eq!(again.get("/").status, 418);
    assert!(!again.log().contains("pull"), "{}", again.log());
}

#[test]
fn what_is_kept_is_whole_or_pulled_again() {
    let Some(registry) = Registry::start(Access::Anybody) else {
        return;
    };
    let digest = registry.push("fault", "1", component());
    let folder = Proxy::folder();
    let reference = registry.reference(&format!("fault@{digest}"));
    let yaml = cached(&folder, &pulled(&registry, &reference));
    assert!(check(&folder, &yaml).0);
    let blobs = folder.join("cache/components/blobs/sha256");
    let of_manifest = blobs.join(digest.strip_prefix("sha256:").unwrap());
    let of_component = blobs.join(Digest::of(component()).hex());
    for blob in [of_component, of_manifest] {
        let good = fs::read(&blob).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        for bad in [&bad[..], &good[..good.len() / 2], b""] {
            fs::write(&blob, bad).unwrap();
            let (is_good, told) = check(&folder, &yaml);
            assert!(is_good, "{told}");
            let why = "what was pulled before is not used; pulling it again";
            assert!(told.contains(why) && told.contains("damaged"), "{told}");
            assert_eq!(fs::read(&blob).unwrap(), good);
        }
    }
    // Without a registry, what is damaged is not used either.
    let blob = blobs.join(Digest::of(component()).hex());
    fs::write(blob, b"damaged").unwrap();
    registry.stop();
    let (is_good, told) = check(&folder, &yaml);
    assert!(!is_good && told.contains("Connection refused"), "{told}");
}

#[test]
fn a_tag_is_resolved_at_each_start_and_reload() {
    let Some(registry) = Registry::start(Access::Anybody) else {
        return;
    };
    let digest = registry.push("fault", "stable", component());
    let tag = registry.reference("fault:stable");
    let folder = Proxy::folder();
    let (is_good, told) = check(&folder, &cached(&folder, &pulled(&registry, &tag)));
    assert!(!is_good, "{told}");
    let wanted = "a tag, which may be another component tomorrow, wanted a digest, \
                  `@sha256:…`, or `pull: always`";
    assert!(told.contains(wanted), "{told}");

    let always = format!("    pull: always\n{}", pulled(&registry, &tag));
    let yaml = cached(&folder, &always);
    let proxy = Proxy::start_in(folder, &yaml);
    let told = || read(&get(proxy.admin(), "/filters"))[0].clone();
    let by_digest = |digest: &str| registry.reference(&format!("fault@{digest}"));
    assert_eq!(told()["component"], json!(tag));
    assert_eq!(told()["pulled"], json!(by_digest(&digest)));
    assert_eq!(told()["digest"], json!(Digest::of(component()).to_string()));
    assert_eq!(proxy.get("/").status, 418);

    let newer = registry.push("fault", "stable", &other());
    assert!(proxy.reload().ok);
    assert_eq!(told()["pulled"], json!(by_digest(&newer)));
    assert_eq!(told()["digest"], json!(Digest::of(&other()).to_string()));

    // While the registry is gone it is what it was when last asked, which is said.
    let address = registry.address;
    let content = registry.stop();
    let outcome = proxy.reload();
    assert!(outcome.ok, "{:?}", outcome.mistakes);
    let warning = outcome.warnings.join("\n");
    assert!(warning.contains("cannot be asked"), "{warning}");
    assert!(
        warning.contains(&format!("meanwhile it is `oci://{address}/fault@{newer}`")),
        "{warning}"
    );
    let again = Proxy::start_in(Proxy::folder(), &yaml);
    assert_eq!(again.get("/").status, 418);

    let registry = Registry::start_again(address, content.clone());
    let third = registry.push("fault", "stable", component());
    let outcome = proxy.reload();
    assert!(outcome.ok && outcome.warnings.is_empty(), "{outcome:?}");
    assert_eq!(
        told()["pulled"],
        json!(format!("oci://{address}/fault@{third}"))
    );
}

#[test]
fn commands_take_references_too() {
    let Some(registry) = Registry::start(Access::Anybody) else {
        return;
    };
    let digest = registry.push("fault", "1", component());
    let folder = Proxy::folder();
    let tag = registry.reference("fault:1");
    let by_digest = registry.reference(&format!("fault@{digest}"));
    let always = format!("    pull: always\n{}", pulled(&registry, &tag));
    let (is_good, told) = check(&folder, &cached(&folder, &always));
    assert!(is_good && told.contains("pulling the component"), "{told}");
    assert!(told.contains("resolved"), "{told}");

    let file = folder.join("lockgate.yaml");
    let file = file.to_str().unwrap();
    let output = run(&["filter", "inspect", &tag, "--json", "--config", file]);
    assert!(output.status.success(), "{output:?}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["pulled"], json!(by_digest));
    assert_eq!(told["digest"], json!(Digest::of(component()).to_string()));
    let output = run(&["filter", "inspect", &by_digest, "--config", file]);
    assert!(
        String::from_utf8_lossy(&output.stdout).contains(&by_digest),
        "{output:?}"
    );

    // Nothing says that this registry may be asked without TLS.
    let output = run(&["filter", "inspect", &tag]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("`plain_http: true` in `registries`"),
        "{told}"
    );

    let output = run(&["filter", "lock", "--config", file]);
    assert!(output.status.success(), "{output:?}");
    let lock = fs::read(folder.join("lockgate.lock")).unwrap();
    let lock: serde_json::Value = serde_json::from_slice(&lock).unwrap();
    assert_eq!(lock["mine"]["pulled"], json!(by_digest));
    assert!(check(&folder, &cached(&folder, &always)).0);
}

/// The component with so many bytes more: a custom section that nobody reads.
fn padded(count: u32) -> Vec<u8> {
    let size = count + 5;
    let leb128 = |value: u32| -> Vec<u8> {
        let group = |shift: u32| (value >> shift) as u8 & 0x7f;
        vec![
            group(0) | 0x80,
            group(7) | 0x80,
            group(14) | 0x80,
            group(21),
        ]
    };
    let section = [
        &[0][..],
        &leb128(size),
        &[4],
        b"note",
        &vec![0; count as usize],
    ];
    [component(), &section.concat()].concat()
}

#[test]
fn of_what_was_pulled_before_the_newest_is_kept() {
    let Some(registry) = Registry::start(Access::Anybody) else {
        return;
    };
    let folder = Proxy::folder();
    let yaml = |component: &[u8]| {
        let digest = registry.push("fault", "1", component);
        let reference = registry.reference(&format!("fault@{digest}"));
        let yaml = cached(&folder, &pulled(&registry, &reference));
        format!("max_cache_bytes: 1MiB\n{yaml}")
    };
    let blob = |component: &[u8]| {
        let blobs = folder.join("cache/components/blobs/sha256");
        blobs.join(Digest::of(component).hex())
    };
    let versions = [padded(700_000), padded(700_001), padded(700_002)];
    let proxy = Proxy::start_in(folder.clone(), &yaml(&versions[0]));
    assert!(blob(&versions[0]).exists());
    for pair in versions.windows(2) {
        proxy.edit(&yaml(&pair[1]));
        assert!(proxy.reload().ok);
        support::within("what is not needed any more has gone", || {
            (!blob(&pair[0]).exists()).then_some(())
        });
        assert!(blob(&pair[1]).exists());
    }
    // What is left is enough for a start without a registry.
    let last = yaml(&versions[2]);
    registry.stop();
    let again = Proxy::start_in(Proxy::folder(), &last);
    assert_eq!(again.get("/").status, 418);
}

#[test]
fn the_lock_tells_where_canaries_and_shadows_come_from_too() {
    let Some(registry) = Registry::start(Access::Anybody) else {
        return;
    };
    let pin = |name: &str, component: &[u8]| {
        let digest = registry.push(name, "1", component);
        registry.reference(&format!("{name}@{digest}"))
    };
    let (filter, other) = (pin("fault", component()), pin("other", &other()));
    let folder = Proxy::folder();
    let rest = format!(
        "    canary: {{ component: '{other}' }}\n    shadow: {{ component: '{other}' }}\n{}",
        pulled(&registry, &filter)
    );
    let (is_good, told) = check(&folder, &cached(&folder, &rest));
    assert!(is_good, "{told}");
    let file = folder.join("lockgate.yaml");
    let output = run(&["filter", "lock", "--config", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let lock = fs::read(folder.join("lockgate.lock")).unwrap();
    let lock: serde_json::Value = serde_json::from_slice(&lock).unwrap();
    assert_eq!(lock["mine"]["pulled"], json!(filter));
    assert_eq!(lock["mine/canary"]["pulled"], json!(other));
    assert_eq!(lock["mine/shadow"]["pulled"], json!(other));
    fs::remove_dir_all(&folder).unwrap();
}

/// A folder of layers as `tar` writes it.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_layout_is_understood() {
    let Some(registry) = Registry::start(Access::Anybody) else {
        return;
    };
    let files = tar(&[
        ("etc/readme", b"not this one"),
        ("./plugin.wasm", component()),
    ]);
    let packed = gzip(&files);
    let below = gzip(&tar(&[("plugin.wasm", b"covered by the layer above")]));
    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
    const OCI_FILES: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    const IMAGE: &str = "application/vnd.oci.image.config.v1+json";
    let config = |media_type| Layer::new(media_type, br#"{"architecture":"wasm","os":"wasip2"}"#);
    let istio = "application/vnd.module.wasm.content.layer.v1+wasm";
    let images = [
        (
            "cncf",
            OCI_MANIFEST,
            config(WASM_CONFIG),
            vec![Layer::new(WASM, component())],
        ),
        (
            "cncf-with-more",
            OCI_MANIFEST,
            config(WASM_CONFIG),
            vec![
                Layer::new("text/plain", b"a licence"),
                Layer::new(WASM, component()),
            ],
        ),
        (
            "istio-oci",
            OCI_MANIFEST,
            config("application/vnd.module.wasm.config.v1+json"),
            vec![
                Layer::new(istio, component()),
                Layer::new("application/json", b"{}"),
            ],
        ),
        (
            "istio-compat",
            OCI_MANIFEST,
            config(IMAGE),
            vec![
                Layer::new(OCI_FILES, &below),
                Layer::new(OCI_FILES, &packed),
            ],
        ),
        (
            "oci-tar",
            OCI_MANIFEST,
            config(IMAGE),
            vec![Layer::new("application/vnd.oci.image.layer.v1.tar", &files)],
        ),
        (
            "docker",
            DOCKER,
            config("application/vnd.docker.container.image.v1+json"),
            vec![Layer::new(
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                &packed,
            )],
        ),
    ];
    let folder = Proxy::folder();
    for (name, media_type, config, layers) in images {
        let digest = registry.push_image(name, "1", media_type, &config, &layers);
        let reference = registry.reference(&format!("{name}@{digest}"));
        let (is_good, told) = check(&folder, &cached(&folder, &pulled(&registry, &reference)));
        assert!(is_good, "{name}: {told}");
    }
    // An index, with an attestation as docker's builder adds one.
    let digest = registry.push("index", "1", component());
    let manifests = |architecture| {
        let image = |digest: &str, architecture| {
            json!({ "mediaType": OCI_MANIFEST, "digest": digest, "size": 1,
                "platform": { "os": "any", "architecture": architecture } })
        };
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX,
            "manifests": [image(&digest, "unknown"), image(&digest, architecture)] });
        index.to_string().into_bytes()
    };
    for architecture in ["wasm", "anything"] {
        let digest =
            registry.push_manifest("index", architecture, OCI_INDEX, &manifests(architecture));
        let reference = registry.reference(&format!("index@{digest}"));
        let (is_good, told) = check(&folder, &cached(&folder, &pulled(&registry, &reference)));
        assert!(is_good, "{architecture}: {told}");
    }
}

/// As `docker login` writes it.
fn docker_config(registry: &Registry, login: &str) -> String {
    json!({ "auths": { registry.address.to_string(): { "auth": login } } }).to_string()
}

#[test]
fn a_registry_with_passwords_takes_those_of_docker() {
    let Some(registry) = Registry::start(Access::Password) else {
        return;
    };
    let digest = registry.push("fault", "1", component());
    let reference = registry.reference(&format!("fault@{digest}"));
    let folder = Proxy::folder();
    let docker = folder.join("docker");
    fs::create_dir(&docker).unwrap();
    let yaml = cached(&folder, &pulled(&registry, &reference));
    let file = folder.join("lockgate.yaml");
    fs::write(&file, support::whole(&yaml)).unwrap();
    let check = |what: &str| {
        let mut command = lockgate(&["check"]);
        let output = command
            .arg(&file)
            .env("DOCKER_CONFIG", &docker)
            .output()
            .unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains(what), "{told}");
        assert!(
            !told.contains("secret") && !told.contains("wrong"),
            "{told}"
        );
        output.status.success()
    };
    let login = |text: &str| fs::write(docker.join("config.json"), text).unwrap();
    // alice:wrong and alice:secret.
    let (wrong, right) = ("YWxpY2U6d3Jvbmc=", "YWxpY2U6c2VjcmV0");
    assert!(!check("wants credentials, and there are none for it in `"));
    login("{}");
    assert!(!check("wants credentials, and there are none for it in `"));
    login("{ not JSON");
    assert!(!check("it is no `config.json` of docker"));
    login(r#"{ "credsStore": "of-nobody" }"#);
    assert!(!check("the credential helper cannot be run"));
    login(&docker_config(&registry, wrong));
    assert!(!check("refuses the credentials of `"));
    login(&docker_config(&registry, right));
    assert!(check("good"));

    // The file may also be named for one registry. What is kept needs no login.
    fs::remove_dir_all(folder.join("cache")).unwrap();
    fs::rename(docker.join("config.json"), folder.join("login.json")).unwrap();
    assert!(!check("wants credentials"));
    let named = yaml.replace(
        "plain_http: true",
        "plain_http: true, credentials: login.json",
    );
    fs::write(&file, support::whole(&named)).unwrap();
    assert!(check("good"));
    fs::write(folder.join("login.json"), docker_config(&registry, wrong)).unwrap();
    assert!(check("good"));
}

/// A certificate for 127.0.0.1 that nobody signed but itself.
fn certificate(folder: &Path, name: &str, constraints: &str) -> (PathBuf, PathBuf) {
    let file = |extension: &str| folder.join(format!("{name}.{extension}"));
    let (certificate, key) = (file("pem"), file("key"));
    let status = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=registry"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args([
            "-addext",
            &format!("basicConstraints=critical,{constraints}"),
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
    (certificate, key)
}

#[test]
fn a_registry_is_asked_over_tls_unless_it_is_named() {
    let Some(plain) = Registry::start(Access::Anybody) else {
        return;
    };
    let digest = plain.push("fault", "1", component());
    let folder = Proxy::folder();
    let (certificate, key) = certificate(&folder, "tls", "CA:FALSE");
    let tls = plain.start_tls(&certificate, &key);
    let reference = tls.reference(&format!("fault@{digest}"));
    let component = format!("    component: '{reference}'\n");
    let with = |what: &str| {
        let rest = format!(
            "{component}registries: [{{ host: '{}', {what} }}]\n",
            tls.address
        );
        check(&folder, &cached(&folder, &rest))
    };
    let (is_good, told) = check(&folder, &cached(&folder, &component));
    assert!(!is_good && told.contains("UnknownIssuer"), "{told}");
    let (is_good, told) = with("ca: nothing.pem");
    assert!(
        !is_good && told.contains("cannot use the certificates in `"),
        "{told}"
    );
    let (is_good, told) = with("ca: tls.key");
    assert!(!is_good && told.contains("there are none in it"), "{told}");
    let (is_good, told) = with("ca: tls.pem");
    assert!(is_good, "{told}");

    // As `openssl req -x509` makes one that is not told otherwise.
    let (certificate, key) = self::certificate(&folder, "own", "CA:TRUE");
    let own = plain.start_tls(&certificate, &key);
    let reference = own.reference(&format!("fault@{digest}"));
    let rest = format!(
        "    component: '{reference}'\nregistries: [{{ host: '{}', ca: own.pem }}]\n",
        own.address
    );
    fs::remove_dir_all(folder.join("cache")).unwrap();
    let (is_good, told) = check(&folder, &cached(&folder, &rest));
    assert!(
        !is_good && told.contains("its own is an authority (`CA:TRUE`)"),
        "{told}"
    );

    // One that speaks no TLS.
    let reference = plain.reference(&format!("fault@{digest}"));
    let rest = format!("    component: '{reference}'\n");
    fs::remove_dir_all(folder.join("cache")).ok();
    let (is_good, told) = check(&folder, &cached(&folder, &rest));
    assert!(
        !is_good && told.contains("`plain_http: true` in `registries`"),
        "{told}"
    );
}
