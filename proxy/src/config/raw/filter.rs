//! The keys of a filter.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::units::{GIB, HOUR, KIB, MIB, Size, Time};
use super::{Items, RawCase};
use crate::config::checked::{Isolation, OnBad, OnError, Pull};

const MINUTE: u64 = HOUR / 60;

/// A WebAssembly component with its configuration.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Filter")]
pub(in crate::config) struct RawFilter {
    /// `lockgate:NAME` for one that is shipped with Lockgate, the path of a file,
    /// relative to the file it is written in, or `oci://HOST/NAME@sha256:…` for one
    /// in a registry.
    #[schemars(
        required,
        with = "String",
        extend("x-wanted" = "`lockgate:NAME`, the path of a component or `oci://HOST/NAME@sha256:…`")
    )]
    pub(in crate::config) component: Option<String>,
    /// When the registry of an `oci://` component is asked: for what is `missing` in
    /// the cache, or `always`, at every start and reload. A tag without a digest,
    /// `oci://HOST/NAME:TAG`, needs `always`, because it may be another component
    /// each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Pull")]
    pub(in crate::config) pull: Option<Pull>,
    /// The keys of `trust` of which one has to have signed the component; without this
    /// key any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub(in crate::config) trust: Option<Items<String>>,
    /// What happens to an exchange for which the filter fails: `deny` answers 500
    /// (503 where the filter could not be called at all), `skip` goes on as if it
    /// were not there, `reset` closes without an answer.
    #[serde(default = "deny")]
    pub(in crate::config) on_error: OnError,
    /// What happens to a reload that cannot build the filter: `refuse` changes
    /// nothing at all, `keep` leaves this filter at the version that runs, says so,
    /// and loads the rest.
    #[serde(default = "refuse")]
    pub(in crate::config) on_bad: OnBad,
    /// How a new version is watched. One that fails is replaced by the last good
    /// one, and is not tried again until its component or its block here changes.
    #[serde(default)]
    pub(in crate::config) probation: RawProbation,
    /// A version that a share of the exchanges try.
    #[schemars(with = "RawCanary")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) canary: Option<RawCanary>,
    /// A version that sees copies of exchanges and has no effect on them.
    #[schemars(with = "RawShadow")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) shadow: Option<RawShadow>,
    /// Whether exchanges share instances, one call at a time, or each `request`
    /// has a fresh one to itself, which costs some microseconds and leaves no way
    /// from one exchange to another. It is taken for as long as its exchange may
    /// call it again.
    #[serde(default = "shared")]
    pub(in crate::config) isolation: Isolation,
    /// The budgets of the filter.
    #[serde(default)]
    pub(in crate::config) limits: RawFilterLimits,
    /// What the filter is allowed beyond its own exchange.
    #[serde(default)]
    pub(in crate::config) grants: RawGrants,
    /// The filter's own configuration, of whatever form the filter wants.
    #[serde(default = "super::empty_map")]
    pub(in crate::config) config: Value,
    /// For exchanges whose route an earlier filter named: `off`, or a `config`
    /// that replaces the one above.
    #[serde(default)]
    pub(in crate::config) routes: BTreeMap<String, RawRoute>,
    /// Sample exchanges with what is expected of the filter. They run before a
    /// configuration is published in which the filter is new or was changed, and one
    /// that fails refuses the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<RawCase>")]
    pub(in crate::config) checks: Items<RawCase>,
}

pub(super) fn shared() -> Isolation {
    Isolation::Shared
}

pub(super) fn deny() -> OnError {
    OnError::Deny
}

fn refuse() -> OnBad {
    OnBad::Refuse
}

/// How a new version of a filter is watched until it counts as good.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Probation")]
pub(in crate::config) struct RawProbation {
    /// How long it is watched. `0s` watches nothing: it counts as good at once.
    pub(in crate::config) time: Time<0, { 24 * HOUR }>,
    /// It goes on until the filter was called so often.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub(in crate::config) min_calls: u64,
    /// So many faults are needed for the version to be given up.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(in crate::config) min_faults: u64,
    /// The share of its calls that has to fail for that, in percent.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) fault_percent: u8,
}

impl Default for RawProbation {
    fn default() -> Self {
        Self {
            time: Time(60_000),
            min_calls: 20,
            min_faults: 5,
            fault_percent: 10,
        }
    }
}

/// Another version of a filter, for a share of its exchanges.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Canary")]
pub(in crate::config) struct RawCanary {
    /// As `component` of the filter.
    #[schemars(
        required,
        with = "String",
        extend("x-wanted" = "`lockgate:NAME` or the path of a component")
    )]
    pub(in crate::config) component: Option<String>,
    /// As `pull` of the filter.
    #[schemars(with = "Pull")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) pull: Option<Pull>,
    /// In the place of the filter's `config`, which it has without this key. What
    /// the filter has for routes it has too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) config: Option<Value>,
    /// The share of exchanges that see it, in percent, in steps of 0.01.
    #[schemars(range(min = 0, max = 100))]
    #[serde(default = "five")]
    pub(in crate::config) percent: f64,
    /// What decides which exchanges those are: `address` (of the client),
    /// `header:NAME` or `attribute:NAME`, so that one client sees one version, or
    /// `chance`. Exchanges without the header or attribute do not see the canary.
    #[schemars(extend("x-wanted" = "`address`, `header:NAME`, `attribute:NAME` or `chance`"))]
    #[serde(default = "address")]
    pub(in crate::config) sticky_by: String,
    /// When it is given up by itself.
    #[serde(default)]
    pub(in crate::config) abort_on: RawAbortOn,
    /// After so long it takes the filter's place by itself. Without this key
    /// `lockgate filter promote` does that.
    #[schemars(with = "Time<1_000, { 31 * 24 * HOUR }>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) promote_after: Option<Time<1_000, { 31 * 24 * HOUR }>>,
}

fn five() -> f64 {
    5.0
}

/// Another version of a filter, which is compared with it on copies of exchanges.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Shadow")]
pub(in crate::config) struct RawShadow {
    /// As `component` of the filter.
    #[schemars(
        required,
        with = "String",
        extend("x-wanted" = "`lockgate:NAME` or the path of a component")
    )]
    pub(in crate::config) component: Option<String>,
    /// As `pull` of the filter.
    #[schemars(with = "Pull")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) pull: Option<Pull>,
    /// In the place of the filter's `config`, which it has without this key. What
    /// the filter has for routes it has too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) config: Option<Value>,
    /// The share of exchanges that it sees a copy of, in percent, in steps of 0.01,
    /// chosen by chance.
    #[schemars(range(min = 0, max = 100))]
    #[serde(default = "ten")]
    pub(in crate::config) percent: f64,
    /// How much of one processor it may use on average, in percent. While it has used
    /// more it sees nothing.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default = "five_of_a_hundred")]
    pub(in crate::config) cpu_percent: u8,
    /// Clusters that it may call. The `call` of the filter's `grants` is not for it,
    /// because its calls come on top of those of the filter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::config) call: Vec<String>,
}

fn ten() -> f64 {
    10.0
}

fn five_of_a_hundred() -> u8 {
    5
}

fn address() -> String {
    "address".to_owned()
}

/// When a canary is given up by itself.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "AbortOn")]
pub(in crate::config) struct RawAbortOn {
    /// Not before it was called so often.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(in crate::config) min_calls: u64,
    /// The share of its calls that failed.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) fault_percent: u8,
    /// How much longer one of its calls takes on average, in time of the processor
    /// (as measured for some of them) and of waits. Without this key time is no
    /// reason.
    #[schemars(with = "Time<1, MINUTE>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) added_latency: Option<Time<1, MINUTE>>,
    /// By how many points the share of its calls that end the exchange (with an
    /// answer or a reset) differs from that of the filter. Without this key that
    /// is no reason.
    #[schemars(with = "u8", range(min = 1, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) verdict_percent: Option<u8>,
}

impl Default for RawAbortOn {
    fn default() -> Self {
        Self {
            min_calls: 20,
            fault_percent: 5,
            added_latency: None,
            verdict_percent: None,
        }
    }
}

/// The budgets of a filter.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "FilterLimits")]
pub(in crate::config) struct RawFilterLimits {
    /// The component, and what it is unpacked from.
    pub(in crate::config) max_component_bytes: Size<KIB, GIB>,
    /// CPU time of one call. It is ended a millisecond or two later, or after one
    /// instruction over much memory, which is not interrupted. Of time in which it was
    /// not seen at work some is forgiven: the processor may have been held back.
    pub(in crate::config) cpu: Time<1, 10_000>,
    /// How long a version that shares in another form may take to bring all shared
    /// entries into it, before it serves.
    pub(in crate::config) hand_over: Time<1, HOUR>,
    /// CPU time of taking one configuration.
    pub(in crate::config) create_cpu: Time<1, MINUTE>,
    /// Memory of one instance.
    pub(in crate::config) memory: Size<{ 64 * KIB }, GIB>,
    /// Instances of each worker. One that transforms a body is taken until the
    /// body's end, one that waits for an answer until it came.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) max_instances: usize,
    /// Calls of each worker that may wait for an instance while all are taken.
    #[schemars(range(min = 0, max = 100_000))]
    pub(in crate::config) max_waiting: usize,
    /// How long a call may wait for an instance.
    pub(in crate::config) max_wait: Time<1, MINUTE>,
    /// Calls beyond the CPU time or the calls into the host, within
    /// `overrun_window`, after which the filter is not called for a while.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) max_overruns: u32,
    /// See `max_overruns`.
    pub(in crate::config) overrun_window: Time<1, HOUR>,
    /// How long it is not called then. Each further pause is twice as long, to a
    /// minute.
    pub(in crate::config) pause: Time<1, MINUTE>,
    /// Calls into the host that it may make for one exchange, those of all its phases
    /// and those of WASI (a look at the clock, a line of standard output) among them.
    /// Each piece of a body that it transforms counts by itself.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(in crate::config) max_host_calls: u32,
    /// The most that it may delay one exchange.
    pub(in crate::config) max_delay: Time<0, HOUR>,
    /// The most of a body that it may have collected for it.
    pub(in crate::config) max_buffer_bytes: Size<0, { 64 * MIB }>,
    /// The body of an answer that it makes.
    pub(in crate::config) max_reply_bytes: Size<0, { 64 * MIB }>,
    /// What it may give at once of a body: all of it in the place of one that it
    /// collected, or what it makes of a piece that passes through it.
    pub(in crate::config) max_output_bytes: Size<0, { 64 * MIB }>,
    /// Log lines of one call. Further ones are counted and dropped.
    #[schemars(range(min = 0, max = 10_000))]
    pub(in crate::config) max_log_lines: u32,
    /// One log line. What is longer is cut.
    pub(in crate::config) max_log_bytes: Size<64, MIB>,
    /// Series of its metrics, that is metrics by values of their labels. Where a reload
    /// makes it smaller, series that there are stay.
    #[schemars(range(min = 0, max = 100_000))]
    pub(in crate::config) max_series: usize,
    /// Attributes that it leaves in one exchange.
    pub(in crate::config) max_attribute_bytes: Size<0, { 16 * MIB }>,
    /// State that it keeps in one exchange.
    pub(in crate::config) max_state_bytes: Size<0, { 16 * MIB }>,
    /// Calls that one call of it may have under way.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) max_calls: usize,
    /// How long one of its calls may take; a shorter time can be asked for.
    pub(in crate::config) call_timeout: Time<1, HOUR>,
    /// How long one exchange may wait for its calls, all waits together.
    pub(in crate::config) max_call_time: Time<1, HOUR>,
    /// The body of an answer to one of its calls.
    pub(in crate::config) max_call_bytes: Size<0, { 64 * MIB }>,
    /// What its instances share, keys and the cost of keeping them included. The
    /// least recently used is given up beyond it.
    pub(in crate::config) max_shared: Size<{ 64 * KIB }, { 16 * GIB }>,
    /// One shared entry with its key.
    pub(in crate::config) max_shared_entry: Size<64, { 16 * MIB }>,
    /// CPU time of one run of its job, if it has one.
    pub(in crate::config) job_cpu: Time<1, MINUTE>,
    /// How long one run of its job may take, with the calls that it waits for.
    pub(in crate::config) job_time: Time<1, HOUR>,
    /// How long a start or a reload waits for the first run of its job before it
    /// goes on without.
    pub(in crate::config) first_run: Time<0, MINUTE>,
}

impl Default for RawFilterLimits {
    fn default() -> Self {
        Self {
            max_component_bytes: Size(64 * MIB),
            cpu: Time(3),
            hand_over: Time(10_000),
            create_cpu: Time(1_000),
            memory: Size(64 * MIB),
            max_instances: 64,
            max_waiting: 100,
            max_wait: Time(1_000),
            max_overruns: 5,
            overrun_window: Time(10_000),
            pause: Time(1_000),
            max_host_calls: 10_000,
            max_delay: Time(30_000),
            max_buffer_bytes: Size(MIB),
            max_reply_bytes: Size(MIB),
            max_output_bytes: Size(8 * MIB),
            max_log_lines: 32,
            max_log_bytes: Size(4 * KIB),
            max_series: 1_000,
            max_attribute_bytes: Size(8 * KIB),
            max_state_bytes: Size(4 * KIB),
            max_calls: 16,
            call_timeout: Time(5_000),
            max_call_time: Time(10_000),
            max_call_bytes: Size(MIB),
            max_shared: Size(16 * MIB),
            max_shared_entry: Size(64 * KIB),
            job_cpu: Time(1_000),
            job_time: Time(30_000),
            first_run: Time(5_000),
        }
    }
}

/// What a filter is allowed beyond its own exchange.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Grants")]
pub(in crate::config) struct RawGrants {
    /// Clusters that it may call. Not one that goes where clients say (`original_dst`,
    /// `request_target`), for no client says where a call is to go.
    pub(in crate::config) call: Vec<String>,
    /// Secrets that it may use by name: compare with them, sign with them, put them
    /// into requests. It does not see them.
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) secrets: Items<String>,
    /// Secrets that it may use and also see. Where it logs one, `***` is logged.
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) reveal: Items<String>,
    /// Whether it may keep state that all its instances share, up to
    /// `limits.max_shared`.
    pub(in crate::config) shared: bool,
}

/// What a filter does on one route.
#[derive(Debug, Clone)]
pub(in crate::config) enum RawRoute {
    Off,
    Config(Value),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteConfig {
    /// Missing only where that was told before.
    #[serde(default = "super::empty_map")]
    config: Value,
}

impl Serialize for RawRoute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            RawRoute::Off => serializer.serialize_str("off"),
            RawRoute::Config(config) => RouteConfig {
                config: config.clone(),
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for RawRoute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(false) => Ok(RawRoute::Off),
            Value::String(text) if text == "off" => Ok(RawRoute::Off),
            other => RouteConfig::deserialize(other)
                .map(|route| RawRoute::Config(route.config))
                .map_err(de::Error::custom),
        }
    }
}

impl JsonSchema for RawRoute {
    fn schema_name() -> Cow<'static, str> {
        "Route".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`off`, or a configuration for this route.",
            "anyOf": [
                {"enum": ["off", false]},
                {
                    "description": "The filter on the route of this name.",
                    "type": "object",
                    "properties": {
                        "config": {"description": "The filter's configuration on this route."},
                    },
                    "required": ["config"],
                    "additionalProperties": false,
                },
            ],
            "x-wanted": "`off` or a map with `config`",
        })
    }
}
