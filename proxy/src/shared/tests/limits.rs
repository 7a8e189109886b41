use std::sync::Arc;

use super::*;

const SHARDED: Limits = Limits {
    max_bytes: 1 << 20,
    max_entry_bytes: 200,
};

/// Entries of the size of `fill` that fit into the store of `LIMITS`.
const FITTING: usize = 16;

fn fill(store: &Store, key: &str, now: Instant) {
    let value = vec![0; MAX_ENTRY_BYTES - key.len()];
    store.set(key, &value, None, now).unwrap();
}

fn full() -> (Store, Instant) {
    let (store, now) = store();
    for key in 0..FITTING {
        fill(&store, &key.to_string(), now);
    }
    assert_eq!(store.stats().bytes, LIMITS.max_bytes as u64);
    assert_eq!(store.stats().evictions, 0);
    (store, now)
}

#[test]
fn an_entry_has_a_largest_size() {
    check_size(MAX_ENTRY_BYTES, Ok(()));
    check_size(MAX_ENTRY_BYTES + 1, Err(SharedError::TooLarge));
}

fn check_size(size: usize, wanted: Result<(), SharedError>) {
    let (store, now) = store();
    let key = "k".repeat(10);
    let value = vec![0; size - key.len()];
    let set = store.set(&key, &value, None, now);
    assert_eq!(set, wanted, "set of {size}");
    store.remove(&key, now);
    let replaced = store.replace(&key, 0, &value, None, now);
    assert_eq!(replaced.map(drop), wanted, "replace of {size}");
    let added = store.add(&"k".repeat(size - 8), 1, None, now);
    assert_eq!(added.map(drop), wanted, "add of {size}");
    let nothing = store.set(&"k".repeat(size), b"", None, now);
    assert_eq!(nothing, wanted, "a key of {size}");
}

#[test]
fn an_entry_of_the_largest_size_fits_into_its_share() {
    let sizes = [0, 1, 100, 5_000, 1 << 16, 1 << 24, usize::MAX];
    for max_bytes in sizes {
        for max_entry_bytes in sizes {
            check_share(Limits {
                max_bytes,
                max_entry_bytes,
            });
        }
    }
    assert_eq!(shards(16 << 20, 64 << 10), 8);
    assert_eq!(shards(64 << 20, 16 << 10), 64);
    assert_eq!(shards(1 << 40, 1), 64);
    assert_eq!(shards(1 << 20, 64 << 10), 1);
    let limits = Limits {
        max_bytes: 64 << 20,
        max_entry_bytes: 16 << 10,
    };
    let after = [1, 2, 4, 8, 16, 32, 64].map(|current| limits.shards_after(current));
    assert_eq!(after, [64, 64, 64, 64, 16, 32, 64]);
}

fn shards(max_bytes: usize, max_entry_bytes: usize) -> usize {
    Limits {
        max_bytes,
        max_entry_bytes,
    }
    .shards()
}

fn check_share(limits: Limits) {
    let chosen = limits.shards();
    for shards in [1, 4, 16, 64].map(|current| limits.shards_after(current)) {
        assert!(shards.is_power_of_two() && shards <= 64, "{limits:?}");
        assert!(shards <= 4 * chosen && chosen <= 4 * shards, "{limits:?}");
        let (share, largest) = (limits.share(shards), limits.largest_entry(shards));
        assert!(share * shards <= limits.max_bytes, "{limits:?}");
        assert!(
            largest == 0 || largest + OVERHEAD_BYTES <= share,
            "{limits:?}"
        );
        assert!(
            shards == 1 || largest == limits.max_entry_bytes,
            "{limits:?}"
        );
    }
    assert_eq!(limits.shards_after(chosen), chosen);
}

#[test]
fn a_store_without_room_keeps_nothing() {
    let now = Instant::now();
    for max_bytes in [0, OVERHEAD_BYTES - 1, OVERHEAD_BYTES] {
        let store = Store::new(Limits {
            max_bytes,
            max_entry_bytes: 100,
        });
        let too_large = Err(SharedError::TooLarge);
        assert_eq!(store.set("a", b"x", None, now), too_large);
        assert_eq!(store.add("a", 1, None, now).map(drop), too_large);
        // Of no size, and yet not for free.
        store.set("", b"", None, now).unwrap();
        assert!(store.stats().bytes <= max_bytes as u64);
    }
}

#[test]
fn the_least_recently_used_makes_room() {
    check_use("nothing", |_, _| (), "0");
    check_use("get", |store, now| drop(store.get("0", now)), "1");
    check_use("set", |store, now| fill(store, "0", now), "1");
    check_use(
        "a conflict",
        |store, now| assert!(store.replace("0", 0, b"", None, now).is_err()),
        "0",
    );
    check_use(
        "looking for another",
        |store, now| drop(store.get("x", now)),
        "0",
    );
}

fn check_use(what: &str, used: impl Fn(&Store, Instant), evicted: &str) {
    let (store, now) = full();
    used(&store, now);
    fill(&store, "new", now);
    assert_eq!(store.stats().evictions, 1, "{what}");
    assert_eq!(store.get(evicted, now), None, "{what}");
    assert!(store.get("new", now).is_some(), "{what}");
}

#[test]
fn a_counter_in_use_stays() {
    let (store, now) = store();
    assert_eq!(store.add("n", 1, None, now), Ok(1));
    for key in 0..100 {
        fill(&store, &key.to_string(), now);
        assert_eq!(store.add("n", 1, None, now), Ok(key + 2));
    }
}

#[test]
fn a_large_entry_takes_the_room_of_many_small_ones() {
    let (store, now) = store();
    let mut small = 0;
    while store.stats().evictions == 0 {
        store.set(&format!("{small:04}"), b"", None, now).unwrap();
        small += 1;
    }
    let before = store.stats();
    assert!(before.entries > FITTING as u64);
    fill(&store, "large", now);
    let room = (MAX_ENTRY_BYTES + OVERHEAD_BYTES).div_ceil(4 + OVERHEAD_BYTES);
    assert!(store.stats().evictions - before.evictions <= room as u64);
    assert!(store.get("large", now).is_some());
}

#[test]
fn what_is_over_goes_before_what_is_old() {
    let (store, now) = store();
    fill(&store, "old", now);
    for key in 1..FITTING {
        let value = [0; MAX_ENTRY_BYTES - 2];
        let ttl = Some(SECOND);
        store.set(&format!("{key:02}"), &value, ttl, now).unwrap();
    }
    let later = now + SECOND;
    for key in 1..FITTING {
        fill(&store, &format!("new {key}"), later);
    }
    assert!(store.get("old", later).is_some());
    let stats = store.stats();
    assert_eq!((stats.expirations, stats.evictions), (15, 0));
}

#[test]
fn keys_never_asked_for_again_do_not_pile_up() {
    let now = Instant::now();
    let store = Store::new(Limits {
        max_bytes: 64 << 20,
        ..LIMITS
    });
    let alive = 2_000;
    for step in 0..20 * alive {
        let now = now + SECOND * step;
        let key = step.to_string();
        store.add(&key, 1, Some(SECOND * alive), now).unwrap();
        let most = u64::from(alive) * 3 / 2;
        assert!(step % 1_000 > 0 || store.stats().entries <= most);
    }
    assert_eq!(store.stats().evictions, 0);
}

#[test]
fn bytes_are_those_of_what_is_there() {
    let (store, now) = store();
    let check = |bytes: usize, entries: usize| {
        let stats = store.stats();
        assert_eq!(stats.bytes, (bytes + entries * OVERHEAD_BYTES) as u64);
        assert_eq!(stats.entries, entries as u64);
    };
    check(0, 0);
    store.set("ab", b"123", None, now).unwrap();
    check(5, 1);
    store.add("n", 1, None, now).unwrap();
    store.add("n", 1, Some(SECOND), now).unwrap();
    check(5 + 9, 2);
    store.set("ab", b"1", None, now).unwrap();
    check(3 + 9, 2);
    store.set("n", b"", Some(SECOND), now).unwrap();
    check(3 + 1, 2);
    store.remove("ab", now);
    store.remove("ab", now);
    check(1, 1);
    store.remove("n", now + SECOND);
    check(0, 0);
    let stats = store.stats();
    assert_eq!((stats.expirations, stats.evictions), (1, 0));
}

#[test]
fn a_smaller_limit_evicts_the_oldest_at_once() {
    let (store, now) = full();
    let smaller = Limits {
        max_bytes: LIMITS.max_bytes / 4,
        ..LIMITS
    };
    store.limit(smaller, now);
    let stats = store.stats();
    assert_eq!((stats.entries, stats.evictions), (4, 12));
    for key in 0..FITTING {
        let there = store.get(&key.to_string(), now).is_some();
        assert_eq!(there, key >= 12, "{key}");
    }
}

#[test]
fn what_is_over_is_no_eviction_by_a_smaller_limit() {
    let (store, now) = store();
    for key in 0..8 {
        fill(&store, &format!("old {key}"), now);
        let ttl = Some(SECOND);
        let value = [0; MAX_ENTRY_BYTES - 5];
        store.set(&format!("new {key}"), &value, ttl, now).unwrap();
    }
    let half = Limits {
        max_bytes: LIMITS.max_bytes / 2,
        ..LIMITS
    };
    store.limit(half, now + SECOND);
    let stats = store.stats();
    assert_eq!((stats.expirations, stats.evictions), (8, 0));
    assert_eq!(stats.entries, 8);
}

#[test]
fn entries_move_to_another_number_of_shards() {
    let now = Instant::now();
    let store = Store::new(SHARDED);
    assert_eq!(SHARDED.shards(), 64);
    let keys: Vec<_> = (0..1_000).map(|key| key.to_string()).collect();
    for key in &keys {
        store.set(key, key.as_bytes(), None, now).unwrap();
    }
    let versions: Vec<_> = keys.iter().map(|key| version(&store, key, now)).collect();
    let one = Limits {
        max_bytes: 1 << 20,
        max_entry_bytes: 1 << 20,
    };
    let before = store.stats();
    for limits in [one, SHARDED, one] {
        store.limit(limits, now);
        assert_eq!(store.stats(), before);
        for (key, version) in keys.iter().zip(&versions) {
            let entry = store.get(key, now).unwrap();
            assert_eq!(entry.value, bytes(key.as_bytes()));
            assert_eq!(entry.version, *version);
        }
    }
    // Beyond the versions of every shard that the key was in.
    for key in &keys {
        store.set(key, b"", None, now).unwrap();
        assert!(version(&store, key, now) > *versions.iter().max().unwrap());
    }
}

#[test]
fn moved_entries_keep_about_their_order() {
    let now = Instant::now();
    let four = Limits {
        max_bytes: 400_000,
        max_entry_bytes: 5_000 - OVERHEAD_BYTES,
    };
    assert_eq!(four.shards(), 4);
    let store = Store::new(four);
    for key in 0..2_000 {
        store.set(&key.to_string(), b"", None, now).unwrap();
    }
    store.limit(
        Limits {
            max_bytes: 200_000,
            max_entry_bytes: 200_000,
        },
        now,
    );
    let there = |key: i32| store.get(&key.to_string(), now).is_some();
    assert!(!(0..200).any(there));
    assert!((1_800..2_000).all(there));
}

#[test]
fn a_name_keeps_its_stores_while_it_is_configured_and_they_are_had() {
    let now = Instant::now();
    let spaces = Spaces::default();
    let (quota, cache): (Arc<str>, Arc<str>) = ("quota".into(), "cache".into());
    assert!(spaces.find("quota", 0).is_none());
    let first = Arc::new(Store::new(LIMITS));
    spaces.serve(&quota, 0, &first, LIMITS, now);
    first.set("a", b"x", None, now).unwrap();
    spaces.serve(&cache, 0, &Arc::new(Store::new(LIMITS)), LIMITS, now);

    let smaller = Limits {
        max_entry_bytes: 10,
        ..LIMITS
    };
    spaces.serve(&quota, 0, &first, smaller, now);
    let again = spaces.find("quota", 0).unwrap();
    assert_eq!(value(&again, "a", now), Some(bytes(b"x")));
    let refused = first.set("a", &[0; 10], None, now);
    assert_eq!(refused, Err(SharedError::TooLarge));
    drop(again);

    // One of another form does not end it while somebody has it.
    spaces.serve(&quota, 1, &Arc::new(Store::new(LIMITS)), LIMITS, now);
    spaces.retain(|_| true);
    assert!(spaces.find("quota", 0).is_some());
    assert!(spaces.find("quota", 1).is_some());
    drop(first);
    spaces.retain(|_| true);
    assert!(spaces.find("quota", 0).is_none());
    assert!(spaces.find("quota", 1).is_some());

    spaces.retain(|name| name == "cache");
    let names: Vec<_> = spaces.stats().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [cache]);
    assert!(spaces.find("quota", 1).is_none());
}

#[test]
fn what_a_store_holds_can_be_brought_to_another() {
    let now = Instant::now();
    let (from, to) = (Store::new(LIMITS), Store::new(LIMITS));
    from.set("a", b"x", Some(Duration::from_secs(9)), now)
        .unwrap();
    from.add("n", 7, None, now).unwrap();
    from.set("over", b"y", Some(Duration::ZERO), now).unwrap();
    let later = now + Duration::from_secs(4);
    let copies = from.copies(later);
    assert_eq!(copies.len(), 2);
    copies
        .iter()
        .for_each(|copied| to.take(copied, later).unwrap());
    assert_eq!(value(&to, "a", later), Some(bytes(b"x")));
    assert_eq!(to.add("n", 1, None, later), Ok(8));
    // What was left of its time goes on.
    assert_eq!(value(&to, "a", now + Duration::from_secs(9)), None);
    assert_eq!(value(&from, "a", later), Some(bytes(b"x")));
}
