//! What went wrong on a connection, in the proxy's words.

use std::error::Error as StdError;
use std::io;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{HeaderMap, RETRY_AFTER};
use http::response::Parts;

use super::body::BrokenBody;
use super::interim::Refused;
use super::wire::WireState;
use crate::balance::outlier;
use crate::balance::peak_ewma::Outcome;
use crate::error::{ErrorKind, ProxyError};
use crate::http::grpc;
use crate::tls::{self, is_of_tls};

/// Why there is no answer, or no more of its body.
pub(super) fn classify(error: hyper::Error, wire: &WireState) -> ProxyError {
    if let Some(refused) = wire.refused {
        return refusal(refused);
    }
    let kind = kind(&error);
    ProxyError::with(kind, error)
}

/// Whether an origin gave up because of the certificate that it was shown.
pub(super) fn refuses_certificate(error: &ProxyError) -> bool {
    let source = error.source.as_deref();
    let broken = source.and_then(|source| find::<io::Error>(source));
    broken.is_some_and(tls::refuses_certificate)
}

/// Whether it is the endpoint that failed, and not who asked it.
pub(super) fn is_of_endpoint(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::ClientGone | ErrorKind::Internal)
}

/// What the head of an answer says of who sent it.
pub(super) fn outcome(head: &Parts) -> Outcome {
    match head.status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Outcome::Refused {
            retry_after: retry_after(&head.headers),
        },
        // What it does not know how to do it says as fast as it can.
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => Outcome::Answered,
        status if status.is_server_error() => Outcome::Failed,
        _ => match grpc_status(&head.headers) {
            Some(grpc::RESOURCE_EXHAUSTED) => Outcome::Refused { retry_after: None },
            Some(status) if answer_of_call(status) != outlier::Answer::Well => Outcome::Failed,
            Some(_) | None => Outcome::Answered,
        },
    }
}

/// The same in the words of outlier detection.
pub(super) fn answer_of(head: &Parts) -> outlier::Answer {
    match head.status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            outlier::Answer::Gateway
        }
        status if status.is_server_error() => outlier::Answer::Error,
        _ => outlier::Answer::Well,
    }
}

/// The same of how a call of gRPC ended: as an answer of HTTP would say it (grpc's
/// code.proto: 503, 504 and 500).
pub(super) fn answer_of_call(status: u8) -> outlier::Answer {
    match status {
        grpc::UNAVAILABLE | grpc::DEADLINE_EXCEEDED => outlier::Answer::Gateway,
        grpc::UNKNOWN | grpc::INTERNAL | grpc::DATA_LOSS => outlier::Answer::Error,
        _ => outlier::Answer::Well,
    }
}

/// Whether a machine that is there said at once that nobody listens. That costs hardly
/// anything, and `refused_pause` is for it.
pub(super) fn is_refusal(error: &ProxyError) -> bool {
    let source = error.source.as_deref();
    let broken = source.and_then(|source| find::<io::Error>(source));
    error.kind == ErrorKind::ConnectFailed
        && broken.is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            )
        })
}

/// Of a request without an answer that could be passed on.
pub(super) fn failure_of(kind: ErrorKind) -> outlier::Answer {
    match kind {
        // Something is there, and speaks.
        ErrorKind::BadAnswer => outlier::Answer::Gateway,
        // And well enough; it is too much.
        ErrorKind::AnswerTooLarge => outlier::Answer::Error,
        _ => outlier::Answer::None,
    }
}

/// How a call of gRPC ended.
pub(super) fn grpc_status(fields: &HeaderMap) -> Option<u8> {
    fields.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// RFC 9110 section 10.2.3. A number that is too large is the longest time.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

fn refusal(refused: Refused) -> ProxyError {
    match refused {
        Refused::Bad(why) => ProxyError::because(ErrorKind::BadAnswer, why),
        Refused::TooLarge => ErrorKind::AnswerTooLarge.into(),
    }
}

fn kind(error: &hyper::Error) -> ErrorKind {
    if error.is_parse_too_large() {
        ErrorKind::AnswerTooLarge
    } else if error.is_parse() {
        ErrorKind::BadAnswer
    } else if let Some(broken) = find::<BrokenBody>(error) {
        match broken {
            BrokenBody::Abandoned => ErrorKind::ClientGone,
            BrokenBody::WrongLength => ErrorKind::Internal,
        }
    } else if find::<io::Error>(error).is_some_and(is_of_tls) {
        ErrorKind::UpstreamTlsFailed
    } else if find::<io::Error>(error).is_some_and(is_malformed) {
        ErrorKind::BadAnswer
    } else {
        ErrorKind::UpstreamReset
    }
}

/// hyper reports malformed chunks and trailers so.
fn is_malformed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
    )
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::outlier::Answer;

    #[test]
    fn calls_fail_as_answers_of_http_do() {
        let said: Vec<_> = (0..=17).map(answer_of_call).collect();
        let failed = |answer| {
            let statuses = std::iter::zip(0.., &said);
            let failed = statuses.filter(move |(_, said)| **said == answer);
            failed.map(|(status, _)| status).collect::<Vec<u8>>()
        };
        assert_eq!(failed(Answer::Gateway), [4, 14]);
        assert_eq!(failed(Answer::Error), [2, 13, 15]);
        assert!(failed(Answer::None).is_empty());
    }

    #[test]
    fn heads_tell_how_their_sender_does() {
        let check = |status: u16, fields: &[(&'static str, &str)], wanted: Outcome| {
            let mut response = http::Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in fields {
                response.headers_mut().insert(*name, value.parse().unwrap());
            }
            let found = outcome(&response.into_parts().0);
            assert_eq!(found, wanted, "{status} {fields:?}");
        };
        let refused = |retry_after: Option<u64>| Outcome::Refused {
            retry_after: retry_after.map(Duration::from_secs),
        };
        check(200, &[], Outcome::Answered);
        check(404, &[("retry-after", "5")], Outcome::Answered);
        check(500, &[], Outcome::Failed);
        check(501, &[], Outcome::Answered);
        check(504, &[], Outcome::Failed);
        check(503, &[], refused(None));
        check(429, &[("retry-after", "5")], refused(Some(5)));
        check(
            429,
            &[("retry-after", "1000000000000000000000")],
            refused(Some(u64::MAX)),
        );
        check(429, &[("retry-after", "-1")], refused(None));
        check(503, &[("retry-after", "soon")], refused(None));
        let past = "Sun, 06 Nov 1994 08:49:37 GMT";
        check(503, &[("retry-after", past)], refused(Some(0)));
        check(200, &[("grpc-status", "0")], Outcome::Answered);
        check(200, &[("grpc-status", "8")], refused(None));
        check(200, &[("grpc-status", "14")], Outcome::Failed);
        check(200, &[("grpc-status", "5")], Outcome::Answered);
    }
}
