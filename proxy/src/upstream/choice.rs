//! Whom one worker picks, of the endpoints of a cluster.

use std::cell::Cell;
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
use crate::balance::hash::after;
use crate::balance::shares::place_of;
use crate::balance::stride::RoundRobin;
use crate::balance::subsets::Label;
use crate::balance::{choices, peak_ewma, slow_start};
use crate::cluster::clock::since_start;
use crate::cluster::{Cluster, Endpoint, EndpointSet, Group, Kind, Order};
use crate::config::{Balance, EndpointLimits};

const ONE: NonZeroU8 = NonZeroU8::MIN;

/// Endpoints that are looked after in one tick of a worker: less than a millisecond's work.
/// With 10,000 it takes a second to look after all.
const AT_ONCE: usize = 1000;

/// With so many that are silent no other is looked for: all are, as good as certain, and each
/// request would look at all of them.
const MANY_SILENT: u32 = 64;

/// Steps of this part of a whole are spread over it, however many they are.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// What a pick goes by.
pub(super) struct Asked<'a> {
    pub policy: &'a Balance,
    pub now: Instant,
    /// Of the request, hashed.
    pub key: u64,
    /// Requests of this worker that are under way in the cluster.
    pub active: u64,
    /// Those that endpoints are to have; none for any.
    pub labels: &'a [Label],
    pub slow_start: &'a slow_start::Rules,
    /// Of each endpoint, where there are any.
    pub limits: Option<&'a EndpointLimits>,
    /// It was tried before, or is beside this.
    pub is_retry: bool,
    /// Another that was not tried may be a silent one that it is not yet time to ask.
    pub also_silent: bool,
    /// For the request at hand.
    pub tried: &'a [Rc<WorkerEndpoint>],
}

/// The state of a cluster's policy on one worker.
pub(super) struct Choice {
    published: Cache<Published, Arc<EndpointSet>>,
    set: Arc<EndpointSet>,
    /// Index by index those of `set`, each from the first time that it is picked.
    endpoints: Vec<Option<Rc<WorkerEndpoint>>>,
    /// One for each group.
    rounds: Vec<RoundRobin>,
    rng: Rng,
    /// Those before this were looked after.
    looked_at: usize,
    /// Another serves what begins now.
    is_left: bool,
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
            rounds: rounds(&set, &mut rng),
            set,
            endpoints,
            rng,
            looked_at: 0,
            is_left: false,
        }
    }

    /// Another set serves from now on: those that it has not keep no connection, though some
    /// exchange of an older generation may still ask them.
    pub fn leave_to(&mut self, next: &Self, pool: &Pool) {
        self.is_left = true;
        let mut stays = vec![false; self.endpoints.len()];
        for index in next.set.indices_in(&self.set).flatten() {
            stays[index] = true;
        }
        let pairs = std::iter::zip(&self.endpoints, stays);
        let gone = pairs.filter(|(_, stays)| !stays);
        let now = Instant::now();
        for endpoint in gone.filter_map(|(endpoint, _)| endpoint.as_ref()) {
            endpoint.leave(pool);
            endpoint.tell(pool, now);
        }
    }

    /// Those that were picked at least once.
    pub fn known(&self) -> impl Iterator<Item = &Rc<WorkerEndpoint>> {
        self.endpoints.iter().flatten()
    }

    /// Of these some, and others each time: so many endpoints that nobody waits for long.
    pub fn some_known(&mut self) -> impl Iterator<Item = &Rc<WorkerEndpoint>> {
        let first = self.looked_at.min(self.endpoints.len());
        let last = (first + AT_ONCE).min(self.endpoints.len());
        self.looked_at = match last == self.endpoints.len() {
            true => 0,
            false => last,
        };
        self.endpoints[first..last].iter().flatten()
    }

    pub fn count(&self) -> usize {
        self.endpoints.len()
    }

    /// The endpoint of an index, if it is well and gets a part of the requests.
    pub fn well(&mut self, index: usize, now: Instant) -> Option<Rc<WorkerEndpoint>> {
        let endpoint = &self.set.endpoints[index];
        let is_well = endpoint.is_well(now) && self.set.weight(index) > 0;
        is_well.then(|| self.endpoint(index))
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
            let now = Instant::now();
            gone.for_each(|endpoint| {
                endpoint.retire(pool);
                endpoint.tell(pool, now);
            });
        }
        if set.plan.groups().len() != self.rounds.len() {
            self.rounds = rounds(&set, &mut self.rng);
        }
        self.set = set;
    }

    /// `None` where nobody is to be asked.
    pub fn pick(&mut self, asked: &Asked<'_>) -> Option<Rc<WorkerEndpoint>> {
        let (group, place) = self.draw(asked)?;
        let index = self.set.plan.groups()[group].index(place);
        Some(self.endpoint(index))
    }

    /// One that was not tried yet, and is not left alone unless that may be; where its group
    /// has none, one of the next best.
    pub fn pick_other(&mut self, asked: &Asked<'_>) -> Option<Rc<WorkerEndpoint>> {
        let (group, picked) = self.draw(asked)?;
        let set = &*self.set;
        let groups = set.plan.groups();
        let silent = Cell::new(0);
        let untried = |group: &Group, place: usize| {
            let index = group.index(place);
            let endpoint = &set.endpoints[index];
            let will_do = !group.is_weightless(place)
                && !is_one_of(endpoint, asked.tried)
                && !has_all_requests(endpoint, asked);
            if will_do && !asked.also_silent && endpoint.is_left_alone(asked.now) {
                silent.set(silent.get() + 1);
                return None;
            }
            will_do.then_some(index)
        };
        // Of each group so many.
        let goes_on = |_: &usize| silent.get() < MANY_SILENT;
        // Not the first of the list, which all that fail would go to.
        let own = &groups[group];
        let others = (0..own.count()).map(|offset| (picked + offset) % own.count());
        let found = { others }
            .take_while(goes_on)
            .find_map(|place| untried(own, place))
            .or_else(|| {
                let mut others = set.plan.possible(asked.labels);
                others.find_map(|number| {
                    silent.set(0);
                    let group = &groups[number];
                    (0..group.count())
                        .take_while(goes_on)
                        .find_map(|place| untried(group, place))
                })
            })?;
        Some(self.endpoint(found))
    }

    /// One that is silent though somebody is there, or to which there is a way. Of many that
    /// are silent only some are looked at.
    pub fn pick_late(&mut self, asked: &Asked<'_>) -> Option<Rc<WorkerEndpoint>> {
        let (number, picked) = self.draw(asked)?;
        let set = &*self.set;
        let groups = set.plan.possible(asked.labels);
        // Not the first of the list, which would have the load of all.
        let members = std::iter::once(number).chain(groups).flat_map(|number| {
            let group = &set.plan.groups()[number];
            let places = (0..group.count()).map(move |offset| (picked + offset) % group.count());
            let places = places.filter(|place| !group.is_weightless(*place));
            places.map(|place| group.index(place))
        });
        let has_way = |index: usize| {
            let known = self.endpoints[index].as_ref();
            known.is_some_and(|known| known.has_way(asked.now))
        };
        let found = members.take(MANY_SILENT as usize).find(|index| {
            let endpoint = &set.endpoints[*index];
            !has_all_requests(endpoint, asked) && (!endpoint.is_gone() || has_way(*index))
        })?;
        Some(self.endpoint(found))
    }

    /// A group, and a place in it.
    fn draw(&mut self, asked: &Asked<'_>) -> Option<(usize, usize)> {
        let Self {
            set, rng, rounds, ..
        } = self;
        let number = set.plan.draw(asked.labels, || match asked.policy {
            // Equal keys are for the same group.
            Balance::Hash(_) => place_of(after(asked.key, 1)),
            _ => rng.f64(),
        })?;
        let set = &**set;
        let endpoints = &*self.endpoints;
        let drawing = |number: usize| Drawing {
            set,
            group: &set.plan.groups()[number],
            endpoints,
            asked,
        };
        let place = drawing(number).place(&mut rounds[number], rng)?;
        if set.plan.groups().len() == 1 || !drawing(number).is_passed_over(place) {
            return Some((number, place));
        }
        // None of the group can be had: one of the next best, if that is any better.
        let mut others = set.plan.possible(asked.labels);
        let other = others.find_map(|other| {
            let place = drawing(other).place(&mut rounds[other], rng)?;
            (!drawing(other).is_passed_over(place)).then_some((other, place))
        });
        Some(other.unwrap_or((number, place)))
    }

    fn endpoint(&mut self, index: usize) -> Rc<WorkerEndpoint> {
        let known = &mut self.endpoints[index];
        let new = || {
            let new = WorkerEndpoint::new(Arc::clone(&self.set.endpoints[index]));
            if self.is_left {
                // Nobody looks after what it would keep.
                new.set_left();
            }
            new
        };
        Rc::clone(known.get_or_insert_with(new))
    }
}

/// The picking of one endpoint in a group.
struct Drawing<'a> {
    set: &'a EndpointSet,
    group: &'a Group,
    endpoints: &'a [Option<Rc<WorkerEndpoint>>],
    asked: &'a Asked<'a>,
}

impl Drawing<'_> {
    fn place(&self, round: &mut RoundRobin, rng: &mut Rng) -> Option<usize> {
        let is_passed_over = |place| self.is_passed_over(place);
        let is_hashing = matches!(self.asked.policy, Balance::Hash(_));
        if is_hashing || !self.set.is_settling(self.asked.now) {
            return self.by_policy(round, rng, is_passed_over);
        }
        // Who came lately takes a turn with a chance that grows.
        let chance = Cell::new(rng.f64());
        let is_growing = |place| {
            chance.set((chance.get() + GOLDEN).fract());
            self.is_passed_over(place) || !self.takes(place, chance.get())
        };
        let picked = self.by_policy(round, rng, is_growing)?;
        // One that is young is better than one that is not there.
        match self.is_passed_over(picked) {
            true => self.by_policy(round, rng, is_passed_over),
            false => Some(picked),
        }
    }

    fn by_policy(
        &self,
        round: &mut RoundRobin,
        rng: &mut Rng,
        is_passed_over: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let Self { group, asked, .. } = self;
        let now = asked.now;
        let schedule = match &group.order {
            Order::Turns(schedule) => schedule,
            Order::Ring(ring) => return self.by_key(ring.order(asked.key)),
            Order::Maglev(table) => return self.by_key(table.order(asked.key)),
        };
        let known = |place: usize| self.endpoints[group.index(place)].as_deref();
        let ready = |place: usize| !is_passed_over(place);
        match asked.policy {
            Balance::RoundRobin => round.pick(schedule, is_passed_over),
            // What hashes has no schedule.
            Balance::Random | Balance::Hash(_) => {
                let cost = |place| ready(place).then_some(0.0);
                choices::pick(schedule, ONE, rng, cost)
            }
            Balance::LeastRequest(drawn) => {
                let of = |place, known| load(known, group.weight(place), now);
                let cost = |place| known(place).map_or(0.0, |known| of(place, known));
                let cost = |place| ready(place).then(|| cost(place));
                choices::pick(schedule, *drawn, rng, cost)
            }
            Balance::PeakEwma(drawn) => {
                let rules = peak_ewma::Rules::default();
                let of = |place: usize, known: &WorkerEndpoint| {
                    known
                        .tally()
                        .cost(since_start(now), group.weight(place), &rules)
                };
                let cost = |place| known(place).map_or(0.0, |known| of(place, known));
                let cost = |place| ready(place).then(|| cost(place));
                choices::pick(schedule, *drawn, rng, cost)
            }
        }
    }

    fn endpoint(&self, place: usize) -> &Arc<Endpoint> {
        &self.set.endpoints[self.group.index(place)]
    }

    fn is_passed_over(&self, place: usize) -> bool {
        let endpoint = self.endpoint(place);
        endpoint.is_passed_over(self.asked.now)
            || self.group.is_weightless(place)
            || is_one_of(endpoint, self.asked.tried)
            || self
                .asked
                .limits
                .is_some_and(|limits| self.is_full(place, limits))
    }

    /// Whether it has as many requests as it may, or may have no other connection, and has none
    /// that this worker could use.
    fn is_full(&self, place: usize, limits: &EndpointLimits) -> bool {
        let endpoint = self.endpoint(place);
        let known = || self.endpoints[self.group.index(place)].as_ref();
        let at_once = endpoint.vitals.at_once();
        let has = |most: Option<u32>, kind| most.is_some_and(|most| at_once.of(kind) >= most);
        let has_all =
            has(limits.connections, Kind::Connection) || has(limits.pending, Kind::Pending);
        has_all_requests(endpoint, self.asked)
            || has_all && known().is_none_or(|known| !known.has_way(self.asked.now))
    }

    /// Whether a turn that is its own is taken by one that may have come lately.
    fn takes(&self, place: usize, chance: f64) -> bool {
        let age = self.endpoint(place).vitals.age(self.asked.now);
        age.is_none_or(|age| self.asked.slow_start.takes(age, chance))
    }

    /// The first in the key's order that is ready, and has room where that is bounded. Where
    /// those that are ready have no room, since others are not, the bound is given up.
    fn by_key(&self, order: impl Iterator<Item = usize> + Clone) -> Option<usize> {
        let Self { group, asked, .. } = self;
        let count = group.count();
        let ready = |place: usize| !self.is_passed_over(place);
        let percent = asked
            .policy
            .hashing()
            .and_then(|hashing| hashing.bound_percent);
        if let Some(bound) = percent.map(Bound::of_percent) {
            let all_active = (asked.active as f64 * group.share).ceil() as u64;
            let has_room = |place: usize| {
                let known = self.endpoints[group.index(place)].as_ref();
                let active = known.map_or(0, |known| known.active());
                let (weight, all) = group.share_of(place);
                ready(place) && bound.has_room(active, weight, all_active, all)
            };
            let picked = bound::pick(order.clone(), count, has_room);
            if let Some(picked) = picked.filter(|picked| has_room(*picked)) {
                return Some(picked);
            }
        }
        bound::pick(order, count, ready)
    }
}

/// For each group a place in its turns; workers begin anywhere.
fn rounds(set: &EndpointSet, rng: &mut Rng) -> Vec<RoundRobin> {
    let groups = set.plan.groups().iter();
    groups.map(|_| RoundRobin::starting_anywhere(rng)).collect()
}

/// Whether an endpoint has as many requests as it may.
pub(super) fn has_all_requests(endpoint: &Endpoint, asked: &Asked<'_>) -> bool {
    asked.limits.is_some_and(|limits| {
        let at_once = endpoint.vitals.at_once();
        let retries = limits.retries.filter(|_| asked.is_retry);
        limits
            .requests
            .is_some_and(|most| at_once.requests() >= most)
            || retries.is_some_and(|most| at_once.of(Kind::Retry) >= most)
    })
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
