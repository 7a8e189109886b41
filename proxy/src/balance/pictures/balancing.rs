//! Those of docs/balancing.md.

use std::cell::RefCell;
use std::time::Duration;

use fastrand::Rng;

use super::super::bound::{self, Bound};
use super::super::choices::tests::{LeastRequest, ONE, TWO};
use super::super::hash::hash;
use super::super::locality::{self, Zone};
use super::super::maglev::{Maglev, Size};
use super::super::peak_ewma::tests::{Peak, in_turn};
use super::super::ring::tests::{KEYS, moved, names, owners, places, share};
use super::super::ring::{Place, Ring};
use super::super::simulate::{Ending, Policy, Report, Server, Simulation};
use super::super::slow_start;
use super::super::stride::{RoundRobin, Schedule};
use super::super::tiers::{self, Load, Tier};
use super::{Axis, Picture, percent, percents, seconds, steps};

/// Ten servers of 10 ms, of which the first may be another.
fn run<P: Policy>(first: Server, rate: f64, policy: impl Fn() -> P) -> Report {
    let mut servers = vec![healthy(); 10];
    servers[0] = first;
    Simulation::new(servers, rate).run(2, policy)
}

fn healthy() -> Server {
    Server {
        at_once: 1000,
        ..Server::with_time(Duration::from_millis(10))
    }
}

fn slow(from: f64, to: f64) -> Server {
    Server {
        slow: seconds(from)..seconds(to),
        ..healthy()
    }
}

fn least_request() -> LeastRequest {
    LeastRequest::new(10, TWO)
}

fn by_chance() -> LeastRequest {
    LeastRequest::new(10, ONE)
}

/// Twenty-four turns of endpoints with the weights 5, 2 and 1.
fn turns(title: &'static str, mut pick: impl FnMut(&Schedule) -> Option<usize>) -> Picture {
    let schedule = Schedule::new(&[5, 2, 1]);
    let picked: Vec<_> = (0..24)
        .map(|_| pick(&schedule).expect("an endpoint"))
        .collect();
    let of = |index: usize| {
        let turns = (1..)
            .zip(&picked)
            .filter(move |(_, picked)| **picked == index);
        turns.map(move |(turn, _)| (f64::from(turn), 2.0 - index as f64))
    };
    let x = Axis::numbers("request", 0.0, 25.0, 5.0);
    let y = Axis::names("endpoint", ["c", "b", "a"]);
    Picture::new(title, x, y)
        .dots("a, weight 5", of(0))
        .dots("b, weight 2", of(1))
        .dots("c, weight 1", of(2))
}

#[test]
fn round_robin() {
    let mut round = RoundRobin::default();
    let title = "round_robin: each in turn, by weight and evenly spread";
    turns(title, |schedule| round.pick(schedule, |_| false)).check("round_robin");
}

#[test]
fn random() {
    let mut rng = Rng::with_seed(2);
    let title = "random: the same shares in the long run, with several in a row";
    turns(title, |schedule| schedule.draw(&mut rng)).check("random");
}

#[test]
fn one_slow() {
    let always = || slow(0.0, 1000.0);
    let p99 = |report: Report| report.p99().as_secs_f64() * 1000.0;
    let of = |first: &dyn Fn() -> Server| {
        [
            p99(run(first(), 6400.0, in_turn)),
            p99(run(first(), 6400.0, by_chance)),
            p99(run(first(), 6400.0, least_request)),
            p99(run(first(), 6400.0, Peak::of_ten)),
        ]
    };
    let policies = ["round_robin", "random", "least_request", "peak_ewma"];
    let x = Axis::names("balance", policies);
    let y = Axis::numbers("p99 of latency, ms", 0.0, 350.0, 50.0);
    Picture::new(
        "One of ten endpoints takes 20 times as long: p99 by policy",
        x,
        y,
    )
    .bars("all healthy", of(&healthy))
    .bars("one slow", of(&always))
    .check("one_slow");
}

#[test]
fn least_request_of_who_becomes_slow() {
    let active = |report: Report| {
        let times = steps(160, 0.05);
        times.map(move |at| (at, report.active(0, seconds(at)) as f64))
    };
    let first = || slow(2.0, 4.0);
    let x = Axis::numbers("seconds; slow from 2 to 4", 0.0, 8.0, 1.0);
    let y = Axis::numbers("requests under way there", 0.0, 160.0, 20.0);
    Picture::new(
        "least_request: an endpoint that becomes 20 times as slow",
        x,
        y,
    )
    .line("round_robin", active(run(first(), 6400.0, in_turn)))
    .line("least_request", active(run(first(), 6400.0, least_request)))
    .check("least_request");
}

#[test]
fn peak_ewma_of_who_becomes_slow() {
    let shares = |report: Report| {
        let times = steps(80, 0.5);
        times.map(move |at| {
            let share = report.share_in(0, &(seconds(at)..seconds(at + 0.5)));
            (at + 0.25, percent(share))
        })
    };
    let first = || slow(5.0, 10.0);
    let x = Axis::numbers("seconds; slow from 5 to 10", 0.0, 40.0, 5.0);
    let y = Axis::numbers("percent of requests that it gets", 0.0, 14.0, 2.0);
    Picture::new("peak_ewma: an endpoint that becomes 20 times as slow", x, y)
        .line("round_robin", shares(run(first(), 1500.0, in_turn)))
        .line("least_request", shares(run(first(), 1500.0, least_request)))
        .line("peak_ewma", shares(run(first(), 1500.0, Peak::of_ten)))
        .check("peak_ewma");
}

/// A policy that does not hear that it is refused.
struct Deaf<P>(P);

impl<P: Policy> Policy for Deaf<P> {
    fn pick(&mut self, now: Duration, rng: &mut Rng) -> usize {
        self.0.pick(now, rng)
    }

    fn ended(&mut self, index: usize, now: Duration, took: Duration, _: Ending) {
        self.0.ended(index, now, took, Ending::Fine);
    }
}

#[test]
fn pressure() {
    let first = || Server::refusing(Duration::from_millis(1));
    let share = |report: Report| percent(report.share(0));
    let shares = [
        share(run(first(), 2000.0, in_turn)),
        share(run(first(), 2000.0, || Deaf(least_request()))),
        share(run(first(), 2000.0, least_request)),
        share(run(first(), 2000.0, || Deaf(Peak::of_ten()))),
        share(run(first(), 2000.0, Peak::of_ten)),
    ];
    let policies = [
        "round_robin",
        "least_request, deaf",
        "least_request",
        "peak_ewma, deaf",
        "peak_ewma",
    ];
    let x = Axis::names(
        "balance; deaf: 503 counted as any answer, which Lockgate does not",
        policies,
    );
    let y = Axis::numbers("percent of requests that it gets", 0.0, 25.0, 5.0);
    Picture::new(
        "One of ten endpoints answers 503 to everything, ten times as fast",
        x,
        y,
    )
    .bars("the one that refuses", shares)
    .check("pressure");
}

fn of_table<'a>(places: &[Place<'a>]) -> Vec<&'a str> {
    let table = Maglev::new(places, Size::DEFAULT);
    owners(places, |key| table.order(key))
}

fn of_ring<'a>(places: &[Place<'a>]) -> Vec<&'a str> {
    let ring = Ring::new(places);
    owners(places, |key| ring.order(key))
}

#[test]
fn ring_hash() {
    let names = names(10);
    let before = places(&names, &[1]);
    let mut after = before.clone();
    after.remove(3);
    let modulo = |places: &[Place<'_>]| {
        let count = places.len() as u64;
        let owner = |key: u64| names[(hash(&key.to_le_bytes()) % count) as usize].as_str();
        (0..KEYS).map(owner).collect::<Vec<_>>()
    };
    let moved = [
        percent(moved(&modulo(&before), &modulo(&after))),
        percent(moved(&of_ring(&before), &of_ring(&after))),
        percent(moved(&of_table(&before), &of_table(&after))),
    ];
    let policies = ["key modulo endpoints", "ring_hash", "maglev"];
    let y = Axis::numbers("percent of keys that move", 0.0, 100.0, 20.0);
    Picture::new(
        "One of ten endpoints leaves, and with it a tenth of all keys",
        Axis::names("", policies),
        y,
    )
    .bars("100,000 keys", moved)
    .check("ring_hash");
}

#[test]
fn maglev() {
    let names = names(10);
    let places = places(&names, &[1]);
    let shares = |owners: &[&str]| {
        let share = |place: &Place<'_>| percent(share(owners, place.name));
        places.iter().map(share).collect::<Vec<_>>()
    };
    let x = Axis::names(
        "endpoint",
        ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    );
    let y = Axis::numbers("percent of keys", 0.0, 14.0, 2.0);
    Picture::new(
        "ring_hash and maglev: 100,000 keys among ten equal endpoints",
        x,
        y,
    )
    .bars("ring_hash", shares(&of_ring(&places)))
    .bars("maglev", shares(&of_table(&places)))
    .check("maglev");
}

/// A thousand requests under way at ten endpoints, half of them with one key: percent of
/// them at the hottest endpoint, and at the one of their key.
fn bounded(factor: f64) -> (f64, f64) {
    let names = names(10);
    let table = Maglev::new(&places(&names, &[1]), Size::DEFAULT);
    let bound = Bound::of_percent((factor * 100.0).round() as u32);
    let (mut active, mut at_home) = ([0; 10], 0.0);
    for number in 0..1000_u64 {
        let order = table.order(hash(&(number * (number % 2)).to_le_bytes()));
        let has_room = |index: usize| bound.has_room(active[index], 1, number, 10);
        let picked = bound::pick(order.clone(), 10, has_room).expect("there is room");
        active[picked] += 1;
        at_home += f64::from(u8::from(order.clone().next() == Some(picked)));
    }
    let hottest = active.into_iter().max().expect("ten");
    (f64::from(hottest) / 10.0, at_home / 10.0)
}

#[test]
fn bounded_load() {
    let factors = || (0..=24).map(|step| 1.0 + f64::from(step) * 0.25);
    let x = Axis::numbers("bounded_load", 1.0, 7.0, 1.0);
    Picture::new(
        "bounded_load: half of all requests have the same key",
        x,
        percents(),
    )
    .line(
        "at the hottest of ten endpoints",
        factors().map(|factor| (factor, bounded(factor).0)),
    )
    .line(
        "at the endpoint of their key",
        factors().map(|factor| (factor, bounded(factor).1)),
    )
    .check("bounded_load");
}

/// Ten endpoints, so many of them sick.
fn tier(sick: u64) -> Tier {
    Tier {
        healthy: 10 - sick,
        degraded: 0,
        all: 10,
    }
}

fn all(load: &Load) -> f64 {
    load.healthy + load.degraded + load.any
}

#[test]
fn tiers() {
    let of = |which: usize| {
        (0..=10_u32).map(move |sick| {
            let loads = tiers::loads(&[tier(sick.into()), tier(0)], &tiers::Rules::default());
            (f64::from(sick), percent(all(&loads[which])))
        })
    };
    let x = Axis::numbers("sick endpoints of ten in tier 0", 0.0, 10.0, 1.0);
    Picture::new(
        "tier: what the healthy ones of tier 0 do not carry goes to tier 1",
        x,
        percents(),
    )
    .line("tier 0", of(0))
    .line("tier 1", of(1))
    .check("tiers");
}

/// What an endpoint that is asked gets, times what it would get were all healthy.
#[test]
fn panic_threshold() {
    let of = |panic_below: f64| {
        (0..10_u32).map(move |sick| {
            let rules = tiers::Rules {
                panic_below,
                ..tiers::Rules::default()
            };
            let load = tiers::loads(&[tier(sick.into())], &rules)[0];
            let asked = if load.any > 0.0 {
                10.0
            } else {
                f64::from(10 - sick)
            };
            (f64::from(sick), 10.0 * all(&load) / asked)
        })
    };
    let x = Axis::numbers("sick endpoints of ten", 0.0, 10.0, 1.0);
    let y = Axis::numbers("requests of a healthy one / its share", 0.0, 10.0, 2.0);
    Picture::new("panic_threshold: few that are left are not buried", x, y)
        .line("panic_threshold: 0", of(0.0))
        .line("panic_threshold: 50", of(0.5))
        .check("panic_threshold");
}

#[test]
fn zones() {
    let weights = [5.0, 4.0, 1.0];
    let zone = |weight: f64| Zone {
        able: weight,
        all: weight,
        traffic: 1.0,
    };
    let zones = weights.map(zone);
    let to =
        |to: usize| (0..3).map(move |own| percent(locality::shares(&zones, Some(own), 1.4).of(to)));
    let x = Axis::names(
        "where requests begin, a third in each",
        ["zone a", "zone b", "zone c"],
    );
    let y = Axis::numbers("percent of them that go to", 0.0, 100.0, 20.0);
    Picture::new("zone: the own one first, as far as it carries it", x, y)
        .bars("zone a, 5 endpoints", to(0))
        .bars("zone b, 4 endpoints", to(1))
        .bars("zone c, 1 endpoint", to(2))
        .check("zones");
}

/// A newcomer among five endpoints, which have 5,000 requests a second.
fn newcomer(window: f64, aggression: f64) -> Vec<(f64, f64)> {
    let rules = slow_start::Rules {
        window: seconds(window),
        aggression,
        ..slow_start::Rules::default()
    };
    let rng = RefCell::new(Rng::with_seed(6));
    let schedule = Schedule::new(&[1; 5]);
    let mut round = RoundRobin::default();
    let mut share = |at: f64| {
        let skipped = |index| index == 0 && !rules.takes(seconds(at), rng.borrow_mut().f64());
        let picks = (0..5000).map(|_| round.pick(&schedule, skipped));
        picks.filter(|picked| *picked == Some(0)).count() as f64 / 50.0
    };
    steps(41, 1.0).map(|at| (at, share(at))).collect()
}

#[test]
fn slow_start() {
    let x = Axis::numbers("seconds since it came", 0.0, 40.0, 5.0);
    let y = Axis::numbers("percent of requests that it gets", 0.0, 25.0, 5.0);
    Picture::new(
        "slow_start: a fifth endpoint comes, with a window of 30 s",
        x,
        y,
    )
    .line("without", newcomer(0.0, 1.0))
    .line("aggression 1", newcomer(30.0, 1.0))
    .line("aggression 3", newcomer(30.0, 3.0))
    .check("slow_start");
}
