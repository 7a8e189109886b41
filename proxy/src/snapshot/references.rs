//! What can only be checked once filters have said what they want: the
//! clusters, retry policies and routes they name, and headers that only they may set.

use std::collections::BTreeSet;

use serde_json::Value;

use super::version::Known;
use crate::config::filter_config::{self, Told, TrustedHeader};
use crate::config::{self, Config, Doubts, Mistake, Sticky, Tone};
use crate::filter::{Configured, Kind};

/// Mistakes and warnings of a whole configuration with its filters. What may only
/// follow from a mistake that is known is not told.
pub fn check(config: &Config, doubts: &Doubts, known: &[Known]) -> (Vec<Mistake>, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let mut warnings = Vec::new();
    for filter in known {
        check_clusters(config, doubts, filter, &mut mistakes);
        check_retries(config, doubts, filter, &mut mistakes);
        warnings.extend(remarks(config, filter));
    }
    for filter in &config.filters {
        check_routes(config, doubts, filter, known, &mut mistakes);
    }
    check_kinds(config, known, &mut mistakes);
    for listener in &config.listeners {
        check_trusted_headers(config, listener, known, &mut warnings);
    }
    (mistakes, warnings)
}

/// A filter of exchanges stands in `filters`, one of connections in
/// `connection_filters`, and of that nothing is asked that only exchanges have.
fn check_kinds(config: &Config, known: &[Known], mistakes: &mut Vec<Mistake>) {
    let kind = |name: &config::Name| {
        let mut known = known.iter();
        let known = known.find(|known| known.name() == name)?;
        known.loaded().map(|loaded| loaded.module().kind())
    };
    for (index, listener) in config.listeners.iter().enumerate() {
        let chains = [
            ("filters", &listener.filters, Kind::Exchanges),
            (
                "connection_filters",
                &listener.connection_filters,
                Kind::Connections,
            ),
        ];
        for (key, names, wanted) in chains {
            for (place, name) in names.iter().enumerate() {
                let Some(found) = kind(name).filter(|found| *found != wanted) else {
                    continue;
                };
                let pointer = format!("/listeners/{index}/{key}/{place}");
                let found = format!("`{name}`, which is {found}");
                let wanted = format!("{wanted} in `{key}`");
                mistakes.push(Mistake::at(&config.places, &pointer, found, wanted));
            }
        }
    }
    for filter in &config.filters {
        if kind(&filter.name) == Some(Kind::Connections) {
            check_connection_filter(config, filter, mistakes);
        }
    }
}

fn check_connection_filter(config: &Config, filter: &config::Filter, mistakes: &mut Vec<Mistake>) {
    let canary = filter.canary.as_deref();
    let by_header = canary.is_some_and(|canary| matches!(canary.sticky_by, Sticky::Header(_)));
    for (is_there, key, wanted) in [
        (!filter.routes.is_empty(), "routes", "no such key"),
        (filter.shadow.is_some(), "shadow", "no such key"),
        (
            by_header,
            "canary/sticky_by",
            "an address, an attribute or chance",
        ),
    ] {
        if is_there {
            let pointer = format!("{}/{key}", filter.pointer);
            let found = format!("`{key}` of a filter of connections, which sees no exchange");
            mistakes.push(Mistake::at(&config.places, &pointer, found, wanted));
        }
    }
}

/// What a filter warned about while it took its configurations.
fn remarks(config: &Config, filter: &Known) -> Vec<Mistake> {
    let mut warnings = Vec::new();
    for configured in filter.configs() {
        let Some(own) = own_config(config, filter, configured) else {
            continue;
        };
        warnings.extend(configured.remarks.iter().map(|remark| {
            let told = Told {
                filter: filter.name(),
                tone: Tone::Warns,
                at: &remark.at,
                text: &remark.message,
            };
            told.about(own, &config.places)
        }));
    }
    warnings
}

/// The configuration as it is written.
fn own_config<'a>(
    config: &'a Config,
    filter: &Known,
    configured: &Configured,
) -> Option<&'a config::FilterConfig> {
    let mut filters = config.filters.iter();
    let filter = filters.find(|known| known.name == *filter.name())?;
    let mut configs = filter.configs();
    configs.find(|own| own.pointer == configured.pointer)
}

fn check_clusters(config: &Config, doubts: &Doubts, filter: &Known, mistakes: &mut Vec<Mistake>) {
    let known = config.clusters.iter().map(|cluster| &*cluster.name);
    let kind = Named {
        word: "cluster",
        plural: "clusters",
        key: "/cluster",
        known: known.collect(),
        doubtful: doubts.clusters.as_ref(),
        of: |configured| &configured.interest.clusters,
    };
    kind.check(config, doubts, filter, mistakes);
}

fn check_retries(config: &Config, doubts: &Doubts, filter: &Known, mistakes: &mut Vec<Mistake>) {
    let known = config.retry_policies.iter().map(|policy| &*policy.name);
    let kind = Named {
        word: "retry policy",
        plural: "retry policies",
        key: "/retry",
        known: known.collect(),
        doubtful: doubts.retries.as_ref(),
        of: |configured| &configured.interest.retries,
    };
    kind.check(config, doubts, filter, mistakes);
}

/// Things of one kind that filters may name.
struct Named<'a> {
    word: &'static str,
    plural: &'static str,
    /// Where filters name one, as far as there is a custom.
    key: &'static str,
    known: Vec<&'a str>,
    doubtful: Option<&'a BTreeSet<String>>,
    of: fn(&Configured) -> &BTreeSet<config::Name>,
}

impl Named<'_> {
    fn check(&self, config: &Config, doubts: &Doubts, filter: &Known, mistakes: &mut Vec<Mistake>) {
        let Some(doubtful) = self.doubtful else {
            return;
        };
        for configured in filter.configs() {
            let is_missing = |name: &&config::Name| {
                let is_known = self.known.contains(&&***name) || doubtful.contains(&***name);
                // A broken value is empty.
                let is_broken = name.is_empty() && doubts.concern(&configured.pointer);
                !is_known && !is_broken
            };
            let word = self.word;
            for name in (self.of)(configured).iter().filter(is_missing) {
                let found = format!("filter `{}` naming the {word} `{name}`", filter.name());
                let wanted = match self.known.as_slice() {
                    [] => format!("the name of a {word}, and there is none"),
                    known => format!(
                        "one of the configured {}: {}",
                        self.plural,
                        known.join(", ")
                    ),
                };
                let places = named_at(config, filter, configured, name, self.key);
                let at = |pointer: &String| Mistake::at(&config.places, pointer, &*found, &*wanted);
                mistakes.extend(places.iter().map(at));
            }
        }
    }
}

/// Where a configuration names something: where a `key` for it says so, or else
/// somewhere in it. Nowhere if the name only stands in for a mistake.
fn named_at(
    config: &Config,
    filter: &Known,
    configured: &Configured,
    name: &str,
    key: &str,
) -> Vec<String> {
    let Some(own) = own_config(config, filter, configured) else {
        return vec![configured.pointer.clone()];
    };
    let mut found = Vec::new();
    find_text(&own.value, name, &own.pointer, &mut found);
    let is_key = |pointer: &String| pointer.ends_with(key);
    let is_good = filter.good().is_some();
    match found.len() {
        _ if found.iter().any(is_key) => found.retain(is_key),
        0 if !is_good => {}
        1 => {}
        _ => found = vec![own.pointer.clone()],
    }
    found
}

/// The pointers of all values that are written so.
fn find_text(value: &Value, text: &str, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::String(other) if other == text => found.push(pointer.to_owned()),
        Value::Number(number) if number.to_string() == text => found.push(pointer.to_owned()),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_text(item, text, &config::below(pointer, index), found);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                find_text(member, text, &config::below(pointer, key), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A route that selects a filter's configuration must be declared by a filter
/// that runs before it, or it would never be selected.
fn check_routes(
    config: &Config,
    doubts: &Doubts,
    filter: &config::Filter,
    known: &[Known],
    mistakes: &mut Vec<Mistake>,
) {
    let chains = config.listeners.iter().filter_map(|listener| {
        let mut names = listener.filters.iter();
        let place = names.position(|name| *name == filter.name)?;
        Some(&listener.filters[..place])
    });
    let chains: Vec<_> = chains.collect();
    // That no listener names it is told as a warning, and enough.
    if chains.is_empty() {
        return;
    }
    let earlier: BTreeSet<_> = chains.into_iter().flatten().collect();
    let filters = || {
        earlier
            .iter()
            .map(|name| known.iter().find(|known| *known.name() == **name))
    };
    let declared: BTreeSet<_> = filters().flatten().flat_map(routes).collect();
    for (route, _) in &filter.routes {
        let may_declare = |earlier: Option<&Known>| match earlier {
            Some(earlier) => may_declare(config, doubts, earlier, route),
            None => true,
        };
        if !declared.contains(&**route) && !filters().any(may_declare) {
            let is_known = |known: &Known| matches!(known, Known::Good(_) | Known::Mended(_));
            let wanted = match filters().flatten().all(is_known) {
                _ if !declared.is_empty() => Wanted::OneOf(&declared),
                true => Wanted::None,
                false => Wanted::Some,
            };
            mistakes.push(unknown_route(config, filter, route, &wanted, known));
        }
    }
}

/// The routes that a filter may name.
enum Wanted<'a> {
    OneOf(&'a BTreeSet<&'a str>),
    /// There are some, which are not known for other mistakes.
    Some,
    None,
}

fn unknown_route(
    config: &Config,
    filter: &config::Filter,
    route: &str,
    wanted: &Wanted<'_>,
    known: &[Known],
) -> Mistake {
    let pointer = config::below(&config::below(&filter.pointer, "routes"), route);
    let text = match wanted {
        Wanted::OneOf(names) => {
            let names: Vec<_> = names.iter().copied().collect();
            format!(
                "a route that an earlier filter declares: {}",
                names.join(", ")
            )
        }
        Wanted::Some => "a route that an earlier filter declares".to_owned(),
        Wanted::None => {
            let name = &filter.name;
            format!("no `routes`: no filter before `{name}` declares any route")
        }
    };
    let mut filters = known.iter();
    let declaring = filters.find(|known| routes(known).any(|known| known == route));
    let hint = declaring.map(|declaring| {
        let name = declaring.name();
        format!("put it behind `{name}` in the listener's `filters`")
    });
    let found = format!("the route `{route}`");
    Mistake::at(&config.places, &pointer, found, text).with_hint(hint)
}

fn routes(filter: &Known) -> impl Iterator<Item = &str> {
    let configs = filter.configs().iter();
    configs.flat_map(|configured| configured.interest.routes.iter().map(|route| &**route))
}

/// Whether a filter could declare a route, were it not for its mistakes.
fn may_declare(config: &Config, doubts: &Doubts, filter: &Known, route: &str) -> bool {
    let mut filters = config.filters.iter();
    let own = filters.find(|known| known.name == *filter.name());
    let has_it = |own: &config::FilterConfig| {
        let mut found = Vec::new();
        find_text(&own.value, route, &own.pointer, &mut found);
        !found.is_empty() || doubts.concern(&own.pointer)
    };
    match filter {
        Known::Good(_) => own.is_some_and(|own| doubts.concern(&own.pointer)),
        Known::Mended(_) | Known::Refused(..) => own.is_some_and(|own| own.configs().any(has_it)),
        Known::Mute(_) => true,
    }
}

/// A header by which a filter tells origins who someone is must not arrive from
/// outside by a route for which that filter is off.
fn check_trusted_headers(
    config: &Config,
    listener: &config::Listener,
    known: &[Known],
    warnings: &mut Vec<Mistake>,
) {
    for name in &listener.filters {
        let Some(filter) = config.filters.iter().find(|filter| filter.name == *name) else {
            continue;
        };
        let mut good = known.iter().filter_map(Known::good);
        let Some(loaded) = good.find(|loaded| loaded.name() == name) else {
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
