//! The checks of filters that are new or were changed: before anything is published,
//! each runs against the filter that would be.

use std::sync::Arc;

use crate::cases::{self, Outcome, Subject};
use crate::config::{self, Mistake, Name};
use crate::filter::LoadedFilter;
use crate::snapshot::{Reason, Snapshot, Standing};

/// A filter that is not as its checks want it.
pub struct Failed {
    pub filter: Name,
    pub mistakes: Vec<Mistake>,
}

/// Every filter that is not as its checks want it. Blocks while they run.
pub fn run(candidate: &Snapshot, before: Option<&Snapshot>) -> Vec<Failed> {
    let filters = candidate.config.filters.iter();
    let checked = filters.map(|filter| Failed {
        filter: filter.name.clone(),
        mistakes: check(filter, candidate, before),
    });
    checked
        .filter(|failed| !failed.mistakes.is_empty())
        .collect()
}

/// The version that takes the filter's place, and its canary.
fn check(filter: &config::Filter, candidate: &Snapshot, before: Option<&Snapshot>) -> Vec<Mistake> {
    let name = &filter.name;
    let canary_entry = filter.canary_entry();
    let reason = candidate.standing(name).map(|standing| standing.reason);
    let entry = match reason {
        // Its checks are those of another version.
        Some(Reason::Kept | Reason::LastGood | Reason::FellBack) => return Vec::new(),
        Some(Reason::Promoted) => canary_entry.as_ref(),
        Some(Reason::Aborted) | None => Some(filter),
    };
    let serving = entry.zip(candidate.filter(name));
    let canary = canary_entry.as_ref().zip(candidate.canary(name));
    let due = serving.into_iter().chain(canary);
    let due = due.filter(|(_, loaded)| is_due(filter, loaded, before));
    due.flat_map(|(entry, loaded)| differences(entry, loaded, candidate))
        .collect()
}

/// What serves already with the same checks has passed them, unless it only stands in for
/// what failed.
fn is_due(filter: &config::Filter, loaded: &Arc<LoadedFilter>, before: Option<&Snapshot>) -> bool {
    if filter.checks.is_empty() {
        return false;
    }
    let passed = before.is_some_and(|before| {
        let standing = before.standing(&filter.name);
        if standing.is_some_and(Standing::is_degraded) {
            return false;
        }
        let known = [before.filter(&filter.name), before.canary(&filter.name)];
        let mut known = known.into_iter().flatten();
        let is_same = known.any(|known| Arc::ptr_eq(known, loaded));
        let mut written = before.config.filters.iter();
        let written = written.find(|known| known.name == filter.name);
        is_same && written.is_some_and(|known| known.checks == filter.checks)
    });
    !passed
}

fn differences(
    entry: &config::Filter,
    loaded: &Arc<LoadedFilter>,
    candidate: &Snapshot,
) -> Vec<Mistake> {
    let places = &candidate.config.places;
    let subject = Subject {
        module: loaded.module(),
        filter: entry,
        secrets: &candidate.secrets,
        places,
    };
    match cases::run(&subject, &entry.checks) {
        Ok(outcomes) => {
            let outcomes = outcomes.iter();
            outcomes
                .flat_map(|outcome| told(entry, outcome, places))
                .collect()
        }
        Err(error) => {
            let pointer = config::below(&entry.pointer, "checks");
            let found = error.to_string();
            vec![Mistake::at(places, &pointer, found, "a thread for them")]
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
