//! The secrets of connections in a file, for those who look for a fault.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustls::KeyLog;

/// In the form that NSS began with and Wireshark reads. Only the process's user may
/// read it.
#[derive(Debug)]
pub struct KeyLogFile(File);

impl KeyLogFile {
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.create(true).append(true).mode(0o600);
        options.open(path).map(Self)
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let line = format!("{label} {} {}\n", Hex(client_random), Hex(secret));
        // One write of what is appended, so that workers do not mix their lines.
        if let Err(error) = (&self.0).write_all(line.as_bytes()) {
            tracing::debug!(%error, "the key log takes nothing");
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
