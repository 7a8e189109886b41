//! What fields may be made of, whichever way they go.

use http::{HeaderMap, HeaderValue};

use crate::http::grpc::GRPC_MESSAGE;
use crate::http::h1::is_token_byte;

/// The `http` crate takes names of HTTP/2 that are no tokens (RFC 9110 section 5.6.2).
/// Values that begin or end with a blank are malformed (RFC 9113 section 8.2.1). HTTP/1
/// could carry neither.
pub(super) fn check_field(name: &[u8], value: &[u8]) -> Result<(), &'static str> {
    if !name.iter().copied().all(is_token_byte) {
        return Err("illegal field name");
    }
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    match is_blank(value.first()) || is_blank(value.last()) {
        true => Err("a value that begins or ends with a blank"),
        false => Ok(()),
    }
}

/// Those of a request's trailers.
pub fn check_fields(fields: &HeaderMap) -> Result<(), &'static str> {
    let mut fields = fields.iter();
    fields.try_for_each(|(name, value)| check_field(name.as_str().as_bytes(), value.as_bytes()))
}

/// Those of an answer, before its body or behind it. gRPC alone means blanks: it leaves
/// them in its messages as they are, and such a message loses those at its ends.
pub fn check_answer_fields(fields: &mut HeaderMap) -> Result<(), &'static str> {
    let Err(why) = check_fields(fields) else {
        return Ok(());
    };
    let message = fields.get(&GRPC_MESSAGE).ok_or(why)?;
    let message = HeaderValue::from_bytes(message.as_bytes().trim_ascii());
    fields.insert(GRPC_MESSAGE, message.map_err(|_| why)?);
    check_fields(fields)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn fields(name: &str, value: &str) -> HeaderMap {
        // What the codec reads names with.
        let name = HeaderName::from_lowercase(name.as_bytes()).unwrap();
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn fields_are_what_http1_can_carry() {
        for name in ["x", "x_y", "x!#$%&'*+-.^_`|~9"] {
            assert_eq!(check_fields(&fields(name, "a b")), Ok(()), "{name}");
        }
        assert!(check_fields(&fields("x\"y", "1")).is_err());
        assert_eq!(check_fields(&fields("x", "")), Ok(()));
        for value in [" ", " 1", "1 ", "\t1", "1\t"] {
            assert!(check_fields(&fields("x", value)).is_err(), "{value:?}");
            assert!(check_answer_fields(&mut fields("x", value)).is_err());
            assert!(check_fields(&fields("grpc-message", value)).is_err());
        }
    }

    #[test]
    fn messages_of_grpc_lose_blanks_at_their_ends() {
        let mut message = fields("grpc-message", " not there ");
        assert_eq!(check_answer_fields(&mut message), Ok(()));
        assert_eq!(message["grpc-message"], "not there");
        message.insert("x", HeaderValue::from_static("1 "));
        assert!(check_answer_fields(&mut message).is_err());
    }
}
