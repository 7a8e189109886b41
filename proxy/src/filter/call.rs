//! One call of one phase of one filter: lend, pack, call, check, give back.
//! Synchronous from end to end.

use std::time::Duration;

use super::fault::{Failure, FilterFault};
use super::field;
use super::pool::{Lease, WorkerFilter};
use super::state;
pub(super) use super::state::Phase;
use super::verdict::Outcome;
use super::view::Lendable;

/// What is to be called.
pub(super) struct Call {
    phase: Phase,
    /// The filter's place in the chain.
    place: usize,
    config: usize,
    /// How long the filter has held the exchange so far.
    delayed: Duration,
}

impl Call {
    pub fn new(phase: Phase, place: usize, config: u16, delayed: Duration) -> Self {
        Self {
            phase,
            place,
            config: usize::from(config),
            delayed,
        }
    }

    /// Makes the call. After a failure the view is as it was before.
    pub fn run(self, filter: &WorkerFilter, view: &mut Lendable) -> Result<Outcome, Failure> {
        let started = filter.sample();
        filter.stats().calls(self.phase.index()).add(1);
        let mut lease = filter.lease(self.config)?;
        let outcome = self.run_leased(filter, &mut lease, view);
        if let Some(started) = started {
            filter.stats().sample(started.elapsed());
        }
        if outcome
            .as_ref()
            .err()
            .is_none_or(|failure| failure.fault.spares_instance())
        {
            lease.finish();
        }
        outcome
    }

    fn run_leased(
        &self,
        filter: &WorkerFilter,
        lease: &mut Lease<'_>,
        view: &mut Lendable,
    ) -> Result<Outcome, Failure> {
        let owner = &filter.loaded().owner;
        let interest = &filter.interests()[self.config];
        let mut packed = lease.packed();
        match (self.phase, &view.response) {
            (Phase::Request, _) => {
                field::pack_request(&mut packed, &interest.request_fields, &view.request);
            }
            (Phase::Response, Some(response)) => {
                field::pack_response(&mut packed, &interest.response_fields, response);
            }
            (Phase::Response, None) | (Phase::Done | Phase::Outside, _) => packed.clear(),
        }
        let instance = lease.instance();
        instance.enter(state::Call {
            phase: self.phase,
            view: Some(view.lend()),
            place: self.place,
            config: self.config,
            delay_left: owner.limits.max_delay.saturating_sub(self.delayed),
        });
        let verdict = match self.phase {
            Phase::Request => instance.on_request(self.config, &packed).map(Some),
            Phase::Response => instance.on_response(self.config, &packed).map(Some),
            Phase::Done | Phase::Outside => instance.on_done(self.config).map(|()| None),
        };
        let outcome = verdict.and_then(|verdict| match verdict {
            Some(verdict) => Outcome::check(verdict, &owner.name, owner.limits.max_reply_bytes),
            None => Ok(Outcome::Next),
        });
        view.take_back(instance.leave(outcome.is_ok()));
        lease.give_back_packed(packed);
        outcome
    }
}

impl FilterFault {
    /// Whether the instance may be called again: the guest ran to its end and
    /// left nothing behind.
    fn spares_instance(self) -> bool {
        matches!(
            self,
            FilterFault::Error | FilterFault::InvalidReply | FilterFault::ReplyTooLarge
        )
    }
}
