//! The other side: makes the calls of copied exchanges of the shadow, and compares.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio::sync::mpsc;

use super::Shadow;
use super::compare::{self, Differences};
use super::record::{Came, Exchange, Outcomes, Said, Seen};
use super::report::Findings;
use super::share::Share;
use crate::filter::budget::thread_cpu_time;
use crate::filter::call::{Call, Collected};
use crate::filter::calls::Calls;
use crate::filter::loaded::Selected;
use crate::filter::pool::{Lease, Room, WorkerFilter};
use crate::filter::state::Phase;
use crate::filter::view::{Lendable, Spent, View};
use crate::filter::{Failure, Lines, Shared, chain};
use crate::stats::filter::PHASES;

/// Stands in for every exchange that is copied for one shadow.
pub struct Understudy {
    shadow: Arc<Shadow>,
    filter: Rc<WorkerFilter>,
    copies: mpsc::Receiver<Exchange>,
    worker: usize,
    calls: Calls,
}

/// What the shadow goes on with from call to call.
#[derive(Default)]
struct Part {
    /// Once it was called.
    config: Option<u16>,
    /// What its last call used of the processor.
    cpu: Duration,
    own: Option<Lease>,
    states: Vec<(usize, Vec<u8>)>,
    spent: SmallVec<[Spent; 4]>,
    delayed: Duration,
}

impl Understudy {
    /// `None` if there is one already. It counts as this worker, and the shadow's
    /// calls go to `calls`.
    pub fn new(shadow: Arc<Shadow>, worker: usize, calls: Calls) -> Option<Self> {
        let copies = shadow.take_copies()?;
        let filter = WorkerFilter::new(shadow.filter.clone(), worker);
        filter.warm();
        Some(Self {
            copies,
            filter,
            shadow,
            worker,
            calls,
        })
    }

    /// Looks at copies for as long as there may be more. Dropped meanwhile, nobody
    /// looks at them any more.
    pub async fn run(mut self) {
        let mut share = Share::new(self.shadow.rules.cpu_percent, Instant::now());
        while let Some(exchange) = self.copies.recv().await {
            let began = thread_cpu_time();
            self.look(exchange).await;
            let used = thread_cpu_time().saturating_sub(began);
            match share.spend(used, Instant::now()) {
                Some(rest) => {
                    self.shadow.rest(true);
                    self.forget();
                    tokio::time::sleep(rest).await;
                    self.forget();
                    self.shadow.rest(false);
                }
                None => tokio::task::yield_now().await,
            }
        }
    }

    /// What waits here would be looked at too late.
    fn forget(&mut self) {
        while self.copies.try_recv().is_ok() {
            self.shadow.stats.of(self.worker).skipped.add(1);
        }
    }

    async fn look(&self, exchange: Exchange) {
        let mut findings = self.replay(exchange).await;
        findings.lines = self.lines().map(|lines| lines.take()).unwrap_or_default();
        // One in which it had no part tells nothing.
        if !findings.has_part {
            return;
        }
        let (kinds, has_transform) = (findings.kinds(), findings.has_transform);
        // Who sees it counted finds it among the samples.
        if !kinds.is_empty() {
            self.shadow.report.keep(findings, &self.shadow.filter);
        }
        let stats = self.shadow.stats.of(self.worker);
        stats.transformed.add(u64::from(has_transform));
        stats.note(&kinds);
    }

    fn lines(&self) -> Option<&Lines> {
        self.shadow.filter.owner.granted.lines.as_deref()
    }

    /// Every call, until the two versions part.
    async fn replay(&self, exchange: Exchange) -> Findings {
        let Exchange {
            place,
            found,
            calls,
        } = exchange;
        if let Some(Shared::Overlay(overlay)) = &self.shadow.filter.owner.granted.shared {
            let found = match self.shadow.finds_the_same() {
                true => found,
                false => BTreeMap::new(),
            };
            overlay.found(found);
        }
        let mut findings = Findings::default();
        let Some(first) = calls.first() else {
            return findings;
        };
        let request = &first.before.request;
        let path = compare::without_query(&request.path);
        findings.request = format!("{} {path}", request.method);
        findings.request_id = first.before.request_id().to_owned();

        let mut part = Part::default();
        for seen in calls {
            let phase = seen.phase;
            // As in a chain: by the route that is named when it is first called.
            let selected = || {
                self.shadow
                    .filter
                    .select(seen.before.decisions.route.as_ref())
            };
            let config = part.config.or_else(|| match selected() {
                Selected::Config(config) => Some(config),
                Selected::Off => None,
            });
            let call = config.filter(|config| self.wants(*config, phase, &part));
            let call = call.map(|config| Call {
                phase,
                place,
                config,
                delayed: part.delayed,
            });
            findings.has_part |= call.is_some() || seen.came.is_some();
            let differences = self.compare(call, seen, &mut part, &mut findings).await;
            let is_parted = differences.is_parted();
            if !differences.0.is_empty() {
                findings
                    .differences
                    .push((PHASES[phase.index()], differences));
            }
            if is_parted {
                break;
            }
        }
        findings
    }

    /// As in a chain: who wants to see requests and has not seen this one has no part.
    fn wants(&self, config: u16, phase: Phase, part: &Part) -> bool {
        let phases = self.filter.interests()[usize::from(config)].phases;
        if phases.request && part.config.is_none() && phase != Phase::Request {
            return false;
        }
        match phase {
            // It asked for it, as the serving version did.
            Phase::RequestBody | Phase::ResponseBody => true,
            phase => phases.has(phase),
        }
    }

    /// One call, and how it differs from that of the serving version.
    async fn compare(
        &self,
        call: Option<Call>,
        seen: Seen,
        part: &mut Part,
        findings: &mut Findings,
    ) -> Differences {
        // Who was not called left everything as it was.
        let came = seen.came.unwrap_or_else(|| Came {
            said: Said::Next,
            after: seen.before.copy(),
            cpu: Some(Duration::ZERO),
        });
        let mut body = seen.body.map(|body| Collected {
            bytes: body.bytes.into(),
            is_complete: body.is_complete,
            is_replaced: false,
        });
        let mut view = Lendable::from(seen.before);
        // To it, no time has passed since.
        view.started += seen.at.elapsed();
        part.cpu = Duration::ZERO;
        let said = match call {
            Some(call) => self.call(call, &mut view, body.as_mut(), part).await,
            None => Said::Next,
        };
        if let Some(cpu) = came.cpu.filter(|_| self.is_alone()) {
            findings.serving_cpu += cpu;
            findings.shadow_cpu += part.cpu;
        }
        findings.has_transform |= [&came.said, &said].contains(&&Said::Transform);
        let serving = compare::Result {
            said: &came.said,
            view: &came.after,
        };
        let shadow = compare::Result {
            said: &said,
            view: &view,
        };
        Differences::of(&serving, &shadow)
    }

    /// Whether nobody else has the thread during its calls.
    fn is_alone(&self) -> bool {
        self.shadow.filter.may_call().is_empty()
    }

    async fn call(
        &self,
        call: Call,
        view: &mut Lendable,
        body: Option<&mut Collected>,
        part: &mut Part,
    ) -> Said {
        part.config = Some(call.config);
        view.states = std::mem::take(&mut part.states);
        view.spent = std::mem::take(&mut part.spent);
        view.calls = Some(self.calls.clone());
        let lease = match part.own.take() {
            Some(own) => Ok(own),
            None => self.filter.lease(call.config, Room::Limited).await,
        };
        let said = match lease {
            Ok(lease) => self.on(call, lease, view, body, part).await,
            Err(failure) => {
                self.failed(&failure, view);
                Said::Failed(failure.fault.name())
            }
        };
        view.calls = None;
        part.states = std::mem::take(&mut view.states);
        part.spent = std::mem::take(&mut view.spent);
        part.delayed += view.decisions.delay;
        said
    }

    async fn on(
        &self,
        call: Call,
        mut lease: Lease,
        view: &mut Lendable,
        body: Option<&mut Collected>,
        part: &mut Part,
    ) -> Said {
        let began = thread_cpu_time();
        let used = || thread_cpu_time().saturating_sub(began);
        match (call.phase, body) {
            (Phase::RequestBody | Phase::ResponseBody, Some(body)) => {
                let outcome = call.body(&self.filter, &mut lease, view, body).await;
                part.cpu = used();
                part.own = lease.settle(&outcome);
                self.note(&outcome, view);
                Outcomes::Body(&outcome).said()
            }
            (Phase::RequestTrailers | Phase::ResponseTrailers, _) => {
                let mut trailers = view.trailers.take().unwrap_or_default();
                let outcome = call.trailers(&mut lease, view, &mut trailers);
                part.cpu = used();
                view.trailers = Some(trailers);
                part.own = lease.settle(&outcome);
                self.note(&outcome, view);
                Outcomes::Other(&outcome).said()
            }
            (Phase::Done, _) => {
                let outcome = call.done(&mut lease, view);
                part.cpu = used();
                part.own = lease.settle(&outcome);
                self.note(&outcome, view);
                Outcomes::Other(&outcome).said()
            }
            _ => {
                let outcome = call.head(&self.filter, &mut lease, view).await;
                part.cpu = used();
                let said = Outcomes::Head(&outcome).said();
                // What passes through a transform is not copied, so its instance is
                // thrown away with it.
                if said != Said::Transform {
                    part.own = lease.settle(&outcome);
                }
                self.note(&outcome, view);
                said
            }
        }
    }

    fn note<T>(&self, outcome: &Result<T, Failure>, view: &View) {
        if let Err(failure) = outcome {
            self.failed(failure, view);
        }
    }

    fn failed(&self, failure: &Failure, view: &View) {
        chain::complain(&self.filter, failure, view);
    }
}
