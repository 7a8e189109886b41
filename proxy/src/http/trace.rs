//! W3C Trace Context, level 2: `traceparent` checked, passed on with this hop as
//! the parent, or started anew where it is missing or broken.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::request_id::{Hex, hex_digit};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Version, trace id, parent id and flags with their dashes.
const TRACEPARENT_BYTES: usize = 55;
/// `sampled` and `random`; the others must not be sent.
const KNOWN_FLAGS: u8 = 0b11;
/// A trace that starts here is sampled: the default sampler of most tracing
/// libraries drops a whole trace whose parent was not.
const FIRST_FLAGS: u8 = 0b01;
const MAX_STATE_MEMBERS: usize = 32;

/// The place of one exchange in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    trace_id: u128,
    /// This proxy's span, the parent of the origin's.
    span_id: u64,
    flags: u8,
    keeps_state: bool,
}

impl Trace {
    /// Goes on with the trace in `headers`, or starts one.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let span_id = fastrand::u64(1..);
        match single(headers, &TRACEPARENT).and_then(read_parent) {
            Some((trace_id, flags)) => Self {
                trace_id,
                span_id,
                flags,
                keeps_state: is_state(headers),
            },
            None => Self {
                trace_id: fastrand::u128(1..),
                span_id,
                flags: FIRST_FLAGS,
                keeps_state: false,
            },
        }
    }

    /// Tells the origin, and removes a `tracestate` that is broken or belongs to
    /// no valid `traceparent`.
    pub fn write(&self, headers: &mut HeaderMap) {
        let mut text = [b'-'; TRACEPARENT_BYTES];
        write_hex(&mut text[..2], &[0]);
        write_hex(&mut text[3..35], &self.trace_id.to_be_bytes());
        write_hex(&mut text[36..52], &self.span_id.to_be_bytes());
        write_hex(&mut text[53..], &[self.flags]);
        let value = HeaderValue::from_bytes(&text).expect("hex and dashes are visible ASCII");
        headers.insert(TRACEPARENT, value);
        if !self.keeps_state && headers.contains_key(TRACESTATE) {
            headers.remove(TRACESTATE);
        }
    }

    /// 32 lower-case hex digits.
    pub fn trace_id(&self) -> Hex {
        Hex::of(self.trace_id)
    }
}

fn write_hex(text: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = hex_digit(byte >> 4);
        pair[1] = hex_digit(byte & 15);
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

/// Trace id and flags of a valid `traceparent`. A version from the future is read
/// as far as this one goes; what follows must then be set apart by a dash.
fn read_parent(text: &[u8]) -> Option<(u128, u8)> {
    let (known, rest) = text.split_at_checked(TRACEPARENT_BYTES)?;
    let version = read_hex(&known[..2])?;
    let is_long_enough = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest[0] == b'-',
    };
    if !is_long_enough || known[2] != b'-' || known[35] != b'-' || known[52] != b'-' {
        return None;
    }
    let trace_id = read_hex(&known[3..35])?;
    let parent_id = read_hex(&known[36..52])?;
    let flags = read_hex(&known[53..])? as u8;
    (trace_id != 0 && parent_id != 0).then_some((trace_id, flags & KNOWN_FLAGS))
}

/// Lower-case only, as the recommendation has it.
fn read_hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, &digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(nibble))
    })
}

/// Whether `tracestate`, over all its lines, is a list that may be passed on.
fn is_state(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(TRACESTATE).into_iter();
    let mut members = lines
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty());
    let is_good = members.by_ref().take(MAX_STATE_MEMBERS).all(is_member);
    is_good && members.next().is_none()
}

fn is_member(member: &[u8]) -> bool {
    let Some(equals) = memchr::memchr(b'=', member) else {
        return false;
    };
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    let starts_well = key.first().is_some_and(|&byte| is_key_start(byte));
    starts_well
        && key.len() <= 256
        && key
            .iter()
            .all(|&byte| is_key_start(byte) || b"_-*/@".contains(&byte))
        && (1..=256).contains(&value.len())
        && value
            .iter()
            .all(|&byte| matches!(byte, b' '..=b'~') && byte != b'=')
}

fn is_key_start(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn write(parents: &[&str], states: &[&str]) -> (Trace, HeaderMap) {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(TRACEPARENT, HeaderValue::from_str(parent).unwrap());
        }
        for state in states {
            headers.append(TRACESTATE, HeaderValue::from_str(state).unwrap());
        }
        let trace = Trace::from_headers(&headers);
        trace.write(&mut headers);
        (trace, headers)
    }

    fn check(parents: &[&str], continues_with_flags: Option<&str>) {
        let (trace, headers) = write(parents, &["a=1"]);
        let text = headers[TRACEPARENT].to_str().unwrap();
        assert_eq!(headers.get_all(TRACEPARENT).iter().count(), 1);
        assert_eq!(text.len(), 55);
        assert_eq!(&text[..36], format!("00-{}-", &*trace.trace_id()));
        assert_ne!(&text[36..52], "00f067aa0ba902b7", "the parent is this hop");
        match continues_with_flags {
            Some(flags) => {
                assert_eq!(*trace.trace_id(), *ID, "{parents:?}");
                assert_eq!(&text[53..], flags, "{parents:?}");
                assert_eq!(headers[TRACESTATE], "a=1");
            }
            None => {
                assert_ne!(*trace.trace_id(), *ID, "{parents:?}");
                assert_eq!(&text[53..], "01");
                assert!(!headers.contains_key(TRACESTATE), "{parents:?}");
            }
        }
        assert!(read_parent(text.as_bytes()).is_some(), "{text}");
    }

    #[test]
    fn a_valid_parent_is_gone_on_with() {
        check(&[GOOD], Some("01"));
        check(&[&GOOD.replace("-01", "-00")], Some("00"));
        check(&[&GOOD.replace("-01", "-ff")], Some("03"));
        check(&[&GOOD.replacen("00-", "01-", 1)], Some("01"));
        check(
            &[&format!("{}-what-comes", GOOD.replacen("00-", "cc-", 1))],
            Some("01"),
        );
    }

    #[test]
    fn a_missing_or_broken_parent_starts_a_trace() {
        check(&[], None);
        check(&[GOOD, GOOD], None);
        for broken in [
            "",
            "00",
            &GOOD.replacen("00-", "ff-", 1),
            &GOOD.replacen("00-", "0x-", 1),
            &GOOD.to_uppercase(),
            &GOOD.replace("-01", "-0"),
            &GOOD.replace("-01", "-0g"),
            &GOOD.replace("-01", "_01"),
            &format!("{GOOD}-more"),
            &format!("{GOOD}-"),
            &format!("{}.more", GOOD.replacen("00-", "01-", 1)),
            &GOOD.replace(ID, "00000000000000000000000000000000"),
            &GOOD.replace("00f067aa0ba902b7", "0000000000000000"),
            &GOOD.replace("4bf9", "+bf9"),
        ] {
            check(&[broken], None);
        }
    }

    #[test]
    fn a_broken_state_is_dropped() {
        let many = vec!["k=v"; 32].join(",");
        for (states, is_kept) in [
            (&["a=1,b=2"][..], true),
            (&["a=1, ,b@c=x y"], true),
            (&["a=1", "b=2"], true),
            (&[&many], true),
            (&[&many, "a=1"], false),
            (&["a"], false),
            (&["=1"], false),
            (&["A=1"], false),
            (&["a="], false),
            (&["a=b=c"], false),
            (&["a b=1"], false),
            (&["a=\u{e9}"], false),
        ] {
            let (_, headers) = write(&[GOOD], states);
            assert_eq!(headers.contains_key(TRACESTATE), is_kept, "{states:?}");
        }
    }
}
