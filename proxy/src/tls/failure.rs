//! Why there is no connection.

use std::io;

use rustls::{CertificateError, Error, PeerIncompatible};

use crate::stats::HandshakeFailure as Reason;

/// A handshake that came to nothing.
#[derive(Debug)]
pub struct Failure {
    pub reason: Reason,
    /// For the log.
    pub cause: Option<io::Error>,
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        let cause = None;
        Self { reason, cause }
    }
}

impl From<io::Error> for Failure {
    fn from(cause: io::Error) -> Self {
        let of_tls = cause.get_ref().and_then(|inner| inner.downcast_ref());
        Self {
            reason: of_tls.map_or(Reason::Closed, reason),
            cause: Some(cause),
        }
    }
}

fn reason(error: &Error) -> Reason {
    match error {
        Error::PeerIncompatible(PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon) => {
            Reason::CertificateOther
        }
        Error::PeerIncompatible(_) => Reason::NothingInCommon,
        Error::NoApplicationProtocol => Reason::NoProtocol,
        Error::AlertReceived(_) => Reason::Alert,
        Error::NoCertificatesPresented => Reason::CertificateMissing,
        Error::InvalidCertificate(error) => of_certificate(error),
        // All that rustls says when no certificate was picked.
        Error::General(_) => Reason::NoCertificate,
        _ => Reason::Malformed,
    }
}

fn of_certificate(error: &CertificateError) -> Reason {
    match error {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Reason::CertificateExpired,
        CertificateError::Revoked => Reason::CertificateRevoked,
        CertificateError::UnknownIssuer => Reason::CertificateUnknownIssuer,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Reason::CertificatePurpose
        }
        _ => Reason::CertificateOther,
    }
}
