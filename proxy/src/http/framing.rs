//! How a body is told from what follows it (RFC 9112 section 6).

use http::{Method, StatusCode, Version};

/// The framing of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    Length(u64),
    /// Up to a mark of its own: the last chunk, in HTTP/2 the last frame.
    Chunked,
}

impl Framing {
    /// Whether the head already says that the body is longer than `max_body`.
    pub fn exceeds(self, max_body: u64) -> bool {
        matches!(self, Framing::Length(length) if length > max_body)
    }
}

/// The framing of an answer's body on its way to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerFraming {
    Length(u64),
    /// Up to a mark of its own: the last chunk, in HTTP/2 the last frame.
    Chunked,
    /// Up to the close of the connection: all that HTTP/1.0 has for a body of
    /// unknown length.
    Close,
    /// No body follows, whatever the fields say: answers to HEAD, 1xx, 204, 304.
    None,
    /// What follows is of another protocol, or of whatever a client was connected with.
    Switch,
}

/// Chooses the framing of an answer. `length` is the body's length where it is
/// known before the first byte is sent.
pub fn answer_framing(
    method: &Method,
    version: Version,
    status: StatusCode,
    length: Option<u64>,
) -> AnswerFraming {
    if status == StatusCode::SWITCHING_PROTOCOLS || is_tunnel(method, status) {
        return AnswerFraming::Switch;
    }
    if is_bodiless(method, status) {
        return AnswerFraming::None;
    }
    match length {
        Some(length) => AnswerFraming::Length(length),
        None if version == Version::HTTP_10 => AnswerFraming::Close,
        None => AnswerFraming::Chunked,
    }
}

/// Whether an answer has no body by its nature (RFC 9112 section 6.3, rule 1).
pub fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || is_tunnel(method, status)
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

/// Whether an answer says that its client is connected (RFC 9110 section 9.3.6).
fn is_tunnel(method: &Method, status: StatusCode) -> bool {
    *method == Method::CONNECT && status.is_success()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, version: Version, status: u16, length: Option<u64>) -> AnswerFraming {
        let method = method.parse().unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        answer_framing(&method, version, status, length)
    }

    #[test]
    fn an_answer_gets_the_framing_that_its_client_can_read() {
        let (v10, v11) = (Version::HTTP_10, Version::HTTP_11);
        for (method, version, status, length, expected) in [
            ("GET", v11, 200, Some(5), AnswerFraming::Length(5)),
            ("GET", v11, 200, Some(0), AnswerFraming::Length(0)),
            ("GET", v11, 200, None, AnswerFraming::Chunked),
            ("GET", v10, 200, Some(5), AnswerFraming::Length(5)),
            ("GET", v10, 200, None, AnswerFraming::Close),
            ("POST", v11, 500, None, AnswerFraming::Chunked),
            ("GET", v11, 205, Some(0), AnswerFraming::Length(0)),
            ("HEAD", v11, 200, Some(5), AnswerFraming::None),
            ("HEAD", v11, 200, None, AnswerFraming::None),
            ("HEAD", v10, 404, None, AnswerFraming::None),
            ("GET", v11, 101, Some(0), AnswerFraming::Switch),
            ("GET", v11, 103, None, AnswerFraming::None),
            ("GET", v11, 204, None, AnswerFraming::None),
            ("GET", v11, 204, Some(5), AnswerFraming::None),
            ("GET", v11, 304, Some(5), AnswerFraming::None),
            ("CONNECT", v11, 200, Some(0), AnswerFraming::Switch),
            ("CONNECT", v10, 204, None, AnswerFraming::Switch),
            ("CONNECT", v11, 403, Some(5), AnswerFraming::Length(5)),
        ] {
            let found = check(method, version, status, length);
            assert_eq!(found, expected, "{method} {version:?} {status} {length:?}");
        }
    }

    #[test]
    fn only_a_declared_length_exceeds_early() {
        assert!(Framing::Length(11).exceeds(10));
        assert!(!Framing::Length(10).exceeds(10));
        assert!(!Framing::Chunked.exceeds(0));
        assert!(!Framing::None.exceeds(0));
    }
}
