//! What one hop tells the next of a request: how much time is left for it, which answers it
//! will itself try again, and whether it will send the request twice where it takes long.
//!
//! `lockgate-deadline` is a number of whole milliseconds, and not a time, because clocks
//! differ. `lockgate-retry` is a list of `5xx`, statuses, `grpc-` with statuses of gRPC, and
//! `hedge`.
//! Both may come from anybody: they can only make what this proxy does stricter.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

pub const DEADLINE: HeaderName = HeaderName::from_static("lockgate-deadline");
pub const RETRY: HeaderName = HeaderName::from_static("lockgate-retry");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Among the words of the second.
const HEDGE: &str = "hedge";

/// What the names of both begin with.
const PREFIX: &[u8] = b"lockgate-";

/// Whether a name, in any case, could be one of the two.
pub fn is_of_hops(name: &[u8]) -> bool {
    let beginning = name.get(..PREFIX.len());
    beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(PREFIX))
}

/// Of one request, over all lines.
const MAX_CONDITIONS: usize = 64;

/// What is left, where it is told; of several the least. What is no number counts for
/// nothing.
pub fn read_deadline(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(DEADLINE).iter();
    let times = values.filter_map(|value| digits(value.as_bytes()));
    times.min().map(Duration::from_millis)
}

pub fn write_deadline(headers: &mut HeaderMap, left: Duration) {
    let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    headers.insert(DEADLINE, HeaderValue::from(left));
}

/// As many as there are: what is too large is the largest.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

/// The units of `grpc-timeout`, from the least, in nanoseconds.
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// Digits of its number.
const MAX_DIGITS: usize = 8;

/// The `grpc-timeout` of a call (grpc/doc/PROTOCOL-HTTP2.md).
pub fn read_grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let (unit, number) = headers.get(GRPC_TIMEOUT)?.as_bytes().split_last()?;
    let (_, nanoseconds) = UNITS.into_iter().find(|(name, _)| name == unit)?;
    let number = Some(number).filter(|number| number.len() <= MAX_DIGITS);
    // 99,999,999 hours are less than what fits.
    let number = u128::from(digits(number?)?) * u128::from(nanoseconds);
    let seconds = u64::try_from(number / 1_000_000_000).unwrap_or(u64::MAX);
    Some(Duration::new(seconds, (number % 1_000_000_000) as u32))
}

/// In the least unit in which it can be said.
pub fn write_grpc_timeout(headers: &mut HeaderMap, left: Duration) {
    let fits = |(name, unit): &(u8, u64)| {
        let number = left.as_nanos() / u128::from(*unit);
        (number < 10_u128.pow(MAX_DIGITS as u32)).then_some((number, *name))
    };
    let (number, unit) = UNITS.iter().find_map(fits).unwrap_or((99_999_999, b'H'));
    let text = format!("{number}{}", char::from(unit));
    let value = HeaderValue::from_str(&text).expect("digits and a letter are visible ASCII");
    headers.insert(GRPC_TIMEOUT, value);
}

/// Some of all answers, by their heads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    pub server_errors: bool,
    /// Beside those.
    pub statuses: Vec<u16>,
    /// Of gRPC, each a bit.
    pub grpc: u32,
}

impl Answers {
    pub fn is_none(&self) -> bool {
        !self.server_errors && self.statuses.is_empty() && self.grpc == 0
    }

    pub fn has_status(&self, status: u16) -> bool {
        self.server_errors && (500..600).contains(&status) || self.statuses.contains(&status)
    }

    pub fn has_grpc(&self, status: u8) -> bool {
        let bit = 1_u32.checked_shl(u32::from(status));
        bit.is_some_and(|bit| self.grpc & bit != 0)
    }

    fn add(&mut self, word: &str) {
        let number = |text: &str| digits(text.as_bytes());
        if word == "5xx" {
            self.server_errors = true;
        } else if let Some(status) = word.strip_prefix("grpc-").and_then(number) {
            self.grpc |= u32::try_from(status)
                .ok()
                .and_then(|status| 1_u32.checked_shl(status))
                .unwrap_or(0);
        } else if let Some(status @ 400..=599) = number(word) {
            let status = status as u16;
            if !self.statuses.contains(&status) {
                self.statuses.push(status);
            }
        }
    }

    fn add_all(&mut self, others: &Self) {
        for status in &others.statuses {
            if !self.statuses.contains(status) {
                self.statuses.push(*status);
            }
        }
        self.server_errors |= others.server_errors;
        self.grpc |= others.grpc;
    }
}

/// What a hop does again by itself, so that the next one need not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Covered {
    /// It tries again what is answered so.
    pub answers: Answers,
    /// It sends the request a second time where the first takes long.
    pub hedges: bool,
}

impl Covered {
    /// What the hop before does. What is not understood is left out.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut covered = Self::default();
        let lines = headers.get_all(RETRY).iter();
        let lines = lines.filter_map(|line| line.to_str().ok());
        let words = lines.flat_map(|line| line.split(',')).map(str::trim);
        for word in words.take(MAX_CONDITIONS) {
            match word {
                HEDGE => covered.hedges = true,
                _ => covered.answers.add(word),
            }
        }
        covered
    }

    /// The same, and what a hop before does.
    pub fn and(mut self, others: Option<&Self>) -> Self {
        if let Some(others) = others {
            self.answers.add_all(&others.answers);
            self.hedges |= others.hedges;
        }
        self
    }

    /// Tells the next hop of this, and of nothing else.
    pub fn write(&self, headers: &mut HeaderMap) {
        let mut text = String::new();
        if self.answers.server_errors {
            text.push_str("5xx");
        }
        let mut add = |word: std::fmt::Arguments<'_>| {
            let comma = if text.is_empty() { "" } else { ", " };
            write!(text, "{comma}{word}").expect("a string takes all");
        };
        for status in &self.answers.statuses {
            add(format_args!("{status}"));
        }
        for status in (0..32).filter(|status| self.answers.has_grpc(*status)) {
            add(format_args!("grpc-{status}"));
        }
        if self.hedges {
            add(format_args!("{HEDGE}"));
        }
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(RETRY, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        let values = values.iter().map(|value| HeaderValue::from_static(value));
        values.map(|value| (name.clone(), value)).collect()
    }

    #[test]
    fn deadlines_are_whole_milliseconds() {
        let check = |values: &[&'static str], wanted: Option<u64>| {
            let read = read_deadline(&fields(DEADLINE, values));
            assert_eq!(read, wanted.map(Duration::from_millis), "{values:?}");
        };
        check(&["250"], Some(250));
        check(&["0"], Some(0));
        check(&["900", "30", "x"], Some(30));
        check(&["99999999999999999999999"], Some(u64::MAX));
        for bad in ["", "-1", "1.5", "10ms", "+3", " ", "0x1"] {
            check(&[bad], None);
        }
        let mut headers = HeaderMap::new();
        write_deadline(&mut headers, Duration::from_micros(1_999));
        assert_eq!(headers[DEADLINE], "1");
    }

    #[test]
    fn timeouts_of_grpc_are_read_by_its_grammar() {
        let check = |text: &'static str, wanted: Option<Duration>| {
            let read = read_grpc_timeout(&fields(GRPC_TIMEOUT, &[text]));
            assert_eq!(read, wanted, "{text}");
        };
        check("1S", Some(Duration::from_secs(1)));
        check("99999999H", Some(Duration::from_secs(99_999_999 * 3600)));
        check("5M", Some(Duration::from_secs(300)));
        check("20m", Some(Duration::from_millis(20)));
        check("20u", Some(Duration::from_micros(20)));
        check("1n", Some(Duration::from_nanos(1)));
        check("0S", Some(Duration::ZERO));
        for bad in [
            "",
            "S",
            "1",
            "1s",
            "123456789S",
            "-1S",
            "1.5S",
            "1 S",
            "1SS",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn timeouts_of_grpc_are_written_as_exactly_as_may_be() {
        let check = |left: Duration, wanted: &str| {
            let mut headers = HeaderMap::new();
            write_grpc_timeout(&mut headers, left);
            assert_eq!(headers[GRPC_TIMEOUT], wanted);
            assert!(read_grpc_timeout(&headers).is_some_and(|read| read <= left));
        };
        check(Duration::from_nanos(99_999_999), "99999999n");
        check(Duration::from_millis(100), "100000u");
        check(Duration::from_secs(3600), "3600000m");
        check(Duration::ZERO, "0n");
        check(Duration::MAX, "99999999H");
    }

    #[test]
    fn answers_are_told_as_they_are_read() {
        let mut headers = fields(RETRY, &["5xx,429 , grpc-14", "grpc-99, 200, x, , 503, 429"]);
        let covered = Covered::read(&headers);
        let answers = Answers {
            server_errors: true,
            statuses: vec![429, 503],
            grpc: 1 << 14,
        };
        assert_eq!((&covered.answers, covered.hedges), (&answers, false));
        headers.clear();
        covered.write(&mut headers);
        assert_eq!(headers[RETRY], "5xx, 429, 503, grpc-14");
        assert!(answers.has_status(599) && answers.has_status(429) && !answers.has_status(404));
        assert!(answers.has_grpc(14) && !answers.has_grpc(2) && !answers.has_grpc(200));
        let others = Covered::read(&fields(RETRY, &["429, 404, hedge, grpc-8"]));
        let all = others.clone().and(Some(&covered));
        assert!(all.answers.server_errors && all.hedges);
        assert_eq!(
            (&all.answers.statuses[..], all.answers.grpc),
            (&[429, 404, 503][..], 1 << 14 | 1 << 8)
        );
        assert_eq!(others.clone().and(None), others);
        others.write(&mut headers);
        assert_eq!(headers[RETRY], "429, 404, grpc-8, hedge");
        let hedging = Covered::read(&fields(RETRY, &["hedge"]));
        assert!(hedging.answers.is_none() && hedging.hedges);
        let many = "400, ".repeat(10_000);
        headers.insert(RETRY, HeaderValue::try_from(many).unwrap());
        assert_eq!(Covered::read(&headers).answers.statuses, [400]);
    }
}
