//! Bodies: collected whole, or rewritten as they stream by.

use std::fmt;

use crate::{Error, Exchange, Reply};

/// A body that was collected, or the beginning of one. A message without a body
/// has an empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// What is there of it.
    pub bytes: Vec<u8>,
    /// Whether that is all. Only [`Verdict::peek`](crate::Verdict::peek) shows
    /// less.
    pub complete: bool,
}

/// How the exchange goes on after a collected body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyVerdict {
    /// Send it on as it is.
    Keep,
    /// Send this instead; the proxy corrects `content-length`. Of a body that is
    /// not [`complete`](Body::complete) it is a failure of the filter.
    Replace(Vec<u8>),
    /// Answer now; in the response phase, replace the upstream's answer.
    Respond(Reply),
    /// Reset the stream or close the connection without an answer.
    Reset,
}

impl From<Reply> for BodyVerdict {
    fn from(reply: Reply) -> Self {
        BodyVerdict::Respond(reply)
    }
}

/// What to do with a body longer than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// Answer 413 (request) or 502 (response).
    Reject,
    /// Show its beginning, read-only; the whole body passes.
    Truncate,
}

/// Rewrites one body as it streams by.
///
/// It belongs to one exchange, so that what it must remember stands in its
/// struct, and outlives the call that made it: what it needs of the filter, it
/// takes along as a clone or an `Rc`. The head has gone out: heads can be read,
/// and changes to them are [`HeadError::TooLate`](crate::HeadError::TooLate).
/// Attributes and state can be set, a delay has no effect.
///
/// ```
/// use lockgate_sdk::prelude::*;
///
/// /// Makes line ends those of Unix.
/// struct UnixLines;
///
/// impl Transform for UnixLines {
///     fn push(&mut self, _: &Exchange, mut chunk: Vec<u8>) -> Result<Vec<u8>, Error> {
///         chunk.retain(|byte| *byte != b'\r');
///         Ok(chunk)
///     }
/// }
///
/// let verdict = Verdict::transform(UnixLines);
/// ```
pub trait Transform {
    /// Take a chunk and give what is ready to go out, possibly nothing. Chunks
    /// end anywhere, also within a character.
    fn push(&mut self, exchange: &Exchange, chunk: Vec<u8>) -> Result<Vec<u8>, Error>;

    /// The body is over: give what is left.
    fn finish(&mut self, exchange: &Exchange) -> Result<Vec<u8>, Error> {
        let _ = exchange;
        Ok(Vec::new())
    }
}

impl fmt::Debug for dyn Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}
