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
use crate::balance::bound::{self, Bound};
use crate::balance::stride::RoundRobin;
use crate::balance::{choices, peak_ewma};
use crate::cluster::clock::since_start;
use crate::cluster::{Cluster, Endpoint, EndpointSet, Plan};
use crate::config::Balance;

const ONE: NonZeroU8 = NonZeroU8::MIN;
const TWO: NonZeroU8 = NonZeroU8::new(2).expect("it is not zero");

/// What a pick goes by.
pub(super) struct Asked<'a> {
    pub policy: &'a Balance,
    pub now: Instant,
    /// Of the request, hashed.
    pub key: u64,
    /// Requests of this worker that are under way in the cluster.
    pub active: u64,
    /// For the request at hand.
    pub tried: &'a [Rc<WorkerEndpoint>],
}

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
    pub fn pick(&mut self, asked: &Asked<'_>) -> Option<Rc<WorkerEndpoint>> {
        let index = self.index(asked)?;
        Some(self.endpoint(index))
    }

    /// One that was not tried yet.
    pub fn pick_other(&mut self, asked: &Asked<'_>) -> Option<Rc<WorkerEndpoint>> {
        let picked = self.index(asked)?;
        let was_tried = |index: usize| is_one_of(&self.set.endpoints[index], asked.tried);
        let will_do = |index: &usize| !self.set.is_weightless(*index) && !was_tried(*index);
        let untried = match was_tried(picked) {
            false => picked,
            // Not the first of the list, which all that fail would go to.
            true => {
                let count = self.endpoints.len();
                let others = (1..count).map(|offset| (picked + offset) % count);
                { others }.find(will_do)?
            }
        };
        Some(self.endpoint(untried))
    }

    fn index(&mut self, asked: &Asked<'_>) -> Option<usize> {
        let (set, endpoints, now) = (&*self.set, &*self.endpoints, asked.now);
        let is_passed_over = |index: usize| {
            let endpoint = &set.endpoints[index];
            endpoint.is_refusing(now)
                || set.is_weightless(index)
                || is_one_of(endpoint, asked.tried)
        };
        let schedule = match &set.plan {
            Plan::Turns(schedule) => schedule,
            Plan::Ring(ring) => return self.by_key(ring.order(asked.key), asked, is_passed_over),
            Plan::Maglev(table) => {
                return self.by_key(table.order(asked.key), asked, is_passed_over);
            }
        };
        let known = |index: usize| endpoints[index].as_deref();
        let ready = |index: usize| !is_passed_over(index);
        match asked.policy {
            Balance::RoundRobin => self.round.pick(schedule, is_passed_over),
            // What hashes has no schedule.
            Balance::Random | Balance::Hash(_) => {
                let cost = |index| ready(index).then_some(0.0);
                choices::pick(schedule, ONE, &mut self.rng, cost)
            }
            Balance::LeastRequest => {
                let cost =
                    |index| known(index).map_or(0.0, |known| load(known, set.weight(index), now));
                let cost = |index| ready(index).then(|| cost(index));
                choices::pick(schedule, TWO, &mut self.rng, cost)
            }
            Balance::PeakEwma => {
                let rules = peak_ewma::Rules::default();
                let of = |index: usize, known: &WorkerEndpoint| {
                    known
                        .tally()
                        .cost(since_start(now), set.weight(index), &rules)
                };
                let cost = |index| known(index).map_or(0.0, |known| of(index, known));
                let cost = |index| ready(index).then(|| cost(index));
                choices::pick(schedule, TWO, &mut self.rng, cost)
            }
        }
    }

    /// The first in the key's order that is ready, and has room where that is bounded. Where
    /// those that are ready have no room, since others are not, the bound is given up.
    fn by_key(
        &self,
        order: impl Iterator<Item = usize> + Clone,
        asked: &Asked<'_>,
        is_passed_over: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let count = self.endpoints.len();
        let ready = |index: usize| !is_passed_over(index);
        let percent = asked
            .policy
            .hashing()
            .and_then(|hashing| hashing.bound_percent);
        if let Some(bound) = percent.map(Bound::of_percent) {
            let has_room = |index: usize| {
                let active = self.endpoints[index]
                    .as_ref()
                    .map_or(0, |known| known.active());
                let (weight, all) = self.set.share(index);
                ready(index) && bound.has_room(active, weight, asked.active, all)
            };
            let picked = bound::pick(order.clone(), count, has_room);
            if let Some(picked) = picked.filter(|picked| has_room(*picked)) {
                return Some(picked);
            }
        }
        bound::pick(order, count, ready)
    }

    fn endpoint(&mut self, index: usize) -> Rc<WorkerEndpoint> {
        let known = &mut self.endpoints[index];
        let new = || WorkerEndpoint::new(Arc::clone(&self.set.endpoints[index]));
        Rc::clone(known.get_or_insert_with(new))
    }
}

fn is_one_of(endpoint: &Arc<Endpoint>, tried: &[Rc<WorkerEndpoint>]) -> bool {
    tried.iter().any(|one| Arc::ptr_eq(&one.shared, endpoint))
}

/// Requests under way for the weight, and what the endpoint says of itself.
fn load(known: &WorkerEndpoint, weight: u32, now: Instant) -> f64 {
    let (load, one) = (
        choices::load(known.active(), weight),
        choices::load(1, weight),
    );
    known.tally().pressure().cost(since_start(now), load, one)
}

/// Lets a cache hold the cluster whose endpoints it watches.
struct Published(Arc<Cluster>);

impl Deref for Published {
    type Target = ArcSwap<EndpointSet>;

    fn deref(&self) -> &Self::Target {
        &self.0.endpoints
    }
}
