//! What was denied: one line each.

use lockgate_sdk::prelude::*;

use crate::subject::{self, Identity};

/// Of one field, escaped: what is longer would push out those behind it, because a line has
/// a limit too (`max_log_bytes`, 4 KiB unless told).
const MAX_FIELD_BYTES: usize = 256;

/// Who wanted what, and which rule was against it. Queries are left out, because they may
/// have secrets in them. The field `audit` is what the proxy knows such a line by.
pub fn record(exchange: &Exchange, identity: &Identity, decision: &str, rule: &str) {
    let text = |found: Option<String>| found.map_or_else(|| "-".to_owned(), |text| field(&text));
    let request = exchange.request();
    let target = request.path();
    let path = target.split('?').next().unwrap_or_default();
    log::info!(
        "access",
        audit = decision,
        rule = rule,
        subject = text(identity.subject(exchange)),
        spiffe = text(subject::spiffe(exchange)),
        peer = text(subject::peer_subject(exchange)),
        address = exchange.client_address(),
        method = field(&request.method()),
        host = field(&request.authority()),
        path = field(path),
    );
}

/// A value that can be told from what stands around it: in quotes and escaped where it has
/// a blank, `=`, a quote, a backslash or what cannot be printed, and never too long.
fn field(value: &str) -> String {
    let mut text = String::new();
    let mut is_plain = !value.is_empty() && value != "-";
    for character in value.chars() {
        let before = text.len();
        match character {
            '\'' => text.push(character),
            _ => text.extend(character.escape_debug()),
        }
        if text.len() > MAX_FIELD_BYTES {
            text.truncate(before);
            break;
        }
        let is_escaped = text[before..].len() != character.len_utf8();
        is_plain &= !is_escaped && !matches!(character, ' ' | '=');
    }
    match is_plain {
        true => text,
        false => format!("\"{text}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_be_taken_for_more_than_one() {
        for (value, told) in [
            ("ann", "ann"),
            ("spiffe://a/b", "spiffe://a/b"),
            ("bücher", "bücher"),
            ("o'neill", "o'neill"),
            ("ann rule=none", r#""ann rule=none""#),
            ("CN=b", r#""CN=b""#),
            (r#"a"b"#, r#""a\"b""#),
            (r"a\b", r#""a\\b""#),
            ("a\r\nb\u{7f}", r#""a\r\nb\u{7f}""#),
            ("a\u{202e}b", r#""a\u{202e}b""#),
            ("", r#""""#),
            ("-", r#""-""#),
        ] {
            assert_eq!(field(value), told, "{value:?}");
        }
    }

    #[test]
    fn values_are_cut() {
        assert_eq!(field(&"a".repeat(300)), "a".repeat(256));
        assert_eq!(field(&"ü".repeat(300)), "ü".repeat(128));
        let quoted = field(&"\0".repeat(300));
        assert_eq!(quoted, format!("\"{}\"", "\\0".repeat(128)));
        assert_eq!(field(&"\u{7f}".repeat(300)).len(), 42 * 6 + 2);
    }
}
