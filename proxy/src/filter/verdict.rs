//! What a filter answered, checked: nothing illegal leaves here.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use wasmtime::component::ResourceAny;

use super::bindings::exports::lockgate::filter::http_filter::{
    BodyVerdict, Overflow, Reply as RawReply, Verdict,
};
use super::fault::{Failure, FilterFault};
use super::head_rules;
use crate::config::{FilterLimits, Name};

/// An answer made by a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Who made it.
    pub filter: Name,
}

/// A body is to be collected before the exchange goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collect {
    /// Bytes of it that the filter sees.
    pub limit: usize,
    /// What is longer is refused; else its beginning is shown.
    pub reject: bool,
}

/// A good verdict of one call. What is large is boxed: most are `Next`, and move
/// through every call.
#[derive(Debug)]
pub(super) enum Outcome {
    Next,
    Leave,
    Respond(Box<Reply>),
    Reset,
    Collect(Collect),
    Transform(ResourceAny),
}

impl Outcome {
    pub fn check(verdict: Verdict, filter: &Name, limits: &FilterLimits) -> Result<Self, Failure> {
        match verdict {
            Verdict::Next => Ok(Outcome::Next),
            Verdict::Leave => Ok(Outcome::Leave),
            Verdict::Respond(reply) => {
                check_reply(reply, filter, limits.max_reply_bytes).map(Outcome::Respond)
            }
            Verdict::Reset => Ok(Outcome::Reset),
            Verdict::Buffer(buffering) => Ok(Outcome::Collect(Collect {
                limit: (buffering.limit as usize).min(limits.max_buffer_bytes),
                reject: buffering.overflow == Overflow::Reject,
            })),
            Verdict::Transform(handle) => Ok(Outcome::Transform(handle)),
        }
    }
}

/// A good verdict about a body.
#[derive(Debug)]
pub(super) enum BodyOutcome {
    Keep,
    Replace(Vec<u8>),
    Respond(Box<Reply>),
    Reset,
}

impl BodyOutcome {
    /// `is_complete` says whether the filter saw the whole body.
    pub fn check(
        verdict: BodyVerdict,
        is_complete: bool,
        filter: &Name,
        limits: &FilterLimits,
    ) -> Result<Self, Failure> {
        match verdict {
            BodyVerdict::Keep => Ok(BodyOutcome::Keep),
            BodyVerdict::Replace(_) if !is_complete => Err(Failure::new(
                FilterFault::InvalidVerdict,
                "`replace` of a body that was not seen to its end",
            )),
            BodyVerdict::Replace(bytes) => {
                check_output(bytes, limits.max_output_bytes).map(BodyOutcome::Replace)
            }
            BodyVerdict::Respond(reply) => {
                check_reply(reply, filter, limits.max_reply_bytes).map(BodyOutcome::Respond)
            }
            BodyVerdict::Reset => Ok(BodyOutcome::Reset),
        }
    }
}

/// What a filter gives of a body in one call.
pub(super) fn check_output(bytes: Vec<u8>, max_bytes: usize) -> Result<Vec<u8>, Failure> {
    match bytes.len() <= max_bytes {
        true => Ok(bytes),
        false => {
            let why = format!("{} bytes of a body, of {max_bytes} at once", bytes.len());
            Err(Failure::new(FilterFault::OutputLimit, why))
        }
    }
}

fn check_reply(raw: RawReply, filter: &Name, max_bytes: usize) -> Result<Box<Reply>, Failure> {
    let invalid = |why: String| Failure::new(FilterFault::InvalidReply, why);
    let status = head_rules::status(raw.status)
        .map_err(|_| invalid(format!("{} is no status of a final answer", raw.status)))?;
    if head_rules::has_no_body(status) && !raw.body.is_empty() {
        return Err(invalid(format!("an answer of status {status} has no body")));
    }
    let mut headers = HeaderMap::with_capacity(raw.headers.len().min(128));
    for (name, value) in raw.headers {
        let refused = |_| invalid(format!("the field `{}`", super::log::clean(&name, 128)));
        let value = head_rules::value(value).map_err(refused)?;
        let parsed = head_rules::name(&name).map_err(refused)?;
        headers
            .try_append(parsed, value)
            .map_err(|_| invalid("too many fields".into()))?;
    }
    if raw.body.len().saturating_add(head_rules::size(&headers)) > max_bytes {
        let why = format!("an answer of more than {max_bytes} bytes");
        return Err(Failure::new(FilterFault::ReplyTooLarge, why));
    }
    Ok(Box::new(Reply {
        status,
        headers,
        body: Bytes::from(raw.body),
        filter: filter.clone(),
    }))
}
