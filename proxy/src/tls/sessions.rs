//! Sessions that are kept, where there may be early data.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::server::StoresServerSessions;

/// Locked each by itself, lest workers wait for each other.
const SHARDS: usize = 16;

/// Sessions by their names, the oldest of which go when there are too many. Each is taken
/// once, in constant time: a client may name hundreds at once.
#[derive(Debug)]
pub struct KeptSessions {
    shards: [Mutex<Shard>; SHARDS],
    most: usize,
    hash: RandomState,
}

#[derive(Debug, Default)]
struct Shard {
    sessions: HashMap<Vec<u8>, Vec<u8>>,
    /// Names in the order in which they came, those among them that were taken.
    names: VecDeque<Vec<u8>>,
}

impl KeptSessions {
    /// At most so many.
    pub fn new(most: usize) -> Self {
        Self {
            shards: Default::default(),
            most: most.div_ceil(SHARDS),
            hash: RandomState::new(),
        }
    }

    fn shard(&self, name: &[u8]) -> MutexGuard<'_, Shard> {
        let index = self.hash.hash_one(name) as usize % SHARDS;
        let shard = self.shards[index].lock();
        // Whatever a thread did before it panicked was whole.
        shard.unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoresServerSessions for KeptSessions {
    fn put(&self, name: Vec<u8>, session: Vec<u8>) -> bool {
        let mut shard = self.shard(&name);
        let Shard { sessions, names } = &mut *shard;
        if sessions.insert(name.clone(), session).is_none() {
            names.push_back(name);
        }
        if names.len() > self.most
            && let Some(oldest) = names.pop_front()
        {
            sessions.remove(&oldest);
        }
        true
    }

    fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.shard(name).sessions.get(name).cloned()
    }

    fn take(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.shard(name).sessions.remove(name)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }

    #[test]
    fn a_session_is_taken_once() {
        let kept = KeptSessions::new(1000);
        assert!(kept.put(name(1), vec![7]));
        assert_eq!(kept.get(&name(1)), Some(vec![7]));
        assert_eq!(kept.take(&name(1)), Some(vec![7]));
        assert_eq!(kept.take(&name(1)), None);
        assert_eq!(kept.get(&name(1)), None);
    }

    #[test]
    fn the_oldest_go_where_there_are_too_many() {
        let kept = KeptSessions::new(64);
        for number in 0..10_000 {
            kept.put(name(number), vec![1]);
            if number % 3 == 0 {
                kept.take(&name(number));
            }
        }
        let left = (0..10_000).filter(|number| kept.get(&name(*number)).is_some());
        let left: Vec<_> = left.collect();
        assert!((20..=64).contains(&left.len()), "{left:?}");
        for shard in &kept.shards {
            let shard = shard.lock().unwrap();
            assert!(shard.names.len() <= kept.most && shard.sessions.len() <= kept.most);
        }
    }
}
