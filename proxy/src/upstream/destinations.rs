//! The endpoints of a cluster that goes to where clients wanted to go: each is there for
//! as long as anything is kept or under way there.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use tokio::time::Instant;

use super::pool::{Pool, Sweep, WorkerEndpoint};
use crate::cluster::{Address, Endpoint};

/// With connections, on one worker. Clients say where they go, so that there may be any
/// number of them.
const MOST: usize = 4096;

#[derive(Default)]
pub(super) struct Destinations(RefCell<HashMap<SocketAddr, Rc<WorkerEndpoint>>>);

impl Destinations {
    /// The first that has not been tried and did not refuse lately, or else that has not
    /// been tried. `None` where there are too many, or no other.
    pub fn pick(
        &self,
        wanted: &[SocketAddr],
        tried: &[Rc<WorkerEndpoint>],
        pool: &Pool,
        now: Instant,
    ) -> Option<Rc<WorkerEndpoint>> {
        let is_at = |endpoint: &Rc<WorkerEndpoint>, wanted: &SocketAddr| matches!(&endpoint.shared.address, Address::Socket(address) if address == wanted);
        let known = self.0.borrow();
        let mut others = wanted
            .iter()
            .filter(|wanted| !tried.iter().any(|tried| is_at(tried, wanted)));
        let first = others.clone().next()?;
        let refuses = |wanted: &&SocketAddr| {
            let known = known.get(wanted);
            known.is_some_and(|known| known.shared.is_passed_over(now))
        };
        let picked = *others.find(|wanted| !refuses(wanted)).unwrap_or(first);
        drop(known);
        self.at(picked, pool)
    }

    fn at(&self, destination: SocketAddr, pool: &Pool) -> Option<Rc<WorkerEndpoint>> {
        let mut known = self.0.borrow_mut();
        if let Some(known) = known.get(&destination) {
            return Some(known.clone());
        }
        if known.len() >= MOST {
            let idle = known.extract_if(|_, endpoint| endpoint.active() == 0);
            idle.for_each(|(_, endpoint)| endpoint.retire(pool));
        }
        if known.len() >= MOST {
            tracing::debug!(cluster = %pool.cluster.name(), most = MOST, "too many destinations");
            return None;
        }
        let endpoint = Endpoint::new((Address::Socket(destination), 1).into());
        let endpoint = WorkerEndpoint::new(endpoint);
        known.insert(destination, endpoint.clone());
        Some(endpoint)
    }

    pub fn sweep(&self, pool: &Pool, now: Instant, what: Sweep) {
        self.0.borrow_mut().retain(|_, endpoint| {
            endpoint.sweep(pool, now, what);
            !endpoint.is_unused()
        });
    }

    /// See [`WorkerEndpoint::close_an_idle`].
    pub fn close_an_idle(&self, pool: &Pool) -> bool {
        let known = self.0.borrow();
        known.values().any(|endpoint| endpoint.close_an_idle(pool))
    }

    pub fn retire(&self, pool: &Pool) {
        for (_, endpoint) in self.0.borrow_mut().drain() {
            endpoint.retire(pool);
        }
    }
}

/// Addresses of a link are this machine's business: that of a cloud's metadata, which hands
/// out what the machine may do, is one. The connection would come from here.
pub(super) fn is_for_services(address: IpAddr) -> bool {
    let is_of_link = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !is_of_link && !address.is_unspecified() && !address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_goes_to_addresses_of_a_link() {
        let is = |address: &str| is_for_services(address.parse().unwrap());
        for address in [
            "10.0.0.1",
            "127.0.0.1",
            "192.0.2.1",
            "2001:db8::1",
            "fd00::1",
            "::1",
        ] {
            assert!(is(address), "{address}");
        }
        for address in [
            "169.254.169.254",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::",
        ] {
            assert!(!is(address), "{address}");
        }
        for address in ["fe80::1", "ff02::1"] {
            assert!(!is(address), "{address}");
        }
    }
}
