use std::time::Duration;

use serde_json::Value;

use crate::prelude::*;
use crate::shared::{self, SharedError};
use crate::testing::Harness;
use crate::{HandOver, Stored};

/// Keeps numbers as text, and before that as counters; `scratch` is no more.
struct Numbers;

impl Filter for Numbers {
    type Config = ();

    fn create(_: ()) -> Result<Self, ConfigErrors> {
        Ok(Numbers)
    }

    fn wants(&self) -> Wants {
        Wants::nothing()
    }
}

impl HandOver for Numbers {
    const FORMAT: u32 = 2;

    fn migrate(from: u32, key: &str, stored: Stored) -> Result<Option<Stored>, Error> {
        assert_eq!(shared::get(key), None, "nothing is shared meanwhile");
        match (from, key, stored) {
            (1, "scratch", _) => Ok(None),
            (1, _, Stored::Counter(count)) => Ok(Some(count.to_string().into_bytes().into())),
            (from, ..) => Err(Error::new(format!("`{key}` is of the form {from}"))),
        }
    }
}

#[test]
fn entries_come_into_the_new_form_with_the_time_they_have_left() {
    let mut harness = harness();
    shared::add("a", 7, Some(MINUTE)).unwrap();
    shared::add("b", 8, None).unwrap();
    shared::add("over", 9, Some(MINUTE / 2)).unwrap();
    shared::set("scratch", "x", None).unwrap();
    harness.set_now(START + MINUTE / 2);

    assert_eq!(harness.hand_over::<Numbers>(1), Ok(()));
    assert_eq!(value("a").as_deref(), Some(b"7".as_slice()));
    assert_eq!(value("b").as_deref(), Some(b"8".as_slice()));
    assert_eq!((value("over"), value("scratch")), (None, None));
    harness.set_now(START + MINUTE);
    assert_eq!(value("a"), None);
    assert!(value("b").is_some());
}

#[test]
fn a_refusal_leaves_all_as_it_was() {
    let mut harness = harness();
    shared::add("a", 7, None).unwrap();
    shared::set("b", "8", None).unwrap();
    let refused = harness.hand_over::<Numbers>(1);
    assert_eq!(refused, Err("`b` is of the form 1".into()));
    assert_eq!(shared::add("a", 1, None), Ok(8));
    assert_eq!(value("b").as_deref(), Some(b"8".as_slice()));
}

#[test]
fn what_is_too_large_in_the_new_form_is_refused() {
    let mut harness = harness();
    shared::add("a", i64::MAX, None).unwrap();
    harness.set_largest_entry(9);
    let refused = harness.hand_over::<Numbers>(1);
    assert_eq!(refused, Err(SharedError::TooLarge.into()));
    assert_eq!(shared::add("a", 0, None), Ok(i64::MAX));
}

const MINUTE: Duration = Duration::from_secs(60);
const START: Duration = Duration::from_secs(1_000_000);

fn harness() -> Harness<Numbers> {
    let mut harness = Harness::new(Value::Null).unwrap();
    harness.set_now(START);
    harness
}

fn value(key: &str) -> Option<Vec<u8>> {
    shared::get(key).map(|entry| entry.value)
}
