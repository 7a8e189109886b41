//! The id that an exchange carries through logs, origin and client.

use std::ops::Deref;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Longer ids are replaced: they would be copied into every log line.
const MAX_BYTES: usize = 128;

/// Keeps the id that came in when the peer is trusted and it is a single field
/// of a safe shape, or makes a fresh one of 32 hex digits, and leaves it in
/// `headers` for the origin.
///
/// A fresh id is unique, not secret: it comes from the thread's fast generator.
pub fn take_or_make(headers: &mut HeaderMap, name: &HeaderName, is_trusted: bool) -> HeaderValue {
    if is_trusted && let Some(id) = take(headers, name) {
        return id;
    }
    let id = Hex::of(fastrand::u128(..));
    let id = HeaderValue::from_str(&id).expect("hex digits are visible ASCII");
    headers.insert(name, id.clone());
    id
}

fn take(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() || value.is_empty() || value.len() > MAX_BYTES {
        return None;
    }
    let text = value.to_str().ok()?;
    text.bytes().all(is_safe).then(|| value.clone())
}

/// What can stand in a log line, a URL or a shell without being quoted.
fn is_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte)
}

/// A number in 32 lower-case hex digits, without an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hex([u8; 32]);

impl Hex {
    pub fn of(number: u128) -> Self {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
            pair[0] = hex_digit(byte >> 4);
            pair[1] = hex_digit(byte & 15);
        }
        Self(digits)
    }
}

impl Deref for Hex {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hex digits are ASCII")
    }
}

pub(super) const fn hex_digit(nibble: u8) -> u8 {
    b"0123456789abcdef"[(nibble & 15) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: HeaderName = HeaderName::from_static("x-request-id");

    fn check(values: &[&str], is_trusted: bool) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(NAME, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let id = take_or_make(&mut headers, &NAME, is_trusted);
        let kept: Vec<_> = headers.get_all(NAME).iter().collect();
        assert_eq!(kept, [&id], "the origin gets what the log gets");
        let id = id.to_str().unwrap();
        let was_kept = values.first() == Some(&id);
        if !was_kept {
            assert_eq!(id.len(), 32);
            assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
        was_kept.then(|| id.to_owned())
    }

    #[test]
    fn an_id_is_kept_only_from_trusted_peers_and_in_a_safe_shape() {
        let long = "a".repeat(128);
        for kept in ["a", "7b9d-11", "Root=1-67891233-abcdef", &long] {
            assert_eq!(check(&[kept], true).as_deref(), Some(kept));
            assert_eq!(check(&[kept], false), None);
        }
        let too_long = "a".repeat(129);
        for replaced in ["", "a b", "a\"b", "a,b", "a\u{e9}", "{}", &too_long] {
            assert_eq!(check(&[replaced], true), None, "{replaced}");
        }
        assert_eq!(check(&["a", "b"], true), None);
        assert_eq!(check(&[], true), None);
    }

    #[test]
    fn fresh_ids_differ() {
        let mut headers = HeaderMap::new();
        let first = take_or_make(&mut headers, &NAME, false);
        let second = take_or_make(&mut headers, &NAME, false);
        assert_ne!(first, second);
        assert_eq!(*Hex::of(0xabc), format!("{:032x}", 0xabc));
    }
}
