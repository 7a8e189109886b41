//! Strings between quotes, so that nothing a client sends can end a string, a
//! line, or a terminal's patience.

use std::fmt;
use std::io::Write;

/// Appends `text` with everything escaped, as JSON does, that is a quote, a
/// backslash, a control character or a line separator of Unicode. The quotes
/// around it are the caller's.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    if is_plain(text.as_bytes()) {
        return out.extend_from_slice(text.as_bytes());
    }
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| !is_plain_byte(byte)) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        // What is not plain is the first byte of a character.
        let mut characters = rest[at..].chars();
        if let Some(character) = characters.next() {
            escape_one(character, out);
        }
        rest = characters.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// As [`escape`]; what is not UTF-8 becomes U+FFFD.
pub fn escape_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    if is_plain(bytes) {
        return out.extend_from_slice(bytes);
    }
    for chunk in bytes.utf8_chunks() {
        escape(chunk.valid(), out);
        if !chunk.invalid().is_empty() {
            escape_one(char::REPLACEMENT_CHARACTER, out);
        }
    }
}

/// Escapes what is formatted into it.
pub struct Escaped<'a>(pub &'a mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(text, self.0);
        Ok(())
    }
}

/// Whether a word of the text log can stand without quotes.
pub fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(' ') && is_plain(text.as_bytes())
}

/// Looks at every byte without leaving early, so that the compiler takes many
/// at once.
fn is_plain(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .fold(true, |all, byte| all & is_plain_byte(*byte))
}

/// Stands for itself: ASCII but controls, quote and backslash.
fn is_plain_byte(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

fn escape_one(character: char, out: &mut Vec<u8>) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\u{2028}' | '\u{2029}' => escape_code(character, out),
        _ if character.is_control() => escape_code(character, out),
        _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

fn escape_code(character: char, out: &mut Vec<u8>) {
    write!(out, "\\u{:04x}", u32::from(character)).expect("a vector takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_string_or_a_line_is_escaped() {
        check(b"/plain?a=1&b='2'", "/plain?a=1&b='2'");
        check(b"", "");
        check(b"a\"b\\c", r#"a\"b\\c"#);
        check(b"a\r\nb\tc\0", r"a\r\nb\tc\u0000");
        check(b"\x1b[2Jx\x7f", r"\u001b[2Jx\u007f");
        check("grün €🦀".as_bytes(), "grün €🦀");
        check(
            "a\u{85}b\u{2028}c\u{9b}".as_bytes(),
            r"a\u0085b\u2028c\u009b",
        );
        check(b"a\xffb\xc3", "a\u{fffd}b\u{fffd}");
    }

    fn check(bytes: &[u8], expected: &str) {
        let mut out = Vec::new();
        escape_bytes(bytes, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn every_character_comes_back_from_json() {
        for character in (0..=0x2fff).filter_map(char::from_u32) {
            let mut out = vec![b'"'];
            escape(&character.to_string(), &mut out);
            out.push(b'"');
            let read: String = serde_json::from_slice(&out).unwrap();
            assert_eq!(read, character.to_string());
        }
    }

    #[test]
    fn words_need_no_quotes() {
        assert!(is_word("checkout-v1"));
        assert!(!is_word("two words"));
        assert!(!is_word("a\"b"));
        assert!(!is_word(""));
    }
}
