//! What the job of one configuration did. The thread of jobs alone writes.

use std::time::Duration;

use super::counter::{Counter, Gauge};
use super::filter::FAULTS;

#[derive(Debug, Default)]
pub struct JobStats {
    pub runs: Counter,
    /// By the index in [`FAULTS`].
    faults: [Counter; FAULTS.len()],
    cpu_nanoseconds: Counter,
    /// Seconds since 1970; 0 before there was one.
    pub last_success: Gauge,
}

impl JobStats {
    /// Runs that failed with the fault of this index in [`FAULTS`].
    pub fn faults(&self, fault: usize) -> &Counter {
        &self.faults[fault]
    }

    /// Notes what one run used.
    pub fn used(&self, cpu: Duration) {
        let nanoseconds = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        self.cpu_nanoseconds.add(nanoseconds);
    }

    /// CPU time of all runs.
    pub fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanoseconds.get())
    }
}
