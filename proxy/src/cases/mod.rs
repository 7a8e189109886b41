//! Cases: sample exchanges or connections for a filter, with what is expected of it.
//!
//! Takes a filter's module, its checked entry and checked cases; gives for each case
//! what came out otherwise than expected. An exchange of a case takes the path that
//! every exchange takes (`exchange::rehearse`), with pipes within the process in the
//! place of sockets: the client's bytes lie ready, origins are tasks (`origin`), calls
//! are answered from the case (`calls`). About a connection the filter is asked as about
//! every other (`connection`).
//! The filter has instances, metrics and a shared store of its own, under its own
//! budgets. Nothing of a rehearsal may reach a worker, a real cluster, the shared
//! state of the filter that serves, or the log.

mod calls;
mod compare;
mod connection;
mod found;
mod message;
mod origin;
mod rehearsal;
mod stage;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use crate::config::cases::Case;
use crate::config::{self, Places};
use crate::filter::Module;
use crate::secrets::{self, Secret};

/// For all cases that run one after the other: a filter's checks, or one case of a file.
const LONGEST: Duration = Duration::from_secs(60);

/// The filter that cases are about.
pub struct Subject<'a> {
    pub module: &'a Arc<Module>,
    pub filter: &'a config::Filter,
    /// Those that it may be granted, beside the cases' own.
    pub secrets: &'a [Arc<Secret>],
    /// Where the parts of its configuration stand.
    pub places: &'a Places,
}

/// What came of one case.
#[derive(Debug)]
pub struct Outcome {
    pub name: String,
    /// JSON pointer of the case in its file.
    pub pointer: String,
    /// None of them where everything was as expected.
    pub differences: Vec<Difference>,
    /// What may explain them: failures in the filter's words, calls without answer,
    /// lines that it logged.
    pub notes: Vec<String>,
    pub took: Duration,
}

/// Something that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// JSON pointer of what was expected.
    pub pointer: String,
    /// Such as `response.headers.x-a`.
    pub what: String,
    pub expected: String,
    pub found: String,
}

/// Cases cannot be run at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot start a thread for cases")]
pub struct CannotRun(#[source] std::io::Error);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            expected,
            found,
            ..
        } = self;
        write!(f, "{what}: expected {expected}, found {found}")
    }
}

impl Outcome {
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Runs cases one after the other, on a thread of their own. Blocks until the last one
/// has ended, or the time for all of them: then the one under way differs in that, and is
/// the last one that is told of.
pub fn run(subject: &Subject<'_>, cases: &[Case]) -> Result<Vec<Outcome>, CannotRun> {
    run_within(subject, cases, LONGEST)
}

fn run_within(
    subject: &Subject<'_>,
    cases: &[Case],
    longest: Duration,
) -> Result<Vec<Outcome>, CannotRun> {
    thread::scope(|scope| {
        let running = thread::Builder::new()
            .name("cases".to_owned())
            .spawn_scoped(scope, || run_here(subject, cases, Time::new(longest)))
            .map_err(CannotRun)?;
        match running.join() {
            Ok(outcomes) => outcomes,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// How long cases may take together.
#[derive(Debug, Clone, Copy)]
struct Time {
    longest: Duration,
    ends_at: Instant,
}

impl Time {
    fn new(longest: Duration) -> Self {
        Self {
            longest,
            ends_at: Instant::now() + longest,
        }
    }

    fn left(self) -> Duration {
        self.ends_at.saturating_duration_since(Instant::now())
    }
}

fn run_here(subject: &Subject<'_>, cases: &[Case], time: Time) -> Result<Vec<Outcome>, CannotRun> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(CannotRun)?;
    let tasks = LocalSet::new();
    let mut outcomes = Vec::new();
    for case in cases {
        let outcome = tasks.block_on(&runtime, run_one(subject, case, time));
        let is_last = !outcome.passed() && time.left().is_zero();
        outcomes.push(outcome);
        if is_last {
            break;
        }
    }
    Ok(outcomes)
}

async fn run_one(subject: &Subject<'_>, case: &Case, time: Time) -> Outcome {
    let own = case.secrets.iter().map(Secret::new);
    let known: Vec<_> = own.chain(subject.secrets.iter().cloned()).collect();
    let started = Instant::now();
    let report = rehearsal::run(subject, case, &known, time).await;
    let took = started.elapsed();
    let from_env = case.masked.iter().cloned();
    let from_env = from_env.map(|bytes| Arc::new(secrets::Value::first(bytes)));
    let values = known.iter().map(|secret| secret.value());
    let values: Vec<_> = values.chain(from_env).collect();
    let masked = |text: String| match secrets::mask(&text, &values) {
        Cow::Borrowed(_) => text,
        Cow::Owned(masked) => masked,
    };
    let differences = report.differences.into_iter().map(|difference| Difference {
        expected: masked(difference.expected),
        found: masked(difference.found),
        ..difference
    });
    Outcome {
        name: case.name.clone(),
        pointer: case.pointer.clone(),
        differences: differences.collect(),
        notes: report.notes.into_iter().map(masked).collect(),
        took,
    }
}
