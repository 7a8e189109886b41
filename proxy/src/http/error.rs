//! Why a message was refused.

use crate::error::{ErrorKind, ProxyError};

/// Why a request head was refused. The connection cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadError {
    pub kind: ErrorKind,
    /// For the log only.
    pub why: &'static str,
}

impl HeadError {
    pub(in crate::http) const fn new(kind: ErrorKind, why: &'static str) -> Self {
        Self { kind, why }
    }

    pub(in crate::http) const fn bad(why: &'static str) -> Self {
        Self::new(ErrorKind::BadRequest, why)
    }

    /// For what nobody can be connected with, or nothing fetched from.
    pub(in crate::http) const fn target(why: &'static str) -> Self {
        Self::new(ErrorKind::BadTarget, why)
    }

    /// For what two readers are known to understand in two ways.
    pub(in crate::http) const fn ambiguous(why: &'static str) -> Self {
        Self::new(ErrorKind::AmbiguousRequest, why)
    }
}

/// Why a request body was refused. The connection cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyError {
    pub kind: ErrorKind,
    /// For the log only.
    pub why: &'static str,
}

impl BodyError {
    pub(in crate::http) const fn bad(why: &'static str) -> Self {
        Self {
            kind: ErrorKind::BadBody,
            why,
        }
    }

    pub(in crate::http) const TOO_LARGE: Self = Self {
        kind: ErrorKind::BodyTooLarge,
        why: "the body is longer than the limit",
    };
}

impl From<HeadError> for ProxyError {
    fn from(error: HeadError) -> Self {
        Self::because(error.kind, error.why)
    }
}

impl From<BodyError> for ProxyError {
    fn from(error: BodyError) -> Self {
        Self::because(error.kind, error.why)
    }
}
