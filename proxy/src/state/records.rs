//! The form in which versions of filters are remembered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{Filter, Name};

/// What is known of each filter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Records {
    pub filters: BTreeMap<Name, Record>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version that last passed its probation.
    pub good: Option<Good>,
    /// Versions that did not, oldest first.
    pub failed: Vec<Failed>,
    /// What became of its canary.
    #[serde(default)]
    pub decision: Option<Settled>,
}

/// A decision, and the block of the file that it holds for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    #[serde(flatten)]
    pub decision: Decision,
    /// [`Filter::written`]. What was decided before that was noted holds for none.
    #[serde(default)]
    pub block: String,
}

/// That a canary took its filter's place or was given up. It holds until the file
/// says something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The identities of both versions.
    pub stable: String,
    pub canary: String,
    pub verdict: Verdict,
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Promoted,
    Aborted,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Good {
    /// Hex digits of the component's SHA-256.
    pub digest: String,
    /// Equal for versions that behave alike.
    pub identity: String,
    /// The trusted key that had signed the component.
    #[serde(default)]
    pub signed_by: Option<Name>,
    /// Its entry in the file, with everything that was filled in.
    pub block: Filter,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub identity: String,
    pub why: String,
}
