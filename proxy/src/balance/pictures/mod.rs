//! The pictures of docs/balancing.md and docs/resilience.md. Takes: the simulation, and the
//! algorithms themselves. Gives: SVG that is the same on every machine, checked against what
//! is committed. Must never: show what was not worked out here.

mod balancing;
mod resilience;
mod svg;

use std::time::Duration;

use svg::{Axis, Picture};

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn percent(share: f64) -> f64 {
    share * 100.0
}

fn percents() -> Axis {
    Axis::numbers("percent of requests", 0.0, 100.0, 20.0)
}

/// From 0 on, so many steps.
fn steps(count: u32, step: f64) -> impl Iterator<Item = f64> {
    (0..count).map(move |number| f64::from(number) * step)
}
