//! Calls to clusters of the proxy's configuration, through its own pools: ask an
//! identity provider, a list, a decision service.
//!
//! A call belongs to the phase that started it: what is still under way when the
//! phase ends is cancelled. Only `on_request`, `on_request_body`, `on_response`
//! and `on_response_body` can wait. Meanwhile the proxy serves others, but this
//! instance does not, so give a call a timeout, and keep in
//! [`shared`](crate::shared) what need not be asked for each exchange. What was
//! sent stays sent, also when the filter fails.
//!
//! The operator must grant each cluster (`grants: { call: [idp] }`): the proxy
//! refuses to load a component that imports this interface without. A filter that
//! uses nothing of this module does not import it.
//!
//! ```
//! use lockgate_sdk::http_client::Call;
//! use lockgate_sdk::prelude::*;
//!
//! fn on_request(exchange: &Exchange) -> Result<Verdict, Error> {
//!     let request = exchange.request();
//!     let Some(token) = request.header("authorization") else {
//!         return Ok(Reply::text(401, "who are you?\n").into());
//!     };
//!     let answer = Call::get("/userinfo")
//!         .header("authorization", token)
//!         .timeout(Duration::from_millis(500))
//!         .send("idp")?;
//!     match answer.status {
//!         200 => Ok(Verdict::Next),
//!         _ => Ok(Reply::text(403, "not you\n").into()),
//!     }
//! }
//! ```
//!
//! A call that was started goes on while the filter does something else, such as
//! starting another:
//!
//! ```
//! # use lockgate_sdk::http_client::{Call, CallError};
//! /// Takes as long as the slower of the two.
//! fn ask_both() -> Result<bool, CallError> {
//!     let reputation = Call::get("/reputation").start("lists");
//!     let session = Call::get("/session").start("idp");
//!     Ok(reputation.wait()?.status == 200 && session.wait()?.status == 200)
//! }
//! ```

mod answer;

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::{Error, host};

pub use answer::Answer;

/// A request to a cluster.
///
/// The proxy adds `content-length`, and passes the exchange's `traceparent` on
/// where the call sets none. It does not follow redirects.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a call goes out when it is started"]
pub struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authority: Option<String>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) secrets: Vec<SecretField>,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
}

/// A field whose value is `prefix` and then a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretField {
    pub(crate) field: String,
    pub(crate) prefix: String,
    pub(crate) secret: String,
}

impl Call {
    /// A request for this path, which may have a query.
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Call {
            method: method.into(),
            path: path.into(),
            authority: None,
            headers: Vec::new(),
            secrets: Vec::new(),
            body: Vec::new(),
            timeout: None,
        }
    }

    /// A GET for this path, which may have a query.
    pub fn get(path: impl Into<String>) -> Self {
        Call::new("GET", path)
    }

    /// A POST for this path.
    pub fn post(path: impl Into<String>) -> Self {
        Call::new("POST", path)
    }

    /// The host that the request is for. Without it, the cluster's name.
    pub fn authority(mut self, authority: impl Into<String>) -> Self {
        self.authority = Some(authority.into());
        self
    }

    /// Add a field.
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Set a field to `prefix` and then the secret of this name, which must be
    /// granted. This filter does not see it.
    pub fn secret(
        mut self,
        field: impl Into<String>,
        prefix: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        self.secrets.push(SecretField {
            field: field.into(),
            prefix: prefix.into(),
            secret: name.into(),
        });
        self
    }

    /// Set the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Set the body to this as JSON, and `content-type` with it, if that is not
    /// set yet.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Self, Error> {
        self.body = serde_json::to_vec(value)
            .map_err(|error| Error::new(format_args!("cannot write a call's JSON: {error}")))?;
        let is_set = self
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        match is_set {
            true => Ok(self),
            false => Ok(self.header("content-type", "application/json")),
        }
    }

    /// From the start to the whole answer; then it is a [`CallError::Timeout`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Send this to a cluster without waiting, so that several calls can be under
    /// way. How many may be is a limit of the proxy's configuration. Whatever goes
    /// wrong is told by [`Pending::wait`].
    pub fn start(&self, cluster: &str) -> Pending {
        Pending(host::http_client::start(cluster, self))
    }

    /// Send this to a cluster and wait for the answer.
    pub fn send(&self, cluster: &str) -> Result<Answer, CallError> {
        self.start(cluster).wait()
    }
}

/// A call under way. Dropping it cancels it.
#[derive(Debug)]
#[must_use = "a call that is dropped is cancelled"]
pub struct Pending(host::http_client::UnderWay);

impl Pending {
    /// Wait for the answer. In a phase that cannot wait, or in a later one than
    /// the call was started in, it is a [`CallError::Other`].
    pub fn wait(self) -> Result<Answer, CallError> {
        self.0.wait()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The cluster, or a secret that was to be put in, is not configured or not
    /// granted.
    Denied,
    /// The request is not well-formed.
    Invalid,
    /// No endpoint could be reached, or the connection broke.
    Unavailable,
    /// It took too long.
    Timeout,
    /// The answer is longer than the limit in the proxy's configuration.
    TooLarge,
    /// Cancelled, in a phase that cannot wait, one call too many, or what later
    /// versions may report.
    Other(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CallError::Denied => "the cluster or a secret is not configured, or not granted",
            CallError::Invalid => "the request is not well-formed",
            CallError::Unavailable => "no endpoint could be reached, or the connection broke",
            CallError::Timeout => "no answer in time",
            CallError::TooLarge => "the answer is longer than it may be",
            CallError::Other(message) => message,
        })
    }
}

impl std::error::Error for CallError {}

#[cfg(test)]
mod tests;
