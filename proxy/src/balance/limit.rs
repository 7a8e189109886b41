//! So many at once over all workers: connections, requests, requests that wait, retries.
//!
//! A word that every request adds to would go from core to core. So a worker takes permits
//! in batches and keeps a few; requests that come and go find theirs there. There are never
//! more at once than the limit. What other workers keep is at most an eighth of it, so that
//! from seven eighths on somebody may be refused who would have fitted. With a limit below
//! sixteen for each worker nothing is kept, and it is exact. No request wakes another thread.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Kept by a worker at most, in batches.
const KEPT: u64 = 2;

/// The greatest batch.
const MAX_BATCH: u64 = 64;

/// What all workers have together. Two lines of its own. How many there may be is said with
/// each call: it may change, and where more are under way then, they go on.
#[derive(Debug)]
#[repr(align(128))]
pub struct Limit {
    workers: u64,
    /// By workers, for requests or kept.
    taken: AtomicU64,
}

impl Limit {
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (workers as u64).max(1),
            taken: AtomicU64::new(0),
        }
    }

    /// Under way, and a few that workers keep.
    pub fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    fn batch(&self, most: u64) -> u64 {
        (most / (self.workers * KEPT * 8)).clamp(1, MAX_BATCH)
    }

    fn take(&self, wanted: u64, most: u64) -> u64 {
        let fitting = |taken: u64| wanted.min(most.saturating_sub(taken));
        let more = |taken| Some(taken + fitting(taken)).filter(|after| *after > taken);
        let before = self.taken.fetch_update(Relaxed, Relaxed, more);
        before.map_or(0, fitting)
    }
}

/// What one worker keeps of a limit.
#[derive(Debug, Default)]
pub struct Kept(u64);

impl Kept {
    /// A permit, which must be [given back](Self::give_back) on this worker; false where
    /// there is none.
    pub fn take(&mut self, limit: &Limit, most: u64) -> bool {
        if self.0 == 0 {
            self.0 = limit.take(limit.batch(most), most);
        }
        let is_there = self.0 > 0;
        self.0 -= u64::from(is_there);
        is_there
    }

    pub fn give_back(&mut self, limit: &Limit, most: u64) {
        let batch = limit.batch(most);
        let may_keep = if batch > 1 { batch * KEPT } else { 0 };
        self.0 += 1;
        // The limit may have become lower since.
        if self.0 > may_keep || limit.taken() > most {
            self.leave(limit, self.0.saturating_sub(may_keep / 2));
        }
    }

    /// Nothing is kept by a worker that is idle or goes.
    pub fn leave_all(&mut self, limit: &Limit) {
        self.leave(limit, self.0);
    }

    fn leave(&mut self, limit: &Limit, permits: u64) {
        limit.taken.fetch_sub(permits, Relaxed);
        self.0 -= permits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    /// Takes as many as can be had.
    fn fill(kept: &mut Kept, limit: &Limit, most: u64) -> u64 {
        let mut count = 0;
        while kept.take(limit, most) {
            count += 1;
        }
        count
    }

    #[test]
    fn a_small_limit_is_exact() {
        for most in [0, 1, 10, 63] {
            let limit = Limit::new(4);
            let mut kept: [Kept; 4] = Default::default();
            // Each had permits, and gave them back.
            for kept in &mut kept {
                let count = fill(kept, &limit, most);
                assert_eq!(count, most);
                (0..count).for_each(|_| kept.give_back(&limit, most));
                assert_eq!(limit.taken(), 0);
            }
        }
    }

    #[test]
    fn what_others_keep_is_an_eighth_at_most() {
        for (most, workers) in [(64, 4), (100, 4), (1000, 2), (1000, 64), (20_000, 128)] {
            let limit = Limit::new(workers);
            let mut kept: Vec<Kept> = (0..workers).map(|_| Kept::default()).collect();
            for kept in &mut kept {
                let count = fill(kept, &limit, most);
                (0..count).for_each(|_| kept.give_back(&limit, most));
            }
            let had = fill(&mut kept[0], &limit, most);
            assert!(had <= most && had >= most * 7 / 8, "{most}: {had}");
        }
    }

    /// Whatever workers do, there are never more than the limit, and none is lost.
    #[test]
    fn there_are_never_more() {
        let mut rng = Rng::with_seed(8);
        for _ in 0..200 {
            let most = rng.u64(1..500);
            let limit = Limit::new(4);
            let mut workers: [(Kept, u64); 4] = Default::default();
            for _ in 0..2000 {
                let (kept, active) = &mut workers[rng.usize(..4)];
                if rng.bool() {
                    *active += u64::from(kept.take(&limit, most));
                } else if *active > 0 {
                    *active -= 1;
                    kept.give_back(&limit, most);
                }
                let active: u64 = workers.iter().map(|(_, active)| active).sum();
                let kept: u64 = workers.iter().map(|(kept, _)| kept.0).sum();
                assert!(active <= most);
                assert_eq!(active + kept, limit.taken());
            }
            for (kept, active) in &mut workers {
                (0..*active).for_each(|_| kept.give_back(&limit, most));
                kept.leave_all(&limit);
            }
            assert_eq!(limit.taken(), 0);
        }
    }

    #[test]
    fn threads_never_have_more() {
        let (limit, most) = (Limit::new(4), 100);
        let active = AtomicU64::new(0);
        let work = || {
            let mut kept = Kept::default();
            let mut own = 0_u64;
            let mut rng = Rng::with_seed(2);
            for _ in 0..20_000 {
                if rng.bool() && kept.take(&limit, most) {
                    own += 1;
                    assert!(active.fetch_add(1, Relaxed) < 100);
                } else if own > 0 {
                    own -= 1;
                    active.fetch_sub(1, Relaxed);
                    kept.give_back(&limit, most);
                }
            }
            active.fetch_sub(own, Relaxed);
            (0..own).for_each(|_| kept.give_back(&limit, most));
            kept.leave_all(&limit);
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
        assert_eq!(limit.taken(), 0);
    }

    #[test]
    fn a_limit_that_falls_is_kept_once_enough_have_ended() {
        let limit = Limit::new(1);
        let mut kept = Kept::default();
        assert_eq!(fill(&mut kept, &limit, 1000), 1000);
        let most = 10;
        for _ in 0..990 {
            kept.give_back(&limit, most);
            assert!(!kept.take(&limit, most));
        }
        kept.give_back(&limit, most);
        assert!(kept.take(&limit, most));
        assert!(!kept.take(&limit, most));
    }
}
