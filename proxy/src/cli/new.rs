//! `lockgate filter new`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf, absolute};

use clap::Args;

use crate::console::{Exit, print};
use crate::project::{self, Example, Language, ProjectName, Sdk};

#[derive(Args)]
pub struct Options {
    /// The filter's name, such as `header-check`: also that of its folder.
    name: String,
    /// What it is written in.
    #[arg(long, value_enum)]
    lang: Language,
    /// What it begins as.
    #[arg(long, value_enum, default_value_t = Example::HeaderCheck)]
    example: Example,
    /// Rust: use the SDK in this folder (`sdk/rust` of a checkout of Lockgate)
    /// instead of a copy within the project.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

pub fn new(options: &Options) -> anyhow::Result<Exit> {
    match write(options) {
        Ok(next) => print(&next),
        Err(message) => {
            eprintln!("{message}");
            Ok(Exit::BadInput)
        }
    }
}

/// Writes the project, and tells what to do next.
fn write(options: &Options) -> Result<String, String> {
    let name = ProjectName::parse(&options.name).map_err(|error| error.to_string())?;
    let sdk = match &options.sdk {
        None => Sdk::Copy,
        Some(folder) => at(folder)?,
    };
    let folder = PathBuf::from(name.to_string());
    let written = project::write(&folder, &name, options.lang, options.example, &sdk);
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            format!("`{name}` is here already, and is not written over: choose another name")
        }
        _ => format!("cannot write `{name}`: {error}"),
    })?;
    Ok(format!(
        "written: {name}\nnext:\n  cd {name}\n  {}\n  lockgate filter build\n  \
         lockgate filter test cases.yaml",
        options.lang.first_command()
    ))
}

fn at(folder: &Path) -> Result<Sdk, String> {
    if !folder.join("Cargo.toml").is_file() {
        return Err(format!(
            "`{}` is not the SDK: it has no `Cargo.toml`",
            folder.display()
        ));
    }
    let folder = absolute(folder).map_err(|error| error.to_string())?;
    Ok(Sdk::At(folder))
}
