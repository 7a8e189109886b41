//! The admin address: what Lockgate is doing, and the request to reload.
//!
//! Takes: requests on a Unix socket or over TCP. Gives: metrics, readiness, and
//! the last published [`AdminView`]; commands go to the control loop, which
//! alone acts on them.
//! Must never: answer to a host name that is not its own, change anything for a
//! foreign page, show a secret, or hold a worker up.

mod access;
mod bind;
pub mod client;
mod io;
mod reserve;
mod routes;
mod server;

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::upgrade::UpgradeOutcome;
use crate::balance::health::Told;
use crate::state::Verdict;
use crate::stats::Stats;

pub use access::Access;
pub use bind::BindError;
pub use server::{Server, Serving};

/// What the server works with.
#[derive(Clone)]
pub struct AdminState {
    pub stats: Arc<Stats>,
    pub commands: mpsc::Sender<Command>,
    pub view: Arc<ArcSwap<AdminView>>,
}

/// What is shown, published anew by the control loop whenever it changes.
pub struct AdminView {
    pub readiness: Readiness,
    pub access: Access,
    /// The configuration as checked, secrets masked.
    pub config: Value,
    /// Brings up to date what is only counted when it is asked for.
    pub before_metrics: Box<dyn Fn() + Send + Sync>,
    pub filters: Shown,
    pub canary: Tried,
    pub clusters: Shown,
    pub tell_endpoint: Teller,
    pub generations: Shown,
}

/// Something that changes without being published, told when it is asked for.
pub type Shown = Box<dyn Fn() -> Value + Send + Sync>;

/// Gives the identity of a filter's canary, while it is being tried.
pub type Tried = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Says by hand how an endpoint of a cluster is, or that nothing is said any more; gives why
/// there is none.
pub type Teller = Box<dyn Fn(&str, &str, Option<Told>) -> Result<(), String> + Send + Sync>;

/// Whether new exchanges should be sent here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Starting,
    Ready,
    Draining,
}

/// What the control loop is asked to do.
#[derive(Debug)]
pub enum Command {
    Reload {
        reply: oneshot::Sender<ReloadOutcome>,
    },
    /// Have another process take over.
    Upgrade {
        reply: oneshot::Sender<UpgradeOutcome>,
    },
    /// Promote or abort a canary.
    Decide(Decide),
    /// Stop, as SIGTERM asks.
    Drain,
}

/// What is to become of a filter's canary.
#[derive(Debug)]
pub struct Decide {
    pub filter: String,
    pub verdict: Verdict,
    /// The identity of the canary when it was asked for: a reload may come before.
    pub canary: Option<String>,
    pub reply: oneshot::Sender<ReloadOutcome>,
}

/// What came of a reload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadOutcome {
    /// The configuration was published.
    pub ok: bool,
    /// The newest generation after it: the old one if it was refused.
    pub generation: u64,
    /// What differs from the generation before.
    #[serde(default)]
    pub changed: Vec<String>,
    /// Why it was refused.
    #[serde(default)]
    pub mistakes: Vec<String>,
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What came of telling how an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TellOutcome {
    pub ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[cfg(test)]
mod tests;
