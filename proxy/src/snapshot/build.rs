//! From a checked configuration to a snapshot, aside.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Listener, Snapshot, references};
use crate::cluster::Cluster;
use crate::config::{self, ComponentSource, Config, Mistake, filter_config};
use crate::filter::{BuildError, FilterEngine, LoadedFilter, Module, Pace};
use crate::http::via::Via;
use crate::listener::{self, Socket};
use crate::stats::Stats;

/// The label of a filter's generation: `sha256:` and so many digits that no two
/// generations of one filter share it.
const GENERATION_LABEL: usize = "sha256:".len() + 12;

/// Whether sockets are bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sockets {
    Bind,
    /// For a check: nothing outside the process changes.
    Leave,
}

/// What building needs beside the configuration.
pub struct Builder<'a> {
    pub engine: &'a Arc<FilterEngine>,
    pub stats: &'a Arc<Stats>,
    /// The components inside the binary, by name.
    pub shipped: &'static [(&'static str, &'static [u8])],
    pub workers: usize,
    pub sockets: Sockets,
}

/// A snapshot with what its author should look at.
pub struct Built {
    pub snapshot: Snapshot,
    pub warnings: Vec<Mistake>,
}

impl Builder<'_> {
    /// Builds the next generation. Blocking: it reads components, compiles
    /// them, and runs their `create`. Every mistake is reported, not the first;
    /// dropping the result leaves no trace.
    pub fn build(
        &self,
        config: Arc<Config>,
        before: Option<&Snapshot>,
    ) -> Result<Built, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut filters = Vec::new();
        for filter in &config.filters {
            match self.filter(&config, filter, before) {
                Ok(loaded) => filters.push(loaded),
                Err(more) => mistakes.extend(more),
            }
        }
        let (more, warnings) = references::check(&config, &filters);
        // What a filter that could not be built would have declared is not known.
        if mistakes.is_empty() {
            mistakes.extend(more);
        }
        let mut listeners = Vec::new();
        if mistakes.is_empty() {
            for listener in &config.listeners {
                match self.listener(&config, listener, &filters, before) {
                    Ok(listener) => listeners.push(Arc::new(listener)),
                    Err(mistake) => mistakes.push(mistake),
                }
            }
        }
        if !mistakes.is_empty() {
            // Filters are built by name, and people read from the top.
            let file = |mistake: &Mistake| {
                let is_its = |file: &PathBuf| **file == *mistake.place.file;
                config.files.iter().position(is_its)
            };
            mistakes.sort_by_cached_key(|mistake| {
                (file(mistake), mistake.place.line, mistake.place.column)
            });
            return Err(mistakes);
        }
        let clusters = self.clusters(&config, before);
        let generation = before.map_or(1, |before| before.generation + 1);
        let snapshot = Snapshot {
            generation,
            config,
            listeners,
            clusters,
            filters,
        };
        Ok(Built { snapshot, warnings })
    }

    fn filter(
        &self,
        config: &Config,
        filter: &config::Filter,
        before: Option<&Snapshot>,
    ) -> Result<Arc<LoadedFilter>, Vec<Mistake>> {
        let pointer = format!("{}/component", filter.pointer);
        let refuse = |found: String, wanted: &str| {
            vec![Mistake::at(&config.places, &pointer, found, wanted)]
        };
        let bytes = self
            .component(filter)
            .map_err(|(found, wanted)| refuse(found, &wanted))?;
        let pace = match before {
            Some(_) => Pace::GiveWay,
            None => Pace::Full,
        };
        let module = self.engine.load(&bytes, pace).map_err(|error| {
            refuse(
                error.to_string(),
                "a component of the world `lockgate:filter/filter`",
            )
        })?;
        if let Some(known) = carried_over(before, filter, &module) {
            return Ok(known);
        }
        let schema = module.manifest().config_schema.as_ref();
        let mistakes: Vec<_> = filter
            .configs()
            .flat_map(|own| {
                schema.map_or(Vec::new(), |schema| {
                    filter_config::check(schema, own, &config.places)
                })
            })
            .collect();
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let stats = self
            .stats
            .filter(&filter.name, &module.digest()[..GENERATION_LABEL]);
        let metrics = self.stats.guest(&filter.name, filter.limits.max_series);
        LoadedFilter::build(module, filter, stats, metrics, self.workers).map_err(|errors| {
            let place = |error: BuildError| {
                let own = filter.configs().find(|own| own.pointer == error.pointer);
                match own {
                    Some(own) => {
                        filter_config::mistake_at(own, &error.at, &error.message, &config.places)
                    }
                    None => Mistake::at(
                        &config.places,
                        &error.pointer,
                        error.message,
                        "a filter that can be built",
                    ),
                }
            };
            errors.into_iter().map(place).collect()
        })
    }

    fn component(
        &self,
        filter: &config::Filter,
    ) -> Result<std::borrow::Cow<'static, [u8]>, (String, String)> {
        match &filter.component {
            ComponentSource::Shipped(name) => self
                .shipped
                .iter()
                .find(|(shipped, _)| shipped.strip_prefix("lockgate:") == Some(name))
                .map(|(_, bytes)| std::borrow::Cow::Borrowed(*bytes))
                .ok_or_else(|| {
                    let names: Vec<_> = self.shipped.iter().map(|(name, _)| *name).collect();
                    (
                        format!("`lockgate:{name}`"),
                        format!("one of {}", names.join(", ")),
                    )
                }),
            ComponentSource::File(path) => std::fs::read(path)
                .map(std::borrow::Cow::Owned)
                .map_err(|error| {
                    (
                        format!("`{}`: {error}", path.display()),
                        "a readable component file".to_owned(),
                    )
                }),
        }
    }

    fn listener(
        &self,
        config: &Config,
        listener: &config::Listener,
        filters: &[Arc<LoadedFilter>],
        before: Option<&Snapshot>,
    ) -> Result<Listener, Mistake> {
        let socket = self.socket(listener, before).map_err(|error| {
            let at = config
                .listeners
                .iter()
                .position(|other| other.name == listener.name);
            let pointer = format!("/listeners/{}/address", at.unwrap_or_default());
            Mistake::at(
                &config.places,
                &pointer,
                error.to_string(),
                "an address that can be listened on",
            )
        })?;
        let chain = listener
            .filters
            .iter()
            .filter_map(|name| filters.iter().find(|filter| filter.name() == name).cloned())
            .collect();
        Ok(Listener {
            config: listener.clone(),
            socket,
            chain,
            stats: self.stats.listener(&listener.name),
            via: listener.headers.via.as_deref().and_then(Via::new),
        })
    }

    /// The socket of the same address, if there is one.
    fn socket(
        &self,
        listener: &config::Listener,
        before: Option<&Snapshot>,
    ) -> Result<Option<Arc<Socket>>, listener::BindError> {
        if self.sockets == Sockets::Leave {
            return Ok(None);
        }
        let known = before
            .into_iter()
            .flat_map(|before| &before.listeners)
            .filter(|known| listener.address.port() != 0 || known.config.name == listener.name)
            .filter_map(|known| known.socket.clone())
            .find(|socket| socket.wanted == listener.address);
        match known {
            Some(socket) => Ok(Some(socket)),
            None => {
                listener::bind(listener.address, self.workers).map(|socket| Some(Arc::new(socket)))
            }
        }
    }

    fn clusters(&self, config: &Config, before: Option<&Snapshot>) -> Vec<Arc<Cluster>> {
        config
            .clusters
            .iter()
            .map(|cluster| {
                before
                    .and_then(|before| before.cluster(&cluster.name))
                    .filter(|known| known.config == *cluster)
                    .cloned()
                    .unwrap_or_else(|| {
                        Cluster::new(cluster.clone(), self.stats.cluster(&cluster.name))
                    })
            })
            .collect()
    }
}

/// The same component with the same configuration keeps its instances.
fn carried_over(
    before: Option<&Snapshot>,
    filter: &config::Filter,
    module: &Arc<Module>,
) -> Option<Arc<LoadedFilter>> {
    let before = before?;
    let known = before
        .config
        .filters
        .iter()
        .find(|known| known.name == filter.name)?;
    let same = known.on_error == filter.on_error
        && known.limits == filter.limits
        && known.config == filter.config
        && known.routes == filter.routes;
    let loaded = before.filter(&filter.name)?;
    (same && loaded.module().digest() == module.digest()).then(|| loaded.clone())
}
