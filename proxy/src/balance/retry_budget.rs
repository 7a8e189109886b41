//! How many requests may be tried again, so that retries never make an outage worse.
//!
//! Two bounds, which have to hold both: tokens, as in Finagle's and Linkerd's `RetryBudget`
//! (each request brings a part of one, each retry takes a whole one, over a window of time),
//! since retries that fail at once are hardly ever under way; and a share of what is under
//! way, as Envoy's `retry_budget`, since retries that hang take no new tokens.
//!
//! Over all workers, and without a lock. Requests are counted by each worker in a counter of
//! its own, as they are anyway, and added up only by who wants to retry: a request that goes
//! well costs nothing. What was spent is one word, which only retries write. What the window
//! grants beside the share of requests, and what has left the window, is another word, which
//! the control thread alone writes, each second. So a token is never spent twice, and what is
//! known of requests is as old as a store takes to be seen. Where the control thread is late
//! the window is longer, which grants less of the floor and no more of the share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Retries for each hundred requests.
    pub percent: u32,
    /// Retries a second that there may be however few requests there are.
    pub floor: u32,
    /// Retries that may be under way at once, likewise.
    pub floor_at_once: u32,
    pub window: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            percent: 20,
            floor: 3,
            floor_at_once: 3,
            window: Duration::from_secs(10),
        }
    }
}

/// Whether an origin may have seen the try before this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    Seen,
    /// It takes a token all the same, but is no more work for origins than it was before, so
    /// that any number may be under way at once: as where one of few goes, and the requests of
    /// a moment meet its closed door.
    Unseen,
}

/// Why a retry is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// There were too many in the window.
    Spent,
    /// Too many are under way.
    AtOnce,
    /// As many as there ever may be.
    Limit,
}

/// Of one cluster, shared by all workers. Two lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Budget {
    rules: Rules,
    /// Tokens ever.
    spent: AtomicU64,
    /// Shared with the budgets that this one follows.
    under_way: Arc<UnderWay>,
    /// To be added to a hundred times the requests' share; hundredths of tokens.
    granted: AtomicI64,
}

/// Retries that are.
#[derive(Debug, Default)]
struct UnderWay {
    all: AtomicU64,
    /// Of those whose last try an origin may have seen.
    seen: AtomicU64,
}

impl Budget {
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            spent: AtomicU64::new(0),
            under_way: Arc::default(),
            granted: AtomicI64::new(floor(&rules)),
        }
    }

    /// By other rules from now on. What is under way counts.
    pub fn following(&self, rules: Rules) -> Self {
        Self {
            under_way: self.under_way.clone(),
            ..Self::new(rules)
        }
    }

    /// For one retry, which must be [ended](Self::ended), where so many requests were ever
    /// begun, retries not among them, and so many are under way; `most` retries may be.
    pub fn spend(
        &self,
        requests: u64,
        active: u64,
        most: Option<u64>,
        tried: Tried,
    ) -> Result<(), Denied> {
        let UnderWay { all, seen } = &*self.under_way;
        take_below(all, most.unwrap_or(u64::MAX)).ok_or(Denied::Limit)?;
        if tried == Tried::Seen {
            let share = active.saturating_mul(self.percent()) / 100;
            let at_once = share.max(u64::from(self.rules.floor_at_once));
            if take_below(seen, at_once).is_none() {
                all.fetch_sub(1, Relaxed);
                return Err(Denied::AtOnce);
            }
        }
        let hundredths = hundredths(requests.saturating_mul(self.percent()));
        let granted = hundredths.saturating_add(self.granted.load(Relaxed));
        let tokens = u64::try_from(granted / 100).unwrap_or(0);
        if take_below(&self.spent, tokens).is_none() {
            self.ended(tried);
            return Err(Denied::Spent);
        }
        Ok(())
    }

    /// A retry that was so is over.
    pub fn ended(&self, tried: Tried) {
        self.under_way.all.fetch_sub(1, Relaxed);
        if tried == Tried::Seen {
            self.under_way.seen.fetch_sub(1, Relaxed);
        }
    }

    /// Retries ever.
    pub fn spent(&self) -> u64 {
        self.spent.load(Relaxed)
    }

    fn percent(&self) -> u64 {
        u64::from(self.rules.percent)
    }
}

/// One more, while there are fewer than so many.
fn take_below(word: &AtomicU64, most: u64) -> Option<u64> {
    let more = |taken: u64| (taken < most).then(|| taken + 1);
    word.fetch_update(Relaxed, Relaxed, more).ok()
}

/// What the window grants without any requests.
fn floor(rules: &Rules) -> i64 {
    let tokens = rules.window.as_secs_f64() * f64::from(rules.floor);
    (tokens * 100.0) as i64
}

fn hundredths(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What has left a budget's window, on the control thread.
#[derive(Debug, Default)]
pub struct Window {
    /// When so many requests had begun and so many tokens were spent. The first is the
    /// last that is as old as the window.
    marks: VecDeque<(Duration, u64, u64)>,
}

impl Window {
    /// To be called each second or so.
    pub fn tick(&mut self, now: Duration, requests: u64, budget: &Budget) {
        let rules = &budget.rules;
        self.marks.push_back((now, requests, budget.spent()));
        let is_old = |mark: Option<&(Duration, u64, u64)>| {
            mark.is_some_and(|(at, ..)| now.saturating_sub(*at) >= rules.window)
        };
        while is_old(self.marks.get(1)) {
            self.marks.pop_front();
        }
        if let Some((_, requests, spent)) = self.marks.front().filter(|mark| is_old(Some(mark))) {
            let share = hundredths(requests.saturating_mul(budget.percent()));
            let spent = hundredths(spent.saturating_mul(100));
            let granted = floor(rules).saturating_add(spent).saturating_sub(share);
            budget.granted.store(granted, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        percent: 20,
        floor: 3,
        floor_at_once: 3,
        window: Duration::from_secs(10),
    };

    #[test]
    fn each_retry_spends_a_token() {
        let budget = Budget::new(RULES);
        // 30 of the floor, and 20 of a hundred requests.
        for _ in 0..50 {
            assert_eq!(budget.spend(100, 1, None, Tried::Seen), Ok(()));
            budget.ended(Tried::Seen);
        }
        assert_eq!(budget.spend(100, 1, None, Tried::Seen), Err(Denied::Spent));
        assert_eq!(budget.spend(104, 1, None, Tried::Seen), Err(Denied::Spent));
        assert_eq!(budget.spend(105, 1, None, Tried::Seen), Ok(()));
        assert_eq!(budget.spent(), 51);
    }

    #[test]
    fn not_too_many_are_under_way() {
        let budget = Budget::new(RULES);
        let spend = |active| budget.spend(1_000_000, active, None, Tried::Seen);
        assert_eq!([spend(0), spend(0), spend(0)], [Ok(()); 3]);
        assert_eq!(spend(19), Err(Denied::AtOnce));
        assert_eq!(spend(20), Ok(()));
        budget.ended(Tried::Seen);
        assert_eq!(spend(0), Err(Denied::AtOnce));
        budget.ended(Tried::Seen);
        assert_eq!(spend(0), Ok(()));
        assert_eq!(budget.spent(), 5);
    }

    #[test]
    fn a_limit_holds_beside_the_budget() {
        let budget = Budget::new(RULES);
        let spend = |budget: &Budget, most| budget.spend(1_000_000, 100, Some(most), Tried::Seen);
        assert_eq!(spend(&budget, 0), Err(Denied::Limit));
        assert_eq!([spend(&budget, 2), spend(&budget, 2)], [Ok(()); 2]);
        assert_eq!(spend(&budget, 2), Err(Denied::Limit));
        assert_eq!(spend(&budget, 3), Ok(()));
        // Those go on under other rules.
        let next = budget.following(Rules {
            percent: 1,
            ..RULES
        });
        assert_eq!(spend(&next, 20), Err(Denied::AtOnce));
        budget.ended(Tried::Seen);
        assert_eq!(spend(&next, 20), Ok(()));
    }

    #[test]
    fn what_nobody_saw_is_bounded_by_tokens_and_limits_alone() {
        let budget = Budget::new(RULES);
        let spend = |most, tried| budget.spend(0, 0, most, tried);
        let all = (0..100).filter(|_| spend(None, Tried::Unseen).is_ok());
        assert_eq!(all.count(), 30);
        assert_eq!(spend(None, Tried::Unseen), Err(Denied::Spent));
        let budget = Budget::new(RULES);
        let spend = |most, tried| budget.spend(0, 0, most, tried);
        let all = [(); 9].map(|()| spend(Some(8), Tried::Unseen));
        assert_eq!(all[..8], [Ok(()); 8]);
        assert_eq!(all[8], Err(Denied::Limit));
        // They leave room for others.
        let seen = [(); 4].map(|()| spend(None, Tried::Seen));
        assert_eq!(seen, [Ok(()), Ok(()), Ok(()), Err(Denied::AtOnce)]);
    }

    #[test]
    fn who_is_denied_is_not_under_way() {
        let budget = Budget::new(Rules { floor: 0, ..RULES });
        for _ in 0..100 {
            assert_eq!(budget.spend(4, 1, None, Tried::Seen), Err(Denied::Spent));
        }
        let UnderWay { all, seen } = &*budget.under_way;
        assert_eq!((all.load(Relaxed), seen.load(Relaxed)), (0, 0));
    }

    #[test]
    fn numbers_may_be_as_great_as_they_like() {
        let budget = Budget::new(Rules {
            percent: u32::MAX,
            floor: u32::MAX,
            floor_at_once: 0,
            window: Duration::MAX,
        });
        assert_eq!(budget.spend(u64::MAX, u64::MAX, None, Tried::Seen), Ok(()));
        Window::default().tick(Duration::MAX, u64::MAX, &budget);
        assert_eq!(
            budget.spend(u64::MAX, 0, None, Tried::Seen),
            Err(Denied::AtOnce)
        );
    }

    /// An origin that is down: every request fails at once and is tried again up to three
    /// times, at rates that change.
    #[test]
    fn an_outage_gets_a_fifth_more() {
        let budget = Budget::new(RULES);
        let mut window = Window::default();
        let mut requests = 0;
        let mut history = vec![(0, 0)];
        for second in 0..200_u64 {
            window.tick(Duration::from_secs(second), requests, &budget);
            let rate = [1000, 10, 5000, 0, 300][second as usize / 40];
            for _ in 0..rate {
                requests += 1;
                for _ in 0..3 {
                    if budget.spend(requests, 1, None, Tried::Seen).is_ok() {
                        budget.ended(Tried::Seen);
                    }
                }
            }
            history.push((requests, budget.spent()));
            // Over any ten seconds.
            let (requests_before, spent_before) = history[history.len().saturating_sub(11)];
            let share = (requests - requests_before) / 5;
            let spent = budget.spent() - spent_before;
            assert!(spent <= share + 31, "{second}: {spent}, {share}");
        }
        // And it is used.
        assert!(budget.spent() > requests / 5, "{}", budget.spent());
    }

    #[test]
    fn what_was_saved_up_is_not_spent_later() {
        let budget = Budget::new(RULES);
        let mut window = Window::default();
        (0..=10).for_each(|second| {
            window.tick(Duration::from_secs(second), 1_000_000, &budget);
        });
        let spent = (0..100).filter(|_| budget.spend(1_000_000, 1_000, None, Tried::Seen).is_ok());
        assert_eq!(spent.count(), 30);
    }

    #[test]
    fn workers_never_spend_a_token_twice() {
        let budget = Budget::new(RULES);
        let spend = || {
            (0..1000)
                .filter(|_| budget.spend(500, 100_000, None, Tried::Seen).is_ok())
                .count()
        };
        let spent = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(spend)).collect();
            let spent = threads.into_iter().map(|thread| thread.join().unwrap());
            spent.sum::<usize>()
        });
        assert_eq!(spent, 130);
    }
}
