//! Texts without the secrets in them.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::Value;

/// Shorter lines of a secret of several lines stay: they are hardly secret alone, and
/// would be found everywhere.
const MIN_LINE_BYTES: usize = 8;

/// The text with `***` in the place of every secret, and of every line of one that
/// has several: a log has one line at a time.
pub fn mask<'t>(text: &'t str, secrets: &[Arc<Value>]) -> Cow<'t, str> {
    let mut found = Vec::new();
    for secret in secrets {
        for known in secret.texts() {
            find(text, &known, &mut found);
            for line in known.lines().filter(|line| line.len() >= MIN_LINE_BYTES) {
                find(text, line, &mut found);
            }
        }
    }
    match found.is_empty() {
        true => Cow::Borrowed(text),
        false => Cow::Owned(without(text, found)),
    }
}

fn find(text: &str, known: &str, found: &mut Vec<Range<usize>>) {
    let at = text.match_indices(known);
    found.extend(at.map(|(start, _)| start..start + known.len()));
}

/// Places may overlap, and are told as one then.
fn without(text: &str, mut found: Vec<Range<usize>>) -> String {
    found.sort_by_key(|range| range.start);
    let mut masked = String::with_capacity(text.len());
    let mut told = 0;
    for range in found {
        if range.start >= told {
            masked.push_str(&text[told..range.start]);
            masked.push_str("***");
        }
        told = told.max(range.end);
    }
    masked.push_str(&text[told..]);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretBytes;

    fn check(secrets: &[&[u8]], text: &str, wanted: &str) {
        let value = |bytes: &&[u8]| Arc::new(Value::first(SecretBytes::new(bytes).unwrap()));
        let secrets: Vec<_> = secrets.iter().map(value).collect();
        assert_eq!(mask(text, &secrets), wanted);
    }

    #[test]
    fn every_secret_is_masked() {
        check(&[], "key=abc", "key=abc");
        check(&[b"abc"], "nothing", "nothing");
        check(&[b"abc"], "abc", "***");
        check(&[b"abc"], "key=abc, again abc.", "key=***, again ***.");
        check(&[b"abc"], "abcabc", "******");
        check(&[b"b", b"abc"], "key=abc b", "key=*** ***");
        check(&[b"abc", b"bcd"], "key=abcd.", "key=***.");
        check(&["g\u{fc}te".as_bytes()], "in g\u{fc}te", "in ***");
        check(&[b"a\xffb"], "in a\u{fffd}b", "in ***");
    }

    #[test]
    fn lines_of_a_secret_are_masked_one_by_one() {
        let key = b"-----BEGIN-----\nMIIEvQIBADANBg\nend\n";
        check(&[key], "read: MIIEvQIBADANBg", "read: ***");
        check(&[key], "the end", "the end");
    }

    #[test]
    fn what_it_was_before_is_masked_too() {
        let bytes = |text: &str| SecretBytes::new(text.as_bytes()).unwrap();
        let value = Value::first(bytes("one")).followed_by(bytes("two"));
        assert_eq!(mask("one two", &[Arc::new(value)]), "*** ***");
    }
}
