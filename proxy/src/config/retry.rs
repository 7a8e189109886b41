//! When requests are tried again, checked.

use std::time::Duration;

use super::checked::Name;
use crate::balance::{backoff, hedge};
use crate::http::hops::Answers;

/// What a filter, a route or a cluster may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    pub name: Name,
    pub on: RetryOn,
    /// Tries in all.
    pub attempts: u32,
    /// Without one it is the cluster's.
    pub try_timeout: Option<Duration>,
    pub backoff: backoff::Rules,
    /// What is waited for at most of what an answer asks for.
    pub max_retry_after: Duration,
    pub methods: RetryMethods,
    /// Bytes of a body that are kept to be sent again.
    pub max_body: usize,
    /// When there is a second try beside the first.
    pub hedge: Option<hedge::Rule>,
}

/// What a try ends with that another may follow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetryOn {
    pub connect_failure: bool,
    pub refused_stream: bool,
    pub reset: bool,
    pub try_timeout: bool,
    pub answers: Answers,
}

/// Requests of which methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryMethods {
    Idempotent,
    Any,
}
