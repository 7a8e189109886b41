//! The checks of filters that are new or were changed: before anything is published,
//! each runs against the filter that would be.

use std::sync::Arc;

use crate::cases::{self, Outcome, Subject};
use crate::config::{self, Mistake};
use crate::snapshot::Snapshot;

/// Everything that is not as the checks want it. Blocks while they run.
pub fn run(candidate: &Snapshot, before: Option<&Snapshot>) -> Vec<Mistake> {
    let filters = candidate.config.filters.iter();
    let due = filters.filter(|filter| is_due(filter, candidate, before));
    due.flat_map(|filter| check(filter, candidate)).collect()
}

/// What serves already with the same checks has passed them.
fn is_due(filter: &config::Filter, candidate: &Snapshot, before: Option<&Snapshot>) -> bool {
    if filter.checks.is_empty() {
        return false;
    }
    let passed = before.is_some_and(|before| {
        let is_same = match (before.filter(&filter.name), candidate.filter(&filter.name)) {
            (Some(known), Some(now)) => Arc::ptr_eq(known, now),
            _ => false,
        };
        let mut known = before.config.filters.iter();
        let known = known.find(|known| known.name == filter.name);
        is_same && known.is_some_and(|known| known.checks == filter.checks)
    });
    !passed
}

fn check(filter: &config::Filter, candidate: &Snapshot) -> Vec<Mistake> {
    let Some(loaded) = candidate.filter(&filter.name) else {
        return Vec::new();
    };
    let places = &candidate.config.places;
    let subject = Subject {
        module: loaded.module(),
        filter,
        secrets: &candidate.secrets,
        places,
    };
    match cases::run(&subject, &filter.checks) {
        Ok(outcomes) => {
            let outcomes = outcomes.iter();
            outcomes
                .flat_map(|outcome| told(filter, outcome, places))
                .collect()
        }
        Err(error) => {
            let pointer = config::below(&filter.pointer, "checks");
            vec![Mistake::at(
                places,
                &pointer,
                error.to_string(),
                "a thread for them",
            )]
        }
    }
}

/// Each difference where it was expected otherwise, and with the last one what may
/// explain it.
fn told(filter: &config::Filter, outcome: &Outcome, places: &config::Places) -> Vec<Mistake> {
    let last = outcome.differences.len().saturating_sub(1);
    let differences = outcome.differences.iter().enumerate();
    let mistakes = differences.map(|(index, difference)| {
        let mut text = format!("`{}`: {difference}", outcome.name);
        if index == last && !outcome.notes.is_empty() {
            text.push_str(&format!(" ({})", outcome.notes.join("; ")));
        }
        Mistake::of_check(places, &difference.pointer, &filter.name, text)
    });
    mistakes.collect()
}
