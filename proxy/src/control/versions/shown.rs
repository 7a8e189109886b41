//! What `/filters` tells of a filter's versions.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::config::Name;
use crate::filter::{Fared, LoadedFilter};
use crate::snapshot::Snapshot;

/// The filters whose versions are on probation. Written by the control thread, and
/// read by whoever is asked.
#[derive(Debug, Clone, Default)]
pub struct OnProbation(Arc<Mutex<BTreeSet<Name>>>);

impl OnProbation {
    pub(super) fn are(&self, filters: impl Iterator<Item = Name>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = filters.collect();
    }

    fn has(&self, filter: &Name) -> bool {
        let filters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        filters.contains(filter)
    }

    /// How the version that serves came to serve, and what is tried beside it.
    pub fn tell(&self, filter: &LoadedFilter, snapshot: &Snapshot) -> Value {
        let name = filter.name();
        let standing = snapshot.standing(name);
        let canary = snapshot.canary(name).zip(snapshot.config.canary(name));
        json!({
            "is": standing.map_or("file", |standing| standing.reason.name()),
            "differs_from_file": standing.map(|standing| &standing.why),
            "on_probation": self.has(name),
            "fared": fared(filter.record()),
            "canary": canary.map(|(canary, rules)| json!({
                "digest": canary.module().digest(),
                "percent": f64::from(rules.share) / 100.0,
                "fared": fared(canary.record()),
            })),
        })
    }
}

fn fared(fared: Fared) -> Value {
    json!({
        "calls": fared.calls,
        "faults": fared.faults,
        "ended_exchanges": fared.ended,
        "mean_call_us": fared.mean().map(|mean| mean.as_nanos() as f64 / 1000.0),
    })
}
