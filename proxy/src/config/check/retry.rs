//! Retry policies, and what clusters say of retries.

use std::sync::Arc;
use std::time::Duration;

use super::Checker;
use super::names::read_name;
use crate::balance::{backoff, hedge, retry_budget};
use crate::config::place::below;
use crate::config::raw::{
    RawAfter, RawCluster, RawHedge, RawRetryBudget, RawRetryMethods, RawRetryOn, RawRetryPolicy,
    RawRetryWord,
};
use crate::config::retry::{RetryMethods, RetryOn, RetryPolicy};

impl Checker<'_> {
    pub(super) fn retry_policy(
        &mut self,
        at: &str,
        raw: &RawRetryPolicy,
    ) -> Option<Arc<RetryPolicy>> {
        let name = self.required(at, "name", raw.name.as_ref(), read_name);
        let backoff = backoff::Rules {
            base: self.time(&below(at, "backoff"), "base", raw.backoff.base),
            most: self.time(&below(at, "backoff"), "max", raw.backoff.max),
        };
        if backoff.base > backoff.most {
            let found = format!("`base: {}` above `max`", raw.backoff.base);
            let wanted = format!("at most {}", raw.backoff.max);
            self.mistake(&below(&below(at, "backoff"), "base"), found, wanted);
        }
        let try_timeout = raw.try_timeout;
        let try_timeout = try_timeout.map(|time| self.time(at, "try_timeout", time));
        let max_retry_after = self.time(at, "retry_after", raw.retry_after);
        let max_body = self.memory_size(at, "max_body", raw.max_body);
        let hedge = raw.hedge.as_ref();
        let hedge = hedge.and_then(|hedge| self.hedge(at, raw.attempts, hedge));
        if let (Some(hedge::Rule::Fixed(after)), Some(limit)) = (hedge, try_timeout)
            && after >= limit
        {
            let found = "`after` when a try has no more time, so that there is never a second one";
            let wanted = "less than `try_timeout`";
            self.mistake(&below(&below(at, "hedge"), "after"), found, wanted);
        }
        let policy = RetryPolicy {
            name: name?,
            on: on(raw.on.iter().flatten()),
            attempts: raw.attempts,
            try_timeout,
            backoff,
            max_retry_after,
            methods: match raw.methods {
                RawRetryMethods::Idempotent => RetryMethods::Idempotent,
                RawRetryMethods::Any => RetryMethods::Any,
            },
            max_body,
            hedge,
        };
        let policy = Arc::new(policy);
        self.retry_policies.push(policy.clone());
        Some(policy)
    }

    fn hedge(&mut self, policy: &str, attempts: u32, raw: &RawHedge) -> Option<hedge::Rule> {
        let at = below(policy, "hedge");
        if attempts < 2 {
            let found = "`hedge` with `attempts: 1`, so that there is never a second try";
            self.mistake(&at, found, "2 attempts or more");
        }
        let least = raw.least.map(|least| self.time(&at, "least", least));
        match raw.after? {
            RawAfter::Time(time) => {
                if raw.least.is_some() {
                    let found = format!("`least` with `after: {time}`");
                    let wanted = "`least` beside `p95` and the like, or not at all";
                    self.mistake(&below(&at, "least"), found, wanted);
                }
                Some(hedge::Rule::Fixed(self.time(&at, "after", time)))
            }
            RawAfter::Percentile(percent) => Some(hedge::Rule::Percentile {
                percent,
                least: least.unwrap_or(Duration::from_millis(1)),
            }),
        }
    }

    /// The policy that a cluster names.
    pub(super) fn cluster_retry(&mut self, at: &str, raw: &RawCluster) -> Option<Arc<RetryPolicy>> {
        let name = self.retry_reference(&below(at, "retry"), raw.retry.as_ref()?);
        let mut policies = self.retry_policies.iter();
        policies.find(|policy| policy.name == name).cloned()
    }
}

pub(super) fn budget(raw: &RawRetryBudget) -> retry_budget::Rules {
    retry_budget::Rules {
        percent: raw.percent,
        floor: raw.floor,
        floor_at_once: raw.floor_at_once,
        ..Default::default()
    }
}

fn on<'a>(raw: impl Iterator<Item = &'a RawRetryOn>) -> RetryOn {
    let mut on = RetryOn::default();
    for raw in raw {
        match raw {
            RawRetryOn::Word(RawRetryWord::ConnectFailure) => on.connect_failure = true,
            RawRetryOn::Word(RawRetryWord::RefusedStream) => on.refused_stream = true,
            RawRetryOn::Word(RawRetryWord::Reset) => on.reset = true,
            RawRetryOn::Word(RawRetryWord::TryTimeout) => on.try_timeout = true,
            RawRetryOn::Word(RawRetryWord::GatewayError) => {
                on.answers.statuses.extend([502, 503, 504]);
            }
            RawRetryOn::Word(RawRetryWord::ServerError) => on.answers.server_errors = true,
            RawRetryOn::Status(status) => on.answers.statuses.push(*status),
            RawRetryOn::Grpc(raw) => {
                let statuses = raw.grpc.iter().flatten();
                statuses.for_each(|status| on.answers.grpc |= 1 << *status as u32);
            }
        }
    }
    on.answers.statuses.sort_unstable();
    on.answers.statuses.dedup();
    on
}
