//! The configuration after checking: every value is good, every reference
//! resolves, and nothing later checks again.

mod balance;
mod cluster;
mod endpoint;
mod filter;
mod listener;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::oci::Reference;
use super::overload::Overload;
use super::place::Places;
use super::retry::RetryPolicy;
pub use super::secret::{NoSecret, Secret, SecretBytes, SecretSource};
use super::trust::TrustedKey;
pub use balance::*;
pub use cluster::*;
pub use endpoint::*;
pub use filter::*;
pub use listener::*;

/// A name given in the configuration: unique among its kind, never empty.
pub type Name = Arc<str>;

/// One checked configuration: a file with everything it includes.
#[derive(Debug)]
pub struct Config {
    pub workers: NonZeroUsize,
    pub admin: Option<Admin>,
    pub log: Log,
    pub access_log: AccessLog,
    /// Where compiled components are kept; `None` keeps them in memory only.
    pub cache_dir: Option<PathBuf>,
    /// How much is kept there, unless more is needed.
    pub max_cache_bytes: u64,
    /// Where what is known of filter versions outlives the process.
    pub state_dir: Option<PathBuf>,
    /// How long a stop serves on before it drains.
    pub lame_duck: Duration,
    /// How long a drain waits for exchanges before it ends them.
    pub drain_timeout: Duration,
    /// Generations that may be alive at once; a reload beyond it is refused.
    pub max_generations: NonZeroUsize,
    /// Connections of all listeners, over all workers.
    pub max_connections: usize,
    pub overload: Overload,
    pub dns: Dns,
    pub listeners: Vec<Listener>,
    pub filters: Vec<Filter>,
    pub clusters: Vec<Cluster>,
    pub retry_policies: Vec<Arc<RetryPolicy>>,
    pub secrets: Vec<Secret>,
    pub registries: Vec<Registry>,
    /// Without any, components need no signature.
    pub trust: Vec<TrustedKey>,
    /// Every file that was read, the main one first: what a reload watches
    /// (component files are in `filters`, those of secrets in `secrets`).
    pub files: Vec<PathBuf>,
    /// The folders that a pattern of `include` was looked for in: a reload watches
    /// them for new files.
    pub folders: Vec<PathBuf>,
    /// What `/config` shows: defaults filled in, secrets masked.
    pub shown: serde_json::Value,
    /// Where each value stands, for mistakes that are only found later.
    pub places: Places,
    /// JSON pointers of the values that came from `${ENV}`, masked wherever shown.
    pub from_env: Vec<String>,
}

impl Config {
    /// The folder that paths in the main file are relative to.
    pub fn folder(&self) -> &Path {
        let file = self.files.first().and_then(|file| file.parent());
        file.unwrap_or(Path::new(""))
    }

    /// The rules of a filter's canary.
    pub fn canary(&self, filter: &str) -> Option<&Canary> {
        let mut filters = self.filters.iter();
        let filter = filters.find(|known| &*known.name == filter)?;
        filter.canary.as_deref()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    pub address: AdminAddress,
    /// Host names that are answered to, beside the address itself and `localhost`.
    pub hosts: Vec<String>,
    /// What POST requests must carry as `Authorization: Bearer`.
    pub token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A `tracing_subscriber::EnvFilter` directive, checked.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    pub to: AccessLogTarget,
    pub format: LogFormat,
    /// Lines tell what each filter did.
    pub filters: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogTarget {
    Off,
    Stdout,
    File(PathBuf),
}

impl Config {
    /// The keys of which one has to have signed the component of a filter. None, where
    /// it needs no signature.
    pub fn trusted_for(&self, filter: &Filter) -> Vec<TrustedKey> {
        let counts =
            |key: &&TrustedKey| filter.trust.is_empty() || filter.trust.contains(&key.name);
        self.trust.iter().filter(counts).cloned().collect()
    }
}

/// Who is asked for names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// None: those of the system.
    pub servers: Vec<SocketAddr>,
    /// For one question to one server.
    pub timeout: Duration,
    /// How often a question is asked again.
    pub attempts: usize,
}
