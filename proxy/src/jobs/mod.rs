//! The jobs of filters (`background`) and their shadows: one thread runs all of them, beside the
//! workers and as one more of them, with its own connections to the clusters that
//! jobs call and its own slots in the statistics.
//!
//! Takes the filters of a snapshot before it is published, whose new jobs then run
//! once, and the word that it was published. Gives what came of the first runs;
//! what jobs learn reaches their filters through `shared` alone.
//! Must never: touch an exchange, hold a generation, or let one job keep the
//! others from running.

mod back_off;
mod pools;
mod run;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, io};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::exchange::serve_calls;
use crate::filter::{Calls, Failure, Job, LoadedFilter, Shadow, Understudy};
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use pools::{CurrentPools, Pools};
use run::Life;

/// How often idle connections are looked after.
const SWEEP: Duration = Duration::from_millis(100);

/// The thread of jobs. Dropping it ends them.
pub struct Jobs {
    orders: mpsc::Sender<Order>,
    thread: JoinHandle<()>,
}

/// What the control thread wants done.
enum Order {
    Prepare(Candidate, oneshot::Sender<Vec<Unready>>),
    /// The candidate is the current generation now.
    Publish,
}

/// What jobs need of a snapshot. It is not held itself: a job would keep its
/// generation alive.
struct Candidate {
    filters: Vec<Arc<LoadedFilter>>,
    shadows: Vec<Arc<Shadow>>,
    clusters: Vec<Arc<Cluster>>,
}

/// A job that could not get ready before its configuration was published.
pub struct Unready {
    filter: Arc<LoadedFilter>,
    config: usize,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Failed(Failure),
    Slow(Duration),
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = &self.filter.configs()[self.config].pointer;
        match &self.why {
            Why::Failed(failure) => write!(f, "the first run of the job of `{at}` {failure}")?,
            Why::Slow(limit) => write!(
                f,
                "the first run of the job of `{at}` is not over after {limit:?}"
            )?,
        }
        f.write_str("; the filter begins with what was shared before")
    }
}

impl Jobs {
    pub fn start(stats: Arc<Stats>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let (orders, inbox) = mpsc::channel(1);
        let thread = std::thread::Builder::new()
            .name("jobs".to_owned())
            .spawn(move || LocalSet::new().block_on(&runtime, run(inbox, stats)))?;
        Ok(Self { orders, thread })
    }

    /// Begins the jobs that the snapshot adds, and waits for the first run of each
    /// as long as its filter says. Those of the snapshot before go on meanwhile.
    ///
    /// Without [`Jobs::publish`] they end with the next candidate, or with `self`.
    pub async fn prepare(&self, snapshot: &Snapshot) -> Vec<Unready> {
        let (ready, outcome) = oneshot::channel();
        let order = Order::Prepare(Candidate::of(snapshot), ready);
        // The thread ends only after this, or by a panic, which it has told.
        self.orders.send(order).await.ok();
        outcome.await.unwrap_or_default()
    }

    /// Begins and ends jobs for a snapshot that serves already: nobody waits for first
    /// runs, which may take long just when others need to be served.
    pub async fn follow(&self, snapshot: &Snapshot) {
        let (ready, _) = oneshot::channel();
        let order = Order::Prepare(Candidate::of(snapshot), ready);
        self.orders.send(order).await.ok();
        self.publish().await;
    }

    /// The snapshot that was prepared last is published: jobs that it does not
    /// have end.
    pub async fn publish(&self) {
        self.orders.send(Order::Publish).await.ok();
    }

    /// Ends all jobs. Blocking.
    pub fn stop(self) {
        drop(self.orders);
        if self.thread.join().is_err() {
            tracing::error!("the thread of jobs panicked");
        }
    }
}

impl Candidate {
    fn of(snapshot: &Snapshot) -> Self {
        let has_job = |filter: &&Arc<LoadedFilter>| !filter.jobs().is_empty();
        let filters = snapshot.filters.iter().chain(&snapshot.canaries);
        let filters: Vec<_> = filters.filter(has_job).cloned().collect();
        let shadows = snapshot.shadows.clone();
        let is_called = |cluster: &&Arc<Cluster>| {
            let shadows = shadows.iter().map(|shadow| shadow.filter());
            let mut callers = filters.iter().chain(shadows);
            callers.any(|filter| filter.may_call().contains(cluster.name()))
        };
        let clusters = snapshot.clusters.iter().filter(is_called).cloned();
        Self {
            clusters: clusters.collect(),
            filters,
            shadows,
        }
    }
}

/// The jobs of one generation, those included that it shares with another.
#[derive(Default)]
struct Generation {
    filters: Vec<Rc<Running>>,
    shadows: Vec<Rc<Watching>>,
    pools: Rc<Pools>,
    /// Waits for the first runs.
    waiting: JoinSet<()>,
}

/// The jobs of one filter. Dropping it ends them.
struct Running {
    filter: Arc<LoadedFilter>,
    pools: CurrentPools,
    _tasks: JoinSet<()>,
}

/// A shadow that is shown copies of exchanges. Dropping it ends that.
struct Watching {
    shadow: Arc<Shadow>,
    pools: CurrentPools,
    _tasks: JoinSet<()>,
}

async fn run(mut orders: mpsc::Receiver<Order>, stats: Arc<Stats>) {
    let mut current = Generation::default();
    let mut candidate = Generation::default();
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Prepare(next, ready)) => {
                    candidate = Generation::new(next, &current, &stats, ready);
                }
                Some(Order::Publish) => {
                    current = std::mem::take(&mut candidate);
                    current.take_over();
                }
                None => return,
            },
            _ = sweep.tick() => current.pools.sweep(Instant::now()),
        }
    }
}

impl Generation {
    fn new(
        candidate: Candidate,
        before: &Self,
        stats: &Arc<Stats>,
        ready: oneshot::Sender<Vec<Unready>>,
    ) -> Self {
        let pools = Pools::new(candidate.clusters, &before.pools, stats.jobs_worker());
        let mut first_runs = Vec::new();
        let filters = candidate.filters.into_iter().map(|filter| {
            let mut known = before.filters.iter();
            match known.find(|known| Arc::ptr_eq(&known.filter, &filter)) {
                Some(known) => known.clone(),
                None => Rc::new(begin(filter, &pools, stats, &mut first_runs)),
            }
        });
        let filters = filters.collect();
        let shadows = candidate.shadows.into_iter().map(|shadow| {
            let mut known = before.shadows.iter();
            match known.find(|known| Arc::ptr_eq(&known.shadow, &shadow)) {
                Some(known) => known.clone(),
                None => Rc::new(watch(shadow, &pools, stats)),
            }
        });
        let shadows = shadows.collect();
        let mut waiting = JoinSet::new();
        waiting.spawn_local(async move {
            // Who asked may have given the candidate up.
            ready.send(wait(first_runs).await).ok();
        });
        Self {
            filters,
            shadows,
            pools,
            waiting,
        }
    }

    /// It is the current one: who is from before calls its clusters too.
    fn take_over(&mut self) {
        let filters = self.filters.iter().map(|running| &running.pools);
        let shadows = self.shadows.iter().map(|watching| &watching.pools);
        for pools in filters.chain(shadows) {
            pools.replace(self.pools.clone());
        }
        // They are over, or nobody waits for them any more.
        self.waiting.abort_all();
    }
}

/// The first run of a job.
struct FirstRun {
    filter: Arc<LoadedFilter>,
    config: usize,
    over: oneshot::Receiver<Result<(), Failure>>,
}

/// Begins the jobs of a filter.
fn begin(
    filter: Arc<LoadedFilter>,
    pools: &Rc<Pools>,
    stats: &Arc<Stats>,
    first_runs: &mut Vec<FirstRun>,
) -> Running {
    let pools: CurrentPools = Rc::new(RefCell::new(pools.clone()));
    let mut tasks = JoinSet::new();
    let calls = make_calls(&pools, &mut tasks);
    for (config, configured) in filter.configs().iter().enumerate() {
        let (first, over) = oneshot::channel();
        let worker = stats.jobs_worker();
        let life = Life {
            job: Job::new(filter.clone(), config, worker, calls.clone()),
            filter: filter.name().clone(),
            config: configured.pointer.clone(),
            stats: stats.job(
                filter.name(),
                filter.module().generation(),
                &configured.pointer,
            ),
            first: Some(first),
        };
        tasks.spawn_local(life.run());
        first_runs.push(FirstRun {
            filter: filter.clone(),
            config,
            over,
        });
    }
    Running {
        filter,
        pools,
        _tasks: tasks,
    }
}

/// Where calls go, which one of the tasks makes.
fn make_calls(pools: &CurrentPools, tasks: &mut JoinSet<()>) -> Calls {
    let (calls, asked) = mpsc::unbounded_channel();
    let found = pools.clone();
    tasks.spawn_local(serve_calls(move |name| found.borrow().find(name), asked));
    calls
}

/// Begins to show a shadow what it is to see.
fn watch(shadow: Arc<Shadow>, pools: &Rc<Pools>, stats: &Arc<Stats>) -> Watching {
    let pools: CurrentPools = Rc::new(RefCell::new(pools.clone()));
    let mut tasks = JoinSet::new();
    let calls = make_calls(&pools, &mut tasks);
    if let Some(understudy) = Understudy::new(shadow.clone(), stats.jobs_worker(), calls) {
        tasks.spawn_local(understudy.run());
    }
    Watching {
        shadow,
        pools,
        _tasks: tasks,
    }
}

/// All run at the same time, so none waits longer than its own filter says.
async fn wait(first_runs: Vec<FirstRun>) -> Vec<Unready> {
    let began = Instant::now();
    let mut unready = Vec::new();
    for FirstRun {
        filter,
        config,
        over,
    } in first_runs
    {
        let limit = filter.first_run();
        let why = match tokio::time::timeout_at(began + limit, over).await {
            // One that ended untold was given up with its candidate.
            Ok(Ok(Ok(())) | Err(_)) => continue,
            Ok(Ok(Err(failure))) => Why::Failed(failure),
            Err(_) => Why::Slow(limit),
        };
        unready.push(Unready {
            filter,
            config,
            why,
        });
    }
    unready
}
