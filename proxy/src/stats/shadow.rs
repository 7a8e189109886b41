//! What the shadow of a filter was seen to do otherwise.

use super::counter::{Counter, PerWorker};

/// In what two versions of a filter can differ, by name.
pub const DIFFERENCES: [&str; 5] = ["verdict", "head", "answer", "decision", "time"];

/// The same, in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// How the exchange goes on.
    Verdict,
    /// What became of the request, of the answer or of trailers.
    Head,
    /// An answer that both made, or a body that both replaced.
    Answer,
    /// Route, cluster, mirrors, delay, timeouts and attributes.
    Decision,
    /// The shadow took much longer.
    Time,
}

impl Difference {
    pub const ALL: [Self; 5] = [
        Self::Verdict,
        Self::Head,
        Self::Answer,
        Self::Decision,
        Self::Time,
    ];
}

/// Of one worker: `skipped` of those that serve, the rest of the one that compares.
#[derive(Debug, Default)]
pub struct ShadowStats {
    /// Exchanges that were looked at.
    pub compared: Counter,
    /// Exchanges that should have been, but there was no room or no time for it.
    pub skipped: Counter,
    /// Of those compared, in which a body passed a transform of either version: what
    /// they made of it was not compared.
    pub transformed: Counter,
    /// Of those compared, that differ in anything.
    differed: Counter,
    differing: [Counter; DIFFERENCES.len()],
}

impl ShadowStats {
    /// By the index in [`DIFFERENCES`].
    pub fn differing(&self, index: usize) -> &Counter {
        &self.differing[index]
    }

    /// Notes an exchange with what differed in it.
    pub fn note(&self, differences: &[Difference]) {
        self.compared.add(1);
        self.differed.add(u64::from(!differences.is_empty()));
        for difference in differences {
            self.differing[*difference as usize].add(1);
        }
    }
}

/// The sums over all workers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShadowTally {
    pub compared: u64,
    pub skipped: u64,
    pub transformed: u64,
    pub differed: u64,
    /// By the index in [`DIFFERENCES`].
    pub differing: [u64; DIFFERENCES.len()],
}

impl ShadowTally {
    pub fn of(stats: &PerWorker<ShadowStats>) -> Self {
        let differing = |index: usize| stats.sum(|stats| &stats.differing[index]);
        Self {
            compared: stats.sum(|stats| &stats.compared),
            skipped: stats.sum(|stats| &stats.skipped),
            transformed: stats.sum(|stats| &stats.transformed),
            differed: stats.sum(|stats| &stats.differed),
            differing: std::array::from_fn(differing),
        }
    }

    /// What came since then.
    pub fn since(&self, then: &Self) -> Self {
        let since = |now: u64, then: u64| now.saturating_sub(then);
        Self {
            compared: since(self.compared, then.compared),
            skipped: since(self.skipped, then.skipped),
            transformed: since(self.transformed, then.transformed),
            differed: since(self.differed, then.differed),
            differing: std::array::from_fn(|index| {
                since(self.differing[index], then.differing[index])
            }),
        }
    }
}
