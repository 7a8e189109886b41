//! Paths: as routes write them, and how prefixes match by segment.

/// Check a path of the configuration and bring it into the form in which the
/// proxy shows paths to filters.
pub fn check_path(text: &str) -> Result<String, String> {
    let wrong = |reason: &str| Err(format!("`{text}` is not a path: {reason}"));
    if !text.starts_with('/') {
        return wrong("wanted one that begins with `/`");
    }
    if text.contains(['?', '#']) {
        return wrong("the query does not belong to it");
    }
    if !text.bytes().all(is_path_byte) {
        return wrong("percent-encode what is not ASCII, blanks, quotes and control characters");
    }
    let Some(normal) = normalise(text) else {
        return wrong("`%` must be followed by two hexadecimal digits");
    };
    if has_dot_segment(&normal) {
        return wrong("`.` and `..` are resolved before a route is looked for");
    }
    Ok(normal)
}

/// What the proxy lets through: RFC 3986, and `[ ] ^ |`, which browsers send.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@/[]^|".contains(&byte)
}

/// RFC 3986 §6.2.2: hexadecimal digits in upper case, and unreserved characters
/// not encoded at all.
fn normalise(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut normal = pieces.next()?.to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            normal.push(char::from(byte));
        } else {
            normal.push('%');
            normal.push_str(&digits.to_ascii_uppercase());
        }
        normal.push_str(rest);
    }
    Some(normal)
}

/// Whether a segment is `.` or `..`, also where the dots are encoded or followed
/// by parameters (`..;a=b`), which some servers ignore.
pub fn has_dot_segment(path: &str) -> bool {
    path.split('/').any(|segment| {
        let name = segment.split(';').next().unwrap_or(segment);
        !name.is_empty()
            && name.len() <= "%2e%2e".len()
            && matches!(
                name.to_ascii_lowercase().replace("%2e", ".").as_str(),
                "." | ".."
            )
    })
}

/// A prefix in the form to compare: without slashes at its end, "" for `/`.
pub fn trim_prefix(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

/// What follows a (trimmed) prefix: nothing, or something that begins with `/`.
/// None when the path's first segments are others.
pub fn after_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Path and query of a target; the query without its `?`.
pub fn split_query(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_configuration() {
        for (text, expected) in [
            ("/", Ok("/")),
            ("/a/b/", Ok("/a/b/")),
            ("/%7euser/%41", Ok("/~user/A")),
            ("/a%2fb", Ok("/a%2Fb")),
            ("/a:b@c;d=e,f!$&'()*+[]^|", Ok("/a:b@c;d=e,f!$&'()*+[]^|")),
            ("", Err("begins with `/`")),
            ("a", Err("begins with `/`")),
            ("/a?b", Err("query")),
            ("/a#b", Err("query")),
            ("/a b", Err("percent-encode")),
            ("/ü", Err("percent-encode")),
            ("/a\\b", Err("percent-encode")),
            ("/%", Err("two hexadecimal digits")),
            ("/%4", Err("two hexadecimal digits")),
            ("/%+1", Err("two hexadecimal digits")),
            ("/a/../b", Err("resolved before")),
            ("/a/%2e%2E/b", Err("resolved before")),
            ("/.", Err("resolved before")),
        ] {
            match (check_path(text), expected) {
                (Ok(path), Ok(expected)) => assert_eq!(path, expected),
                (Err(message), Err(wanted)) => assert!(message.contains(wanted), "{message}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn prefixes_match_by_segment() {
        for (path, prefix, expected) in [
            ("/a", "/a", Some("")),
            ("/a/", "/a", Some("/")),
            ("/a/b", "/a", Some("/b")),
            ("/ab", "/a", None),
            ("/b", "/a", None),
            ("/", "", Some("/")),
        ] {
            assert_eq!(after_prefix(path, prefix), expected, "{path} {prefix}");
        }
    }

    #[test]
    fn dot_segments() {
        for (path, expected) in [
            ("/a/b", false),
            ("/a/...", false),
            ("/.a/b.", false),
            ("/a/./b", true),
            ("/..", true),
            ("/%2e./x", true),
            ("/..;a/x", true),
            ("/a;../x", false),
            ("//", false),
        ] {
            assert_eq!(has_dot_segment(path), expected, "{path}");
        }
    }
}
