use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use super::*;

const THREADS: i64 = 8;

const AMPLE: Limits = Limits {
    max_bytes: 1 << 20,
    max_entry_bytes: 100,
};

/// Lets all threads run while `beside` is called again and again.
fn together(work: impl Fn(i64) + Sync, beside: impl Fn()) {
    let (work, running) = (&work, &AtomicBool::new(true));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        scope.spawn(move || {
            for thread in threads {
                thread.join().unwrap();
            }
            running.store(false, Relaxed);
        });
        while running.load(Relaxed) {
            beside();
            thread::yield_now();
        }
    });
}

fn count_together(beside: impl Fn(&Store, Instant)) {
    let (store, now) = (Store::new(AMPLE), Instant::now());
    // Together more than the share of one of many shards.
    for idle in 0..500 {
        let key = format!("idle {idle}");
        store.set(&key, b"x", None, now).unwrap();
    }
    let add_up = |thread| {
        for step in 0..10_000 {
            store.add("all", thread, None, now).unwrap();
            store.add("some", step - thread, None, now).unwrap();
            store
                .set(&format!("own {thread}"), b"x", None, now)
                .unwrap();
        }
    };
    together(add_up, || beside(&store, now));
    let ids: i64 = (0..THREADS).sum();
    let steps: i64 = (0..10_000).sum();
    assert_eq!(store.add("all", 0, None, now), Ok(10_000 * ids));
    let some = THREADS * steps - 10_000 * ids;
    assert_eq!(store.add("some", 0, None, now), Ok(some));
    let stats = store.stats();
    assert_eq!((stats.entries, stats.evictions), (510, 0));
}

#[test]
fn no_addition_is_lost() {
    count_together(|store, now| store.remove("absent", now));
}

#[test]
fn no_addition_is_lost_while_shards_come_and_go() {
    let one = Limits {
        max_entry_bytes: 1 << 20,
        ..AMPLE
    };
    assert!(AMPLE.shards() > one.shards());
    count_together(|store, now| {
        store.limit(one, now);
        store.limit(AMPLE, now);
    });
}

#[test]
fn no_update_by_version_is_lost() {
    const UPDATES: u64 = 2_000;
    let (store, now) = (Store::new(AMPLE), Instant::now());
    let update = |_| {
        for _ in 0..UPDATES {
            while !try_to_count(&store, now) {}
        }
    };
    together(update, || drop(store.get("n", now)));
    let total = UPDATES * THREADS as u64;
    assert_eq!(value(&store, "n", now), Some(bytes(&total.to_le_bytes())));
}

/// Reads a number and replaces it by the next.
fn try_to_count(store: &Store, now: Instant) -> bool {
    let entry = store.get("n", now);
    let (count, version) = match &entry {
        None => (0, 0),
        Some(entry) => (number(&entry.value), entry.version),
    };
    let next = (count + 1).to_le_bytes();
    store.replace("n", version, &next, None, now).is_ok()
}

fn number(value: &Value) -> u64 {
    u64::from_le_bytes(value.to_vec().try_into().unwrap())
}

/// Small enough that they evict each other all the time.
#[test]
fn together_they_hold_no_more_than_the_limit() {
    let (store, now) = (Store::new(LIMITS), Instant::now());
    let fill = |thread| {
        for step in 0..5_000 {
            let ttl = (step % 3 == 0).then_some(TICK);
            let key = format!("{thread} {}", step % 50);
            store.set(&key, &[0; 40], ttl, now + TICK * step).unwrap();
            store.remove(&format!("{} {}", thread + 1, step % 50), now);
        }
    };
    together(fill, || {
        assert!(store.stats().bytes <= LIMITS.max_bytes as u64);
    });
    for thread in 0..THREADS {
        for step in 0..50 {
            store.remove(&format!("{thread} {step}"), now);
        }
    }
    assert_eq!((store.stats().entries, store.stats().bytes), (0, 0));
}
