//! The endpoints of a cluster at one time, and the plan by which they are picked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio::time::Instant;

use super::at_once::AtOnce;
use super::clock;
use super::endpoint::{Address, Endpoint, Found};
use super::plan::{Members, Plan};
use super::vitals::Vitals;
use crate::config::{Balance, Placement, Spread};

/// Never changed, only replaced. What picking needs is worked out here, so that no worker
/// has to.
#[derive(Debug, Default)]
pub struct EndpointSet {
    /// The same list in the next set where nobody came or went.
    pub endpoints: Arc<[Arc<Endpoint>]>,
    /// Of each endpoint a number that it keeps for as long as it stays, and that no other
    /// has meanwhile.
    slots: Arc<[u32]>,
    weights: Arc<[u32]>,
    places: Arc<[Placement]>,
    /// Endpoints that left, at which something may be under way that counts.
    departed: Arc<[Departed]>,
    pub plan: Plan,
    /// As of the last time that an endpoint came or came back, of [`clock`], all are there
    /// for long from then on. Zero for always.
    settled: u64,
}

impl EndpointSet {
    /// Addresses that occur twice are one endpoint with both weights. Endpoints that
    /// `before` holds stay the same, whatever they weigh now.
    pub fn new(
        addresses: impl IntoIterator<Item = impl Into<Found>>,
        before: &EndpointSet,
        balance: &Balance,
        spread: &Spread,
    ) -> EndpointSet {
        let found = merge(addresses);
        let weights = found.iter().map(|found| found.weight).collect();
        let places = found.iter().map(|found| found.place.clone()).collect();
        let (endpoints, slots) = members(found, before);
        EndpointSet {
            departed: departed(&endpoints, before),
            endpoints,
            slots,
            weights,
            places,
            plan: Plan::default(),
            settled: 0,
        }
        .planned(balance, spread)
    }

    /// The same endpoints, as they are now.
    pub fn again(&self, balance: &Balance, spread: &Spread) -> EndpointSet {
        EndpointSet {
            endpoints: self.endpoints.clone(),
            slots: self.slots.clone(),
            weights: self.weights.clone(),
            places: self.places.clone(),
            departed: self.departed.clone(),
            plan: Plan::default(),
            settled: 0,
        }
        .planned(balance, spread)
    }

    /// Others at the same addresses, that are as these are.
    pub fn renewed(&self) -> EndpointSet {
        let renewed = self.endpoints.iter().map(|endpoint| endpoint.renewed());
        EndpointSet {
            endpoints: renewed.collect(),
            slots: self.slots.clone(),
            weights: self.weights.clone(),
            places: self.places.clone(),
            departed: self.departed.clone(),
            plan: Plan::default(),
            settled: 0,
        }
    }

    fn planned(mut self, balance: &Balance, spread: &Spread) -> Self {
        let members = Members {
            endpoints: &self.endpoints,
            places: &self.places,
            weights: &self.weights,
        };
        self.plan = Plan::new(&members, balance, spread);
        let window = spread.slow_start.window;
        if !window.is_zero() {
            let now = Instant::now();
            let ages = self.endpoints.iter();
            let ages = ages.filter_map(|endpoint| endpoint.vitals.age(now));
            let left = ages.map(|age| window.saturating_sub(age)).max();
            let left = left.filter(|left| !left.is_zero());
            self.settled = left.map_or(0, |left| clock::milliseconds(now + left));
        }
        self
    }

    pub fn weight(&self, index: usize) -> u32 {
        self.weights[index]
    }

    pub fn place(&self, index: usize) -> &Placement {
        &self.places[index]
    }

    /// Whether some endpoints are there for less than the time of slow start.
    pub fn is_settling(&self, now: Instant) -> bool {
        self.settled != 0 && clock::milliseconds(now) < self.settled
    }

    /// For each endpoint its index in `before`, if it was there.
    pub fn indices_in(&self, before: &EndpointSet) -> impl Iterator<Item = Option<usize>> {
        let count = before.slots.iter().max().map_or(0, |last| last + 1);
        let mut by_slot = vec![None; count as usize];
        for (index, slot) in before.slots.iter().enumerate() {
            by_slot[*slot as usize] = Some(index);
        }
        let ours = std::iter::zip(&*self.endpoints, &*self.slots);
        ours.map(move |(endpoint, slot)| {
            let index = by_slot.get(*slot as usize).copied().flatten()?;
            Arc::ptr_eq(&before.endpoints[index], endpoint).then_some(index)
        })
    }
}

#[allow(clippy::mutable_key_type)] // What is inside is known by its name and its channel.
fn merge(addresses: impl IntoIterator<Item = impl Into<Found>>) -> Vec<Found> {
    let mut merged: Vec<Found> = Vec::new();
    let mut places = HashMap::new();
    for found in addresses.into_iter().map(Into::into) {
        match places.get(&(found.address.clone(), found.host.clone())) {
            Some(&place) => {
                let known: &mut Found = &mut merged[place];
                known.weight = known.weight.saturating_add(found.weight);
            }
            None => {
                let key = (found.address.clone(), found.host.clone());
                places.insert(key, merged.len());
                merged.push(found);
            }
        }
    }
    merged
}

type Listed = (Arc<[Arc<Endpoint>]>, Arc<[u32]>);

/// The endpoints and their slots. Who is new takes the lowest slots that are free.
#[allow(clippy::mutable_key_type)] // As above.
fn members(found: Vec<Found>, before: &EndpointSet) -> Listed {
    let key = |endpoint: &'_ Arc<Endpoint>| (endpoint.address.clone(), endpoint.tls_name.clone());
    let mut known: HashMap<_, _> = std::iter::zip(&*before.endpoints, &*before.slots)
        .map(|(endpoint, slot)| (key(endpoint), (endpoint, *slot)))
        .collect();
    let departed: HashMap<_, _> = { before.departed.iter() }
        .map(|departed| ((&departed.address, &departed.tls_name), &departed.at_once))
        .collect();
    let (now, is_first) = (Instant::now(), before.endpoints.is_empty());
    let new = |found: Found| {
        let vitals = match departed.get(&(&found.address, &found.tls_name())) {
            Some(at_once) => Vitals::with(Arc::clone(at_once)),
            None => Vitals::default(),
        };
        let endpoint = Endpoint::with(found, vitals);
        // Who all come at once are equal.
        if !is_first {
            endpoint.vitals.begin(now);
        }
        endpoint
    };
    let members: Vec<_> = found
        .into_iter()
        .map(
            |found| match known.remove(&(found.address.clone(), found.tls_name())) {
                Some((endpoint, slot)) => (Arc::clone(endpoint), Some(slot)),
                None => (new(found), None),
            },
        )
        .collect();
    let is_same = members.len() == before.endpoints.len()
        && std::iter::zip(&members, &*before.endpoints).all(|(a, b)| Arc::ptr_eq(&a.0, b));
    if is_same {
        return (before.endpoints.clone(), before.slots.clone());
    }
    let mut is_free = vec![true; members.len()];
    for slot in members.iter().filter_map(|(_, slot)| *slot) {
        if let Some(is_free) = is_free.get_mut(slot as usize) {
            *is_free = false;
        }
    }
    let mut free = (0..).zip(is_free).filter(|(_, is_free)| *is_free);
    let mut next = || free.next().expect("as many slots as members").0;
    let slots = members
        .iter()
        .map(|(_, slot)| slot.unwrap_or_else(&mut next));
    let slots = slots.collect();
    (
        members.into_iter().map(|(endpoint, _)| endpoint).collect(),
        slots,
    )
}

/// An endpoint that is not there now.
#[derive(Debug, Clone)]
struct Departed {
    address: Address,
    tls_name: ServerName<'static>,
    at_once: Arc<AtOnce>,
}

/// Those of `before`, and those that left since, unless they are back or nobody knows them any
/// more. While a worker knows one something may begin there yet.
#[allow(clippy::mutable_key_type)] // As above.
fn departed(endpoints: &[Arc<Endpoint>], before: &EndpointSet) -> Arc<[Departed]> {
    let mut limited = before.endpoints.iter();
    if before.departed.is_empty() && limited.all(|one| one.vitals.known_at_once().is_none()) {
        return Arc::default();
    }
    let there: HashSet<_> = endpoints
        .iter()
        .map(|endpoint| (&endpoint.address, &endpoint.tls_name))
        .collect();
    let is_away = |departed: &Departed| !there.contains(&(&departed.address, &departed.tls_name));
    let left = before.endpoints.iter().filter_map(|endpoint| {
        let at_once = endpoint.vitals.known_at_once()?;
        Some(Departed {
            address: endpoint.address.clone(),
            tls_name: endpoint.tls_name.clone(),
            at_once: Arc::clone(at_once),
        })
    });
    let known = before.departed.iter();
    let known = known.filter(|departed| Arc::strong_count(&departed.at_once) > 1);
    left.chain(known.cloned()).filter(is_away).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Address;
    use rustls_pki_types::ServerName;

    fn address(port: u16) -> Address {
        Address::Socket(([127, 0, 0, 1], port).into())
    }

    fn made(
        found: impl IntoIterator<Item = impl Into<Found>>,
        before: &EndpointSet,
    ) -> EndpointSet {
        EndpointSet::new(found, before, &Balance::RoundRobin, &Spread::default())
    }

    fn set(endpoints: &[(u16, u32)], before: &EndpointSet) -> EndpointSet {
        let endpoints = endpoints.iter();
        let endpoints = endpoints.map(|(port, weight)| (address(*port), *weight));
        made(endpoints, before)
    }

    #[test]
    fn endpoints_that_stay_are_the_same() {
        let before = set(&[(1, 1), (2, 1)], &EndpointSet::default());
        let after = set(&[(2, 1), (3, 1), (1, 5)], &before);
        assert!(Arc::ptr_eq(&after.endpoints[0], &before.endpoints[1]));
        assert!(Arc::ptr_eq(&after.endpoints[2], &before.endpoints[0]));
        let heavier = set(&[(1, 1), (2, 7)], &before);
        assert!(Arc::ptr_eq(&heavier.endpoints, &before.endpoints));
    }

    #[test]
    fn a_set_tells_who_was_there_before() {
        let check = |before: &EndpointSet, ports: &[u16], wanted: &[Option<usize>]| {
            let ports: Vec<_> = ports.iter().map(|port| (*port, 1)).collect();
            let after = set(&ports, before);
            assert_eq!(after.indices_in(before).collect::<Vec<_>>(), wanted);
            let mut slots = after.slots.to_vec();
            slots.sort_unstable();
            slots.dedup();
            assert_eq!(slots.len(), ports.len(), "each has a slot of its own");
            after
        };
        let first = check(&EndpointSet::default(), &[1, 2, 3], &[None; 3]);
        let second = check(&first, &[4, 3, 5, 1], &[None, Some(2), None, Some(0)]);
        let third = check(&second, &[2], &[None]);
        let fourth = check(&third, &[6, 7, 2, 8], &[None, None, Some(0), None]);
        check(&fourth, &[], &[]);
        // A worker may miss sets between two.
        let found: Vec<_> = fourth.indices_in(&first).collect();
        assert_eq!(found, [None; 4], "the second is another endpoint now");
        let found: Vec<_> = second.indices_in(&first).collect();
        assert_eq!(found, [None, Some(2), None, Some(0)]);
    }

    #[test]
    fn what_is_known_of_endpoints_outlives_them() {
        let before = set(&[(1, 1), (2, 1)], &EndpointSet::default());
        before.endpoints[1]
            .vitals
            .change(|signs| signs.ejected = true);
        let after = set(&[(2, 1), (3, 1)], &before.renewed());
        assert!(!Arc::ptr_eq(&after.endpoints[0], &before.endpoints[1]));
        assert!(after.endpoints[0].vitals.signs().ejected);
        assert!(!after.endpoints[1].vitals.signs().ejected);
        assert!(after.indices_in(&before).all(|index| index.is_none()));
    }

    #[test]
    fn an_address_given_twice_is_one_endpoint_with_both_weights() {
        let set = set(&[(1, 2), (2, 1), (1, 3)], &EndpointSet::default());
        assert_eq!(*set.weights, [5, 1]);
    }

    #[test]
    fn hosts_of_one_address_are_endpoints_of_their_own_where_tls_asks() {
        let found = |host: &'static str| Found {
            address: address(1),
            host: ServerName::try_from(host).ok(),
            weight: 1,
            place: Placement::default(),
        };
        let both = || [found("a.test"), found("b.test")];
        let set = made(both(), &EndpointSet::default());
        let names: Vec<_> = set.endpoints.iter().map(|e| e.tls_name.to_str()).collect();
        assert_eq!(names, ["a.test", "b.test"]);
        let again = made(both(), &set);
        assert!(Arc::ptr_eq(&again.endpoints, &set.endpoints));
    }
}
