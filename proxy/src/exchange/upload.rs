//! The request's body on its way from the client.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::Http2Sink;
use super::incoming::Source;
use super::midway::Midway;
use super::mirror::Copy;
use super::stages::{Collection, Stages, Step, TooLarge};
use crate::error::{ErrorKind, ProxyError};
use crate::filter::{Collect, Transform, View};
use crate::http::Framing;
use crate::upstream::{BodySender, Frame};

/// Reads a body, passes it through what filters make of it, and hands it on,
/// piece by piece. It runs beside whatever else the exchange does and may be left
/// alone at any await and run again later.
pub struct Upload<'a> {
    source: Source<'a>,
    /// What filters make of it, if any of them looks at it.
    stages: Option<Box<Stages>>,
    framing: Framing,
    /// Read and not yet taken by the origin.
    pending: Option<Bytes>,
    /// Gone once the origin no longer wants the rest, which is then discarded.
    pub sender: Option<BodySender>,
    /// The client may have said all that it has, and waits to hear what is said to it.
    pub may_have_ended: bool,
    /// These never hold the original up: a copy that lags is cut off.
    pub copies: Vec<Copy>,
    /// The client was sent `100 Continue`.
    pub was_asked_for: bool,
    /// All of it has been handed on or discarded.
    is_over: bool,
    /// It cannot be read to its end: it failed, or its head said already that
    /// it is too large. The connection ends with the answer.
    is_broken: bool,
}

impl<'a> Upload<'a> {
    pub fn new(source: Source<'a>, framing: Framing) -> Self {
        Self {
            is_over: source.is_done(),
            source,
            stages: None,
            framing,
            pending: None,
            sender: None,
            may_have_ended: false,
            copies: Vec::new(),
            was_asked_for: false,
            is_broken: false,
        }
    }

    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Nothing of it is read any more.
    pub fn give_up(&mut self) {
        self.is_broken = true;
        self.sender = None;
        self.copies.clear();
        self.stages = None;
    }

    /// Whether the body was read to its end, so that the connection may carry
    /// another request.
    pub fn is_done(&self) -> bool {
        self.source.is_done()
    }

    /// Body bytes that the client has sent so far.
    pub fn bytes(&self) -> u64 {
        self.source.bytes()
    }

    /// How it goes on: filters may have changed its length.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether filters go on looking at it.
    pub fn is_staged(&self) -> bool {
        self.stages.is_some()
    }

    /// Whether it is longer than a filter takes, as far as its length is known.
    pub fn exceeds(&self, collect: Collect) -> bool {
        collect.reject && self.framing.exceeds(collect.limit as u64)
    }

    /// Whether the client has sent any of it yet.
    pub fn has_begun(&self) -> bool {
        self.source.has_begun()
    }

    /// Runs `work`, for which no more of the body is read, as long as the client
    /// is there.
    pub async fn beside<T>(
        &mut self,
        work: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, ProxyError> {
        match self.source.shows_end() && !self.may_have_ended {
            true => while_there(&mut self.source, work).await,
            false => Ok(work.await),
        }
    }

    /// Whether there is more of it, and all that came has been taken.
    pub fn waits_for_client(&self) -> bool {
        !self.source.is_done() && !self.is_broken && self.pending.is_none()
    }

    /// What is still to come, where that is known; else nothing is.
    pub fn remaining(&self) -> u64 {
        self.source.remaining()
    }

    /// The client may be silent for so long.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.source.set_timeout(timeout);
    }

    /// From now on the rest goes nowhere, and `run` fails beyond so many bytes.
    pub fn discard(&mut self, allowance: u64) {
        self.sender = None;
        self.copies.clear();
        self.stages = None;
        self.pending = None;
        self.is_over = self.source.is_done();
        self.source.limit(allowance);
    }

    /// Passes it through one more filter, unless there is nothing to pass.
    pub fn transform(&mut self, transform: Transform, view: &View) {
        if matches!(self.framing, Framing::None | Framing::Length(0)) {
            return transform.let_go(view);
        }
        self.framing = Framing::Chunked;
        self.stages_mut().add(transform);
    }

    fn stages_mut(&mut self) -> &mut Stages {
        let is_read = self.source.is_done();
        self.stages.get_or_insert_with(|| {
            let mut stages = Box::new(Stages::new());
            if is_read {
                stages.feed(None);
            }
            stages
        })
    }

    /// Reads as much of it as a filter wants to see. It has to be put back.
    /// Dropped halfway, or failed, what was read is lost.
    pub async fn collect(
        &mut self,
        collect: Collect,
        midway: &Midway<'_>,
    ) -> Result<Collection, ProxyError> {
        let stream = self.source.stream();
        let collected = unless_reset(stream, pin!(self.collect_some(collect, midway))).await;
        if collected.is_err() {
            self.give_up();
        }
        collected
    }

    async fn collect_some(
        &mut self,
        collect: Collect,
        midway: &Midway<'_>,
    ) -> Result<Collection, ProxyError> {
        if self.is_broken || self.exceeds(collect) {
            return Err(ErrorKind::BodyTooLarge.into());
        }
        let mut collection = Collection::new();
        loop {
            let part = self.next(midway).await?;
            match collection.take(part, collect) {
                Ok(true) => return Ok(collection),
                Ok(false) => {}
                Err(TooLarge) => return Err(ErrorKind::BodyTooLarge.into()),
            }
        }
    }

    /// The body goes on as it was collected or replaced, and what comes behind.
    pub fn put_back(&mut self, collection: Collection) {
        let is_complete = collection.body.is_complete;
        let stages = self.stages_mut();
        stages.put_back(collection);
        if is_complete {
            self.framing = match (stages.length(), self.framing) {
                (Some(0), Framing::None) => Framing::None,
                (Some(length), _) => Framing::Length(length),
                (None, _) => Framing::Chunked,
            };
        }
        self.is_over = false;
    }

    /// Reads the body to its end. Backpressure: nothing is read while the origin
    /// has not taken what is there. Cancel-safe. Once it has failed it is given
    /// up, and must not be run again.
    pub async fn run(&mut self, midway: &Midway<'_>) -> Result<(), ProxyError> {
        let stream = self.source.stream();
        let outcome = unless_reset(stream, pin!(self.pass_to_end(midway))).await;
        if outcome.is_err() {
            self.give_up();
        }
        outcome
    }

    async fn pass_to_end(&mut self, midway: &Midway<'_>) -> Result<(), ProxyError> {
        while !self.is_over {
            if !self.is_wanted() {
                // It is only read, and no filter is called for it.
                self.stages = None;
            }
            self.pass_on().await;
            match self.next(midway).await? {
                Some(Frame::Data(bytes)) => self.take(bytes),
                Some(Frame::Trailers(mut trailers)) if self.is_wanted() => {
                    midway.request_trailers(&mut trailers)?;
                    self.end_with(trailers);
                }
                Some(Frame::Trailers(_)) => {}
                None => self.finish(),
            }
        }
        Ok(())
    }

    /// Whether it goes anywhere.
    fn is_wanted(&self) -> bool {
        self.sender.is_some() || !self.copies.is_empty()
    }

    /// The next part as it goes on. Cancel-safe.
    async fn next(&mut self, midway: &Midway<'_>) -> Result<Option<Frame>, ProxyError> {
        let Some(stages) = &mut self.stages else {
            return self.source.read().await;
        };
        loop {
            midway.set_request_bytes(self.source.bytes());
            match stages.advance(midway)? {
                Step::Give(frame) => return Ok(Some(frame)),
                Step::End => return Ok(None),
                Step::Want => stages.feed(self.source.read().await?),
                Step::Rest => tokio::task::yield_now().await,
            }
        }
    }

    fn take(&mut self, bytes: Bytes) {
        for copy in &mut self.copies {
            copy.offer(&bytes);
        }
        self.pending = Some(bytes);
    }

    /// Waits until the origin has room for what is pending.
    async fn pass_on(&mut self) {
        if self.pending.is_none() {
            return;
        }
        if let Some(sender) = &mut self.sender {
            let room = sender.room().await;
            let sent = room.is_ok()
                && self
                    .pending
                    .take()
                    .is_none_or(|bytes| sender.try_send(bytes).is_ok());
            if !sent {
                self.sender = None;
            }
        }
        self.pending = None;
    }

    fn end_with(&mut self, trailers: HeaderMap) {
        for copy in self.copies.drain(..) {
            copy.trailers(&trailers);
        }
        if let Some(sender) = self.sender.take() {
            sender.trailers(trailers);
        }
    }

    fn finish(&mut self) {
        self.is_over = true;
        for copy in self.copies.drain(..) {
            copy.finish();
        }
        if let Some(sender) = self.sender.take() {
            sender.finish();
        }
    }
}

/// Runs `work` to its end and the upload beside it for as long; once the body is
/// there, it looks whether the client is. An upload that fails or a client that
/// goes away ends both: `work` is dropped.
pub async fn alongside<T>(
    upload: &mut Upload<'_>,
    midway: &Midway<'_>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, ProxyError> {
    if upload.is_broken() || upload.is_over {
        return upload.beside(work).await;
    }
    let first = {
        let mut running = pin!(upload.run(midway));
        poll_fn(|context| {
            if let Poll::Ready(value) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(Some(value)));
            }
            running.as_mut().poll(context).map_ok(|()| None)
        })
        .await?
    };
    match first {
        Some(value) => Ok(value),
        None => upload.beside(work).await,
    }
}

/// A stream that was broken off frees its place for another at once, so nothing may go
/// on for it.
async fn unless_reset<T>(
    stream: Option<&Http2Sink>,
    mut work: Pin<&mut impl Future<Output = Result<T, ProxyError>>>,
) -> Result<T, ProxyError> {
    let Some(stream) = stream else {
        return work.await;
    };
    poll_fn(|context| {
        if let Poll::Ready(outcome) = work.as_mut().poll(context) {
            return Poll::Ready(outcome);
        }
        let reset = stream.poll_reset(context);
        reset.map(|()| Err(ErrorKind::ClientGone.into()))
    })
    .await
}

/// A client that closes its sending side has gone away: what nobody waits for
/// is not worth an origin's time.
async fn while_there<T>(
    source: &mut Source<'_>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, ProxyError> {
    let mut gone = pin!(source.gone());
    poll_fn(|context| {
        if let Poll::Ready(value) = work.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        gone.as_mut().poll(context).map(Err)
    })
    .await
}
