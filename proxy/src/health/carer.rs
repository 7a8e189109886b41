//! The endpoints of one cluster, watched for as long as the cluster is served.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use super::checks::Checks;
use super::{Clusters, event};
use crate::balance::outlier::{self, Cause, Interval};
use crate::cluster::clock::since_start;
use crate::cluster::{Care, Cluster, Endpoint, EndpointSet, Vitals};

/// Changes within this time are looked at, and planned for, together.
const COLLECTING: Duration = Duration::from_millis(50);

/// How often it is looked whether an idle cluster has requests again, and so is to be checked
/// more often.
const TRAFFIC: Duration = Duration::from_secs(1);

pub struct Carer {
    clusters: Rc<RefCell<Clusters>>,
    checks: Checks,
    /// The cluster and its endpoints as they were looked at last.
    cluster: Arc<Cluster>,
    set: Arc<EndpointSet>,
    interval_ends: Instant,
    /// When all was looked at last, and when that is next.
    looked: Option<Instant>,
    looks: Option<Instant>,
    /// When the first of those that are ejected is to come back.
    returns: Option<Instant>,
    /// When it is looked whether there are requests, where that is to be known.
    traffic_looks: Instant,
    /// When plans were made last, and when they are made next.
    planned: Option<Instant>,
    plans: Option<Instant>,
}

impl Carer {
    pub fn new(clusters: Rc<RefCell<Clusters>>, turns: Rc<Semaphore>) -> Self {
        let cluster = clusters.borrow().newest.clone();
        let set = cluster.endpoints.load_full();
        let mut checks = Checks::new(turns);
        checks.follow(&cluster, &set);
        event::planned(&cluster, &set);
        Self {
            clusters,
            checks,
            interval_ends: Instant::now() + cluster.config.outliers.interval,
            traffic_looks: Instant::now() + TRAFFIC,
            looked: None,
            looks: None,
            returns: None,
            planned: None,
            plans: None,
            cluster,
            set,
        }
    }

    /// Never ends. Dropped, it forgets nothing that another could not go on with.
    pub async fn run(mut self, bell: Arc<Notify>) {
        loop {
            let looks = self.checks.are_any().then_some(self.traffic_looks);
            let wakes = [
                Some(self.interval_ends),
                looks,
                self.looks,
                self.returns,
                self.plans,
            ];
            let wakes = wakes.into_iter().flatten().min();
            tokio::select! {
                () = bell.notified() => self.look_soon(),
                () = sleep_until(wakes.unwrap_or(self.interval_ends)) => {}
                has_changed = self.checks.next(&self.cluster) => {
                    if has_changed {
                        self.plan_soon();
                    }
                }
            }
            self.act(Instant::now()).await;
        }
    }

    /// Something is new: a cluster, endpoints, an accusation, a word by hand. Whoever rings
    /// again and again does not have all endpoints gone through each time.
    fn look_soon(&mut self) {
        let now = Instant::now();
        let next = self.looked.map_or(now, |looked| looked + COLLECTING);
        self.looks.get_or_insert(next.max(now));
    }

    fn look(&mut self, now: Instant) {
        self.looked = Some(now);
        self.looks = None;
        let newest = self.clusters.borrow().newest.clone();
        let is_other = !Arc::ptr_eq(&newest, &self.cluster);
        self.cluster = newest;
        let set = self.cluster.endpoints.load_full();
        if is_other || !Arc::ptr_eq(&set.endpoints, &self.set.endpoints) {
            self.checks.follow(&self.cluster, &set);
            event::planned(&self.cluster, &set);
        }
        self.set = set;
        let mut has_changed = is_other;
        let mut ejected = None;
        for endpoint in self.set.clone().endpoints.iter() {
            has_changed |= self.listen(endpoint);
            if let Some(cause) = endpoint.vitals.take_accusation() {
                let ejected = ejected.get_or_insert_with(|| count_ejected(&self.set));
                has_changed |= self.eject(endpoint, cause, ejected);
            }
            has_changed |= std::mem::take(&mut endpoint.vitals.care().is_told);
        }
        // One that is new was planned before what is known now.
        if has_changed {
            self.plan_soon();
        }
    }

    /// Whether it is silent since, or not any more.
    fn listen(&self, endpoint: &Arc<Endpoint>) -> bool {
        let is_told_apart = !self.cluster.config.silent_pause.is_zero();
        let is_gone = is_told_apart && endpoint.is_gone();
        if endpoint.vitals.signs().silent == is_gone {
            return false;
        }
        endpoint.vitals.change(|signs| signs.silent = is_gone);
        match is_gone {
            true => event::silent(&self.cluster, endpoint),
            false => event::heard(&self.cluster, endpoint),
        }
        true
    }

    /// What is due by now.
    async fn act(&mut self, now: Instant) {
        if self.looks.is_some_and(|looks| looks <= now) {
            self.look(now);
        }
        if self.interval_ends <= now {
            self.interval_ends = now + self.cluster.config.outliers.interval;
            self.judge();
            self.bring_back(now, |_| true);
        } else if self.returns.is_some_and(|returns| returns <= now) {
            self.bring_back(now, |care| care.ejections.is_ejected());
        }
        if self.traffic_looks <= now {
            self.traffic_looks = now + TRAFFIC;
            self.checks.note_traffic(&self.cluster, now);
        }
        if self.plans.is_some_and(|plans| plans <= now) {
            self.plan().await;
        }
    }

    /// Looks for outliers by rate.
    fn judge(&mut self) {
        let set = self.set.clone();
        let outliers = &self.cluster.config.outliers;
        if !outliers.goes_by_rates() {
            return;
        }
        let mut judged = Vec::new();
        for endpoint in set.endpoints.iter() {
            let interval = interval(&endpoint.vitals);
            if !endpoint.vitals.signs().ejected {
                judged.push((endpoint, interval));
            }
        }
        let mut ejected = set.endpoints.len() - judged.len();
        let intervals: Vec<_> = judged.iter().map(|(_, interval)| *interval).collect();
        for (index, cause) in outlier::outliers(&intervals, &outliers.rules) {
            if self.eject(judged[index].0, cause, &mut ejected) {
                self.plan_soon();
            }
        }
    }

    /// Whether it is ejected for that, as one more of so many. Who is told by hand how it is,
    /// is not.
    fn eject(&mut self, endpoint: &Arc<Endpoint>, cause: Cause, ejected: &mut usize) -> bool {
        let vitals = &endpoint.vitals;
        let signs = vitals.signs();
        if signs.ejected || signs.told.is_some() {
            return false;
        }
        let all = self.set.endpoints.len();
        let rules = &self.cluster.config.outliers.rules;
        if !outlier::may_eject(*ejected, all, rules) {
            event::kept(&self.cluster, endpoint, cause);
            return false;
        }
        let now = Instant::now();
        let mut care = vitals.care();
        care.ejections
            .eject(since_start(now), rules, fastrand::f64());
        care.cause = Some(cause);
        care.ejected_times += 1;
        let until = care.ejections.until().unwrap_or_default();
        drop(care);
        let time = until.saturating_sub(since_start(now));
        let returns = now.checked_add(time);
        self.returns = self.returns.into_iter().chain(returns).min();
        vitals.change(|signs| signs.ejected = true);
        *ejected += 1;
        event::ejected(&self.cluster, endpoint, cause, time);
        true
    }

    /// Those whose time is over, of those that are meant.
    fn bring_back(&mut self, now: Instant, is_meant: impl Fn(&Care) -> bool) {
        let mut next: Option<Duration> = None;
        for endpoint in self.set.clone().endpoints.iter() {
            let vitals = &endpoint.vitals;
            let mut care = vitals.care();
            let is_back = is_meant(&care) && care.ejections.end_interval(since_start(now));
            next = next.into_iter().chain(care.ejections.until()).min();
            drop(care);
            if is_back {
                vitals.begin(now);
                vitals.change(|signs| signs.ejected = false);
                event::returned(&self.cluster, endpoint);
                self.plan_soon();
            }
        }
        let left = next.map(|next| next.saturating_sub(since_start(now)));
        self.returns = left.and_then(|left| now.checked_add(left));
    }

    /// At once, unless it was just done.
    fn plan_soon(&mut self) {
        let now = Instant::now();
        let next = self.planned.map_or(now, |planned| planned + COLLECTING);
        self.plans.get_or_insert(next.max(now));
    }

    async fn plan(&mut self) {
        self.plans = None;
        let clusters = self.clusters.borrow().all();
        let planning = spawn_blocking(move || clusters.iter().for_each(|one| one.plan_again()));
        planning.await.expect("plans can be made for any health");
        self.planned = Some(Instant::now());
        event::planned(&self.cluster, &self.cluster.endpoints.load());
    }
}

fn count_ejected(set: &EndpointSet) -> usize {
    let endpoints = set.endpoints.iter();
    endpoints.filter(|one| one.vitals.signs().ejected).count()
}

/// What workers have counted since this was asked last.
fn interval(vitals: &Vitals) -> Interval {
    let (mut requests, mut failures) = (0_u64, 0_u64);
    for seen in vitals.seen() {
        requests = requests.wrapping_add(seen.requests.get());
        failures = failures.wrapping_add(seen.failures.get());
    }
    let (before, failed_before) =
        std::mem::replace(&mut vitals.care().counted, (requests, failures));
    Interval {
        requests: requests.wrapping_sub(before),
        failures: failures.wrapping_sub(failed_before),
    }
}
