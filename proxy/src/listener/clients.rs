//! How many connections each client of a listener has, and how many of them are shaking hands.
//!
//! Counted exactly, for clients that have any, so that there are never more counts than
//! connections. The counts are spread over shards with a lock each, which is held for one
//! look-up in a map: a flood from one address meets in one of them.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Socket;

const SHARDS: usize = 64;

type Counts = HashMap<IpAddr, usize>;

/// The clients of one listener, over all workers.
#[derive(Debug)]
pub struct Clients {
    hasher: RandomState,
    shards: [Mutex<Counts>; SHARDS],
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Clients {
    /// False where the client has `limit` connections already.
    fn add(&self, client: IpAddr, limit: usize) -> bool {
        let mut counts = self.shard(client);
        let count = counts.entry(client).or_insert(0);
        let is_free = *count < limit;
        if is_free {
            *count += 1;
        } else if *count == 0 {
            counts.remove(&client);
        }
        is_free
    }

    fn remove(&self, client: IpAddr) {
        if let Entry::Occupied(mut count) = self.shard(client).entry(client) {
            match *count.get() {
                0 | 1 => drop(count.remove()),
                more => *count.get_mut() = more - 1,
            }
        }
    }

    fn shard(&self, client: IpAddr) -> MutexGuard<'_, Counts> {
        let shard = self.hasher.hash_one(client) as usize % SHARDS;
        // A panic while the lock was held leaves a map that is still whole.
        let locked = self.shards[shard].lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a client has a limited number of.
#[derive(Debug, Clone, Copy)]
pub enum Counted {
    Connections,
    /// TLS handshakes under way.
    Handshakes,
}

impl Counted {
    fn of(self, socket: &Socket) -> &Clients {
        match self {
            Self::Connections => &socket.clients,
            Self::Handshakes => &socket.shaking_hands,
        }
    }
}

/// One of those that a client may have. Dropping it makes room for another.
pub struct Place {
    socket: Arc<Socket>,
    counted: Counted,
    client: IpAddr,
}

impl Place {
    /// `None` where the client has `limit` already. Of IPv6 a client is whoever has an
    /// address that begins with the same `ipv6_prefix` bits.
    pub fn take(
        socket: &Arc<Socket>,
        counted: Counted,
        address: IpAddr,
        ipv6_prefix: u8,
        limit: usize,
    ) -> Option<Self> {
        let client = client(address, ipv6_prefix);
        counted.of(socket).add(client, limit).then(|| Self {
            socket: socket.clone(),
            counted,
            client,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counted.of(&self.socket).remove(self.client);
    }
}

/// What is counted as one client.
fn client(address: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let rest = 128 - u32::from(ipv6_prefix.min(128));
            let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_of_one_client_are_one() {
        for (one, other, prefix, is_same) in [
            ("192.0.2.1", "192.0.2.2", 64, false),
            ("192.0.2.1", "::ffff:192.0.2.1", 64, true),
            ("2001:db8::1", "2001:db8::2", 64, true),
            ("2001:db8::1", "2001:db8:0:1::1", 64, false),
            ("2001:db8::1", "2001:db8:0:1::1", 56, true),
            ("2001:db8::1", "2001:db8::2", 128, false),
            ("2001:db8::1", "fe80::1", 0, true),
        ] {
            let same = client(address(one), prefix) == client(address(other), prefix);
            assert_eq!(same, is_same, "{one} {other} /{prefix}");
        }
    }

    #[test]
    fn a_client_has_as_many_places_as_it_may() {
        let clients = Clients::default();
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        assert!(clients.add(one, 2));
        assert!(clients.add(one, 2));
        assert!(!clients.add(one, 2));
        assert!(clients.add(other, 2));
        clients.remove(one);
        assert!(clients.add(one, 2));
        assert!(!clients.add(one, 2));
    }

    #[test]
    fn nothing_is_kept_of_clients_that_have_no_connection() {
        let clients = Clients::default();
        for last in 0..=255 {
            let client = IpAddr::from([192, 0, 2, last]);
            assert!(clients.add(client, 1));
            clients.remove(client);
            assert!(!clients.add(client, 0));
        }
        let kept: usize = clients
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().len())
            .sum();
        assert_eq!(kept, 0);
    }
}
