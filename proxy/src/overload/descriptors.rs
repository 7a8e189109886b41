//! File descriptors: how many there are and may be.

use std::fs::File;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::stats::process::{max_descriptors, open_descriptors};

/// Lets the process have as many as its hard limit allows: the soft one is there for
/// programs that use `select`.
pub fn raise_limit() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// How many are in use, in thousandths of the limit; 0 where the system does not tell.
/// Before Linux 6.2 it takes one to count them, and where there is none they are all used.
pub fn used() -> u64 {
    match (open_descriptors(), max_descriptors()) {
        (Some(open), Some(max)) => open.saturating_mul(1000) / max.max(1),
        _ => match File::open("/proc/self/statm") {
            Err(error) if is_exhaustion(&error) => 1000,
            _ => 0,
        },
    }
}

/// Whether something failed because there are none left, of the process or of the system.
pub fn is_exhaustion(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(libc::EMFILE) || code == Some(libc::ENFILE)
}
