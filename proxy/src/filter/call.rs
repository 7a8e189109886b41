//! One call of one phase of one filter: pack, call, check, give back. It only ever
//! waits where a filter that can make calls waits for one.

use std::time::{Duration, Instant};

use http::HeaderMap;

use super::bindings::exports::lockgate::filter::http_filter::Buffered;
use super::fault::Failure;
use super::field;
use super::instance::Instance;
use super::meter::Measured;
use super::pool::{Lease, WorkerFilter};
use super::state;
pub(super) use super::state::Phase;
use super::verdict::{BodyOutcome, Outcome};
use super::view::{Lendable, Spent};

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
        let lent = self.lent(lease, view, true);
        let verdict = match self.phase {
            Phase::Response => lent.instance.on_response(self.config(), &packed).await,
            _ => lent.instance.on_request(self.config(), &packed).await,
        };
        let owner = &filter.loaded().owner;
        let outcome =
            verdict.and_then(|verdict| Outcome::check(verdict, &owner.name, &owner.limits));
        lent.end(outcome.is_ok());
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
        filter
            .stats()
            .body_bytes_in
            .add(buffered.bytes.len() as u64);
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

    /// Calls for a connection, of which these are the first bytes. Gives the reason where
    /// it is refused. Dropped while it waits, the view is as it was before.
    pub async fn connection(
        &self,
        lease: &mut Lease,
        view: &mut Lendable,
        preview: &[u8],
    ) -> Result<Option<String>, Failure> {
        let lent = self.lent(lease, view, true);
        let verdict = lent.instance.on_connection(self.config(), preview).await;
        lent.end(verdict.is_ok());
        verdict
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
        let lent = self.lent(lease, view, false);
        let outcome = work(lent.instance);
        lent.end(outcome.is_ok());
        outcome
    }

    fn lent<'a>(&self, lease: &'a mut Lease, view: &'a mut Lendable, may_wait: bool) -> Lent<'a> {
        let (filter, instance) = lease.parts();
        let phase = self.phase.index();
        filter.stats().calls(phase).add(1);
        let max_delay = filter.loaded().owner.limits.max_delay;
        let began = view.told.is_some().then(Instant::now);
        let lent = view.lend();
        let spent = match self.phase {
            // A body may have any number of pieces, and the end is told once, also to who
            // has used up what it may.
            Phase::Transform | Phase::Done => Spent {
                place: self.place,
                ..Spent::default()
            },
            _ => lent.spent(self.place),
        };
        instance.enter(state::Call {
            phase: self.phase,
            spent,
            host_calls_before: spent.host_calls,
            away: Duration::ZERO,
            view: Some(lent),
            place: self.place,
            config: self.config(),
            delay_left: max_delay.saturating_sub(self.delayed),
            may_wait,
        });
        Lent {
            place: self.place,
            filter,
            began,
            measured: filter.meter.begin(phase),
            instance,
            view,
            is_over: false,
            keep_changes: false,
        }
    }
}

/// A view that an instance has. It comes back when this is dropped, also when the
/// call is given up while it waits: without what the call changed, unless the call
/// went well.
struct Lent<'a> {
    place: usize,
    filter: &'a WorkerFilter,
    /// Where the access log tells how long calls took.
    began: Option<Instant>,
    /// Where this call is one of those.
    measured: Option<Measured>,
    instance: &'a mut Instance,
    view: &'a mut Lendable,
    is_over: bool,
    keep_changes: bool,
}

impl Lent<'_> {
    /// The call is over; what it changed stays if it went well.
    fn end(mut self, went_well: bool) {
        self.is_over = true;
        self.keep_changes = went_well;
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let left = self.instance.leave(self.keep_changes);
        self.view.take_back(left.view);
        let stats = self.filter.stats();
        stats.host_calls.add(u64::from(left.host_calls));
        // One that is given up while it waits cannot tell what was its own.
        if let Some(measured) = self.measured.take().filter(|_| self.is_over) {
            let used = measured.end(left.away, stats);
            self.filter.measured(used);
        }
        if let Some(began) = self.began {
            let name = self.filter.loaded().name();
            self.view.tell_time(self.place, name, began.elapsed());
        }
    }
}
