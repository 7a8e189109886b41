//! What the control loop tells: the admin view, metrics of reloads, the log.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::admin::{Access, AdminState, AdminView, Command, Readiness, ReloadOutcome};
use super::endpoints;
use super::generations::Generations;
use super::versions::Known;
use crate::config::{
    self, AccessLog, AdminAddress, Config, Mistakes, Name, Reference, Verify, filter_config,
};
use crate::filter::{JobState, LoadedFilter};
use crate::health;
use crate::secrets::Secret;
use crate::snapshot::{Reason, Snapshot};
use crate::stats::{Expiry, Stats};

/// Shared with the admin server, which only reads.
pub struct Status {
    stats: Arc<Stats>,
    view: Arc<ArcSwap<AdminView>>,
    told: Arc<Told>,
    admin_address: OnceLock<SocketAddr>,
    started_with: StartedWith,
}

/// What a process keeps from its start to its end, whatever a reload brings.
struct StartedWith {
    workers: NonZeroUsize,
    admin_address: Option<AdminAddress>,
    access_log: AccessLog,
    cache_dir: Option<PathBuf>,
    state_dir: Option<PathBuf>,
}

/// What `/generations` tells.
#[derive(Default)]
struct Told {
    generations: Generations,
    last: Mutex<Option<ReloadOutcome>>,
    versions: Known,
}

impl Status {
    pub fn new(stats: Arc<Stats>, first: &Arc<Snapshot>, versions: Known) -> Arc<Self> {
        let told = Arc::new(Told {
            versions,
            ..Told::default()
        });
        told.generations.add(first);
        stats.process.generation.set(1);
        stats.process.live_generations.set(1);
        stats.tell_versions(serving_as(first));
        stats.tell_certificates(expiries(first));
        let view = view(first, &told, &stats, Readiness::Ready);
        Arc::new(Self {
            stats,
            view: Arc::new(ArcSwap::from_pointee(view)),
            told,
            admin_address: OnceLock::new(),
            started_with: StartedWith::of(&first.config),
        })
    }

    pub fn admin_state(&self, commands: mpsc::Sender<Command>) -> AdminState {
        AdminState {
            stats: self.stats.clone(),
            commands,
            view: self.view.clone(),
        }
    }

    pub fn set_admin_address(&self, address: Option<SocketAddr>) {
        if let Some(address) = address {
            // Set once, where the server is bound.
            self.admin_address.set(address).ok();
        }
    }

    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address.get().copied()
    }

    /// A warning for each key that is not what the process runs by.
    pub fn only_from_next_start(&self, config: &Config) -> Vec<String> {
        let warn = |key| {
            format!("`{key}` is not what this process started with; it counts from the next start")
        };
        self.started_with.differing(config).map(warn).collect()
    }

    pub fn generations(&self) -> &Generations {
        &self.told.generations
    }

    /// A snapshot was published.
    pub fn show(&self, snapshot: &Arc<Snapshot>) {
        self.told.generations.add(snapshot);
        self.stats
            .process
            .generation
            .set(snapshot.generation as i64);
        let readiness = self.view.load().readiness;
        self.store_view(snapshot, readiness);
    }

    /// A reload ended, in whichever way.
    pub fn record(&self, outcome: &ReloadOutcome, why: &str, took: Duration) {
        self.told.count_generations(&self.stats);
        self.forget();
        let count = match outcome.ok {
            true => &self.stats.process.reloads_ok,
            false => &self.stats.process.reloads_refused,
        };
        count.add(1);
        *self
            .told
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(outcome.clone());
        for warning in &outcome.warnings {
            tracing::warn!("{warning}");
        }
        for mistake in &outcome.mistakes {
            tracing::error!("{mistake}");
        }
        let generation = outcome.generation;
        if outcome.ok {
            let changed = outcome.what_changed();
            tracing::info!(why, generation, changed, ?took, "reloaded");
        } else {
            tracing::error!(
                why,
                generation,
                ?took,
                "reload refused; the old configuration stays"
            );
        }
    }

    /// New exchanges should be sent elsewhere from now on.
    pub fn stop(&self, snapshot: &Arc<Snapshot>) {
        self.store_view(snapshot, Readiness::Draining);
    }

    fn store_view(&self, snapshot: &Arc<Snapshot>, readiness: Readiness) {
        self.stats.tell_versions(serving_as(snapshot));
        self.stats.tell_certificates(expiries(snapshot));
        let view = view(snapshot, &self.told, &self.stats, readiness);
        self.view.store(Arc::new(view));
    }

    /// Drops the series of what is neither configured nor still at work. Only
    /// between two reloads: a candidate's series are not yet anyone's.
    fn forget(&self) {
        let alive = self.told.generations.snapshots();
        let any = |has: &dyn Fn(&Snapshot) -> bool| alive.iter().any(|snapshot| has(snapshot));
        self.stats.retain(
            |listener| {
                let is_it = |known: &config::Listener| &*known.name == listener;
                any(&|snapshot| snapshot.config.listeners.iter().any(is_it))
            },
            |cluster| any(&|snapshot| snapshot.cluster(cluster).is_some()),
            |filter, generation| {
                let is_it = |known: &Arc<LoadedFilter>| {
                    let label = known.generation();
                    // Jobs are known by their component alone.
                    fn component(label: &str) -> Option<&str> {
                        label.split('+').next()
                    }
                    let of_shadow = |label: &str| label.ends_with("+shadow");
                    &**known.name() == filter
                        && component(&label) == component(generation)
                        && of_shadow(&label) == of_shadow(generation)
                };
                let serves = |snapshot: &Snapshot| {
                    let shadows = snapshot.shadows.iter().map(|shadow| shadow.filter());
                    let versions = snapshot.filters.iter().chain(&snapshot.canaries);
                    versions.chain(shadows).any(is_it)
                };
                any(&serves) || self.told.versions.is_good(filter, generation)
            },
            |filter| any(&|snapshot| snapshot.filter(filter).is_some()),
        );
    }
}

impl Told {
    /// Generations end by themselves, so they are counted when someone asks.
    fn count_generations(&self, stats: &Stats) {
        let live = self.generations.live().len();
        stats.process.live_generations.set(live as i64);
    }
}

impl ReloadOutcome {
    pub fn published(snapshot: &Snapshot, before: &Snapshot, warnings: Vec<String>) -> Self {
        Self {
            ok: true,
            generation: snapshot.generation,
            changed: changes(before, snapshot),
            mistakes: Vec::new(),
            warnings,
        }
    }

    pub fn refused(before: &Snapshot, mistakes: &Mistakes) -> Self {
        Self {
            ok: false,
            generation: before.generation,
            changed: Vec::new(),
            mistakes: mistakes.to_string().lines().map(str::to_owned).collect(),
            warnings: Vec::new(),
        }
    }

    /// For people.
    pub fn what_changed(&self) -> String {
        match self.changed.is_empty() {
            true => "nothing".to_owned(),
            false => self.changed.join(", "),
        }
    }
}

impl StartedWith {
    fn of(config: &Config) -> Self {
        Self {
            workers: config.workers,
            admin_address: config.admin.as_ref().map(|admin| admin.address.clone()),
            access_log: config.access_log.clone(),
            cache_dir: config.cache_dir.clone(),
            state_dir: config.state_dir.clone(),
        }
    }

    fn differing(&self, config: &Config) -> impl Iterator<Item = &'static str> {
        let now = Self::of(config);
        let keys = [
            ("workers", self.workers != now.workers),
            ("admin.address", self.admin_address != now.admin_address),
            ("access_log", self.access_log != now.access_log),
            ("cache_dir", self.cache_dir != now.cache_dir),
            ("state_dir", self.state_dir != now.state_dir),
        ];
        let differing = keys.into_iter().filter(|(_, differs)| *differs);
        differing.map(|(key, _)| key)
    }
}

/// How each filter's version came to serve, as `/filters` names it, and which have a
/// canary beside it.
fn serving_as(snapshot: &Snapshot) -> Vec<(Name, &'static str)> {
    let serving = snapshot.filters.iter().map(|filter| {
        let standing = snapshot.standing(filter.name());
        let is = standing.map_or("file", |standing| standing.reason.name());
        (filter.name().clone(), is)
    });
    let canaries = snapshot.canaries.iter();
    let canaries = canaries.map(|canary| (canary.name().clone(), "canary"));
    serving.chain(canaries).collect()
}

/// When the certificates, authorities and revocation lists of listeners and clusters
/// expire, by these and by file: the first of each.
fn expiries(snapshot: &Snapshot) -> Vec<Expiry> {
    let mut all: BTreeMap<_, u64> = BTreeMap::new();
    let mut add = |of: (&'static str, &Name), file: &Path, at: u64| {
        let of = (of.0, of.1.clone());
        let first = all.entry((of, file.to_owned())).or_insert(at);
        *first = at.min(*first);
    };
    for listener in &snapshot.config.listeners {
        let of = ("listener", &listener.name);
        let Some(tls) = &listener.tls else { continue };
        for one in &tls.certificates {
            add(of, &one.file, one.expires);
        }
        for one in tls.client.iter().flat_map(|client| &client.endings) {
            add(of, &one.file, one.at);
        }
    }
    for cluster in &snapshot.config.clusters {
        let of = ("cluster", &cluster.name);
        let Some(tls) = &cluster.tls else { continue };
        if let Some(one) = &tls.certificate {
            add(of, &one.file, one.expires);
        }
        if let Verify::Peer { roots, .. } = &tls.verify {
            roots
                .endings
                .iter()
                .for_each(|one| add(of, &one.file, one.at));
        }
    }
    let expiries = all.into_iter().map(|((of, file), at)| Expiry {
        of,
        file: file.to_string_lossy().into(),
        at,
    });
    expiries.collect()
}

/// What differs, in the words of the file: `filter router`, `cluster a (new)`,
/// and `settings` for the keys that are of no such kind.
fn changes(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let (old, new) = (&before.config, &after.config);
    let mut changed = differing("filter", &filters(before), &filters(after));
    changed.extend(differing(
        "listener",
        &named(&old.listeners, |l| &l.name),
        &named(&new.listeners, |l| &l.name),
    ));
    changed.extend(differing(
        "cluster",
        &named(&old.clusters, |c| &c.name),
        &named(&new.clusters, |c| &c.name),
    ));
    changed.extend(differing("secret", &secrets(before), &secrets(after)));
    if settings(old) != settings(new) {
        changed.push("settings".to_owned());
    }
    changed
}

/// By what serves and is tried of them, and by their entries in the file: a component may
/// be another under the same name, and the share of a canary is a part of no component.
fn filters(snapshot: &Snapshot) -> Vec<(String, String)> {
    let tell = |filter: &Arc<LoadedFilter>| {
        let name = filter.name();
        let canary = snapshot.canary(name).map(|canary| canary.identity());
        let shadow = snapshot.shadow(name);
        let shadow = shadow.map(|shadow| shadow.filter().identity());
        let mut entries = snapshot.config.filters.iter();
        let entry = entries.find(|entry| entry.name == *name);
        let content = format!("{:?}", (filter.identity(), canary, shadow, entry));
        (name.to_string(), content)
    };
    snapshot.filters.iter().map(tell).collect()
}

/// By where they come from: what they are is nothing to tell, nor to compare.
fn secrets(snapshot: &Snapshot) -> Vec<(String, String)> {
    let tell = |secret: &Arc<Secret>| (secret.name().to_string(), format!("{secret:p}"));
    snapshot.secrets.iter().map(tell).collect()
}

/// What is of no filter, listener, cluster or secret.
fn settings(config: &Config) -> impl PartialEq {
    (
        config.workers,
        config.admin.clone(),
        config.log.clone(),
        config.access_log.clone(),
        config.cache_dir.clone(),
        config.max_cache_bytes,
        config.state_dir.clone(),
        config.lame_duck,
        config.drain_timeout,
        config.max_generations,
        config.max_connections,
        config.overload.clone(),
    )
}

fn named<T: std::fmt::Debug>(all: &[T], name: fn(&T) -> &config::Name) -> Vec<(String, String)> {
    all.iter()
        .map(|one| (name(one).to_string(), format!("{one:?}")))
        .collect()
}

fn differing(kind: &str, before: &[(String, String)], after: &[(String, String)]) -> Vec<String> {
    let find = |all: &[(String, String)], name: &str| {
        all.iter()
            .find(|(known, _)| known == name)
            .map(|(_, content)| content.clone())
    };
    let mut changed = Vec::new();
    for (name, content) in after {
        match find(before, name) {
            None => changed.push(format!("{kind} {name} (new)")),
            Some(old) if old != *content => changed.push(format!("{kind} {name}")),
            Some(_) => {}
        }
    }
    for (name, _) in before {
        if find(after, name).is_none() {
            changed.push(format!("{kind} {name} (gone)"));
        }
    }
    changed
}

fn view(
    snapshot: &Arc<Snapshot>,
    told: &Arc<Told>,
    stats: &Arc<Stats>,
    readiness: Readiness,
) -> AdminView {
    // Whoever looks must not keep a generation alive.
    let (of_filters, of_clusters) = (Arc::downgrade(snapshot), Arc::downgrade(snapshot));
    let (of_canaries, of_endpoints) = (of_filters.clone(), of_filters.clone());
    let (told, told_of, counted) = (told.clone(), told.clone(), told.clone());
    let (stats, billed) = (stats.clone(), stats.clone());
    AdminView {
        before_metrics: Box::new(move || counted.count_generations(&stats)),
        readiness,
        access: access(&snapshot.config),
        config: masked(snapshot),
        filters: Box::new(move || {
            shown(&of_filters, |snapshot| {
                let tell = |loaded| filter(loaded, snapshot, &billed, &told_of.versions);
                snapshot.filters.iter().map(tell).collect()
            })
        }),
        canary: Box::new(move |filter| {
            let snapshot = of_canaries.upgrade()?;
            Some(snapshot.canary(filter)?.identity().to_owned())
        }),
        clusters: Box::new(move || {
            shown(&of_clusters, |snapshot| {
                snapshot.clusters.iter().map(endpoints::cluster).collect()
            })
        }),
        tell_endpoint: Box::new(move |cluster, address, told| {
            let snapshot = of_endpoints.upgrade();
            let cluster = snapshot.as_ref().and_then(|one| one.cluster(cluster));
            match cluster {
                Some(cluster) if health::tell(cluster, address, told) => Ok(()),
                Some(_) => Err(format!("the cluster has no endpoint `{address}`")),
                None => Err("there is no such cluster".to_owned()),
            }
        }),
        generations: Box::new(move || {
            let last = told
                .last
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            json!({ "live": told.generations.live(), "last_reload": last })
        }),
    }
}

fn shown(snapshot: &Weak<Snapshot>, tell: impl Fn(&Snapshot) -> Vec<Value>) -> Value {
    snapshot
        .upgrade()
        .map_or(Value::Null, |snapshot| Value::Array(tell(&snapshot)))
}

fn access(config: &Config) -> Access {
    match &config.admin {
        Some(admin) => Access::from(admin),
        // Without an admin address nobody is asked.
        None => Access::default(),
    }
}

/// The configuration as checked, with what filters call secret masked too.
fn masked(snapshot: &Snapshot) -> Value {
    let config = &snapshot.config;
    let mut shown = config.shown.clone();
    for filter in &config.filters {
        let Some(loaded) = snapshot.filter(&filter.name) else {
            continue;
        };
        let shadow = snapshot.shadow(&filter.name).map(|shadow| shadow.filter());
        // Without a configuration of their own they have that of the filter.
        let of_canary = filter
            .canary
            .as_ref()
            .and_then(|canary| canary.config.as_ref());
        let of_shadow = filter
            .shadow
            .as_ref()
            .and_then(|shadow| shadow.config.as_ref());
        let trials = [
            (of_canary, snapshot.canary(&filter.name)),
            (of_shadow, shadow),
        ];
        // Only the version in the file can tell what is secret in the file.
        let standing = snapshot.standing(&filter.name);
        let of_file = match standing.map(|standing| standing.reason) {
            None | Some(Reason::Aborted) => Some(loaded),
            Some(_) => None,
        };
        let configs = filter.configs().map(|own| (own, of_file));
        let trials = trials.into_iter();
        let trials = trials.filter_map(|(own, version)| Some((own?, version)));
        for (own, version) in configs.chain(trials) {
            let Some(place) = shown.pointer_mut(&own.pointer) else {
                continue;
            };
            *place = match version {
                Some(version) => {
                    let schema = version.module().manifest().config_schema.as_ref();
                    filter_config::mask(schema, own, &config.from_env)
                }
                None => Value::from("***"),
            };
        }
    }
    shown
}

fn filter(
    filter: &Arc<LoadedFilter>,
    snapshot: &Snapshot,
    stats: &Stats,
    versions: &Known,
) -> Value {
    let mut written = snapshot.config.filters.iter();
    let written = written.find(|written| written.name == *filter.name());
    let origin = snapshot.origins.get(filter.name());
    let module = filter.module();
    let manifest = module.manifest();
    json!({
        "name": &**filter.name(),
        "component": written.map(|written| written.component.to_string()),
        "pulled": origin.and_then(|origin| origin.pulled.as_ref()).map(Reference::to_string),
        "signed_by": origin.and_then(|origin| origin.signed_by.as_deref()),
        "digest": module.digest(),
        "version": versions.tell(filter, snapshot),
        "generations": generations(filter, snapshot),
        "size": module.size(),
        "manifest": { "name": manifest.name, "version": manifest.version },
        "world": module.kind().world(),
        "imports": module.imports(),
        "on_error": format!("{:?}", filter.on_error()).to_lowercase(),
        "configurations": filter.configs().iter().map(|configured| json!({
            "at": configured.pointer,
            "clusters": texts(&configured.interest.clusters),
            "routes": texts(&configured.interest.routes),
        })).collect::<Vec<_>>(),
        "jobs": filter.configs().iter().zip(filter.jobs()).map(|(configured, state)| {
            job(&configured.pointer, state)
        }).collect::<Vec<_>>(),
        // Also those that only exchanges of older generations have.
        "bills": stats.bills(filter.name()),
    })
}

/// What new exchanges take of it: the labels of the version that serves, of its canary
/// and of its shadow. A bill of another is one of older generations.
fn generations(filter: &LoadedFilter, snapshot: &Snapshot) -> Vec<String> {
    let canary = snapshot.canary(filter.name()).map(|canary| &**canary);
    let shadow = snapshot.shadow(filter.name());
    let shadow = shadow.map(|shadow| &**shadow.filter());
    let all = [Some(filter), canary, shadow].into_iter().flatten();
    all.map(|version| version.generation().into_owned())
        .collect()
}

fn job(at: &str, state: &JobState) -> Value {
    let told = state.told();
    json!({
        "at": at,
        "state": told.standing.name(),
        "runs": told.runs,
        "last_run": told.last_run.map(seconds),
        "last_success": told.last_success.map(seconds),
        "last_error": told.last_error,
        "next_run": told.next_run.map(seconds),
    })
}

/// Since 1970.
fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

fn texts(names: &BTreeSet<config::Name>) -> Vec<&str> {
    names.iter().map(|name| &**name).collect()
}
