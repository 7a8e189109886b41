//! The `Date` of answers, written once a second and not once an answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// A worker's current `Date`.
#[derive(Debug)]
pub struct DateCache {
    second: u64,
    value: HeaderValue,
}

impl DateCache {
    pub fn new(now: SystemTime) -> Self {
        let second = second_of(now);
        Self {
            second,
            value: write(second),
        }
    }

    /// The field value for `now`, an IMF-fixdate (RFC 9110 section 5.6.7).
    pub fn at(&mut self, now: SystemTime) -> &HeaderValue {
        let second = second_of(now);
        if second != self.second {
            self.second = second;
            self.value = write(second);
        }
        &self.value
    }
}

/// Seconds since 1970, held inside the years 1970 to 9999 that the format can
/// write: a clock that is set wrongly must not bring a worker down.
fn second_of(now: SystemTime) -> u64 {
    const LAST: u64 = 253_402_300_799;
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().min(LAST)
}

fn write(second: u64) -> HeaderValue {
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
    HeaderValue::try_from(text).expect("a date is visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_follows_the_second() {
        let start = UNIX_EPOCH + Duration::from_millis(784_111_777_400);
        let mut date = DateCache::new(start);
        assert_eq!(date.at(start), "Sun, 06 Nov 1994 08:49:37 GMT");
        let later = start + Duration::from_millis(599);
        assert_eq!(date.at(later), "Sun, 06 Nov 1994 08:49:37 GMT");
        let next = start + Duration::from_millis(600);
        assert_eq!(date.at(next), "Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(date.at(start), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn a_clock_beyond_the_format_is_held_at_its_edge() {
        let before = UNIX_EPOCH - Duration::from_secs(1);
        let mut date = DateCache::new(before);
        assert_eq!(date.at(before), "Thu, 01 Jan 1970 00:00:00 GMT");
        let after = UNIX_EPOCH + Duration::from_secs(400_000_000_000);
        assert_eq!(date.at(after), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
