//! When each endpoint is checked, and what comes of that.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::future::pending;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, Id, JoinSet};
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
    running: JoinSet<Outcome>,
    /// Those of them whose outcome counts.
    awaited: HashMap<Id, Awaited>,
    /// Requests of the cluster, and when that changed last.
    requests: u64,
    traffic: Option<Instant>,
}

/// A check that is to be made: the earliest is the greatest.
struct Due {
    at: Reverse<Instant>,
    what: Pair,
}

/// A check that is made.
struct Awaited {
    what: Pair,
    task: AbortHandle,
}

/// One check of one endpoint.
#[derive(Clone)]
struct Pair {
    endpoint: Weak<Endpoint>,
    check: usize,
}

impl Checks {
    pub fn new(turns: Rc<Semaphore>) -> Self {
        Self {
            turns,
            probe: None,
            due: BinaryHeap::new(),
            running: JoinSet::new(),
            awaited: HashMap::new(),
            requests: 0,
            traffic: Some(Instant::now()),
        }
    }

    /// The cluster or its endpoints are others. Where the cluster is asked otherwise, what is
    /// under way is begun again; else that of endpoints that stay goes on. Who was not checked
    /// before is first.
    pub fn follow(&mut self, cluster: &Arc<Cluster>, set: &EndpointSet) {
        let checks = &cluster.config.health_checks;
        let before = self.probe.as_ref();
        let has_same_checks = before.is_none_or(|probe| probe.checks() == checks);
        if !before.is_some_and(|probe| probe.asks_like(cluster)) {
            self.running = JoinSet::new();
            self.awaited.clear();
            self.due.clear();
        }
        if !before.is_some_and(|probe| probe.is_of(cluster)) {
            self.probe = (!checks.is_empty()).then(|| Rc::new(Probe::new(cluster)));
        }
        let planned = self.keep(set);
        let now = Instant::now();
        for endpoint in &*set.endpoints {
            let mut care = endpoint.vitals.care();
            if !has_same_checks || care.checks.len() != checks.len() {
                care.checks = vec![Checked::default(); checks.len()];
            }
            for (check, (known, rules)) in care.checks.iter().zip(checks).enumerate() {
                if planned.contains(&(Arc::as_ptr(endpoint), check)) {
                    continue;
                }
                let at = match known.passes {
                    None => now,
                    // Spread out, and not one interval later each time that others come.
                    Some(_) => now + rules.interval.mul_f64(fastrand::f64()),
                };
                let endpoint = Arc::downgrade(endpoint);
                self.due.push(Due {
                    at: Reverse(at),
                    what: Pair { endpoint, check },
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

    /// Gives up the checks of endpoints that left; gives those that are due or under way.
    fn keep(&mut self, set: &EndpointSet) -> HashSet<(*const Endpoint, usize)> {
        let stay: HashSet<_> = set.endpoints.iter().map(Arc::as_ptr).collect();
        self.due.retain(|due| stay.contains(&due.what.key().0));
        self.awaited.retain(|_, awaited| {
            let stays = stay.contains(&awaited.what.key().0);
            if !stays {
                awaited.task.abort();
            }
            stays
        });
        let due = self.due.iter().map(|due| due.what.key());
        let awaited = self.awaited.values().map(|awaited| awaited.what.key());
        due.chain(awaited).collect()
    }

    pub fn are_any(&self) -> bool {
        self.probe.is_some()
    }

    /// A cluster that has requests again is checked as often as one that has.
    pub fn note_traffic(&mut self, cluster: &Cluster, now: Instant) {
        let requests = cluster.stats.sum(|stats| &stats.requests);
        if requests == self.requests {
            return;
        }
        self.requests = requests;
        let before = self.traffic.replace(now);
        let Some(probe) = &self.probe else { return };
        let checks = probe.checks();
        // Else nothing is due later than that.
        if !checks.iter().any(|rules| is_idle(before, rules, now)) {
            return;
        }
        let due = std::mem::take(&mut self.due).into_iter().map(|due| {
            let latest = now + checks[due.what.check].interval;
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
                if let Some(due) = self.due.pop() {
                    self.begin(&probe, due.what);
                }
            }
            let wait = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => pending().await,
                }
            };
            let ended = tokio::select! {
                ended = self.running.join_next_with_id(), if !self.running.is_empty() => ended,
                () = wait => continue,
            };
            let (id, outcome) = match ended {
                Some(Ok((id, outcome))) => (id, Some(outcome)),
                Some(Err(error)) => (error.id(), None),
                None => continue,
            };
            let Some(Awaited { what, .. }) = self.awaited.remove(&id) else {
                continue;
            };
            let now = Instant::now();
            self.note_traffic(cluster, now);
            // One that ended without an outcome says nothing, and is not the last one.
            self.plan(&probe, what.clone(), now);
            if let (Some(outcome), Some(endpoint)) = (outcome, what.endpoint.upgrade()) {
                return conclude(cluster, &probe, &endpoint, what.check, outcome, now);
            }
        }
    }

    fn begin(&mut self, probe: &Rc<Probe>, what: Pair) {
        let Some(endpoint) = what.endpoint.upgrade() else {
            return;
        };
        let (probe, turns, check) = (probe.clone(), self.turns.clone(), what.check);
        let task = self.running.spawn_local(async move {
            let _turn = turns.acquire().await;
            probe.ask(&endpoint, check).await
        });
        self.awaited.insert(task.id(), Awaited { what, task });
    }

    /// It is made again an interval from now.
    fn plan(&mut self, probe: &Probe, what: Pair, now: Instant) {
        let rules = &probe.checks()[what.check];
        let interval = match is_idle(self.traffic, rules, now) {
            true => rules.idle_interval,
            false => rules.interval,
        };
        let jitter = rules.jitter * fastrand::f64();
        let at = Reverse(now + interval.mul_f64(1.0 - jitter));
        self.due.push(Due { at, what });
    }
}

impl Pair {
    /// Nobody else is there as long as this knows of the endpoint.
    fn key(&self) -> (*const Endpoint, usize) {
        (self.endpoint.as_ptr(), self.check)
    }
}

/// Whether there was no request for an interval.
fn is_idle(traffic: Option<Instant>, rules: &HealthCheck, now: Instant) -> bool {
    traffic.is_none_or(|traffic| now.saturating_duration_since(traffic) > rules.interval)
}

/// Whether that makes the endpoint another.
fn conclude(
    cluster: &Cluster,
    probe: &Probe,
    endpoint: &Endpoint,
    check: usize,
    outcome: Outcome,
    now: Instant,
) -> bool {
    let stats = event::stats(cluster);
    match outcome {
        Ok(_) => {
            stats.checks_passed.add(1);
            // Where there are no requests nobody else would find that out.
            if endpoint.answered() {
                cluster.bell.notify_one();
            }
        }
        Err(_) => stats.checks_failed.add(1),
    }
    let rules = &probe.checks()[check];
    note(cluster, endpoint, check, rules, outcome, now)
}

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
    let is_unknown = any(&|checked| checked.passes.is_none());
    let is_degraded = any(&|checked| checked.is_degraded);
    let failures = care.checks.iter();
    let failures = failures.filter(|checked| checked.passes == Some(false));
    let failure = failures
        .filter_map(|checked| checked.failure.clone())
        .next();
    drop(care);
    let before = vitals.signs();
    // Who was sick is well when all checks have said so, and not the first of them.
    let fails = fails || before.checks_failed && is_unknown;
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
