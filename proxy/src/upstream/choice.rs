//! Whom one worker picks, of the endpoints of a cluster.

use std::num::NonZeroU8;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use fastrand::Rng;
use tokio::time::Instant;

use super::pool::{Pool, WorkerEndpoint};
use crate::balance::stride::RoundRobin;
use crate::balance::{choices, peak_ewma};
use crate::cluster::clock::since_start;
use crate::cluster::{Cluster, EndpointSet};
use crate::config::Balance;

const ONE: NonZeroU8 = NonZeroU8::MIN;
const TWO: NonZeroU8 = NonZeroU8::new(2).expect("it is not zero");

/// The state of a cluster's policy on one worker.
pub(super) struct Choice {
    published: Cache<Published, Arc<EndpointSet>>,
    set: Arc<EndpointSet>,
    /// Index by index those of `set`, each from the first time that it is picked.
    endpoints: Vec<Option<Rc<WorkerEndpoint>>>,
    round: RoundRobin,
    rng: Rng,
}

impl Choice {
    /// Endpoints that `before` has are the same.
    pub fn new(cluster: Arc<Cluster>, before: Option<&Self>) -> Self {
        let mut rng = Rng::new();
        let mut published = Cache::new(Published(cluster));
        let set = Arc::clone(published.load());
        let endpoints = match before {
            Some(before) => {
                let known = |index: usize| before.endpoints[index].as_ref();
                let indices = set.indices_in(&before.set);
                let same = indices.map(|index| index.and_then(known).map(WorkerEndpoint::hold));
                same.collect()
            }
            None => vec![None; set.endpoints.len()],
        };
        Self {
            published,
            set,
            endpoints,
            round: RoundRobin::starting_anywhere(&mut rng),
            rng,
        }
    }

    /// Those that were picked at least once.
    pub fn known(&self) -> impl Iterator<Item = &Rc<WorkerEndpoint>> {
        self.endpoints.iter().flatten()
    }

    /// Takes over a set that the control thread has published since.
    pub fn follow(&mut self, pool: &Pool) {
        let set = self.published.load();
        if !Arc::ptr_eq(set, &self.set) {
            let set = Arc::clone(set);
            self.replace(set, pool);
        }
    }

    fn replace(&mut self, set: Arc<EndpointSet>, pool: &Pool) {
        if !Arc::ptr_eq(&set.endpoints, &self.set.endpoints) {
            let mut before = std::mem::take(&mut self.endpoints);
            let indices = set.indices_in(&self.set);
            let same = indices.map(|index| index.and_then(|index| before[index].take()));
            self.endpoints = same.collect();
            let gone = before.iter().flatten();
            gone.for_each(|endpoint| endpoint.retire(pool));
        }
        self.set = set;
    }

    /// `None` only without endpoints.
    pub fn pick(&mut self, policy: Balance, now: Instant) -> Option<Rc<WorkerEndpoint>> {
        let index = self.index(policy, now, &[])?;
        Some(self.endpoint(index))
    }

    /// One that was not tried yet.
    pub fn pick_other(
        &mut self,
        policy: Balance,
        now: Instant,
        tried: &[Rc<WorkerEndpoint>],
    ) -> Option<Rc<WorkerEndpoint>> {
        let picked = self.index(policy, now, tried)?;
        let untried = match self.is_one_of(picked, tried) {
            false => picked,
            true => (0..self.endpoints.len())
                .find(|index| !self.set.is_weightless(*index) && !self.is_one_of(*index, tried))?,
        };
        Some(self.endpoint(untried))
    }

    fn index(
        &mut self,
        policy: Balance,
        now: Instant,
        tried: &[Rc<WorkerEndpoint>],
    ) -> Option<usize> {
        let (set, endpoints) = (&*self.set, &*self.endpoints);
        let is_passed_over = |index: usize| {
            let endpoint = &set.endpoints[index];
            endpoint.is_refusing(now)
                || set.is_weightless(index)
                || tried.iter().any(|one| Arc::ptr_eq(&one.shared, endpoint))
        };
        let schedule = &set.schedule;
        match policy {
            Balance::RoundRobin => self.round.pick(schedule, is_passed_over),
            Balance::Random => choices::pick(schedule, ONE, &mut self.rng, |index| {
                (!is_passed_over(index)).then_some(0.0)
            }),
            Balance::LeastRequest => choices::pick(schedule, TWO, &mut self.rng, |index| {
                let weight = set.weight(index);
                let cost = |known: &WorkerEndpoint| {
                    let load = choices::load(known.active(), weight);
                    let tally = known.tally();
                    let one = choices::load(1, weight);
                    tally.pressure().cost(since_start(now), load, one)
                };
                (!is_passed_over(index)).then(|| endpoints[index].as_deref().map_or(0.0, cost))
            }),
            Balance::PeakEwma => choices::pick(schedule, TWO, &mut self.rng, |index| {
                let (weight, rules) = (set.weight(index), peak_ewma::Rules::default());
                let cost =
                    |known: &WorkerEndpoint| known.tally().cost(since_start(now), weight, &rules);
                (!is_passed_over(index)).then(|| endpoints[index].as_deref().map_or(0.0, cost))
            }),
        }
    }

    fn is_one_of(&self, index: usize, tried: &[Rc<WorkerEndpoint>]) -> bool {
        let endpoint = &self.set.endpoints[index];
        tried.iter().any(|one| Arc::ptr_eq(&one.shared, endpoint))
    }

    fn endpoint(&mut self, index: usize) -> Rc<WorkerEndpoint> {
        let known = &mut self.endpoints[index];
        let new = || WorkerEndpoint::new(Arc::clone(&self.set.endpoints[index]));
        Rc::clone(known.get_or_insert_with(new))
    }
}

/// Lets a cache hold the cluster whose endpoints it watches.
struct Published(Arc<Cluster>);

impl Deref for Published {
    type Target = ArcSwap<EndpointSet>;

    fn deref(&self) -> &Self::Target {
        &self.0.endpoints
    }
}
