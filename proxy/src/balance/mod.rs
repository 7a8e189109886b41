//! Who takes the next request, and how much may be asked of whom: the algorithms alone.
//!
//! Takes: weights, tallies, health, and time and chance as arguments. Gives: the index of an
//! endpoint, shares, verdicts. Each file has one subject and names where it comes from.
//! Must never: read a clock, draw from a generator of its own, touch a socket, or know a
//! cluster. What picks takes no lock and allocates nothing; what is built for picking (a
//! schedule, a ring, a table) is built aside and never changed.
//!
//! Time is what passed since any fixed moment. A clock that jumps back is one that stood still.

pub mod backoff;
pub mod bound;
pub mod breaker;
pub mod choices;
pub mod codel;
pub mod gradient;
pub mod hash;
pub mod health;
pub mod hedge;
pub mod limit;
pub mod locality;
pub mod maglev;
pub mod outlier;
pub mod peak_ewma;
#[cfg(test)]
mod pictures;
pub mod pressure;
pub mod quantile;
pub mod retry_budget;
pub mod ring;
pub mod shares;
pub mod silence;
#[cfg(test)]
mod simulate;
pub mod slow_start;
pub mod stride;
pub mod subsets;
pub mod tiers;

use std::time::Duration;

/// Saturates after 584 years.
fn nanoseconds(time: Duration) -> u64 {
    let whole = time.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(u64::from(time.subsec_nanos()))
}
