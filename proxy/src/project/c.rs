//! C: the contract's bindings are made in here, a compiler for WebAssembly does the
//! rest, and what comes of it is made a component in here again.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_bindgen_c::Opts;
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::{Resolve, WorldId};

use super::tool::{pip_install, python_with, run, works};
use super::{BuildError, WORLD, build_dir, component, io, read};

/// What Debian calls the parts of clang and the C library that are needed.
const DEBIAN: &str = "apt-get install clang lld wasi-libc libclang-rt-dev-wasm32";
pub(super) const ZIG: &str = "ziglang==0.17.0";

pub(super) fn build(folder: &Path, world: &str) -> Result<Vec<u8>, BuildError> {
    let compiler = Compiler::find(folder)?;
    let build = build_dir(folder)?;
    let bindings = write_bindings(folder, world, &build)?;
    let core = build.join("core.wasm");
    let mut command = compiler.command();
    command
        .args(["-mexec-model=reactor", "-Os", "-s"])
        .args(flags())
        .arg("-I")
        .arg(&build)
        .args(sources(folder)?)
        .args(bindings)
        .arg("-o")
        .arg(&core);
    run(&mut command, compiler.name())?;
    component::of_core(&read(&core)?)
}

/// A C compiler that can make core modules.
enum Compiler {
    /// That of the `ziglang` package, by this Python.
    ZigOfPython(PathBuf),
    Zig,
    Clang,
}

impl Compiler {
    fn find(folder: &Path) -> Result<Self, BuildError> {
        if let Some(python) = python_with("ziglang", folder) {
            return Ok(Self::ZigOfPython(python));
        }
        if works(Command::new("zig").arg("version")) {
            return Ok(Self::Zig);
        }
        // The C library is a package of its own, and may not be there.
        let mut reads_library = Self::Clang.command();
        reads_library.args(["-E", "-include", "stdlib.h", "-x", "c", "/dev/null"]);
        if works(&mut reads_library) && works(Command::new("wasm-ld").arg("--version")) {
            return Ok(Self::Clang);
        }
        Err(BuildError::Missing {
            what: "a C compiler for WebAssembly: no Python that was looked at has `ziglang`, \
                   there is no `zig`, and no `clang` with `wasm-ld` and a C library for WASI"
                .to_owned(),
            get: format!("{}\nor, on Debian: {DEBIAN}", pip_install(ZIG)),
        })
    }

    fn command(&self) -> Command {
        let mut command = match self {
            Self::ZigOfPython(python) => {
                let mut command = Command::new(python);
                command.args(["-m", "ziglang", "cc"]);
                command
            }
            Self::Zig => {
                let mut command = Command::new("zig");
                command.arg("cc");
                command
            }
            Self::Clang => Command::new("clang"),
        };
        command.arg("--target=wasm32-wasi");
        command
    }

    fn name(&self) -> &'static str {
        match self {
            Self::ZigOfPython(_) | Self::Zig => "zig cc",
            Self::Clang => "clang",
        }
    }
}

fn flags() -> Vec<String> {
    let flags = env::var("CFLAGS").unwrap_or_default();
    flags.split_whitespace().map(str::to_owned).collect()
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let entries = fs::read_dir(folder).map_err(|error| io(folder, &error))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut sources: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    sources.sort();
    Ok(sources)
}

/// Writes the contract in C, and gives what is to be compiled and linked of it.
fn write_bindings(folder: &Path, world: &str, build: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let files = bindings(&folder.join("wit"), world).map_err(|error| {
        // The whole chain: its top often says only which file it is about.
        BuildError::BadProject(format!("cannot read the contract in `wit`: {error:#}"))
    })?;
    let mut used = Vec::new();
    for (name, bytes) in files.iter() {
        let path = build.join(name);
        fs::write(&path, bytes).map_err(|error| io(&path, &error))?;
        if path.extension().is_some_and(|extension| extension != "h") {
            used.push(path);
        }
    }
    Ok(used)
}

fn bindings(wit: &Path, world: &str) -> anyhow::Result<Files> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    // Files and types are named after the world: one that is built for another includes
    // what it did before, and what an earlier build left is written over.
    resolve.worlds[world].name = WORLD.to_owned();
    let options = Opts {
        rename: short_names(&resolve, world),
        ..Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    Ok(files)
}

/// The contract's interfaces by their own names. In full a function of the filter
/// would be called `exports_lockgate_filter_http_filter_method_filter_on_request`.
fn short_names(resolve: &Resolve, world: WorldId) -> Vec<(String, String)> {
    let world = &resolve.worlds[world];
    let items = world.imports.keys().chain(world.exports.keys());
    let names = items.map(|key| resolve.name_world_key(key));
    names
        .filter_map(|name| {
            let (interface, _) = name.strip_prefix("lockgate:filter/")?.split_once('@')?;
            let short = interface.replace('-', "_");
            Some((name, short))
        })
        .collect()
}
