//! `lockgate filter build`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::inspect::listed;
use crate::console::{Exit, print};
use crate::control::reload::default_cache_dir;
use crate::digest::Digest;
use crate::filter::{EngineOptions, FilterEngine, Pace};
use crate::project::{BuildError, Language, Project, WORLD};

#[derive(Args)]
pub struct Options {
    /// The folder of the project.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// What it is written in, where its files do not tell.
    #[arg(long, value_enum)]
    lang: Option<Language>,
    /// The world in `wit/` that it is for. Not for Rust, where a component imports
    /// what it uses.
    #[arg(long, default_value = WORLD)]
    world: String,
}

pub fn build(options: &Options) -> anyhow::Result<Exit> {
    let folder = match options.dir.canonicalize() {
        Ok(folder) => folder,
        Err(error) => return refused(&format!("`{}`: {error}", options.dir.display())),
    };
    let language = match options.lang.map_or_else(|| Language::of(&folder), Ok) {
        Ok(language) => language,
        Err(message) => return refused(&message),
    };
    let project = Project {
        folder: &folder,
        language,
        world: &options.world,
    };
    let component = match project.build() {
        Ok(component) => component,
        Err(BuildError::Io(message)) => anyhow::bail!(message),
        Err(error) => return refused(&error.to_string()),
    };
    finish(&folder, &component)
}

/// Only what the proxy would load is put in place.
fn finish(folder: &Path, component: &[u8]) -> anyhow::Result<Exit> {
    let engine = FilterEngine::start(EngineOptions {
        // So that whoever runs it next need not wait for the compiler again.
        cache_dir: default_cache_dir(),
        ..EngineOptions::default()
    })?;
    let module = match engine.load(Digest::of(component), component, Pace::Full) {
        Ok(module) => module,
        Err(error) => return refused(&format!("the component {error}")),
    };
    let path = folder.join(file_name(folder));
    put(&path, component)?;
    print(&format!(
        "built     {}\nsize      {} bytes\ndigest    {}\nimports   {}",
        path.display(),
        module.size(),
        module.digest(),
        listed(module.imports()),
    ))
}

fn file_name(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_else(|| "filter".as_ref());
    format!("{}.wasm", name.to_string_lossy())
}

/// Written aside, so that a proxy that watches it never reads half of it.
fn put(path: &Path, component: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("wasm.new");
    fs::write(&aside, component)?;
    fs::rename(aside, path)
}

fn refused(message: &str) -> anyhow::Result<Exit> {
    eprintln!("{message}");
    Ok(Exit::BadInput)
}
