//! Calls to clusters, as a test sees them.

use std::time::Duration;

use super::{Head, PutSecret};
use crate::http_client::{Answer, CallError};

/// A call that the filter started and that went out to its cluster. What was
/// refused before that is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentCall {
    /// Where it went.
    pub cluster: String,
    /// Such as `GET`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The cluster's name, if the filter did not say otherwise.
    pub authority: String,
    /// The fields as the cluster gets them, with the secrets in them.
    pub headers: Head,
    /// Of these fields, those with a secret.
    pub secrets: Vec<PutSecret>,
    /// The whole body.
    pub body: Vec<u8>,
    /// How long the filter gives it.
    pub timeout: Option<Duration>,
    /// How many calls were under way once this had started, with this one: 1 when
    /// there was no other.
    pub under_way: usize,
    /// What waiting for it came to. `None`: it was cancelled, because the filter
    /// dropped it or left it behind at the end of its phase.
    pub answer: Option<Result<Answer, CallError>>,
}
