//! The configuration as it is written. `check` makes the filter of it.

use std::collections::BTreeMap;

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
    /// Which requests it is about: all of the conditions hold. Without any, every request.
    #[serde(default)]
    pub when: ConditionConfig,
    /// Which of these it is not about: all of these conditions hold. Without any, none.
    pub unless: Option<ConditionConfig>,
}

/// Conditions. Of a list one has to fit; what a request does not have fits nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConditionConfig {
    /// The SPIFFE ID of the client's certificate. `*` stands for anything within a segment,
    /// and `/**` at the end for everything below.
    pub spiffe: Option<Texts>,
    /// A name of the client's certificate, as in `DNS:a.example.org` and `URI:urn:a`. `*`
    /// stands for anything.
    pub san: Option<Texts>,
    /// The subject of the client's certificate, as in `CN=a,O=b`. `*` stands for anything.
    pub peer_subject: Option<Texts>,
    /// Who was authenticated. `*` stands for anything.
    pub subject: Option<Texts>,
    /// Claims of who was authenticated, by name. `*` stands for anything.
    #[serde(default)]
    pub claims: BTreeMap<String, Texts>,
    /// Claims that are lists, or words with blanks between them, by name: one of the items
    /// has to fit. `*` stands for anything.
    #[serde(default)]
    pub claim_items: BTreeMap<String, Texts>,
    /// The method. `GET` does not include `HEAD`.
    pub method: Option<Texts>,
    /// The host that is asked for, without its port. `*` stands for anything.
    pub host: Option<Texts>,
    /// The path without the query. `*` stands for anything within a segment, and `/**` at
    /// the end for everything below: `/a/**` takes `/a`, `/a/` and `/a/b`.
    pub path: Option<Texts>,
    /// Header fields by name. `*` stands for anything. Of a field with several values one
    /// has to fit.
    #[serde(default)]
    pub headers: BTreeMap<String, Texts>,
    /// The client's address: a network such as `10.0.0.0/8`, or an address.
    pub address: Option<Texts>,
}

/// One text or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
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
