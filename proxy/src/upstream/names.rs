//! Names that clients ask for, looked up as they come and remembered for a while.
//!
//! The system's resolver blocks, so each look-up has a thread of its own for as long as it
//! takes: who does not wait that long leaves it behind, and it still counts.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

/// Names that one worker remembers of a cluster.
const MOST: usize = 1024;
/// Look-ups of one worker at once. Names that are new wait for their turn.
const AT_ONCE: usize = 16;
/// That a name is not known is believed for so long.
const UNKNOWN: Duration = Duration::from_secs(1);
/// While a name is looked up again, or cannot be, what it stood for counts for so long.
const STALE: Duration = Duration::from_secs(300);

type Found<T> = Result<Arc<[T]>, Arc<io::Error>>;

/// The answer, once it is there, with the time from when it is not believed any more.
type Answer<T> = watch::Receiver<Option<(Found<T>, Instant)>>;

/// What each name stands for.
pub(super) struct Names<T> {
    known: RefCell<HashMap<Box<str>, Known<T>>>,
    turns: Arc<Semaphore>,
    look_up: fn(&str) -> io::Result<Vec<T>>,
}

struct Known<T> {
    answer: Answer<T>,
    /// The last that was good, and until when it counts.
    before: Option<(Arc<[T]>, Instant)>,
}

impl<T: Send + Sync + 'static> Names<T> {
    pub fn new(look_up: fn(&str) -> io::Result<Vec<T>>) -> Self {
        Self {
            known: RefCell::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            look_up,
        }
    }

    /// Requests for the same name wait for one look-up, and for none where there was an
    /// answer lately. An answer is believed for `ttl`. Dropping it leaves the look-up to
    /// those who wait too, and to those who come. Within a `LocalSet`.
    pub async fn find(&self, name: &str, ttl: Duration) -> Found<T> {
        let (mut answer, before) = self.ask(name, ttl);
        if let Some(found) = now_or_before(&answer, before) {
            return found;
        }
        let found = answer.wait_for(Option::is_some).await;
        match found.ok().as_deref() {
            Some(Some((found, _))) => found.clone(),
            Some(None) | None => Err(Arc::new(io::ErrorKind::Other.into())),
        }
    }

    /// The answer that is there or to come, and what counted before.
    fn ask(&self, name: &str, ttl: Duration) -> (Answer<T>, Option<Arc<[T]>>) {
        let mut known = self.known.borrow_mut();
        let now = Instant::now();
        let mut before = None;
        if let Some(known) = known.get(name) {
            before = known.last_good().filter(|(_, until)| now < *until);
            if known.is_good(now) {
                return (known.answer.clone(), before.map(|(found, _)| found));
            }
        } else if known.len() >= MOST {
            make_room(&mut known, now);
        }
        let answer = self.begin(name, ttl);
        let (kept, entry) = (before.clone(), answer.clone());
        known.insert(
            name.into(),
            Known {
                answer: entry,
                before: kept,
            },
        );
        (answer, before.map(|(found, _)| found))
    }

    fn begin(&self, name: &str, ttl: Duration) -> Answer<T> {
        let (tell, answer) = watch::channel(None);
        let (asked, look_up, turns) = (name.to_owned(), self.look_up, self.turns.clone());
        tokio::task::spawn_local(async move {
            let Ok(turn) = turns.acquire_owned().await else {
                return;
            };
            tokio::task::spawn_blocking(move || {
                let found = look_up(&asked).map(Arc::from).map_err(Arc::new);
                let ttl = found.as_ref().map_or(ttl.min(UNKNOWN), |_| ttl);
                tell.send_replace(Some((found, Instant::now() + ttl)));
                drop(turn);
            });
        });
        answer
    }
}

/// Without waiting: what is known now, or what counted before while that is nothing good.
fn now_or_before<T>(answer: &Answer<T>, before: Option<Arc<[T]>>) -> Option<Found<T>> {
    match &*answer.borrow() {
        Some((Ok(found), _)) => Some(Ok(found.clone())),
        Some((Err(error), _)) => Some(before.ok_or_else(|| error.clone())),
        None => before.map(Ok),
    }
}

fn make_room<T>(known: &mut HashMap<Box<str>, Known<T>>, now: Instant) {
    known.retain(|_, known| known.is_good(now));
    // Any will do; where all are being looked up, one of those.
    if known.len() >= MOST
        && let Some(name) = known.keys().next().cloned()
    {
        known.remove(&name);
    }
}

impl<T> Known<T> {
    /// Whether it is believed, or still to come.
    fn is_good(&self, now: Instant) -> bool {
        match &*self.answer.borrow() {
            Some((_, until)) => now < *until,
            None => self.answer.has_changed().is_ok(),
        }
    }

    fn last_good(&self) -> Option<(Arc<[T]>, Instant)> {
        match &*self.answer.borrow() {
            Some((Ok(found), until)) => Some((found.clone(), *until + STALE)),
            Some((Err(_), _)) | None => self.before.clone(),
        }
    }
}

#[cfg(test)]
#[path = "names/tests.rs"]
mod tests;
