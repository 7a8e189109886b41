//! What a filter is, and what it may answer.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{Body, BodyVerdict, ConfigErrors, Error, Exchange, Overflow, Transform, Wants};

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

    /// The body is there that [`Verdict::Buffer`] in `on_request` asked for. The
    /// head is still held and may be changed.
    fn on_request_body(&self, exchange: &Exchange, body: Body) -> Result<BodyVerdict, Error> {
        let _ = (exchange, body);
        Ok(BodyVerdict::Keep)
    }

    /// The request's body is over, and its [trailers](Exchange::trailers) are
    /// there.
    fn on_request_trailers(&self, exchange: &Exchange) -> Result<(), Error> {
        let _ = exchange;
        Ok(())
    }

    /// The head of the answer is there.
    fn on_response(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        let _ = exchange;
        Ok(Verdict::Next)
    }

    /// The body is there that [`Verdict::Buffer`] in `on_response` asked for. The
    /// head is still held and may be changed.
    fn on_response_body(&self, exchange: &Exchange, body: Body) -> Result<BodyVerdict, Error> {
        let _ = (exchange, body);
        Ok(BodyVerdict::Keep)
    }

    /// The response's body is over, and its [trailers](Exchange::trailers) are
    /// there.
    fn on_response_trailers(&self, exchange: &Exchange) -> Result<(), Error> {
        let _ = exchange;
        Ok(())
    }

    /// The exchange is over; the client no longer waits.
    fn on_done(&self, exchange: &Exchange) {
        let _ = exchange;
    }
}

/// How the exchange goes on after a head. Without [`Buffer`](Verdict::Buffer) or
/// [`Transform`](Verdict::Transform) the body passes by.
#[derive(Debug)]
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
    /// Collect the body, holding the head, and call `on_request_body` or
    /// `on_response_body` with it. See [`Verdict::buffer`] and [`Verdict::peek`].
    Buffer {
        /// In bytes.
        limit: u32,
        /// What to do with a longer one.
        overflow: Overflow,
    },
    /// Send the head on and pass the body through this, chunk by chunk. See
    /// [`Verdict::transform`].
    Transform(Box<dyn Transform>),
}

impl Verdict {
    /// Collect the whole body. One of more than `limit` bytes is refused, with
    /// 413 (request) or 502 (response).
    pub fn buffer(limit: u32) -> Self {
        Verdict::Buffer {
            limit,
            overflow: Overflow::Reject,
        }
    }

    /// Look at the first `limit` bytes of the body. What is longer passes, but
    /// cannot be replaced.
    pub fn peek(limit: u32) -> Self {
        Verdict::Buffer {
            limit,
            overflow: Overflow::Truncate,
        }
    }

    /// Pass the body through this, chunk by chunk.
    pub fn transform(transform: impl Transform + 'static) -> Self {
        Verdict::Transform(Box::new(transform))
    }
}

/// For tests. A transform equals nothing, not even itself.
impl PartialEq for Verdict {
    fn eq(&self, other: &Self) -> bool {
        match self {
            Verdict::Next => matches!(other, Verdict::Next),
            Verdict::Leave => matches!(other, Verdict::Leave),
            Verdict::Respond(reply) => matches!(other, Verdict::Respond(others) if reply == others),
            Verdict::Reset => matches!(other, Verdict::Reset),
            Verdict::Buffer { limit, overflow } => matches!(
                other,
                Verdict::Buffer { limit: others_limit, overflow: others_overflow }
                    if (limit, overflow) == (others_limit, others_overflow)
            ),
            Verdict::Transform(_) => false,
        }
    }
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
