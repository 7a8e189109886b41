//! What the shadows of filters were seen to do otherwise.

use std::fmt;

use super::families::{CounterFamily, counters, rows, split};
use super::{Head, Page};
use crate::stats::shadow::{DIFFERENCES, ShadowStats};
use crate::stats::{FilterKey, Named};

pub fn write(named: &Named<FilterKey, ShadowStats>, page: &mut Page) -> fmt::Result {
    let rows = rows(named, |(name, generation)| {
        vec![("filter", name.clone()), ("generation", generation.clone())]
    });
    counters(
        page,
        &rows,
        &[
            CounterFamily {
                name: "lockgate_filter_shadow_exchanges",
                help: "Exchanges in which a filter's shadow was compared with it.",
                unit: None,
                of: |stats| &stats.compared,
            },
            CounterFamily {
                name: "lockgate_filter_shadow_skipped",
                help: "Exchanges that a filter's shadow should have seen and had no room or no time for.",
                unit: None,
                of: |stats| &stats.skipped,
            },
            CounterFamily {
                name: "lockgate_filter_shadow_transformed",
                help: "Exchanges that were compared but for a body that passed a transform.",
                unit: None,
                of: |stats| &stats.transformed,
            },
        ],
    )?;
    split(
        page,
        &Head::of(
            "lockgate_filter_shadow_differences",
            "Exchanges in which a filter's shadow differed from it, by what differed.",
        ),
        ("in", &DIFFERENCES),
        &rows,
        ShadowStats::differing,
    )
}
