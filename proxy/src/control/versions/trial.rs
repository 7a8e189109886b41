//! Comparing a canary with the version that serves everybody else.

use std::sync::Arc;
use std::time::Instant;

use crate::config::{AbortOn, Canary};
use crate::filter::{Fared, LoadedFilter};
use crate::state::{Decision, Verdict};

/// A canary that serves its share.
pub struct Trial {
    stable: Arc<LoadedFilter>,
    canary: Arc<LoadedFilter>,
    since: Instant,
    /// What stood on their counters then.
    stable_then: Fared,
    canary_then: Fared,
}

impl Trial {
    pub fn new(stable: &Arc<LoadedFilter>, canary: &Arc<LoadedFilter>, now: Instant) -> Self {
        Self {
            stable_then: stable.record(),
            canary_then: canary.record(),
            stable: stable.clone(),
            canary: canary.clone(),
            since: now,
        }
    }

    pub fn is_of(&self, stable: &Arc<LoadedFilter>, canary: &Arc<LoadedFilter>) -> bool {
        Arc::ptr_eq(&self.stable, stable) && Arc::ptr_eq(&self.canary, canary)
    }

    pub fn decide(&self, verdict: Verdict, why: String) -> Decision {
        Decision {
            stable: self.stable.identity().to_owned(),
            canary: self.canary.identity().to_owned(),
            verdict,
            why,
        }
    }

    /// What the canary's own rules say by now.
    pub fn look(&self, rules: &Canary, now: Instant) -> Option<Decision> {
        let stable = self.stable.record().since(self.stable_then);
        let canary = self.canary.record().since(self.canary_then);
        if let Some(why) = reason_to_abort(stable, canary, &rules.abort_on) {
            return Some(self.decide(Verdict::Aborted, why));
        }
        let time = now.duration_since(self.since);
        let is_proven = canary.calls >= rules.abort_on.min_calls;
        let is_time = rules.promote_after.is_some_and(|after| time >= after);
        (is_time && is_proven).then(|| {
            let why = format!(
                "{} calls in {} s, {} failed",
                canary.calls,
                time.as_secs(),
                canary.faults
            );
            self.decide(Verdict::Promoted, why)
        })
    }
}

/// Fewer measured calls than this say too little of the time that a call takes.
const LEAST_MEASURED: u64 = 10;

/// A call that found no instance counts as a fault and as no call.
fn reason_to_abort(stable: Fared, canary: Fared, rules: &AbortOn) -> Option<String> {
    let calls = canary.calls.max(canary.faults);
    if calls < rules.min_calls {
        return None;
    }
    if u128::from(canary.faults) * 100 >= u128::from(rules.fault_percent) * u128::from(calls) {
        return Some(format!("{} of {calls} calls failed", canary.faults));
    }
    let is_measured = |fared: Fared| fared.measured >= rules.min_calls.min(LEAST_MEASURED);
    let mean = |fared: Fared| fared.mean().filter(|_| is_measured(fared));
    let (before, now) = (mean(stable), mean(canary));
    if let (Some(limit), Some(before), Some(now)) = (rules.added_latency, before, now)
        && now > before + limit
    {
        return Some(format!(
            "a call takes {now:?} on average, and {before:?} without the canary"
        ));
    }
    let (before, now) = (percent_ended(stable), percent_ended(canary));
    if let (Some(limit), Some(before), Some(now)) = (rules.verdict_percent, before, now)
        && (now - before).abs() > f64::from(limit)
    {
        return Some(format!(
            "{now:.1} % of its calls end the exchange, and {before:.1} % without the canary"
        ));
    }
    None
}

fn percent_ended(fared: Fared) -> Option<f64> {
    (fared.calls > 0).then(|| fared.ended as f64 * 100.0 / fared.calls as f64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RULES: AbortOn = AbortOn {
        min_calls: 10,
        fault_percent: 20,
        added_latency: Some(Duration::from_micros(5)),
        verdict_percent: Some(30),
    };

    fn fared(calls: u64, faults: u64, ended: u64, mean: u64) -> Fared {
        Fared {
            calls,
            faults,
            ended,
            measured: calls,
            measured_nanoseconds: mean * calls,
            waited_nanoseconds: 0,
        }
    }

    #[track_caller]
    fn check(canary: Fared, expected: Option<&str>) {
        let stable = fared(1000, 0, 100, 1_000);
        let why = reason_to_abort(stable, canary, &RULES);
        match expected {
            Some(part) => assert!(
                why.as_ref().is_some_and(|why| why.contains(part)),
                "{why:?}"
            ),
            None => assert_eq!(why, None),
        }
    }

    #[test]
    fn a_canary_is_given_up_for_faults_for_time_and_for_other_verdicts() {
        check(fared(9, 9, 0, 1_000), None);
        check(fared(10, 1, 1, 1_000), None);
        check(fared(10, 2, 1, 1_000), Some("2 of 10 calls failed"));
        // Calls that found no instance are no calls, and faults.
        check(fared(0, 10, 0, 0), Some("10 of 10 calls failed"));
        check(fared(10, 0, 1, 6_000), None);
        check(fared(10, 0, 1, 6_001), Some("takes 6.001µs"));
        check(fared(10, 0, 4, 1_000), None);
        check(fared(100, 0, 41, 1_000), Some("41.0 % of its calls"));
    }

    #[test]
    fn nothing_to_compare_with_is_no_reason() {
        let alone = fared(100, 0, 100, 1_000_000);
        assert_eq!(reason_to_abort(Fared::default(), alone, &RULES), None);
        // Of a thousand calls hardly any was measured.
        let measured = |measured| Fared {
            measured,
            measured_nanoseconds: 1_000 * measured,
            ..fared(1000, 0, 1000, 0)
        };
        assert_eq!(reason_to_abort(measured(0), alone, &RULES), None);
        assert_eq!(reason_to_abort(measured(9), alone, &RULES), None);
        assert!(reason_to_abort(measured(10), alone, &RULES).is_some());
    }
}
