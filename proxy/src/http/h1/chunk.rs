//! The line before a chunk (RFC 9112 section 7.1): its size, and extensions that
//! are checked and dropped.

/// 16 digits hold every `u64`, so that no size overflows.
const MAX_SIZE_DIGITS: usize = 16;

/// Reads a line without its CRLF.
pub(super) fn read_chunk_line(line: &[u8]) -> Result<u64, &'static str> {
    let count = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    if !(1..=MAX_SIZE_DIGITS).contains(&count) {
        return Err("malformed chunk size");
    }
    let (digits, extensions) = line.split_at(count);
    check_extensions(extensions)?;
    let size = digits.iter().fold(0_u64, |size, &digit| {
        size << 4 | u64::from(char::from(digit).to_digit(16).unwrap_or(0))
    });
    Ok(size)
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`. No carriage
/// return passes, in a quoted string as little as elsewhere.
fn check_extensions(mut rest: &[u8]) -> Result<(), &'static str> {
    const MALFORMED: &str = "malformed chunk extension";
    while !rest.is_empty() {
        rest = skip_blanks(rest).strip_prefix(b";").ok_or(MALFORMED)?;
        rest = skip_token(skip_blanks(rest)).ok_or(MALFORMED)?;
        if let Some(value) = skip_blanks(rest).strip_prefix(b"=") {
            let value = skip_blanks(value);
            let after = if value.first() == Some(&b'"') {
                skip_quoted(value)
            } else {
                skip_token(value)
            };
            rest = after.ok_or(MALFORMED)?;
        }
    }
    Ok(())
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text
        .iter()
        .take_while(|&&byte| byte == b' ' || byte == b'\t')
        .count();
    &text[blanks..]
}

fn skip_token(text: &[u8]) -> Option<&[u8]> {
    let length = text
        .iter()
        .take_while(|&&byte| super::scan::is_token_byte(byte))
        .count();
    (length > 0).then(|| &text[length..])
}

/// `text` begins with the opening quote.
fn skip_quoted(text: &[u8]) -> Option<&[u8]> {
    let is_text = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    let mut rest = &text[1..];
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', quoted, after @ ..] if is_text(*quoted) => after,
            [byte, after @ ..] if is_text(*byte) && *byte != b'\\' => after,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_plain_hex() {
        for (line, expected) in [
            ("0", 0),
            ("5", 5),
            ("1aF", 0x1af),
            ("0000000000000005", 5),
            ("ffffffffffffffff", u64::MAX),
            ("5;a", 5),
            ("5;a=b;c=\"d\"", 5),
            ("5 ; a = \"q\\\"\\\\ x\"", 5),
            ("5;a=\";\"", 5),
            ("5;a=\"\u{e9}\"", 5),
        ] {
            assert_eq!(read_chunk_line(line.as_bytes()), Ok(expected), "{line}");
        }
        for line in [
            "",
            " 5",
            "5 ",
            "+5",
            "-5",
            "0x5",
            "5g",
            "g",
            "00000000000000005",
            "10000000000000000",
            "5;",
            "5; ",
            "5;;a",
            "5;a=",
            "5;=b",
            "5;a b",
            "5;a=b c",
            "5;a=\"b",
            "5;a=\"b\"c",
            "5;a=\"b\\",
            "5 a",
            "5\t",
            "5;a\r",
            "5;a=\"\r\"",
            "5;a=\"\\\r\"",
            "5;a\0",
            "5\0",
            "5,5",
            "5;a=\"\u{7f}\"",
            "\r",
            "5\r",
            "5;a ",
        ] {
            assert!(read_chunk_line(line.as_bytes()).is_err(), "{line:?}");
        }
    }
}
