// How tests get the component of this package. Included by path, because it is
// needed by unit tests and by tests over sockets.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The component, built when first asked for. Cargo's own lock keeps several
/// test programs from building it at once.
pub fn component() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(build)
}

fn build() -> Vec<u8> {
    let package = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests");
    let target = target_dir();
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--locked",
            "--target",
            "wasm32-wasip2",
        ])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(package)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_TARGET_DIR")
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the guests build");
    let component = target.join("wasm32-wasip2/release/guests.wasm");
    std::fs::read(component).expect("cargo wrote the component")
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
