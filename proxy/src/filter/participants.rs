//! Which filters take part in one exchange, and with which configuration.

use std::time::Duration;

use smallvec::SmallVec;

use super::pool::Lease;
use super::version::Version;

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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Part {
    /// It has not been called, so its configuration is not chosen yet.
    #[default]
    NotCalled,
    /// It takes part, with the configuration of this number.
    Taking(u16),
    /// It left, failed, answered, or was off when its turn came.
    Out,
}

impl Slot {
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
