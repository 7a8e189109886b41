//! Request paths, normalised once: what filters match on is what the origin
//! gets, so the two can never disagree about which resource is meant.
//!
//! RFC 3986 section 6.2.2: percent-encodings of unreserved characters are
//! decoded, those that stay get upper-case digits, dot segments are removed.
//! Refused is what servers are known to read in different ways: a path above
//! the root, `%00`, backslashes, encoded slashes (by rule), dot segments with
//! parameters (`/..;/`), bytes that no URI has. The query is checked, not changed.

use std::borrow::Cow;

use crate::config::{EncodedSlashes, PathRules};

/// Normalises `target`, an absolute path with an optional query. Borrowed when
/// there was nothing to change.
pub fn normalize<'a>(target: &'a str, rules: &PathRules) -> Result<Cow<'a, str>, &'static str> {
    let changed = changed(target.as_bytes(), rules)?;
    Ok(changed.map_or(Cow::Borrowed(target), Cow::Owned))
}

/// The normal form of `target`, or `None` when it is normal as it is.
pub(super) fn changed(target: &[u8], rules: &PathRules) -> Result<Option<String>, &'static str> {
    let split = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(split);
    check_query(query)?;
    if !is_suspicious(path)? || !needs_change(path, rules)? {
        return Ok(None);
    }
    let mut normal = rewrite(path, rules)?;
    normal.extend(query.iter().map(|&byte| char::from(byte)));
    Ok(Some(normal))
}

fn check_query(query: &[u8]) -> Result<(), &'static str> {
    let common = query.iter().fold(IN_QUERY, |common, &byte| {
        common & CLASSES[usize::from(byte)]
    });
    if common & IN_QUERY == 0 {
        return Err("illegal character in the query");
    }
    Ok(())
}

/// Checks the characters of a path, and tells whether it has anything that might
/// have to change. Most have not, and this is all that they cost.
fn is_suspicious(path: &[u8]) -> Result<bool, &'static str> {
    if path.first() != Some(&b'/') {
        return Err("the path does not begin with a slash");
    }
    let (mut common, mut suspicious, mut before) = (IN_PATH, 0, 0);
    for &byte in path {
        let class = CLASSES[usize::from(byte)];
        common &= class;
        suspicious |= class & PERCENT | (before & SLASH) & (class << 1);
        before = class;
    }
    if common & IN_PATH == 0 {
        return Err("illegal character in the path");
    }
    Ok(suspicious != 0)
}

const IN_PATH: u8 = 1;
const IN_QUERY: u8 = 2;
/// Never needs encoding (RFC 3986 section 2.3).
const UNRESERVED: u8 = 4;
/// `/` or `.`, which mean something after a slash.
const AFTER_SLASH: u8 = 8;
/// Next to `AFTER_SLASH`, so that a shift brings the two together.
const SLASH: u8 = AFTER_SLASH << 1;
const PERCENT: u8 = 32;

/// What each byte may be. Beside the characters of RFC 3986, browsers send
/// `[ ] ^ |` in paths, and those and `` ` { } \ `` in queries, as they are;
/// nobody reads these in two ways.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let character = byte as u8;
        classes[byte] = match character {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                IN_PATH | IN_QUERY | UNRESERVED
            }
            b'.' => IN_PATH | IN_QUERY | UNRESERVED | AFTER_SLASH,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => {
                IN_PATH | IN_QUERY
            }
            b':' | b'@' | b'[' | b']' | b'^' | b'|' => IN_PATH | IN_QUERY,
            b'/' => IN_PATH | IN_QUERY | AFTER_SLASH | SLASH,
            b'%' => IN_PATH | IN_QUERY | PERCENT,
            b'?' | b'`' | b'{' | b'}' | b'\\' => IN_QUERY,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

/// Looks at every percent-encoding and at the beginning of every segment.
fn needs_change(path: &[u8], rules: &PathRules) -> Result<bool, &'static str> {
    let mut needs_change = false;
    for at in memchr::memchr2_iter(b'%', b'/', path) {
        let after = &path[at + 1..];
        needs_change |= match path[at] {
            b'%' => encoding_changes(after, rules)?,
            _ => segment_changes(after, rules),
        };
    }
    Ok(needs_change)
}

/// Whether a percent-encoding, given what follows its `%`, is not as it should be.
fn encoding_changes(after: &[u8], rules: &PathRules) -> Result<bool, &'static str> {
    let decoded = decode(after).ok_or("broken percent-encoding in the path")?;
    match decoded {
        0 => return Err("encoded NUL in the path"),
        b'/' | b'\\' => match rules.encoded_slashes {
            EncodedSlashes::Refuse => return Err("encoded slash in the path"),
            EncodedSlashes::Keep => {}
        },
        _ => {}
    }
    let is_lower = after[..2].iter().any(u8::is_ascii_lowercase);
    Ok(is_lower || CLASSES[usize::from(decoded)] & UNRESERVED != 0)
}

/// Whether a segment, given what follows its slash, is to be removed. One that
/// only becomes a dot segment by decoding is found by `encoding_changes`.
fn segment_changes(after: &[u8], rules: &PathRules) -> bool {
    match after.first() {
        Some(b'/') => rules.merge_slashes,
        Some(b'.') => {
            let end = memchr::memchr2(b'/', b';', after).unwrap_or(after.len());
            is_dots(&after[..end])
        }
        _ => false,
    }
}

fn is_dots(segment: &[u8]) -> bool {
    segment == b"." || segment == b".."
}

fn decode(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    Some((digit(0)? * 16 + digit(1)?) as u8)
}

/// Builds the normal form of a path that `scan` has checked.
fn rewrite(path: &[u8], rules: &PathRules) -> Result<String, &'static str> {
    let decoded = decode_unreserved(path);
    let mut normal = String::with_capacity(decoded.len());
    let mut segments = decoded[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let name = segment.split(';').next().unwrap_or(segment);
        if is_dots(name.as_bytes()) {
            if name.len() < segment.len() {
                return Err("dot segment with parameters in the path");
            }
            if name == ".." {
                remove_last(&mut normal)?;
            }
            if is_last {
                normal.push('/');
            }
        } else if is_last || !segment.is_empty() || !rules.merge_slashes {
            normal.push('/');
            normal.push_str(segment);
        }
    }
    Ok(normal)
}

/// `normal` holds whole segments, each with its slash before it.
fn remove_last(normal: &mut String) -> Result<(), &'static str> {
    let slash = normal.rfind('/').ok_or("the path leads above the root")?;
    normal.truncate(slash);
    Ok(())
}

fn decode_unreserved(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    let mut rest = path.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            text.push(char::from(byte));
            continue;
        }
        let digits = &rest.as_slice()[..2];
        rest.nth(1);
        match decode(digits) {
            Some(decoded) if CLASSES[usize::from(decoded)] & UNRESERVED != 0 => {
                text.push(char::from(decoded));
            }
            _ => {
                text.push('%');
                text.extend(
                    digits
                        .iter()
                        .map(|digit| char::from(digit.to_ascii_uppercase())),
                );
            }
        }
    }
    text
}

#[cfg(test)]
mod tests;
