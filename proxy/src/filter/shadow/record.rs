//! An exchange as one filter sees it, copied on the worker while it happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;

use super::Shadow;
use crate::filter::budget::thread_cpu_time;
use crate::filter::call::{Call, Collected};
use crate::filter::fault::Failure;
use crate::filter::state::Phase;
use crate::filter::verdict::{BodyOutcome, Collect, Outcome, Reply};
use crate::filter::view::View;
use crate::shared::Found;

/// Bytes that are copied of one exchange, heads aside, which have limits of their own.
/// One that has more is not looked at.
const MAX_BYTES: usize = 256 << 10;

/// Calls that are copied of one exchange: more than there are phases.
const MAX_CALLS: usize = 16;

/// The calls of one filter in one exchange.
#[derive(Default)]
pub struct Exchange {
    pub place: usize,
    /// What it found shared.
    pub found: BTreeMap<String, Found>,
    pub calls: Vec<Seen>,
}

/// One phase as it was before the filter was called and after.
pub struct Seen {
    pub phase: Phase,
    pub at: Instant,
    pub before: Box<View>,
    pub body: Option<Body>,
    /// `None` where the serving version did not ask to be called.
    pub came: Option<Came>,
}

/// A body that was collected.
pub struct Body {
    pub bytes: Bytes,
    pub is_complete: bool,
}

/// What came of a call.
pub struct Came {
    pub said: Said,
    pub after: Box<View>,
    /// `None` where others may have had the processor meanwhile.
    pub cpu: Option<Duration>,
}

/// A verdict, to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Next,
    Leave,
    Respond(Box<Reply>),
    Reset,
    Collect(Collect),
    Transform,
    Replace(Bytes),
    Failed(&'static str),
}

/// What came of a call, before it is known whether there is room for it.
#[derive(Clone, Copy)]
pub enum Outcomes<'a> {
    Head(&'a Result<Outcome, Failure>),
    Body(&'a Result<BodyOutcome, Failure>),
    Other(&'a Result<(), Failure>),
}

/// A call that is being watched.
pub struct Watch {
    before: Box<View>,
    body: Option<Body>,
    at: Instant,
    began: Duration,
}

/// An exchange that is being copied. It is looked at when this is dropped.
pub struct Recording {
    shadow: Arc<Shadow>,
    worker: usize,
    exchange: Exchange,
    bytes_left: usize,
    /// A call has begun of which nothing is known yet.
    is_open: bool,
    /// Something was too large.
    is_given_up: bool,
}

impl Outcomes<'_> {
    /// What there is to copy.
    fn bytes(self) -> usize {
        match self {
            Self::Head(Ok(Outcome::Respond(reply)))
            | Self::Body(Ok(BodyOutcome::Respond(reply))) => reply.body.len(),
            Self::Body(Ok(BodyOutcome::Replace(bytes))) => bytes.len(),
            _ => 0,
        }
    }

    pub fn said(self) -> Said {
        match self {
            Self::Head(Ok(Outcome::Next))
            | Self::Body(Ok(BodyOutcome::Keep))
            | Self::Other(Ok(())) => Said::Next,
            Self::Head(Ok(Outcome::Leave)) => Said::Leave,
            Self::Head(Ok(Outcome::Respond(reply)))
            | Self::Body(Ok(BodyOutcome::Respond(reply))) => Said::Respond(reply.clone()),
            Self::Head(Ok(Outcome::Reset)) | Self::Body(Ok(BodyOutcome::Reset)) => Said::Reset,
            Self::Head(Ok(Outcome::Collect(collect))) => Said::Collect(*collect),
            Self::Head(Ok(Outcome::Transform(_))) => Said::Transform,
            Self::Body(Ok(BodyOutcome::Replace(bytes))) => {
                Said::Replace(Bytes::copy_from_slice(bytes))
            }
            Self::Head(Err(failure)) | Self::Body(Err(failure)) | Self::Other(Err(failure)) => {
                Said::Failed(failure.fault.name())
            }
        }
    }
}

impl Watch {
    /// A call is about to be made.
    pub fn begin(view: &mut View, body: Option<&Collected>) -> Self {
        view.found = Some(Box::default());
        let body = body.map(|body| Body {
            bytes: Bytes::copy_from_slice(&body.bytes),
            is_complete: body.is_complete,
        });
        Self {
            before: view.copy(),
            body,
            at: Instant::now(),
            began: thread_cpu_time(),
        }
    }

    pub fn with_trailers(mut self, trailers: &HeaderMap) -> Self {
        self.before.trailers = Some(trailers.clone());
        self
    }
}

impl Recording {
    pub fn new(shadow: Arc<Shadow>, worker: usize) -> Self {
        Self {
            shadow,
            worker,
            exchange: Exchange::default(),
            bytes_left: MAX_BYTES,
            is_open: false,
            is_given_up: false,
        }
    }

    /// A call is to be made, which may yet be given up.
    pub fn open(&mut self) {
        self.is_open = true;
    }

    /// Whether a call that sees this is copied.
    pub fn takes(&mut self, view: &View, body: Option<&Collected>) -> bool {
        let attributes = view.attributes.iter();
        let attributes: usize = attributes
            .map(|(name, value)| name.len() + value.len())
            .sum();
        // Before the call and after it.
        let bytes = body.map_or(0, |body| body.bytes.len()) + 2 * attributes;
        self.exchange.calls.len() < MAX_CALLS && self.fits(bytes)
    }

    fn fits(&mut self, bytes: usize) -> bool {
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => self.bytes_left = left,
            None => {
                self.is_given_up = true;
                self.exchange = Exchange::default();
            }
        }
        !self.is_given_up
    }

    /// A call is over. `is_alone` says that nobody else had the thread meanwhile.
    pub fn note(
        &mut self,
        call: Call,
        watch: Watch,
        outcome: Outcomes<'_>,
        (view, trailers): (&mut View, Option<&HeaderMap>),
        is_alone: bool,
    ) {
        let cpu = is_alone.then(|| thread_cpu_time().saturating_sub(watch.began));
        self.is_open = false;
        let found = *view.found.take().unwrap_or_default();
        let entry = |(key, found): (&String, &Found)| key.len() + bytes_of(found);
        let bytes: usize = found.iter().map(entry).sum();
        if !self.fits(outcome.bytes() + bytes) {
            return;
        }
        let mut after = view.copy();
        after.trailers = trailers.cloned();
        self.exchange.place = call.place;
        for (key, found) in found {
            // What it finds later may be what it left there.
            self.exchange.found.entry(key).or_insert(found);
        }
        self.exchange.calls.push(Seen {
            phase: call.phase,
            at: watch.at,
            before: watch.before,
            body: watch.body,
            came: Some(Came {
                said: outcome.said(),
                after,
                cpu,
            }),
        });
    }

    /// A phase in which the serving version is not called.
    pub fn pass(&mut self, phase: Phase, place: usize, view: &View, trailers: Option<&HeaderMap>) {
        if self.takes(view, None) {
            let mut before = view.copy();
            before.trailers = trailers.cloned();
            self.exchange.place = place;
            self.exchange.calls.push(Seen {
                phase,
                at: Instant::now(),
                before,
                body: None,
                came: None,
            });
        }
    }
}

fn bytes_of(found: &Found) -> usize {
    found.as_ref().map_or(0, |(entry, _)| entry.value.bytes())
}

impl Drop for Recording {
    fn drop(&mut self) {
        let exchange = std::mem::take(&mut self.exchange);
        let is_whole = !self.is_open && !self.is_given_up;
        self.shadow.recorded(exchange, is_whole, self.worker);
    }
}
