//! What counts a connection to an endpoint, for as long as it is there.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::admission::{GIVING_UP, LOOK, Taken};
use super::pool::{Pool, WorkerEndpoint};
use crate::cluster::{Held, Kind};
use crate::error::{ErrorKind, ProxyError};

/// Held by its socket.
pub(super) struct Counted {
    _of_cluster: Taken,
    /// Where there may be so many to one endpoint.
    _of_endpoint: Option<Held>,
    /// Of the endpoint, on this worker.
    open: Rc<Cell<u32>>,
}

impl Counted {
    pub fn new(of_cluster: Taken, of_endpoint: Option<Held>, endpoint: &WorkerEndpoint) -> Self {
        let open = Rc::clone(&endpoint.open);
        open.set(open.get() + 1);
        Self {
            _of_cluster: of_cluster,
            _of_endpoint: of_endpoint,
            open,
        }
    }

    /// One that nobody waits for, where there is room, of which a worker has no more than its
    /// share: those that it does not need would be wanted by others.
    pub fn ahead(pool: &Pool, endpoint: &WorkerEndpoint) -> Option<Self> {
        let of_endpoint = match pool.most_connections() {
            None => None,
            Some(most) if endpoint.open.get() >= most.div_ceil(pool.workers()) => return None,
            Some(most) => Some(Held::one_of(
                most,
                endpoint.shared.vitals.at_once(),
                Kind::Connection,
            )?),
        };
        let of_cluster = Taken::ahead(&pool.admission)?;
        Some(Self::new(of_cluster, of_endpoint, endpoint))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

/// One connection more to an endpoint, where there may be so many. A request that has one for
/// itself was let in because there are fewer requests than that: then others are idle, on this
/// worker or on others, which give them up. That is waited for, `longest` so long.
pub(super) async fn at_endpoint(
    pool: &Pool,
    endpoint: &WorkerEndpoint,
    is_alone: bool,
    longest: Duration,
) -> Result<Option<Held>, ProxyError> {
    let Some(most) = pool.most_connections() else {
        return Ok(None);
    };
    let at_once = endpoint.shared.vitals.at_once();
    let until = Instant::now() + longest.min(GIVING_UP);
    loop {
        if let Some(held) = Held::one_of(most, at_once, Kind::Connection) {
            return Ok(Some(held));
        }
        // One of HTTP/2 is gone a moment later.
        let has_made_room = endpoint.close_an_idle(pool);
        if let Some(held) = Held::one_of(most, at_once, Kind::Connection) {
            return Ok(Some(held));
        }
        at_once.want();
        if !(is_alone || has_made_room) || Instant::now() >= until {
            return Err(ErrorKind::EndpointLimit.into());
        }
        sleep(LOOK).await;
    }
}

/// A request that waits for a connection to the endpoint, where so many may.
pub(super) fn waiting_for(
    pool: &Pool,
    endpoint: &WorkerEndpoint,
) -> Result<Option<Held>, ProxyError> {
    let Some(most) = pool.cluster.config.bounds.per_endpoint.pending else {
        return Ok(None);
    };
    let held = Held::one_of(most, endpoint.shared.vitals.at_once(), Kind::Pending);
    held.map(Some)
        .ok_or_else(|| ErrorKind::EndpointLimit.into())
}
