//! The configuration as it is written. `check` makes the filter of it.

use std::collections::BTreeMap;

use lockgate_sdk::given;
use lockgate_sdk::prelude::*;

/// Decides who may do what. A request that a rule of `deny` is about is denied, whatever
/// else is said; then one that a rule of `allow` is about passes; every other is denied.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What may be done. Without it nothing.
    #[serde(default)]
    pub allow: Vec<RuleConfig>,
    /// What may not be done, even where a rule allows it.
    #[serde(default)]
    pub deny: Vec<RuleConfig>,
    /// Whether requests that would be denied pass, counted and written down as such.
    /// Default: false.
    #[serde(default)]
    pub dry_run: bool,
    /// The name of the filter whose attributes say who was authenticated, and with which
    /// claims. It has to stand before this one. Default: auth.
    #[serde(default = "auth")]
    pub identity: String,
}

/// One rule.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// What records and metrics call it: letters, digits, `_`, `-` and `.`. No two rules
    /// have the same.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_.-]{1,64}$"))]
    pub name: String,
    /// Which requests it is about: all of the conditions hold. Default: every
    /// request.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "ConditionConfig")]
    pub when: Option<ConditionConfig>,
    /// Which of these it is not about: all of these conditions hold. Default: none.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "ConditionConfig")]
    pub unless: Option<ConditionConfig>,
}

/// Conditions, at least one. Of a list one has to fit; what a request does not have fits nothing.
#[derive(Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct ConditionConfig {
    /// The SPIFFE ID of the client's certificate. `*` stands for anything within a segment,
    /// and `/**` at the end for everything below.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Texts")]
    pub spiffe: Option<Texts>,
    /// A name of the client's certificate with its kind, as in `DNS:a.example.org` and
    /// `URI:urn:a`. `*` stands for anything.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Texts")]
    pub san: Option<Texts>,
    /// The subject of the client's certificate, as in `CN=a,O=b`. `*` stands for anything.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Texts")]
    pub peer_subject: Option<Texts>,
    /// Who was authenticated. `*` stands for anything.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Texts")]
    pub subject: Option<Texts>,
    /// Claims of who was authenticated, by name. `*` stands for anything.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "BTreeMap<String, Texts>", extend("minProperties" = 1))]
    pub claims: Option<BTreeMap<String, Texts>>,
    /// Claims that are lists, or words with blanks between them, by name: one of the items
    /// has to fit. `*` stands for anything.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "BTreeMap<String, Texts>", extend("minProperties" = 1))]
    pub claim_items: Option<BTreeMap<String, Texts>>,
    /// The method, in its case. `GET` does not include `HEAD`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Texts")]
    pub method: Option<Texts>,
    /// The host that is asked for, in lower case, without its port. `*` stands for
    /// anything, outside of addresses in brackets.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Texts")]
    pub host: Option<Texts>,
    /// The path without the query, in its normal form. `*` stands for anything within a
    /// segment, and `/**` at the end for everything below: `/a/**` takes `/a`, `/a/` and
    /// `/a/b`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Texts")]
    pub path: Option<Texts>,
    /// Header fields by name. `*` stands for anything. Of a field with several values one
    /// has to fit.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "BTreeMap<String, Texts>", extend("minProperties" = 1))]
    pub headers: Option<BTreeMap<String, Texts>>,
    /// The client's address: a network such as `10.0.0.0/8`, or an address.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Texts")]
    pub address: Option<Texts>,
}

/// One text or several.
#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "wanted a text or a list of texts")]
pub enum Texts {
    /// This one.
    One(String),
    /// Any of these.
    Many(Vec<String>),
}

impl Texts {
    /// With the place of each below the key: none for a single one.
    pub fn items(&self) -> impl Iterator<Item = (String, &str)> {
        let (one, many) = match self {
            Texts::One(text) => (Some((String::new(), text.as_str())), [].as_slice()),
            Texts::Many(texts) => (None, texts.as_slice()),
        };
        let many = many.iter().enumerate();
        let many = many.map(|(index, text)| (format!("/{index}"), text.as_str()));
        one.into_iter().chain(many)
    }
}

fn auth() -> String {
    "auth".to_owned()
}
