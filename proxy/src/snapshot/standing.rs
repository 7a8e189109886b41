//! Filters that run in another version than the file says, and why.

use std::fmt;

use crate::config::Name;

/// That a filter is not what the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub filter: Name,
    pub reason: Reason,
    /// What is wrong with the version in the file, one line each.
    pub why: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It could not be built, and the one that ran runs on.
    Kept,
    /// It could not be built at the start, and the last good one was at hand.
    LastGood,
    /// It failed on probation.
    FellBack,
    /// Its canary has taken its place.
    Promoted,
    /// Its canary was given up.
    Aborted,
}

impl Reason {
    /// As `/filters` names it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Kept => "kept",
            Reason::LastGood => "last-good",
            Reason::FellBack => "fell-back",
            Reason::Promoted => "promoted",
            Reason::Aborted => "aborted",
        }
    }
}

impl Standing {
    /// Whether the version in the file is bad, and not only decided about.
    pub fn is_degraded(&self) -> bool {
        match self.reason {
            Reason::Kept | Reason::LastGood | Reason::FellBack => true,
            Reason::Promoted | Reason::Aborted => false,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Standing { filter, reason, .. } = self;
        let what = match reason {
            Reason::Kept => "stays at the version that ran, because the one in the file is bad",
            Reason::LastGood => {
                "starts with its last good version, because the one in the file is bad"
            }
            Reason::FellBack => "runs in its last good version, because the one in the file failed",
            Reason::Promoted => "runs in the version of its canary, which was promoted",
            Reason::Aborted => "runs without its canary, which was given up",
        };
        write!(f, "filter `{filter}` {what}")
    }
}
