//! `Via` (RFC 9110 section 7.6.3).

use http::header::VIA;
use http::{HeaderMap, HeaderValue, Version};

/// This proxy's entries of `Via`, written once per listener.
#[derive(Debug, Clone)]
pub struct Via {
    v10: HeaderValue,
    v11: HeaderValue,
    v20: HeaderValue,
}

impl Via {
    /// `None` when `received_by` has a byte that no field may carry.
    pub fn new(received_by: &str) -> Option<Self> {
        Some(Self {
            v10: HeaderValue::try_from(format!("1.0 {received_by}")).ok()?,
            v11: HeaderValue::try_from(format!("1.1 {received_by}")).ok()?,
            v20: HeaderValue::try_from(format!("2.0 {received_by}")).ok()?,
        })
    }

    /// Adds this hop to a message that came in with `version`.
    pub fn append(&self, headers: &mut HeaderMap, version: Version) {
        let value = match version {
            Version::HTTP_10 => &self.v10,
            Version::HTTP_2 => &self.v20,
            _ => &self.v11,
        };
        headers.append(VIA, value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hop_is_added_after_those_before_it() {
        let via = Via::new("lockgate").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(VIA, HeaderValue::from_static("1.0 fred"));
        via.append(&mut headers, Version::HTTP_11);
        via.append(&mut headers, Version::HTTP_10);
        via.append(&mut headers, Version::HTTP_2);
        let found: Vec<_> = headers.get_all(VIA).iter().collect();
        assert_eq!(
            found,
            ["1.0 fred", "1.1 lockgate", "1.0 lockgate", "2.0 lockgate"]
        );
        assert!(Via::new("lock\ngate").is_none());
    }
}
