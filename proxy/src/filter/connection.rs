//! The filters of a listener in front of each connection.
//!
//! They run in the order of the chain, once, before anything on the connection is
//! understood; those that want to hear of its end hear of it in reverse. A filter of
//! connections has one configuration: there are no routes before there is HTTP.

use std::rc::Rc;

use super::call::Phase;
use super::chain::{complain, kind, lease, lease_now};
use super::fault::Failure;
use super::participants::{Part, Participants, Slot};
use super::pool::WorkerFilter;
use super::version::Place;
use super::view::Lendable;
use crate::config::{Name, OnError};
use crate::error::{ErrorKind, ProxyError};

/// The only configuration.
const CONFIG: u16 = 0;

/// The filters of connections of one listener on one worker.
pub struct ConnectionChain {
    places: Vec<Place>,
}

/// A connection that goes no further.
#[derive(Debug)]
pub struct Refused {
    pub filter: Name,
    /// With the reason.
    pub error: ProxyError,
    /// It is to be reset.
    pub is_reset: bool,
}

impl ConnectionChain {
    pub fn new(places: Vec<Place>) -> Self {
        Self { places }
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many of a connection's first bytes any filter wants to see.
    pub fn preview(&self) -> usize {
        let all = self.places.iter().flat_map(Place::interests);
        all.map(|interest| interest.preview).max().unwrap_or(0)
    }

    /// Whether any filter wants to hear of a connection's end.
    pub fn wants_done(&self) -> bool {
        let mut all = self.places.iter().flat_map(Place::interests);
        all.any(|interest| interest.phases.done)
    }

    /// Asks one filter after the other, until one refuses the connection.
    pub async fn on_connection(
        &self,
        view: &mut Lendable,
        taken: &mut Participants,
        preview: &[u8],
    ) -> Result<(), Refused> {
        for (place, known) in self.places.iter().enumerate() {
            let slot = taken.slot(place);
            let filter = known.filter(slot.choose(known, view));
            slot.part = Part::Taking(CONFIG);
            let verdict = ask(filter, place, view, slot, preview).await;
            let name = filter.loaded().name();
            match verdict {
                Ok(None) => {}
                Ok(Some(reason)) => {
                    filter.ended();
                    return Err(Refused {
                        filter: name.clone(),
                        error: ProxyError::with(ErrorKind::ConnectionDenied, reason),
                        is_reset: false,
                    });
                }
                Err(failure) => {
                    slot.leave();
                    complain(filter, &failure, view);
                    refuse_for(filter, failure)?;
                }
            }
        }
        Ok(())
    }

    /// The connection is over. Failures are only counted.
    pub fn on_done(&self, view: &mut Lendable, taken: &mut Participants) {
        for (place, known) in self.places.iter().enumerate().rev() {
            let slot = taken.slot(place);
            let filter = known.filter(slot.choose(known, view));
            let wants_it = filter.interests()[usize::from(CONFIG)].phases.done;
            if slot.part != Part::Taking(CONFIG) || !wants_it {
                continue;
            }
            let call = slot.call(Phase::Done, place, CONFIG);
            let done = lease_now(filter, call, slot).and_then(|mut lease| {
                let done = call.done(&mut lease, view);
                lease.settle(&done);
                done
            });
            if let Err(failure) = done {
                complain(filter, &failure, view);
            }
        }
    }
}

async fn ask(
    filter: &Rc<WorkerFilter>,
    place: usize,
    view: &mut Lendable,
    slot: &mut Slot,
    preview: &[u8],
) -> Result<Option<String>, Failure> {
    let interest = &filter.interests()[usize::from(CONFIG)];
    let shown = &preview[..preview.len().min(interest.preview)];
    let call = slot.call(Phase::Connection, place, CONFIG);
    let mut lease = lease(filter, call, slot).await?;
    let verdict = call.connection(&mut lease, view, shown).await;
    // Also where no other connection may have it: the end may be days away, and so many
    // instances there are not. Another hears of it.
    drop(lease.settle(&verdict));
    verdict
}

/// What becomes of the connection is the operator's choice.
fn refuse_for(filter: &WorkerFilter, failure: Failure) -> Result<(), Refused> {
    let on_error = filter.loaded().on_error();
    if on_error == OnError::Skip {
        return Ok(());
    }
    Err(Refused {
        filter: filter.loaded().name().clone(),
        error: ProxyError::with(kind(failure.fault), failure.to_string()),
        is_reset: on_error == OnError::Reset,
    })
}
