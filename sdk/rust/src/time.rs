//! The wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::host;

/// Now. In tests, what `testing::Harness::set_now`
/// says.
pub fn now() -> SystemTime {
    UNIX_EPOCH + since_epoch()
}

/// Time since 1970-01-01 UTC.
pub fn since_epoch() -> Duration {
    Duration::from_nanos(host::now())
}
