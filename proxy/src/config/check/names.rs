//! The names that a configuration gives, and references to them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::Checker;
use super::address::Wrong;
use crate::config::checked::{Filter, Listener, Name};
use crate::config::mistake::{ENOUGH, Mistake};
use crate::config::place::below;
use crate::config::words;

/// Characters of a name.
const MAX_NAME: usize = 128;

/// Names of things that can be referred to. They count even where the rest of
/// the thing has a mistake, so that one mistake is not reported as two.
pub(super) struct Names {
    pub(super) filters: Known,
    pub(super) clusters: Known,
    pub(super) retries: Known,
    pub(super) secrets: Known,
    pub(super) trust: Known,
    /// Pointers to names given before, each with its kind, name and first pointer.
    again: Vec<(String, &'static str, String, String)>,
}

/// The names of one kind of thing.
#[derive(Debug, Clone, Default)]
pub(in crate::config) struct Known {
    pub(in crate::config) names: BTreeSet<String>,
    /// Whether there is nothing whose name has a mistake. If there is, it may be
    /// what any unknown name refers to.
    pub(in crate::config) is_all: bool,
}

impl Names {
    /// Of a file of cases: clusters may have any names.
    pub(super) fn of_cases(secrets: BTreeSet<String>) -> Self {
        Self {
            filters: Known::default(),
            clusters: Known::default(),
            secrets: Known {
                names: secrets,
                is_all: true,
            },
            retries: Known::default(),
            trust: Known::default(),
            again: Vec::new(),
        }
    }

    pub(super) fn of(value: &Value) -> Self {
        let mut again = Vec::new();
        names_in(value, "listeners", "listener", &mut again);
        let clusters = Known {
            names: names_in(value, "clusters", "cluster", &mut again),
            is_all: are_all_named(value, "clusters"),
        };
        let retries = Known {
            names: names_in(value, "retry_policies", "retry policy", &mut again),
            is_all: are_all_named(value, "retry_policies"),
        };
        let secrets = Known {
            names: names_in(value, "secrets", "secret", &mut again),
            is_all: are_all_named(value, "secrets"),
        };
        let trust = Known {
            names: names_in(value, "trust", "trusted key", &mut again),
            is_all: are_all_named(value, "trust"),
        };
        let filters = value.get("filters").and_then(Value::as_object);
        let filters = filters
            .into_iter()
            .flat_map(|filters| filters.keys().cloned());
        let filters = Known {
            names: filters.collect(),
            is_all: match value.get("filters") {
                None => !is_misspelt(value, "filters"),
                Some(filters) => filters.is_object(),
            },
        };
        Self {
            filters,
            clusters,
            retries,
            secrets,
            trust,
            again,
        }
    }
}

/// Whether every item of a list has a name, however bad. A broken one is empty.
fn are_all_named(value: &Value, key: &str) -> bool {
    let is_named = |item: &Value| {
        let name = item.get("name").and_then(Value::as_str);
        name.is_some_and(|name| !name.is_empty())
    };
    match value.get(key) {
        None => !is_misspelt(value, key),
        Some(items) => items
            .as_array()
            .is_some_and(|items| items.iter().all(is_named)),
    }
}

/// Whether a key of the top level is missing only because it has a mistake.
pub(super) fn is_misspelt(value: &Value, key: &str) -> bool {
    let mut keys = value.as_object().into_iter().flat_map(|map| map.keys());
    keys.any(|found| words::nearest(found, [key]).is_some())
}

fn names_in(
    value: &Value,
    key: &str,
    kind: &'static str,
    again: &mut Vec<(String, &'static str, String, String)>,
) -> BTreeSet<String> {
    let mut first: HashMap<&str, String> = HashMap::new();
    let items = value.get(key).and_then(Value::as_array);
    for (index, item) in items.into_iter().flatten().enumerate() {
        let Some(name) = item.get("name").and_then(Value::as_str) else {
            continue;
        };
        // Broken names are empty, and so are all alike.
        if name.is_empty() {
            continue;
        }
        let pointer = format!("/{key}/{index}/name");
        match first.get(name) {
            Some(first) => again.push((pointer, kind, name.to_owned(), first.clone())),
            None => {
                first.insert(name, pointer);
            }
        }
    }
    first.into_keys().map(str::to_owned).collect()
}

impl Checker<'_> {
    /// Report the names that were given before.
    pub(super) fn duplicates(&mut self) {
        for (pointer, kind, name, first) in std::mem::take(&mut self.names.again)
            .into_iter()
            .take(ENOUGH)
        {
            let first = self.places.find(&first);
            let found = format!(
                "the {kind} {} again, first at {first}",
                words::quoted(&name)
            );
            self.mistake(&pointer, found, format!("each {kind} once"));
        }
    }

    /// Filters of which one could leave attributes in the name of the other.
    pub(super) fn names_within_names(&mut self) {
        let names = &self.names.filters.names;
        let within = |name: &&String| {
            let mut dots = name.match_indices('.');
            let outer = dots.find_map(|(dot, _)| names.get(&name[..dot]))?;
            Some((
                below("/filters", name),
                words::quoted(name),
                words::quoted(outer),
            ))
        };
        let found: Vec<_> = names
            .iter()
            .filter_map(|name| within(&name))
            .take(ENOUGH)
            .collect();
        for (pointer, name, outer) in found {
            let found = format!(
                "the filter {name} beside the filter {outer}, whose attributes could pass for its own"
            );
            let wanted = "a name that is not another filter's with a dot behind it";
            let mistake = Mistake::at_key(self.places, &pointer, found, wanted);
            self.mistakes.push(mistake);
        }
    }

    pub(super) fn cluster_reference(&mut self, pointer: &str, name: &str) -> Name {
        let wanted = reference("cluster", name, &self.names.clusters);
        self.reference(pointer, name, wanted)
    }

    pub(super) fn retry_reference(&mut self, pointer: &str, name: &str) -> Name {
        let wanted = reference("retry policy", name, &self.names.retries);
        self.reference(pointer, name, wanted)
    }

    pub(super) fn filter_reference(&mut self, pointer: &str, name: &str) -> Name {
        let wanted = reference("filter", name, &self.names.filters);
        self.reference(pointer, name, wanted)
    }

    pub(super) fn secret_reference(&mut self, pointer: &str, name: &str) -> Name {
        let wanted = reference("secret", name, &self.names.secrets);
        self.reference(pointer, name, wanted)
    }

    pub(super) fn trust_reference(&mut self, pointer: &str, name: &str) -> Name {
        let wanted = reference("trusted key", name, &self.names.trust);
        self.reference(pointer, name, wanted)
    }

    fn reference(&mut self, pointer: &str, name: &str, wanted: Result<(), Wrong>) -> Name {
        self.text(pointer, name, |_| wanted);
        Arc::from(name)
    }

    /// Filters that are checked and loaded for nothing.
    pub(super) fn unused_filters(&mut self, listeners: &[Listener], filters: &[Filter]) {
        let used: BTreeSet<_> = listeners
            .iter()
            .flat_map(|listener| listener.filters.iter().chain(&listener.connection_filters))
            .collect();
        for filter in filters.iter().filter(|filter| !used.contains(&filter.name)) {
            let found = format!("the filter `{}`, which no listener names", filter.name);
            let wanted = "its name among the `filters` or `connection_filters` of a listener";
            let pointer = below("/filters", &filter.name);
            self.warnings
                .push(Mistake::at_key(self.places, &pointer, found, wanted));
        }
    }
}

/// Whether a name is known; if not, what is.
fn reference(kind: &str, name: &str, known: &Known) -> Result<(), Wrong> {
    if known.names.contains(name) || !known.is_all {
        return Ok(());
    }
    let known = || known.names.iter().map(String::as_str);
    let wanted = match words::nearest(name, known()) {
        Some(near) => format!("the name of a {kind}, such as {}", words::quoted(near)),
        None if known().next().is_none() => format!("the name of a {kind}, and there is none"),
        None => {
            let known = words::one_of(known().map(words::quoted));
            format!("the name of a {kind}: {known}")
        }
    };
    Err(Wrong::new(wanted))
}

pub(super) fn read_name(name: &str) -> Result<Name, Wrong> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    match !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(is_good) {
        true => Ok(Arc::from(name)),
        false => Err(Wrong::new(format!(
            "a name of 1 to {MAX_NAME} letters, digits, `_`, `.` and `-`"
        ))),
    }
}
