//! Handshakes of one listener on one worker.

use super::counter::Counter;

/// Handshakes that went well and those that did not.
#[derive(Debug, Default)]
pub struct TlsStats {
    done: [Counter; DONE.len()],
    failed: [Counter; HandshakeFailure::NAMES.len()],
}

/// Version, and whether the connection was resumed.
pub const DONE: [(&str, bool); 4] = [
    ("TLSv1.3", false),
    ("TLSv1.3", true),
    ("TLSv1.2", false),
    ("TLSv1.2", true),
];

macro_rules! failures {
    ($($(#[$doc:meta])* $variant:ident $name:literal;)*) => {
        /// Why a handshake came to nothing.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum HandshakeFailure { $($(#[$doc])* $variant,)* }

        impl HandshakeFailure {
            pub const NAMES: &[&str] = &[$($name,)*];
        }
    };
}

failures! {
    /// The client took longer than it may.
    Timeout "timeout";
    /// The client went away.
    Closed "closed";
    /// Too many were under way.
    Limit "limit";
    /// The client had too many under way.
    ClientLimit "client_limit";
    /// HTTP without TLS.
    PlainHttp "plain_http";
    /// No version, suite, group or signature in common.
    NothingInCommon "nothing_in_common";
    /// No protocol in common (ALPN).
    NoProtocol "no_protocol";
    /// No certificate for the name that the client asks for, or no name.
    NoCertificate "no_certificate";
    /// The client says that it does not like what it got.
    Alert "alert";
    /// Of the client's certificate, as everything that begins so.
    CertificateMissing "certificate_missing";
    CertificateExpired "certificate_expired";
    CertificateUnknownIssuer "certificate_unknown_issuer";
    CertificateRevoked "certificate_revoked";
    CertificatePurpose "certificate_purpose";
    CertificateOther "certificate_other";
    /// What came breaks a rule of TLS.
    Malformed "malformed";
}

impl HandshakeFailure {
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl TlsStats {
    /// By the index in [`DONE`].
    pub fn done(&self, index: usize) -> &Counter {
        &self.done[index]
    }

    pub fn failed(&self, failure: HandshakeFailure) -> &Counter {
        self.failures(failure as usize)
    }

    /// By the index in the names of failures.
    pub fn failures(&self, index: usize) -> &Counter {
        &self.failed[index]
    }

    pub fn count_done(&self, version: &str, is_resumed: bool) {
        let mut kinds = DONE.iter();
        if let Some(index) = kinds.position(|kind| *kind == (version, is_resumed)) {
            self.done[index].add(1);
        }
    }
}
