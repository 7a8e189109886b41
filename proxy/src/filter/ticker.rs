//! The pulse by which running guests are looked at: the end of an epoch of the engine.
//!
//! A thread that wakes up a thousand times a second costs some two percent of a processor,
//! also where nobody asks for anything. So where no guest has been running at the end of an
//! epoch for a while, epochs are long, until one begins. Who begins in the very moment in which
//! they become long is looked at after one of these, and as often as ever from then on.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::Engine;

use super::budget::TICK;

/// So many epochs without a guest, and they are long.
const QUIET: u32 = 50;

const LONG: Duration = Duration::from_millis(50);

static IS_LONG: AtomicBool = AtomicBool::new(false);

/// Epochs that ended, ever. A long one counts as ended when a guest begins in it.
static EPOCHS: AtomicU32 = AtomicU32::new(0);

/// Guests that were running at the end of an epoch, ever.
static FELT: AtomicU32 = AtomicU32::new(0);

/// One for each engine. A process has one, but for tests.
static TICKERS: Mutex<Vec<Thread>> = Mutex::new(Vec::new());

/// Ends epochs until the engine is gone.
pub fn start(engine: &Engine) -> io::Result<()> {
    let engine = engine.weak();
    let tick = move || {
        let own = thread::current();
        tickers(|all| all.push(own.clone()));
        let (mut quiet, mut seen) = (0, 0);
        while let Some(engine) = engine.upgrade() {
            EPOCHS.fetch_add(1, Relaxed);
            engine.increment_epoch();
            drop(engine);
            let felt = FELT.load(Relaxed);
            quiet = match felt == seen {
                true => quiet + 1,
                false => 0,
            };
            seen = felt;
            if quiet < QUIET {
                thread::sleep(TICK);
                continue;
            }
            IS_LONG.store(true, Relaxed);
            thread::park_timeout(LONG);
            if !IS_LONG.load(Relaxed) {
                quiet = 0;
            }
        }
        tickers(|all| all.retain(|one| one.id() != own.id()));
    };
    thread::Builder::new()
        .name("filter-ticker".into())
        .spawn(tick)
        .map(drop)
}

/// A guest begins, or goes on after a wait.
pub fn begins() {
    if IS_LONG.load(Relaxed) {
        shorten();
    }
}

/// The number of the present epoch, from which it goes on to count around.
pub fn epochs() -> u32 {
    EPOCHS.load(Relaxed)
}

/// A guest was running when an epoch ended.
pub fn is_felt() {
    FELT.fetch_add(1, Relaxed);
    begins();
}

#[cold]
fn shorten() {
    if IS_LONG.swap(false, Relaxed) {
        EPOCHS.fetch_add(1, Relaxed);
        tickers(|all| all.iter().for_each(Thread::unpark));
    }
}

fn tickers(change: impl FnOnce(&mut Vec<Thread>)) {
    change(&mut TICKERS.lock().unwrap_or_else(PoisonError::into_inner));
}
