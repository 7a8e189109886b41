//! How much of the processor a shadow may use: a bucket that fills with its share of
//! the time that passes.

use std::time::{Duration, Instant};

/// The bucket holds what is due in so long.
const DEPTH: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Share {
    /// Of one processor.
    percent: u8,
    /// What is left, in time of the processor; less than nothing after much at once.
    left_nanoseconds: i64,
    since: Instant,
}

impl Share {
    /// Full at first.
    pub fn new(percent: u8, now: Instant) -> Self {
        Self {
            percent,
            left_nanoseconds: nanoseconds(DEPTH) / 100 * i64::from(percent),
            since: now,
        }
    }

    /// How long it has to rest after so much more, if it has used too much.
    pub fn spend(&mut self, used: Duration, now: Instant) -> Option<Duration> {
        let percent = i64::from(self.percent);
        let passed = now.saturating_duration_since(self.since);
        let due = nanoseconds(passed.min(DEPTH)) / 100 * percent;
        let full = nanoseconds(DEPTH) / 100 * percent;
        let left = (self.left_nanoseconds + due).min(full);
        self.left_nanoseconds = left.saturating_sub(nanoseconds(used));
        self.since = now;
        let missing = u64::try_from(-self.left_nanoseconds).ok()?;
        (missing > 0).then(|| Duration::from_nanos(missing) * 100 / u32::from(self.percent))
    }
}

/// Saturates after 292 years.
fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn it_rests_as_long_as_it_was_over_its_share() {
        let began = Instant::now();
        let mut share = Share::new(5, began);
        // 5 % of 5 s at once, and nothing more.
        assert_eq!(share.spend(250 * MILLISECOND, began), None);
        assert_eq!(share.spend(MILLISECOND, began), Some(20 * MILLISECOND));
        let later = began + 20 * MILLISECOND;
        assert_eq!(share.spend(Duration::ZERO, later), None);
        assert_eq!(share.spend(MILLISECOND, later), Some(20 * MILLISECOND));
    }

    #[test]
    fn it_saves_no_more_than_some_seconds_of_it() {
        let began = Instant::now();
        let mut share = Share::new(10, began);
        let later = began + Duration::from_secs(3600);
        assert_eq!(share.spend(500 * MILLISECOND, later), None);
        assert!(share.spend(MILLISECOND, later).is_some());
    }
}
