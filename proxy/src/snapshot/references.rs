//! What can only be checked once filters have said what they want: the
//! clusters and routes they name, and headers that only they may set.

use std::collections::BTreeSet;

use crate::config::filter_config::{self, TrustedHeader};
use crate::config::{self, Config, FilterConfig, Mistake};
use crate::filter::{Configured, LoadedFilter, Remark};
use std::sync::Arc;

/// Mistakes and warnings of a whole configuration with its filters.
pub fn check(config: &Config, filters: &[Arc<LoadedFilter>]) -> (Vec<Mistake>, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let mut warnings = Vec::new();
    for filter in filters {
        check_clusters(config, filter, &mut mistakes);
        warnings.extend(remarks(config, filter));
    }
    for filter in &config.filters {
        check_routes(config, filter, filters, &mut mistakes);
    }
    for listener in &config.listeners {
        check_trusted_headers(config, listener, filters, &mut warnings);
    }
    (mistakes, warnings)
}

/// What a filter warned about while it took its configurations.
fn remarks(config: &Config, filter: &LoadedFilter) -> Vec<Mistake> {
    let owned = |configured: &Configured| {
        let own = FilterConfig {
            value: serde_json::Value::Null,
            pointer: configured.pointer.clone(),
        };
        let tell = |remark: &Remark| {
            filter_config::mistake_at(&own, &remark.at, &remark.message, &config.places)
        };
        configured.remarks.iter().map(tell).collect::<Vec<_>>()
    };
    filter.configs().iter().flat_map(owned).collect()
}

fn check_clusters(config: &Config, filter: &LoadedFilter, mistakes: &mut Vec<Mistake>) {
    for configured in filter.configs() {
        for wanted in &configured.interest.clusters {
            if !config
                .clusters
                .iter()
                .any(|cluster| cluster.name == *wanted)
            {
                let known: Vec<_> = config
                    .clusters
                    .iter()
                    .map(|cluster| &*cluster.name)
                    .collect();
                mistakes.push(Mistake::at(
                    &config.places,
                    &configured.pointer,
                    format!("filter `{}` naming the cluster `{wanted}`", filter.name()),
                    format!("one of the configured clusters: {}", known.join(", ")),
                ));
            }
        }
    }
}

/// A route that selects a filter's configuration must be declared by a filter
/// that runs before it, or it would never be selected.
fn check_routes(
    config: &Config,
    filter: &config::Filter,
    filters: &[Arc<LoadedFilter>],
    mistakes: &mut Vec<Mistake>,
) {
    let declared: BTreeSet<&str> = config
        .listeners
        .iter()
        .filter_map(|listener| {
            let place = listener
                .filters
                .iter()
                .position(|name| *name == filter.name)?;
            Some(&listener.filters[..place])
        })
        .flatten()
        .filter_map(|name: &config::Name| filters.iter().find(|earlier| earlier.name() == name))
        .flat_map(|earlier| earlier.configs())
        .flat_map(|configured| configured.interest.routes.iter().map(|route| &**route))
        .collect();
    for (route, _) in &filter.routes {
        if !declared.contains(&**route) {
            let known: Vec<_> = declared.iter().copied().collect();
            mistakes.push(Mistake::at(
                &config.places,
                &config::below(&format!("{}/routes", filter.pointer), route),
                format!("the route `{route}`"),
                format!(
                    "a route that an earlier filter declares: {}",
                    known.join(", ")
                ),
            ));
        }
    }
}

/// A header by which a filter tells origins who someone is must not arrive from
/// outside by a route for which that filter is off.
fn check_trusted_headers(
    config: &Config,
    listener: &config::Listener,
    filters: &[Arc<LoadedFilter>],
    warnings: &mut Vec<Mistake>,
) {
    for name in &listener.filters {
        let Some(filter) = config.filters.iter().find(|filter| filter.name == *name) else {
            continue;
        };
        let Some(loaded) = filters.iter().find(|loaded| loaded.name() == name) else {
            continue;
        };
        let schema = loaded.module().manifest().config_schema.as_ref();
        let trusted = filter
            .configs()
            .flat_map(|own| filter_config::trusted_headers(schema, own));
        for TrustedHeader {
            pointer,
            name: header,
        } in trusted
        {
            let removed = listener
                .remove_request_headers
                .iter()
                .any(|removed| removed.as_str().eq_ignore_ascii_case(&header));
            if !removed {
                warnings.push(Mistake::at(
                    &config.places,
                    &pointer,
                    format!("`{header}`, which a client of listener `{}` could forge where the filter is off", listener.name),
                    format!("`remove_request_headers: [{header}]` on that listener"),
                ));
            }
        }
    }
}
