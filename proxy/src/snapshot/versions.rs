//! The versions that there are of each filter: the one in the file, its canary, and
//! others that stand in for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::filters::Origin;
use super::version::{Known, Ready, Version};
use super::{Builder, Past, Reason, Snapshot, Standing};
use crate::components::Pulls;
use crate::config::{self, Config, Doubts, Mistake, Name, OnBad};
use crate::digest::Digest;
use crate::filter::{GrantedSecrets, LoadedFilter, Pace, Shadow};
use crate::secrets::Secret;
use crate::state::{Good, Verdict};

/// A version in the place of another.
pub struct Instead {
    pub version: Arc<LoadedFilter>,
    pub origin: Origin,
    pub canary: Option<(Arc<LoadedFilter>, Origin)>,
    pub reason: Reason,
}

/// The canary that goes on with a filter, if the file still has one.
fn canary_of(before: &Snapshot, filter: &config::Filter) -> Option<(Arc<LoadedFilter>, Origin)> {
    filter.canary.as_ref()?;
    let canary = before.canary(&filter.name)?.clone();
    // It may be newer than the version that it is beside, and granted more.
    if !canary.block().grants.are_within(&filter.grants) {
        return None;
    }
    let origin = before.canary_origins.get(&filter.name);
    Some((canary, origin.cloned().unwrap_or_default()))
}

/// Whether every cluster that a version may name is configured.
fn names_what_is_there(version: &LoadedFilter, config: &Config) -> bool {
    let is_there = |name: &Name| config.clusters.iter().any(|known| known.name == *name);
    let mut named = version
        .configs()
        .iter()
        .flat_map(|own| &own.interest.clusters);
    named.all(is_there)
}

/// What filters are built from.
#[derive(Clone, Copy)]
pub(super) struct Build<'a> {
    pub(super) config: &'a Config,
    pub(super) doubts: &'a Doubts,
    pub(super) before: Option<&'a Snapshot>,
    pub(super) secrets: &'a [Arc<Secret>],
}

/// What the filters of a configuration came to.
pub(super) struct Filters<'a> {
    pub(super) from: Build<'a>,
    pub(super) pulls: Pulls,
    /// Every filter, however good, and every canary.
    pub(super) known: Vec<Known>,
    /// Those that serve.
    pub(super) loaded: Vec<Arc<LoadedFilter>>,
    pub(super) canaries: Vec<Arc<LoadedFilter>>,
    pub(super) shadows: Vec<Arc<Shadow>>,
    /// Of the versions that serve, of the canaries, and of the shadows.
    pub(super) origins: BTreeMap<Name, Origin>,
    pub(super) canary_origins: BTreeMap<Name, Origin>,
    pub(super) shadow_origins: BTreeMap<Name, Origin>,
    pub(super) mistakes: Vec<Mistake>,
    /// Those included that another version of the filter stands in for.
    pub(super) warnings: Vec<Mistake>,
    pub(super) standings: Vec<Standing>,
}

impl<'a> Filters<'a> {
    fn new(from: Build<'a>) -> Self {
        Self {
            from,
            pulls: Pulls::default(),
            known: Vec::new(),
            loaded: Vec::new(),
            canaries: Vec::new(),
            shadows: Vec::new(),
            origins: BTreeMap::new(),
            canary_origins: BTreeMap::new(),
            shadow_origins: BTreeMap::new(),
            mistakes: Vec::new(),
            warnings: Vec::new(),
            standings: Vec::new(),
        }
    }

    /// It comes before other versions of its filter, because what others may refer to
    /// is what serves.
    fn serve(&mut self, version: Arc<LoadedFilter>) {
        let mut known = self.known.iter();
        let others = known.position(|known| known.name() == version.name());
        let at = others.unwrap_or(self.known.len());
        self.known.insert(at, Known::Good(version.clone()));
        self.loaded.push(version);
    }

    /// These versions of the file take their places.
    fn take(&mut self, cast: Cast) -> Arc<LoadedFilter> {
        let Cast {
            serving,
            tried,
            standing,
        } = cast;
        if let Some(canary) = tried {
            self.tries(canary.filter, canary.origin);
        }
        self.standings.extend(standing);
        let name = serving.filter.name().clone();
        self.origins.insert(name, serving.origin);
        self.serve(serving.filter.clone());
        serving.filter
    }

    fn tries(&mut self, canary: Arc<LoadedFilter>, origin: Origin) {
        self.known.push(Known::Good(canary.clone()));
        self.canary_origins.insert(canary.name().clone(), origin);
        self.canaries.push(canary);
    }

    /// Another version in the place of one with these mistakes.
    fn stand_in(&mut self, instead: Instead, mistakes: Vec<Mistake>) -> Arc<LoadedFilter> {
        let Instead {
            version,
            origin,
            canary,
            reason,
        } = instead;
        if let Some((canary, origin)) = canary {
            self.tries(canary, origin);
        }
        self.origins.insert(version.name().clone(), origin);
        self.standings.push(Standing {
            filter: version.name().clone(),
            reason,
            why: mistakes.iter().map(Mistake::to_string).collect(),
        });
        self.warnings.extend(mistakes);
        self.serve(version.clone());
        version
    }
}

/// Which of a filter's versions in the file serve.
struct Cast {
    serving: Ready,
    /// The canary, while nothing is decided about it.
    tried: Option<Ready>,
    standing: Option<Standing>,
}

impl Cast {
    fn of(stable: Ready, canary: Option<Ready>, past: &Past, block: &str) -> Self {
        let decided = canary
            .as_ref()
            .and_then(|canary| past.decided(&stable.filter, &canary.filter, block));
        let (serving, reason, why) = match (canary, decided) {
            (Some(canary), Some(decision)) => match decision.verdict {
                Verdict::Promoted => (canary, Reason::Promoted, &decision.why),
                Verdict::Aborted => (stable, Reason::Aborted, &decision.why),
            },
            (tried, _) => {
                return Self {
                    serving: stable,
                    tried,
                    standing: None,
                };
            }
        };
        let standing = Standing {
            filter: serving.filter.name().clone(),
            reason,
            why: vec![why.clone()],
        };
        Self {
            serving,
            tried: None,
            standing: Some(standing),
        }
    }

    /// Everything that keeps them from going on with what is shared. It is done for
    /// those that serve alone: a version that waits for its time has no say in it.
    fn take_over(&self, config: &Config) -> Vec<Mistake> {
        let serving = std::iter::once(&self.serving).chain(&self.tried);
        let taken = serving.map(|version| version.take_over(config));
        taken.filter_map(Result::err).collect()
    }
}

impl Builder<'_> {
    /// Every filter, and every mistake.
    pub(super) fn filters<'a>(&self, from: Build<'a>) -> Filters<'a> {
        let mut built = Filters::new(from);
        for filter in &from.config.filters {
            self.versions(&mut built, filter);
        }
        built
    }

    /// One filter in the versions that there are of it, or another in its place.
    fn versions(&self, built: &mut Filters<'_>, filter: &config::Filter) {
        let mut mistakes = Vec::new();
        let stable = self.filter(built, filter, None, &mut mistakes);
        let canary = filter.canary_entry();
        let canary = canary.map(|entry| self.filter(built, &entry, Some(&stable), &mut mistakes));
        let mut of_shadow = Vec::new();
        let shadow = filter.shadow_entry();
        let shadow = shadow.map(|entry| self.filter(built, &entry, Some(&stable), &mut of_shadow));
        let serving = self.serving(built, filter, stable, canary, mistakes);
        if let Some((serving, shadow)) = serving.zip(shadow) {
            let watched = self.watch(built, filter, &shadow, &serving);
            of_shadow.extend(watched.err());
        }
        // What has no effect is no reason for another version to serve.
        match (built.from.before, filter.on_bad) {
            (Some(_), OnBad::Refuse) => built.mistakes.extend(of_shadow),
            (None, _) if self.strict => built.mistakes.extend(of_shadow),
            (Some(_), OnBad::Keep) | (None, _) => built.warnings.extend(of_shadow),
        }
    }

    /// Gives the version that serves, if one may, and notes the others.
    fn serving(
        &self,
        built: &mut Filters<'_>,
        filter: &config::Filter,
        stable: Version,
        canary: Option<Version>,
        mut mistakes: Vec<Mistake>,
    ) -> Option<Arc<LoadedFilter>> {
        let ready = stable.ready().filter(|_| mistakes.is_empty());
        if let Some(ready) = ready {
            let canary = canary.as_ref().and_then(Version::ready);
            let block = filter.written(built.from.config.folder());
            let cast = Cast::of(ready, canary, self.past, &block);
            let fallen_back = self.fallen_back(built.from, filter, &cast);
            mistakes = match fallen_back {
                Some((_, mistake)) if self.strict && built.from.before.is_none() => vec![mistake],
                Some((instead, mistake)) => return Some(built.stand_in(instead, vec![mistake])),
                None => cast.take_over(built.from.config),
            };
            if mistakes.is_empty() {
                return Some(built.take(cast));
            }
        }
        // Whoever is only asked for mistakes may have none, and serves no one.
        if mistakes.is_empty() {
            built.known.push(stable.known);
            return None;
        }
        match self.other(built.from, filter) {
            Some(instead) => Some(built.stand_in(instead, mistakes)),
            None => {
                built.mistakes.extend(mistakes);
                built.known.push(stable.known);
                built.known.extend(canary.map(|canary| canary.known));
                None
            }
        }
    }

    /// The last good version, where the one that would serve failed before.
    fn fallen_back(
        &self,
        from: Build<'_>,
        filter: &config::Filter,
        cast: &Cast,
    ) -> Option<(Instead, Mistake)> {
        let why = self.past.failed(&cast.serving.filter)?;
        let (version, origin) = self.good(from, filter)?;
        let instead = Instead {
            version,
            origin,
            // It is compared with the version in the file, which does not serve.
            canary: None,
            reason: Reason::FellBack,
        };
        Some((instead, failed_before(from.config, filter, why)))
    }

    /// Compares a shadow with the version that serves.
    fn watch(
        &self,
        built: &mut Filters<'_>,
        filter: &config::Filter,
        shadow: &Version,
        serving: &Arc<LoadedFilter>,
    ) -> Result<(), Mistake> {
        let Some((shadow, rules)) = shadow.ready().zip(filter.shadow.as_deref()) else {
            return Ok(());
        };
        shadow.take_over(built.from.config)?;
        let Ready {
            filter: shadow,
            origin,
            ..
        } = shadow;
        let stats = self.stats.shadow(&filter.name, &shadow.generation());
        let watching = Shadow::new(shadow.clone(), serving.clone(), rules.clone(), stats);
        built.shadow_origins.insert(filter.name.clone(), origin);
        built.known.push(Known::Good(shadow));
        built.shadows.push(watching);
        Ok(())
    }

    /// Another version of a filter that cannot be built: in a reload the one that
    /// runs, if the file says so, and at a start the last good one.
    fn other(&self, from: Build<'_>, filter: &config::Filter) -> Option<Instead> {
        match from.before {
            Some(before) if filter.on_bad == OnBad::Keep => {
                let origin = before.origins.get(&filter.name);
                let version = before.filter(&filter.name)?.clone();
                let is_granted = version.block().grants.are_within(&filter.grants);
                is_granted.then(|| Instead {
                    version,
                    origin: origin.cloned().unwrap_or_default(),
                    canary: canary_of(before, filter),
                    reason: Reason::Kept,
                })
            }
            None if !self.strict => {
                let (version, origin) = self.good(from, filter)?;
                Some(Instead {
                    version,
                    origin,
                    canary: None,
                    reason: Reason::LastGood,
                })
            }
            Some(_) | None => None,
        }
    }

    /// The version that stands in for one that was built and may not serve.
    pub fn instead(
        &self,
        filter: &str,
        candidate: &Snapshot,
        before: Option<&Snapshot>,
    ) -> Option<Instead> {
        let config = &candidate.config;
        let mut filters = config.filters.iter();
        let filter = filters.find(|known| &*known.name == filter)?;
        let from = Build {
            config,
            doubts: &Doubts::none(),
            before,
            secrets: &candidate.secrets,
        };
        let instead = self.other(from, filter)?;
        names_what_is_there(&instead.version, config).then_some(instead)
    }

    /// The last good version of a filter, if what it needs is still there and still
    /// granted, and it may still be trusted.
    pub(super) fn good(
        &self,
        from: Build<'_>,
        filter: &config::Filter,
    ) -> Option<(Arc<LoadedFilter>, Origin)> {
        let recorded = self.past.recorded(&filter.name);
        let trusted = from.config.trusted_for(filter);
        let is_trusted = match recorded.and_then(|good| good.signed_by.as_ref()) {
            Some(key) => trusted.iter().any(|known| known.name == *key),
            None => recorded.is_some_and(|good| good.block.component.is_shipped()),
        };
        if !trusted.is_empty() && !is_trusted {
            return None;
        }
        let recorded = recorded?;
        // Who takes a grant back means it, whatever is wrong with the rest of the file.
        if !recorded.block.grants.are_within(&filter.grants) {
            return None;
        }
        // A secret that is gone must not be stood in for by anything.
        let has_secret = |name: &Name| from.secrets.iter().any(|known| known.name() == name);
        if !recorded.block.grants.secrets.keys().all(has_secret) {
            return None;
        }
        let secrets = GrantedSecrets::of(&recorded.block.grants, from.secrets);
        let loaded = self.past.loaded(&filter.name);
        let good = match loaded.filter(|loaded| *loaded.secrets() == secrets) {
            Some(loaded) => loaded.clone(),
            None => self.build_good(from, recorded)?,
        };
        let origin = Origin {
            pulled: None,
            signed_by: recorded.signed_by.clone(),
        };
        names_what_is_there(&good, from.config).then_some((good, origin))
    }

    fn build_good(&self, from: Build<'_>, good: &Good) -> Option<Arc<LoadedFilter>> {
        let bytes = self.state?.component(&good.digest)?;
        let digest = Digest::of(&bytes);
        let module = self.engine.load(digest, &bytes, Pace::Full).ok()?;
        let secrets = GrantedSecrets::of(&good.block.grants, from.secrets);
        let doubts = &Doubts::none();
        let from = Build { doubts, ..from };
        let mistakes = &mut Vec::new();
        let (known, owed) = self.load(from, &good.block, module, secrets, None, mistakes);
        let version = known.good()?.clone();
        if let Some(owed) = owed {
            owed.take_over(&version).ok()?;
        }
        Some(version)
    }

    /// The same for a filter of a snapshot that serves.
    pub fn good_for(
        &self,
        filter: &str,
        snapshot: &Snapshot,
    ) -> Option<(Arc<LoadedFilter>, Origin)> {
        let mut filters = snapshot.config.filters.iter();
        let filter = filters.find(|known| &*known.name == filter)?;
        let from = Build {
            config: &snapshot.config,
            doubts: &Doubts::none(),
            before: Some(snapshot),
            secrets: &snapshot.secrets,
        };
        self.good(from, filter)
    }
}

fn failed_before(config: &Config, filter: &config::Filter, why: &str) -> Mistake {
    let found = format!("a version that failed on its probation: {why}");
    let wanted = "another component or another configuration";
    Mistake::at(&config.places, &filter.pointer, found, wanted)
}
