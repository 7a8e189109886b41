//! Facts about the process as a whole.

use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use tracing_appender::non_blocking::ErrorCounter;

use super::counter::{Counter, Gauge};
use super::overload::OverloadStats;

/// Written by the control thread, but where another is named.
#[derive(Debug)]
pub struct ProcessStats {
    pub reloads_ok: Counter,
    pub reloads_refused: Counter,
    /// The number of the newest generation.
    pub generation: Gauge,
    /// Generations that still have exchanges, the newest included.
    pub live_generations: Gauge,
    /// Lines of the access log that could not be written. While its target is
    /// being changed it has two writers, the threads of the old and the new.
    pub access_log_lost: AtomicU64,
    pub overload: OverloadStats,
    /// Of the log of the process, where it has one.
    log_lost: OnceLock<ErrorCounter>,
    started: SystemTime,
}

impl Default for ProcessStats {
    fn default() -> Self {
        Self {
            reloads_ok: Counter::default(),
            reloads_refused: Counter::default(),
            generation: Gauge::default(),
            live_generations: Gauge::default(),
            access_log_lost: AtomicU64::new(0),
            overload: OverloadStats::default(),
            log_lost: OnceLock::new(),
            started: SystemTime::now(),
        }
    }
}

impl ProcessStats {
    /// Where the log counts the lines that it loses. The first is the one that counts.
    pub fn count_lost(&self, lost: ErrorCounter) {
        self.log_lost.get_or_init(|| lost);
    }

    pub fn log_lost(&self) -> Option<u64> {
        let lost = self.log_lost.get()?;
        Some(lost.dropped_lines() as u64)
    }

    /// When the process began to count, since 1970.
    pub fn start_time(&self) -> Duration {
        self.started.duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// Bytes of memory that are really there, where the system tells.
pub fn resident_memory() -> Option<u64> {
    resident_of(&fs::read_to_string("/proc/self/status").ok()?)
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// File descriptors in use, where the system tells. Kernels since 6.2 do so at once; with
/// others they are counted, without the one that this takes.
pub fn open_descriptors() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => {
            let count = fs::read_dir("/proc/self/fd").ok()?.count();
            u64::try_from(count).ok()?.checked_sub(1)
        }
        count => Some(count),
    }
}

/// How many there may be; `None` without a limit.
pub fn max_descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_status_file() {
        check("Name:\tx\nVmRSS:\t    1234 kB\n", Some(1_263_616));
        check("VmRSS:\t1 MB\n", None);
        check("VmRSS:\t18446744073709551615 kB\n", None);
        check("", None);
    }

    fn check(status: &str, expected: Option<u64>) {
        assert_eq!(resident_of(status), expected, "{status:?}");
    }
}
