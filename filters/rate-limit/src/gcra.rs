//! The Generic Cell Rate Algorithm in its virtual scheduling form: ITU-T
//! Recommendation I.371, Annex A; ATM Forum, Traffic Management Specification 4.0
//! (af-tm-0056.000).
//!
//! All that is kept of a client is one time, the theoretical arrival time of its
//! next request (TAT). A request conforms when it is not earlier than that by more
//! than a tolerance, and moves it on by an interval. Requests that do not conform
//! change nothing. So, at any time, no more than `burst` pass at once, and in the
//! long run one in each interval.
//!
//! Times are nanoseconds since 1970 and end in the year 2554, where they stay.

use std::time::Duration;

/// Shorter intervals would be rounded by more than a part in a thousand.
const SHORTEST_INTERVAL: u64 = 1_000;

/// No burst needs longer than this to come back: 366 days.
const LONGEST_DEBT: u64 = 366 * 24 * 3600 * 1_000_000_000;

/// A TAT that is further ahead than any request can have moved it was left before
/// the clock was set back. The clocks of two workers differ by far less than this.
const CLOCK_SLACK: u64 = 1_000_000_000;

/// What conforms. At rest it is whole: `burst` requests may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gcra {
    /// Between two requests of a steady stream, in nanoseconds. Never 0.
    interval: u64,
    /// By how much a request may be early, in nanoseconds. Never more than
    /// `LONGEST_DEBT` together with the interval.
    tolerance: u64,
}

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Conforms {
        /// To be kept.
        tat: u64,
        /// How many more would conform now.
        left: u64,
        /// Until it is whole again, and what is kept says nothing any more.
        whole_after: Duration,
    },
    Exceeds {
        /// Until a request conforms, if none comes in between.
        after: Duration,
    },
}

/// Why there is no such limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutOfRange {
    /// Nothing ever, or a burst of nothing.
    Nothing,
    /// More than a request in a microsecond.
    TooFast,
    /// A burst that takes longer than a year to come back.
    TooLong,
}

impl Gcra {
    /// So many requests in such a time, and so many of them at once.
    pub fn new(rate: u64, per: Duration, burst: u64) -> Result<Self, OutOfRange> {
        let per = u64::try_from(per.as_nanos()).map_err(|_| OutOfRange::TooLong)?;
        if rate == 0 || per == 0 || burst == 0 {
            return Err(OutOfRange::Nothing);
        }
        let interval = per / rate;
        if interval < SHORTEST_INTERVAL {
            return Err(OutOfRange::TooFast);
        }
        match interval.checked_mul(burst) {
            Some(debt) if debt <= LONGEST_DEBT => Ok(Gcra {
                interval,
                tolerance: debt - interval,
            }),
            _ => Err(OutOfRange::TooLong),
        }
    }

    /// Decide about a request that comes `now`, by the TAT that was kept.
    pub fn decide(self, tat: Option<u64>, now: u64) -> Decision {
        let latest_conforming = now.saturating_add(self.tolerance);
        let latest_left = latest_conforming.saturating_add(self.interval);
        let tat = match tat {
            // As if it had been used up just now: it may go on at its rate.
            Some(tat) if tat > latest_left.saturating_add(CLOCK_SLACK) => latest_conforming,
            Some(tat) => tat.max(now),
            None => now,
        };
        if tat > latest_conforming {
            return Decision::Exceeds {
                after: Duration::from_nanos(tat - latest_conforming),
            };
        }
        let tat = tat.saturating_add(self.interval);
        Decision::Conforms {
            tat,
            left: (latest_left - tat) / self.interval,
            whole_after: Duration::from_nanos(tat - now),
        }
    }

    /// Until a request conforms, after one has left this TAT.
    pub fn wait(self, tat: u64, now: u64) -> Duration {
        Duration::from_nanos(tat.saturating_sub(now.saturating_add(self.tolerance)))
    }

    /// The TAT as if one request fewer had conformed.
    pub fn without_one(self, tat: u64) -> u64 {
        tat.saturating_sub(self.interval)
    }

    /// For how long at most what is kept says something.
    pub fn longest(self) -> Duration {
        Duration::from_nanos(self.tolerance + self.interval)
    }

    /// The same for equal limits only.
    pub fn name(self) -> String {
        format!("{} {}", self.interval, self.tolerance)
    }
}

#[cfg(test)]
mod tests;
