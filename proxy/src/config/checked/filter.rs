//! Filters: where their components come from, what they may do, and how versions follow.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Name;
use crate::config::cases::Case;
use crate::config::oci::Reference;
use crate::digest::Digest;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    pub name: Name,
    pub component: ComponentSource,
    /// The names of trusted keys of which one has to have signed it; of none, any.
    pub trust: Vec<Name>,
    pub on_error: OnError,
    pub on_bad: OnBad,
    pub probation: Probation,
    pub isolation: Isolation,
    pub limits: FilterLimits,
    pub grants: Grants,
    /// The configuration for what no entry of `routes` names.
    pub config: FilterConfig,
    /// By the route that an earlier filter named.
    pub routes: Vec<(Name, RouteConfig)>,
    /// Another version that some exchanges try.
    pub canary: Option<Box<Canary>>,
    /// Another version that sees copies.
    #[serde(default)]
    pub shadow: Option<Box<Shadow>>,
    /// What is checked of it before it is published.
    #[serde(skip)]
    pub checks: Vec<Case>,
    /// JSON pointer of this filter in the file, `/filters/auth`.
    pub pointer: String,
}

/// A version that serves a share of a filter's exchanges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    pub component: ComponentSource,
    /// In the place of the filter's own; its routes stay.
    pub config: Option<FilterConfig>,
    /// Of 10,000 exchanges.
    pub share: u16,
    pub sticky_by: Sticky,
    pub abort_on: AbortOn,
    /// When it takes the filter's place by itself, if it does.
    pub promote_after: Option<Duration>,
    /// JSON pointer of this canary in the file.
    pub pointer: String,
}

/// A version that sees copies of exchanges, to be compared with the one that serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shadow {
    pub component: ComponentSource,
    /// In the place of the filter's own; its routes stay.
    pub config: Option<FilterConfig>,
    /// Of 10,000 exchanges.
    pub share: u16,
    /// Of one processor, on average.
    pub cpu_percent: u8,
    /// Clusters that it may call, in the place of those of the filter.
    pub call: Vec<Name>,
    /// JSON pointer of this shadow in the file.
    pub pointer: String,
}

/// What decides which exchanges see a canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sticky {
    Chance,
    Address,
    /// A field of the request, in lower case; without it, not the canary.
    Header(String),
    /// What an earlier filter left; without it, not the canary.
    Attribute(String),
}

/// When a canary is given up by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortOn {
    /// Not before it was called so often.
    pub min_calls: u64,
    /// This share of its calls failed.
    pub fault_percent: u8,
    /// One call takes so much longer on average than one of the other version.
    pub added_latency: Option<Duration>,
    /// The share of calls that end the exchange differs by so many points.
    pub verdict_percent: Option<u8>,
}

impl Filter {
    /// What this is the entry of, if not of a filter itself: its `canary` or its
    /// `shadow`. Names hold no `/`.
    pub fn trial(&self) -> Option<&str> {
        self.pointer.split('/').nth(3)
    }

    /// Whether it has no effect on exchanges.
    pub fn is_shadow(&self) -> bool {
        self.trial() == Some("shadow")
    }

    /// Equal where the file says the same of it, in whatever order, and other where a key
    /// of it or of its canary does not. Paths of components are taken from this folder,
    /// that of the file: the file may have moved, and may be named otherwise.
    pub fn written(&self, folder: &Path) -> String {
        let mut block = self.clone();
        let own = std::iter::once(&mut block.component);
        let canary = block.canary.iter_mut().map(|canary| &mut canary.component);
        let shadow = block.shadow.iter_mut().map(|shadow| &mut shadow.component);
        for component in own.chain(canary).chain(shadow) {
            if let ComponentSource::File(path) = component
                && let Ok(inside) = path.strip_prefix(folder)
            {
                *path = inside.to_owned();
            }
        }
        Digest::of(format!("{block:?}").as_bytes()).hex()
    }

    /// The canary as the entry of a filter.
    pub fn canary_entry(&self) -> Option<Self> {
        let canary = self.canary.as_deref()?;
        Some(self.with(&canary.component, canary.config.as_ref(), &canary.pointer))
    }

    /// The shadow as the entry of a filter.
    pub fn shadow_entry(&self) -> Option<Self> {
        let shadow = self.shadow.as_deref()?;
        let mut entry = self.with(&shadow.component, shadow.config.as_ref(), &shadow.pointer);
        entry.grants.call.clone_from(&shadow.call);
        Some(entry)
    }

    /// Another version of the same filter, with a configuration of its own or with
    /// that of the filter.
    fn with(
        &self,
        component: &ComponentSource,
        config: Option<&FilterConfig>,
        pointer: &str,
    ) -> Self {
        Self {
            component: component.clone(),
            config: config.unwrap_or(&self.config).clone(),
            canary: None,
            shadow: None,
            pointer: pointer.to_owned(),
            ..self.clone()
        }
    }

    /// The configuration of no route, then those of routes.
    pub fn configs(&self) -> impl Iterator<Item = &FilterConfig> {
        let routes = self.routes.iter().filter_map(|(_, route)| match route {
            RouteConfig::Config(config) => Some(config),
            RouteConfig::Off => None,
        });
        std::iter::once(&self.config).chain(routes)
    }

    /// The same, to be changed.
    pub fn configs_mut(&mut self) -> impl Iterator<Item = &mut FilterConfig> {
        let routes = self.routes.iter_mut().filter_map(|(_, route)| match route {
            RouteConfig::Config(config) => Some(config),
            RouteConfig::Off => None,
        });
        std::iter::once(&mut self.config).chain(routes)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ComponentSource {
    /// `lockgate:NAME`, built into the binary.
    Shipped(Name),
    File(PathBuf),
    /// `oci://HOST/NAME@sha256:…`, pulled from a registry.
    Registry(Reference, Pull),
}

impl ComponentSource {
    pub fn is_shipped(&self) -> bool {
        matches!(self, Self::Shipped(_))
    }
}

impl fmt::Display for ComponentSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shipped(name) => write!(f, "lockgate:{name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Registry(reference, _) => write!(f, "{reference}"),
        }
    }
}

/// When a registry is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pull {
    /// For what is not in the cache.
    Missing,
    /// At every start and reload, for what a tag stands for now.
    Always,
}

/// A registry of which there is something to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// As in references, with a port if they have one.
    pub host: String,
    pub plain_http: bool,
    /// A docker `config.json`; `None` is docker's own.
    pub credentials: Option<PathBuf>,
    /// PEM certificates that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// From the first request of a pull to the last byte.
    pub timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RouteConfig {
    Off,
    Config(FilterConfig),
}

/// The configuration of a filter, opaque to the core.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilterConfig {
    pub value: serde_json::Value,
    /// JSON pointer of the value in the file.
    pub pointer: String,
    /// What came from `${ENV}` and is no text, as it is written, by pointers into
    /// the value: the filter's schema may want it as text.
    pub texts: Vec<(String, String)>,
}

/// What happens to an exchange whose filter failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// Answer 500 (503 where the filter was not called at all).
    Deny,
    /// Go on as if the filter were not there.
    Skip,
    /// Close without an answer.
    Reset,
}

/// What a reload does that cannot build the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBad {
    /// Change nothing at all.
    Refuse,
    /// Leave this filter as it is, and load the rest.
    Keep,
}

/// How a new version of a filter is watched until it counts as good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probation {
    /// How long; zero watches nothing.
    pub time: Duration,
    /// It has to be called so often before it counts as good.
    pub min_calls: u64,
    /// It is given up at so many faults that are this share of its calls or more.
    pub min_faults: u64,
    pub fault_percent: u8,
}

/// Who else an instance has worked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Other exchanges, before and after.
    Shared,
    /// Nobody: each exchange has its own.
    Request,
}

/// The budgets of a filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterLimits {
    /// Bytes of the component, and of what it is unpacked from.
    pub max_component_bytes: usize,
    /// CPU time of one call.
    pub cpu: Duration,
    /// How long taking over shared entries of another form may take.
    pub hand_over: Duration,
    /// CPU time of `create` and `wants`.
    pub create_cpu: Duration,
    /// Linear memory of one instance in bytes.
    pub memory_bytes: usize,
    /// Instances of one worker.
    pub max_instances: usize,
    /// Calls of one worker that wait for an instance, and how long each may.
    pub max_waiting: usize,
    pub max_wait: Duration,
    /// After this many overruns of the CPU budget, or of the calls into the host,
    /// within `overrun_window` the filter is paused.
    pub max_overruns: u32,
    pub overrun_window: Duration,
    /// First pause; each further one is twice as long, to a minute.
    pub pause: Duration,
    /// Calls into the host for one exchange.
    pub max_host_calls: u32,
    /// The largest delay that this filter may ask for in one exchange.
    pub max_delay: Duration,
    /// Bytes of a body that is collected for it.
    pub max_buffer_bytes: usize,
    /// Bytes of one answer it makes.
    pub max_reply_bytes: usize,
    /// Of a body, in one call.
    pub max_output_bytes: usize,
    /// Log lines of one call, and bytes of one line.
    pub max_log_lines: u32,
    pub max_log_bytes: usize,
    /// Series of its metrics.
    pub max_series: usize,
    /// Bytes of attributes and of state that it leaves in one exchange.
    pub max_attribute_bytes: usize,
    pub max_state_bytes: usize,
    /// Calls under way in one call of it, how long each may take, how long one
    /// exchange may wait for all of them, and the bytes of an answer.
    pub max_calls: usize,
    pub call_timeout: Duration,
    pub max_call_time: Duration,
    pub max_call_bytes: usize,
    /// What its instances share, and one entry of it.
    pub max_shared_bytes: usize,
    pub max_shared_entry_bytes: usize,
    /// CPU time of one run of a job, and all of its time.
    pub job_cpu: Duration,
    pub job_time: Duration,
    /// How long a publish waits for the first run of a job.
    pub first_run: Duration,
}

/// What a filter is allowed beyond its own exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// Clusters that it may call.
    pub call: Vec<Name>,
    /// State that its instances share.
    pub shared: bool,
    /// Every name is that of a secret.
    pub secrets: BTreeMap<Name, SecretUse>,
}

impl Grants {
    /// Whether none of these is more than those.
    pub fn are_within(&self, others: &Self) -> bool {
        let secrets = self.secrets.iter();
        self.call
            .iter()
            .all(|cluster| others.call.contains(cluster))
            && (others.shared || !self.shared)
            && secrets
                .map(|(name, granted_use)| (others.secrets.get(name), granted_use))
                .all(|(other, granted_use)| other.is_some_and(|other| granted_use <= other))
    }
}

/// What a filter may do with a secret; the later ones are more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SecretUse {
    /// Compare and sign with it, and put it into requests.
    Use,
    /// That, and see it.
    Reveal,
}
