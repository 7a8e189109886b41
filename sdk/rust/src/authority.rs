//! Which host a request asks for.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// The host of an authority in the form to compare: lower case, without port
/// and without the dot that may end a name, addresses in their shortest form.
/// One host must not have a second spelling that walks around what is said
/// about it.
///
/// ```
/// use lockgate_sdk::authority::host_of;
///
/// assert_eq!(host_of("Shop.Example.com.:8080"), "shop.example.com");
/// assert_eq!(host_of("[0:0::1]:443"), "[::1]");
/// ```
pub fn host_of(authority: &str) -> Cow<'_, str> {
    if authority.starts_with('[') {
        let host = authority.split_inclusive(']').next().unwrap_or(authority);
        let address = host[1..]
            .strip_suffix(']')
            .and_then(|text| text.parse().ok());
        return address.map_or(Cow::Borrowed(host), |address: Ipv6Addr| {
            Cow::Owned(format!("[{address}]"))
        });
    }
    let name = authority.split(':').next().unwrap_or(authority);
    let name = name.strip_suffix('.').unwrap_or(name);
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_authorities() {
        for (authority, expected) in [
            ("example.com", "example.com"),
            ("Example.COM:8080", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com"),
            ("[::1]", "[::1]"),
            ("[0:0::0001]:443", "[::1]"),
            ("[::FFFF]", "[::ffff]"),
            ("[garbage", "[garbage"),
            ("[", "["),
            ("10.0.0.1:80", "10.0.0.1"),
            ("", ""),
        ] {
            assert_eq!(host_of(authority), expected, "{authority}");
        }
    }
}
