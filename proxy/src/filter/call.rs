//! One call of one phase of one filter: pack, call, check, give back. It only ever
//! waits where a filter that can make calls waits for one.

use std::time::Duration;

use http::HeaderMap;

use super::bindings::exports::lockgate::filter::http_filter::Buffered;
use super::fault::Failure;
use super::field;
use super::instance::Instance;
use super::pool::{Lease, WorkerFilter};
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
    /// Calls for a head. After a failure, or dropped while it waits, the view is
    /// as it was before.
    pub async fn head(
        &self,
        filter: &WorkerFilter,
        lease: &mut Lease,
        view: &mut Lendable,
    ) -> Result<Outcome, Failure> {
        let packed = self.pack(filter, view);
        let started = filter.sample(lease.waits());
        let lent = self.lent(lease, view, true);
        let verdict = match self.phase {
            Phase::Response => lent.instance.on_response(self.config(), &packed).await,
            _ => lent.instance.on_request(self.config(), &packed).await,
        };
        let owner = &filter.loaded().owner;
        let outcome =
            verdict.and_then(|verdict| Outcome::check(verdict, &owner.name, &owner.limits));
        lent.end(outcome.is_ok());
        filter.sampled(started);
        filter.give_back_packed(packed);
        outcome
    }

    fn pack(&self, filter: &WorkerFilter, view: &Lendable) -> Vec<u8> {
        let interest = &filter.interests()[self.config()];
        let mut packed = filter.take_packed();
        match (self.phase, &view.response) {
            (Phase::Response, Some(response)) => {
                field::pack_response(&mut packed, &interest.response_fields, response);
            }
            _ => field::pack_request(&mut packed, &interest.request_fields, &view.request),
        }
        packed
    }

    /// Calls for a body that was collected. Dropped while it waits, the body is
    /// lost.
    pub async fn body(
        &self,
        filter: &WorkerFilter,
        lease: &mut Lease,
        view: &mut Lendable,
        body: &mut Collected,
    ) -> Result<BodyOutcome, Failure> {
        let buffered = Buffered {
            bytes: std::mem::take(&mut body.bytes),
            complete: body.is_complete,
        };
        let started = filter.sample(lease.waits());
        let lent = self.lent(lease, view, true);
        let verdict = match self.phase {
            Phase::ResponseBody => {
                let instance = &mut *lent.instance;
                instance.on_response_body(self.config(), &buffered).await
            }
            _ => {
                let instance = &mut *lent.instance;
                instance.on_request_body(self.config(), &buffered).await
            }
        };
        let owner = &filter.loaded().owner;
        let outcome = verdict.and_then(|verdict| {
            BodyOutcome::check(verdict, buffered.complete, &owner.name, &owner.limits)
        });
        lent.end(outcome.is_ok());
        filter.sampled(started);
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
        let started = lease.filter().sample(lease.waits());
        let lent = self.lent(lease, view, false);
        let outcome = work(lent.instance);
        lent.end(outcome.is_ok());
        lease.filter().sampled(started);
        outcome
    }

    fn lent<'a>(&self, lease: &'a mut Lease, view: &'a mut Lendable, may_wait: bool) -> Lent<'a> {
        let (filter, instance) = lease.parts();
        filter.stats().calls(self.phase.index()).add(1);
        let max_delay = filter.loaded().owner.limits.max_delay;
        instance.enter(state::Call {
            phase: self.phase,
            view: Some(view.lend()),
            place: self.place,
            config: self.config(),
            delay_left: max_delay.saturating_sub(self.delayed),
            may_wait,
        });
        Lent {
            instance,
            view,
            keep_changes: false,
        }
    }
}

/// A view that an instance has. It comes back when this is dropped, also when the
/// call is given up while it waits: without what the call changed, unless the call
/// went well.
struct Lent<'a> {
    instance: &'a mut Instance,
    view: &'a mut Lendable,
    keep_changes: bool,
}

impl Lent<'_> {
    /// The call is over; what it changed stays if it went well.
    fn end(mut self, went_well: bool) {
        self.keep_changes = went_well;
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.view.take_back(self.instance.leave(self.keep_changes));
    }
}
