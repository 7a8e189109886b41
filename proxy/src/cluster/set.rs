//! The endpoints of a cluster at one time, and the plan by which they are picked.

use std::collections::HashMap;
use std::sync::Arc;

use super::endpoint::{Endpoint, Found};
use crate::balance::maglev::{Maglev, Size};
use crate::balance::ring::{Place, Ring};
use crate::balance::stride::Schedule;
use crate::config::{Balance, HashTable};

/// Never changed, only replaced. What picking needs is worked out here, so that no worker
/// has to.
#[derive(Debug, Default)]
pub struct EndpointSet {
    /// The same list in the next set where nobody came or went.
    pub endpoints: Arc<[Arc<Endpoint>]>,
    /// Of each endpoint a number that it keeps for as long as it stays, and that no other
    /// has meanwhile.
    slots: Arc<[u32]>,
    weights: Box<[u32]>,
    all_weights: u64,
    pub plan: Plan,
}

/// By what endpoints are picked, as the cluster's policy wants it.
#[derive(Debug)]
pub enum Plan {
    Turns(Schedule),
    Ring(Ring),
    Maglev(Maglev),
}

impl Default for Plan {
    fn default() -> Self {
        Self::Turns(Schedule::default())
    }
}

impl Plan {
    fn new(balance: &Balance, endpoints: &[Arc<Endpoint>], weights: &[u32]) -> Self {
        let Some(hashing) = balance.hashing() else {
            return Self::Turns(Schedule::new(weights));
        };
        // Where all weigh nothing, all are equal.
        let nothing = weights.iter().all(|weight| *weight == 0);
        let mut labels: HashMap<_, usize> = HashMap::new();
        for endpoint in endpoints {
            *labels.entry(&endpoint.label).or_default() += 1;
        }
        let place = |(endpoint, weight): (&'_ Arc<Endpoint>, &u32)| {
            let name = match labels[&endpoint.label] {
                1 => endpoint.label.clone(),
                // Several hosts at one address, of which TLS tells which is meant.
                _ => format!("{}/{}", endpoint.label, endpoint.tls_name.to_str()).into(),
            };
            (name, *weight + u32::from(nothing))
        };
        let named: Vec<_> = std::iter::zip(endpoints, weights).map(place).collect();
        let places = named.iter().map(|(name, weight)| Place {
            name,
            weight: *weight,
        });
        let places: Vec<_> = places.collect();
        match hashing.table {
            HashTable::Ring => Self::Ring(Ring::new(&places)),
            HashTable::Maglev => Self::Maglev(Maglev::new(&places, size_for(places.len()))),
        }
    }
}

/// A hundred slots for each endpoint.
fn size_for(endpoints: usize) -> Size {
    match endpoints {
        0..=655 => Size::DEFAULT,
        656..=6_553 => Size::new(655_373).expect("a prime"),
        _ => Size::MAX,
    }
}

impl EndpointSet {
    /// Addresses that occur twice are one endpoint with both weights. Endpoints that
    /// `before` holds stay the same, whatever they weigh now.
    pub fn new(
        addresses: impl IntoIterator<Item = impl Into<Found>>,
        before: &EndpointSet,
        balance: &Balance,
    ) -> EndpointSet {
        let found = merge(addresses);
        let weights: Box<[u32]> = found.iter().map(|found| found.weight).collect();
        let (endpoints, slots) = members(found, before);
        EndpointSet {
            plan: Plan::new(balance, &endpoints, &weights),
            endpoints,
            slots,
            all_weights: weights.iter().copied().map(u64::from).sum(),
            weights,
        }
    }

    pub fn weight(&self, index: usize) -> u32 {
        self.weights[index]
    }

    /// What it weighs, of what all weigh together; where nothing weighs all are equal.
    pub fn share(&self, index: usize) -> (u32, u64) {
        match self.all_weights {
            0 => (1, self.endpoints.len() as u64),
            all => (self.weights[index], all),
        }
    }

    /// Whether it gets nothing, since it weighs nothing and others do.
    pub fn is_weightless(&self, index: usize) -> bool {
        self.weights[index] == 0 && self.all_weights > 0
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

type Members = (Arc<[Arc<Endpoint>]>, Arc<[u32]>);

/// The endpoints and their slots. Who is new takes the lowest slots that are free.
#[allow(clippy::mutable_key_type)] // As above.
fn members(found: Vec<Found>, before: &EndpointSet) -> Members {
    let key = |endpoint: &'_ Arc<Endpoint>| (endpoint.address.clone(), endpoint.tls_name.clone());
    let mut known: HashMap<_, _> = std::iter::zip(&*before.endpoints, &*before.slots)
        .map(|(endpoint, slot)| (key(endpoint), (endpoint, *slot)))
        .collect();
    let members: Vec<_> = found
        .into_iter()
        .map(
            |found| match known.remove(&(found.address.clone(), found.tls_name())) {
                Some((endpoint, slot)) => (Arc::clone(endpoint), Some(slot)),
                None => (Endpoint::new(found), None),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Address;
    use rustls_pki_types::ServerName;

    fn address(port: u16) -> Address {
        Address::Socket(([127, 0, 0, 1], port).into())
    }

    fn set(endpoints: &[(u16, u32)], before: &EndpointSet) -> EndpointSet {
        let endpoints = endpoints.iter();
        let endpoints = endpoints.map(|(port, weight)| (address(*port), *weight));
        EndpointSet::new(endpoints, before, &Balance::RoundRobin)
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
    fn an_address_given_twice_is_one_endpoint_with_both_weights() {
        let set = set(&[(1, 2), (2, 1), (1, 3)], &EndpointSet::default());
        assert_eq!(*set.weights, [5, 1]);
    }

    #[test]
    fn what_weighs_nothing_gets_nothing_unless_nothing_weighs() {
        let nothing = EndpointSet::default();
        let of = |weights: &[(u16, u32)]| {
            let set = set(weights, &nothing);
            (0..weights.len())
                .map(|index| set.is_weightless(index))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&[(1, 0), (2, 1)]), [true, false]);
        assert_eq!(of(&[(1, 0), (2, 0)]), [false, false]);
    }

    #[test]
    fn hosts_of_one_address_are_endpoints_of_their_own_where_tls_asks() {
        let found = |host: &'static str| Found {
            address: address(1),
            host: ServerName::try_from(host).ok(),
            weight: 1,
        };
        let both = || [found("a.test"), found("b.test")];
        let set = EndpointSet::new(both(), &EndpointSet::default(), &Balance::RoundRobin);
        let names: Vec<_> = set.endpoints.iter().map(|e| e.tls_name.to_str()).collect();
        assert_eq!(names, ["a.test", "b.test"]);
        let again = EndpointSet::new(both(), &set, &Balance::RoundRobin);
        assert!(Arc::ptr_eq(&again.endpoints, &set.endpoints));
    }
}
