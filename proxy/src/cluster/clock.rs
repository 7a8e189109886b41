//! Milliseconds since the process began to count: small enough for an atomic
//! that every worker may read.

use std::sync::LazyLock;

use tokio::time::Instant;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Never zero, so that zero can stand for "never".
pub fn milliseconds(at: Instant) -> u64 {
    let since = at.saturating_duration_since(*START).as_millis();
    u64::try_from(since).unwrap_or(u64::MAX).max(1)
}
