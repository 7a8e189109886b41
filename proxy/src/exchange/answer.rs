//! An answer on its way to the client, with what is known of how it came about.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Version;

use super::midway::Midway;
use super::rehearsal::Decided;
use super::stages::{Collection, Stages, Step, TooLarge};
use crate::cluster::Endpoint;
use crate::config::Name;
use crate::error::{ErrorKind, ProxyError};
use crate::filter::{Collect, Transform};
use crate::http::ResponseHead;
use crate::stats::NoRetry;
use crate::upstream::{AnswerBody, Frame, Opaque, Try};

/// What the client is to get.
pub enum Outcome {
    Answer(ResponseHead, Body),
    /// Nothing: the connection is closed.
    Reset,
}

pub enum Body {
    Full(Bytes),
    /// Passed on as it comes.
    Stream(Box<AnswerBody>),
    /// As it comes out of what filters make of it.
    Staged(Box<Staged>),
}

/// A body that filters look at.
pub struct Staged {
    /// None of a body that was there as a whole.
    source: Option<Box<AnswerBody>>,
    stages: Stages,
    /// As the origin told it, while that is still true.
    length: Option<u64>,
}

impl Body {
    /// Its length, where it is known before it is sent.
    pub fn length(&self) -> Option<u64> {
        match self {
            Body::Full(bytes) => Some(bytes.len() as u64),
            Body::Stream(stream) => stream.content_length(),
            Body::Staged(staged) => staged.length.or_else(|| staged.stages.length()),
        }
    }

    /// The next part as it goes on, of a body that comes in parts. `sent` bytes
    /// of it went on before. Cancel-safe.
    pub async fn next(
        &mut self,
        midway: &Midway<'_>,
        sent: u64,
    ) -> Result<Option<Frame>, ProxyError> {
        match self {
            Body::Full(_) => Ok(None),
            Body::Stream(stream) => stream.next_frame().await.transpose(),
            Body::Staged(staged) => {
                midway.set_response_bytes(sent);
                staged.next(midway).await
            }
        }
    }

    /// The connection that goes on behind it in another protocol, if one does.
    pub fn take_switched(&mut self) -> Option<Box<Opaque>> {
        match self {
            Body::Full(_) => None,
            Body::Stream(stream) => stream.take_switched(),
            Body::Staged(staged) => staged.source.as_mut()?.take_switched(),
        }
    }

    /// Passes it through one more filter.
    pub fn transform(&mut self, transform: Transform) {
        let staged = self.staged();
        staged.length = None;
        staged.stages.add(transform);
    }

    /// Reads as much of it as a filter wants to see. It has to be put back.
    pub async fn collect(
        &mut self,
        collect: Collect,
        midway: &Midway<'_>,
    ) -> Result<Collection, ProxyError> {
        let staged = self.staged();
        let mut collection = Collection::new();
        loop {
            let part = staged.next(midway).await?;
            match collection.take(part, collect) {
                Ok(true) => return Ok(collection),
                Ok(false) => {}
                Err(TooLarge) => return Err(ErrorKind::AnswerBodyTooLarge.into()),
            }
        }
    }

    /// It goes on as it was collected or replaced, and what comes behind.
    pub fn put_back(&mut self, collection: Collection) {
        let staged = self.staged();
        if collection.body.is_complete {
            staged.length = None;
        }
        staged.stages.put_back(collection);
    }

    fn staged(&mut self) -> &mut Staged {
        if !matches!(self, Body::Staged(_)) {
            let body = std::mem::replace(self, Body::Full(Bytes::new()));
            *self = Body::Staged(Box::new(Staged::new(body)));
        }
        match self {
            Body::Staged(staged) => staged,
            Body::Full(_) | Body::Stream(_) => unreachable!("it has just been made one"),
        }
    }
}

impl Staged {
    fn new(body: Body) -> Self {
        let length = body.length();
        let mut stages = Stages::new();
        let source = match body {
            Body::Full(bytes) => {
                if !bytes.is_empty() {
                    stages.feed(Some(Frame::Data(bytes)));
                }
                stages.feed(None);
                None
            }
            Body::Stream(source) => Some(source),
            Body::Staged(staged) => return *staged,
        };
        Self {
            source,
            stages,
            length,
        }
    }

    /// The next part as it comes out. Cancel-safe.
    async fn next(&mut self, midway: &Midway<'_>) -> Result<Option<Frame>, ProxyError> {
        loop {
            match self.stages.advance(midway)? {
                Step::Give(frame) => return Ok(Some(frame)),
                Step::End => return Ok(None),
                Step::Want => self.read().await?,
                Step::Rest => tokio::task::yield_now().await,
            }
        }
    }

    async fn read(&mut self) -> Result<(), ProxyError> {
        let frame = match &mut self.source {
            Some(source) => source.next_frame().await.transpose()?,
            None => None,
        };
        self.stages.feed(frame);
        Ok(())
    }
}

/// How an answer came about, for the record.
#[derive(Default)]
pub struct Facts {
    /// How the request phases ended; `None` where the proxy itself ended them.
    pub decided: Option<Decided>,
    pub cluster: Option<Name>,
    pub endpoint: Option<Arc<Endpoint>>,
    /// Of HTTP, in which the origin answered.
    pub version: Option<Version>,
    pub reused: bool,
    pub retries: u32,
    /// All of them, where there was more than one.
    pub tries: Vec<Try>,
    /// Why there was no other, where there would have been.
    pub no_retry: Option<NoRetry>,
    /// From sending the request to the head of its answer.
    pub upstream: Option<Duration>,
    /// The filter that made the answer.
    pub filter: Option<Name>,
    pub error: Option<ProxyError>,
}
