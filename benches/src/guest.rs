//! The component of `filter-guest/`.

use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

/// What the cargo that runs a bench tells of its own build.
const OUTER: [&str; 6] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_TARGET",
];

/// Builds it where that is needed, and tells where it is. Cargo's own lock keeps
/// two benches from building it at once.
pub fn component() -> PathBuf {
    build("")
}

/// The same that imports `calls` or `shared`.
pub fn component_with(feature: &str) -> PathBuf {
    build(feature)
}

fn build(feature: &str) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("filter-guest");
    let target_dir = target_dir().join(feature);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--locked", "--target", TARGET]);
    cargo.arg("--target-dir").arg(&target_dir);
    cargo.args(["--features", feature]);
    cargo.current_dir(package);
    OUTER.iter().for_each(|name| {
        cargo.env_remove(name);
    });
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "the guest does not build");
    let release = target_dir.join(TARGET).join("release");
    release.join("bench_filter_guest.wasm")
}

/// `target/benches-guest`, which the cargo that runs this has not locked.
fn target_dir() -> PathBuf {
    let program = std::env::current_exe().expect("a bench is a file");
    let target = program.ancestors().nth(3);
    let target = target.expect("a bench lies in target/PROFILE/deps");
    target.join("benches-guest")
}
