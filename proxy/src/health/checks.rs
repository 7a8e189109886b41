//! When each endpoint is checked, and what comes of that.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::pending;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::event;
use super::probe::{Outcome, Probe};
use crate::cluster::{Checked, Cluster, Endpoint, EndpointSet};
use crate::config::HealthCheck;

/// Of one cluster.
const AT_ONCE: usize = 64;

/// The checks of one cluster.
pub struct Checks {
    /// For checks of all clusters.
    turns: Rc<Semaphore>,
    /// How, of the cluster that is checked; none where nothing is.
    probe: Option<Rc<Probe>>,
    due: BinaryHeap<Due>,
    running: JoinSet<Done>,
    /// Requests of the cluster, and when that changed last.
    requests: u64,
    traffic: Option<Instant>,
}

/// A check that is to be made: the earliest is the greatest.
struct Due {
    at: Reverse<Instant>,
    check: usize,
    endpoint: Weak<Endpoint>,
}

struct Done {
    endpoint: Arc<Endpoint>,
    check: usize,
    outcome: Outcome,
}

impl Checks {
    pub fn new(turns: Rc<Semaphore>) -> Self {
        Self {
            turns,
            probe: None,
            due: BinaryHeap::new(),
            running: JoinSet::new(),
            requests: 0,
            traffic: None,
        }
    }

    /// The cluster or its endpoints are others. What is under way is begun again; who was
    /// not checked before is first.
    pub fn follow(&mut self, cluster: &Arc<Cluster>, set: &EndpointSet) {
        self.running.abort_all();
        self.running = JoinSet::new();
        self.due.clear();
        let checks = &cluster.config.health_checks;
        let is_same = |probe: &Rc<Probe>| probe.checks() == checks;
        let goes_on = self.probe.as_ref().is_none_or(is_same);
        self.probe = (!checks.is_empty()).then(|| Rc::new(Probe::new(cluster)));
        let now = Instant::now();
        for endpoint in &*set.endpoints {
            let mut care = endpoint.vitals.care();
            if !goes_on || care.checks.len() != checks.len() {
                care.checks = vec![Checked::default(); checks.len()];
            }
            for (check, (known, rules)) in care.checks.iter().zip(checks).enumerate() {
                let at = match known.passes {
                    None => now,
                    // Spread out, and not one interval later each time that others come.
                    Some(_) => now + rules.interval.mul_f64(fastrand::f64()),
                };
                self.due.push(Due {
                    at: Reverse(at),
                    check,
                    endpoint: Arc::downgrade(endpoint),
                });
            }
            let is_checked = !care.checks.is_empty();
            drop(care);
            if !is_checked
                && endpoint.vitals.change(|signs| {
                    signs.checks_failed = false;
                    signs.degraded = false;
                })
            {
                cluster.bell.notify_one();
            }
        }
    }

    /// A cluster that has requests again is checked as often as one that has.
    pub fn note_traffic(&mut self, cluster: &Cluster, now: Instant) {
        let requests = cluster.stats.sum(|stats| &stats.requests);
        if requests == self.requests {
            return;
        }
        self.requests = requests;
        self.traffic = Some(now);
        let Some(probe) = &self.probe else { return };
        let checks = probe.checks();
        let due = std::mem::take(&mut self.due).into_iter().map(|due| {
            let latest = now + checks[due.check].interval;
            let at = Reverse(due.at.0.min(latest));
            Due { at, ..due }
        });
        self.due = due.collect();
    }

    /// Goes on checking; gives whether an endpoint is another than before. Dropping the
    /// future loses nothing.
    pub async fn next(&mut self, cluster: &Arc<Cluster>) -> bool {
        let Some(probe) = self.probe.clone() else {
            return pending().await;
        };
        loop {
            let now = Instant::now();
            let mut next = None;
            while self.running.len() < AT_ONCE {
                match self.due.peek() {
                    Some(due) if due.at.0 <= now => {}
                    Some(due) => {
                        next = Some(due.at.0);
                        break;
                    }
                    None => break,
                }
                let due = self.due.pop();
                if let Some(due) = due
                    && let Some(endpoint) = due.endpoint.upgrade()
                {
                    self.begin(&probe, endpoint, due.check);
                }
            }
            let wait = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => pending().await,
                }
            };
            let done = tokio::select! {
                done = self.running.join_next(), if !self.running.is_empty() => done,
                () = wait => continue,
            };
            if let Some(Ok(done)) = done {
                return self.conclude(cluster, &probe, done);
            }
        }
    }

    fn begin(&mut self, probe: &Rc<Probe>, endpoint: Arc<Endpoint>, check: usize) {
        let (probe, turns) = (probe.clone(), self.turns.clone());
        self.running.spawn_local(async move {
            let _turn = turns.acquire().await;
            let outcome = probe.ask(&endpoint, check).await;
            Done {
                endpoint,
                check,
                outcome,
            }
        });
    }

    fn conclude(&mut self, cluster: &Cluster, probe: &Probe, done: Done) -> bool {
        let Done {
            endpoint,
            check,
            outcome,
        } = done;
        let rules = &probe.checks()[check];
        let now = Instant::now();
        self.note_traffic(cluster, now);
        let is_idle = self
            .traffic
            .is_none_or(|traffic| now.saturating_duration_since(traffic) > rules.interval);
        let interval = match is_idle {
            true => rules.idle_interval,
            false => rules.interval,
        };
        let jitter = rules.jitter * fastrand::f64();
        self.due.push(Due {
            at: Reverse(now + interval.mul_f64(1.0 - jitter)),
            check,
            endpoint: Arc::downgrade(&endpoint),
        });
        let stats = event::stats(cluster);
        match outcome {
            Ok(_) => stats.checks_passed.add(1),
            Err(_) => stats.checks_failed.add(1),
        }
        note(cluster, &endpoint, check, rules, outcome, now)
    }
}

/// Whether that makes the endpoint another.
fn note(
    cluster: &Cluster,
    endpoint: &Endpoint,
    check: usize,
    rules: &HealthCheck,
    outcome: Outcome,
    now: Instant,
) -> bool {
    let vitals = &endpoint.vitals;
    let mut care = vitals.care();
    let Some(checked) = care.checks.get_mut(check) else {
        return false;
    };
    checked.note(outcome, rules);
    let any = |is: &dyn Fn(&Checked) -> bool| care.checks.iter().any(is);
    let fails = any(&|checked| checked.passes == Some(false));
    let is_degraded = any(&|checked| checked.is_degraded);
    let failures = care.checks.iter();
    let failures = failures.filter(|checked| checked.passes == Some(false));
    let failure = failures
        .filter_map(|checked| checked.failure.clone())
        .next();
    drop(care);
    let before = vitals.signs();
    if before.checks_failed && !fails {
        vitals.begin(now);
        event::checks_pass(cluster, endpoint);
    } else if fails && !before.checks_failed {
        event::checks_fail(cluster, endpoint, failure.as_deref().unwrap_or_default());
    }
    if before.degraded != is_degraded {
        event::degraded(cluster, endpoint, is_degraded);
    }
    vitals.change(|signs| {
        signs.checks_failed = fails;
        signs.degraded = is_degraded;
    })
}

trait Note {
    fn note(&mut self, outcome: Outcome, rules: &HealthCheck);
}

impl Note for Checked {
    /// The first outcome decides alone, lest a sick endpoint be asked for long at the start.
    fn note(&mut self, outcome: Outcome, rules: &HealthCheck) {
        let passed = outcome.is_ok();
        self.row = match self.last_passed == passed {
            true => self.row.saturating_add(1),
            false => 1,
        };
        self.last_passed = passed;
        match outcome {
            Ok(said) => self.is_degraded = said.is_degraded,
            Err(failure) => self.failure = Some(failure),
        }
        let wanted = match passed {
            true => rules.healthy_after,
            false => rules.unhealthy_after,
        };
        if self.passes.is_none() || self.row >= wanted {
            self.passes = Some(passed);
        }
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}
