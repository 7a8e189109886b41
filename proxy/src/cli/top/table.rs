//! What happened between two looks, as a table. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use crate::control::admin::client::Told;
use crate::stats::Bill;

/// What the admin address told at some time.
#[derive(Debug, Clone)]
pub struct Sample {
    pub taken: Instant,
    pub filters: Vec<Told>,
}

/// One row for each generation of each filter, those that cost most first.
#[derive(Debug)]
pub struct Table(Vec<Row>);

#[derive(Debug, PartialEq)]
struct Row {
    filter: String,
    generation: String,
    calls: f64,
    cpu_percent: f64,
    /// `None` where there was no call.
    call_micros: Option<f64>,
    waits: f64,
    faults: f64,
    instances: i64,
    memory_bytes: i64,
    paused_workers: usize,
}

const TITLES: [&str; 10] = [
    "FILTER",
    "GENERATION",
    "CALLS/S",
    "CPU%",
    "US/CALL",
    "WAITS/S",
    "FAULTS/S",
    "INSTANCES",
    "MEMORY",
    "PAUSED",
];

impl Table {
    pub fn between(before: &Sample, now: &Sample) -> Self {
        let seconds = now.taken.duration_since(before.taken).as_secs_f64();
        let nothing = Bill::default();
        let mut rows = Vec::new();
        for told in &now.filters {
            for bill in &told.bills {
                // A generation that was not there before began with nothing.
                let known = before.find(&told.name, &bill.generation);
                rows.push(row(told, known.unwrap_or(&nothing), bill, seconds));
            }
        }
        rows.sort_by(|one, other| other.cpu_percent.total_cmp(&one.cpu_percent));
        Self(rows)
    }
}

impl Sample {
    fn find(&self, filter: &str, generation: &str) -> Option<&Bill> {
        let told = self.filters.iter().find(|told| told.name == filter)?;
        told.bills.iter().find(|bill| bill.generation == generation)
    }
}

fn row(told: &Told, before: &Bill, now: &Bill, seconds: f64) -> Row {
    // Of a process that was started anew, what is left is less than nothing.
    let more = |of: fn(&Bill) -> f64| (of(now) - of(before)).max(0.0);
    let calls = more(|bill| sum(&bill.calls) as f64);
    let cpu = more(|bill| bill.cpu_seconds.values().sum());
    let waits = more(|bill| (bill.instance_waits + bill.call_waits) as f64);
    let faults = more(|bill| sum(&bill.faults) as f64);
    let digits = now.generation.trim_start_matches("sha256:");
    Row {
        filter: told.name.clone(),
        generation: match told.generations.contains(&now.generation) {
            true => digits.to_owned(),
            false => format!("{digits} old"),
        },
        calls: calls / seconds,
        cpu_percent: cpu / seconds * 100.0,
        call_micros: (calls > 0.0).then(|| cpu / calls * 1e6),
        waits: waits / seconds,
        faults: faults / seconds,
        instances: now.instances,
        memory_bytes: now.memory_bytes,
        paused_workers: now.paused_workers,
    }
}

fn sum(by_name: &BTreeMap<String, u64>) -> u64 {
    by_name.values().sum()
}

impl Row {
    fn cells(&self) -> [String; TITLES.len()] {
        [
            self.filter.clone(),
            self.generation.clone(),
            format!("{:.1}", self.calls),
            format!("{:.2}", self.cpu_percent),
            self.call_micros
                .map_or_else(|| "-".to_owned(), |micros| format!("{micros:.2}")),
            format!("{:.1}", self.waits),
            format!("{:.1}", self.faults),
            self.instances.to_string(),
            mebibytes(self.memory_bytes),
            match self.paused_workers {
                0 => "-".to_owned(),
                workers => format!("{workers} workers"),
            },
        ]
    }
}

fn mebibytes(bytes: i64) -> String {
    format!("{:.1}M", bytes as f64 / f64::from(1 << 20))
}

impl fmt::Display for Table {
    /// Names to the left, figures to the right, no space behind the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![TITLES.map(str::to_owned)];
        lines.extend(self.0.iter().map(Row::cells));
        let widths: [usize; TITLES.len()] = std::array::from_fn(|column| {
            let cells = lines.iter().map(|cells| cells[column].chars().count());
            cells.max().unwrap_or_default()
        });
        for cells in &lines {
            let mut line = String::new();
            for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
                line += &match column {
                    0 | 1 => format!("{cell:width$}  "),
                    _ => format!("{cell:>width$}  "),
                };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn told(name: &str, bills: Vec<Bill>) -> Told {
        Told {
            name: name.to_owned(),
            generations: ["aa", "aa+canary", "bb+shadow"]
                .map(|label| format!("sha256:{label}"))
                .into(),
            bills,
        }
    }

    fn bill(generation: &str, calls: u64, cpu: f64) -> Bill {
        Bill {
            generation: generation.to_owned(),
            calls: [("request".to_owned(), calls)].into(),
            cpu_seconds: [("request".to_owned(), cpu)].into(),
            instances: 2,
            memory_bytes: 3 << 20,
            ..Bill::default()
        }
    }

    fn sample(taken: Instant, filters: Vec<Told>) -> Sample {
        Sample { taken, filters }
    }

    #[test]
    fn a_table_tells_what_happened_in_between() {
        let start = Instant::now();
        let before = sample(start, vec![told("auth", vec![bill("sha256:aa", 100, 1.0)])]);
        let mut now = bill("sha256:aa", 300, 1.5);
        now.faults.insert("trap".to_owned(), 4);
        now.paused_workers = 1;
        let filters = vec![
            told("idle", vec![Bill::default()]),
            told("auth", vec![bill("sha256:00", 0, 0.0), now]),
        ];
        let now = sample(start + Duration::from_secs(2), filters);
        let text = Table::between(&before, &now).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[..2],
            [
                "FILTER  GENERATION  CALLS/S   CPU%  US/CALL  WAITS/S  FAULTS/S  INSTANCES  MEMORY     PAUSED",
                "auth    aa            100.0  25.00  2500.00      0.0       2.0          2    3.0M  1 workers",
            ],
        );
        assert!(
            lines.iter().any(|line| line.starts_with("auth    00 old")),
            "{text}"
        );
        assert!(lines.iter().any(|line| line.starts_with("idle")), "{text}");
    }

    #[test]
    fn what_is_tried_is_not_old() {
        let start = Instant::now();
        let labels = ["aa", "aa+canary", "bb+shadow", "aa+shadow", "cc+canary"];
        let bills = labels.map(|label| bill(&format!("sha256:{label}"), 0, 0.0));
        let filters = vec![told("auth", bills.into())];
        let before = sample(start, filters.clone());
        let now = sample(start + Duration::from_secs(1), filters);
        let table = Table::between(&before, &now);
        let shown = table.0.iter().map(|row| &*row.generation);
        let shown: Vec<_> = shown.collect();
        assert_eq!(
            shown,
            [
                "aa",
                "aa+canary",
                "bb+shadow",
                "aa+shadow old",
                "cc+canary old"
            ]
        );
    }

    #[test]
    fn a_process_that_was_started_anew_is_no_riddle() {
        let start = Instant::now();
        let before = sample(start, vec![told("auth", vec![bill("sha256:aa", 100, 1.0)])]);
        let after = vec![told("auth", vec![bill("sha256:aa", 3, 0.1)])];
        let after = sample(start + Duration::from_secs(1), after);
        let table = Table::between(&before, &after);
        assert_eq!((table.0[0].calls, table.0[0].call_micros), (0.0, None));
    }
}
