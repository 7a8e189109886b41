//! One store behind the interface `shared`: each operation, time, order, bytes.

mod limits;
mod model;
mod overlay;
mod threads;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::item::OVERHEAD_BYTES;
use super::*;

/// One shard, so that the order of use is that of the whole store.
const LIMITS: Limits = Limits {
    max_bytes: 16 * (MAX_ENTRY_BYTES + OVERHEAD_BYTES),
    max_entry_bytes: MAX_ENTRY_BYTES,
};
const MAX_ENTRY_BYTES: usize = 100;

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_nanos(1);

fn store() -> (Store, Instant) {
    assert_eq!(LIMITS.shards(), 1);
    (Store::new(LIMITS), Instant::now())
}

fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.into())
}

fn value(store: &Store, key: &str, now: Instant) -> Option<Value> {
    store.get(key, now).map(|entry| entry.value)
}

/// 0 where there is none, as `replace` has it.
fn version(store: &Store, key: &str, now: Instant) -> u64 {
    store.get(key, now).map_or(0, |entry| entry.version)
}

#[test]
fn what_was_set_is_found_until_it_is_removed() {
    let (store, now) = store();
    assert_eq!(store.get("a", now), None);
    for text in [&b"one"[..], b"", b"\xff\0"] {
        store.set("a", text, None, now).unwrap();
        assert_eq!(value(&store, "a", now), Some(bytes(text)));
    }
    assert_eq!(store.get("b", now), None);
    store.remove("b", now);
    store.remove("a", now);
    assert_eq!(store.get("a", now), None);
    store.set("", b"empty", None, now).unwrap();
    assert_eq!(value(&store, "", now), Some(bytes(b"empty")));
}

#[test]
fn a_counter_adds_up_and_stays_at_its_ends() {
    check_sums(&[(1, 1), (2, 3), (-5, -2), (0, -2)]);
    check_sums(&[(0, 0), (-1, -1)]);
    check_sums(&[(i64::MAX, i64::MAX), (1, i64::MAX), (-1, i64::MAX - 1)]);
    check_sums(&[(i64::MIN, i64::MIN), (-1, i64::MIN), (1, i64::MIN + 1)]);
}

fn check_sums(deltas_and_sums: &[(i64, i64)]) {
    let (store, now) = store();
    for (delta, sum) in deltas_and_sums {
        assert_eq!(store.add("n", *delta, None, now), Ok(*sum));
        assert_eq!(value(&store, "n", now), Some(Value::Counter(*sum)));
    }
}

#[test]
fn a_counter_reads_as_eight_bytes_the_lowest_first() {
    assert_eq!(Value::Counter(258).to_vec(), [2, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Value::Counter(-1).to_vec(), [0xff; 8]);
    assert_eq!(bytes(b"text").to_vec(), b"text");
}

#[test]
fn only_what_add_made_is_a_counter() {
    let (store, now) = store();
    store.set("n", &7i64.to_le_bytes(), None, now).unwrap();
    let before = store.get("n", now);
    assert_eq!(
        store.add("n", 1, None, now),
        Err(SharedError::NotACounter),
        "made by set"
    );
    assert_eq!(store.get("n", now), before);

    store.remove("n", now);
    assert_eq!(store.add("n", 1, None, now), Ok(1));
    let counter = version(&store, "n", now);
    assert!(store.replace("n", counter, b"text", None, now).is_ok());
    assert_eq!(
        store.add("n", 1, None, now),
        Err(SharedError::NotACounter),
        "replaced"
    );
}

#[test]
fn replace_wants_the_version_that_is_there() {
    let (store, now) = store();
    let conflict = Err(SharedError::Conflict);
    assert_eq!(store.replace("a", 1, b"x", None, now), conflict);
    let first = store.replace("a", 0, b"one", None, now).unwrap();
    assert_eq!(version(&store, "a", now), first);
    assert_eq!(store.replace("a", 0, b"x", None, now), conflict);
    assert_eq!(store.replace("a", first + 1, b"x", None, now), conflict);
    let second = store.replace("a", first, b"two", None, now).unwrap();
    assert_eq!(store.replace("a", first, b"x", None, now), conflict);
    assert_eq!(value(&store, "a", now), Some(bytes(b"two")));
    assert_eq!(version(&store, "a", now), second);
}

#[test]
fn no_version_comes_again() {
    let (store, now) = store();
    let mut seen = vec![0];
    let mut see = |changed: &str, now| {
        let version = version(&store, "a", now);
        assert!(!seen.contains(&version), "{changed}: {version} in {seen:?}");
        seen.push(version);
    };
    store.set("a", b"same", None, now).unwrap();
    see("set", now);
    store.set("a", b"same", None, now).unwrap();
    see("set again", now);
    store.remove("a", now);
    store.set("a", b"same", Some(SECOND), now).unwrap();
    see("removed and set", now);
    let now = now + SECOND;
    assert_eq!(store.add("a", 1, None, now), Ok(1));
    see("over and added", now);
    assert_eq!(store.add("a", 1, None, now), Ok(2));
    see("added", now);
    store.remove("a", now);
    store.replace("a", 0, b"same", None, now).unwrap();
    see("removed and replaced", now);
}

#[test]
fn an_entry_is_there_until_its_time_is_over() {
    check_time(None, Duration::from_secs(1 << 40), true);
    check_time(Some(SECOND), Duration::ZERO, true);
    check_time(Some(SECOND), SECOND - TICK, true);
    check_time(Some(SECOND), SECOND, false);
    check_time(Some(Duration::ZERO), Duration::ZERO, false);
    check_time(Some(TICK), Duration::ZERO, true);
    check_time(
        Some(Duration::from_nanos(u64::MAX)),
        Duration::from_secs(1 << 30),
        true,
    );
    check_time(Some(Duration::MAX), Duration::from_secs(1 << 40), true);
}

fn check_time(ttl: Option<Duration>, later: Duration, there: bool) {
    let (store, start) = store();
    store.set("set", b"x", ttl, start).unwrap();
    store.replace("replaced", 0, b"x", ttl, start).unwrap();
    store.add("added", 1, ttl, start).unwrap();
    let now = start + later;
    for key in ["set", "replaced", "added"] {
        assert_eq!(
            store.get(key, now).is_some(),
            there,
            "{key}, {ttl:?} after {later:?}"
        );
    }
    let again = store.replace("set", 0, b"y", None, now);
    assert_eq!(again.is_ok(), !there, "{ttl:?} after {later:?}");
    let sum = store.add("added", 1, None, now);
    assert_eq!(
        sum,
        Ok(if there { 2 } else { 1 }),
        "{ttl:?} after {later:?}"
    );
}

#[test]
fn a_change_brings_its_own_time() {
    let (store, start) = store();
    store.set("a", b"x", Some(SECOND), start).unwrap();
    store
        .set("a", b"x", Some(SECOND), start + SECOND - TICK)
        .unwrap();
    assert!(store.get("a", start + SECOND).is_some());
    let first = version(&store, "a", start + SECOND);
    store
        .replace("a", first, b"x", None, start + SECOND)
        .unwrap();
    assert!(store.get("a", start + 9 * SECOND).is_some());
}

#[test]
fn what_is_over_is_no_version_to_replace() {
    let (store, start) = store();
    store.set("a", b"x", Some(SECOND), start).unwrap();
    let old = version(&store, "a", start);
    let now = start + SECOND;
    let conflict = Err(SharedError::Conflict);
    assert_eq!(store.replace("a", old, b"y", None, now), conflict);
    assert!(store.replace("a", 0, b"y", None, now).is_ok());
}

#[test]
fn a_counter_is_a_window_from_its_creation() {
    let (store, start) = store();
    assert_eq!(store.add("n", 1, Some(SECOND), start), Ok(1));
    let end = start + SECOND;
    assert_eq!(store.add("n", 1, Some(9 * SECOND), end - TICK), Ok(2));
    assert_eq!(store.add("n", 5, Some(SECOND), end), Ok(5));
    assert_eq!(store.add("n", 5, None, end + SECOND - TICK), Ok(10));
    assert_eq!(store.get("n", end + SECOND), None);
}

#[test]
fn a_new_window_may_follow_what_was_set() {
    let (store, start) = store();
    store.set("n", b"text", Some(SECOND), start).unwrap();
    assert_eq!(store.add("n", 1, None, start + SECOND), Ok(1));
}
