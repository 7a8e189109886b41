//! JavaScript: the project's own `build.mjs` runs componentize-js, which puts the
//! engine and the program into a component.

use std::path::Path;
use std::process::Command;

use super::tool::{run, works};
use super::{BuildError, build_dir, read};

const PACKAGE: &str = "node_modules/@bytecodealliance/componentize-js";

pub(super) fn build(folder: &Path, world: &str) -> Result<Vec<u8>, BuildError> {
    require_tools(folder)?;
    let component = build_dir(folder)?.join("component.wasm");
    let mut command = Command::new("node");
    command
        .args(["build.mjs", world])
        .arg(&component)
        .current_dir(folder);
    run(&mut command, "node build.mjs")?;
    read(&component)
}

fn require_tools(folder: &Path) -> Result<(), BuildError> {
    if !works(Command::new("node").arg("--version")) {
        return Err(BuildError::Missing {
            what: "`node`, Node.js of version 20 or newer".to_owned(),
            get: "https://nodejs.org, or on Debian: apt-get install nodejs npm".to_owned(),
        });
    }
    if !folder.join(PACKAGE).is_dir() {
        return Err(BuildError::Missing {
            what: format!("`{PACKAGE}`"),
            get: format!("cd {} && npm install --ignore-scripts", folder.display()),
        });
    }
    Ok(())
}
