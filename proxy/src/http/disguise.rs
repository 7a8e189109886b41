//! Fields that an origin may take for others: CGI and what came after it hand
//! `X-User` and `X_User` to a program under one name. What clients may not say
//! in the one spelling they may not say in the other.

use http::{HeaderMap, HeaderName};

/// Whether a name could be another in disguise.
pub fn may_be_disguised(name: &[u8]) -> bool {
    name.contains(&b'_')
}

/// Removes the fields that stand for one of `protected`, spelled with
/// underscores.
pub fn remove_disguised<'a>(
    headers: &mut HeaderMap,
    protected: impl Iterator<Item = &'a HeaderName> + Clone,
) {
    let is_disguised = |name: &&HeaderName| {
        let name = name.as_str();
        may_be_disguised(name.as_bytes())
            && protected.clone().any(|other| is_same(name, other.as_str()))
    };
    let disguised: Vec<_> = headers.keys().filter(is_disguised).cloned().collect();
    for name in disguised {
        headers.remove(name);
    }
}

/// Header names are in lower case already.
fn is_same(one: &str, other: &str) -> bool {
    let dashed = |byte: u8| if byte == b'_' { b'-' } else { byte };
    one.bytes().map(dashed).eq(other.bytes().map(dashed))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_stands_for_a_protected_field_goes() {
        let names = [
            "x_user",
            "x-user",
            "x_us-er",
            "user_x",
            "x-us-er",
            "x_user_id",
        ];
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(name, HeaderValue::from_static("1"));
            headers.append(name, HeaderValue::from_static("2"));
        }
        let protected = ["x-user", "x-us_er"].map(HeaderName::from_static);
        remove_disguised(&mut headers, protected.iter());
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["user_x", "x-us-er", "x-user", "x_user_id"]);
    }
}
