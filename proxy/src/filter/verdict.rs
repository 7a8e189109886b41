//! What a filter answered, checked: nothing illegal leaves here.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::bindings::exports::lockgate::filter::http_filter::{Reply as RawReply, Verdict};
use super::fault::{Failure, FilterFault};
use super::head_rules;
use crate::config::Name;

/// An answer made by a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Who made it.
    pub filter: Name,
}

/// A good verdict of one call.
#[derive(Debug)]
pub(super) enum Outcome {
    Next,
    Leave,
    Respond(Reply),
    Reset,
}

impl Outcome {
    pub fn check(verdict: Verdict, filter: &Name, max_bytes: usize) -> Result<Self, Failure> {
        let unsupported = |what| {
            let why = format!("`{what}` is not served by this version");
            Err(Failure::new(FilterFault::UnsupportedVerdict, why))
        };
        match verdict {
            Verdict::Next => Ok(Outcome::Next),
            Verdict::Leave => Ok(Outcome::Leave),
            Verdict::Respond(reply) => check_reply(reply, filter, max_bytes).map(Outcome::Respond),
            Verdict::Reset => Ok(Outcome::Reset),
            Verdict::Buffer(_) => unsupported("buffer"),
            Verdict::Transform(_) => unsupported("transform"),
        }
    }
}

fn check_reply(raw: RawReply, filter: &Name, max_bytes: usize) -> Result<Reply, Failure> {
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
    Ok(Reply {
        status,
        headers,
        body: Bytes::from(raw.body),
        filter: filter.clone(),
    })
}
