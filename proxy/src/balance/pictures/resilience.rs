//! Those of docs/resilience.md and docs/health.md.

use super::super::breaker::{Admission, Breaker, Counts, Rules};
use super::super::codel;
use super::super::gradient::tests::filled;
use super::super::gradient::{self, Gradient};
use super::super::outlier::{self, Ejections};
use super::super::retry_budget::{self, Budget, Tried, Window};
use super::{Axis, Picture, percents, seconds, steps};

/// A thousand requests a second; from 5 s to 25 s all tries fail at once.
#[test]
fn retry_budget() {
    let budget = Budget::new(retry_budget::Rules::default());
    let mut window = Window::default();
    let mut requests = 0;
    let tries = steps(36, 1.0).map(|at| {
        let mut tries = 0.0;
        window.tick(seconds(at), requests, &budget);
        for _ in 0..1000 {
            requests += 1;
            tries += 1.0;
            let is_outage = (5.0..25.0).contains(&at);
            for _ in 0..if is_outage { 2 } else { 0 } {
                if budget.spend(requests, 100, None, Tried::Seen).is_ok() {
                    budget.ended(Tried::Seen);
                    tries += 1.0;
                }
            }
        }
        (at, tries / 1000.0)
    });
    let tries: Vec<_> = tries.collect();
    let without = tries.iter().map(|(at, _)| match (5.0..25.0).contains(at) {
        true => (*at, 3.0),
        false => (*at, 1.0),
    });
    let x = Axis::numbers("seconds; nothing answers from 5 to 25", 0.0, 35.0, 5.0);
    let y = Axis::numbers("tries for each request", 0.0, 3.5, 0.5);
    Picture::new(
        "retry_budget: what an outage costs origins, with three tries",
        x,
        y,
    )
    .line("without a budget", without)
    .line("percent: 20", tries.iter().copied())
    .check("retry_budget");
}

#[test]
fn outliers() {
    let rules = outlier::Rules::default();
    let mut ejections = Ejections::default();
    let mut now = seconds(0.0);
    let ejected = (0..14).map(|_| {
        ejections.eject(now, &rules, 0.0);
        let until = ejections.until().expect("it is ejected");
        let time = until - now;
        now = until;
        ejections.end_interval(now);
        time.as_secs_f64()
    });
    let x = Axis::names("ejection", (1..=14).map(|number| number.to_string()));
    let y = Axis::numbers("seconds, and a tenth more by chance", 0.0, 350.0, 50.0);
    Picture::new(
        "outliers: who fails again as soon as it is back stays away for longer",
        x,
        y,
    )
    .bars(
        "base_time: 30s, max_time: 300s",
        ejected.collect::<Vec<_>>(),
    )
    .check("outliers");
}

/// A hundred requests a second; from 5 s to 12 s all fail.
#[test]
fn breaker() {
    let mut breaker = Breaker::new(Rules::default());
    let mut admitted = Admission::All;
    let passed = steps(300, 0.1).map(|at| {
        let passed = match admitted {
            Admission::All => 10,
            Admission::None => 0,
            Admission::Probes(probes) => u64::from(probes),
            Admission::Share(share) => (share * 10.0).round() as u64,
        };
        let failed = if (5.0..12.0).contains(&at) { passed } else { 0 };
        let counts = Counts {
            ended: passed,
            failed,
        };
        if let Some(changed) = breaker.tick(seconds(at), counts) {
            admitted = changed;
        }
        (at, passed as f64 * 10.0)
    });
    let x = Axis::numbers("seconds; all fail from 5 to 12", 0.0, 30.0, 5.0);
    Picture::new(
        "breaker: closed, open, half open, and closing little by little",
        x,
        percents(),
    )
    .line("let through", passed.collect::<Vec<_>>())
    .check("breaker");
}

#[test]
fn queue() {
    let waits = |queue| {
        let served = codel::tests::served(queue);
        steps(100, 0.1).map(move |at| {
            let begin = (at * 1000.0) as u64;
            let now = served
                .iter()
                .filter(|(at, _)| (begin..begin + 100).contains(at));
            let waited = now.map(|(_, waited)| *waited as f64);
            (at + 0.1, waited.fold(0.0, f64::max))
        })
    };
    let x = Axis::numbers("seconds", 0.0, 10.0, 1.0);
    let y = Axis::numbers("the longest wait of who is served, ms", 0.0, 1200.0, 200.0);
    Picture::new("queue: twice as many come as can be served", x, y)
        .line("in order, a thousand places", waits(None))
        .line("queue", waits(Some(codel::Codel::default())))
        .check("queue");
}

/// A minute each of an origin that serves 100 at once, then 50, then 100.
#[test]
fn concurrency() {
    let rules = gradient::Rules {
        most: 1000,
        ..gradient::Rules::default()
    };
    let mut gradient = Gradient::new(rules);
    let takes = |at: f64| {
        if (60.0..120.0).contains(&at) {
            50.0
        } else {
            100.0
        }
    };
    let limits = steps(361, 0.5).map(|at| (at, f64::from(filled(&mut gradient, takes(at), 1))));
    let x = Axis::numbers("seconds", 0.0, 180.0, 20.0);
    let y = Axis::numbers("requests at once", 0.0, 200.0, 50.0);
    Picture::new(
        "concurrency: an origin that becomes smaller for a minute",
        x,
        y,
    )
    .line(
        "served at once, the rest wait there",
        steps(361, 0.5).map(|at| (at, takes(at))),
    )
    .line("limit", limits.collect::<Vec<_>>())
    .check("concurrency");
}
