//! The filters of a configuration: built, or everything that is wrong with them.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use super::space::{Owed, shared_limits};
use super::version::{Known, Version};
use super::versions::{Build, Filters};
use super::{Builder, Snapshot};
use crate::components::{self, PullError, Pulls, Untrusted};
use crate::config::{self, ComponentSource, Config, Mistake, Name, Reference, filter_config};
use crate::digest::Digest;
use crate::filter::{
    BuildError, Granted, GrantedSecrets, LoadError, LoadedFilter, Module, Opened, Pace, Shared,
    generation,
};
use crate::shared::Overlay;

/// The bytes of a component, and what they are known by.
struct Component {
    digest: Digest,
    bytes: Cow<'static, [u8]>,
    origin: Origin,
    /// Why it may not be what its reference stands for now.
    outdated: Option<PullError>,
}

/// What is known of where a component came from, beside what is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// What its reference stands for.
    pub pulled: Option<Reference>,
    /// The trusted key that signed it.
    pub signed_by: Option<Name>,
}

impl Component {
    fn of(bytes: Vec<u8>) -> Self {
        Self {
            digest: Digest::of(&bytes),
            bytes: Cow::Owned(bytes),
            origin: Origin::default(),
            outdated: None,
        }
    }

    /// That the registry could not be asked, where it should have been.
    fn is_outdated(&self, config: &Config, filter: &config::Filter) -> Option<Mistake> {
        let (reason, pulled) = self.outdated.as_ref().zip(self.origin.pulled.as_ref())?;
        let found = format!("`{}`, {reason}", filter.component);
        let wanted = format!("a registry that answers; meanwhile it is `{pulled}`");
        Some(about_component(config, filter, found, wanted))
    }
}

impl Builder<'_> {
    /// One filter as the file says. `beside` is another version of it, with which it
    /// shares.
    pub(super) fn filter(
        &self,
        built: &mut Filters,
        filter: &config::Filter,
        beside: Option<&Version>,
        mistakes: &mut Vec<Mistake>,
    ) -> Version {
        let Build {
            config,
            before,
            secrets,
            ..
        } = built.from;
        let found = self.component(config, filter, &mut built.pulls);
        let mut origin = Origin::default();
        let opened = found.and_then(|component| {
            built.warnings.extend(component.is_outdated(config, filter));
            origin = component.origin.clone();
            let compiled = self.engine.kept(&component.digest);
            built.pulls.kept.extend(compiled);
            if let Some(state) = self.state {
                state.keep_component(&component.digest.hex(), &component.bytes);
            }
            self.open(config, filter, &component, before)
        });
        // Nothing of a component runs that wants more than it may, and no other version
        // stands in for it.
        let imports = opened.as_ref().map_or(&[][..], Opened::imports);
        let lock = self.lock.filter(|_| opened.is_ok());
        if let Some(refused) = lock.and_then(|lock| lock.refuses(config, filter, imports)) {
            built.mistakes.push(refused);
            return Version {
                known: Known::Mute(filter.name.clone()),
                origin,
                owed: None,
            };
        }
        let module = opened.and_then(|opened| {
            let module = opened.describe();
            module.map_err(|error| not_a_filter(config, filter, &error))
        });
        let (known, owed) = match module {
            Ok(module) => {
                let secrets = GrantedSecrets::of(&filter.grants, secrets);
                match carried_over(before, filter, &module, &secrets) {
                    Some(loaded) => (Known::Good(loaded), None),
                    None => self.load(built.from, filter, module, secrets, beside, mistakes),
                }
            }
            Err(mistake) => {
                mistakes.push(mistake);
                (Known::Mute(filter.name.clone()), None)
            }
        };
        Version {
            known,
            origin,
            owed,
        }
    }

    fn open(
        &self,
        config: &Config,
        filter: &config::Filter,
        component: &Component,
        before: Option<&Snapshot>,
    ) -> Result<Opened<'_>, Mistake> {
        let pace = match before {
            Some(_) => Pace::GiveWay,
            None => Pace::Full,
        };
        let opened = self.engine.open(component.digest, &component.bytes, pace);
        opened.map_err(|error| not_a_filter(config, filter, &error))
    }

    fn component(
        &self,
        config: &Config,
        filter: &config::Filter,
        pulls: &mut Pulls,
    ) -> Result<Component, Mistake> {
        let source = &filter.component;
        let max_bytes = filter.limits.max_component_bytes;
        match source {
            ComponentSource::Shipped(_) => self.shipped(source).ok_or_else(|| {
                let names: Vec<_> = self.shipped.iter().map(|shipped| shipped.name).collect();
                let wanted = format!("one of {}", names.join(", "));
                about_component(config, filter, format!("`{source}`"), wanted)
            }),
            ComponentSource::File(path) => {
                let bytes = components::read_file(path, max_bytes).map_err(|error| {
                    let found = format!("`{source}`: {error}");
                    about_component(config, filter, found, "a readable component file")
                })?;
                let trust = config.trusted_for(filter);
                let signed_by = match trust.as_slice() {
                    [] => None,
                    keys => {
                        let signer = components::check_file(path, &bytes, keys);
                        Some(signer.map_err(|error| {
                            let found = format!("`{source}`, {error}");
                            about_component(config, filter, found, Untrusted::WANTED)
                        })?)
                    }
                };
                Ok(Component {
                    origin: Origin {
                        pulled: None,
                        signed_by,
                    },
                    ..Component::of(bytes)
                })
            }
            ComponentSource::Registry(reference, pull) => {
                let wanted = components::Wanted {
                    reference,
                    pull: *pull,
                    registry: components::registry(config, &reference.host),
                    max_bytes,
                    trust: &config.trusted_for(filter),
                };
                let pulled = self.components.pull(&wanted, pulls).map_err(|error| {
                    let found = format!("`{source}`, {error}");
                    about_component(config, filter, found, error.wanted())
                })?;
                Ok(Component {
                    origin: Origin {
                        pulled: Some(reference.at(pulled.manifest)),
                        signed_by: pulled.signed_by,
                    },
                    outdated: pulled.outdated,
                    ..Component::of(pulled.bytes)
                })
            }
        }
    }

    fn shipped(&self, source: &ComponentSource) -> Option<Component> {
        let name = source.to_string();
        let mut shipped = self.shipped.iter();
        let shipped = shipped.find(|shipped| shipped.name == name)?;
        Some(Component {
            digest: Digest::from(shipped.digest),
            bytes: Cow::Borrowed(shipped.bytes),
            origin: Origin::default(),
            outdated: None,
        })
    }

    /// Gives a filter its configurations, and tells what it owes. Where its schema finds
    /// mistakes, the filter is asked all the same, for what is wrong with the rest.
    pub(super) fn load(
        &self,
        from: Build<'_>,
        filter: &config::Filter,
        module: Arc<Module>,
        secrets: GrantedSecrets,
        beside: Option<&Version>,
        mistakes: &mut Vec<Mistake>,
    ) -> (Known, Option<Rc<Owed>>) {
        let Build { config, doubts, .. } = from;
        let (given, mut found) = by_schema(config, filter, &module);
        found.retain(|mistake| !doubts.concern(&mistake.pointer));
        let is_good = found.is_empty();
        let schema_found: Vec<_> = found.iter().map(|found| found.pointer.clone()).collect();
        mistakes.append(&mut found);
        let stats = self
            .stats
            .filter(&filter.name, &generation(&module, filter));
        let metrics = self.stats.guest(filter.limits.max_series);
        let is_shared = filter.grants.shared;
        let space = is_shared.then(|| self.space(filter, &module, from.before, beside));
        let (shared, owed) = match space {
            Some(space) => (Some(space.store), space.owed),
            None => (None, None),
        };
        let granted = match filter.is_shadow() {
            true => Granted {
                shared: shared
                    .map(|below| Shared::Overlay(Overlay::new(below, shared_limits(filter)))),
                secrets,
                lines: Some(Arc::default()),
            },
            false => Granted {
                shared: shared.map(Shared::Store),
                secrets,
                lines: None,
            },
        };
        let is_everywhere = is_good && !filter.is_shadow();
        let workers = if is_everywhere { self.workers } else { 1 };
        let known = match LoadedFilter::build(
            module,
            filter.clone(),
            &given,
            stats,
            metrics,
            granted,
            workers,
        ) {
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
        };
        (known, owed)
    }
}

fn not_a_filter(config: &Config, filter: &config::Filter, error: &LoadError) -> Mistake {
    let found = format!("`{}`, which {error}", filter.component);
    let wanted = "a component of the world `lockgate:filter/filter` or `tcp-filter`";
    about_component(config, filter, found, wanted)
}

/// What is wrong with where a component comes from, or with what came from there.
pub(super) fn about_component(
    config: &Config,
    filter: &config::Filter,
    found: String,
    wanted: impl Into<String>,
) -> Mistake {
    let pointer = config::below(&filter.pointer, "component");
    Mistake::at(&config.places, &pointer, found, wanted)
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
    let shadow = before.shadow(&filter.name).map(|shadow| shadow.filter());
    let versions = match filter.is_shadow() {
        true => [shadow, None],
        false => [before.filter(&filter.name), before.canary(&filter.name)],
    };
    let mut versions = versions.into_iter().flatten();
    let is_it = |known: &&Arc<LoadedFilter>| is_same(known, filter, module, secrets);
    versions.find(is_it).cloned()
}

fn is_same(
    loaded: &LoadedFilter,
    filter: &config::Filter,
    module: &Module,
    secrets: &GrantedSecrets,
) -> bool {
    // In full, so that no field is forgotten. The digest stands for the component.
    let config::Filter {
        name: _,
        component: _,
        trust: _,
        on_error,
        on_bad: _,
        probation: _,
        isolation,
        limits,
        grants,
        config,
        routes,
        canary: _,
        shadow: _,
        checks: _,
        pointer: _,
    } = loaded.block();
    *on_error == filter.on_error
        && *isolation == filter.isolation
        && *limits == filter.limits
        && *grants == filter.grants
        && *config == filter.config
        && *routes == filter.routes
        && loaded.secrets() == secrets
        && loaded.module().digest() == module.digest()
}
