//! An answer on its way to the client, with what is known of how it came about.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::cluster::Endpoint;
use crate::config::Name;
use crate::error::ProxyError;
use crate::http::ResponseHead;
use crate::upstream::AnswerBody;

/// What the client is to get.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are answers, and a box is an allocation"
)]
pub enum Outcome {
    Answer(ResponseHead, Body),
    /// Nothing: the connection is closed.
    Reset,
}

pub enum Body {
    Full(Bytes),
    /// Passed on as it comes.
    Stream(AnswerBody),
}

/// How an answer came about, for the record.
#[derive(Default)]
pub struct Facts {
    pub cluster: Option<Name>,
    pub endpoint: Option<Arc<Endpoint>>,
    pub reused: bool,
    pub retries: u32,
    /// From sending the request to the head of its answer.
    pub upstream: Option<Duration>,
    /// The filter that made the answer.
    pub filter: Option<Name>,
    pub error: Option<ProxyError>,
}
