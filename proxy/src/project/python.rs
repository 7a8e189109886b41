//! Python: componentize-py puts the interpreter and the program into a component.

use std::path::Path;
use std::process::Command;

use super::tool::{pip_install, python_with, run, works};
use super::{BuildError, build_dir, read};

const TOOL: &str = "componentize-py";
pub(super) const PACKAGE: &str = "componentize-py==0.25.1";
/// What its script does.
const START: &str = "import sys; from componentize_py import script; sys.exit(script())";

pub(super) fn build(folder: &Path, world: &str) -> Result<Vec<u8>, BuildError> {
    let mut command = tool(folder)?;
    let component = build_dir(folder)?.join("component.wasm");
    command
        .args(["--quiet", "--wit-path", "wit", "--world", world])
        // The interpreter asks WASI for things that no filter has.
        .args(["componentize", "--stub-wasi", "app", "--output"])
        .arg(&component)
        .current_dir(folder);
    run(&mut command, TOOL)?;
    read(&component)
}

fn tool(folder: &Path) -> Result<Command, BuildError> {
    if let Some(python) = python_with("componentize_py", folder) {
        let mut command = Command::new(python);
        command.args(["-c", START]);
        return Ok(command);
    }
    if works(Command::new(TOOL).arg("--version")) {
        return Ok(Command::new(TOOL));
    }
    Err(BuildError::Missing {
        what: format!(
            "`{TOOL}`, which makes components of Python: no Python that was looked at has it, \
             and it is not on PATH"
        ),
        get: pip_install(PACKAGE),
    })
}
