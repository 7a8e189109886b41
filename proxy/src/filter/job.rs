//! The job of one configuration: its instance, and the runs of it. It sees no
//! exchange, belongs to none, and shares its thread with other jobs.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::ResourceAny;
use wasmtime::{Store, UpdateDeadline};

use super::bindings::background::{Background, BackgroundPre};
use super::budget::{Clock, Meter, Tick};
use super::calls::Calls;
use super::fault::{Failure, FilterFault};
use super::instance::{begin, end, failure, said, store};
use super::job_state::JobState;
use super::loaded::LoadedFilter;
use super::state::{Call, HostState, Phase};
use super::ticker;
use super::view::View;

/// The job of one configuration of a filter.
pub struct Job {
    filter: Arc<LoadedFilter>,
    config: usize,
    worker: usize,
    calls: Calls,
    meter: Arc<Meter>,
    /// Made when first needed, and again after a fault.
    at_work: Option<AtWork>,
}

/// What came of one run.
#[derive(Debug)]
pub struct Ran {
    /// How long it wants to rest; `None`: for good.
    pub outcome: Result<Option<Duration>, Failure>,
    pub cpu: Duration,
}

impl Job {
    /// The job of the configuration of this number. It counts as this worker, and
    /// its calls go to `calls`.
    pub fn new(filter: Arc<LoadedFilter>, config: usize, worker: usize, calls: Calls) -> Self {
        Self {
            filter,
            config,
            worker,
            calls,
            meter: Arc::default(),
            at_work: None,
        }
    }

    /// What is known of it, for others to read.
    pub fn state(&self) -> &JobState {
        &self.filter.jobs()[self.config]
    }

    /// Runs it once, within its limits. Dropped meanwhile, it begins the next run
    /// in a new instance.
    pub async fn run(&mut self) -> Ran {
        let before = self.meter.used();
        let limit = self.filter.owner.limits.job_time;
        let outcome = {
            let meter = self.meter.clone();
            let working = meter.count(self.work());
            tokio::time::timeout(limit, working).await
        };
        Ran {
            outcome: outcome.unwrap_or_else(|_| {
                let detail = format!("the run took longer than {limit:?}");
                Err(Failure::new(FilterFault::Late, detail))
            }),
            cpu: self.meter.used() - before,
        }
    }

    async fn work(&mut self) -> Result<Option<Duration>, Failure> {
        // Out of `self`, so that no instance is there that was given up halfway.
        let mut at_work = match self.at_work.take() {
            Some(at_work) => at_work,
            None => self.make().await?,
        };
        let outcome = at_work.run(self.no_exchange()).await;
        let is_done = matches!(outcome, Ok(None));
        let is_sound = outcome
            .as_ref()
            .err()
            .is_none_or(|failure| failure.fault.spares_instance());
        self.at_work = (is_sound && !is_done).then_some(at_work);
        outcome
    }

    /// What it sees in the place of one. What it leaves there is dropped.
    fn no_exchange(&self) -> View {
        View::without_exchange(Some(self.calls.clone()))
    }

    async fn make(&self) -> Result<AtWork, Failure> {
        let owner = &self.filter.owner;
        let module = self.filter.module();
        let pre = module.job().expect("only filters with jobs have them run");
        let mut store = store(pre.engine(), owner.clone(), self.worker);
        store.data_mut().clock = Clock::Task(self.meter.clone());
        store.epoch_deadline_callback(|mut context| {
            ticker::is_felt();
            let state = context.data_mut();
            Ok(match state.budget.tick(state.clock.now()) {
                // Other jobs have their turn.
                Tick::GoOn => UpdateDeadline::Yield(1),
                Tick::Over => UpdateDeadline::Interrupt,
            })
        });
        let json = &self.filter.configs()[self.config].json;
        AtWork::start(store, pre, json).await
    }
}

/// An instance with its job.
struct AtWork {
    store: Store<HostState>,
    guest: Background,
    handle: ResourceAny,
}

impl AtWork {
    async fn start(
        mut store: Store<HostState>,
        pre: &BackgroundPre<HostState>,
        json: &str,
    ) -> Result<Self, Failure> {
        let create_cpu = store.data().owner.limits.create_cpu;
        begin(&mut store, create_cpu);
        let started = pre.instance_pre().instantiate_async(&mut store).await;
        let guest = started.and_then(|instance| Background::new(&mut store, &instance));
        let guest = guest.map_err(|error| failure(&store, &error))?;
        begin(&mut store, create_cpu);
        let job = guest.lockgate_filter_background().job();
        let func = job.func_create();
        let created = Box::pin(func.call_async(&mut store, (json,))).await;
        match end(&mut store, created)?.0 {
            Ok(handle) => Ok(Self {
                store,
                guest,
                handle,
            }),
            Err(message) => Err(said(&store, FilterFault::Create, &message)),
        }
    }

    async fn run(&mut self, view: View) -> Result<Option<Duration>, Failure> {
        let Self {
            store,
            guest,
            handle,
        } = self;
        store.data_mut().call = Call {
            phase: Phase::Job,
            view: Some(Box::new(view)),
            may_wait: true,
            ..Call::default()
        };
        let cpu = store.data().owner.limits.job_cpu;
        begin(store, cpu);
        let job = guest.lockgate_filter_background().job();
        let func = job.func_run();
        let ran = Box::pin(func.call_async(&mut *store, (*handle,))).await;
        let ran = end(store, ran);
        let state = store.data_mut();
        state.calls.clear();
        state.journal.commit();
        state.call = Call::default();
        match ran?.0 {
            Ok(rest) => Ok(rest.map(Duration::from_nanos)),
            Err(message) => Err(said(store, FilterFault::Error, &message)),
        }
    }
}
