//! Finding the tools of a language, and running them.

use std::env;
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::process::{Command, Stdio};

use super::BuildError;

/// Runs a tool. What it says goes to standard error, which is for people.
pub(super) fn run(command: &mut Command, name: &str) -> Result<(), BuildError> {
    let status = command.stdin(Stdio::null()).stdout(io::stderr()).status();
    let status = status.map_err(|error| BuildError::Io(format!("cannot run `{name}`: {error}")))?;
    match status.success() {
        true => Ok(()),
        false => Err(BuildError::Failed(name.to_owned())),
    }
}

/// Whether this can be run and ends well. Nothing of it is shown.
pub(super) fn works(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// The Python that has a module: that of `PYTHON` and no other, where this is set;
/// else that of the active environment, of the project's `.venv`, or of `PATH`.
pub(super) fn python_with(module: &str, folder: &Path) -> Option<PathBuf> {
    let import = format!("import {module}");
    let has_it = |python: &PathBuf| works(Command::new(python).args(["-c", &import]));
    pythons(folder).into_iter().find(has_it)
}

fn pythons(folder: &Path) -> Vec<PathBuf> {
    if let Some(python) = named_python() {
        return vec![from_anywhere(python)];
    }
    let active = env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let own = folder.join(".venv");
    let environments = active.into_iter().chain([own]);
    environments
        .map(|environment| environment.join("bin/python"))
        .chain(["python3".into(), "python".into()])
        .collect()
}

/// Tools run in the project's folder, and a path is meant from this one.
fn from_anywhere(program: PathBuf) -> PathBuf {
    match program.components().count() > 1 {
        true => absolute(&program).unwrap_or(program),
        false => program,
    }
}

fn named_python() -> Option<PathBuf> {
    let python = env::var_os("PYTHON").filter(|python| !python.is_empty());
    python.map(PathBuf::from)
}

/// How to get a package of PyPI to where it is looked for.
pub(super) fn pip_install(package: &str) -> String {
    match named_python() {
        Some(python) => format!("{} -m pip install {package}", python.display()),
        None => format!("python3 -m venv .venv && .venv/bin/pip install {package}"),
    }
}
