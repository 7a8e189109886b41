//! An exchange as one filter sees it, copied on the worker while it happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::mpsc;

use crate::filter::budget::thread_cpu_time;
use crate::filter::call::{Call, Collected};
use crate::filter::fault::Failure;
use crate::filter::state::Phase;
use crate::filter::verdict::{BodyOutcome, Collect, Outcome, Reply};
use crate::filter::view::View;
use crate::shared::Found;
use crate::stats::{PerWorker, ShadowStats};

/// Bytes of collected bodies that are copied of one exchange. One that has more is
/// not looked at.
const MAX_BODY_BYTES: usize = 128 << 10;

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
    Respond(Reply),
    Reset,
    Collect(Collect),
    Transform,
    Replace(Bytes),
    Failed(&'static str),
}

/// A call that is being watched.
pub struct Watch {
    before: Box<View>,
    body: Option<Body>,
    began: Duration,
}

/// An exchange that is being copied. It is looked at when this is dropped.
pub struct Recording {
    /// Room for it, until something of it was too large.
    room: Option<mpsc::OwnedPermit<Exchange>>,
    exchange: Exchange,
    body_bytes: usize,
    stats: Arc<PerWorker<ShadowStats>>,
    worker: usize,
}

impl Said {
    pub fn about_head(outcome: &Result<Outcome, Failure>) -> Self {
        match outcome {
            Ok(Outcome::Next) => Self::Next,
            Ok(Outcome::Leave) => Self::Leave,
            Ok(Outcome::Respond(reply)) => Self::Respond(reply.clone()),
            Ok(Outcome::Reset) => Self::Reset,
            Ok(Outcome::Collect(collect)) => Self::Collect(*collect),
            Ok(Outcome::Transform(_)) => Self::Transform,
            Err(failure) => Self::Failed(failure.fault.name()),
        }
    }

    pub fn about_body(outcome: &Result<BodyOutcome, Failure>) -> Self {
        match outcome {
            Ok(BodyOutcome::Keep) => Self::Next,
            Ok(BodyOutcome::Replace(bytes)) => Self::Replace(bytes.clone().into()),
            Ok(BodyOutcome::Respond(reply)) => Self::Respond(reply.clone()),
            Ok(BodyOutcome::Reset) => Self::Reset,
            Err(failure) => Self::Failed(failure.fault.name()),
        }
    }

    pub fn of(outcome: &Result<(), Failure>) -> Self {
        match outcome {
            Ok(()) => Self::Next,
            Err(failure) => Self::Failed(failure.fault.name()),
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
            began: thread_cpu_time(),
        }
    }

    pub fn with_trailers(mut self, trailers: &HeaderMap) -> Self {
        self.before.trailers = Some(trailers.clone());
        self
    }
}

impl Recording {
    pub fn new(
        room: mpsc::OwnedPermit<Exchange>,
        stats: Arc<PerWorker<ShadowStats>>,
        worker: usize,
    ) -> Self {
        Self {
            room: Some(room),
            exchange: Exchange::default(),
            body_bytes: 0,
            stats,
            worker,
        }
    }

    /// Whether a call with this body is copied.
    pub fn takes(&mut self, body: Option<&Collected>) -> bool {
        self.body_bytes += body.map_or(0, |body| body.bytes.len());
        let is_too_much =
            self.body_bytes > MAX_BODY_BYTES || self.exchange.calls.len() >= MAX_CALLS;
        if is_too_much && self.room.take().is_some() {
            self.exchange.calls = Vec::new();
            self.stats.of(self.worker).skipped.add(1);
        }
        self.room.is_some()
    }

    /// A call is over. `is_alone` says that nobody else had the thread meanwhile.
    pub fn note(
        &mut self,
        call: Call,
        watch: Watch,
        said: Said,
        (view, trailers): (&mut View, Option<&HeaderMap>),
        is_alone: bool,
    ) {
        let cpu = is_alone.then(|| thread_cpu_time().saturating_sub(watch.began));
        let mut after = view.copy();
        after.trailers = trailers.cloned();
        self.exchange.place = call.place;
        for (key, found) in *view.found.take().unwrap_or_default() {
            // What it finds later may be what it left there.
            self.exchange.found.entry(key).or_insert(found);
        }
        self.exchange.calls.push(Seen {
            phase: call.phase,
            before: watch.before,
            body: watch.body,
            came: Some(Came { said, after, cpu }),
        });
    }

    /// A phase in which the serving version is not called.
    pub fn pass(&mut self, phase: Phase, place: usize, view: &View, trailers: Option<&HeaderMap>) {
        if self.takes(None) {
            let mut before = view.copy();
            before.trailers = trailers.cloned();
            self.exchange.place = place;
            self.exchange.calls.push(Seen {
                phase,
                before,
                body: None,
                came: None,
            });
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let Some(room) = self.room.take() else { return };
        // One in which it had no part tells nothing.
        if !self.exchange.calls.is_empty() {
            room.send(std::mem::take(&mut self.exchange));
        }
    }
}
