use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// The same semantics, with nothing of what makes it fast.
#[derive(Default)]
struct Model {
    entries: BTreeMap<String, Expected>,
    /// Of every key, all that it ever had.
    versions: BTreeSet<(String, u64)>,
}

struct Expected {
    value: Value,
    version: u64,
    expiry: Option<Instant>,
}

impl Model {
    fn find(&self, key: &str, now: Instant) -> Option<&Expected> {
        let entry = self.entries.get(key)?;
        entry
            .expiry
            .is_none_or(|expiry| now < expiry)
            .then_some(entry)
    }

    fn put(&mut self, key: &str, value: Value, version: u64, expiry: Option<Instant>) {
        assert!(self.versions.insert((key.to_owned(), version)), "{version}");
        assert_ne!(version, 0);
        let expected = Expected {
            value,
            version,
            expiry,
        };
        self.entries.insert(key.to_owned(), expected);
    }
}

struct Run {
    store: Store,
    model: Model,
    random: fastrand::Rng,
    now: Instant,
}

impl Run {
    fn step(&mut self) {
        self.now += Duration::from_nanos(self.random.u64(0..3));
        let key = "k".repeat(self.random.usize(0..40));
        self.forget_if_evicted(&key);
        match self.random.u32(0..100) {
            0..30 => self.set(&key),
            30..60 => self.replace(&key),
            60..90 => self.add(&key),
            _ => {
                self.store.remove(&key, self.now);
                self.model.entries.remove(&key);
            }
        }
        self.check(&key);
    }

    /// Which entry is evicted is the subject of another test.
    fn forget_if_evicted(&mut self, key: &str) {
        if self.store.get(key, self.now).is_none() && self.model.find(key, self.now).is_some() {
            assert!(self.store.stats().evictions > 0, "lost");
            self.model.entries.remove(key);
        }
    }

    fn set(&mut self, key: &str) {
        let (value, ttl) = (self.value(), self.ttl());
        self.store.set(key, &value, ttl, self.now).unwrap();
        if ttl != Some(Duration::ZERO) {
            let version = version(&self.store, key, self.now);
            let expiry = ttl.map(|ttl| self.now + ttl);
            self.model.put(key, bytes(&value), version, expiry);
        } else {
            self.model.entries.remove(key);
        }
    }

    fn replace(&mut self, key: &str) {
        let (value, ttl) = (self.value(), self.ttl());
        let current = self
            .model
            .find(key, self.now)
            .map_or(0, |entry| entry.version);
        let wanted = *self
            .random
            .choice([current, current, 0, 1, current + 1].iter())
            .unwrap();
        let result = self.store.replace(key, wanted, &value, ttl, self.now);
        assert_eq!(result.is_ok(), wanted == current);
        match result {
            Ok(version) => {
                let expiry = ttl.map(|ttl| self.now + ttl);
                self.model.put(key, bytes(&value), version, expiry);
            }
            Err(error) => assert_eq!(error, SharedError::Conflict),
        }
    }

    fn add(&mut self, key: &str) {
        let (delta, ttl) = (self.random.i64(..), self.ttl());
        let result = self.store.add(key, delta, ttl, self.now);
        let (sum, expiry) = match self.model.find(key, self.now) {
            None => (delta, ttl.map(|ttl| self.now + ttl)),
            Some(entry) => match entry.value {
                Value::Bytes(_) => return assert_eq!(result, Err(SharedError::NotACounter)),
                Value::Counter(count) => (count.saturating_add(delta), entry.expiry),
            },
        };
        assert_eq!(result, Ok(sum));
        self.model.entries.remove(key);
        if expiry.is_none_or(|expiry| self.now < expiry) {
            let version = version(&self.store, key, self.now);
            self.model.put(key, Value::Counter(sum), version, expiry);
        }
    }

    fn check(&self, key: &str) {
        let found = self.store.get(key, self.now);
        let wanted = self.model.find(key, self.now).map(|entry| Entry {
            value: entry.value.clone(),
            version: entry.version,
        });
        assert_eq!(found, wanted, "{key}");
    }

    fn value(&mut self) -> Vec<u8> {
        vec![self.random.u8(..); self.random.usize(0..20)]
    }

    fn ttl(&mut self) -> Option<Duration> {
        let nanoseconds = self.random.u64(0..60);
        self.random
            .bool()
            .then(|| Duration::from_nanos(nanoseconds))
    }

    fn remove_all(&self) {
        for length in 0..40 {
            self.store.remove(&"k".repeat(length), self.now);
        }
        assert_eq!(
            (self.store.stats().entries, self.store.stats().bytes),
            (0, 0)
        );
    }
}

fn run(limits: &[Limits], seed: u64) -> Stats {
    println!("seed {seed}");
    let mut run = Run {
        store: Store::new(limits[0]),
        model: Model::default(),
        random: fastrand::Rng::with_seed(seed),
        now: Instant::now(),
    };
    for step in 0..5_000 {
        run.step();
        let limit = limits[step / 100 % limits.len()];
        run.store.limit(limit, run.now);
        assert!(run.store.stats().bytes <= limit.max_bytes as u64);
    }
    run.remove_all();
    run.store.stats()
}

#[test]
fn with_room_for_all_it_does_what_a_map_would() {
    let ample = Limits {
        max_bytes: 1 << 20,
        ..LIMITS
    };
    for seed in 0..10 {
        let stats = run(&[ample], seed);
        assert_eq!(stats.evictions, 0);
        assert!(stats.expirations > 0);
    }
}

#[test]
fn without_room_for_all_what_is_there_is_right() {
    for seed in 0..10 {
        assert!(run(&[LIMITS], seed).evictions > 0);
    }
}

#[test]
fn while_its_limits_change_what_is_there_is_right() {
    let many_shards = Limits {
        max_bytes: 100_000,
        ..LIMITS
    };
    let small = Limits {
        max_bytes: 3_000,
        ..LIMITS
    };
    assert!(many_shards.shards() > LIMITS.shards());
    for seed in 0..10 {
        run(&[many_shards, LIMITS, many_shards, small], seed);
    }
}

/// With one shard and without times, what is evicted is known exactly.
#[test]
fn what_is_left_was_used_last() {
    for seed in 0..10 {
        println!("seed {seed}");
        let (store, now) = store();
        let mut random = fastrand::Rng::with_seed(seed);
        // From the least to the most recently used, with what each counts.
        let mut order: Vec<(String, usize)> = Vec::new();
        for _ in 0..2_000 {
            let key = random.u32(0..40).to_string();
            let size = random.usize(0..MAX_ENTRY_BYTES - 2);
            let known = order.iter().position(|(other, _)| *other == key);
            let known = known.map(|at| order.remove(at));
            if random.bool() {
                store.set(&key, &vec![0; size], None, now).unwrap();
                let counted = key.len() + size + OVERHEAD_BYTES;
                order.push((key, counted));
            } else {
                assert_eq!(store.get(&key, now).is_some(), known.is_some());
                order.extend(known);
            }
            let sum = |order: &[(String, usize)]| order.iter().map(|(_, counted)| counted).sum();
            while sum(&order) > LIMITS.max_bytes {
                order.remove(0);
            }
            let (bytes, entries): (usize, usize) = (sum(&order), order.len());
            let stats = store.stats();
            assert_eq!((stats.bytes, stats.entries), (bytes as u64, entries as u64));
        }
        assert!(store.stats().evictions > 0);
    }
}
