//! Time that goes by in requests: origins that take their time by a clock of their own, which
//! goes on when all clients wait for them. How busy the machine is changes nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::{LIMIT, Origin};

/// Shared by origins and clients.
pub struct Clock(Mutex<Time>);

struct Time {
    now: u64,
    /// Those that have not gone home, each of which has one request under way or is about to.
    clients: usize,
    /// What is under way, by when it is to be answered; the number tells equals apart.
    waiting: BinaryHeap<Reverse<(u64, usize)>>,
    /// Who waits, by those numbers.
    answers: Vec<Option<Sender<()>>>,
    /// What each answer took, in the order of the requests.
    took: Vec<u64>,
}

impl Clock {
    pub fn of(clients: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Time {
            now: 0,
            clients,
            waiting: BinaryHeap::new(),
            answers: Vec::new(),
            took: Vec::new(),
        })))
    }

    /// An origin that takes about so long for an answer, from half of it to half more.
    pub fn origin(self: &Arc<Self>, takes: u64) -> Origin {
        let clock = Arc::clone(self);
        Origin::start(move |_| {
            clock.take(takes);
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()
        })
    }

    fn take(&self, takes: u64) {
        let (answer, answered) = channel();
        self.change(|time| {
            let number = time.answers.len();
            // Any order that has nothing to do with how requests are spread.
            let percent = 50 + number as u64 * 7919 % 101;
            let takes = takes * percent / 100;
            time.answers.push(Some(answer));
            time.took.push(takes);
            time.waiting.push(Reverse((time.now + takes, number)));
        });
        answered.recv_timeout(LIMIT).expect("time goes by");
    }

    /// Nobody waits for this client any more.
    pub fn goes_home(&self) {
        self.change(|time| time.clients -= 1);
    }

    /// What the requests took, in their order.
    pub fn took(&self) -> Vec<u64> {
        self.0.lock().unwrap().took.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Time)) {
        let mut time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut time);
        while time.waiting.len() >= time.clients.max(1) {
            let Reverse((due, number)) = time.waiting.pop().expect("it is not empty");
            time.now = due;
            if let Some(answer) = time.answers[number].take() {
                answer.send(()).ok();
            }
        }
    }
}

/// What so many of a hundred are no longer than.
pub fn percentile(mut took: Vec<u64>, percent: usize) -> u64 {
    took.sort_unstable();
    took[took.len() * percent / 100]
}
