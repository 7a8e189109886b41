// How tests get the components of these packages. Included by path, because they
// are needed by unit tests and by tests over sockets.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The guest that does what it is told, built when first asked for. Cargo's own
/// lock keeps several test programs from building it at once.
#[allow(dead_code, reason = "not every test needs all")]
pub fn component() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| build("guests"))
}

/// The one that makes calls.
#[allow(dead_code, reason = "not every test needs all")]
pub fn caller() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| build("caller"))
}

/// The one that logs what is called of it before there is an exchange, and is called
/// otherwise each time that it describes itself.
#[allow(dead_code, reason = "not every test needs all")]
pub fn fickle() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| build("fickle"))
}

/// The one that is asked about connections.
#[allow(dead_code, reason = "not every test needs all")]
pub fn gate() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| build("gate"))
}

/// The one with a job.
#[allow(dead_code, reason = "not every test needs all")]
pub fn job() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| build("job"))
}

/// The one that counts, with this digit for the form of its count and these bytes
/// behind it, which make it another version and mean nothing.
#[allow(dead_code, reason = "not every test needs all")]
pub fn handed(form: u8, salt: u8) -> Vec<u8> {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    let mut bytes = COMPONENT.get_or_init(|| build("handed")).clone();
    let marker = b"lockgate-form:";
    let places = bytes.windows(marker.len() + 1);
    let is_it = |place: &[u8]| place == b"lockgate-form:0";
    let at = places
        .into_iter()
        .position(is_it)
        .expect("the guest has its form");
    bytes[at + marker.len()] = form;
    noted(bytes, salt)
}

/// The three later versions of the shipped rate limiter, each with another form of its
/// counts. Together, because all are built to the same place.
#[allow(dead_code, reason = "not every test needs all")]
pub fn limiters() -> &'static [Vec<u8>; 3] {
    static COMPONENTS: OnceLock<[Vec<u8>; 3]> = OnceLock::new();
    let features: [&[&str]; 3] = [&[], &["second"], &["third"]];
    COMPONENTS.get_or_init(|| features.map(|features| build_with("limiter", features)))
}

/// Another version of a component, which does the same.
#[allow(dead_code, reason = "not every test needs all")]
pub fn noted(mut bytes: Vec<u8>, salt: u8) -> Vec<u8> {
    // A section of its own, `note`.
    bytes.extend_from_slice(b"\x00\x06\x04note");
    bytes.push(salt);
    bytes
}

/// The guest that is told what to do with secrets.
#[allow(dead_code, reason = "not every test needs all")]
pub fn secrets_component() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| build("secrets-guest"))
}

/// The one that is written by hand: in its request phase its table grows until it
/// may not, and then it traps.
#[allow(dead_code, reason = "not every test needs all")]
pub fn table_bomb() -> Vec<u8> {
    wat::parse_str(include_str!("table_bomb.wat")).expect("a component")
}

fn build(package: &str) -> Vec<u8> {
    build_with(package, &[])
}

fn build_with(package: &str, features: &[&str]) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests");
    let target = target_dir();
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--locked",
            "--target",
            "wasm32-wasip2",
            "--package",
            package,
            "--features",
            &features.join(","),
        ])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(folder)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_TARGET_DIR")
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the guests build");
    let component = format!("wasm32-wasip2/release/{}.wasm", package.replace('-', "_"));
    std::fs::read(target.join(component)).expect("cargo wrote the component")
}

/// Beside the folder of this test program, so never the folder that the cargo
/// running it has locked.
fn target_dir() -> PathBuf {
    let program = std::env::current_exe().expect("a test is a file");
    let profile = program
        .ancestors()
        .nth(2)
        .expect("it lies in target/PROFILE/deps");
    profile.join("guests")
}
