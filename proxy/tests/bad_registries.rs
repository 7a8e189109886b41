//! Registries that are gone, slow, wrong or hostile, and caches that cannot be used:
//! each one clear message, and nothing else happens.

mod support;

use std::fs;
use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use lockgate::digest::Digest;
use serde_json::json;
use support::process::run;
use support::{Origin, Proxy, Seen, read_request};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn component() -> &'static [u8] {
    let mut shipped = lockgate::shipped::SHIPPED.iter();
    let fault = shipped.find(|shipped| shipped.name == "lockgate:fault");
    fault.unwrap().bytes
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

fn ok(body: &[u8]) -> Vec<u8> {
    answer("200 OK", "", body)
}

/// The manifest of an image with one layer.
fn manifest(media_type: &str, layer: &[u8]) -> Vec<u8> {
    sized(media_type, layer, layer.len())
}

fn sized(media_type: &str, layer: &[u8], size: usize) -> Vec<u8> {
    let layer = json!({ "mediaType": media_type, "digest": Digest::of(layer).to_string(),
        "size": size });
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer] });
    manifest.to_string().into_bytes()
}

/// Answers with this manifest, and with these bytes for every blob.
fn serving(manifest: Vec<u8>, blob: Vec<u8>) -> (Origin, String) {
    let digest = Digest::of(&manifest).to_string();
    let origin = Origin::start(move |seen| match seen.line.contains("/manifests/") {
        true => ok(&manifest),
        false => ok(&blob),
    });
    (origin, digest)
}

/// Refuses everything by this answer.
fn refusing(answer: Vec<u8>) -> (Origin, String) {
    (
        Origin::start(move |_| answer.clone()),
        Digest::of(b"").to_string(),
    )
}

fn yaml(folder: &Path, host: &str, digest: &str, more: &str) -> String {
    let cache = folder.join("cache");
    format!(
        "cache_dir: '{}'\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', filters: [mine] }}]\n\
         filters:\n  mine:\n    component: 'oci://{host}/mine@{digest}'\n    \
         limits: {{ max_component_bytes: 1MiB }}\n    config: {{ abort: {{ status: 418 }} }}\n\
         registries: [{{ host: '{host}', plain_http: true{more} }}]\n",
        cache.display()
    )
}

/// What `check` says of a component of this host, without credentials.
fn check_in(folder: &Path, host: &str, digest: &str, more: &str) -> (bool, String) {
    let path = folder.join("lockgate.yaml");
    fs::write(&path, support::whole(&yaml(folder, host, digest, more))).unwrap();
    let output = run(&["check", path.to_str().unwrap()]);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// It is refused for this reason, in one message that names the component.
fn refused(origin: &(Origin, String), why: &str) {
    refused_with(origin, "", why);
}

fn refused_with((origin, digest): &(Origin, String), more: &str, why: &str) {
    let folder = Proxy::folder();
    let (is_good, told) = check_in(&folder, &origin.address.to_string(), digest, more);
    assert!(!is_good, "{told}");
    let errors: Vec<_> = told
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{told}");
    let component = format!("found `oci://{}/mine@{digest}`, ", origin.address);
    assert!(errors[0].contains(&component), "{told}");
    let error = format!("{}\n", errors[0]);
    assert!(error.contains(why), "wanted `{why}` in {told}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_registry_that_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let folder = Proxy::folder();
    let digest = Digest::of(b"").to_string();
    let (is_good, told) = check_in(&folder, &address.to_string(), &digest, "");
    let why = "whose registry cannot be asked: Connection refused (os error 111), \
               wanted a registry that answers";
    assert!(!is_good && told.contains(why), "{told}");
    let (is_good, told) = check_in(&folder, "registry.invalid", &digest, "");
    assert!(
        !is_good && told.contains("whose registry cannot be asked: "),
        "{told}"
    );
}

#[test]
fn a_registry_that_is_slow() {
    let silent = Origin::scripted(|stream, _| {
        let mut reader = BufReader::new(stream);
        read_request(&mut reader);
        // Until the other side gives up.
        read_request(&mut reader);
    });
    let silent = (silent, Digest::of(b"").to_string());
    let why = "whose registry was not done within 300ms, wanted a faster one, or a longer \
               `timeout` in `registries`";
    refused_with(&silent, ", timeout: 300ms", why);

    // One that goes on all the time and comes to no end.
    let manifest = manifest("application/wasm", component());
    let digest = Digest::of(&manifest).to_string();
    let trickling = Origin::scripted(move |stream, _| {
        let mut reader = BufReader::new(stream);
        read_request(&mut reader);
        reader.get_mut().write_all(&ok(&manifest)).ok();
        read_request(&mut reader);
        let head = answer("200 OK", "", component());
        let stream = reader.get_mut();
        let mut bytes = head.iter().take(head.len() - 1);
        stream
            .set_read_timeout(Some(std::time::Duration::from_millis(5)))
            .unwrap();
        while bytes
            .next()
            .is_some_and(|byte| stream.write_all(&[*byte]).is_ok())
        {
            // It sends nothing; this is the pause between two bytes.
            std::io::Read::read(stream, &mut [0]).ok();
        }
    });
    refused_with(
        &(trickling, digest),
        ", timeout: 300ms",
        "whose registry was not done within 300ms",
    );
}

#[test]
fn other_bytes_than_those_that_were_asked_for() {
    let good = manifest("application/wasm", component());
    let mut other = component().to_vec();
    *other.last_mut().unwrap() ^= 1;
    let found = Digest::of(&other);
    let why = format!(
        "of which the component is {found} by its bytes, wanted the bytes that were asked for"
    );
    refused(&serving(good.clone(), other), &why);

    let (origin, _) = serving(good, component().to_vec());
    let wanted = Digest::of(b"another manifest").to_string();
    refused(&(origin, wanted), "of which the manifest is sha256:");
}

#[test]
fn what_is_no_component() {
    let of = |media_type: &str| serving(manifest(media_type, b"x"), b"x".to_vec());
    refused(
        &of("application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
        "which holds `application/vnd.cncf.helm.chart.content.v1.tar+gzip` and no component, \
         wanted a layer of `application/wasm`, or the layer of an image with `plugin.wasm`",
    );
    refused(
        &of("application/vnd.oci.image.layer.v1.tar+zstd"),
        "and no component",
    );
    // No more of many than tells what they are.
    let layer =
        json!({ "mediaType": "a/\u{1b}b", "digest": Digest::of(b"").to_string(), "size": 1 });
    let layers = vec![layer; 5000];
    let many = json!({ "schemaVersion": 2, "layers": layers }).to_string();
    refused(
        &serving(many.into_bytes(), Vec::new()),
        "which holds `a/ b`, `a/ b`, `a/ b` and 4997 more layers, and no component, wanted",
    );
    refused(&of("application/wasm"), "which is not WebAssembly");
    refused(
        &of("application/vnd.oci.image.layer.v1.tar"),
        "whose layer cannot be unpacked: ",
    );
    refused(
        &of("application/vnd.oci.image.layer.v1.tar+gzip"),
        "whose layer cannot be unpacked: ",
    );
    let read = |text: &str| serving(text.as_bytes().to_vec(), Vec::new());
    refused(
        &read("<html>"),
        "whose manifest cannot be read: expected value at line 1",
    );
    refused(
        &read(r#"{"schemaVersion":1,"layers":[]}"#),
        "whose manifest cannot be read: its version is 1",
    );
    refused(
        &read(r#"{"schemaVersion":2}"#),
        "it has neither `layers` nor `manifests`",
    );
    refused(
        &read(r#"{"schemaVersion":2,"layers":[]}"#),
        "which holds nothing",
    );
    refused(
        &read(r#"{"schemaVersion":2,"manifests":[]}"#),
        "which is an index of 0 images",
    );
    let layer = r#"{"mediaType":"application/wasm","digest":"sha512:12","size":1}"#;
    refused(
        &read(&format!(r#"{{"schemaVersion":2,"layers":[{layer}]}}"#)),
        "by another digest than SHA-256",
    );
    refused(
        &read(&format!(
            r#"{{"schemaVersion":2,"layers":[{layer},{layer}]}}"#
        )),
        "which holds 2 components",
    );
    let empty = tar::Builder::new(Vec::new()).into_inner().unwrap();
    let media_type = "application/vnd.oci.image.layer.v1.tar";
    refused(
        &serving(manifest(media_type, &empty), empty),
        "whose layer has no file `plugin.wasm`",
    );
}

/// A layer that unpacks to so many zeros.
fn bomb(size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_path("plugin.wasm").unwrap();
    header.set_cksum();
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut archive = tar::Builder::new(encoder);
    archive
        .append(&header, std::io::Read::take(std::io::repeat(0), size))
        .unwrap();
    archive.into_inner().unwrap().finish().unwrap()
}

/// Answers the first request with a manifest and the second without an end.
fn endless(manifest: Vec<u8>) -> Origin {
    Origin::scripted(move |stream, _| {
        let mut reader = BufReader::new(stream);
        while let Some(seen) = read_request(&mut reader) {
            let stream = reader.get_mut();
            if seen.line.contains("/manifests/") && !manifest.is_empty() {
                stream.write_all(&ok(&manifest)).ok();
                continue;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok();
            while stream.write_all(&[0; 4096]).is_ok() {}
        }
    })
}

#[test]
fn huge_layers() {
    const TOO_LARGE: &str = "is larger than 1048576 bytes, wanted a smaller one, or more in \
                             `limits.max_component_bytes`";
    // It is not even asked for.
    let said = sized("application/wasm", b"", 5 << 40);
    let origin = serving(said, Vec::new());
    refused(&origin, &format!("of which the component {TOO_LARGE}"));
    let asked: Vec<_> = std::iter::from_fn(|| origin.0.seen_now()).collect();
    assert!(
        asked.iter().all(|seen| seen.line.contains("/manifests/")),
        "{asked:?}"
    );

    // More than was said, without an end.
    let said = sized("application/wasm", b"", 1000);
    let digest = Digest::of(&said).to_string();
    let why = "of which the component is longer than the 1000 bytes that its manifest says";
    refused(&(endless(said), digest), why);
    let digest = Digest::of(b"").to_string();
    refused(
        &(endless(Vec::new()), digest),
        "of which the manifest is larger than 4194304 bytes, wanted a smaller one\n",
    );

    let bomb = bomb(200 << 20);
    assert!(bomb.len() < 1 << 20);
    let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    let why = format!("of which the unpacked layer {TOO_LARGE}");
    refused(&serving(manifest(media_type, &bomb), bomb), &why);
}

#[test]
fn redirects_without_an_end() {
    let looping = refusing(answer(
        "307 Temporary Redirect",
        "location: /v2/again\r\n",
        b"",
    ));
    let why = "whose registry redirects too often, wanted at most 5 redirects";
    refused(&looping, why);
    let mut asked = 0;
    while looping.0.seen_now().is_some() {
        asked += 1;
    }
    assert!(asked <= 7, "{asked} requests");
}

#[test]
fn refusals_are_passed_on() {
    let told = br#"{"errors":[{"code":"DENIED","message":"a\nline"}]}"#;
    let json = "content-type: application/json\r\n";
    refused(
        &refusing(answer("404 Not Found", "", b"")),
        "whose registry does not know it, wanted",
    );
    refused(
        &refusing(answer("403 Forbidden", json, told)),
        "whose registry refuses it, and asked for no credentials: DENIED a line, wanted",
    );
    refused(
        &refusing(answer("500 Internal Server Error", "", b"<html>")),
        "whose registry answers 500 for the manifest, wanted a registry that answers",
    );
    refused(
        &refusing(answer("429 Too Many Requests", "", b"")),
        "answers 429 for the manifest",
    );
    refused(
        &refusing(answer("204 No Content", "", b"")),
        "answers 204 for the manifest",
    );
    refused(
        &refusing(answer(
            "401 Unauthorized",
            "www-authenticate: Negotiate abc\r\n",
            b"",
        )),
        "asks for a login in a way that is not known: `Negotiate abc`",
    );
    refused(
        &refusing(b"SSH-2.0-OpenSSH\r\n".to_vec()),
        "whose registry cannot be asked: ",
    );
}

/// The credentials of alice in a `config.json` of the folder.
fn with_login(folder: &Path, host: &str) -> String {
    let config = json!({ "auths": { host: { "auth": "YWxpY2U6c2VjcmV0" } } });
    fs::write(folder.join("login.json"), config.to_string()).unwrap();
    ", credentials: login.json".to_owned()
}

/// A registry that wants tokens of itself. `token` answers for them.
fn with_tokens(token: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> (Origin, String) {
    let manifest = manifest("application/wasm", component());
    let digest = Digest::of(&manifest).to_string();
    let origin = Origin::start(move |seen| {
        if seen.line.contains("/token") {
            return token(seen);
        }
        if seen.header("authorization") != Some("Bearer good") {
            let host = seen.header("host").unwrap();
            let challenge =
                format!("www-authenticate: Bearer realm=\"http://{host}/token\",service=\"s\"\r\n");
            return answer("401 Unauthorized", &challenge, b"");
        }
        match seen.line.contains("/manifests/") {
            true => ok(&manifest),
            false => ok(component()),
        }
    });
    (origin, digest)
}

#[test]
fn tokens_are_fetched_and_may_be_expired() {
    let folder = Proxy::folder();
    let (origin, digest) = with_tokens(|_| ok(br#"{"token":"good"}"#));
    let host = origin.address.to_string();
    let login = with_login(&folder, &host);
    let (is_good, told) = check_in(&folder, &host, &digest, &login);
    assert!(is_good, "{told}");
    let asked: Vec<_> = std::iter::from_fn(|| origin.seen_now()).collect();
    let token = asked
        .iter()
        .find(|seen| seen.line.contains("/token"))
        .unwrap();
    assert!(
        token
            .line
            .starts_with("GET /token?service=s&scope=repository%3Amine%3Apull "),
        "{token:?}"
    );
    assert_eq!(
        token.header("authorization"),
        Some("Basic YWxpY2U6c2VjcmV0")
    );
    // Each of the others has the token or nothing.
    for seen in asked.iter().filter(|seen| !seen.line.contains("/token")) {
        assert!(
            matches!(seen.header("authorization"), None | Some("Bearer good")),
            "{seen:?}"
        );
    }

    let refuse = |with: (Origin, String), why: &str| {
        let folder = Proxy::folder();
        let host = with.0.address.to_string();
        let login = with_login(&folder, &host);
        let (is_good, told) = check_in(&folder, &host, &with.1, &login);
        assert!(!is_good && told.contains(why), "{told}");
        assert!(!told.contains("secret"), "{told}");
    };
    let expired = br#"{"errors":[{"code":"UNAUTHORIZED","message":"the password has expired"}]}"#;
    let why =
        "login.json`: UNAUTHORIZED the password has expired, wanted credentials that it takes";
    refuse(
        with_tokens(|_| answer("401 Unauthorized", "", expired)),
        why,
    );
    refuse(
        with_tokens(|_| ok(br#"{"token":"expired"}"#)),
        "refuses the credentials of `",
    );
    refuse(
        with_tokens(|_| ok(b"{}")),
        "answers 200 for a token: what is none",
    );
    let endless = vec![b' '; 1 << 20];
    refuse(
        with_tokens(move |_| ok(&endless)),
        "of which the token is larger than 262144 bytes, wanted a smaller one\n",
    );
}

/// Nothing is said of credentials that were neither there nor shown.
#[test]
fn a_token_for_everyone_does_not_get_everything() {
    let folder = Proxy::folder();
    let (origin, digest) = with_tokens(|_| ok(br#"{"token":"of nobody"}"#));
    let login = with_login(&folder, "elsewhere.example");
    let (is_good, told) = check_in(&folder, &origin.address.to_string(), &digest, &login);
    let why = "whose registry wants credentials, and there are none for it in `";
    assert!(!is_good && told.contains(why), "{told}");
}

#[test]
fn an_identity_token_is_exchanged() {
    let folder = Proxy::folder();
    let (origin, digest) = with_tokens(|_| ok(br#"{"access_token":"good"}"#));
    let host = origin.address.to_string();
    let config = json!({ "auths": { &host: { "identitytoken": "who&I" } } });
    fs::write(folder.join("login.json"), config.to_string()).unwrap();
    let (is_good, told) = check_in(&folder, &host, &digest, ", credentials: login.json");
    assert!(is_good, "{told}");
    let mut asked = std::iter::from_fn(|| origin.seen_now());
    let token = asked.find(|seen| seen.line.contains("/token")).unwrap();
    assert_eq!(token.line, "POST /token HTTP/1.1");
    let body = String::from_utf8(token.body).unwrap();
    assert!(body.contains("grant_type=refresh_token"), "{body}");
    assert!(body.contains("refresh_token=who%26I"), "{body}");
}

#[test]
fn credentials_do_not_follow_a_redirect() {
    let manifest = manifest("application/wasm", component());
    let digest = Digest::of(&manifest).to_string();
    let storage = Origin::start(|_| ok(component()));
    let address = storage.address;
    let origin = Origin::start(move |seen| {
        if seen.header("authorization").is_none() {
            return answer(
                "401 Unauthorized",
                "www-authenticate: Basic realm=\"x\"\r\n",
                b"",
            );
        }
        match seen.line.contains("/manifests/") {
            true => ok(&manifest),
            false => answer(
                "307 Temporary Redirect",
                &format!("location: http://{address}/blob\r\n"),
                b"",
            ),
        }
    });
    let folder = Proxy::folder();
    let host = origin.address.to_string();
    let login = with_login(&folder, &host);
    let (is_good, told) = check_in(&folder, &host, &digest, &login);
    assert!(is_good, "{told}");
    let seen = storage.seen();
    assert_eq!(
        (seen.header("authorization"), seen.header("referer")),
        (None, None)
    );
}

/// A good registry, and a folder to pull from it in.
fn good() -> (Origin, String, std::path::PathBuf) {
    let manifest = manifest("application/wasm", component());
    let (origin, digest) = serving(manifest, component().to_vec());
    (origin, digest, Proxy::folder())
}

#[test]
fn a_cache_that_others_may_write_to_is_not_used() {
    let (origin, digest, folder) = good();
    let blobs = folder.join("cache/components/blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    fs::set_permissions(&blobs, fs::Permissions::from_mode(0o777)).unwrap();
    let (is_good, told) = check_in(&folder, &origin.address.to_string(), &digest, "");
    assert!(
        is_good && told.contains("what was pulled cannot be kept"),
        "{told}"
    );
    assert!(told.contains("others may write to the folder"), "{told}");
    assert_eq!(fs::read_dir(blobs).unwrap().count(), 0);
}

#[test]
fn a_cache_that_cannot_be_written_to() {
    let (origin, digest, folder) = good();
    // Root may write to what is read-only, but not below a file.
    fs::create_dir(folder.join("cache")).unwrap();
    fs::write(folder.join("cache/components"), b"").unwrap();
    let (is_good, told) = check_in(&folder, &origin.address.to_string(), &digest, "");
    assert!(
        is_good && told.contains("what was pulled cannot be kept"),
        "{told}"
    );
}

/// The component with a custom section of so many zeros behind it.
fn padded(size: u32) -> Vec<u8> {
    let mut bytes = component().to_vec();
    let mut left = size + 5;
    bytes.push(0);
    while left > 0x7f {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes.extend(b"\x04zero");
    bytes.resize(bytes.len() + size as usize, 0);
    bytes
}

/// As far as files go: the memory that instances begin with is a file to the system
/// too, and there is room for that.
#[test]
fn a_disk_that_is_full() {
    let large = padded(6 << 20);
    let (origin, digest) = serving(manifest("application/wasm", &large), large);
    let folder = Proxy::folder();
    let path = folder.join("lockgate.yaml");
    let yaml = yaml(&folder, &origin.address.to_string(), &digest, "");
    let yaml = yaml.replace("1MiB", "8MiB");
    fs::write(&path, support::whole(&yaml)).unwrap();
    // No file may be longer than 4 MiB, and trying does not end the program.
    let limited = "trap '' XFSZ; ulimit -f 8192; exec \"$0\" check \"$1\"";
    let output = Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_lockgate")])
        .arg(&path)
        .output()
        .unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("what was pulled cannot be kept"), "{told}");
    // Nothing half-written is left.
    let blobs = folder.join("cache/components/blobs/sha256");
    for blob in fs::read_dir(blobs).unwrap() {
        let path = blob.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(Digest::of(&fs::read(&path).unwrap()).hex(), name);
    }
}

/// While a reload waits for a registry, requests are answered and a stop is a stop.
#[test]
fn a_pull_holds_nobody_up() {
    let silent = Origin::scripted(|stream, seen| {
        let mut reader = BufReader::new(stream);
        seen.send(read_request(&mut reader).unwrap()).ok();
        read_request(&mut reader);
    });
    let folder = Proxy::folder();
    let digest = Digest::of(b"").to_string();
    let host = silent.address.to_string();
    let slow = yaml(&folder, &host, &digest, ", timeout: 1h");
    let shipped = slow.replace(&format!("'oci://{host}/mine@{digest}'"), "lockgate:fault");
    let proxy = Proxy::start_in(folder, &shipped);
    proxy.edit(&slow);
    silent.seen();
    for _ in 0..20 {
        assert_eq!(proxy.get("/").status, 418);
    }
    assert_eq!(proxy.stop(), lockgate::control::Ended::Drained);
}

/// One that is gone is not waited for by every filter anew.
#[test]
fn a_registry_is_waited_for_once() {
    let silent = Origin::scripted(|stream, seen| {
        let mut reader = BufReader::new(stream);
        seen.send(read_request(&mut reader).unwrap()).ok();
        read_request(&mut reader);
    });
    let folder = Proxy::folder();
    let digest = Digest::of(b"").to_string();
    let host = silent.address.to_string();
    let mut yaml = yaml(&folder, &host, &digest, ", timeout: 300ms");
    for number in 0..20 {
        let more =
            format!("filters:\n  more{number}: {{ component: 'oci://{host}/mine@{digest}' }}\n");
        yaml = yaml.replacen("filters:\n", &more, 1);
    }
    let path = folder.join("lockgate.yaml");
    fs::write(&path, support::whole(&yaml)).unwrap();
    let output = run(&["check", path.to_str().unwrap()]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        told.matches("was not done within 300ms").count(),
        21,
        "{told}"
    );
    silent.seen();
    assert_eq!(silent.seen_now(), None);
}
