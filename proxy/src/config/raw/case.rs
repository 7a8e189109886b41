//! The keys of cases: sample exchanges for a filter, with what is expected of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::{Items, RawFilterLimits, RawGrants, RawRoute};
use crate::config::cases::{NoAnswer, Verdict};
use crate::config::checked::{Isolation, OnError};
use crate::stats::Detected;

/// Cases for one filter: `lockgate filter test FILE` runs them. The file is what an
/// entry of `filters` is, with `cases` and `secrets` beside it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Lockgate cases")]
pub(in crate::config) struct RawCaseFile {
    /// The filter's name, which attributes that it leaves begin with. Without this key
    /// that of the component, without folder and extension.
    #[serde(default)]
    #[schemars(with = "String", length(min = 1))]
    pub(in crate::config) name: Option<String>,
    /// `lockgate:NAME` for one that is shipped, or the path of a component, relative
    /// to this file. `--component` goes before it.
    #[serde(default)]
    #[schemars(
        with = "String",
        extend("x-wanted" = "`lockgate:NAME` or the path of a component")
    )]
    pub(in crate::config) component: Option<String>,
    /// As in the configuration file.
    #[serde(default = "super::filter::deny")]
    pub(in crate::config) on_error: OnError,
    /// As in the configuration file.
    #[serde(default = "super::filter::shared")]
    pub(in crate::config) isolation: Isolation,
    /// As in the configuration file.
    #[serde(default)]
    pub(in crate::config) limits: RawFilterLimits,
    /// As in the configuration file. Without this key the filter is granted what the
    /// cases have: calls of the clusters that answer, use of the secrets, and shared
    /// state.
    #[serde(default)]
    #[schemars(with = "RawGrants")]
    pub(in crate::config) grants: Option<RawGrants>,
    /// The filter's configuration, for cases that have none of their own.
    #[serde(default = "super::empty_map")]
    pub(in crate::config) config: Value,
    /// As in the configuration file.
    #[serde(default)]
    pub(in crate::config) routes: BTreeMap<String, RawRoute>,
    /// Secrets by name, for all cases.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>", extend("writeOnly" = true))]
    pub(in crate::config) secrets: BTreeMap<String, Option<String>>,
    /// At least one.
    #[serde(default)]
    #[schemars(required, with = "Vec<RawCase>", length(min = 1))]
    pub(in crate::config) cases: Items<RawCase>,
}

/// One sample exchange, or several in order, with what is expected.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Case")]
pub(in crate::config) struct RawCase {
    /// What it shows, unique among the cases.
    #[schemars(required, with = "String", length(min = 1, max = 200))]
    pub(in crate::config) name: Option<String>,
    /// The route that an earlier filter named: it selects the filter's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1))]
    pub(in crate::config) route: Option<String>,
    /// Another configuration than the file's. Not in `checks`, which are about the
    /// filter's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Value")]
    pub(in crate::config) config: Option<Value>,
    /// Further secrets by name. Not in `checks`, where the filter has those that it
    /// is granted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>", extend("writeOnly" = true))]
    pub(in crate::config) secrets: BTreeMap<String, Option<String>>,
    /// What the client sends.
    #[serde(default)]
    pub(in crate::config) request: RawCaseRequest,
    /// For a filter of connections, in the place of `request` and `response`: who
    /// connects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RawCaseConnection")]
    pub(in crate::config) connection: Option<RawCaseConnection>,
    /// What clusters that the filter calls answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<RawAnswer>")]
    pub(in crate::config) answers: Items<RawAnswer>,
    /// What the origin answers, if the request gets there.
    #[serde(default)]
    pub(in crate::config) response: RawCaseResponse,
    /// How often the request is sent: each time this is expected.
    #[serde(default = "once")]
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) repeat: u32,
    /// What is to come of it. Only what is named here is compared, but a fault of
    /// the filter that is not expected fails the case.
    #[serde(default)]
    pub(in crate::config) expect: RawExpect,
    /// Several exchanges in order instead of one: they share the filter's state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<RawStep>", length(min = 1))]
    pub(in crate::config) steps: Items<RawStep>,
}

/// One exchange of several.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Step")]
pub(in crate::config) struct RawStep {
    /// What the client sends.
    #[serde(default)]
    pub(in crate::config) request: RawCaseRequest,
    /// For a filter of connections, in the place of `request` and `response`: who
    /// connects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RawCaseConnection")]
    pub(in crate::config) connection: Option<RawCaseConnection>,
    /// What clusters that the filter calls answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<RawAnswer>")]
    pub(in crate::config) answers: Items<RawAnswer>,
    /// What the origin answers, if the request gets there.
    #[serde(default)]
    pub(in crate::config) response: RawCaseResponse,
    /// How often the request is sent: each time this is expected.
    #[serde(default = "once")]
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) repeat: u32,
    /// What is to come of it.
    #[serde(default)]
    pub(in crate::config) expect: RawExpect,
}

fn once() -> u32 {
    1
}

/// A request of a client.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "CaseRequest")]
pub(in crate::config) struct RawCaseRequest {
    pub(in crate::config) method: String,
    /// With the query.
    pub(in crate::config) path: String,
    /// The `Host`.
    pub(in crate::config) authority: String,
    /// By name; several values are a list.
    #[schemars(with = "BTreeMap<String, Values>")]
    pub(in crate::config) headers: BTreeMap<String, Option<Values>>,
    /// A list comes in as many pieces, chunked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Values")]
    pub(in crate::config) body: Option<Values>,
    /// The same for bytes that are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Values")]
    pub(in crate::config) body_base64: Option<Values>,
    /// Fields behind the body, which comes chunked then.
    #[schemars(with = "BTreeMap<String, Values>")]
    pub(in crate::config) trailers: BTreeMap<String, Option<Values>>,
    /// The IP address of the client.
    pub(in crate::config) client_address: String,
    /// It comes over TLS, with what is known of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RawCaseTls")]
    pub(in crate::config) tls: Option<RawCaseTls>,
    /// Facts that earlier filters left, by their full names, such as `auth.user`.
    #[schemars(with = "BTreeMap<String, String>")]
    pub(in crate::config) attributes: BTreeMap<String, Option<String>>,
}

impl Default for RawCaseRequest {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            authority: "example.test".to_owned(),
            headers: BTreeMap::new(),
            body: None,
            body_base64: None,
            trailers: BTreeMap::new(),
            client_address: CLIENT.to_owned(),
            tls: None,
            attributes: BTreeMap::new(),
        }
    }
}

const CLIENT: &str = "192.0.2.1";

/// A connection of a client, of which nothing is understood yet.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "CaseConnection")]
pub(in crate::config) struct RawCaseConnection {
    /// The IP address of the client.
    pub(in crate::config) client_address: String,
    /// Where it connected to, `address:port`.
    pub(in crate::config) destination: String,
    /// Whether the listener speaks HTTP on it, so that the filter may not say where it
    /// goes. Otherwise it is passed on as it is. Without this key `protocol` says so, and
    /// without both it is passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub(in crate::config) http: Option<bool>,
    /// The listener ends its TLS, with what is known of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RawCaseTls")]
    pub(in crate::config) tls: Option<RawCaseTls>,
    /// What it asked for in a TLS handshake that is passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) sni: Option<String>,
    /// What it was found to speak, on a listener that looks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Detected")]
    pub(in crate::config) protocol: Option<Detected>,
    /// Its first bytes, as many as the filter wants to see.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) preview: Option<String>,
    /// The same where they are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) preview_base64: Option<String>,
    /// Facts that earlier filters left, by their full names.
    #[schemars(with = "BTreeMap<String, String>")]
    pub(in crate::config) attributes: BTreeMap<String, Option<String>>,
}

impl Default for RawCaseConnection {
    fn default() -> Self {
        Self {
            client_address: CLIENT.to_owned(),
            destination: "192.0.2.200:443".to_owned(),
            http: None,
            tls: None,
            sni: None,
            protocol: None,
            preview: None,
            preview_base64: None,
            attributes: BTreeMap::new(),
        }
    }
}

/// What a TLS handshake came to.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "CaseTls")]
pub(in crate::config) struct RawCaseTls {
    /// The name that the client asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) sni: Option<String>,
    /// What was agreed on, such as `h2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) alpn: Option<String>,
    /// The client's certificate, which was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RawCasePeer")]
    pub(in crate::config) peer: Option<RawCasePeer>,
}

/// Of a client's certificate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "CasePeer")]
pub(in crate::config) struct RawCasePeer {
    /// As RFC 4514 writes it, such as `CN=web`.
    pub(in crate::config) subject: String,
    /// SHA-256, in hexadecimal.
    pub(in crate::config) fingerprint: String,
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) dns: Items<String>,
    /// One that begins with `spiffe://`, if it is the only one, is the peer's identity.
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) uris: Items<String>,
}

/// The answer of an origin.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "CaseResponse")]
pub(in crate::config) struct RawCaseResponse {
    #[schemars(range(min = 200, max = 599))]
    pub(in crate::config) status: u16,
    /// By name; several values are a list.
    #[schemars(with = "BTreeMap<String, Values>")]
    pub(in crate::config) headers: BTreeMap<String, Option<Values>>,
    /// A list comes in as many pieces, chunked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Values")]
    pub(in crate::config) body: Option<Values>,
    /// The same for bytes that are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Values")]
    pub(in crate::config) body_base64: Option<Values>,
    /// Fields behind the body, which comes chunked then.
    #[schemars(with = "BTreeMap<String, Values>")]
    pub(in crate::config) trailers: BTreeMap<String, Option<Values>>,
    /// The origin takes no connection: the proxy answers in its place.
    pub(in crate::config) unavailable: bool,
}

impl Default for RawCaseResponse {
    fn default() -> Self {
        Self {
            status: 200,
            headers: BTreeMap::new(),
            body: None,
            body_base64: None,
            trailers: BTreeMap::new(),
            unavailable: false,
        }
    }
}

/// What a cluster answers to a call of the filter. Of those that fit a call the first
/// that was not used yet is its answer, and the last of them also for further calls.
/// A call that none fits is `unavailable`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Answer")]
pub(in crate::config) struct RawAnswer {
    #[schemars(required, with = "String", length(min = 1))]
    pub(in crate::config) cluster: Option<String>,
    /// Calls with this method only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) method: Option<String>,
    /// Calls of this path only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) path: Option<String>,
    #[serde(default = "ok")]
    #[schemars(range(min = 200, max = 599))]
    pub(in crate::config) status: u16,
    /// By name; several values are a list.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Values>")]
    pub(in crate::config) headers: BTreeMap<String, Option<Values>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Values")]
    pub(in crate::config) body: Option<Values>,
    /// The same for bytes that are no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Values")]
    pub(in crate::config) body_base64: Option<Values>,
    /// There is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "NoAnswer")]
    pub(in crate::config) error: Option<NoAnswer>,
}

fn ok() -> u16 {
    200
}

/// What is expected of an exchange.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Expect")]
pub(in crate::config) struct RawExpect {
    /// How the request phases end: `next` sends the request on, `respond` answers it,
    /// `reset` closes without an answer, `fail` is a failure of the filter under
    /// `on_error: deny`, and `refuse` is the proxy's own, of a body that is too long. Of
    /// a connection `next` lets it go on, and `deny` closes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Verdict")]
    pub(in crate::config) verdict: Option<Verdict>,
    /// A fault of the filter by its name, such as `trap`, `overrun` or `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) fault: Option<String>,
    /// Where the request, or the connection, is sent; `origin` is where no filter sent it
    /// anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) cluster: Option<String>,
    /// The route that is named in the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) route: Option<String>,
    /// The request as the origin gets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RawExpectedRequest")]
    pub(in crate::config) request: Option<RawExpectedRequest>,
    /// The answer as the client gets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RawExpectedResponse")]
    pub(in crate::config) response: Option<RawExpectedResponse>,
    /// Facts that the exchange has in the end, by their full names. One that is
    /// `null` must not be there.
    pub(in crate::config) attributes: BTreeMap<String, Option<String>>,
    /// Texts, each to be found in a line that the filter logged.
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) log: Items<String>,
    /// All calls that the filter made, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<RawExpectedCall>")]
    pub(in crate::config) calls: Option<Items<RawExpectedCall>>,
    /// All copies of the request that were sent elsewhere, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<RawExpectedMirror>")]
    pub(in crate::config) mirrors: Option<Items<RawExpectedMirror>>,
}

/// A request as an origin should get it. Only what is named is compared.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "ExpectedRequest")]
pub(in crate::config) struct RawExpectedRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) authority: Option<String>,
    /// By name: a value, all values as a list, or `null` for a field that must not
    /// be there.
    pub(in crate::config) headers: BTreeMap<String, Option<Values>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) body: Option<String>,
    /// The same for bytes that are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) body_base64: Option<String>,
    /// As `headers`.
    pub(in crate::config) trailers: BTreeMap<String, Option<Values>>,
}

/// An answer as the client should get it. Only what is named is compared.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "ExpectedResponse")]
pub(in crate::config) struct RawExpectedResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u16", range(min = 200, max = 599))]
    pub(in crate::config) status: Option<u16>,
    /// By name: a value, all values as a list, or `null` for a field that must not
    /// be there.
    pub(in crate::config) headers: BTreeMap<String, Option<Values>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) body: Option<String>,
    /// The same for bytes that are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) body_base64: Option<String>,
    /// As `headers`.
    pub(in crate::config) trailers: BTreeMap<String, Option<Values>>,
    /// Whether it is cut off before its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub(in crate::config) cut_off: Option<bool>,
}

/// A call that the filter should make. Only what is named is compared.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "ExpectedCall")]
pub(in crate::config) struct RawExpectedCall {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) path: Option<String>,
    /// By name: a value, all values as a list, or `null` for a field that must not
    /// be there.
    pub(in crate::config) headers: BTreeMap<String, Option<Values>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) body: Option<String>,
    /// The same for bytes that are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) body_base64: Option<String>,
}

/// A copy of the request that should be sent elsewhere.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "ExpectedMirror")]
pub(in crate::config) struct RawExpectedMirror {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) cluster: Option<String>,
    /// Fields that are set on the copy, as `headers` elsewhere.
    pub(in crate::config) headers: BTreeMap<String, Option<Values>>,
}

/// One text, or a list of them. A whole number is as good as its digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum Values {
    One(String),
    Many(Vec<String>),
}

impl Values {
    pub(in crate::config) fn texts(&self) -> &[String] {
        match self {
            Values::One(text) => std::slice::from_ref(text),
            Values::Many(texts) => texts,
        }
    }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Values::One(text) => serializer.serialize_str(text),
            Values::Many(texts) => serializer.collect_seq(texts),
        }
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) if !number.is_f64() => Some(number.to_string()),
            _ => None,
        };
        let value = Value::deserialize(deserializer)?;
        let texts = match &value {
            // One that has a mistake, which was told, is nothing.
            Value::Array(items) => items
                .iter()
                .filter(|item| !item.is_null())
                .map(text)
                .collect::<Option<_>>()
                .map(Values::Many),
            other => text(other).map(Values::One),
        };
        texts.ok_or_else(|| de::Error::custom("neither a text nor a list of texts"))
    }
}

impl JsonSchema for Values {
    fn schema_name() -> Cow<'static, str> {
        "Values".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "One text, or a list of them.",
            "type": ["string", "integer", "array"],
            "items": {"type": ["string", "integer"], "x-wanted": "a string"},
            "x-wanted": "a string or a list of strings",
        })
    }
}
