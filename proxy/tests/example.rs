//! `examples/hello-header` as its README says: built by one command, run with
//! its own configuration.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use support::{Origin, Proxy};

const COMPONENT: &str = "target/wasm32-wasip2/release/hello_header.wasm";

/// The repository's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A folder with the example as somebody else would have it: outside the
/// repository's workspace and built there. Once for all tests, and cargo's own
/// lock keeps test programs apart.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let program = std::env::current_exe().unwrap();
        // The program lies in target/PROFILE/deps.
        let folder = program.ancestors().nth(2).unwrap().join("example");
        copy(&folder);
        // Nothing is fetched that the workspace did not need anyway.
        if !build(&folder, &["--offline"]) {
            assert!(build(&folder, &[]), "the example builds");
        }
        folder
    })
}

fn copy(folder: &Path) {
    let example = root().join("examples/hello-header");
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = std::fs::read_to_string(example.join("Cargo.toml")).unwrap();
    let sdk = root().join("sdk/rust");
    let here = manifest.replace("../../sdk/rust", sdk.to_str().unwrap());
    assert_ne!(here, manifest, "the example names the SDK by path");
    write_if_other(&folder.join("Cargo.toml"), here.as_bytes());
    for file in ["src/lib.rs", "lockgate.yaml"] {
        let text = std::fs::read(example.join(file)).unwrap();
        write_if_other(&folder.join(file), &text);
    }
    // Versions that are here already.
    if !folder.join("Cargo.lock").exists() {
        std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    }
}

/// What stays as it is need not be built again.
fn write_if_other(path: &Path, bytes: &[u8]) {
    if std::fs::read(path).ok().as_deref() != Some(bytes) {
        std::fs::write(path, bytes).unwrap();
    }
}

/// The command of the README.
fn build(folder: &Path, more: &[&str]) -> bool {
    Command::new(env!("CARGO"))
        .args(["build", "--release", "--target", "wasm32-wasip2"])
        .args(more)
        .arg("--target-dir")
        .arg(folder.join("target"))
        .current_dir(folder)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_BUILD_TARGET")
        .status()
        .expect("cargo runs")
        .success()
}

/// Its own configuration, with the addresses of this test.
fn running(origin: &Origin) -> (Proxy, String) {
    let yaml = std::fs::read_to_string(built().join("lockgate.yaml")).unwrap();
    let yaml = yaml
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:9000", &origin.address.to_string());
    assert!(yaml.contains(&origin.address.to_string()), "{yaml}");
    let folder = Proxy::folder();
    let component = folder.join(COMPONENT);
    std::fs::create_dir_all(component.parent().unwrap()).unwrap();
    std::fs::copy(built().join(COMPONENT), component).unwrap();
    (Proxy::start_in(folder, &yaml), yaml)
}

#[test]
fn upstream_and_client_are_greeted_and_strangers_asked() {
    let origin = Origin::saying("page");
    let (proxy, _) = running(&origin);
    let answer = proxy.ask("/", &[("x-name", "ann")]);
    assert_eq!((answer.status, answer.text().as_str()), (200, "page"));
    assert_eq!(answer.header("x-hello"), Some("hello, ann"));
    assert_eq!(origin.seen().header("x-hello"), Some("hello, ann"));

    let stranger = proxy.get("/");
    assert_eq!(
        (stranger.status, stranger.text().as_str()),
        (400, "who are you?\n")
    );
    assert!(origin.seen_now().is_none());
}

#[test]
fn an_edited_greeting_is_taken_up_while_it_runs() {
    let origin = Origin::saying("page");
    let (proxy, yaml) = running(&origin);
    proxy.edit(&yaml.replace("hello, {name}", "good day, {name}"));
    support::within("the new greeting", || {
        let answer = proxy.ask("/", &[("x-name", "ann")]);
        (answer.header("x-hello") == Some("good day, ann")).then_some(())
    });
}

#[test]
fn its_component_can_be_inspected() {
    let output = Command::new(env!("CARGO_BIN_EXE_lockgate"))
        .args(["filter", "inspect"])
        .arg(built().join(COMPONENT))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("hello-header"), "{text}");
    assert!(text.contains("greeting"), "{text}");
}
