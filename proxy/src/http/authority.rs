//! `Host` and the authority of an absolute target (RFC 9110 section 7.2).

use std::net::Ipv6Addr;

use bytes::Bytes;
use http::uri::Authority;

/// Reads `host[:port]`. The outcome is in lower case and without an empty port.
///
/// Stricter than RFC 3986: no user information, no percent-encoding, and none of
/// the delimiters that a registered name might hold in theory, as they would
/// mean something else in `Forwarded`, in a URL or in a log.
pub(in crate::http) fn read_authority(mut text: Bytes) -> Result<Authority, &'static str> {
    let host = if text.first() == Some(&b'[') {
        bracketed(&text)?
    } else {
        name(&text)?
    };
    match &text[host.length..] {
        [] => {}
        [b':'] => text.truncate(host.length),
        [b':', port @ ..] if is_port(port) => {}
        _ => return Err("illegal host or port"),
    }
    if host.has_upper_case {
        text = Bytes::from(text.to_ascii_lowercase());
    }
    Authority::from_maybe_shared(text).map_err(|_| "illegal host")
}

struct Host {
    length: usize,
    has_upper_case: bool,
}

/// An empty host names no origin (RFC 9110 section 4.2.1), and there is no
/// default that it could stand for (RFC 9112 section 3.3).
fn name(text: &[u8]) -> Result<Host, &'static str> {
    let mut host = Host {
        length: 0,
        has_upper_case: false,
    };
    for byte in text {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {}
            b'A'..=b'Z' => host.has_upper_case = true,
            _ => break,
        }
        host.length += 1;
    }
    if host.length == 0 {
        return Err("empty or illegal host");
    }
    Ok(host)
}

fn bracketed(text: &[u8]) -> Result<Host, &'static str> {
    const ILLEGAL: &str = "illegal IPv6 address in the host";
    let close = memchr::memchr(b']', text).ok_or(ILLEGAL)?;
    let address = str::from_utf8(&text[1..close]).map_err(|_| ILLEGAL)?;
    address.parse::<Ipv6Addr>().map_err(|_| ILLEGAL)?;
    Ok(Host {
        length: close + 1,
        has_upper_case: address.bytes().any(|byte| byte.is_ascii_uppercase()),
    })
}

fn is_port(text: &[u8]) -> bool {
    let text = str::from_utf8(text).unwrap_or_default();
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Whether two authorities of `http` mean the same.
pub(in crate::http) fn is_same(one: &Authority, other: &Authority) -> bool {
    let port = |authority: &Authority| authority.port_u16().unwrap_or(80);
    one.host() == other.host() && port(one) == port(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_host(text: &str, expected: Option<&str>) {
        let found = read_authority(Bytes::copy_from_slice(text.as_bytes()));
        let found = found.ok().map(|authority| authority.to_string());
        assert_eq!(found.as_deref(), expected, "{text}");
    }

    #[test]
    fn hosts_are_read_strictly() {
        for (text, expected) in [
            ("example.com", "example.com"),
            ("Example.COM:8080", "example.com:8080"),
            ("example.com:", "example.com"),
            ("192.0.2.1", "192.0.2.1"),
            ("[::1]:80", "[::1]:80"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("a_b-c.d~e", "a_b-c.d~e"),
            ("localhost:65535", "localhost:65535"),
        ] {
            check_host(text, Some(expected));
        }
        for text in [
            "",
            ":80",
            "a b",
            "a,b",
            "a/b",
            "a@b",
            "user:pw@b",
            "a?b",
            "a#b",
            "a:b",
            "a:80:80",
            "a:+80",
            "a:65536",
            "a:-1",
            "[::1",
            "::1",
            "[]",
            "[::1]a",
            "[v1.a]",
            "[::1%25eth0]",
            "a%41",
            "a\\b",
            "\u{e9}",
            "a\"b",
            "a;b",
            "<a>",
            "a:80 ",
            "a\tb",
        ] {
            check_host(text, None);
        }
    }

    #[test]
    fn the_default_port_is_as_good_as_none() {
        let authority = |text: &'static str| Authority::from_static(text);
        assert!(is_same(&authority("a"), &authority("a:80")));
        assert!(is_same(&authority("a:81"), &authority("a:81")));
        assert!(!is_same(&authority("a"), &authority("a:443")));
        assert!(!is_same(&authority("a"), &authority("b")));
    }
}
