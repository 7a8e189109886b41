//! Peers in Python, of which `.ci/run` installs what they need.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Whether the peers can run. On CI they have to.
pub fn has(module: &str) -> bool {
    let found = python()
        .args(["-c", &format!("import {module}")])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let is_ci = std::env::var_os("CI_RUN").is_some();
    assert!(found || !is_ci, "no Python with {module}");
    if !found {
        eprintln!("NOT RUN: no Python with {module}; see proxy/tests/peers/requirements.txt");
    }
    found
}

fn python() -> Command {
    Command::new(std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned()))
}

fn script(name: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    let mut command = python();
    command.arg(path.join(name));
    command
}

/// Runs one to its end, which has to be a good one.
pub fn run(name: &str, arguments: &[&str]) {
    let status = script(name).args(arguments).status().unwrap();
    assert!(status.success(), "{name} {arguments:?}: {status}");
}

/// One that runs for as long as this is kept.
pub struct Peer {
    child: Child,
    _stdin: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Peer {
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let mut child = script(name)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            _stdin: child.stdin.take().unwrap(),
            lines: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
