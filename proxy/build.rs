//! Builds the shipped filters, which are ordinary guests of this workspace, and
//! writes `shipped.rs`: their names and the bytes of their components. Beside it,
//! `templates.rs`: the texts that `lockgate filter new` writes.
//!
//! It adds the compiler's target for them when that is missing, and says so.
//! Who packages Lockgate sets `LOCKGATE_FILTERS_DIR` to a folder with the
//! components made beforehand; then nothing is built or added here.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

use sha2::{Digest, Sha256};

/// By what name a configuration asks for them, and the package of each.
const SHIPPED: [(&str, &str); 8] = [
    ("lockgate:router", "lockgate-router"),
    ("lockgate:auth", "lockgate-auth"),
    ("lockgate:authz", "lockgate-authz"),
    ("lockgate:mirror", "lockgate-mirror"),
    ("lockgate:fault", "lockgate-fault"),
    ("lockgate:rate-limit", "lockgate-rate-limit"),
    ("lockgate:l4-authz", "lockgate-l4-authz"),
    ("lockgate:tcp-router", "lockgate-tcp-router"),
];
const TARGET: &str = "wasm32-wasip2";
const PREBUILT: &str = "LOCKGATE_FILTERS_DIR";

/// What the guests are made of, from the workspace's root. Their tests and
/// their READMEs are not.
const SOURCES: [&str; 22] = [
    "Cargo.toml",
    "Cargo.lock",
    "filters/router/Cargo.toml",
    "filters/router/src",
    "filters/auth/Cargo.toml",
    "filters/auth/src",
    "filters/authz/Cargo.toml",
    "filters/authz/src",
    "filters/mirror/Cargo.toml",
    "filters/mirror/src",
    "filters/fault/Cargo.toml",
    "filters/fault/src",
    "filters/rate-limit/Cargo.toml",
    "filters/rate-limit/src",
    "filters/l4-authz/Cargo.toml",
    "filters/l4-authz/src",
    "filters/tcp-router/Cargo.toml",
    "filters/tcp-router/src",
    "sdk/rust/Cargo.toml",
    "sdk/rust/src",
    "sdk/rust/wit",
    "proxy/build.rs",
];

/// What the outer cargo says about the outer build, to its compiler's wrapper
/// (clippy) or to where it builds. A nested cargo that shared the target folder
/// would wait for its lock for ever.
const OUTER: [&str; 5] = [
    "RUSTFLAGS",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_TARGET",
];

fn main() {
    if let Err(message) = ship() {
        eprintln!("{message}");
        exit(1);
    }
}

fn ship() -> Result<(), String> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    println!("cargo:rerun-if-env-changed={PREBUILT}");
    let components = match env::var_os(PREBUILT) {
        Some(folder) => prebuilt(Path::new(&folder)),
        None => build(&out)?,
    };
    write(&out.join("shipped.rs"), &shipped(&components)?)?;
    write(&out.join("templates.rs"), &templates()?)
}

fn write(path: &Path, source: &str) -> Result<(), String> {
    fs::write(path, source).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// The source of `templates.rs`: what a new project is made of, and the SDK, which
/// one in Rust has a copy of.
fn templates() -> Result<String, String> {
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let sdk = package.join("../sdk/rust");
    let mut source = String::new();
    for (name, top, parts) in [
        ("TEMPLATES", package.join("templates"), [""].as_slice()),
        (
            "SDK",
            sdk,
            &["Cargo.toml", "README.md", "docs", "src", "wit"],
        ),
    ] {
        let mut files = Vec::new();
        for part in parts {
            println!("cargo:rerun-if-changed={}", top.join(part).display());
            find(&top.join(part), &mut files)?;
        }
        files.sort();
        writeln!(source, "static {name}: &[(&str, &str)] = &[").expect("it is a string");
        for file in files {
            let inside = file.strip_prefix(&top).expect("it was found in there");
            let inside = inside.display().to_string();
            writeln!(source, "    ({inside:?}, include_str!({file:?})),").expect("it is a string");
        }
        source.push_str("];\n");
    }
    Ok(source)
}

/// Every file in a folder, or the one that it is.
fn find(path: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    if !path.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    let failed = |error| format!("cannot read {}: {error}", path.display());
    for entry in fs::read_dir(path).map_err(failed)? {
        find(&entry.map_err(failed)?.path(), found)?;
    }
    Ok(())
}

/// The folder with components that somebody else has built.
fn prebuilt(folder: &Path) -> PathBuf {
    for (_, package) in SHIPPED {
        let component = component(folder, package);
        println!("cargo:rerun-if-changed={}", component.display());
    }
    folder.to_owned()
}

/// Build all of them, and tell the folder with the components.
fn build(out: &Path) -> Result<PathBuf, String> {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = manifest.parent().ok_or("the package stands at `/`")?;
    for source in SOURCES {
        println!("cargo:rerun-if-changed={}", root.join(source).display());
    }
    require_target()?;

    let target_dir = out.join("guests");
    let mut cargo = Command::new(variable("CARGO")?);
    cargo.args(["build", "--profile", "filter", "--target", TARGET]);
    cargo.args(SHIPPED.iter().flat_map(|(_, package)| ["-p", *package]));
    cargo.arg("--manifest-path").arg(root.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(&target_dir);
    OUTER.iter().for_each(|name| {
        cargo.env_remove(name);
    });
    cargo.env("CARGO_ENCODED_RUSTFLAGS", guest_flags(root));
    run(&mut cargo).map_err(|error| format!("cannot build the shipped filters: {error}"))?;
    Ok(target_dir.join(TARGET).join("filter"))
}

/// The compiler's flags for guests, in the place of those of the outer build.
/// Without the builder's paths in their panics, the same sources give the same
/// bytes wherever they are built.
fn guest_flags(root: &Path) -> String {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    let remap = |from: &Path, to| format!("--remap-path-prefix={}={to}", from.display());
    let flags = home.map(|home| remap(&home, "cargo")).into_iter();
    let flags: Vec<_> = flags.chain([remap(root, "lockgate")]).collect();
    flags.join("\x1f")
}

/// Add the target to the toolchain when it is not there.
fn require_target() -> Result<(), String> {
    if has_target()? {
        return Ok(());
    }
    println!("cargo:warning=the target {TARGET} is missing: running `rustup target add {TARGET}`");
    let added = run(Command::new("rustup").args(["target", "add", TARGET]));
    match added.and_then(|()| has_target()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(advice("rustup added it to another toolchain")),
        Err(error) => Err(advice(&error)),
    }
}

fn advice(error: &str) -> String {
    format!(
        "the shipped filters are WebAssembly and need the compiler's target {TARGET}, which is \
         missing and could not be added: {error}\n\
         Either run `rustup target add {TARGET}`, or install it as your system does it, or set \
         {PREBUILT} to a folder with the components ({}).",
        SHIPPED.map(|(_, package)| file_name(package)).join(", ")
    )
}

/// Whether the compiler has a standard library for the target.
fn has_target() -> Result<bool, String> {
    let output = Command::new(variable("RUSTC")?)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("cannot run the compiler: {error}"))?;
    let folder = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success() && Path::new(folder.trim()).is_dir())
}

/// The source of `shipped.rs`.
fn shipped(components: &Path) -> Result<String, String> {
    let mut source = String::from(
        "/// The shipped filters.\n\
         pub static SHIPPED: &[Shipped] = &[\n",
    );
    for (name, package) in SHIPPED {
        let path = component(components, package);
        let path = path
            .canonicalize()
            .map_err(|error| format!("no component at {}: {error}", path.display()))?;
        let bytes =
            fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        writeln!(
            source,
            "    Shipped {{ name: {name:?}, bytes: include_bytes!({path:?}), digest: {digest:?} }},"
        )
        .expect("writing to a string does not fail");
    }
    source.push_str("];\n");
    Ok(source)
}

fn component(folder: &Path, package: &str) -> PathBuf {
    folder.join(file_name(package))
}

fn file_name(package: &str) -> String {
    format!("{}.wasm", package.replace('-', "_"))
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .map_err(|error| format!("cannot run `{program}`: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("`{program}` failed with {status}")),
    }
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("cargo sets {name} for a build script: {error}"))
}
