//! The filters of a listener around one exchange.
//!
//! Request phases run in the order of the chain, response phases and `on-done`
//! in reverse. A filter takes part from its first call on; its configuration is
//! chosen then, by the route that was named so far.

use std::rc::Rc;
use std::time::Instant;

use super::call::{Call, Phase};
use super::fault::{Failure, FilterFault};
use super::loaded::Selected;
use super::participants::{Part, Participants};
use super::pool::WorkerFilter;
use super::verdict::{Outcome, Reply};
use super::view::Lendable;
use crate::config::{Name, OnError};
use crate::error::ErrorKind;

/// The filters of one listener on one worker.
pub struct WorkerChain {
    filters: Vec<Rc<WorkerFilter>>,
    wants_request: bool,
    wants_response: bool,
    wants_done: bool,
}

/// How the exchange goes on after a phase.
#[derive(Debug)]
pub enum Flow {
    Next,
    /// Answer with this.
    Respond(Reply),
    /// A filter failed, and `on_error` is `deny`.
    Fail(FilterFailed),
    /// Close without an answer.
    Reset {
        filter: Name,
    },
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
    pub fn new(filters: Vec<Rc<WorkerFilter>>) -> Self {
        let any = |wants: fn(super::Phases) -> bool| {
            let mut interests = filters.iter().flat_map(|filter| filter.interests());
            interests.any(|interest| wants(interest.phases))
        };
        Self {
            wants_request: any(|phases| phases.request),
            wants_response: any(|phases| phases.response),
            wants_done: any(|phases| phases.done),
            filters,
        }
    }

    /// Whether any configuration wants this phase at all.
    pub fn wants_request(&self) -> bool {
        self.wants_request
    }

    pub fn wants_response(&self) -> bool {
        self.wants_response
    }

    pub fn wants_done(&self) -> bool {
        self.wants_done
    }

    /// The request phases, until a filter ends them. Whatever the flow is, the
    /// response phases of those that took part are still to run, once the view
    /// has an answer.
    ///
    /// May be dropped while a filter's delay passes: the view is whole then.
    pub async fn on_request(&self, view: &mut Lendable, taken: &mut Participants) -> Flow {
        if !self.wants_request {
            return Flow::Next;
        }
        for (place, filter) in self.filters.iter().enumerate() {
            let loaded = filter.loaded();
            let config = match loaded.select(view.decisions.route.as_ref()) {
                Selected::Off => continue,
                Selected::Config(config) => config,
            };
            if !filter.interests()[usize::from(config)].phases.request {
                continue;
            }
            taken.slot(place).part = Part::Taking(config);
            let step = self.call(Phase::Request, place, config, view, taken).await;
            if let Some(flow) = step {
                return flow;
            }
        }
        Flow::Next
    }

    /// The response phases of those that take part, on the answer in the view.
    /// When the flow is another answer or a failure, put the new answer into
    /// the view and call this again: it goes on with the filters that are left.
    ///
    /// May be dropped while a filter's delay passes: the view is whole then.
    pub async fn on_response(&self, view: &mut Lendable, taken: &mut Participants) -> Flow {
        if !self.wants_response {
            return Flow::Next;
        }
        while let Some(place) = self.next_response(taken) {
            let Some(config) = self.part(place, view, taken, |phases| phases.response) else {
                continue;
            };
            let step = self.call(Phase::Response, place, config, view, taken).await;
            if let Some(flow) = step {
                return flow;
            }
        }
        Flow::Next
    }

    /// The exchange is over. Failures are only counted.
    pub fn on_done(&self, view: &mut Lendable, taken: &mut Participants) {
        if !self.wants_done {
            return;
        }
        for place in (0..self.filters.len()).rev() {
            let Some(config) = self.part(place, view, taken, |phases| phases.done) else {
                continue;
            };
            let filter = &self.filters[place];
            let call = Call::new(Phase::Done, place, config, taken.slot(place).delayed);
            if let Err(failure) = call.run(filter, view) {
                self.complain(filter, &failure, view);
            }
        }
    }

    fn next_response(&self, taken: &mut Participants) -> Option<usize> {
        let left = taken.responses_left.unwrap_or(self.filters.len());
        let place = left.checked_sub(1);
        taken.responses_left = Some(place.unwrap_or(0));
        place
    }

    /// The configuration with which a filter is called in a later phase, if it
    /// takes part and wants the phase. One that did not want to see the request
    /// takes part from the start.
    fn part(
        &self,
        place: usize,
        view: &Lendable,
        taken: &mut Participants,
        wants: fn(super::Phases) -> bool,
    ) -> Option<u16> {
        let filter = &self.filters[place];
        let phases = |config: u16| filter.interests()[usize::from(config)].phases;
        let slot = taken.slot(place);
        match slot.part {
            Part::Taking(config) => wants(phases(config)).then_some(config),
            Part::Out => None,
            Part::NotCalled => match filter.loaded().select(view.decisions.route.as_ref()) {
                Selected::Config(config) if !phases(config).request && wants(phases(config)) => {
                    slot.part = Part::Taking(config);
                    Some(config)
                }
                Selected::Config(_) | Selected::Off => None,
            },
        }
    }

    /// One call and the delay that it asked for. Gives the flow that ends the
    /// phase, if it does.
    async fn call(
        &self,
        phase: Phase,
        place: usize,
        config: u16,
        view: &mut Lendable,
        taken: &mut Participants,
    ) -> Option<Flow> {
        let filter = &self.filters[place];
        let slot = taken.slot(place);
        let outcome = Call::new(phase, place, config, slot.delayed).run(filter, view);
        let delay = std::mem::take(&mut view.decisions.delay);
        slot.delayed += delay;
        let flow = match outcome {
            Ok(Outcome::Next) => None,
            Ok(Outcome::Leave) => {
                slot.part = Part::Out;
                None
            }
            Ok(Outcome::Respond(reply)) => {
                if phase == Phase::Request {
                    slot.part = Part::Out;
                }
                Some(Flow::Respond(reply))
            }
            Ok(Outcome::Reset) => Some(Flow::Reset {
                filter: filter.loaded().name().clone(),
            }),
            Err(failure) => {
                slot.part = Part::Out;
                self.complain(filter, &failure, view);
                on_error(filter, failure)
            }
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        flow
    }

    fn complain(&self, filter: &WorkerFilter, failure: &Failure, view: &Lendable) {
        filter.failed(failure);
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

fn kind(fault: FilterFault) -> ErrorKind {
    match fault.was_called() {
        true => ErrorKind::FilterFailed,
        false => ErrorKind::FilterUnavailable,
    }
}
