//! What clients saw, as a table.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;

use super::load::Sample;
use crate::demo::ask;

/// What the proxy counted, by name.
type Counters = Vec<(&'static str, f64)>;

/// Families of which the sums are told.
const COUNTERS: [(&str, &str); 3] = [
    ("lockgate_cluster_retries_total", "sent again"),
    (
        "lockgate_cluster_connect_failures_total",
        "connections not made",
    ),
    ("lockgate_cluster_ejections_total", "ejections"),
];

pub fn counters(admin: SocketAddr) -> anyhow::Result<Counters> {
    let page = ask::get(admin, "/metrics", &[])?;
    ensure!(page.status == 200, "no metrics: {}", page.status);
    let sum = |family: &str| -> f64 {
        let is_of = |line: &&str| {
            let rest = line.strip_prefix(family);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        let values = page.body.lines().filter(is_of);
        let values = values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        // None is nothing, and not what it is less than.
        values.fold(0.0, |sum, value| sum + value)
    };
    Ok(COUNTERS.map(|(family, name)| (name, sum(family))).into())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Before,
    Broken,
    After,
}

impl Part {
    const ALL: [(Self, &str); 3] = [
        (Part::Before, "before"),
        (Part::Broken, "broken"),
        (Part::After, "after"),
    ];
}

/// What clients saw.
pub struct Seen {
    samples: Vec<Sample>,
    counters: Counters,
    /// When the second part began, and how long it was.
    broken_at: Duration,
    broken_for: Duration,
}

impl Seen {
    pub fn new(
        samples: Vec<Sample>,
        counters: Counters,
        broken_at: Duration,
        broken_for: Duration,
    ) -> Self {
        Self {
            samples,
            counters,
            broken_at,
            broken_for,
        }
    }

    fn part(&self, part: Part) -> impl Iterator<Item = &Sample> {
        let (begin, end) = (self.broken_at, self.broken_at + self.broken_for);
        self.samples.iter().filter(move |sample| match part {
            // Whose answer was under way when it broke noticed that.
            Part::Before => sample.at + sample.took < begin,
            Part::Broken => sample.at + sample.took >= begin && sample.at < end,
            Part::After => sample.at >= end,
        })
    }

    pub fn count(&self, part: Part) -> usize {
        self.part(part).count()
    }

    pub fn failed(&self, part: Part) -> usize {
        self.part(part).filter(|sample| !sample.is_good()).count()
    }

    pub fn table(&self) -> String {
        let head = format!(
            "  {:<8} {:>9} {:>8} {:>10} {:>10} {:>10}",
            "", "requests", "failed", "median", "p99", "longest"
        );
        let mut lines = vec![head];
        for (part, name) in Part::ALL {
            let mut took: Vec<_> = self.part(part).map(|sample| sample.took).collect();
            took.sort_unstable();
            let at = |share: f64| {
                let index = (took.len() as f64 * share) as usize;
                let took = took.get(index.min(took.len().saturating_sub(1)));
                took.map_or_else(String::new, |took| milliseconds(*took))
            };
            lines.push(format!(
                "  {name:<8} {:>9} {:>8} {:>10} {:>10} {:>10}",
                took.len(),
                self.failed(part),
                at(0.5),
                at(0.99),
                at(1.0),
            ));
        }
        let failures = self.failures();
        if !failures.is_empty() {
            lines.push(format!("  clients saw {failures}"));
        }
        let counted = |(name, value): &(&str, f64)| format!("{value} {name}");
        let counted: Vec<_> = self.counters.iter().map(counted).collect();
        lines.push(format!("  the proxy counted {}", counted.join(", ")));
        lines.join("\n")
    }

    fn failures(&self) -> String {
        let mut counts: BTreeMap<_, usize> = BTreeMap::new();
        for sample in self.samples.iter().filter(|sample| !sample.is_good()) {
            *counts.entry(sample.status).or_default() += 1;
        }
        let shown = |(status, count): (&Option<u16>, &usize)| match status {
            Some(status) => format!("{count} × {status}"),
            None => format!("{count} × no answer"),
        };
        counts.iter().map(shown).collect::<Vec<_>>().join(", ")
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
