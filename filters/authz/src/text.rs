//! One text of a condition, read for what it is compared with. What no request could ever
//! fit is refused: a rule that denies by it would be void, and nobody would notice.

use std::net::Ipv6Addr;

use lockgate_sdk::authority::host_of;
use lockgate_sdk::field;

use crate::pattern::{Glob, Segments};
use lockgate_sdk::network::Network;

/// RFC 9110, section 9.3, and RFC 5789. Methods are told apart by their case.
const METHODS: [&str; 9] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
];

/// Of a text that is not what is wanted: what that would be.
pub type Wanted = &'static str;

pub fn glob(text: &str) -> Result<Glob, Wanted> {
    Ok(Glob::new(text))
}

/// None has a comma within, by which they are told apart.
pub fn san(text: &str) -> Result<Glob, Wanted> {
    let has_kind = ["DNS:", "URI:", "*"]
        .iter()
        .any(|kind| text.starts_with(kind));
    match has_kind && !text.contains(',') {
        true => Ok(Glob::new(text)),
        false => {
            Err("a name with its kind: it begins with `DNS:`, `URI:` or `*`, and has no comma")
        }
    }
}

pub fn spiffe(text: &str) -> Result<Segments, Wanted> {
    let wanted = "a SPIFFE ID, in which `**` stands at the end alone: `spiffe://domain/path`";
    match text.starts_with("spiffe://") {
        true => Segments::new(text).ok_or(wanted),
        false => Err(wanted),
    }
}

/// As `host_of` gives it, or with `*` in it.
pub fn host(text: &str) -> Result<Glob, Wanted> {
    let is_legal =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.*".contains(&byte);
    let is_host = match text.strip_prefix('[').map(|text| text.strip_suffix(']')) {
        Some(address) => {
            let is_address = address.is_some_and(|text| text.parse::<Ipv6Addr>().is_ok());
            is_address && host_of(text) == text
        }
        None => !text.is_empty() && !text.ends_with('.') && text.bytes().all(is_legal),
    };
    match is_host {
        true => Ok(Glob::new(text)),
        false => Err(
            "a host: letters (lower case), digits, `-`, `_` and `*` between dots, or an IPv6 \
             address in brackets in its shortest form; without a port",
        ),
    }
}

pub fn path(text: &str) -> Result<Segments, Wanted> {
    let wanted = "a path in its normal form: it begins with `/`, has no query, no `//`, `.` or \
                  `..`, percent-encodings (upper case) only of what cannot do without, and `**` \
                  at the end alone";
    match is_normal(text) {
        true => Segments::new(text).ok_or(wanted),
        false => Err(wanted),
    }
}

/// Whether a path with this text in it can come out of how the proxy normalises paths.
fn is_normal(path: &str) -> bool {
    let is_legal =
        |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@[]^|%".contains(&byte);
    let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    path.starts_with('/')
        && path.bytes().all(is_legal)
        && !path.contains("//")
        && !path.split('/').any(is_dots)
        && path.split('%').skip(1).all(begins_with_needed_code)
}

/// Whether these are first the two digits of a byte that stays encoded.
fn begins_with_needed_code(after: &str) -> bool {
    let digits = after.get(..2).unwrap_or_default();
    let is_upper = !digits.bytes().any(|digit| digit.is_ascii_lowercase());
    let is_hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let needs_it =
        |byte: u8| byte != 0 && !byte.is_ascii_alphanumeric() && !b"-._~".contains(&byte);
    is_upper && is_hex && u8::from_str_radix(digits, 16).is_ok_and(needs_it)
}

pub fn method(text: &str) -> Result<String, Wanted> {
    let is_misspelt = METHODS
        .iter()
        .any(|method| *method != text && method.eq_ignore_ascii_case(text));
    match field::is_name(text) && !text.contains('*') && !is_misspelt {
        true => Ok(text.to_owned()),
        false => Err("a method as requests have it, such as `GET`, and without `*`"),
    }
}

pub fn network(text: &str) -> Result<Network, Wanted> {
    text.parse::<Network>()
        .ok()
        .ok_or("a network such as `10.0.0.0/8`, from its first address, or an address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_never_fit_is_refused() {
        check(
            san,
            &["DNS:a.example.org", "URI:urn:*", "*.example.org"],
            &["a.example.org", "", "dns:a", "EMAIL:a", "DNS:a,b"],
        );
        check(
            host,
            &["a.example.org", "*.example.org", "10.0.0.1", "[::1]", "*"],
            &[
                "",
                "A.example.org",
                "a.example.org:80",
                "a.example.org.",
                "*:8080",
                "::1",
                "[0::1]",
                "[::1]:80",
                "[::1",
                "[fd00:*]",
                "[a]",
                "bücher.example",
            ],
        );
        check(
            path,
            &[
                "/",
                "/a/",
                "/a;x/*",
                "/**",
                "/caf%C3%A9/%2F",
                "/.well-known/**",
                "/..a",
            ],
            &[
                "",
                "a",
                "/a?b",
                "/caf%c3%a9",
                "/café",
                "/%7Eann",
                "/a/../b",
                "/a/.",
                "/..;x/a",
                "/a//b",
                "/a%2",
                "/a%zz",
                "/a%2*",
                "/%+1",
                "/%00",
                "/a b",
                "/a\\b",
                "/a**",
            ],
        );
        check(
            method,
            &["GET", "PURGE", "purge", "M-SEARCH"],
            &["delete", "Get", "G T", "", "P*"],
        );
    }

    #[track_caller]
    fn check<T>(read: fn(&str) -> Result<T, Wanted>, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(read(text).is_ok(), "{text}");
        }
        for text in bad {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
