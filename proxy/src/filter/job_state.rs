//! What is known of a job. Its thread writes, whoever is asked for it reads.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::fault::Failure;

/// Of one configuration, for as long as its filter lives.
#[derive(Debug, Default)]
pub struct JobState(Mutex<Told>);

/// What may be told of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    pub standing: Standing,
    pub runs: u64,
    pub last_run: Option<SystemTime>,
    pub last_success: Option<SystemTime>,
    /// Why the last run failed, if it did.
    pub last_error: Option<String>,
    pub next_run: Option<SystemTime>,
}

/// What a job is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standing {
    /// It was not begun, or is no more.
    #[default]
    Idle,
    Running,
    Resting,
    /// It rests until its configuration changes.
    Done,
}

impl Standing {
    pub fn name(self) -> &'static str {
        match self {
            Standing::Idle => "idle",
            Standing::Running => "running",
            Standing::Resting => "resting",
            Standing::Done => "done",
        }
    }
}

impl JobState {
    pub fn told(&self) -> Told {
        self.locked().clone()
    }

    /// A run begins.
    pub fn begin(&self) {
        let mut told = self.locked();
        told.standing = Standing::Running;
        told.last_run = Some(SystemTime::now());
        told.next_run = None;
    }

    /// A run ended, and the next one comes after this rest, if any does.
    pub fn end(&self, failure: Option<&Failure>, rest: Option<Duration>) {
        let now = SystemTime::now();
        let mut told = self.locked();
        told.runs += 1;
        told.last_error = failure.map(Failure::to_string);
        if failure.is_none() {
            told.last_success = Some(now);
        }
        told.next_run = rest.and_then(|rest| now.checked_add(rest));
        told.standing = match rest {
            Some(_) => Standing::Resting,
            None => Standing::Done,
        };
    }

    /// It is no more. One that was done anyway stays that.
    pub fn cancel(&self) {
        let mut told = self.locked();
        if told.standing != Standing::Done {
            told.standing = Standing::Idle;
            told.next_run = None;
        }
    }

    fn locked(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
