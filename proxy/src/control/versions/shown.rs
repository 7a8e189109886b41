//! What `/filters` tells of a filter's versions.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::config::Name;
use crate::filter::{Fared, LoadedFilter};
use crate::snapshot::Snapshot;

/// What is known of versions beside the snapshots. Written by the control thread, and
/// read by whoever is asked.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<Mutex<Facts>>);

#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Filters whose versions are on probation.
    pub on_probation: BTreeSet<Name>,
    /// Good versions in memory, by their generations.
    pub good: BTreeSet<(Name, String)>,
}

impl Known {
    pub(super) fn are(&self, facts: Facts) {
        *self.facts() = facts;
    }

    /// Whether this generation is one to go back to.
    pub fn is_good(&self, filter: &str, generation: &str) -> bool {
        let facts = self.facts();
        let mut good = facts.good.iter();
        good.any(|(name, label)| &**name == filter && label == generation)
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the version that serves came to serve, and what is tried beside it.
    pub fn tell(&self, filter: &LoadedFilter, snapshot: &Snapshot) -> Value {
        let name = filter.name();
        let standing = snapshot.standing(name);
        let canary = snapshot.canary(name).zip(snapshot.config.canary(name));
        json!({
            "is": standing.map_or("file", |standing| standing.reason.name()),
            "differs_from_file": standing.map(|standing| &standing.why),
            "on_probation": self.facts().on_probation.contains(name),
            "fared": fared(filter.record()),
            "canary": canary.map(|(canary, rules)| json!({
                "digest": canary.module().digest(),
                "percent": f64::from(rules.share) / 100.0,
                "fared": fared(canary.record()),
            })),
            "shadow": snapshot.shadow(name).map(|shadow| shadow.tell()),
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
