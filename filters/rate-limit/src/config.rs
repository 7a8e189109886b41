//! The configuration as it is written. `check` makes the filter of it.

use std::borrow::Cow;

use lockgate_sdk::duration;
use lockgate_sdk::matching::Match;
use lockgate_sdk::prelude::*;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};

/// Refuses what comes too often.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is limited. Every limit that is about a request must let it pass; one
    /// that is refused counts in none.
    #[schemars(length(min = 1))]
    pub limits: Vec<LimitConfig>,
    /// What becomes of a request of which a limit cannot tell whether to let it
    /// pass, because too many workers count for the same key at once, or the
    /// count cannot be kept: `allow` it uncounted, or `deny` it with 503.
    /// Default: allow.
    #[serde(default)]
    pub undecided: Undecided,
    /// Whether answers tell clients of their limits, in the fields
    /// `RateLimit-Policy` and `RateLimit`. Default: true.
    #[serde(default = "yes")]
    pub headers: bool,
}

/// How many requests, counted by what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitConfig {
    /// What clients and metrics call it: letters, digits, `_`, `-` and `.`. Limits
    /// of one name and size in several routes' configurations count together.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_.-]{1,64}$"))]
    pub name: String,
    /// What is counted apart. What several of its keys name is counted apart for
    /// each combination.
    pub key: KeyConfig,
    /// So many requests in `per`.
    #[schemars(range(min = 1))]
    pub rate: u64,
    /// `second`, `minute`, `hour`, `day` or a time such as `10s`.
    pub per: Per,
    /// How many may come at once. Default: `rate`, but no more than 1000.
    #[schemars(range(min = 1))]
    pub burst: Option<u64>,
    /// Which requests. Without it, every request.
    #[serde(default, rename = "match")]
    pub condition: Match,
    /// What becomes of a request without the key: `skip` the limit, or `deny` the
    /// request with 403. Default: skip.
    #[serde(default)]
    pub missing: Missing,
}

/// By what is counted: at least one of `by`, `header` and `attribute`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// `address` of the client, `route` that was taken, or `global` for all
    /// requests together; or a list of the first two.
    #[serde(default)]
    pub by: Option<ByConfig>,
    /// A field of the request, by its first value. An empty one counts as missing.
    pub header: Option<String>,
    /// A fact that the proxy or an earlier filter left, such as `auth.subject`.
    pub attribute: Option<String>,
    /// How many bits of an IPv6 address count, because a client has a whole network
    /// of them; goes with `by: address`. Default: 64.
    #[schemars(range(min = 1, max = 128))]
    pub ipv6_prefix: Option<u8>,
}

/// One or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ByConfig {
    /// This one.
    One(By),
    /// These together.
    Many(Vec<By>),
}

/// What needs no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The client's address.
    Address,
    /// The name of the route that was taken.
    Route,
    /// All requests together.
    Global,
}

/// What becomes of a request without the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The limit is not about it.
    #[default]
    Skip,
    /// It is answered with 403.
    Deny,
}

/// What becomes of a request that cannot be decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Undecided {
    /// It passes.
    #[default]
    Allow,
    /// It is answered with 503.
    Deny,
}

/// In what time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Per(pub Duration);

impl<'de> Deserialize<'de> for Per {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let length = match &*text {
            "second" => Some(Duration::from_secs(1)),
            "minute" => Some(Duration::from_secs(60)),
            "hour" => Some(Duration::from_secs(3600)),
            "day" => Some(Duration::from_secs(86_400)),
            span => duration::parse(span),
        };
        let wrong = || {
            let message = format!(
                "`{text}` is not `second`, `minute`, `hour`, `day` or a time such as `10s`"
            );
            de::Error::custom(message)
        };
        length.map(Per).ok_or_else(wrong)
    }
}

impl JsonSchema for Per {
    fn schema_name() -> Cow<'static, str> {
        "Per".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`second`, `minute`, `hour`, `day` or a time such as `10s`.",
            "type": "string",
            "pattern": "^(second|minute|hour|day|[0-9]+(ms|s|m|h))$",
            "examples": ["second", "10s"],
            "x-wanted": "`second`, `minute`, `hour`, `day` or a duration such as `10s`",
        })
    }

    fn inline_schema() -> bool {
        true
    }
}

fn yes() -> bool {
    true
}
