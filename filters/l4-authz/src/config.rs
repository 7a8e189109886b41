//! The configuration as it is written. `skip_serializing_if` keeps `default: null` out of the
//! schema of keys for which `null` is refused.

use lockgate_sdk::given;
use lockgate_sdk::prelude::*;

/// Says who may connect. A connection that a rule in `deny` is about is closed; so is
/// one that no rule in `allow` is about.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who may not connect, whatever `allow` says. Default: nobody.
    #[serde(default)]
    pub deny: Vec<RuleConfig>,
    /// Who may connect. Default: nobody.
    #[serde(default)]
    pub allow: Vec<RuleConfig>,
    /// Lets everybody connect, and only counts and logs who would not have been let.
    /// Default: false.
    #[serde(default)]
    pub dry_run: bool,
}

/// Which connections a rule is about: those for which all that is given here holds. A
/// rule without any of it is about all.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// What logs and metrics call it: letters, digits, `_`, `-` and `.`. Default: its
    /// place, such as `allow[0]`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_.-]{1,64}$"))]
    pub name: Option<String>,
    /// The client's address is one of these, or in one of these ranges:
    /// `10.0.0.0/8`, `2001:db8::/32`. `::/0` is every address, those of IPv4 too.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub clients: Option<Vec<String>>,
    /// The SPIFFE ID in the client's certificate is one of these. A `*` at the end,
    /// behind a slash, stands for anything: `spiffe://example.org/ns/shop/*`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub identities: Option<Vec<String>>,
    /// It came to one of these ports of this machine.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<u16>", length(min = 1), inner(range(min = 1)))]
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<u16>>,
}
