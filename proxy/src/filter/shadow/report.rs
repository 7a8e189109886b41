//! What a shadow was seen to do otherwise: numbers, and some samples.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::compare::Differences;
use crate::filter::loaded::{Fared, LoadedFilter};
use crate::filter::log;
use crate::stats::PerWorker;
use crate::stats::shadow::{DIFFERENCES, Difference, ShadowStats, ShadowTally};

/// The newest are kept.
const MAX_SAMPLES: usize = 16;
const MAX_TOLD: usize = 8;
const MAX_TEXT_BYTES: usize = 512;

pub struct Report {
    /// What was counted before this began.
    then: ShadowTally,
    faults_then: Fared,
    serving_then: Fared,
    samples: Mutex<VecDeque<Sample>>,
}

/// What one exchange came to.
#[derive(Default)]
pub struct Findings {
    pub differences: Vec<(&'static str, Differences)>,
    /// Either version was called at all: for a route, both may be off.
    pub has_part: bool,
    /// A body passed a transform of either version, whose pieces nobody copied.
    pub has_transform: bool,
    /// What the two versions used of the processor, where that can be compared.
    pub serving_cpu: Duration,
    pub shadow_cpu: Duration,
    /// Of the request, for the sample.
    pub request: String,
    pub request_id: String,
    /// Of the shadow.
    pub lines: Vec<String>,
}

/// One exchange that differed.
struct Sample {
    at: SystemTime,
    request: String,
    request_id: String,
    differences: Vec<String>,
    lines: Vec<String>,
}

impl Findings {
    /// Every kind of difference that there is, once.
    pub fn kinds(&self) -> Vec<Difference> {
        let found = |kind: &Difference| {
            let mut all = self.differences.iter();
            let has = |differences: &Differences| differences.0.iter().any(|(own, _)| own == kind);
            all.any(|(_, differences)| has(differences))
        };
        let mut kinds: Vec<_> = Difference::ALL.into_iter().filter(found).collect();
        if self.is_slower() {
            kinds.push(Difference::Time);
        }
        kinds
    }

    /// Clearly, so that chance is no difference.
    fn is_slower(&self) -> bool {
        const CHANCE: Duration = Duration::from_micros(50);
        self.shadow_cpu > 2 * self.serving_cpu + CHANCE
    }
}

impl Report {
    pub fn new(
        stats: &PerWorker<ShadowStats>,
        filter: &LoadedFilter,
        serving: &LoadedFilter,
    ) -> Self {
        Self {
            then: ShadowTally::of(stats),
            faults_then: filter.record(),
            serving_then: serving.record(),
            samples: Mutex::default(),
        }
    }

    /// Keeps an exchange that differed, without the secrets of the filter.
    pub fn keep(&self, findings: Findings, filter: &LoadedFilter) {
        let clean = |text: &str| log::clean(&filter.secrets().mask_all(text), MAX_TEXT_BYTES);
        let differences = findings
            .differences
            .iter()
            .flat_map(|(phase, differences)| {
                let told = differences.0.iter();
                told.map(move |(_, told)| format!("{phase}: {told}"))
            });
        let time = findings.is_slower().then(|| {
            let (serving, shadow) = (findings.serving_cpu, findings.shadow_cpu);
            format!("time of the processor: {serving:?}; shadow: {shadow:?}")
        });
        let sample = Sample {
            at: SystemTime::now(),
            differences: differences
                .chain(time)
                .take(MAX_TOLD)
                .map(|told| clean(&told))
                .collect(),
            request: clean(&findings.request),
            request_id: findings.request_id,
            lines: findings
                .lines
                .iter()
                .take(MAX_TOLD)
                .map(|line| clean(line))
                .collect(),
        };
        let mut samples = self.samples();
        if samples.len() >= MAX_SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    pub fn tell(
        &self,
        stats: &PerWorker<ShadowStats>,
        filter: &LoadedFilter,
        serving: &LoadedFilter,
    ) -> Value {
        let tally = ShadowTally::of(stats).since(&self.then);
        let fared = filter.record().since(self.faults_then);
        let differing = DIFFERENCES.into_iter().zip(tally.differing);
        let differing: BTreeMap<_, _> = differing.collect();
        let mean = |fared: Fared| fared.mean().map(|mean| mean.as_nanos() as f64 / 1000.0);
        let samples = self.samples();
        let samples: Vec<_> = samples.iter().map(Sample::tell).collect();
        json!({
            "compared": tally.compared,
            "skipped": tally.skipped,
            "transforms_not_compared": tally.transformed,
            "differed": tally.differed,
            "differing": differing,
            "faults": fared.faults,
            "mean_call_us": {
                "serving": mean(serving.record().since(self.serving_then)),
                "shadow": mean(fared),
            },
            "samples": samples,
        })
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sample {
    fn tell(&self) -> Value {
        let at = self.at.duration_since(SystemTime::UNIX_EPOCH);
        json!({
            "at": at.unwrap_or_default().as_secs_f64(),
            "request": self.request,
            "request_id": self.request_id,
            "differences": self.differences,
            "lines": self.lines,
        })
    }
}
