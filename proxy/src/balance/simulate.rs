//! Endpoints that exist in numbers alone, for the tests of policies.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

const REQUESTS: usize = 60_000;

/// A policy on one worker.
pub trait Policy {
    /// For a request that begins now.
    fn pick(&mut self, now: Duration, rng: &mut Rng) -> usize;
    fn ended(&mut self, index: usize, now: Duration, took: Duration, ending: Ending);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    Fine,
    Refused,
}

/// Serves so many requests at once, others wait.
#[derive(Debug, Clone)]
pub struct Server {
    /// In the mean, spread from half of it to one and a half.
    pub time: Duration,
    pub at_once: usize,
    pub ending: Ending,
    /// Meanwhile it takes twenty times as long.
    pub slow: Range<Duration>,
}

impl Server {
    pub fn with_time(time: Duration) -> Self {
        Self {
            time,
            at_once: 64,
            ending: Ending::Fine,
            slow: Duration::ZERO..Duration::ZERO,
        }
    }

    pub fn refusing(time: Duration) -> Self {
        Self {
            ending: Ending::Refused,
            ..Self::with_time(time)
        }
    }

    fn takes(&self, now: Duration, rng: &mut Rng) -> Duration {
        let factor = if self.slow.contains(&now) { 20.0 } else { 1.0 };
        self.time.mul_f64(factor * (0.5 + rng.f64()))
    }
}

/// Requests that come by chance, so many a second, whatever becomes of earlier ones.
pub struct Simulation {
    servers: Vec<Server>,
    rate: f64,
}

pub struct Report {
    /// The first tenth, in which policies learn, is left out.
    latencies: Vec<Duration>,
    counts: Vec<usize>,
    stays: Vec<Stay>,
}

/// A request at a server.
struct Stay {
    server: usize,
    from: Duration,
    to: Duration,
}

impl Report {
    pub fn p99(&self) -> Duration {
        self.latencies[self.latencies.len() * 99 / 100]
    }

    pub fn share(&self, index: usize) -> f64 {
        self.counts[index] as f64 / self.latencies.len() as f64
    }

    /// Under way at a server at some time.
    pub fn active(&self, index: usize, at: Duration) -> usize {
        let is_there = |stay: &&Stay| stay.server == index && stay.from <= at && at < stay.to;
        self.stays.iter().filter(is_there).count()
    }

    /// A server's share of what began in some time.
    pub fn share_in(&self, index: usize, time: &Range<Duration>) -> f64 {
        let began = || self.stays.iter().filter(|stay| time.contains(&stay.from));
        let own = began().filter(|stay| stay.server == index).count();
        own as f64 / began().count().max(1) as f64
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct End {
    at: Duration,
    request: Request,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Request {
    number: usize,
    began: Duration,
    worker: usize,
    server: usize,
}

impl Simulation {
    pub fn new(servers: Vec<Server>, rate: f64) -> Self {
        Self { servers, rate }
    }

    /// The same seed every time.
    pub fn run<P: Policy>(&self, workers: usize, policy: impl Fn() -> P) -> Report {
        let mut rng = Rng::with_seed(42);
        let mut policies: Vec<P> = (0..workers).map(|_| policy()).collect();
        let mut ends = BinaryHeap::new();
        let mut busy = vec![0; self.servers.len()];
        let mut waiting = vec![VecDeque::new(); self.servers.len()];
        let mut report = Report {
            latencies: Vec::new(),
            counts: vec![0; self.servers.len()],
            stays: Vec::new(),
        };
        let mut next = Duration::ZERO;
        let mut number = 0;
        loop {
            let end_is_next = match ends.peek() {
                Some(Reverse(End { at, .. })) => number == REQUESTS || *at <= next,
                None if number == REQUESTS => break,
                None => false,
            };
            let now;
            let server;
            if end_is_next {
                let Reverse(End { at, request }) = ends.pop().unwrap();
                now = at;
                server = request.server;
                busy[server] -= 1;
                let took = now - request.began;
                let ending = self.servers[server].ending;
                policies[request.worker].ended(server, now, took, ending);
                report.stays.push(Stay {
                    server,
                    from: request.began,
                    to: now,
                });
                if request.number >= REQUESTS / 10 {
                    report.latencies.push(took);
                    report.counts[server] += 1;
                }
            } else {
                now = next;
                next += Duration::from_secs_f64(-(1.0 - rng.f64()).ln() / self.rate);
                let worker = rng.usize(..workers);
                server = policies[worker].pick(now, &mut rng);
                waiting[server].push_back(Request {
                    number,
                    began: now,
                    worker,
                    server,
                });
                number += 1;
            }
            while busy[server] < self.servers[server].at_once
                && let Some(request) = waiting[server].pop_front()
            {
                busy[server] += 1;
                let at = now + self.servers[server].takes(now, &mut rng);
                ends.push(Reverse(End { at, request }));
            }
        }
        report.latencies.sort_unstable();
        report
    }
}
