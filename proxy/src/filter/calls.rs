//! Calls that filters make. A store cannot hold what belongs to a worker, so a
//! call goes through a channel to a task of the worker, and its answer comes back
//! through another. Whoever gives up the answer cancels the call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::{mpsc, oneshot};

use crate::config::Name;

/// Where calls go. No more wait there than filters may have under way: a call
/// counts until it is over or dropped, also when its answer was given up.
pub type Calls = mpsc::UnboundedSender<Outbound>;

/// One call on its way out.
#[derive(Debug)]
pub struct Outbound {
    pub cluster: Name,
    pub method: Method,
    pub path: PathAndQuery,
    /// With `host`.
    pub headers: HeaderMap,
    pub body: Bytes,
    pub timeout: Duration,
    /// Bytes that the body of the answer may have.
    pub max_bytes: usize,
    /// Held for as long as the call is under way.
    pub slot: Arc<()>,
    pub answer: oneshot::Sender<Result<Inbound, CallFailed>>,
}

/// Its answer.
#[derive(Debug)]
pub struct Inbound {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFailed {
    /// There is no such cluster any more.
    Denied,
    Unavailable,
    Timeout,
    TooLarge,
}
