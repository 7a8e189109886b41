//! Host names: of requests, and the patterns that match them.

use std::net::Ipv6Addr;

/// RFC 1035 §2.3.4. A longer name can have no route of its own.
pub const MAX_HOST_BYTES: usize = 253;

/// What a route says about the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPattern {
    /// This name, lower case.
    Exact(Box<str>),
    /// Every name that ends so; it begins with a dot.
    Suffix(Box<str>),
}

impl HostPattern {
    /// From `name` or `*.suffix`.
    pub fn new(text: &str) -> Result<HostPattern, String> {
        let lower = text.to_ascii_lowercase();
        if lower == "*" {
            return Err("`*` is every host: leave `host` out".to_owned());
        }
        if let Some(suffix) = lower.strip_prefix("*.") {
            check_name(suffix)
                .map_err(|reason| format!("`{text}` is not a host pattern: {reason}"))?;
            return Ok(HostPattern::Suffix(lower[1..].into()));
        }
        check_host(&lower).map(|host| HostPattern::Exact(host.into()))
    }

    /// Whether this host, as `lockgate_sdk::authority` gives it, matches.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(name) => host == &**name,
            HostPattern::Suffix(suffix) => {
                host.len() > suffix.len()
                    && host.len() <= MAX_HOST_BYTES
                    && host.ends_with(&**suffix)
            }
        }
    }

    /// Whether every host that the other matches is matched.
    pub fn includes(&self, other: &HostPattern) -> bool {
        match (self, other) {
            (_, HostPattern::Exact(name)) => self.matches(name),
            (HostPattern::Suffix(wide), HostPattern::Suffix(narrow)) => narrow.ends_with(&**wide),
            (HostPattern::Exact(_), HostPattern::Suffix(_)) => false,
        }
    }
}

/// A name or an address without a port, in the form to compare.
pub fn check_host(text: &str) -> Result<String, String> {
    let wrong = |reason: &str| format!("`{text}` is not a host: {reason}");
    if let Some(address) = text.strip_prefix('[') {
        let address = address.strip_suffix(']').and_then(|text| text.parse().ok());
        return address
            .map(|address: Ipv6Addr| format!("[{address}]"))
            .ok_or_else(|| wrong("wanted an IPv6 address in brackets, without a port"));
    }
    check_name(text).map_err(|reason| wrong(&reason))?;
    Ok(text.to_ascii_lowercase())
}

fn check_name(name: &str) -> Result<(), String> {
    if name.len() > MAX_HOST_BYTES {
        return Err(format!("it is longer than {MAX_HOST_BYTES} bytes"));
    }
    if !name.is_ascii() {
        return Err("write it in its ASCII form (`xn--...`)".to_owned());
    }
    if name.contains(':') {
        return Err("leave the port out; an IPv6 address stands in brackets".to_owned());
    }
    if name.contains('*') {
        return Err("`*` may only stand first, as in `*.example.com`".to_owned());
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match name
        .split('.')
        .all(|label| !label.is_empty() && label.bytes().all(legal))
    {
        true => Ok(()),
        false => Err("wanted letters, digits, `-` and `_` between dots".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        check("example.com", "example.com", true);
        check("Example.com", "example.com", true);
        check("example.com", "a.example.com", false);
        check("*.example.com", "a.example.com", true);
        check("*.example.com", "a.b.example.com", true);
        check("*.example.com", "example.com", false);
        check("*.example.com", ".example.com", false);
        check("*.example.com", "badexample.com", false);
        check("[0::1]", "[::1]", true);
        check("localhost", "localhost", true);
        check("*.com", &format!("{}.com", "a".repeat(250)), false);
    }

    fn check(pattern: &str, host: &str, expected: bool) {
        let matches = HostPattern::new(pattern).unwrap().matches(host);
        assert_eq!(matches, expected, "{pattern} {host}");
    }

    #[test]
    fn illegal_patterns() {
        for (pattern, wanted) in [
            ("*", "leave `host` out"),
            ("", "wanted letters"),
            ("a..b", "wanted letters"),
            ("example.com:80", "leave the port out"),
            ("::1", "brackets"),
            ("[::1]:80", "without a port"),
            ("a.*.com", "may only stand first"),
            ("*.", "wanted letters"),
            ("*a.com", "may only stand first"),
            ("bücher.de", "xn--"),
            ("a b", "wanted letters"),
        ] {
            let message = HostPattern::new(pattern).unwrap_err();
            assert!(message.contains(wanted), "{pattern}: {message}");
        }
    }
}
