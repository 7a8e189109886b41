//! Projects of filters: what `lockgate filter new` writes and `filter build` makes
//! a component of, in each language.
//!
//! Takes: a name or a folder. Gives: files, or the bytes of a component, or what is
//! missing and how to get it. A language's own tools do the work, with their output
//! shown; only what turns a C program into a component happens in here.
//! Must never: install anything, write over what is there, or run a guest.

mod c;
mod component;
mod js;
mod language;
mod name;
mod python;
mod rust;
mod template;
mod tool;

use std::path::{Path, PathBuf};

pub use language::Language;
pub use name::{BadName, ProjectName};
pub use template::{Example, Sdk, write};

/// The world that a project is built for, when it is not told another.
pub const WORLD: &str = "filter";

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A tool is not there.
    #[error("missing: {what}\nget it: {get}")]
    Missing { what: String, get: String },
    /// A tool ran and did not like what it was given. It has said why.
    #[error("`{0}` failed")]
    Failed(String),
    /// What is in the folder cannot be built.
    #[error("{0}")]
    BadProject(String),
    #[error("{0}")]
    Io(String),
}

/// What is built, and how.
pub struct Project<'a> {
    /// Its folder.
    pub folder: &'a Path,
    pub language: Language,
    /// The world of `wit/` that the component is for. Rust's is always the SDK's.
    pub world: &'a str,
}

impl Project<'_> {
    /// Runs the tools of the language, and gives the component.
    pub fn build(&self) -> Result<Vec<u8>, BuildError> {
        match self.language {
            Language::Rust => rust::build(self.folder),
            Language::C => c::build(self.folder, self.world),
            Language::Python => python::build(self.folder, self.world),
            Language::Js => js::build(self.folder, self.world),
        }
    }
}

/// What the tools leave on the way, under the project's folder.
const BUILD_DIR: &str = "build";

/// The folder for what the tools write.
fn build_dir(folder: &Path) -> Result<PathBuf, BuildError> {
    let path = folder.join(BUILD_DIR);
    std::fs::create_dir_all(&path).map_err(|error| io(&path, &error))?;
    Ok(path)
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(|error| io(path, &error))
}

fn io(path: &Path, error: &std::io::Error) -> BuildError {
    BuildError::Io(format!("`{}`: {error}", path.display()))
}
