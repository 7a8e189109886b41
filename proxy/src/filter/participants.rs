//! Which filters take part in one exchange, and with which configuration.

use std::time::Duration;

use http::HeaderMap;
use smallvec::SmallVec;

use super::call::{Call, Collected};
use super::interest::Phases;
use super::pool::{Lease, Room, WorkerFilter};
use super::shadow::{Outcomes, Recording, Watch};
use super::state::Phase;
use super::version::{Place, Version};
use super::view::View;

/// The part of every filter of a chain in one exchange.
///
/// Without heap for as many filters as most chains have.
#[derive(Default)]
pub struct Participants {
    slots: SmallVec<[Slot; 8]>,
    /// Filters whose request phase has begun: those before this place.
    pub(super) requests_begun: usize,
    /// Filters whose response phase is still to come: those before this place.
    pub(super) responses_left: Option<usize>,
}

/// One filter's part.
#[derive(Default)]
pub(super) struct Slot {
    pub part: Part,
    /// Chosen when it is first asked for.
    pub version: Option<Version>,
    /// How long it has held the exchange so far.
    pub delayed: Duration,
    /// An instance that no other exchange may have.
    pub own: Option<Lease>,
    /// It has an instance already, which a body of this exchange passes through.
    pub transforms: bool,
    /// Where a shadow is to see what it sees.
    pub recording: Option<Box<Recording>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Part {
    /// It has not been called, so its configuration is not chosen yet.
    #[default]
    NotCalled,
    /// It takes part, with the configuration of this number.
    Taking(u16),
    /// It took part, and then failed or answered: it hears of the end alone.
    Ended(u16),
    /// It left, failed or answered in its first call, or was off when its turn came.
    Out,
}

impl Slot {
    /// The version of the filter that this exchange sees, and whether a shadow is to
    /// see the exchange too.
    pub fn choose(&mut self, known: &Place, view: &View) -> Version {
        if let Some(version) = self.version {
            return version;
        }
        let version = known.pick(view);
        self.version = Some(version);
        if let (Version::Stable, Some(shadow)) = (version, &known.shadow) {
            self.recording = shadow.record(known.stable.worker());
        }
        version
    }

    /// A call of the filter, which is at this place of the chain.
    pub fn call(&self, phase: Phase, place: usize, config: u16) -> Call {
        Call {
            phase,
            place,
            config,
            delayed: self.delayed,
        }
    }

    /// An exchange must not wait for an instance that is busy with its own body.
    pub fn room(&self) -> Room {
        match self.transforms {
            true => Room::OneMore,
            false => Room::Limited,
        }
    }

    /// It is to be called, which may be given up while it waits.
    pub fn open(&mut self) {
        if let Some(recording) = &mut self.recording {
            recording.open();
        }
    }

    /// Looks on while it is called, where a shadow is to see it.
    pub fn watch(&mut self, view: &mut View, body: Option<&Collected>) -> Option<Watch> {
        let recording = self.recording.as_mut()?;
        recording
            .takes(view, body)
            .then(|| Watch::begin(view, body))
    }

    /// The same for trailers, which the view holds while the filter is called.
    pub fn watch_trailers(&mut self, view: &mut View, trailers: &HeaderMap) -> Option<Watch> {
        let watch = self.watch(view, None);
        watch.map(|watch| watch.with_trailers(trailers))
    }

    /// What came of a call that was looked at.
    pub fn note(
        &mut self,
        call: Call,
        watch: Option<Watch>,
        outcome: Outcomes<'_>,
        left: (&mut View, Option<&HeaderMap>),
        filter: &WorkerFilter,
    ) {
        if let (Some(recording), Some(watch)) = (&mut self.recording, watch) {
            let is_alone = filter.loaded().may_call().is_empty();
            recording.note(call, watch, outcome, left, is_alone);
        }
    }

    /// It is not called in this phase, and a shadow may want to be.
    pub fn pass(&mut self, phase: Phase, place: usize, view: &View, trailers: Option<&HeaderMap>) {
        let is_called = !matches!(self.part, Part::Ended(_) | Part::Out);
        if let Some(recording) = self.recording.as_mut().filter(|_| is_called) {
            recording.pass(phase, place, view, trailers);
        }
    }

    /// It failed or answered in this phase, and is not called any more but for the end: of
    /// that it hears if it took part before.
    pub fn end(&mut self, phase: Phase, wants: Phases) {
        match self.part {
            Part::Taking(config) if wants.done && phase != Phase::Request => {
                self.part = Part::Ended(config);
            }
            _ => self.leave(),
        }
    }

    /// It is not called any more.
    pub fn leave(&mut self) {
        self.part = Part::Out;
        self.own = None;
    }
}

impl Participants {
    /// The part of the filter at this place of the chain.
    pub(super) fn slot(&mut self, place: usize) -> &mut Slot {
        if self.slots.len() <= place {
            self.slots.resize_with(place + 1, Slot::default);
        }
        &mut self.slots[place]
    }
}
