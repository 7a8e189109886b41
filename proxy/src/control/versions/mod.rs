//! The versions of filters: which one is good, which one is on probation, and which
//! one failed and is not tried again.
//!
//! Takes what was published and how it fares. Gives what the next build has to know,
//! and word of a version that has to be replaced. Never touches a request, and
//! publishes nothing itself.

mod probation;
mod shown;
mod trial;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Name;
use crate::filter::LoadedFilter;
use crate::snapshot::{Past, Snapshot};
use crate::state::{Build, Decision, Failed, Folder, Good, Record, Records, Settled, Verdict};
use probation::{Finding, Probation};
use shown::Facts;
pub use shown::Known;
use trial::Trial;

/// How often versions on probation are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Failed versions of one filter that are remembered.
const MAX_FAILED: usize = 16;

/// What is known of every filter's versions.
pub struct Versions {
    folder: Option<Arc<Folder>>,
    filters: BTreeMap<Name, Version>,
    known: Known,
    /// How often records were given away to be written.
    written: u64,
}

#[derive(Default)]
struct Version {
    record: Record,
    /// The good version, where it was loaded in this process.
    good: Option<Arc<LoadedFilter>>,
    probation: Option<Probation>,
    /// The trusted key that signed the version in the file.
    signed_by: Option<Name>,
    /// The canary that is being tried.
    trial: Option<Trial>,
}

/// What is to be done about a filter.
#[derive(Debug)]
pub enum Event {
    /// Its version failed on its probation.
    Fallen { filter: Name, why: String },
    /// What becomes of its canary.
    Decided { filter: Name, decision: Decision },
}

/// Why nothing is decided about a canary.
#[derive(Debug, thiserror::Error)]
pub enum Undecided {
    #[error("filter `{filter}` has no canary that is being tried")]
    NoTrial { filter: String },
    #[error(
        "filter `{filter}` was loaded with another canary since that was asked for; \
         look at it, and ask again"
    )]
    Another { filter: String },
}

impl Versions {
    /// With what the last process knew. Blocking.
    pub fn new(folder: Option<Arc<Folder>>) -> Self {
        let records = folder.as_ref().map(|folder| folder.records());
        let filters = records.unwrap_or_default().filters.into_iter();
        let filters = filters.map(|(name, record)| {
            let version = Version {
                record,
                ..Version::default()
            };
            (name, version)
        });
        Self {
            folder,
            filters: filters.collect(),
            known: Known::default(),
            written: 0,
        }
    }

    /// For whoever tells of them.
    pub fn known(&self) -> Known {
        self.known.clone()
    }

    /// For what is built next.
    pub fn past(&self) -> Past {
        Past {
            records: self.records(),
            good: self
                .filters
                .values()
                .filter_map(|version| version.good.clone())
                .collect(),
        }
    }

    /// These versions serve from now on. New ones are on probation; what is known
    /// of filters that are gone is forgotten.
    pub fn published(&mut self, snapshot: &Snapshot, now: Instant) {
        self.filters
            .retain(|name, _| snapshot.filter(name).is_some());
        for filter in &snapshot.config.filters {
            let Some(loaded) = snapshot.filter(&filter.name) else {
                continue;
            };
            let version = self.filters.entry(filter.name.clone()).or_default();
            let origin = snapshot.origins.get(&filter.name);
            version.signed_by = origin.and_then(|origin| origin.signed_by.clone());
            version.serves(loaded, &filter.probation, now);
            version.tries(loaded, snapshot.canary(&filter.name), now);
            if filter.canary.is_none() {
                version.record.decision = None;
            }
        }
        self.keep(snapshot, Build::Over);
    }

    /// These versions go on: what was built to follow on them is not needed any more.
    pub fn refused(&mut self, snapshot: &Snapshot) {
        self.keep(snapshot, Build::Over);
    }

    /// Waits until something is to be done. Dropping the future loses nothing.
    pub async fn event(&mut self, snapshot: &Snapshot) -> Event {
        loop {
            let mut versions = self.filters.values();
            if !versions.any(|version| version.is_watched()) {
                return std::future::pending().await;
            }
            tokio::time::sleep(LOOK).await;
            if let Some(event) = self.look(snapshot, Instant::now()) {
                return event;
            }
        }
    }

    fn look(&mut self, snapshot: &Snapshot, now: Instant) -> Option<Event> {
        let (mut news, mut event) = (false, None);
        for (name, version) in &mut self.filters {
            let (is_news, found) = version.look(name, snapshot, now);
            news |= is_news;
            event = found;
            if event.is_some() {
                break;
            }
        }
        if news {
            self.keep(snapshot, Build::MayBeUnderWay);
        }
        event
    }

    /// Decides about a canary because somebody said so, who has seen the one of this
    /// identity.
    pub fn decide(
        &mut self,
        filter: &str,
        verdict: Verdict,
        seen: Option<&str>,
        snapshot: &Snapshot,
    ) -> Result<Event, Undecided> {
        let known = self.filters.get_key_value(filter);
        let trial = known.and_then(|(name, version)| Some((name.clone(), version.trial.as_ref()?)));
        let filter = filter.to_owned();
        let Some((name, trial)) = trial else {
            return Err(Undecided::NoTrial { filter });
        };
        let decision = trial.decide(verdict, "asked for".to_owned());
        if seen != Some(&decision.canary) {
            return Err(Undecided::Another { filter });
        }
        if let Some(version) = self.filters.get_mut(&name) {
            version.decided(decision.clone(), &name, snapshot);
        }
        self.keep(snapshot, Build::MayBeUnderWay);
        let filter = name;
        Ok(Event::Decided { filter, decision })
    }

    fn records(&self) -> Records {
        let known = self.filters.iter();
        let known = known.filter(|(_, version)| version.record != Record::default());
        let records = known.map(|(name, version)| (name.clone(), version.record.clone()));
        Records {
            filters: records.collect(),
        }
    }

    /// Tells and writes what is known, the latter away from this thread.
    fn keep(&mut self, snapshot: &Snapshot, build: Build) {
        let watched = self.filters.iter();
        let watched = watched.filter(|(_, version)| version.probation.is_some());
        let good = self
            .filters
            .values()
            .filter_map(|version| version.good.as_ref());
        let good = good.map(|good| (good.name().clone(), good.generation().into_owned()));
        self.known.are(Facts {
            on_probation: watched.map(|(name, _)| name.clone()).collect(),
            good: good.collect(),
        });
        let Some(folder) = self.folder.clone() else {
            return;
        };
        let records = self.records();
        let in_use = snapshot.filters.iter().chain(&snapshot.canaries);
        let in_use = in_use.map(|filter| filter.module().digest_hex());
        let good = records.filters.values();
        let good = good.filter_map(|record| Some(record.good.as_ref()?.digest.clone()));
        folder.need(in_use.chain(good).collect(), build);
        self.written += 1;
        let number = self.written;
        tokio::task::spawn_blocking(move || folder.keep(number, &records));
    }
}

impl Version {
    fn is_watched(&self) -> bool {
        self.probation.is_some() || self.trial.is_some()
    }

    /// Whether something has to be kept, and what has to be done.
    fn look(&mut self, name: &Name, snapshot: &Snapshot, now: Instant) -> (bool, Option<Event>) {
        let rules = snapshot.config.canary(name);
        let decision = self.trial.as_ref().zip(rules);
        if let Some(decision) = decision.and_then(|(trial, rules)| trial.look(rules, now)) {
            self.decided(decision.clone(), name, snapshot);
            let filter = name.clone();
            return (true, Some(Event::Decided { filter, decision }));
        }
        let Some(probation) = &self.probation else {
            return (false, None);
        };
        match probation.look(now) {
            Finding::Open => (false, None),
            Finding::Passed => {
                self.pass();
                (true, None)
            }
            Finding::Failed(why) => {
                // What had nothing to go back to was told, and nothing can be done.
                let is_news = !probation.has_failed();
                self.fail(why.clone(), now);
                let filter = name.clone();
                (is_news, is_news.then_some(Event::Fallen { filter, why }))
            }
        }
    }

    /// Which canary is tried beside the version that serves.
    fn tries(
        &mut self,
        stable: &Arc<LoadedFilter>,
        canary: Option<&Arc<LoadedFilter>>,
        now: Instant,
    ) {
        let is_known = |canary| {
            self.trial
                .as_ref()
                .is_some_and(|known| known.is_of(stable, canary))
        };
        match canary {
            Some(canary) if is_known(canary) => {}
            Some(canary) => {
                self.trial = Some(Trial::new(stable, canary, now));
                // What was decided was about other versions.
                self.record.decision = None;
            }
            None => self.trial = None,
        }
    }

    fn decided(&mut self, decision: Decision, name: &Name, snapshot: &Snapshot) {
        if decision.verdict == Verdict::Promoted {
            let is_other = |failed: &Failed| failed.identity != decision.canary;
            self.record.failed.retain(is_other);
        }
        let config = &snapshot.config;
        let block = config.filters.iter().find(|filter| filter.name == *name);
        let block = block.map(|filter| filter.written(config.folder()));
        self.record.decision = block.map(|block| Settled { decision, block });
        self.trial = None;
    }

    fn serves(
        &mut self,
        loaded: &Arc<LoadedFilter>,
        rules: &crate::config::Probation,
        now: Instant,
    ) {
        let is_good = |good: &Good| good.identity == loaded.identity();
        if self.record.good.as_ref().is_some_and(is_good) {
            self.good = Some(loaded.clone());
            self.probation = None;
            return;
        }
        if rules.time.is_zero() {
            self.probation = Some(Probation::new(loaded.clone(), rules.clone(), now));
            self.pass();
            return;
        }
        let is_watched = |known: &Probation| known.is_of(loaded, rules);
        if !self.probation.as_ref().is_some_and(is_watched) {
            self.probation = Some(Probation::new(loaded.clone(), rules.clone(), now));
        }
    }

    fn pass(&mut self) {
        let Some(probation) = self.probation.take() else {
            return;
        };
        let loaded = probation.filter();
        self.record.good = Some(Good {
            digest: loaded.module().digest_hex(),
            identity: loaded.identity().to_owned(),
            block: loaded.block().clone(),
            signed_by: self.signed_by.clone(),
        });
        self.record
            .failed
            .retain(|failed| failed.identity != loaded.identity());
        self.good = Some(loaded.clone());
    }

    /// Until a good version takes its place, and where none can, the version goes on
    /// and is watched anew.
    fn fail(&mut self, why: String, now: Instant) {
        let Some(probation) = self.probation.take() else {
            return;
        };
        let identity = probation.filter().identity().to_owned();
        let is_known = probation.has_failed() || self.record.good.is_none();
        self.probation = Some(probation.again(now));
        if is_known {
            return;
        }
        self.record
            .failed
            .retain(|failed| failed.identity != identity);
        self.record.failed.push(Failed { identity, why });
        let excess = self.record.failed.len().saturating_sub(MAX_FAILED);
        self.record.failed.drain(..excess);
    }
}
