//! What is legal in a head, for filters that take names and values from their
//! configuration and want to refuse bad ones in
//! [`Filter::create`](crate::Filter::create).

/// What only the proxy may set, because it frames the message or belongs to one
/// connection. The host is set with
/// [`Request::set_authority`](crate::Request::set_authority).
const OWNED: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether this is a field name: a token (RFC 9110, section 5.6.2).
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_token_byte)
}

/// Whether this is a field value (RFC 9110, section 5.5): no control characters
/// but tab, and no blanks around it.
pub fn is_value(value: &[u8]) -> bool {
    let is_legal = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..);
    value.trim_ascii().len() == value.len() && value.iter().all(is_legal)
}

/// Whether the proxy owns this field, so that setting it is
/// [`HeadError::Forbidden`](crate::HeadError::Forbidden).
pub fn is_owned_by_proxy(name: &str) -> bool {
    OWNED.iter().any(|owned| owned.eq_ignore_ascii_case(name))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["x-a", "X_A", "1", "a.b", "!"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ":path", "a b", "a:", "é", "a\n"] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn values() {
        for good in ["", "a", "a b\tc", "é"] {
            assert!(is_value(good.as_bytes()), "{good}");
        }
        for bad in [" a", "a ", "a\r", "\n", "\0", "\x7f"] {
            assert!(!is_value(bad.as_bytes()), "{bad:?}");
        }
    }
}
