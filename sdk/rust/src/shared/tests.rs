use std::cell::Cell;
use std::rc::Rc;

use serde_json::Value;

use super::*;
use crate::prelude::*;
use crate::testing::{self, Harness};

/// Counts requests in `seen`, and fails those that ask for it.
struct Counting;

impl Filter for Counting {
    type Config = ();

    fn create(_: ()) -> Result<Self, ConfigErrors> {
        Ok(Counting)
    }

    fn wants(&self) -> Wants {
        Wants::request()
    }

    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, crate::Error> {
        let seen = add("seen", 1, Some(MINUTE))?;
        exchange.set_attribute("seen", &seen.to_string());
        match exchange.request().header("fail") {
            Some(_) => Err("asked for".into()),
            None => Ok(Verdict::Next),
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn an_entry_is_kept_until_its_time_is_over() {
    let mut harness = harness();
    set("a", b"1", Some(MINUTE)).unwrap();
    set("b", b"2", None).unwrap();
    assert_eq!(value("a").as_deref(), Some(b"1".as_slice()));

    harness.set_now(START + MINUTE - Duration::from_nanos(1));
    assert!(get("a").is_some());
    harness.set_now(START + MINUTE);
    assert_eq!(get("a"), None);
    assert_eq!(value("b").as_deref(), Some(b"2".as_slice()));
    remove("b");
    remove("b");
    assert_eq!(get("b"), None);
}

#[test]
fn versions_change_with_every_change() {
    let _harness = harness();
    let first = replace("a", 0, "1", None).unwrap();
    assert_ne!(first, 0);
    assert_eq!(get("a").unwrap().version, first);
    let second = replace("a", first, "2", None).unwrap();
    assert_ne!(first, second);
    set("a", "2", None).unwrap();
    assert_eq!(replace("a", second, "3", None), Err(SharedError::Conflict));
    assert_eq!(replace("a", 0, "3", None), Err(SharedError::Conflict));

    remove("a");
    assert_eq!(replace("a", second, "3", None), Err(SharedError::Conflict));
    let third = replace("a", 0, "1", None).unwrap();
    assert!(third > second);
}

#[test]
fn what_is_over_is_absent_for_a_replacement_too() {
    let mut harness = harness();
    let version = replace("a", 0, "1", Some(MINUTE)).unwrap();
    harness.set_now(START + MINUTE);
    assert_eq!(replace("a", version, "2", None), Err(SharedError::Conflict));
    assert!(replace("a", 0, "2", None).is_ok());
}

#[test]
fn the_time_of_a_counter_runs_from_its_first_addition() {
    let mut harness = harness();
    assert_eq!(add("n", 2, Some(MINUTE)), Ok(2));
    harness.set_now(START + MINUTE / 2);
    assert_eq!(add("n", -5, Some(MINUTE)), Ok(-3));
    assert_eq!(value("n").unwrap(), (-3i64).to_le_bytes());
    harness.set_now(START + MINUTE);
    assert_eq!(add("n", 1, Some(MINUTE)), Ok(1));
    assert_eq!(add("n", i64::MAX, None), Ok(i64::MAX));
}

#[test]
fn bytes_are_not_a_counter() {
    let _harness = harness();
    set("a", 1i64.to_le_bytes(), None).unwrap();
    assert_eq!(add("a", 1, None), Err(SharedError::NotACounter));
    add("n", 1, None).unwrap();
    set("n", b"", None).unwrap();
    assert_eq!(add("n", 1, None), Err(SharedError::NotACounter));
}

#[test]
fn what_is_too_large_leaves_what_was_there() {
    let mut harness = harness();
    harness.set_largest_entry(3);
    set("a", "12", None).unwrap();
    assert_eq!(set("a", "123", None), Err(SharedError::TooLarge));
    assert_eq!(replace("b", 0, "123", None), Err(SharedError::TooLarge));
    assert_eq!(add("n", 1, None), Err(SharedError::TooLarge));
    assert_eq!(value("a").as_deref(), Some(b"12".as_slice()));
}

#[test]
fn an_update_sees_what_a_faster_instance_left() {
    let mut harness = harness();
    set("a", "0", None).unwrap();
    let left = Cell::new(3);
    harness.set_rival(move |key| {
        if left.get() > 0 {
            left.set(left.get() - 1);
            append(key, "r").unwrap();
        }
    });
    append("a", "m").unwrap();
    assert_eq!(value("a").as_deref(), Some(b"0rrrm".as_slice()));
}

#[test]
fn an_update_gives_up() {
    let mut harness = harness();
    harness.set_rival(|key| set(key, "rival", None).unwrap());
    let calls = Rc::new(Cell::new(0));
    let called = calls.clone();
    let result = update("a", None, |_| {
        called.set(called.get() + 1);
        Some(b"mine".to_vec())
    });
    assert_eq!(result, Err(SharedError::Conflict));
    assert_eq!(calls.get(), TRIES);
}

#[test]
fn an_update_may_leave_things_as_they_are() {
    let _harness = harness();
    update("a", None, |known| {
        assert_eq!(known, None);
        None
    })
    .unwrap();
    assert_eq!(get("a"), None);
}

#[test]
fn what_a_failed_call_shared_stays() {
    let mut harness = harness();
    let failing = testing::Exchange::get("/").header("fail", "1");
    assert!(harness.request(failing).verdict.is_err());
    let outcome = harness.request(testing::Exchange::get("/"));
    assert_eq!(outcome.attribute("seen"), Some("2"));
}

#[test]
fn each_harness_begins_with_nothing() {
    let first = harness();
    set("a", "1", None).unwrap();
    drop(first);
    let _second = harness();
    assert_eq!(get("a"), None);
}

const START: Duration = Duration::from_secs(1_000_000);

fn harness() -> Harness<Counting> {
    let mut harness = Harness::new(Value::Null).unwrap();
    harness.set_now(START);
    harness
}

fn value(key: &str) -> Option<Vec<u8>> {
    get(key).map(|entry| entry.value)
}

fn append(key: &str, more: &str) -> Result<(), SharedError> {
    update(key, None, |known| {
        Some([known.unwrap_or_default(), more.as_bytes()].concat())
    })
}
