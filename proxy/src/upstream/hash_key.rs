//! The key of a request, by which a cluster that hashes picks its endpoint.

use std::net::IpAddr;

use http::header::{COOKIE, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;

use super::request::Progress;
use crate::balance::hash::{after, hash};
use crate::config::{HashKey, Hashing, SetCookie};

/// A cookie that the client is to keep, since it had none.
pub(super) type NewCookie = HeaderValue;

/// Notes the first key that there is, hashed; one by chance where there is none, so that the
/// tries of one request go by one order. `fields` are none where there is no HTTP.
pub(super) fn note(
    hashing: &Hashing,
    fields: &HeaderMap,
    progress: &Progress,
) -> Option<NewCookie> {
    for key in &hashing.keys {
        let (found, cookie) = match key {
            HashKey::Filter => (progress.filter_key, None),
            HashKey::Address => (progress.client_address.map(of_address), None),
            HashKey::Header(name) => (of_lines(fields.get_all(name)), None),
            HashKey::Cookie { name, set } => match (of_cookie(fields, name), set) {
                (Some(found), _) => (Some(found), None),
                // Calls of filters and copies have nobody who would keep it, and who asks for
                // what is elsewhere would not send it.
                (None, Some(set)) => {
                    let path = progress.client_path.as_ref().map(PathAndQuery::path);
                    match path.is_some_and(|path| set.is_for(path)) {
                        true => {
                            let (key, cookie) = new_cookie(name, set, progress.is_secure);
                            (Some(key), Some(cookie))
                        }
                        false => (None, None),
                    }
                }
                (None, None) => (None, None),
            },
        };
        if let Some(found) = found {
            progress.key.set(found);
            return cookie;
        }
    }
    progress.key.set(fastrand::u64(..));
    None
}

fn of_address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => hash(&address.octets()),
        IpAddr::V6(address) => hash(&address.octets()),
    }
}

/// All lines of a field, in order.
fn of_lines<'a>(lines: impl IntoIterator<Item = &'a HeaderValue>) -> Option<u64> {
    let lines = lines.into_iter().map(|line| hash(line.as_bytes()));
    lines.reduce(after)
}

fn of_cookie(fields: &HeaderMap, name: &str) -> Option<u64> {
    let lines = fields.get_all(COOKIE).into_iter();
    let mut pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        let value = value.strip_prefix(b"=")?.trim_ascii();
        (!value.is_empty()).then(|| hash(value))
    })
}

fn new_cookie(name: &str, set: &SetCookie, is_secure: bool) -> (u64, NewCookie) {
    let value = format!("{:016x}", fastrand::u64(..));
    let key = hash(value.as_bytes());
    let secure = if is_secure { "; Secure" } else { "" };
    let cookie = format!("{name}={value}{}{secure}", set.attributes);
    let cookie = HeaderValue::try_from(cookie).expect("the configuration was checked");
    (key, cookie)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        let check = |lines: &[&'static str], wanted: Option<&str>| {
            let lines = lines
                .iter()
                .map(|line| (COOKIE, HeaderValue::from_static(line)));
            let mut fields = HeaderMap::new();
            fields.extend(lines);
            let wanted = wanted.map(|value| hash(value.as_bytes()));
            assert_eq!(of_cookie(&fields, "a"), wanted, "{fields:?}");
        };
        check(&[], None);
        check(&["a=1"], Some("1"));
        check(&["b=2; a=1;c=3"], Some("1"));
        check(&["b=2", "aa=7; a=1"], Some("1"));
        check(&["a=; a=1"], Some("1"));
        check(&["b=a=1; A=2; a"], None);
        check(&["a=x=y"], Some("x=y"));
    }

    #[test]
    fn lines_of_a_field_are_one_key() {
        let of = |lines: &[&'static str]| {
            let lines: Vec<_> = lines
                .iter()
                .map(|line| HeaderValue::from_static(line))
                .collect();
            of_lines(&lines)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["1"]), Some(hash(b"1")));
        assert_ne!(of(&["1", "2"]), of(&["2", "1"]));
        assert_ne!(of(&["1", "2"]), of(&["1"]));
    }
}
