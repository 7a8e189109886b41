//! The filters of a listener around one exchange.
//!
//! Request phases run in the order of the chain, response phases and `on-done`
//! in reverse. A filter takes part from its first call on; its configuration is
//! chosen then, by the route that was named so far.

use std::rc::Rc;
use std::time::{Duration, Instant};

use http::HeaderMap;

use super::call::{Call, Collected, Phase};
use super::fault::{Failure, FilterFault};
use super::interest::Phases;
use super::loaded::Selected;
use super::participants::{Part, Participants, Slot};
use super::pool::{Lease, WorkerFilter};
use super::shadow::Outcomes;
use super::transform::Transform;
use super::verdict::{BodyOutcome, Collect, Outcome, Reply};
use super::version::Place;
use super::view::{self, Lendable, View};
use crate::config::{Name, OnError};
use crate::error::ErrorKind;

/// The filters of one listener on one worker.
pub struct WorkerChain {
    places: Vec<Place>,
    wants: Phases,
}

/// How the exchange goes on after a phase.
#[derive(Debug)]
pub enum Flow {
    Next,
    /// Answer with this.
    Respond(Box<Reply>),
    /// A filter failed, and `on_error` is `deny`.
    Fail(FilterFailed),
    /// Close without an answer.
    Reset {
        filter: Name,
    },
    /// Collect the body, give it to `on_request_body` or `on_response_body`, and
    /// then go on with this phase.
    Collect(Collect),
    /// Pass the body through this, and go on with this phase.
    Transform(Box<Transform>),
}

/// Which filter failed, and how.
#[derive(Debug, Clone, thiserror::Error)]
#[error("filter `{filter}`: {failure}")]
pub struct FilterFailed {
    pub kind: ErrorKind,
    pub filter: Name,
    pub failure: Failure,
}

impl WorkerChain {
    pub fn new(places: Vec<Place>) -> Self {
        let all = places.iter().flat_map(Place::interests);
        let wants = all.fold(Phases::default(), |wants, interest| {
            wants.or(interest.phases)
        });
        Self { places, wants }
    }

    /// The phases that any configuration wants at all.
    pub fn wants(&self) -> Phases {
        self.wants
    }

    /// The request phases, until a filter ends or interrupts them; called again
    /// it goes on behind that filter. Whatever the flow is, the response phases
    /// of those that took part are still to run, once the view has an answer.
    ///
    /// May be dropped while a filter's delay passes: the view is whole then.
    pub async fn on_request(&self, view: &mut Lendable, taken: &mut Participants) -> Flow {
        if !self.wants.request {
            return Flow::Next;
        }
        while let Some(known) = self.places.get(taken.requests_begun) {
            let place = taken.requests_begun;
            taken.requests_begun += 1;
            let slot = taken.slot(place);
            let filter = known.filter(slot.choose(known, view));
            let loaded = filter.loaded();
            let config = match loaded.select(view.decisions.route.as_ref()) {
                Selected::Off => continue,
                Selected::Config(config) => config,
            };
            if !filter.interests()[usize::from(config)].phases.request {
                slot.pass(Phase::Request, place, view, None);
                continue;
            }
            slot.part = Part::Taking(config);
            let call = slot.call(Phase::Request, place, config);
            if let Some(flow) = on_head(filter, call, view, slot).await {
                return flow;
            }
        }
        Flow::Next
    }

    /// The body that the filter called last asked for.
    pub async fn on_request_body(
        &self,
        view: &mut Lendable,
        taken: &mut Participants,
        body: &mut Collected,
    ) -> Flow {
        let place = taken.requests_begun.saturating_sub(1);
        self.on_body(Phase::RequestBody, place, view, taken, body)
            .await
    }

    /// The response phases of those that take part, on the answer in the view.
    /// When the flow is another answer or a failure, put the new answer into
    /// the view and call this again: it goes on with the filters that are left.
    ///
    /// May be dropped while a filter's delay passes: the view is whole then.
    pub async fn on_response(&self, view: &mut Lendable, taken: &mut Participants) -> Flow {
        if !self.wants.response {
            return Flow::Next;
        }
        while let Some(place) = self.next_response(taken) {
            let slot = taken.slot(place);
            let known = &self.places[place];
            let Some((filter, call)) = part(known, Phase::Response, place, view, slot) else {
                continue;
            };
            if let Some(flow) = on_head(filter, call, view, slot).await {
                return flow;
            }
        }
        Flow::Next
    }

    /// The body that the filter called last asked for.
    pub async fn on_response_body(
        &self,
        view: &mut Lendable,
        taken: &mut Participants,
        body: &mut Collected,
    ) -> Flow {
        let place = taken.responses_left.unwrap_or_default();
        self.on_body(Phase::ResponseBody, place, view, taken, body)
            .await
    }

    /// The trailers behind the request's body, for those that take part, in the
    /// order of the chain. They do not wait: neither for an instance, nor the
    /// delay that a filter asks for.
    pub fn on_request_trailers(
        &self,
        view: &mut Lendable,
        taken: &mut Participants,
        trailers: &mut HeaderMap,
    ) -> Result<(), FilterFailed> {
        if !self.wants.request_trailers {
            return Ok(());
        }
        let phase = Phase::RequestTrailers;
        (0..self.places.len())
            .try_for_each(|place| self.on_trailers(phase, place, view, taken, trailers))
    }

    /// The same for those behind the answer's body, in reverse order.
    pub fn on_response_trailers(
        &self,
        view: &mut Lendable,
        taken: &mut Participants,
        trailers: &mut HeaderMap,
    ) -> Result<(), FilterFailed> {
        if !self.wants.response_trailers {
            return Ok(());
        }
        let phase = Phase::ResponseTrailers;
        (0..self.places.len())
            .rev()
            .try_for_each(|place| self.on_trailers(phase, place, view, taken, trailers))
    }

    /// The exchange is over. Failures are only counted.
    pub fn on_done(&self, view: &mut Lendable, taken: &mut Participants) {
        if !self.wants.done {
            return;
        }
        for place in (0..self.places.len()).rev() {
            let slot = taken.slot(place);
            let known = &self.places[place];
            let Some((filter, call)) = part(known, Phase::Done, place, view, slot) else {
                continue;
            };
            let done = lease_now(filter, call, slot).and_then(|mut lease| {
                let watch = slot.watch(view, None);
                let done = call.done(&mut lease, view);
                slot.note(call, watch, Outcomes::Other(&done), (view, None), filter);
                slot.own = lease.settle(&done);
                done
            });
            if let Err(failure) = done {
                view.tell_verdict(place, filter.loaded().name(), failure.fault.name());
                complain(filter, &failure, view);
            }
        }
    }

    /// The exchange goes on for long: nothing more is kept of filters that do not want to
    /// know of its end. Tells whether any does.
    pub fn keep_for_done(&self, view: &Lendable, taken: &mut Participants) -> bool {
        let mut is_awaited = false;
        for (place, known) in self.places.iter().enumerate() {
            let slot = taken.slot(place);
            match part(known, Phase::Done, place, view, slot) {
                // The end may be days away, and so many instances there are not.
                Some(_) => {
                    is_awaited = true;
                    slot.own = None;
                }
                None => slot.leave(),
            }
            // What a shadow would be shown has no end in sight.
            slot.recording = None;
        }
        is_awaited
    }

    fn next_response(&self, taken: &mut Participants) -> Option<usize> {
        let left = taken.responses_left.unwrap_or(self.places.len());
        let place = left.checked_sub(1);
        taken.responses_left = Some(place.unwrap_or(0));
        place
    }

    async fn on_body(
        &self,
        phase: Phase,
        place: usize,
        view: &mut Lendable,
        taken: &mut Participants,
        body: &mut Collected,
    ) -> Flow {
        let slot = taken.slot(place);
        let Part::Taking(config) = slot.part else {
            return Flow::Next;
        };
        let filter = self.places[place].filter(slot.version.unwrap_or_default());
        let call = slot.call(phase, place, config);
        slot.open();
        let outcome = match lease(filter, call, slot).await {
            Ok(mut lease) => {
                let watch = slot.watch(view, Some(body));
                let outcome = call.body(filter, &mut lease, view, body).await;
                slot.note(call, watch, Outcomes::Body(&outcome), (view, None), filter);
                slot.own = lease.settle(&outcome).filter(|_| goes_on(filter, call));
                outcome
            }
            Err(failure) => Err(failure),
        };
        let outcome = outcome.map(|outcome| match outcome {
            BodyOutcome::Keep => Outcome::Next,
            BodyOutcome::Replace(bytes) => {
                view.tell_verdict(place, filter.loaded().name(), "replace");
                filter.stats().body_bytes_out.add(bytes.len() as u64);
                body.replace(bytes);
                Outcome::Next
            }
            BodyOutcome::Respond(reply) => Outcome::Respond(reply),
            BodyOutcome::Reset => Outcome::Reset,
        });
        let flow = follow(filter, call, outcome, view, slot);
        hold(view, slot).await;
        flow.unwrap_or(Flow::Next)
    }

    fn on_trailers(
        &self,
        phase: Phase,
        place: usize,
        view: &mut Lendable,
        taken: &mut Participants,
        trailers: &mut HeaderMap,
    ) -> Result<(), FilterFailed> {
        let slot = taken.slot(place);
        let Some((filter, call)) = part(&self.places[place], phase, place, view, slot) else {
            slot.pass(phase, place, view, Some(trailers));
            return Ok(());
        };
        let outcome = lease_now(filter, call, slot).and_then(|mut lease| {
            let watch = slot.watch_trailers(view, trailers);
            let outcome = call.trailers(&mut lease, view, trailers);
            let left = (&mut **view, Some(&*trailers));
            slot.note(call, watch, Outcomes::Other(&outcome), left, filter);
            slot.own = lease.settle(&outcome);
            outcome
        });
        view.decisions.delay = Duration::ZERO;
        let Err(failure) = outcome else {
            return Ok(());
        };
        slot.end(phase, wants(filter, call));
        view.tell_verdict(place, filter.loaded().name(), failure.fault.name());
        complain(filter, &failure, view);
        match filter.loaded().on_error() {
            OnError::Skip => Ok(()),
            OnError::Deny | OnError::Reset => Err(broken(filter, failure)),
        }
    }
}

/// A filter with its call in a later phase, if it takes part and wants the phase.
/// One that did not want to see the request takes part from the start.
fn part<'p>(
    known: &'p Place,
    phase: Phase,
    place: usize,
    view: &Lendable,
    slot: &mut Slot,
) -> Option<(&'p Rc<WorkerFilter>, Call)> {
    let filter = known.filter(slot.choose(known, view));
    let phases = |config: u16| filter.interests()[usize::from(config)].phases;
    let config = match slot.part {
        Part::Taking(config) => phases(config).has(phase).then_some(config),
        Part::Ended(config) => (phase == Phase::Done).then_some(config),
        Part::Out => None,
        Part::NotCalled => match filter.loaded().select(view.decisions.route.as_ref()) {
            Selected::Config(config) if !phases(config).request && phases(config).has(phase) => {
                slot.part = Part::Taking(config);
                Some(config)
            }
            Selected::Config(_) | Selected::Off => None,
        },
    };
    if config.is_none() && !phase.has_trailers() {
        slot.pass(phase, place, view, None);
    }
    config.map(|config| (filter, slot.call(phase, place, config)))
}

/// One call for a head and the delay that it asked for. Gives the flow that ends
/// or interrupts the phase, if it does.
async fn on_head(
    filter: &Rc<WorkerFilter>,
    call: Call,
    view: &mut Lendable,
    slot: &mut Slot,
) -> Option<Flow> {
    slot.open();
    let flow = match lease(filter, call, slot).await {
        Ok(mut lease) => {
            let watch = slot.watch(view, None);
            let outcome = call.head(filter, &mut lease, view).await;
            slot.note(call, watch, Outcomes::Head(&outcome), (view, None), filter);
            match outcome {
                Ok(Outcome::Transform(handle)) => {
                    slot.transforms = true;
                    view.tell_verdict(call.place, filter.loaded().name(), "transform");
                    Some(Flow::Transform(Box::new(Transform::new(
                        lease, handle, call,
                    ))))
                }
                outcome => {
                    let asks_for_body = matches!(outcome, Ok(Outcome::Collect(_)));
                    slot.own = lease
                        .settle(&outcome)
                        .filter(|_| asks_for_body || goes_on(filter, call));
                    follow(filter, call, outcome, view, slot)
                }
            }
        }
        Err(failure) => follow(filter, call, Err(failure), view, slot),
    };
    hold(view, slot).await;
    flow
}

/// Whether it may be called again after this call, for which an instance of the exchange's
/// own stays.
fn goes_on(filter: &WorkerFilter, call: Call) -> bool {
    wants(filter, call).goes_on_after(call.phase)
}

fn wants(filter: &WorkerFilter, call: Call) -> Phases {
    filter.interests()[usize::from(call.config)].phases
}

/// What an outcome means for the filter's part and for the exchange.
fn follow(
    filter: &WorkerFilter,
    call: Call,
    outcome: Result<Outcome, Failure>,
    view: &mut Lendable,
    slot: &mut Slot,
) -> Option<Flow> {
    view.tell_verdict(call.place, filter.loaded().name(), verdict(&outcome));
    match outcome {
        Ok(Outcome::Next) => None,
        Ok(Outcome::Leave) => {
            slot.leave();
            None
        }
        Ok(Outcome::Respond(reply)) => {
            filter.ended();
            filter.stats().body_bytes_out.add(reply.body.len() as u64);
            if call.phase.holds_request() {
                slot.end(call.phase, wants(filter, call));
            }
            Some(Flow::Respond(reply))
        }
        Ok(Outcome::Reset) => {
            filter.ended();
            Some(Flow::Reset {
                filter: filter.loaded().name().clone(),
            })
        }
        Ok(Outcome::Collect(collect)) => Some(Flow::Collect(collect)),
        // It has its lease, and is told before this.
        Ok(Outcome::Transform(_)) => None,
        Err(failure) => {
            slot.end(call.phase, wants(filter, call));
            complain(filter, &failure, view);
            on_error(filter, failure)
        }
    }
}

/// In the words of the contract.
fn verdict(outcome: &Result<Outcome, Failure>) -> &'static str {
    match outcome {
        Ok(Outcome::Next) => view::NEXT,
        Ok(Outcome::Leave) => "leave",
        Ok(Outcome::Respond(_)) => "respond",
        Ok(Outcome::Reset) => "reset",
        Ok(Outcome::Collect(_)) => "buffer",
        Ok(Outcome::Transform(_)) => "transform",
        Err(failure) => failure.fault.name(),
    }
}

/// The exchange's own instance, where it has one, or one of all.
pub(super) async fn lease(
    filter: &Rc<WorkerFilter>,
    call: Call,
    slot: &mut Slot,
) -> Result<Lease, Failure> {
    match slot.own.take() {
        Some(own) => Ok(own),
        None => filter.lease(call.config, slot.room()).await,
    }
}

/// The same for calls that cannot wait.
pub(super) fn lease_now(
    filter: &Rc<WorkerFilter>,
    call: Call,
    slot: &mut Slot,
) -> Result<Lease, Failure> {
    match slot.own.take() {
        Some(own) => Ok(own),
        None => filter.lease_now(call.config, slot.room()),
    }
}

/// Lets the delay pass that the last call asked for.
async fn hold(view: &mut Lendable, slot: &mut Slot) {
    let delay = std::mem::take(&mut view.decisions.delay);
    if !delay.is_zero() {
        slot.delayed += delay;
        tokio::time::sleep(delay).await;
    }
}

pub(super) fn complain(filter: &WorkerFilter, failure: &Failure, view: &View) {
    filter.failed(failure);
    if let Some(lines) = &filter.loaded().owner.granted.lines {
        return lines.keep(format!("the filter failed: {failure}"));
    }
    let Some(withheld) = filter.complaints.admit(Instant::now()) else {
        return;
    };
    tracing::warn!(
        filter = &**filter.loaded().name(),
        route = view.decisions.route.as_deref(),
        trace_id = &*view.trace_id,
        fault = failure.fault.name(),
        reason = failure.detail,
        withheld,
        "filter failed"
    );
}

/// What becomes of the exchange is the operator's choice.
fn on_error(filter: &WorkerFilter, failure: Failure) -> Option<Flow> {
    let name = filter.loaded().name().clone();
    match filter.loaded().on_error() {
        OnError::Skip => None,
        OnError::Reset => Some(Flow::Reset { filter: name }),
        OnError::Deny => Some(Flow::Fail(FilterFailed {
            kind: kind(failure.fault),
            filter: name,
            failure,
        })),
    }
}

/// A failure in the middle of a message, which ends there.
pub(super) fn broken(filter: &WorkerFilter, failure: Failure) -> FilterFailed {
    FilterFailed {
        kind: match filter.loaded().on_error() {
            OnError::Reset => ErrorKind::FilterReset,
            OnError::Deny | OnError::Skip => kind(failure.fault),
        },
        filter: filter.loaded().name().clone(),
        failure,
    }
}

pub(super) fn kind(fault: FilterFault) -> ErrorKind {
    match fault.was_called() {
        true => ErrorKind::FilterFailed,
        false => ErrorKind::FilterUnavailable,
    }
}
