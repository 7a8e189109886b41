//! What a cluster's retries spend: one budget for all workers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::balance::retry_budget::{Budget, Denied, Rules, Tried, Window};
use crate::stats::{ClusterStats, PerWorker};

/// Shared by every generation that did not change the rules.
pub struct RetryTokens {
    pub rules: Rules,
    budget: Budget,
    stats: Arc<PerWorker<ClusterStats>>,
    /// Requests that were counted before there was this budget.
    before: u64,
    /// Touched by the control thread alone.
    window: Mutex<Window>,
}

/// A retry that is under way.
pub struct RetryPermit(Arc<RetryTokens>, Tried);

impl RetryTokens {
    pub(super) fn new(rules: Rules, stats: Arc<PerWorker<ClusterStats>>) -> Arc<Self> {
        Self::of(rules, Budget::new(rules), stats)
    }

    /// By other rules, perhaps.
    pub(super) fn following(
        self: &Arc<Self>,
        rules: Rules,
        stats: &Arc<PerWorker<ClusterStats>>,
    ) -> Arc<Self> {
        match self.rules == rules {
            true => self.clone(),
            false => Self::of(rules, self.budget.following(rules), stats.clone()),
        }
    }

    fn of(rules: Rules, budget: Budget, stats: Arc<PerWorker<ClusterStats>>) -> Arc<Self> {
        Arc::new(Self {
            rules,
            budget,
            before: requests(&stats),
            stats,
            window: Mutex::default(),
        })
    }

    /// Where `most` retries may be under way at once. Takes no lock. Only who wants to retry
    /// adds up what workers have counted.
    pub fn spend(self: &Arc<Self>, most: Option<u32>, tried: Tried) -> Result<RetryPermit, Denied> {
        let active: i64 = self.stats.iter().map(|stats| stats.active.get()).sum();
        let active = u64::try_from(active).unwrap_or(0);
        let most = most.map(u64::from);
        self.budget.spend(self.requests(), active, most, tried)?;
        Ok(RetryPermit(self.clone(), tried))
    }

    /// To be called by the control thread, each second or so.
    pub fn tick(&self, now: Duration) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.tick(now, self.requests(), &self.budget);
    }

    fn requests(&self) -> u64 {
        requests(&self.stats).saturating_sub(self.before)
    }
}

fn requests(stats: &PerWorker<ClusterStats>) -> u64 {
    stats.iter().map(|stats| stats.requests.get()).sum()
}

impl Drop for RetryPermit {
    fn drop(&mut self) {
        self.0.budget.ended(self.1);
    }
}
