//! How often a call of a filter has led to a call: a field that only this process
//! can write, so that no client can pretend to be a loop, or not to be one.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};

pub const CALL_DEPTH: HeaderName = HeaderName::from_static("lockgate-call-depth");

/// Known to nobody else.
static TAG: LazyLock<u64> = LazyLock::new(|| fastrand::u64(..));

/// 0 where there is no such field, or not one of ours.
pub fn read(headers: &HeaderMap) -> u32 {
    let text = headers
        .get(CALL_DEPTH)
        .and_then(|value| value.to_str().ok());
    let parts = text.and_then(|text| text.split_once('-'));
    match parts {
        Some((depth, tag)) if u64::from_str_radix(tag, 16) == Ok(*TAG) => {
            depth.parse().unwrap_or_default()
        }
        Some(_) | None => 0,
    }
}

pub fn write(headers: &mut HeaderMap, depth: u32) {
    let text = format!("{depth}-{:x}", *TAG);
    let value = HeaderValue::from_str(&text).expect("digits are visible ASCII");
    headers.insert(CALL_DEPTH, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_here_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(read(&headers), 0);
        write(&mut headers, 3);
        assert_eq!(read(&headers), 3);
        for forged in ["3", "3-", "3-0", "-", "x-y"] {
            headers.insert(CALL_DEPTH, HeaderValue::from_static(forged));
            assert_eq!(read(&headers), 0, "{forged}");
        }
    }
}
