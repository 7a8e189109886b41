//! Names that clients ask for, looked up as they come and remembered for a while.
//!
//! The system's resolver blocks, so each look-up has a thread of its own for as long as it
//! takes: who does not wait that long leaves it behind, and it still counts.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

/// Names that one worker remembers of a cluster.
const MOST: usize = 1024;
/// Look-ups of one worker at once. Who finds all taken waits.
const AT_ONCE: usize = 16;
/// That a name is not known is believed for so long.
const UNKNOWN: Duration = Duration::from_secs(1);

type Addresses = Result<Arc<[IpAddr]>, Arc<io::Error>>;

/// The answer, once it is there, with the time from when it is not believed any more.
type Answer = watch::Receiver<Option<(Addresses, Instant)>>;

pub(super) struct Names {
    known: RefCell<HashMap<Box<str>, Answer>>,
    turns: Arc<Semaphore>,
    look_up: fn(&str) -> io::Result<Vec<IpAddr>>,
}

impl Names {
    pub fn new(look_up: fn(&str) -> io::Result<Vec<IpAddr>>) -> Self {
        Self {
            known: RefCell::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            look_up,
        }
    }

    /// Requests for the same name wait for one look-up. An answer is believed for `ttl`.
    /// Dropping it leaves the look-up to those who wait too, and to those who come.
    pub async fn find(&self, name: &str, ttl: Duration) -> Addresses {
        let mut answer = match self.known(name) {
            Some(known) => known,
            None => {
                let turns = self.turns.clone();
                let turn = turns.acquire_owned().await;
                let turn = turn.map_err(|_| Arc::new(io::ErrorKind::Other.into()))?;
                // Meanwhile somebody else may have begun.
                match self.known(name) {
                    Some(known) => known,
                    None => self.begin(name, ttl, turn),
                }
            }
        };
        let found = answer.wait_for(Option::is_some).await;
        match found.ok().as_deref() {
            Some(Some((addresses, _))) => addresses.clone(),
            Some(None) | None => Err(Arc::new(io::ErrorKind::Other.into())),
        }
    }

    fn known(&self, name: &str) -> Option<Answer> {
        let known = self.known.borrow();
        let now = Instant::now();
        known.get(name).filter(|known| is_good(known, now)).cloned()
    }

    fn begin(&self, name: &str, ttl: Duration, turn: impl Send + 'static) -> Answer {
        let (tell, answer) = watch::channel(None);
        let (asked, look_up) = (name.to_owned(), self.look_up);
        tokio::task::spawn_blocking(move || {
            let found = look_up(&asked).map(Arc::from).map_err(Arc::new);
            let ttl = found.as_ref().map_or(ttl.min(UNKNOWN), |_| ttl);
            tell.send_replace(Some((found, Instant::now() + ttl)));
            drop(turn);
        });
        let mut known = self.known.borrow_mut();
        if known.len() >= MOST && !known.contains_key(name) {
            make_room(&mut known);
        }
        known.insert(name.into(), answer.clone());
        answer
    }
}

fn make_room(known: &mut HashMap<Box<str>, Answer>) {
    let now = Instant::now();
    known.retain(|_, answer| is_good(answer, now));
    // Those that are being looked up are fewer than `MOST`.
    let mut answered = known.iter().filter(|(_, answer)| answer.borrow().is_some());
    if known.len() >= MOST
        && let Some((name, _)) = answered.next()
    {
        let name = name.clone();
        known.remove(&name);
    }
}

/// Whether it is believed, or still to come.
fn is_good(answer: &Answer, now: Instant) -> bool {
    match &*answer.borrow() {
        Some((_, until)) => now < *until,
        None => answer.has_changed().is_ok(),
    }
}

#[cfg(test)]
#[path = "names/tests.rs"]
mod tests;
