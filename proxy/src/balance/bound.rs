//! Hashing with bounded load (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with
//! Bounded Loads", 2016; HAProxy's `hash-balance-factor`, Envoy's `hash_balance_factor`): no
//! endpoint has more under way than its share times a factor, and a key whose endpoint is
//! full goes on to the next in an order that is the key's own.
//!
//! Each worker bounds what it sends itself. The sum of its bounds is the bound of all, to
//! less than one request a worker, and no worker asks another.

use std::num::NonZeroU32;

/// Endpoints looked at in a key's own order before any will do.
const MAX_STEPS: usize = 128;

/// How far above its share an endpoint may be.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// 125 is a quarter more, which the paper's figures and HAProxy's manual recommend.
    percent: NonZeroU32,
}

impl Bound {
    /// Below 100 not all requests would find room, so that it is the least.
    pub fn of_percent(percent: u32) -> Self {
        let percent = percent.max(100);
        let percent = NonZeroU32::new(percent).expect("100 at least");
        Self { percent }
    }

    /// Whether it may take one more, when so many requests are under way at all endpoints,
    /// which weigh so much: whether it has less than its share of them and of the one that is
    /// to be placed. Rounded up, so that there is always more room than there is to place.
    pub fn has_room(self, active: u32, weight: u32, all_active: u64, all_weights: u64) -> bool {
        let requests = u128::from(all_active) + 1;
        let share = requests * u128::from(weight) * u128::from(self.percent.get());
        u128::from(active) * u128::from(all_weights) * 100 < share
    }
}

/// The first in a key's order that has room; where that takes long, any that has; where none
/// has, because those are passed over, the key's first. `None` only without endpoints.
pub fn pick(
    order: impl Iterator<Item = usize>,
    count: usize,
    has_room: impl Fn(usize) -> bool,
) -> Option<usize> {
    let mut first = None;
    for index in order.take(MAX_STEPS) {
        if has_room(index) {
            return Some(index);
        }
        first.get_or_insert(index);
    }
    super::stride::any(count, first?, has_room).or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(percent: u32, weight: u32, active: u64, weights: u64) -> u32 {
        let bound = Bound::of_percent(percent);
        let full = |own: &u32| !bound.has_room(*own, weight, active, weights);
        (0..10_000).find(full).unwrap()
    }

    #[test]
    fn capacity_is_a_share_and_some_more() {
        assert_eq!(capacity(125, 1, 0, 10), 1);
        assert_eq!(capacity(125, 1, 79, 10), 10);
        assert_eq!(capacity(125, 1, 80, 10), 11);
        assert_eq!(capacity(125, 3, 79, 10), 30);
        assert_eq!(capacity(200, 1, 99, 10), 20);
        assert_eq!(capacity(100, 1, 99, 10), 10);
        assert_eq!(capacity(0, 1, 99, 10), 10);
        assert_eq!(capacity(125, 0, 99, 10), 0);
    }

    #[test]
    fn numbers_may_be_as_great_as_they_like() {
        let bound = Bound::of_percent(u32::MAX);
        assert!(bound.has_room(u32::MAX, u32::MAX, u64::MAX, u64::MAX));
        assert!(!bound.has_room(u32::MAX, 1, 0, u64::MAX));
    }

    #[test]
    fn there_is_room_for_all() {
        let weights = [1, 2, 3, 50, 1];
        for active in 0..1000 {
            let capacity = |weight| u64::from(capacity(100, weight, active, 57));
            assert!(weights.into_iter().map(capacity).sum::<u64>() > active);
        }
    }

    #[test]
    fn the_first_with_room_is_taken() {
        let picked = |order: &[usize], room: &[usize]| {
            pick(order.iter().copied(), 5, |index| room.contains(&index))
        };
        assert_eq!(picked(&[3, 1, 3, 0], &[1, 0]), Some(1));
        assert_eq!(picked(&[3, 1], &[2]), Some(2));
        assert_eq!(picked(&[3, 1], &[]), Some(3));
        assert_eq!(picked(&[], &[1]), None);
        let far = std::iter::repeat_n(3, 1000).chain([1]);
        assert_eq!(pick(far, 5, |index| index == 1 || index == 4), Some(4));
    }
}
