//! Time since the process began to count; in milliseconds it is small enough for an atomic
//! that every worker may read.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What passed since the process began to count.
pub fn since_start(at: Instant) -> Duration {
    at.saturating_duration_since(*START)
}

/// Never zero, so that zero can stand for "never".
pub fn milliseconds(at: Instant) -> u64 {
    let since = since_start(at).as_millis();
    u64::try_from(since).unwrap_or(u64::MAX).max(1)
}
