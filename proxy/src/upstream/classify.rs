//! What went wrong on a connection, in the proxy's words.

use std::error::Error as StdError;
use std::io;

use super::body::BrokenBody;
use super::interim::Refused;
use super::wire::WireState;
use crate::error::{ErrorKind, ProxyError};
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
