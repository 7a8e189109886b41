//! Raw shapes → the checked configuration.
//!
//! Takes what has the right structure, item by item, so that one bad listener
//! does not hide what is wrong with the next; gives a `Config`, or none when
//! there was any mistake. Opens no file but those of secrets and keys, and
//! resolves no name.

mod address;
mod authorities;
mod bounds;
mod case;
mod case_file;
mod cluster;
mod cluster_tls;
mod dns;
mod endpoint_file;
mod filter;
mod hashing;
mod health;
mod listener;
mod names;
mod overload;
mod process;
mod registry;
mod retry;
mod secret;
mod socket;
mod tcp;
mod tls;
mod trust;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::address::Wrong;
pub use self::address::is_host;
pub(super) use self::case_file::{CheckedCases, check_cases};
pub(super) use self::endpoint_file::check_endpoints;
use self::listener::Occupied;
pub(super) use self::names::Known;
use self::names::Names;
use super::checked::{Cluster, Filter, Listener, Registry};
use super::files::Files;
use super::mistake::{ENOUGH, Mistake};
use super::place::{Places, below, is_in_own_config};
use super::raw::{OutOfRange, RawConfig, Size, Time};
use super::retry::RetryPolicy;
use super::secret::Secret;
use super::structure::{Texts, put};
use super::trust::TrustedKey;
use super::words::{self, Showing};

/// What a check gives. Without mistakes, nothing in it is missing.
pub(super) struct Checked {
    pub(super) process: process::Process,
    pub(super) listeners: Vec<Listener>,
    pub(super) filters: Vec<Filter>,
    pub(super) clusters: Vec<Cluster>,
    pub(super) retry_policies: Vec<Arc<RetryPolicy>>,
    pub(super) secrets: Vec<Secret>,
    pub(super) registries: Vec<Registry>,
    pub(super) trust: Vec<TrustedKey>,
    /// The files of secrets and keys, those that cannot be read too.
    pub(super) read_files: Vec<PathBuf>,
    /// The raw shapes with every default filled in.
    pub(super) raw: RawConfig,
    pub(super) cluster_names: Known,
    pub(super) retry_names: Known,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<Mistake>,
}

/// What a configuration may be read from beside its own text.
pub(super) struct Outside<'a> {
    pub(super) files: &'a Files<'a>,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
}

/// Check a document, of which `known` are the mistakes found before and `broken`
/// the values that they are about.
pub(super) fn check(
    value: &Value,
    outside: &Outside<'_>,
    places: &Places,
    texts: &Texts,
    broken: &[String],
    known: Vec<Mistake>,
) -> Checked {
    let mut pruned = value.clone();
    let pointers = known.iter().map(|mistake| mistake.pointer.as_str());
    for pointer in pointers.chain(broken.iter().map(String::as_str)) {
        prune(&mut pruned, pointer);
    }
    let mut checker = Checker {
        outside,
        places,
        texts,
        names: Names::of(value),
        addresses: Vec::new(),
        read_files: Vec::new(),
        retry_policies: Vec::new(),
        system_roots: OnceCell::new(),
        mistakes: known,
        warnings: Vec::new(),
    };
    checker.duplicates();
    checker.names_within_names();
    let listeners = checker.list("listeners", &mut pruned, Checker::listener);
    // Before clusters, which name them.
    let retry_policies = checker.list("retry_policies", &mut pruned, Checker::retry_policy);
    let clusters = checker.list("clusters", &mut pruned, Checker::cluster);
    checker.forward_proxies(value, &listeners, &clusters);
    let filters = checker.map("filters", &mut pruned, Checker::filter);
    let secrets = checker.list("secrets", &mut pruned, Checker::secret);
    let registries = checker.list("registries", &mut pruned, Checker::registry);
    checker.registries_once(&registries);
    let trust = checker.list("trust", &mut pruned, Checker::trusted_key);
    let mut raw: RawConfig = checker.typed(&pruned, "").unwrap_or_default();
    let process = checker.process(&raw, value);
    let listeners = split(listeners, |raw_listener| raw.listeners.push(raw_listener));
    let mut clusters = split(clusters, |raw_cluster| raw.clusters.push(raw_cluster));
    let zone = raw.zone.as_ref();
    let zone = zone.and_then(|zone| checker.zone("/zone", zone));
    for cluster in &mut clusters {
        cluster.spread.zone.clone_from(&zone);
    }
    let retry_policies = split(retry_policies, |raw_policy| {
        raw.retry_policies.push(raw_policy);
    });
    let filters = split(filters, |(name, raw_filter)| {
        raw.filters.insert(name, raw_filter);
    });
    let secrets = split(secrets, |raw_secret| raw.secrets.push(raw_secret));
    let registries = split(registries, |raw_registry| raw.registries.push(raw_registry));
    let trust = split(trust, |raw_key| raw.trust.push(raw_key));
    checker.calls(&filters, &clusters);
    checker.unused_filters(&listeners, &filters);
    checker.unused_secrets(&secrets, &filters);
    let Checker {
        names,
        read_files,
        mistakes,
        warnings,
        ..
    } = checker;
    Checked {
        process,
        listeners,
        filters,
        clusters,
        retry_policies,
        secrets,
        registries,
        trust,
        read_files,
        raw,
        cluster_names: names.clusters,
        retry_names: names.retries,
        mistakes,
        warnings,
    }
}

/// What the checks of one document share.
pub(super) struct Checker<'a> {
    outside: &'a Outside<'a>,
    places: &'a Places,
    /// The values from `${ENV}` that are no text, as they are written.
    texts: &'a Texts,
    names: Names,
    /// Every address that is listened on, with its JSON pointer.
    addresses: Vec<Occupied>,
    read_files: Vec<PathBuf>,
    /// Those that are good.
    retry_policies: Vec<Arc<RetryPolicy>>,
    /// The roots of the system, read once where anybody wants them.
    system_roots: OnceCell<Vec<CertificateDer<'static>>>,
    mistakes: Vec<Mistake>,
    warnings: Vec<Mistake>,
}

impl Checker<'_> {
    /// Check each item of a list that has the right structure.
    fn list<R: DeserializeOwned, C>(
        &mut self,
        key: &str,
        value: &mut Value,
        check: fn(&mut Self, &str, &R) -> Option<C>,
    ) -> Vec<(R, Option<C>)> {
        let Some(Value::Array(items)) = value.get_mut(key).map(Value::take) else {
            return Vec::new();
        };
        value[key] = Value::Array(Vec::new());
        let items = items.iter().enumerate().filter_map(|(index, item)| {
            if self.has_enough() {
                return None;
            }
            let pointer = format!("/{key}/{index}");
            let raw = self.typed(item, &pointer)?;
            let checked = check(self, &pointer, &raw);
            Some((raw, checked))
        });
        items.collect()
    }

    /// Check each member of a map that has the right structure.
    fn map<R: DeserializeOwned, C>(
        &mut self,
        key: &str,
        value: &mut Value,
        check: fn(&mut Self, &str, &str, &R) -> Option<C>,
    ) -> Vec<((String, R), Option<C>)> {
        let Some(Value::Object(members)) = value.get_mut(key).map(Value::take) else {
            return Vec::new();
        };
        value[key] = Value::Object(serde_json::Map::new());
        let members = members.into_iter().filter_map(|(name, member)| {
            if self.has_enough() {
                return None;
            }
            let pointer = below(&format!("/{key}"), &name);
            let raw = self.typed(&member, &pointer)?;
            let checked = check(self, &pointer, &name, &raw);
            Some(((name, raw), checked))
        });
        members.collect()
    }

    /// The raw shape of a value, if it has its structure; if not, that was
    /// reported before.
    fn typed<R: DeserializeOwned>(&mut self, value: &Value, pointer: &str) -> Option<R> {
        match R::deserialize(value) {
            Ok(raw) => Some(raw),
            Err(error) => {
                if self.mistakes.is_empty() {
                    self.mistake(
                        pointer,
                        format!("what cannot be read: {error}"),
                        "another value",
                    );
                }
                None
            }
        }
    }

    fn has_enough(&self) -> bool {
        self.mistakes.len() >= ENOUGH
    }

    fn mistake(&mut self, pointer: &str, found: impl Into<String>, wanted: impl Into<String>) {
        self.mistakes
            .push(Mistake::at(self.places, pointer, found, wanted));
    }

    fn warning(&mut self, pointer: &str, found: impl Into<String>, wanted: impl Into<String>) {
        self.warnings
            .push(Mistake::at(self.places, pointer, found, wanted));
    }

    /// A text that is required. That it is missing was told before.
    fn required<T>(
        &mut self,
        parent: &str,
        key: &str,
        text: Option<&String>,
        read: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        self.text(&below(parent, key), text?, read)
    }

    /// The texts of a list, those that `read` can read.
    fn texts<T>(
        &mut self,
        parent: &str,
        key: &str,
        texts: &[Option<String>],
        read: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Vec<T> {
        let parent = below(parent, key);
        let texts = texts.iter().enumerate();
        texts
            .filter_map(|(index, text)| self.text(&below(&parent, index), text.as_ref()?, &read))
            .collect()
    }

    /// A text that is read by `read`.
    fn text<T>(
        &mut self,
        pointer: &str,
        text: &str,
        read: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        match read(text) {
            Ok(value) => Some(value),
            Err(Wrong { wanted, hint }) => {
                let found = self.found(pointer, text);
                let mistake = Mistake::at(self.places, pointer, found, wanted);
                self.mistakes.push(mistake.with_hint(hint));
                None
            }
        }
    }

    fn found(&self, pointer: &str, text: &str) -> String {
        let showing = match self.places.is_from_env(pointer) {
            true => Showing::FromEnv,
            false => Showing::Plain,
        };
        words::found(&text.into(), showing)
    }

    /// A duration within its range.
    fn time<const MIN: u64, const MAX: u64>(
        &mut self,
        parent: &str,
        key: &str,
        time: Time<MIN, MAX>,
    ) -> Duration {
        time.in_range()
            .unwrap_or_else(|wrong| Duration::from_millis(self.out_of_range(parent, key, wrong)))
    }

    /// A size within its range.
    fn size<const MIN: u64, const MAX: u64>(
        &mut self,
        parent: &str,
        key: &str,
        size: Size<MIN, MAX>,
    ) -> u64 {
        size.in_range()
            .unwrap_or_else(|wrong| self.out_of_range(parent, key, wrong))
    }

    /// A size of something in memory.
    fn memory_size<const MIN: u64, const MAX: u64>(
        &mut self,
        parent: &str,
        key: &str,
        size: Size<MIN, MAX>,
    ) -> usize {
        usize::try_from(self.size(parent, key, size)).unwrap_or(usize::MAX)
    }

    /// The nearest good value will do then: a configuration with a mistake is never
    /// built, but its filters are asked about the rest of it.
    fn out_of_range(&mut self, parent: &str, key: &str, wrong: OutOfRange) -> u64 {
        self.mistake(&below(parent, key), wrong.found, wrong.wanted);
        wrong.nearest
    }

    /// A path, relative to the file in which it is written.
    fn path(&self, pointer: &str, path: &Path) -> PathBuf {
        let file = self.places.find(pointer).file;
        file.parent().unwrap_or(Path::new("")).join(path)
    }
}

fn split<R, C>(items: Vec<(R, Option<C>)>, mut keep: impl FnMut(R)) -> Vec<C> {
    let checked = items.into_iter().filter_map(|(raw, checked)| {
        keep(raw);
        checked
    });
    checked.collect()
}

/// Take away a value with a mistake, so that what is around it can be checked as
/// if it were not there. Not within a filter's own configuration: the filter is
/// asked about it, and would miss it.
fn prune(value: &mut Value, pointer: &str) {
    if !is_in_own_config(pointer) {
        put(value, pointer, None);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(pointer: &str, wanted: Value) {
        let mut value =
            json!({"listeners": [{"name": "a", "limits": {"x": 1}}, {"tags": ["b", 1]}]});
        prune(&mut value, pointer);
        assert_eq!(value, wanted, "{pointer}");
    }

    #[test]
    fn a_bad_value_is_taken_away_with_as_little_as_possible() {
        check(
            "/listeners/0/limits/x",
            json!({"listeners": [{"name": "a", "limits": {}}, {"tags": ["b", 1]}]}),
        );
        check(
            "/listeners/1/tags/1",
            json!({"listeners": [{"name": "a", "limits": {"x": 1}}, {"tags": ["b", null]}]}),
        );
        check(
            "/listeners/1",
            json!({"listeners": [{"name": "a", "limits": {"x": 1}}, null]}),
        );
        check(
            "/listeners/1/name",
            json!({"listeners": [{"name": "a", "limits": {"x": 1}}, {"tags": ["b", 1]}]}),
        );
        check("/listeners", json!({}));
        check(
            "",
            json!({"listeners": [{"name": "a", "limits": {"x": 1}}, {"tags": ["b", 1]}]}),
        );
    }
}
