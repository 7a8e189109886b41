//! What a filter is, and what it may answer.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{ConfigErrors, Error, Exchange, Wants};

/// A filter with its configuration.
///
/// The proxy creates one in each instance for each distinct configuration
/// (global, or of a route) and shares it among many exchanges, one call at a
/// time. What must follow one exchange belongs into [`Exchange::set_state`] and
/// not into the struct: another instance may be called for its next phase.
pub trait Filter: Sized + 'static {
    /// What the operator writes under `config:`. The descriptions of its JSON
    /// Schema are its documentation. `()` for a filter without configuration.
    type Config: DeserializeOwned + JsonSchema;

    /// Check and take a configuration. Report every mistake, not the first.
    fn create(config: Self::Config) -> Result<Self, ConfigErrors>;

    /// The phases to be called for, the fields to have at hand, and the
    /// clusters and routes that this configuration may name. Must give the same
    /// for the same configuration: every instance asks it once.
    fn wants(&self) -> Wants;

    /// The head of a request is there. An error means that the filter failed:
    /// its changes are rolled back and the operator's `on_error` applies.
    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        let _ = exchange;
        Ok(Verdict::Next)
    }

    /// The head of the answer is there.
    fn on_response(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        let _ = exchange;
        Ok(Verdict::Next)
    }

    /// The exchange is over; the client no longer waits.
    fn on_done(&self, exchange: &Exchange) {
        let _ = exchange;
    }
}

/// How the exchange goes on after a head.
///
/// The contract's verdicts about bodies come with the host that serves them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Go on, and call this filter's later phases.
    Next,
    /// Go on, and leave this filter out of the rest of the exchange.
    Leave,
    /// Answer now; in the response phase, replace the upstream's answer.
    Respond(Reply),
    /// Reset the stream or close the connection without an answer.
    Reset,
}

impl From<Reply> for Verdict {
    fn from(reply: Reply) -> Self {
        Verdict::Respond(reply)
    }
}

/// An answer made by the filter.
///
/// ```
/// use lockgate_sdk::Reply;
///
/// let reply = Reply::text(429, "slow down\n").header("retry-after", "1");
/// assert_eq!(reply.status, 429);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    /// In the order in which they are sent. The proxy adds `content-length`.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Reply {
    /// An answer without fields and without a body.
    pub fn new(status: u16) -> Self {
        Reply {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// An answer of plain text.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Reply::new(status)
            .header("content-type", "text/plain; charset=utf-8")
            .body(body.into())
    }

    /// Add a field.
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Set the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}
