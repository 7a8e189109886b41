//! Rust: cargo makes the component by itself.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::tool::{run, works};
use super::{BuildError, io, read};

const TARGET: &str = "wasm32-wasip2";

pub(super) fn build(folder: &Path) -> Result<Vec<u8>, BuildError> {
    require_tools(folder)?;
    let mut child = Command::new("cargo")
        .args(["build", "--release", "--target", TARGET])
        // What it made, one JSON document a line; messages still go to people.
        .arg("--message-format=json-render-diagnostics")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| BuildError::Io(format!("cannot run `cargo`: {error}")))?;
    let made = components(&mut child, &folder.join("Cargo.toml"));
    let status = child.wait().map_err(|error| io(folder, &error))?;
    if !status.success() {
        return Err(BuildError::Failed("cargo build".to_owned()));
    }
    match made.as_slice() {
        [component] => read(component),
        [] => Err(BuildError::BadProject(
            "cargo made no component: `Cargo.toml` wants `crate-type = [\"cdylib\"]` under `[lib]`"
                .to_owned(),
        )),
        _ => Err(BuildError::BadProject(
            "cargo made more than one component: one project is one filter".to_owned(),
        )),
    }
}

fn require_tools(folder: &Path) -> Result<(), BuildError> {
    let version = || {
        let mut command = Command::new("cargo");
        command.arg("--version").current_dir(folder);
        command
    };
    if !works(&mut version()) {
        return Err(match run(&mut version(), "cargo --version") {
            // It is there, and has said why: a rustup without a toolchain, for one.
            Err(BuildError::Failed(command)) => BuildError::Failed(command),
            _ => BuildError::Missing {
                what: "`cargo`, Rust's build tool".to_owned(),
                get: "rustup, from https://rustup.rs".to_owned(),
            },
        });
    }
    if !has_target(folder) {
        return Err(BuildError::Missing {
            what: format!("the compiler's target {TARGET}"),
            get: format!("rustup target add {TARGET}"),
        });
    }
    Ok(())
}

/// Whether the compiler has a standard library for the target.
fn has_target(folder: &Path) -> bool {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    output.is_ok_and(|output| {
        let libraries = String::from_utf8_lossy(&output.stdout);
        output.status.success() && Path::new(libraries.trim()).is_dir()
    })
}

/// The components that cargo says it made of this package.
fn components(child: &mut Child, manifest: &Path) -> Vec<PathBuf> {
    let Some(output) = child.stdout.take() else {
        return Vec::new();
    };
    let manifest = manifest.canonicalize().ok();
    let lines = BufReader::new(output).lines().map_while(Result::ok);
    let messages = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let of_this = messages.filter(|message| {
        let path = message["manifest_path"].as_str().map(PathBuf::from);
        path.and_then(|path| path.canonicalize().ok()) == manifest
    });
    of_this
        .flat_map(|message| {
            let files = message["filenames"].as_array().cloned().unwrap_or_default();
            files.into_iter()
        })
        .filter_map(|file| Some(PathBuf::from(file.as_str()?)))
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "wasm")
        })
        .collect()
}
