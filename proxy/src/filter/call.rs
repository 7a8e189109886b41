//! One call of one phase of one filter: pack, call, check, give back.
//! Synchronous from end to end.

use std::time::Duration;

use http::HeaderMap;

use super::bindings::exports::lockgate::filter::http_filter::Buffered;
use super::fault::Failure;
use super::field;
use super::instance::Instance;
use super::pool::Lease;
use super::state;
pub(super) use super::state::Phase;
use super::verdict::{BodyOutcome, Outcome};
use super::view::Lendable;

/// What is to be called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub phase: Phase,
    /// The filter's place in the chain.
    pub place: usize,
    pub config: u16,
    /// How long the filter has held the exchange so far.
    pub delayed: Duration,
}

/// What was collected of a body.
#[derive(Debug, Default)]
pub struct Collected {
    pub bytes: Vec<u8>,
    /// Whether that is all of it.
    pub is_complete: bool,
    /// A filter put another in its place.
    pub is_replaced: bool,
}

impl Collected {
    /// Another body in place of the one that was seen.
    pub(super) fn replace(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
        self.is_replaced = true;
    }
}

impl Call {
    /// Calls for a head. After a failure the view is as it was before.
    pub fn head(&self, lease: &mut Lease, view: &mut Lendable) -> Result<Outcome, Failure> {
        let filter = lease.filter().clone();
        let interest = &filter.interests()[self.config()];
        let mut packed = filter.take_packed();
        match (self.phase, &view.response) {
            (Phase::Response, Some(response)) => {
                field::pack_response(&mut packed, &interest.response_fields, response);
            }
            _ => field::pack_request(&mut packed, &interest.request_fields, &view.request),
        }
        let outcome = self.lend(lease, view, |instance| {
            let verdict = match self.phase {
                Phase::Response => instance.on_response(self.config(), &packed),
                _ => instance.on_request(self.config(), &packed),
            };
            let owner = &filter.loaded().owner;
            Outcome::check(verdict?, &owner.name, &owner.limits)
        });
        filter.give_back_packed(packed);
        outcome
    }

    /// Calls for a body that was collected.
    pub fn body(
        &self,
        lease: &mut Lease,
        view: &mut Lendable,
        body: &mut Collected,
    ) -> Result<BodyOutcome, Failure> {
        let buffered = Buffered {
            bytes: std::mem::take(&mut body.bytes),
            complete: body.is_complete,
        };
        let owner = lease.filter().loaded().owner.clone();
        let outcome = self.lend(lease, view, |instance| {
            let verdict = match self.phase {
                Phase::ResponseBody => instance.on_response_body(self.config(), &buffered),
                _ => instance.on_request_body(self.config(), &buffered),
            };
            BodyOutcome::check(verdict?, buffered.complete, &owner.name, &owner.limits)
        });
        body.bytes = buffered.bytes;
        outcome
    }

    /// Calls for trailers, which the view holds meanwhile.
    pub fn trailers(
        &self,
        lease: &mut Lease,
        view: &mut Lendable,
        trailers: &mut HeaderMap,
    ) -> Result<(), Failure> {
        view.trailers = Some(std::mem::take(trailers));
        let outcome = self.lend(lease, view, |instance| match self.phase {
            Phase::ResponseTrailers => instance.on_response_trailers(self.config()),
            _ => instance.on_request_trailers(self.config()),
        });
        *trailers = view.trailers.take().unwrap_or_default();
        outcome
    }

    /// Tells that the exchange is over.
    pub fn done(&self, lease: &mut Lease, view: &mut Lendable) -> Result<(), Failure> {
        self.lend(lease, view, |instance| instance.on_done(self.config()))
    }

    fn config(&self) -> usize {
        usize::from(self.config)
    }

    /// Lends the view for one call.
    pub(super) fn lend<T>(
        &self,
        lease: &mut Lease,
        view: &mut Lendable,
        work: impl FnOnce(&mut Instance) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (filter, instance) = lease.parts();
        let started = filter.sample();
        filter.stats().calls(self.phase.index()).add(1);
        let max_delay = filter.loaded().owner.limits.max_delay;
        instance.enter(state::Call {
            phase: self.phase,
            view: Some(view.lend()),
            place: self.place,
            config: self.config(),
            delay_left: max_delay.saturating_sub(self.delayed),
        });
        let outcome = work(instance);
        view.take_back(instance.leave(outcome.is_ok()));
        if let Some(started) = started {
            filter.stats().sample(started.elapsed());
        }
        outcome
    }
}
