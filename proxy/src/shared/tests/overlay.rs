//! An overlay reads what is below it, and what is below it never learns of it.

use std::collections::BTreeMap;

use super::*;
use crate::shared::Overlay;

fn overlay() -> (Overlay, Arc<Store>, Instant) {
    let (below, now) = store();
    let below = Arc::new(below);
    (Overlay::new(below.clone(), LIMITS), below, now)
}

fn seen(overlay: &Overlay, key: &str, now: Instant) -> Option<Value> {
    overlay.get(key, now).map(|entry| entry.value)
}

#[test]
fn what_is_below_is_seen_until_the_first_write_and_stays_as_it_is() {
    let (overlay, below, now) = overlay();
    below.set("a", b"1", None, now).unwrap();
    assert_eq!(seen(&overlay, "a", now), Some(bytes(b"1")));
    below.set("a", b"2", None, now).unwrap();
    assert_eq!(seen(&overlay, "a", now), Some(bytes(b"2")));
    overlay.set("a", b"mine", Some(SECOND), now).unwrap();
    below.set("a", b"3", None, now).unwrap();
    assert_eq!(seen(&overlay, "a", now), Some(bytes(b"mine")));
    assert_eq!(value(&below, "a", now), Some(bytes(b"3")));
    // Also when what was written is over.
    assert_eq!(seen(&overlay, "a", now + SECOND), None);
}

#[test]
fn what_was_removed_is_gone_here_alone() {
    let (overlay, below, now) = overlay();
    below.set("a", b"1", None, now).unwrap();
    overlay.remove("a", now);
    assert_eq!(seen(&overlay, "a", now), None);
    assert_eq!(value(&below, "a", now), Some(bytes(b"1")));
    overlay.set("a", b"2", None, now).unwrap();
    assert_eq!(seen(&overlay, "a", now), Some(bytes(b"2")));
}

#[test]
fn counters_go_on_from_what_is_below_with_its_time_to_live() {
    let (overlay, below, now) = overlay();
    below.add("n", 5, Some(SECOND), now).unwrap();
    below.set("text", b"1", None, now).unwrap();
    assert_eq!(overlay.add("n", 2, None, now), Ok(7));
    assert_eq!(overlay.add("n", 2, None, now), Ok(9));
    assert_eq!(value(&below, "n", now), Some(Value::Counter(5)));
    assert_eq!(overlay.add("n", 2, None, now + SECOND), Ok(2));
    assert_eq!(
        overlay.add("text", 1, None, now),
        Err(SharedError::NotACounter)
    );
    assert_eq!(overlay.add("new", 1, None, now), Ok(1));
}

#[test]
fn a_version_is_that_of_one_entry_wherever_it_is() {
    let (overlay, below, now) = overlay();
    below.set("a", b"1", None, now).unwrap();
    let first = overlay.get("a", now).unwrap().version;
    assert_eq!(
        overlay.replace("a", first + 1, b"x", None, now),
        Err(SharedError::Conflict)
    );
    let second = overlay.replace("a", first, b"2", None, now).unwrap();
    assert_ne!(second, first);
    assert_eq!(
        overlay.replace("a", first, b"x", None, now),
        Err(SharedError::Conflict)
    );
    assert_eq!(overlay.get("a", now).unwrap().version, second);
    overlay.remove("a", now);
    overlay.replace("a", 0, b"3", None, now).unwrap();
    assert_eq!(value(&below, "a", now), Some(bytes(b"1")));
}

#[test]
fn what_others_found_is_what_is_below_until_something_else_is_said() {
    let (overlay, below, now) = overlay();
    let found = below.peek("n", now);
    below.add("n", 1, None, now).unwrap();
    overlay.found(BTreeMap::from([("n".to_owned(), found)]));
    assert_eq!(seen(&overlay, "n", now), None);
    overlay.found(BTreeMap::from([("n".to_owned(), below.peek("n", now))]));
    below.add("n", 1, None, now).unwrap();
    assert_eq!(overlay.add("n", 5, None, now), Ok(6));
    overlay.found(BTreeMap::new());
    assert_eq!(seen(&overlay, "n", now), Some(Value::Counter(6)));
}

#[test]
fn to_look_is_not_to_use() {
    let (overlay, below, now) = overlay();
    for number in 0..16 {
        below
            .set(&number.to_string(), &[0; MAX_ENTRY_BYTES - 2], None, now)
            .unwrap();
    }
    overlay.get("0", now);
    below
        .set("more", &[0; MAX_ENTRY_BYTES - 4], None, now)
        .unwrap();
    assert_eq!(value(&below, "0", now), None);
}
