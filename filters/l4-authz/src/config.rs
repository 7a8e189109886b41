//! The configuration as it is written.

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
    /// `10.0.0.0/8`, `2001:db8::/32`.
    #[schemars(length(min = 1))]
    pub clients: Option<Vec<String>>,
    /// The SPIFFE ID in the client's certificate is one of these. A `*` at the end
    /// stands for anything: `spiffe://example.org/ns/shop/*`.
    #[schemars(length(min = 1))]
    pub identities: Option<Vec<String>>,
    /// It came to one of these ports of this machine.
    #[schemars(length(min = 1), inner(range(min = 1)))]
    pub ports: Option<Vec<u16>>,
}
