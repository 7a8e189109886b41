//! The keys of PROXY headers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Items;
use super::units::{MINUTE, Time};

/// PROXY headers, versions 1 and 2, by which balancers in front tell whose connection
/// they pass on.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ProxyProtocol")]
pub(in crate::config) struct RawProxyProtocol {
    /// Who may send a header, as addresses or networks: `10.0.0.0/8`. What others
    /// send is never read as one.
    #[schemars(required, with = "Vec<String>", length(min = 1))]
    pub(in crate::config) from: Option<Items<String>>,
    /// Whether a connection without a header is closed, and one from elsewhere too.
    /// Where it is not, a client whose balancer sends none could send one of its own.
    #[serde(default = "required")]
    pub(in crate::config) required: bool,
    /// For the header, from the connection's beginning. Then the connection is closed,
    /// or taken for one without a header where none is required.
    #[serde(default = "timeout")]
    pub(in crate::config) timeout: Time<1, MINUTE>,
}

fn required() -> bool {
    true
}

fn timeout() -> Time<1, MINUTE> {
    Time(5_000)
}
