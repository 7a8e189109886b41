//! How much is asked of a cluster at once, over all workers, and whether it is asked at all.
//!
//! Workers read words here, and take permits in batches (`balance::limit`). The control
//! thread decides ten times a second, by what workers counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::balance::breaker::{self, Breaker, Counts, Gate, Passage, State};
use crate::balance::gradient::{self, Gradient};
use crate::balance::limit::Limit;
use crate::config::{self, ClusterBounds, Concurrency, Name, Queue};
use crate::stats::{ClusterStats, PerWorker};

/// How often [`Bounds::tick`] is to be called.
pub const TICK: Duration = Duration::from_millis(100);

/// Of a cluster that has any.
#[derive(Debug)]
pub struct Bounds {
    pub requests: Bound,
    pub connections: Bound,
    /// Of requests that wait for a connection to be made.
    pub pending: Bound,
    pub queue: Option<Queue>,
    adaptive: Option<Arc<Adaptive>>,
    breaking: Option<Arc<Breaking>>,
}

/// Of one kind of thing.
#[derive(Debug)]
pub struct Bound {
    pub taken: Arc<Limit>,
    /// `None` for however many.
    pub most: Option<u64>,
    /// Some worker wants one, and others may have it idle.
    wanted: AtomicBool,
}

impl Bound {
    fn new(most: Option<u32>, workers: usize, before: Option<&Self>) -> Self {
        let taken = before.map(|before| Arc::clone(&before.taken));
        Self {
            taken: taken.unwrap_or_else(|| Arc::new(Limit::new(workers))),
            most: most.map(u64::from),
            wanted: AtomicBool::new(false),
        }
    }

    /// Has the first worker that can give up one that is idle.
    pub fn want(&self) {
        self.wanted.store(true, Relaxed);
    }

    /// Whether one that is idle is to be given up.
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed)
    }

    /// The same, once: whoever gives one up is asked.
    pub fn take_want(&self) -> bool {
        self.wanted.load(Relaxed) && self.wanted.swap(false, Relaxed)
    }
}

impl Bounds {
    /// `before` is what the cluster of the same name had: what is under way by it counts.
    pub fn new(config: &config::Cluster, workers: usize, before: Option<&Self>) -> Option<Self> {
        let bounds = &config.bounds;
        let limits = &bounds.limits;
        // Who retries, and who picks an endpoint, ask for those limits, and nobody else.
        let mut nothing = ClusterBounds {
            per_endpoint: bounds.per_endpoint,
            ..ClusterBounds::default()
        };
        nothing.limits.retries = limits.retries;
        if *bounds == nothing {
            return None;
        }
        // Each of its requests has a connection for itself.
        let alone = match config.protocol {
            config::ClusterProtocol::Http1 => limits.connections,
            config::ClusterProtocol::Http2 | config::ClusterProtocol::Auto => None,
        };
        let requests = limits.requests.into_iter().chain(alone).min();
        let adaptive = bounds.concurrency.map(|rules| {
            let before = before.and_then(|before| before.adaptive.clone());
            let before = before.filter(|before| before.rules == rules);
            before.unwrap_or_else(|| Arc::new(Adaptive::new(rules)))
        });
        let breaking = bounds.breaker.map(|rules| {
            let before = before.and_then(|before| before.breaking.clone());
            let before = before.filter(|before| before.rules == rules);
            before.unwrap_or_else(|| Arc::new(Breaking::new(rules)))
        });
        Some(Self {
            requests: Bound::new(requests, workers, before.map(|before| &before.requests)),
            connections: Bound::new(
                limits.connections,
                workers,
                before.map(|before| &before.connections),
            ),
            pending: Bound::new(
                limits.pending,
                workers,
                before.map(|before| &before.pending),
            ),
            queue: bounds.queue,
            adaptive,
            breaking,
        })
    }

    /// How many requests there may be now, if that is limited.
    pub fn most_requests(&self) -> Option<u64> {
        let learnt = self.learnt_limit();
        learnt.into_iter().chain(self.requests.most).min()
    }

    /// Whether a request goes on, as far as the breaker is asked.
    pub fn pass(&self) -> Passage {
        let gate = self.breaking.as_ref().map(|breaking| &breaking.gate);
        gate.map_or(Passage::Free, |gate| gate.pass(fastrand::u16(..)))
    }

    /// Of a request of which nothing is known that a breaker would count.
    pub fn give_back(&self, passage: Passage) {
        if let (Some(breaking), Passage::Probe(time)) = (&self.breaking, passage) {
            breaking.gate.give_back(time);
        }
    }

    /// Whether it is counted how requests end.
    pub fn has_breaker(&self) -> bool {
        self.breaking.is_some()
    }

    /// Of the control thread.
    pub fn tick(&self, now: Duration, cluster: &Name, stats: &PerWorker<ClusterStats>) {
        if let Some(adaptive) = &self.adaptive {
            adaptive.tick(now, stats);
        }
        if let Some(breaking) = &self.breaking {
            breaking.tick(now, cluster, stats);
        }
    }

    /// Requests at once that are let in now, where that is learnt.
    pub fn learnt_limit(&self) -> Option<u64> {
        let adaptive = self.adaptive.as_ref()?;
        Some(adaptive.limit.load(Relaxed))
    }

    /// How the breaker is, if there is one. Takes a lock, which the control thread has for
    /// a moment in each tick.
    pub fn breaker(&self) -> Option<State> {
        let breaking = self.breaking.as_ref()?;
        Some(locked(&breaking.state).breaker.state())
    }
}

/// Windows of this length, or longer until they have so many answers.
const WINDOW: Duration = Duration::from_millis(500);
const MIN_ANSWERS: u64 = 10;

#[derive(Debug)]
struct Adaptive {
    rules: Concurrency,
    limit: AtomicU64,
    state: Mutex<Learning>,
}

#[derive(Debug)]
struct Learning {
    gradient: Gradient,
    /// The window's beginning, with the answers until then and what they took.
    since: Option<(Duration, u64, Duration)>,
    /// The most requests at once in the window.
    active: u32,
}

impl Adaptive {
    fn new(rules: Concurrency) -> Self {
        let gradient = Gradient::new(gradient::Rules {
            first: rules.first,
            least: rules.least,
            most: rules.most,
            ..gradient::Rules::default()
        });
        Self {
            rules,
            limit: AtomicU64::new(gradient.limit().into()),
            state: Mutex::new(Learning {
                gradient,
                since: None,
                active: 0,
            }),
        }
    }

    fn tick(&self, now: Duration, stats: &PerWorker<ClusterStats>) {
        let learning = &mut *locked(&self.state);
        let active = stats.level(|stats| &stats.active);
        learning.active = learning.active.max(u32::try_from(active).unwrap_or(0));
        let answers = |stats: &ClusterStats| stats.durations.buckets().sum::<u64>();
        let answers: u64 = stats.iter().map(answers).sum();
        let took = stats.iter().map(|stats| stats.durations.sum()).sum();
        let Some((since, answers_before, took_before)) = learning.since else {
            learning.since = Some((now, answers, took));
            return;
        };
        let new = answers.saturating_sub(answers_before);
        if now.saturating_sub(since) < WINDOW || new < MIN_ANSWERS {
            return;
        }
        let mean = took.saturating_sub(took_before).div_f64(new as f64);
        let limit = learning.gradient.observe(mean, learning.active);
        self.limit.store(limit.into(), Relaxed);
        learning.since = Some((now, answers, took));
        learning.active = 0;
    }
}

#[derive(Debug)]
struct Breaking {
    rules: config::Breaker,
    gate: Gate,
    state: Mutex<Judging>,
}

#[derive(Debug)]
struct Judging {
    breaker: Breaker,
    /// What was counted before; of the first tick nothing is new.
    before: Option<(Counts, Counts)>,
}

impl Breaking {
    fn new(rules: config::Breaker) -> Self {
        let breaker = Breaker::new(breaker::Rules {
            failed: f64::from(rules.failed) / 100.0,
            min_requests: rules.min_requests.into(),
            window: rules.window,
            open: rules.open,
            max_open: rules.max_open,
            probes: rules.probes,
            closing: rules.closing,
        });
        Self {
            rules,
            gate: Gate::default(),
            state: Mutex::new(Judging {
                breaker,
                before: None,
            }),
        }
    }

    fn tick(&self, now: Duration, cluster: &Name, stats: &PerWorker<ClusterStats>) {
        let judging = &mut *locked(&self.state);
        let all = Counts {
            ended: stats.sum(|stats| &stats.judged),
            failed: stats.sum(|stats| &stats.judged_failed),
        };
        let probes = Counts {
            ended: stats.sum(|stats| &stats.probes),
            failed: stats.sum(|stats| &stats.probes_failed),
        };
        let (all_before, probes_before) = judging
            .before
            .replace((all, probes))
            .unwrap_or((all, probes));
        let state = judging.breaker.state();
        let new = match state {
            State::HalfOpen { .. } => less(probes, probes_before),
            State::Closed | State::Open { .. } | State::Closing { .. } => less(all, all_before),
        };
        let changed = judging.breaker.tick(now, new);
        let after = judging.breaker.state();
        if let Some(admission) = changed {
            self.gate.set(admission);
            tell(cluster, state, after);
        }
    }
}

fn less(all: Counts, before: Counts) -> Counts {
    Counts {
        ended: all.ended.saturating_sub(before.ended),
        failed: all.failed.saturating_sub(before.failed),
    }
}

fn tell(cluster: &Name, before: State, after: State) {
    match (before, after) {
        (State::Open { .. }, State::Open { .. })
        | (State::Closing { .. }, State::Closing { .. }) => {}
        (_, State::Open { .. }) => {
            tracing::warn!(%cluster, "the breaker opens: too many requests fail");
        }
        (_, State::HalfOpen { .. }) => {
            tracing::info!(%cluster, "the breaker lets a few requests through");
        }
        (_, State::Closing { .. }) => tracing::info!(%cluster, "the breaker closes gradually"),
        (_, State::Closed) => tracing::info!(%cluster, "the breaker is closed"),
    }
}

/// What a thread that panicked left is numbers, each good by itself.
fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
