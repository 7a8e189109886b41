//! Wall time as text. The part down to the second is kept, because many lines
//! share it.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::LogFormat;

/// Writes times in the form of one kind of log.
#[derive(Debug)]
pub struct Clock {
    format: LogFormat,
    second: u64,
    /// `second` as text, without what follows the second.
    text: String,
}

impl Clock {
    pub fn new(format: LogFormat) -> Self {
        Self {
            format,
            second: 0,
            text: second_as_text(0, format),
        }
    }

    /// JSON: `2025-11-21T11:15:00.042Z`. Text: `21/Nov/2025:11:15:00 +0000`.
    pub fn write(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if since_epoch.as_secs() != self.second {
            self.second = since_epoch.as_secs();
            self.text = second_as_text(self.second, self.format);
        }
        out.extend_from_slice(self.text.as_bytes());
        match self.format {
            LogFormat::Json => write_milliseconds(since_epoch.subsec_millis(), out),
            LogFormat::Text => out.extend_from_slice(b" +0000"),
        }
    }
}

fn write_milliseconds(milliseconds: u32, out: &mut Vec<u8>) {
    // Three digits, so each fits a byte.
    let digit = |divisor: u32| b'0' + (milliseconds / divisor % 10) as u8;
    out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1), b'Z']);
}

fn second_as_text(second: u64, format: LogFormat) -> String {
    let (year, month, day) = date(second / 86_400);
    let (hour, minute) = (second / 3600 % 24, second / 60 % 60);
    let second = second % 60;
    match format {
        LogFormat::Json => {
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
        }
        LogFormat::Text => {
            let month = MONTHS[month as usize - 1];
            format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02}")
        }
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The date of a day since 1970-01-01: year, month from 1, day from 1. Years
/// are counted from March, so that the leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    // Days since 0000-03-01, in eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_written_in_the_form_of_each_log() {
        check(0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000");
        check(
            951_782_400_000,
            "2000-02-29T00:00:00.000Z",
            "29/Feb/2000:00:00:00 +0000",
        );
        check(
            1_763_723_700_042,
            "2025-11-21T11:15:00.042Z",
            "21/Nov/2025:11:15:00 +0000",
        );
        check(
            4_102_444_799_999,
            "2099-12-31T23:59:59.999Z",
            "31/Dec/2099:23:59:59 +0000",
        );
        check(
            4_107_542_400_000,
            "2100-03-01T00:00:00.000Z",
            "01/Mar/2100:00:00:00 +0000",
        );
    }

    fn check(milliseconds: u64, json: &str, text: &str) {
        for (format, expected) in [(LogFormat::Json, json), (LogFormat::Text, text)] {
            let mut out = Vec::new();
            let time = UNIX_EPOCH + Duration::from_millis(milliseconds);
            Clock::new(format).write(time, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn a_kept_second_is_left_when_time_goes_on() {
        let mut clock = Clock::new(LogFormat::Json);
        let mut out = Vec::new();
        for milliseconds in [59_999, 60_000] {
            clock.write(UNIX_EPOCH + Duration::from_millis(milliseconds), &mut out);
        }
        let expected = "1970-01-01T00:00:59.999Z1970-01-01T00:01:00.000Z";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
