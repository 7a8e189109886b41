//! Maglev's table (Eisenbud and others, "Maglev: A Fast and Reliable Software Network Load
//! Balancer", NSDI 2016, 3.4): each endpoint has an order of all slots of its own, and in
//! turn takes the first that is free. A pick is one look.
//!
//! Turns go by [`Schedule`], which for equal weights is the paper's order, and for others
//! does not go around ten thousand endpoints for each turn of the heaviest.
//! Endpoints take turns in the order of their names, so that their order in a list says nothing.

use super::hash::{after, hash};
use super::ring::Place;
use super::stride::{RoundRobin, Schedule};

const FREE: u32 = u32::MAX;

/// A prime: only then does each endpoint's order have all slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(u32);

impl Size {
    /// The paper's and Envoy's: a hundred slots for each of 655 endpoints, so that their
    /// shares are within a percent of each other.
    pub const DEFAULT: Self = Self(65_537);

    /// A hundred slots for each of 20,000 endpoints. Envoy's greatest takes a second to fill.
    pub const MAX: Self = Self(2_000_003);

    /// `None` unless it is a prime and not greater than the greatest.
    pub fn new(size: u32) -> Option<Self> {
        if !(3..=Self::MAX.0).contains(&size) {
            return None;
        }
        let is_prime = (2..)
            .take_while(|n| n * n <= size)
            .all(|n| !size.is_multiple_of(n));
        is_prime.then_some(Self(size))
    }
}

/// Never changed, only built anew.
#[derive(Debug, Default)]
pub struct Maglev {
    slots: Box<[u32]>,
}

impl Maglev {
    pub fn new(places: &[Place<'_>], size: Size) -> Self {
        let mut endpoints: Vec<_> = (0..)
            .zip(places)
            .filter(|(_, place)| place.weight > 0)
            .map(|(index, place)| Endpoint::new(index, place, size))
            .collect();
        endpoints.sort_unstable_by_key(|endpoint| endpoint.name);
        let weights: Vec<_> = endpoints.iter().map(|endpoint| endpoint.weight).collect();
        let schedule = Schedule::new(&weights);
        let mut round = RoundRobin::default();
        let mut slots = vec![FREE; size.0 as usize];
        for _ in 0..slots.len() {
            let Some(turn) = round.pick(&schedule, |_| false) else {
                return Self::default();
            };
            endpoints[turn].take(&mut slots);
        }
        Self {
            slots: slots.into(),
        }
    }

    /// The endpoint of a hashed key, then others by chance that is the key's own: what one
    /// has no room for goes to all others and not to a neighbour. Nothing only without
    /// endpoints.
    pub fn order(&self, key: u64) -> impl Iterator<Item = usize> + Clone {
        let keys = std::iter::once(key).chain((1..).map(move |step| after(key, step)));
        keys.map_while(|key| {
            let slot = key.checked_rem(self.slots.len() as u64)?;
            Some(self.slots[slot as usize] as usize)
        })
    }
}

struct Endpoint {
    name: u64,
    index: u32,
    weight: u32,
    /// The slot that it would take next.
    next: u32,
    /// From each slot to the next, never zero.
    skip: u32,
}

impl Endpoint {
    fn new(index: u32, place: &Place<'_>, Size(size): Size) -> Self {
        let name = hash(place.name.as_bytes());
        let below = |hash: u64, limit| (hash % u64::from(limit)) as u32;
        Self {
            name,
            index,
            weight: place.weight,
            next: below(after(name, 1), size),
            skip: below(after(name, 2), size - 1) + 1,
        }
    }

    /// There must be a free slot.
    fn take(&mut self, slots: &mut [u32]) {
        let size = slots.len() as u32;
        loop {
            let slot = &mut slots[self.next as usize];
            self.next += self.skip;
            if self.next >= size {
                self.next -= size;
            }
            if *slot == FREE {
                *slot = self.index;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::tests::{check_bound, moved, names, owners, places, share};
    use super::*;

    fn in_table<'a>(places: &[Place<'a>]) -> Vec<&'a str> {
        let table = Maglev::new(places, Size::DEFAULT);
        owners(places, |key| table.order(key))
    }

    #[test]
    fn sizes_are_primes() {
        for size in [3, 7, 65_537, 655_373, 2_000_003] {
            assert_eq!(Size::new(size), Some(Size(size)));
        }
        for size in [
            0,
            1,
            2,
            4,
            9,
            65_536,
            65_541,
            5_000_012,
            5_000_023,
            u32::MAX,
        ] {
            assert_eq!(Size::new(size), None, "{size}");
        }
    }

    #[test]
    fn nothing_is_found_in_an_empty_table() {
        assert_eq!(Maglev::default().order(7).next(), None);
        let nothing = Place {
            name: "a",
            weight: 0,
        };
        assert_eq!(Maglev::new(&[nothing], Size::DEFAULT).order(7).next(), None);
    }

    #[test]
    fn all_have_as_many_slots() {
        let names = names(10);
        check_slots(&places(&names, &[1]), 0.000_1);
        check_slots(&places(&names, &[3, 1]), 0.000_1);
        check_slots(&places(&names, &[0, 65_535, 1, 7]), 0.000_1);
        check_slots(&places(&names, &[u32::MAX, u32::MAX - 1]), 0.000_1);
    }

    fn check_slots(places: &[Place<'_>], slack: f64) {
        let table = Maglev::new(places, Size::DEFAULT);
        let total: f64 = places.iter().map(|place| f64::from(place.weight)).sum();
        for (index, place) in (0..).zip(places) {
            let found = table.slots.iter().filter(|slot| **slot == index).count();
            let found = found as f64 / table.slots.len() as f64;
            let wanted = f64::from(place.weight) / total;
            assert!((found - wanted).abs() < slack, "{place:?}: {found}");
        }
    }

    #[test]
    fn few_keys_but_those_of_who_leaves_move() {
        let names = names(10);
        for weights in [&[1][..], &[3, 1, 2]] {
            let places = places(&names, weights);
            let before = in_table(&places);
            for gone in 0..10 {
                let mut rest = places.clone();
                rest.remove(gone);
                let moved = moved(&before, &in_table(&rest));
                let due = share(&before, places[gone].name);
                assert!(moved <= due + 0.005, "{weights:?}: {moved}, {due}");
            }
        }
    }

    #[test]
    fn the_order_in_which_endpoints_are_given_says_nothing() {
        let names = names(50);
        let mut places = places(&names, &[1, 5, 2]);
        let before = in_table(&places);
        places.reverse();
        assert_eq!(in_table(&places), before);
    }

    #[test]
    fn more_endpoints_than_slots_are_survived() {
        let names = names(20);
        let table = Maglev::new(&places(&names, &[1]), Size::new(7).unwrap());
        assert!(table.slots.iter().all(|slot| *slot < 20));
    }

    #[test]
    fn the_hottest_has_no_more_than_the_bound() {
        let names = names(10);
        let table = Maglev::new(&places(&names, &[1]), Size::DEFAULT);
        check_bound(|key| table.order(key));
    }
}
