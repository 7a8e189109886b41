//! What every command prints and ends with.

use std::io::{ErrorKind, Write};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Good,
    /// The input was bad; the message has been printed.
    BadInput,
    Failed,
}

/// Prints a line for people or scripts; a reader that has gone away is no
/// failure.
pub fn print(line: &str) -> anyhow::Result<Exit> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Exit::Good),
    }
}

/// Prints one JSON document.
pub fn print_json(value: &serde_json::Value) -> anyhow::Result<Exit> {
    print(&serde_json::to_string_pretty(value)?)
}
