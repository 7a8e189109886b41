//! Connections that are made before anybody asks for them (`pool.warm`), so that the first
//! requests to an endpoint wait for none.
//!
//! Looked after at each tick of a worker. To one endpoint they are made one after the other,
//! and to all of a cluster a few at once over all workers (`Cluster::warm_turn`), so that an
//! endpoint that comes back is not stormed by all who have missed it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::choice::Choice;
use super::connect::open_ahead;
use super::counted::Counted;
use super::pool::{Pool, WorkerEndpoint};
use crate::cluster::WarmTurn;

/// From the beginning of one round at an endpoint to the next: one that closes whatever it
/// accepts is not called on all the time.
const PAUSE: Duration = Duration::from_secs(1);

/// The rounds of one cluster. Dropped, those under way are broken off.
#[derive(Default)]
pub(super) struct Warming(RefCell<JoinSet<()>>);

impl Warming {
    /// Begins a round wherever connections are missing.
    pub fn fill(&self, choice: &mut Choice, pool: &Rc<Pool>, now: Instant) {
        let rounds = &mut *self.0.borrow_mut();
        while rounds.try_join_next().is_some() {}
        if pool.gives_one_up() {
            return;
        }
        for index in 0..choice.count() {
            let Some(endpoint) = choice.well(index, now) else {
                continue;
            };
            if !endpoint.lacks_connections(pool, now) || endpoint.gives_one_up(pool) {
                continue;
            }
            let Some(turn) = pool.cluster.warm_turn() else {
                return;
            };
            if let Some(round) = Round::begin(endpoint, now) {
                rounds.spawn_local(warm(Rc::clone(pool), round, turn));
            }
        }
    }
}

/// Makes what is missing, until one cannot be made. Dropped, it closes the one that is not
/// made yet.
async fn warm(pool: Rc<Pool>, round: Round, _turn: WarmTurn) {
    let endpoint = &round.0;
    for _ in 0..pool.limits().warm {
        // Meanwhile it may have left, or be wanted for nothing.
        let now = Instant::now();
        if !endpoint.is_to_be_warm(now) || !endpoint.lacks_connections(&pool, now) {
            return;
        }
        if pool.gives_one_up() || endpoint.gives_one_up(&pool) {
            return;
        }
        let Some(counted) = Counted::ahead(&pool, endpoint) else {
            return;
        };
        if !open_ahead(&pool, endpoint, counted).await {
            return;
        }
    }
}

/// One at a time at an endpoint.
struct Round(Rc<WorkerEndpoint>);

impl Round {
    /// `None` before it is time.
    fn begin(endpoint: Rc<WorkerEndpoint>, now: Instant) -> Option<Self> {
        let is_time = endpoint.warms_next.get().is_none_or(|next| next <= now);
        if endpoint.is_warming.get() || !is_time {
            return None;
        }
        endpoint.is_warming.set(true);
        endpoint.warms_next.set(Some(now + PAUSE));
        Some(Self(endpoint))
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.0.is_warming.set(false);
    }
}
