//! Watching a new version of a filter by what it counted since it serves.

use std::sync::Arc;
use std::time::Instant;

use crate::config;
use crate::filter::{Fared, LoadedFilter};

/// A version that is being watched.
pub struct Probation {
    filter: Arc<LoadedFilter>,
    rules: config::Probation,
    since: Instant,
    /// What stood on its counters then.
    fared: Fared,
    /// It failed before, and there was nothing to go back to.
    has_failed: bool,
}

/// What can be said of it so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding {
    Open,
    Passed,
    Failed(String),
}

impl Probation {
    pub fn new(filter: Arc<LoadedFilter>, rules: config::Probation, now: Instant) -> Self {
        Self {
            fared: filter.record(),
            filter,
            rules,
            since: now,
            has_failed: false,
        }
    }

    /// From the beginning, after it failed.
    pub fn again(self, now: Instant) -> Self {
        Self {
            has_failed: true,
            ..Self::new(self.filter, self.rules, now)
        }
    }

    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    pub fn filter(&self) -> &Arc<LoadedFilter> {
        &self.filter
    }

    pub fn is_of(&self, filter: &Arc<LoadedFilter>, rules: &config::Probation) -> bool {
        Arc::ptr_eq(&self.filter, filter) && self.rules == *rules
    }

    pub fn look(&self, now: Instant) -> Finding {
        let seen = self.filter.record().since(self.fared);
        match () {
            () if is_too_bad(seen, &self.rules) => Finding::Failed(tell(seen)),
            () if now.duration_since(self.since) < self.rules.time => Finding::Open,
            () if seen.calls < self.rules.min_calls => Finding::Open,
            () => Finding::Passed,
        }
    }
}

/// A call that found no instance counts as a fault and as no call.
fn is_too_bad(seen: Fared, rules: &config::Probation) -> bool {
    let calls = u128::from(seen.calls.max(seen.faults));
    let is_share = u128::from(seen.faults) * 100 >= u128::from(rules.fault_percent) * calls;
    seen.faults >= rules.min_faults && is_share
}

fn tell(seen: Fared) -> String {
    format!(
        "{} of {} calls failed",
        seen.faults,
        seen.calls.max(seen.faults)
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_version_is_given_up_at_a_number_and_a_share_of_faults() {
        for (calls, faults, expected) in [
            (0, 0, false),
            (100, 4, false),
            (100, 5, false),
            (50, 5, true),
            (51, 5, false),
            (2, 5, true),
            (u64::MAX, u64::MAX, true),
        ] {
            let rules = config::Probation {
                time: Duration::from_secs(1),
                min_calls: 0,
                min_faults: 5,
                fault_percent: 10,
            };
            let seen = Fared {
                calls,
                faults,
                ..Fared::default()
            };
            assert_eq!(is_too_bad(seen, &rules), expected, "{faults} of {calls}");
        }
    }
}
