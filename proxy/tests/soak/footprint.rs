//! What the process holds, over time.

use std::fmt;
use std::time::Duration;

use crate::Stage;
use crate::support::admin::{ask_unix, json};

/// Shorter runs are too short to tell: the most instances at once, whose slots stay,
/// are only there after some minutes.
const LONG: Duration = Duration::from_secs(1800);
/// What the last quarter may have beyond the one before: generations that happen to be
/// alive, and slots of instances, of which each new record of how many there are at once
/// leaves a few more. Records become rare: in an hour the quarters had 131, 144, 151 and
/// 155 MB.
const TOLERATED: f64 = 1.05;

#[derive(Default)]
pub struct Footprints(Vec<Footprint>);

#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    at: Duration,
    resident_kib: u64,
    /// Without what files are mapped to, such as compiled components.
    anonymous_kib: u64,
    mappings: usize,
    descriptors: usize,
    threads: u64,
    generations: usize,
}

impl Footprints {
    pub fn sample(&mut self, stage: &Stage, at: Duration) {
        let id = stage.process.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let rollup = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap();
        let maps = std::fs::read_to_string(format!("/proc/{id}/maps")).unwrap();
        let socket = stage.process.path().join("admin.sock");
        let generations = json(&ask_unix(&socket, "GET", "/generations"));
        self.0.push(Footprint {
            at,
            resident_kib: number_in(&status, "VmRSS:"),
            anonymous_kib: number_in(&rollup, "Anonymous:"),
            mappings: maps.lines().count(),
            descriptors: std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count(),
            threads: number_in(&status, "Threads:"),
            generations: generations["live"].as_array().unwrap().len(),
        });
    }

    pub fn last(&self) -> Footprint {
        *self.0.last().expect("a sample was taken")
    }

    /// The median of the last quarter is not above that of the third, but for what is
    /// tolerated.
    pub fn check(&self, length: Duration) {
        let between = |from: f64, to: f64| {
            let range = length.mul_f64(from)..=length.mul_f64(to);
            let mut samples: Vec<_> = self
                .0
                .iter()
                .filter(|sample| range.contains(&sample.at))
                .collect();
            samples.sort_by_key(|sample| sample.resident_kib);
            samples[samples.len() / 2].resident_kib
        };
        if length < LONG {
            return;
        }
        let (early, late) = (between(0.5, 0.75), between(0.75, 1.0));
        println!("resident, median: {early} KiB in the third quarter, {late} KiB in the last one");
        assert!(late as f64 <= early as f64 * TOLERATED, "memory grows");
    }
}

fn number_in(text: &str, key: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

impl fmt::Display for Footprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|sample| writeln!(f, "{sample}"))
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>5} s: resident {:>6} KiB, anonymous {:>6} KiB, {:>4} mappings, {:>3} descriptors, \
             {:>2} threads, {} generations",
            self.at.as_secs(),
            self.resident_kib,
            self.anonymous_kib,
            self.mappings,
            self.descriptors,
            self.threads,
            self.generations
        )
    }
}
