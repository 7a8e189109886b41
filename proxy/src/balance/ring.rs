//! Consistent hashing on a ring (Karger and others 1997; ketama, whose servers of mean weight
//! have 160 points each).
//!
//! An endpoint has as many points as its weight asks for, whoever else is there. In libketama
//! and with Envoy's `minimum_ring_size` the number goes by an endpoint's share of all weights
//! or by how many there are: when one of ten leaves, the others get more points, and keys
//! move between endpoints that stay. Here points for each unit of weight are a power of two
//! by the mean weight, so that endpoints that come and go seldom change it.

use super::hash::{after, hash};

/// Points of an endpoint of mean weight: at least so many, and less than twice. With more,
/// shares are more even (an eighth at 64, a sixteenth at 256, in standard deviations) and the
/// ring takes longer to build.
const POINTS: f64 = 512.0;

/// Beyond so many points in all, each endpoint has fewer.
const MAX_POINTS: f64 = 1_048_576.0;

/// An endpoint by the name that it is to be known by on all proxies.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub name: &'a str,
    pub weight: u32,
}

/// Never changed, only built anew. The order in which endpoints are given says nothing.
#[derive(Debug, Default)]
pub struct Ring {
    /// In order.
    points: Box<[u64]>,
    /// Whose they are.
    owners: Box<[u32]>,
    /// The first point at or behind the beginning of each of 2^k equal arcs.
    arcs: Box<[u32]>,
    /// What is left of a hash that is shifted so far is its arc.
    shift: u32,
}

impl Ring {
    pub fn new(places: &[Place<'_>]) -> Self {
        let points_for_one = points_for_one(places);
        let mut points: Vec<(u64, u64, u32)> = Vec::new();
        for (index, place) in (0..).zip(places).filter(|(_, place)| place.weight > 0) {
            let name = hash(place.name.as_bytes());
            let count = (f64::from(place.weight) * points_for_one).round().max(1.0);
            points.extend((0..count as u64).map(|point| (after(name, point), name, index)));
        }
        // By name where two fall together, so that the order of endpoints says nothing.
        points.sort_unstable();
        let bits = points.len().next_power_of_two().ilog2().max(1);
        let shift = 64 - bits;
        let mut arcs = Vec::with_capacity(1 << bits);
        for (number, (point, ..)) in (0..).zip(&points) {
            let arc = (point >> shift) as usize;
            arcs.resize(arcs.len().max(arc + 1), number);
        }
        // The last arcs may be empty: what falls there goes to the first point.
        let end = u32::try_from(points.len()).expect("fewer points than 2^32");
        arcs.resize(1 << bits, end);
        Self {
            arcs: arcs.into(),
            shift,
            owners: points.iter().map(|point| point.2).collect(),
            points: points.into_iter().map(|point| point.0).collect(),
        }
    }

    /// The endpoint of a hashed key, and those that follow it on the ring, again and again,
    /// each as often as it has points. Nothing only without endpoints.
    pub fn order(&self, key: u64) -> impl Iterator<Item = usize> + Clone {
        let start = self.first_behind(key);
        let around = self.owners[start..].iter().chain(&self.owners[..start]);
        around.cycle().map(|owner| *owner as usize)
    }

    fn first_behind(&self, key: u64) -> usize {
        let arc = usize::try_from(key >> self.shift).unwrap_or(0);
        let Some(first) = self.arcs.get(arc) else {
            return 0;
        };
        let rest = &self.points[*first as usize..];
        let passed = rest.iter().take_while(|point| **point < key).count();
        *first as usize + passed
    }
}

/// Points for each unit of weight.
fn points_for_one(places: &[Place<'_>]) -> f64 {
    let weights = places.iter().map(|place| f64::from(place.weight));
    let (count, sum) = weights
        .filter(|weight| *weight > 0.0)
        .fold((0.0, 0.0), |(count, sum), weight| {
            (count + 1.0, sum + weight)
        });
    if count == 0.0 {
        return 0.0;
    }
    let wanted = (POINTS * count / sum).log2().ceil();
    let most = (MAX_POINTS / sum).log2().floor();
    wanted.min(most).exp2()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::bound::{self, Bound};
    use super::*;

    pub fn names(count: usize) -> Vec<String> {
        (0..count)
            .map(|number| format!("10.1.{}.{}:8080", number / 200, number % 200))
            .collect()
    }

    pub fn places<'a>(names: &'a [String], weights: &[u32]) -> Vec<Place<'a>> {
        let weights = weights.iter().cycle();
        names
            .iter()
            .zip(weights)
            .map(|(name, weight)| Place {
                name,
                weight: *weight,
            })
            .collect()
    }

    pub const KEYS: u64 = 100_000;

    /// For each key the name that it goes to.
    pub fn owners<'a, I: Iterator<Item = usize>>(
        places: &[Place<'a>],
        order: impl Fn(u64) -> I,
    ) -> Vec<&'a str> {
        let owner = |key: u64| {
            let first = order(hash(&key.to_le_bytes())).next().unwrap();
            places[first].name
        };
        (0..KEYS).map(owner).collect()
    }

    pub fn moved(before: &[&str], after: &[&str]) -> f64 {
        let moved = before
            .iter()
            .zip(after)
            .filter(|(before, after)| before != after);
        moved.count() as f64 / KEYS as f64
    }

    pub fn share(owners: &[&str], name: &str) -> f64 {
        owners.iter().filter(|owner| **owner == name).count() as f64 / KEYS as f64
    }

    fn on_ring<'a>(places: &[Place<'a>]) -> Vec<&'a str> {
        let ring = Ring::new(places);
        owners(places, |key| ring.order(key))
    }

    #[test]
    fn nothing_is_found_on_an_empty_ring() {
        assert_eq!(Ring::new(&[]).order(7).next(), None);
        assert_eq!(Ring::default().order(u64::MAX).next(), None);
        let nothing = Place {
            name: "a",
            weight: 0,
        };
        assert_eq!(Ring::new(&[nothing]).order(7).next(), None);
        let one = Place {
            name: "a",
            weight: 1,
        };
        assert_eq!(Ring::new(&[nothing, one]).order(u64::MAX).next(), Some(1));
    }

    #[test]
    fn a_key_belongs_to_the_next_point() {
        let names = names(20);
        let ring = Ring::new(&places(&names, &[1]));
        assert!(ring.points.is_sorted());
        for number in 0..10_000_u64 {
            let key = hash(&number.to_le_bytes());
            let found = ring.points.partition_point(|point| *point < key) % ring.points.len();
            assert_eq!(ring.order(key).next(), Some(ring.owners[found] as usize));
        }
        let first = ring.owners[0] as usize;
        assert_eq!(ring.order(u64::MAX).next(), Some(first));
        assert_eq!(ring.order(0).next(), Some(first));
    }

    #[test]
    fn only_the_keys_of_who_leaves_move() {
        let names = names(10);
        let places = places(&names, &[1]);
        let before = on_ring(&places);
        for gone in 0..10 {
            let mut rest = places.clone();
            rest.remove(gone);
            let after = on_ring(&rest);
            let moved = moved(&before, &after);
            assert!(moved <= 0.12, "{moved}");
            assert_eq!(moved, share(&before, places[gone].name));
        }
    }

    #[test]
    fn the_order_in_which_endpoints_are_given_says_nothing() {
        let names = names(50);
        let mut places = places(&names, &[1, 5, 2]);
        let before = on_ring(&places);
        places.reverse();
        assert_eq!(on_ring(&places), before);
    }

    #[test]
    fn weights_are_honoured_more_or_less() {
        let names = names(4);
        let places = places(&names, &[300, 100, 0, 200]);
        let found = on_ring(&places);
        for place in &places {
            let wanted = f64::from(place.weight) / 600.0;
            let found = share(&found, place.name);
            assert!((found - wanted).abs() < 0.03, "{place:?}: {found}");
        }
    }

    #[test]
    fn a_ring_is_bounded_however_endpoints_weigh() {
        let names = names(3000);
        for weights in [&[1][..], &[u32::MAX], &[1, u32::MAX], &[1, 1, 1, 65_535]] {
            let ring = Ring::new(&places(&names, weights));
            assert!(ring.points.len() <= 1_048_576 + 3000, "{weights:?}");
            let mut owners = ring.owners.to_vec();
            owners.sort_unstable();
            owners.dedup();
            assert_eq!(owners.len(), 3000, "{weights:?}");
        }
    }

    /// Half of all requests have the same key.
    #[test]
    fn the_hottest_has_no_more_than_the_bound() {
        let names = names(10);
        let ring = Ring::new(&places(&names, &[1]));
        check_bound(|key| ring.order(key));
    }

    pub fn check_bound<I: Iterator<Item = usize>>(order: impl Fn(u64) -> I) {
        let bound = Bound::of_percent(125);
        let mut active = [0; 10];
        let mut hot = 0;
        for number in 0..1000_u64 {
            let key = hash(&(number * (number % 2)).to_le_bytes());
            let has_room = |index: usize| bound.has_room(active[index], 1, number, 10);
            let picked = bound::pick(order(key), 10, has_room).unwrap();
            hot += u32::from(Some(picked) == order(key).next());
            active[picked] += 1;
        }
        assert!(active.iter().all(|active| *active <= 125), "{active:?}");
        // Those of the hot key that fit, and most of the others.
        assert!(hot > 400, "{hot}");
    }
}
