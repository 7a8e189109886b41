//! The filters of a configuration: built, or everything that is wrong with them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use super::{Builder, Snapshot};
use crate::config::{self, ComponentSource, Config, Doubts, Mistake, Name, filter_config};
use crate::filter::{
    BuildError, Configured, Digest, Granted, GrantedSecrets, LoadedFilter, Module, Pace,
};
use crate::secrets::Secret;
use crate::shared::{self, Store};

/// The bytes of a component, and what they are known by.
type Component = (Digest, Cow<'static, [u8]>);

/// A filter, and how much is known of what it wants.
pub enum Known {
    Good(Arc<LoadedFilter>),
    /// Its schema found mistakes, and it is good with something else in their place.
    Mended(Arc<LoadedFilter>),
    /// Good in these configurations only.
    Refused(Name, Vec<Configured>),
    /// It has no component that could be asked.
    Mute(Name),
}

impl Known {
    pub fn name(&self) -> &Name {
        match self {
            Known::Good(loaded) | Known::Mended(loaded) => loaded.name(),
            Known::Refused(name, _) | Known::Mute(name) => name,
        }
    }

    pub fn good(&self) -> Option<&Arc<LoadedFilter>> {
        match self {
            Known::Good(loaded) => Some(loaded),
            Known::Mended(_) | Known::Refused(..) | Known::Mute(_) => None,
        }
    }

    /// The configurations that it took.
    pub fn configs(&self) -> &[Configured] {
        match self {
            Known::Good(loaded) | Known::Mended(loaded) => loaded.configs(),
            Known::Refused(_, configs) => configs,
            Known::Mute(_) => &[],
        }
    }
}

impl Builder<'_> {
    /// Every filter, however good, and every mistake.
    pub(super) fn filters(
        &self,
        config: &Config,
        doubts: &Doubts,
        before: Option<&Snapshot>,
        secrets: &[Arc<Secret>],
    ) -> (Vec<Known>, Vec<Mistake>) {
        let mut mistakes = Vec::new();
        let filters = config.filters.iter();
        let known = filters.map(|filter| match self.module(config, filter, before) {
            Ok(module) => {
                let secrets = GrantedSecrets::of(&filter.grants, secrets);
                match carried_over(before, filter, &module, &secrets) {
                    Some(loaded) => Known::Good(loaded),
                    None => self.load(config, doubts, filter, module, secrets, &mut mistakes),
                }
            }
            Err(mistake) => {
                mistakes.push(mistake);
                Known::Mute(filter.name.clone())
            }
        });
        let known = known.collect();
        (known, mistakes)
    }

    fn module(
        &self,
        config: &Config,
        filter: &config::Filter,
        before: Option<&Snapshot>,
    ) -> Result<Arc<Module>, Mistake> {
        let refuse = |found: String, wanted: &str| {
            let pointer = config::below(&filter.pointer, "component");
            Mistake::at(&config.places, &pointer, found, wanted)
        };
        let (digest, bytes) = self
            .component(filter)
            .map_err(|(found, wanted)| refuse(found, &wanted))?;
        let pace = match before {
            Some(_) => Pace::GiveWay,
            None => Pace::Full,
        };
        self.engine.load(digest, &bytes, pace).map_err(|error| {
            let found = format!("`{}`, which {error}", shown(&filter.component));
            refuse(found, "a component of the world `lockgate:filter/filter`")
        })
    }

    fn component(&self, filter: &config::Filter) -> Result<Component, (String, String)> {
        let found = shown(&filter.component);
        match &filter.component {
            ComponentSource::Shipped(_) => self
                .shipped
                .iter()
                .find(|shipped| shipped.name == found)
                .map(|shipped| (Digest::from(shipped.digest), Cow::Borrowed(shipped.bytes)))
                .ok_or_else(|| {
                    let names: Vec<_> = self.shipped.iter().map(|shipped| shipped.name).collect();
                    (format!("`{found}`"), format!("one of {}", names.join(", ")))
                }),
            ComponentSource::File(path) => match std::fs::read(path) {
                Ok(bytes) => Ok((Digest::of(&bytes), Cow::Owned(bytes))),
                Err(error) => {
                    let wanted = "a readable component file".to_owned();
                    Err((format!("`{found}`: {error}"), wanted))
                }
            },
        }
    }

    /// Gives a filter its configurations. Where its schema finds mistakes, the
    /// filter is asked all the same, for what is wrong with the rest.
    fn load(
        &self,
        config: &Config,
        doubts: &Doubts,
        filter: &config::Filter,
        module: Arc<Module>,
        secrets: GrantedSecrets,
        mistakes: &mut Vec<Mistake>,
    ) -> Known {
        let (given, mut found) = by_schema(config, filter, &module);
        found.retain(|mistake| !doubts.concern(&mistake.pointer));
        let is_good = found.is_empty();
        let schema_found: Vec<_> = found.iter().map(|found| found.pointer.clone()).collect();
        mistakes.append(&mut found);
        let stats = self.stats.filter(&filter.name, module.generation());
        let metrics = self.stats.guest(&filter.name, filter.limits.max_series);
        let granted = Granted {
            shared: filter.grants.shared.then(|| self.store(filter)),
            secrets,
        };
        let workers = if is_good { self.workers } else { 1 };
        match LoadedFilter::build(module, &given, stats, metrics, granted, workers) {
            Ok(loaded) if is_good => Known::Good(loaded),
            Ok(loaded) => Known::Mended(loaded),
            Err(refused) => {
                let told = refused.errors.iter();
                let told = told.map(|error| place(error, filter, config));
                let is_new = |told: &Mistake| {
                    let known = |pointer: &String| config::related(pointer, &told.pointer);
                    !schema_found.iter().any(known) && !doubts.concern(&told.pointer)
                };
                mistakes.extend(told.filter(is_new));
                Known::Refused(filter.name.clone(), refused.accepted)
            }
        }
    }

    /// What the filter shared so far, under the limits that it has until this
    /// configuration is published.
    fn store(&self, filter: &config::Filter) -> Arc<Store> {
        let spaces = &self.stats.shared;
        let known = spaces.find(&filter.name);
        known.unwrap_or_else(|| spaces.open(&filter.name, shared_limits(filter), Instant::now()))
    }
}

/// What the instances of a filter may share.
pub fn shared_limits(filter: &config::Filter) -> shared::Limits {
    shared::Limits {
        max_bytes: filter.limits.max_shared_bytes,
        max_entry_bytes: filter.limits.max_shared_entry_bytes,
    }
}

/// The component as messages name it.
fn shown(component: &ComponentSource) -> String {
    match component {
        ComponentSource::Shipped(name) => format!("lockgate:{name}"),
        ComponentSource::File(path) => path.display().to_string(),
    }
}

/// The filter with what it is to be given, and what its schema finds wrong.
fn by_schema(
    config: &Config,
    filter: &config::Filter,
    module: &Module,
) -> (config::Filter, Vec<Mistake>) {
    let (mut given, mut mistakes) = (filter.clone(), Vec::new());
    if let Some(schema) = &module.manifest().config_schema {
        for own in given.configs_mut() {
            let checked = filter_config::check(schema, own, &config.places);
            mistakes.extend(checked.mistakes);
            *own = checked.config;
        }
    }
    (given, mistakes)
}

/// A mistake where it stands in the file.
fn place(error: &BuildError, filter: &config::Filter, config: &Config) -> Mistake {
    let told = filter_config::Told {
        filter: &filter.name,
        tone: error.tone,
        at: &error.at,
        text: &error.message,
    };
    let own = filter.configs().find(|own| own.pointer == error.pointer);
    match own {
        Some(own) => told.about(own, &config.places),
        None => told.about_all(&error.pointer, &config.places),
    }
}

/// The same component with the same configuration keeps its instances.
fn carried_over(
    before: Option<&Snapshot>,
    filter: &config::Filter,
    module: &Arc<Module>,
    secrets: &GrantedSecrets,
) -> Option<Arc<LoadedFilter>> {
    let before = before?;
    let known = before
        .config
        .filters
        .iter()
        .find(|known| known.name == filter.name)?;
    // In full, so that no field is forgotten. The digest stands for the component.
    let config::Filter {
        name: _,
        component: _,
        on_error,
        isolation,
        limits,
        grants,
        config,
        routes,
        pointer: _,
    } = known;
    let same = *on_error == filter.on_error
        && *isolation == filter.isolation
        && *limits == filter.limits
        && *grants == filter.grants
        && *config == filter.config
        && *routes == filter.routes;
    let loaded = before.filter(&filter.name)?;
    let same = same && loaded.secrets() == secrets;
    (same && loaded.module().digest() == module.digest()).then(|| loaded.clone())
}
