//! One entry of `filters:`, ready to be called: a module with every
//! configuration accepted by its `create`. Immutable and shared by all workers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::budget::thread_cpu_time;
use super::contract;
use super::engine::MAX_MEMORY_BYTES;
use super::fault::Failure;
use super::granted::{Granted, GrantedSecrets, Shared};
use super::instance::Instance;
use super::interest::Interest;
use super::job_state::JobState;
use super::lenience::Forgiven;
use super::module::Module;
use super::state::{Owner, Remark};
use crate::config::{
    Filter, FilterConfig, Isolation, Name, OnError, RouteConfig, Tone, filter_config,
};
use crate::shared::Store;
use crate::stats::filter::PHASES;
use crate::stats::guest::GuestMetrics;
use crate::stats::{Counter, FilterStats, PerWorker};

/// Making the configurations of an instance takes long from here on: then one
/// instance more than needed is kept, so that a worker need not wait.
const SLOW_CREATE: Duration = Duration::from_micros(200);

/// Where it took more than such a part of what a call may use, no worker makes instances:
/// its neighbours would wait for longer than a call may make them.
const HEAVY_CREATE: u32 = 4;

/// Names that a filter may not have, because facts begin with them.
const RESERVED: [&str; 10] = [
    "route",
    "listener",
    "client",
    "destination",
    "request",
    "response",
    "trace",
    "upstream",
    "tls",
    "proxy_protocol",
];

/// Whether a filter may not have this name.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// A mistake that only shows when a filter is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError {
    /// Whether the filter told it, or cannot be worked with.
    pub tone: Tone,
    /// JSON pointer into the file: a configuration, or the filter as a whole.
    pub pointer: String,
    /// JSON pointer inside that configuration, "" for the whole.
    pub at: String,
    pub message: String,
}

/// A filter that cannot be built.
#[derive(Debug)]
pub struct Refused {
    pub errors: Vec<BuildError>,
    /// Those of its configurations that are good all the same.
    pub accepted: Vec<Configured>,
}

impl From<Vec<BuildError>> for Refused {
    fn from(errors: Vec<BuildError>) -> Self {
        let accepted = Vec::new();
        Self { errors, accepted }
    }
}

/// A filter with all its configurations.
pub struct LoadedFilter {
    module: Arc<Module>,
    /// What it was built from, as it was written.
    block: Filter,
    /// Of this version alone, other than what `owner.stats` counts.
    tally: PerWorker<Tally>,
    pub(super) owner: Arc<Owner>,
    on_error: OnError,
    pub(super) isolation: Isolation,
    /// Distinct configurations; the first is that of no route.
    pub(super) configs: Vec<Configured>,
    /// Of each configuration, where the component has jobs.
    jobs: Vec<JobState>,
    routes: HashMap<Name, Selected>,
    identity: String,
    /// Instances that have every configuration and that no worker has taken.
    #[allow(clippy::vec_box)] // They move on to workers as they are.
    ready: Mutex<Vec<Box<Instance>>>,
    is_slow: bool,
    is_heavy: bool,
}

/// What one version did on one worker, beside what is told of it in metrics.
#[derive(Debug, Default)]
struct Tally {
    faults: Counter,
    ended: Counter,
    /// Calls that were measured, and what they used of the processor.
    measured: Counter,
    measured_nanoseconds: Counter,
}

/// What became of a version's calls so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fared {
    /// Also those of other versions made of the same component.
    pub calls: u64,
    pub faults: u64,
    /// Calls that ended their exchange, with an answer or without.
    pub ended: u64,
    /// Calls that were measured, and what they used of the processor.
    pub measured: u64,
    pub measured_nanoseconds: u64,
    /// What all calls waited.
    pub waited_nanoseconds: u64,
}

impl Fared {
    /// What a call takes, as far as any was measured.
    pub fn mean(self) -> Option<Duration> {
        let used = self.measured_nanoseconds.checked_div(self.measured)?;
        let waited = self.waited_nanoseconds.checked_div(self.calls)?;
        Some(Duration::from_nanos(used.saturating_add(waited)))
    }

    /// What happened since.
    pub fn since(self, before: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(before.calls),
            faults: self.faults.saturating_sub(before.faults),
            ended: self.ended.saturating_sub(before.ended),
            measured: self.measured.saturating_sub(before.measured),
            measured_nanoseconds: self
                .measured_nanoseconds
                .saturating_sub(before.measured_nanoseconds),
            waited_nanoseconds: self
                .waited_nanoseconds
                .saturating_sub(before.waited_nanoseconds),
        }
    }
}

/// A configuration that the filter accepted.
#[derive(Debug)]
pub struct Configured {
    pub(super) json: String,
    /// Where it stands in the file.
    pub pointer: String,
    /// What the filter warned about, though it took the configuration.
    pub remarks: Vec<Remark>,
    pub interest: Interest,
}

/// The configuration of a filter for one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selected {
    Off,
    Config(u16),
}

impl LoadedFilter {
    /// Makes an instance for each worker and gives it every configuration. The
    /// filter is given what is `written` as its schema wants it. Blocks while guests
    /// run.
    pub fn build(
        module: Arc<Module>,
        written: Filter,
        filter: &Filter,
        stats: Arc<PerWorker<FilterStats>>,
        metrics: Arc<GuestMetrics>,
        granted: Granted,
        workers: usize,
    ) -> Result<Arc<Self>, Refused> {
        check_filter(filter)?;
        check_grants(&module, filter)?;
        let (configs, routes) = distinct(filter)?;
        let tally = PerWorker::new(stats.iter().count(), Tally::default);
        let owner = Arc::new(Owner {
            name: filter.name.clone(),
            limits: filter.limits.clone(),
            metrics,
            stats,
            call: filter.grants.call.clone(),
            granted,
            forgiven: PerWorker::new(tally.iter().count(), Forgiven::default),
        });
        let whole =
            |failure: Failure| Refused::from(vec![mistake(&filter.pointer, failure.to_string())]);
        let started = Instant::now();
        let cpu_before = thread_cpu_time();
        let create_cpu = owner.limits.create_cpu;
        let mut first = Instance::make(&module, owner.clone(), 0, create_cpu).map_err(whole)?;
        let configs = accept(&mut first, configs)?;
        let used = thread_cpu_time().saturating_sub(cpu_before);
        // What a shadow costs is to be its own thread's.
        let is_heavy = used > owner.limits.cpu / HEAVY_CREATE && !filter.is_shadow();
        let is_slow = is_heavy || started.elapsed() > SLOW_CREATE && !filter.is_shadow();
        let has_job = module.job().is_some();
        let jobs = configs.iter().filter(|_| has_job);
        let loaded = Self {
            jobs: jobs.map(|_| JobState::default()).collect(),
            identity: identity(&module, filter, &configs),
            module,
            block: written,
            tally,
            owner,
            on_error: filter.on_error,
            isolation: filter.isolation,
            configs,
            routes,
            ready: Mutex::new(vec![Box::new(first)]),
            is_slow,
            is_heavy,
        };
        for _ in 1..workers + usize::from(is_slow) {
            let instance = loaded.make_ready().map_err(whole)?;
            loaded.put(instance);
        }
        Ok(Arc::new(loaded))
    }

    pub fn name(&self) -> &Name {
        &self.owner.name
    }

    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// Its label among the generations of its filter. A canary or a shadow has one of
    /// its own, also where only its configuration is another.
    pub fn generation(&self) -> Cow<'_, str> {
        generation(&self.module, &self.block)
    }

    /// The entry of `filters:` that it was built from, which need not be in the
    /// present file.
    pub fn block(&self) -> &Filter {
        &self.block
    }

    /// How it fares so far.
    pub fn record(&self) -> Fared {
        let stats = &self.owner.stats;
        let calls = (0..PHASES.len()).map(|phase| stats.sum(|stats| stats.calls(phase)));
        let waits = stats.sum(|stats| &stats.call_waits.nanoseconds)
            + stats.sum(|stats| &stats.instance_waits.nanoseconds);
        Fared {
            calls: calls.sum(),
            faults: self.tally.sum(|tally| &tally.faults),
            ended: self.tally.sum(|tally| &tally.ended),
            measured: self.tally.sum(|tally| &tally.measured),
            measured_nanoseconds: self.tally.sum(|tally| &tally.measured_nanoseconds),
            waited_nanoseconds: waits,
        }
    }

    /// Linear memory of the instances of its component on all workers.
    pub fn memory_bytes(&self) -> i64 {
        self.owner.stats.level(|stats| &stats.memory_bytes)
    }

    pub(super) fn count_fault(&self, worker: usize) {
        self.tally.of(worker).faults.add(1);
    }

    pub(super) fn count_measured(&self, worker: usize, used: Duration) {
        let tally = self.tally.of(worker);
        tally.measured.add(1);
        let used = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
        tally.measured_nanoseconds.add(used);
    }

    pub(super) fn count_ended(&self, worker: usize) {
        self.tally.of(worker).ended.add(1);
    }

    pub fn on_error(&self) -> OnError {
        self.on_error
    }

    /// Every distinct configuration with what it declares.
    pub fn configs(&self) -> &[Configured] {
        &self.configs
    }

    /// What is known of its jobs: of none, or of one for each configuration.
    pub fn jobs(&self) -> &[JobState] {
        &self.jobs
    }

    /// Clusters that it may call.
    pub fn may_call(&self) -> &[Name] {
        &self.owner.call
    }

    /// How long its first runs are waited for.
    pub fn first_run(&self) -> Duration {
        self.owner.limits.first_run
    }

    /// Equal for filters that behave alike: bytes, configurations, limits.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Whether it is the same component with the same configurations.
    pub fn does_as(&self, other: &Self) -> bool {
        fn configs(version: &LoadedFilter) -> impl Iterator<Item = &str> {
            version.configs.iter().map(|config| config.json.as_str())
        }
        self.module.digest() == other.module.digest()
            && configs(self).eq(configs(other))
            && self.routes == other.routes
    }

    /// What it measures of its own accord.
    pub fn metrics(&self) -> &GuestMetrics {
        &self.owner.metrics
    }

    /// What its instances share with those of other versions.
    pub fn shared(&self) -> Option<&Arc<Store>> {
        match self.owner.granted.shared.as_ref()? {
            Shared::Store(store) => Some(store),
            Shared::Overlay(_) => None,
        }
    }

    /// The secrets that it may use.
    pub fn secrets(&self) -> &GrantedSecrets {
        &self.owner.granted.secrets
    }

    pub(super) fn select(&self, route: Option<&Name>) -> Selected {
        let selected = route.and_then(|route| self.routes.get(route));
        selected.copied().unwrap_or(Selected::Config(0))
    }

    /// An instance with nothing created in it. On a worker that takes no longer than a call
    /// may: it took a part of that when the filter was built.
    pub(super) fn make(&self, worker: usize) -> Result<Instance, Failure> {
        let limits = &self.owner.limits;
        let cpu = match self.block.is_shadow() {
            true => limits.create_cpu,
            false => limits.create_cpu.min(limits.cpu),
        };
        Instance::make(&self.module, self.owner.clone(), worker, cpu)
    }

    /// An instance that has every configuration already, if one is left.
    pub(super) fn take(&self) -> Option<Box<Instance>> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.pop()
    }

    /// Whether a lost instance is better replaced away from the worker.
    pub(super) fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// Whether no worker makes instances.
    pub(super) fn is_heavy(&self) -> bool {
        self.is_heavy
    }

    /// Replaces an instance that a worker took from those that were ready.
    pub(super) fn refill(&self) -> Result<(), Failure> {
        self.make_ready().map(|instance| self.put(instance))
    }

    fn make_ready(&self) -> Result<Instance, Failure> {
        let create_cpu = self.owner.limits.create_cpu;
        let mut instance = Instance::make(&self.module, self.owner.clone(), 0, create_cpu)?;
        for (number, config) in self.configs.iter().enumerate() {
            create_again(&mut instance, number, &config.json)?;
        }
        Ok(instance)
    }

    fn put(&self, instance: Instance) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.push(Box::new(instance));
    }
}

/// Creates a configuration that the same module accepted before.
pub(super) fn create_again(
    instance: &mut Instance,
    config: usize,
    json: &str,
) -> Result<(), Failure> {
    use super::fault::FilterFault::Create;
    let mistakes = instance.create(config, json).map_err(|failure| {
        match failure.fault.is_overrun() {
            // Who does so again and again is paused.
            true => failure,
            false => Failure::new(Create, failure.to_string()),
        }
    })?;
    match mistakes.first() {
        None => Ok(()),
        Some(mistake) => Err(Failure::new(
            Create,
            format!("refused what it accepted before: {}", mistake.message),
        )),
    }
}

/// A component's imports are its permission list, but for those that its schema says
/// it needs for a part of the configuration that is not given.
fn check_grants(module: &Module, filter: &Filter) -> Result<(), Vec<BuildError>> {
    let imports = module.imports().iter().map(String::as_str);
    let missing = contract::missing_grants(imports, &filter.grants).into_iter();
    let schema = module.manifest().config_schema.as_ref();
    // A shadow that may not call is refused when it does.
    let is_wanted = |interface: &str| !(filter.is_shadow() && interface == contract::HTTP_CLIENT);
    let mistakes: Vec<_> = missing
        .filter(|(interface, _)| is_wanted(interface))
        .filter(|(interface, _)| filter_config::needs(interface, schema, filter.configs()))
        .map(|(interface, grant)| {
            let message = format!("imports `{interface}`, which `{grant}` would grant it");
            mistake(&filter.pointer, message)
        })
        .collect();
    match mistakes.is_empty() {
        true => Ok(()),
        false => Err(mistakes),
    }
}

/// The label of a version made of a component by this entry.
pub fn generation<'a>(module: &'a Module, entry: &Filter) -> Cow<'a, str> {
    match entry.trial() {
        Some(trial) => format!("{}+{trial}", module.generation()).into(),
        None => module.generation().into(),
    }
}

fn check_filter(filter: &Filter) -> Result<(), Vec<BuildError>> {
    if is_reserved(&filter.name) {
        let message = format!(
            "`{}` is reserved and cannot be a filter's name",
            filter.name
        );
        return Err(vec![mistake(&filter.pointer, message)]);
    }
    if filter.limits.memory_bytes > MAX_MEMORY_BYTES {
        let message = format!("more memory than {MAX_MEMORY_BYTES} bytes for one instance");
        return Err(vec![mistake(&filter.pointer, message)]);
    }
    Ok(())
}

type Distinct<'a> = (Vec<&'a FilterConfig>, HashMap<Name, Selected>);

/// Equal configurations are one.
fn distinct(filter: &Filter) -> Result<Distinct<'_>, Vec<BuildError>> {
    let mut configs = vec![&filter.config];
    let mut routes = HashMap::new();
    for (route, config) in &filter.routes {
        let selected = match config {
            RouteConfig::Off => Selected::Off,
            RouteConfig::Config(config) => {
                let known = configs.iter().position(|known| known.value == config.value);
                let number = known.unwrap_or_else(|| {
                    configs.push(config);
                    configs.len() - 1
                });
                let too_many = |_| vec![mistake(&filter.pointer, "too many configurations".into())];
                Selected::Config(u16::try_from(number).map_err(too_many)?)
            }
        };
        routes.insert(route.clone(), selected);
    }
    Ok((configs, routes))
}

/// `create` and `wants` for every configuration; all mistakes at once, unless
/// the instance is lost over one.
fn accept(
    instance: &mut Instance,
    configs: Vec<&FilterConfig>,
) -> Result<Vec<Configured>, Refused> {
    let mut accepted = Vec::with_capacity(configs.len());
    let mut errors = Vec::new();
    for (number, config) in configs.into_iter().enumerate() {
        match accept_one(instance, number, config) {
            Ok(configured) => accepted.push(configured),
            Err(Rejected::Mistakes(more)) => errors.extend(more),
            Err(Rejected::Failed(failure)) => {
                errors.push(failure);
                break;
            }
        }
    }
    match errors.is_empty() {
        true => Ok(accepted),
        false => Err(Refused { errors, accepted }),
    }
}

enum Rejected {
    Mistakes(Vec<BuildError>),
    /// The instance is unusable.
    Failed(BuildError),
}

fn accept_one(
    instance: &mut Instance,
    number: usize,
    config: &FilterConfig,
) -> Result<Configured, Rejected> {
    let failed = |call: &'static str| {
        let pointer = config.pointer.clone();
        move |failure: Failure| {
            Rejected::Failed(mistake(&pointer, format!("`{call}` failed: {failure}")))
        }
    };
    let json = config.value.to_string();
    let refused = instance.create(number, &json).map_err(failed("create"))?;
    if !refused.is_empty() {
        let secrets = instance.secrets();
        let mistakes = refused.into_iter().map(|refused| BuildError {
            tone: Tone::Refuses,
            pointer: config.pointer.clone(),
            at: secrets.masked(refused.at),
            message: super::log::clean(&secrets.mask(&refused.message), 2048),
        });
        return Err(Rejected::Mistakes(mistakes.collect()));
    }
    let wanted = instance.wants(number).map_err(failed("wants"))?;
    let interest = wanted.map_err(|messages| {
        let mistakes = messages.into_iter();
        Rejected::Mistakes(
            mistakes
                .map(|message| mistake(&config.pointer, message))
                .collect(),
        )
    })?;
    Ok(Configured {
        json,
        pointer: config.pointer.clone(),
        remarks: instance.take_remarks(),
        interest,
    })
}

fn mistake(pointer: &str, message: String) -> BuildError {
    BuildError {
        tone: Tone::Fails,
        pointer: pointer.to_owned(),
        at: String::new(),
        message,
    }
}

fn identity(module: &Module, filter: &Filter, configs: &[Configured]) -> String {
    let mut hash = Sha256::new();
    hash.update(module.digest_bytes());
    for config in configs {
        hash.update((config.json.len() as u64).to_le_bytes());
        hash.update(&config.json);
    }
    hash.update(format!(
        "{:?}",
        (
            &filter.name,
            &filter.on_error,
            &filter.isolation,
            &filter.limits,
            &filter.grants,
            &filter.routes
        )
    ));
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
