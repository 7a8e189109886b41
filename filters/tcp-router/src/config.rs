//! The configuration as it is written. `skip_serializing_if` keeps `default: null` out of the
//! schema of keys for which `null` is refused.

use lockgate_sdk::given;
use lockgate_sdk::prelude::*;

/// Sends connections to clusters. The first route that a connection matches takes it; one
/// that matches none goes to the listener's cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// In the order in which they are tried.
    #[schemars(length(min = 1))]
    pub routes: Vec<RouteConfig>,
}

/// Which connections go where. Exactly one of `cluster` and `split` is wanted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// What the access log calls it. Default: its place, such as `routes[0]`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_.-]{1,64}$"))]
    pub name: Option<String>,
    /// Which connections; all of its conditions must hold. Default: every one.
    #[serde(default, rename = "match")]
    pub condition: MatchConfig,
    /// The cluster.
    pub cluster: Option<String>,
    /// Several clusters, each with its share.
    #[schemars(length(min = 1))]
    pub split: Option<Vec<ShareConfig>>,
}

/// Which connections.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchConfig {
    /// The name that the client asks for in its TLS handshake is one of these.
    /// `*.example.com` is every name below `example.com`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub sni: Option<Vec<String>>,
    /// The client's address is one of these, or in one of these ranges: `10.0.0.0/8`.
    /// `::/0` is every address, those of IPv4 too.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub clients: Option<Vec<String>>,
    /// It came to one of these addresses of this machine, or ranges of them.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub destinations: Option<Vec<String>>,
    /// It came to one of these ports of this machine.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<u16>", length(min = 1), inner(range(min = 1)))]
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<u16>>,
}

/// A cluster's share.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareConfig {
    /// The cluster.
    pub cluster: String,
    /// Its part of the sum of all weights.
    pub weight: u32,
}
