//! What a request may be sent again with: its head, and as much of its body as is kept.

use http::{HeaderMap, Method, Request, Uri};

use super::body::{Replay, RequestBody};
use super::forward::Asked;
use super::request::ToSend;
use crate::config::{ClusterProtocol, RetryMethods};

/// A copy of a request. Only what a policy may want to send again has one.
pub(super) struct Spare {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Kept,
}

enum Kept {
    Empty,
    Some(Replay),
    /// Larger than the policy lets it be.
    TooLarge,
}

impl Spare {
    pub fn of(
        request: &mut Request<RequestBody>,
        asked: &Asked<'_>,
        protocol: ClusterProtocol,
    ) -> Option<Box<Self>> {
        let policy = asked.terms.retry.filter(|policy| policy.attempts > 1)?;
        let is_repeatable = policy.methods == RetryMethods::Any || asked.is_idempotent;
        let may_be_refused = policy.on.refused_stream && protocol != ClusterProtocol::Http1;
        if !is_repeatable && !may_be_refused {
            return None;
        }
        Some(Box::new(Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            body: match request.body_mut() {
                RequestBody::Empty => Kept::Empty,
                RequestBody::Stream(body) => {
                    let kept = body.keep(policy.max_body);
                    kept.map_or(Kept::TooLarge, Kept::Some)
                }
            },
        }))
    }

    /// Whether it could be sent again, as far as its body has come.
    pub fn is_whole(&self) -> bool {
        match &self.body {
            Kept::Empty => true,
            Kept::Some(replay) => replay.is_whole(),
            Kept::TooLarge => false,
        }
    }

    /// The request from its beginning. `None` if there is no more of it.
    pub fn request(&self) -> Option<ToSend> {
        let body = match &self.body {
            Kept::Empty => RequestBody::Empty,
            Kept::Some(replay) => replay.again()?,
            Kept::TooLarge => return None,
        };
        Some(self.with(body))
    }

    /// Whether all of it has come, and is there.
    pub fn is_complete(&self) -> bool {
        match &self.body {
            Kept::Empty => true,
            Kept::Some(replay) => replay.is_complete(),
            Kept::TooLarge => false,
        }
    }

    /// The request once more, while it is sent. `None` if not all of it is there.
    pub fn copy(&self) -> Option<ToSend> {
        let body = match &self.body {
            Kept::Empty => RequestBody::Empty,
            Kept::Some(replay) => replay.copy()?,
            Kept::TooLarge => return None,
        };
        Some(self.with(body))
    }

    fn with(&self, body: RequestBody) -> ToSend {
        let mut request = Box::new(Request::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}
