//! Keys of openssl, what is signed with them, and what `check` says of it.
#![allow(dead_code, reason = "no test binary uses all of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::run;
use crate::support::{self, Proxy};

pub fn component() -> &'static [u8] {
    let mut shipped = lockgate::shipped::SHIPPED.iter();
    let fault = shipped.find(|shipped| shipped.name == "lockgate:fault");
    fault.unwrap().bytes
}

/// The same with other bytes: a custom section behind it.
pub fn other() -> Vec<u8> {
    [component(), b"\x00\x06\x04note\x07"].concat()
}

pub fn openssl(arguments: &[&str], folder: &Path) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// The kinds of keys that there are.
#[derive(Clone, Copy)]
pub enum Kind {
    Ed25519,
    P256,
}

/// A pair `NAME.key` and `NAME.pub` in the folder.
pub fn key(folder: &Path, name: &str, kind: Kind) {
    let (private, public) = (format!("{name}.key"), format!("{name}.pub"));
    let kind: &[&str] = match kind {
        Kind::Ed25519 => &["-algorithm", "ed25519"],
        Kind::P256 => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    };
    openssl(&[&["genpkey", "-out", &private], kind].concat(), folder);
    openssl(
        &["pkey", "-in", &private, "-pubout", "-out", &public],
        folder,
    );
}

/// A signature as the kind of the key has it.
pub fn sign(folder: &Path, name: &str, kind: Kind, bytes: &[u8]) -> Vec<u8> {
    let private = format!("{name}.key");
    fs::write(folder.join("message"), bytes).unwrap();
    match kind {
        Kind::Ed25519 => openssl(
            &[
                "pkeyutl",
                "-sign",
                "-rawin",
                "-inkey",
                &private,
                "-in",
                "message",
                "-out",
                "signature",
            ],
            folder,
        ),
        Kind::P256 => openssl(
            &[
                "dgst",
                "-sha256",
                "-sign",
                &private,
                "-out",
                "signature",
                "message",
            ],
            folder,
        ),
    }
    fs::read(folder.join("signature")).unwrap()
}

/// A folder with the keys `release`, `ops` and `stranger`, of which the first two
/// are trusted.
pub fn with_keys() -> PathBuf {
    let folder = Proxy::folder();
    key(&folder, "release", Kind::Ed25519);
    key(&folder, "ops", Kind::P256);
    key(&folder, "stranger", Kind::P256);
    folder
}

pub const TRUST: &str =
    "trust: [{ name: release, file: release.pub }, { name: ops, file: ops.pub }]\n";

/// Every request is answered 418 by a filter that is got as `rest` says.
pub fn yaml(folder: &Path, rest: &str) -> String {
    let cache = folder.join("cache");
    format!(
        "cache_dir: '{}'\nadmin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', filters: [mine] }}]\n\
         filters:\n  mine:\n    config: {{ abort: {{ status: 418, percent: 100 }} }}\n{rest}{TRUST}",
        cache.display()
    )
}

pub fn of_file(folder: &Path, more: &str) -> String {
    yaml(folder, &format!("    component: ./mine.wasm\n{more}"))
}

/// What `check` says of a configuration.
pub fn check(folder: &Path, yaml: &str) -> (bool, String) {
    let path = folder.join("lockgate.yaml");
    fs::write(&path, support::whole(yaml)).unwrap();
    let output = run(&["check", path.to_str().unwrap()]);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

pub fn good(folder: &Path, yaml: &str) {
    let (is_good, told) = check(folder, yaml);
    assert!(is_good, "{told}");
}

pub fn refused(folder: &Path, yaml: &str, why: &str) {
    let (is_good, told) = check(folder, yaml);
    assert!(!is_good && told.contains(why), "wanted `{why}` in {told}");
    assert!(
        told.contains("wanted a signature of it by a key that is trusted for it"),
        "{told}"
    );
    let errors = told.lines().filter(|line| line.starts_with("error: "));
    assert_eq!(errors.count(), 1, "{told}");
}
