//! What Lockgate counts, and how it is told.
//!
//! Takes: additions by workers, each to its own slot of a [`PerWorker`], and
//! the outcome of reloads by the control thread. Gives: the text of `/metrics`.
//! Series outlive reloads, so that counters never go back; what has left the
//! configuration is dropped by [`Stats::retain`].
//! Must never: lock or allocate where a worker counts, or know any other part
//! of the proxy.

pub mod bill;
pub mod cluster;
pub mod counter;
pub mod detection;
pub mod ending;
pub mod exposition;
pub mod filter;
pub mod guest;
pub mod health;
pub mod job;
pub mod listener;
pub mod overload;
pub mod process;
pub mod proxy_header;
pub mod refusal;
pub mod retries;
pub mod shadow;
pub mod tls;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::shared::Spaces;
pub use bill::Bill;
pub use cluster::ClusterStats;

pub use counter::{CachePadded, Counter, Gauge, Histogram, PerWorker};
pub use detection::{Detected, Detections};
pub use ending::{Ending, Endings};
pub use filter::FilterStats;
pub use guest::GuestMetrics;
pub use health::{EndpointState, HealthStats};
pub use job::JobStats;
pub use listener::{ListenerStats, StatusClass};
pub use overload::WorkerDelay;
pub use process::ProcessStats;
pub use proxy_header::{HeaderOutcome, ProxyHeaders};
pub use refusal::{Refusal, Refusals};
pub use retries::{NoRetries, NoRetry};
pub use shadow::ShadowStats;
pub use tls::{HandshakeFailure, TlsStats};

/// Every series of the process. Asked for a series by the control side only,
/// when a configuration is built; workers keep what they were given.
#[derive(Debug)]
pub struct Stats {
    pub process: ProcessStats,
    /// Lines of the access log that were given up, because the disk or the
    /// reader of the standard output did not keep up.
    pub access_log_dropped: Arc<PerWorker<Counter>>,
    pub delays: Arc<PerWorker<WorkerDelay>>,
    /// What filters share, which outlives reloads like the series do.
    pub shared: Spaces,
    workers: usize,
    listeners: Mutex<Named<Arc<str>, ListenerStats>>,
    clusters: Mutex<Named<Arc<str>, ClusterStats>>,
    filters: Mutex<Named<FilterKey, FilterStats>>,
    jobs: Mutex<Named<JobKey, JobStats>>,
    shadows: Mutex<Named<FilterKey, ShadowStats>>,
    guests: Mutex<BTreeMap<Arc<str>, Arc<guest::Told>>>,
    versions: Mutex<Vec<FilterVersion>>,
    certificates: Mutex<Vec<Expiry>>,
}

/// When the first certificate or revocation list of a file expires.
#[derive(Debug, Clone)]
pub struct Expiry {
    /// What has it, `listener` or `cluster`, and its name.
    pub of: (&'static str, Arc<str>),
    pub file: Arc<str>,
    /// Since 1970, in seconds.
    pub at: u64,
}

/// A filter's name, and how a version that serves came to.
type FilterVersion = (Arc<str>, &'static str);

/// Series by what they are about.
type Named<K, T> = BTreeMap<K, Arc<PerWorker<T>>>;

/// A filter's name and the label of its generation.
type FilterKey = (Arc<str>, Arc<str>);

/// The same with the place of a configuration.
type JobKey = (Arc<str>, Arc<str>, Arc<str>);

impl Stats {
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            process: ProcessStats::default(),
            access_log_dropped: Arc::new(PerWorker::new(workers, Counter::default)),
            delays: Arc::new(PerWorker::new(workers, WorkerDelay::default)),
            shared: Spaces::default(),
            workers,
            listeners: Mutex::default(),
            clusters: Mutex::default(),
            filters: Mutex::default(),
            jobs: Mutex::default(),
            shadows: Mutex::default(),
            guests: Mutex::default(),
            versions: Mutex::default(),
            certificates: Mutex::default(),
        })
    }

    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The number under which the thread of jobs counts, as one more worker.
    pub fn jobs_worker(&self) -> usize {
        self.workers
    }

    /// Those who count: the workers and the thread of jobs.
    fn slots(&self) -> usize {
        self.workers + 1
    }

    pub fn listener(&self, name: &Arc<str>) -> Arc<PerWorker<ListenerStats>> {
        self.find_or_make(&self.listeners, name.clone())
    }

    pub fn cluster(&self, name: &Arc<str>) -> Arc<PerWorker<ClusterStats>> {
        self.find_or_make(&self.clusters, name.clone())
    }

    pub fn filter(&self, name: &Arc<str>, generation: &str) -> Arc<PerWorker<FilterStats>> {
        self.find_or_make(&self.filters, (name.clone(), generation.into()))
    }

    /// Of the shadow of a filter, by its own generation.
    pub fn shadow(&self, name: &Arc<str>, generation: &str) -> Arc<PerWorker<ShadowStats>> {
        self.find_or_make(&self.shadows, (name.clone(), generation.into()))
    }

    /// Of the job of the configuration at this place, which one thread runs.
    pub fn job(
        &self,
        filter: &Arc<str>,
        generation: &str,
        config: &str,
    ) -> Arc<PerWorker<JobStats>> {
        let key = (filter.clone(), generation.into(), config.into());
        locked(&self.jobs)
            .entry(key)
            .or_insert_with(|| Arc::new(PerWorker::new(1, JobStats::default)))
            .clone()
    }

    /// The metrics that a version of a filter defines for itself, told to nobody yet.
    pub fn guest(&self, max_series: usize) -> Arc<GuestMetrics> {
        Arc::new(GuestMetrics::new(self.slots(), max_series))
    }

    /// Tells them under this name, with those of its other versions.
    pub fn tell_guest(&self, name: &Arc<str>, metrics: &GuestMetrics) {
        let told = locked(&self.guests)
            .entry(name.clone())
            .or_insert_with(|| guest::Told::new(self.slots()))
            .clone();
        metrics.tell(&told);
    }

    /// Drops the series of what is neither in the configuration nor still at
    /// work in an older one. Whoever holds such a series may go on counting; it
    /// is not told any more.
    pub fn retain(
        &self,
        listener: impl Fn(&str) -> bool,
        cluster: impl Fn(&str) -> bool,
        filter: impl Fn(&str, &str) -> bool,
        filter_name: impl Fn(&str) -> bool,
    ) {
        locked(&self.listeners).retain(|name, _| listener(name));
        locked(&self.clusters).retain(|name, _| cluster(name));
        let mut filters = locked(&self.filters);
        filters.retain(|(name, generation), _| filter(name, generation));
        locked(&self.shadows).retain(|(name, generation), _| filter(name, generation));
        locked(&self.jobs).retain(|(name, generation, _), _| filter(name, generation));
        locked(&self.guests).retain(|name, _| filter_name(name));
        self.shared.retain(filter_name);
    }

    /// How the versions of filters that serve now came to.
    pub fn tell_versions(&self, versions: Vec<FilterVersion>) {
        *locked(&self.versions) = versions;
    }

    /// When the certificates that are served now expire.
    pub fn tell_certificates(&self, certificates: Vec<Expiry>) {
        *locked(&self.certificates) = certificates;
    }

    fn certificates(&self) -> Vec<Expiry> {
        locked(&self.certificates).clone()
    }

    fn versions(&self) -> Vec<FilterVersion> {
        locked(&self.versions).clone()
    }

    /// What a filter did and cost, by generation.
    pub fn bills(&self, name: &str) -> Vec<Bill> {
        let filters = locked(&self.filters);
        let own = filters.iter().filter(|((known, _), _)| &**known == name);
        own.map(|((_, generation), stats)| Bill::of(generation, stats))
            .collect()
    }

    fn listeners(&self) -> Named<Arc<str>, ListenerStats> {
        locked(&self.listeners).clone()
    }

    fn clusters(&self) -> Named<Arc<str>, ClusterStats> {
        locked(&self.clusters).clone()
    }

    fn filters(&self) -> Named<FilterKey, FilterStats> {
        locked(&self.filters).clone()
    }

    fn jobs(&self) -> Named<JobKey, JobStats> {
        locked(&self.jobs).clone()
    }

    fn shadows(&self) -> Named<FilterKey, ShadowStats> {
        locked(&self.shadows).clone()
    }

    fn guests(&self) -> Vec<(Arc<str>, Arc<guest::Told>)> {
        let guests = locked(&self.guests);
        guests
            .iter()
            .map(|(name, metrics)| (name.clone(), metrics.clone()))
            .collect()
    }

    fn find_or_make<K: Ord, T: Default>(
        &self,
        series: &Mutex<Named<K, T>>,
        key: K,
    ) -> Arc<PerWorker<T>> {
        locked(series)
            .entry(key)
            .or_insert_with(|| Arc::new(PerWorker::new(self.slots(), T::default)))
            .clone()
    }
}

/// A panic while the lock was held leaves a map that is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
