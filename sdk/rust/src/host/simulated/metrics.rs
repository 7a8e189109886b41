//! The interface `metrics`.

use std::collections::BTreeMap;

use super::with;
use crate::MetricError;
use crate::metrics::Kind;

/// Definitions, and what was observed.
#[derive(Default)]
pub(crate) struct Registry {
    definitions: BTreeMap<String, (Kind, Vec<String>)>,
    /// By name and label values: a counter's sum, a gauge's value, a
    /// histogram's number of observations.
    pub(crate) values: BTreeMap<(String, Vec<String>), f64>,
}

pub(crate) struct Metric {
    name: String,
}

impl Metric {
    pub(crate) fn define(
        kind: Kind,
        name: &str,
        _help: &str,
        labels: &[&str],
    ) -> Result<Self, MetricError> {
        check_name(name)?;
        let definition = (
            kind,
            labels.iter().map(|label| (*label).to_owned()).collect(),
        );
        with(|simulated| {
            let definitions = &mut simulated.metrics.definitions;
            match definitions.get(name) {
                Some(known) if *known != definition => Err(MetricError(format!(
                    "metric `{name}` was defined otherwise before"
                ))),
                _ => {
                    definitions.insert(name.to_owned(), definition);
                    Ok(Metric {
                        name: name.to_owned(),
                    })
                }
            }
        })
    }

    /// As in the proxy, an update that does not fit the definition is dropped.
    pub(crate) fn update(&self, value: f64, labels: &[&str]) {
        with(|simulated| {
            let registry = &mut simulated.metrics;
            let Some((kind, names)) = registry.definitions.get(&self.name) else {
                return;
            };
            if names.len() != labels.len() || (*kind == Kind::Counter && value < 0.0) {
                return;
            }
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            let place = registry
                .values
                .entry((self.name.clone(), labels))
                .or_default();
            match kind {
                Kind::Counter => *place += value,
                Kind::Gauge => *place = value,
                Kind::Histogram => *place += 1.0,
            }
        });
    }
}

fn check_name(name: &str) -> Result<(), MetricError> {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if starts_well && name.bytes().all(is_plain) {
        return Ok(());
    }
    Err(MetricError(format!(
        "`{name}` is not the name of a metric: letters, digits and `_`"
    )))
}
