//! The configuration as it is written. `check` makes routes of it.

use std::collections::BTreeMap;
use std::fmt;

use lockgate_sdk::duration::Span;
use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Routes requests. The first route whose `match` holds decides; a request that
/// no route takes goes to the listener's `cluster`, or is answered 404.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The routes, in order: the first that matches wins.
    pub routes: Vec<RouteConfig>,
}

/// Which requests, and what becomes of them. Exactly one of `cluster`, `split`,
/// `redirect` and `respond` is given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// The route's name, once only: in logs and metrics, and in the `routes` of
    /// the filters behind this one.
    pub name: String,
    /// Which requests. All conditions must hold; without any, every request.
    #[serde(default, rename = "match")]
    pub condition: MatchConfig,
    /// Send the request to this cluster.
    pub cluster: Option<String>,
    /// Send the request to one of these clusters, by weight.
    pub split: Option<Vec<ShareConfig>>,
    /// Let a value of the request pick from `split`, so that equal values always
    /// go to the same cluster. A request without it is drawn at random.
    pub split_by: Option<SplitByConfig>,
    /// Send it to endpoints of the cluster with these labels, by its `subsets`, such as
    /// `{ version: v2 }`.
    #[serde(default)]
    pub subset: BTreeMap<String, String>,
    /// Answer with a redirect.
    pub redirect: Option<RedirectConfig>,
    /// Answer with this.
    pub respond: Option<RespondConfig>,
    /// Change the request's path or host before it is sent.
    pub rewrite: Option<RewriteConfig>,
    /// Change header fields of the request and of the response.
    #[serde(default)]
    pub headers: HeadersConfig,
    /// How long the whole exchange may take, such as `250ms`, `5s`, `1m`: more
    /// than 0, a day at most, and within the limits of the proxy's configuration.
    pub timeout: Option<Span>,
    /// How long one try may take, to the head of its answer. Limits as above.
    pub try_timeout: Option<Span>,
    /// How long a new connection may take, TLS and all. Limits as above.
    pub connect_timeout: Option<Span>,
    /// Of that, the TLS handshake. Limits as above.
    pub tls_timeout: Option<Span>,
    /// From the request's last byte to the head of the answer. Limits as above.
    pub answer_timeout: Option<Span>,
    /// How long the answer's body may come to a stop. Limits as above.
    pub idle_timeout: Option<Span>,
    /// The retry policy, one of `retry_policies`, instead of the cluster's.
    pub retry: Option<String>,
}

/// The conditions of a route.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchConfig {
    /// A host name or `*.suffix` (which stands for every name below it, but not
    /// for the suffix itself), or a list of them. Case and port do not matter.
    pub host: Option<OneOrMany>,
    /// The whole path, without the query.
    pub path: Option<String>,
    /// The first segments of the path: `/a` takes `/a`, `/a/` and `/a/b`, but
    /// not `/ab`.
    pub path_prefix: Option<String>,
    /// A regular expression for the whole path. ASCII, no look-around, no
    /// back-references: it takes time in proportion to the path.
    pub path_regex: Option<String>,
    /// A method or a list of them. `GET` does not include `HEAD`.
    pub method: Option<OneOrMany>,
    /// Header fields by name. Of a field with several values one must match.
    #[serde(default)]
    pub headers: BTreeMap<String, TestConfig>,
    /// Query parameters by name, both percent-decoded (`+` is a blank).
    #[serde(default)]
    pub query: BTreeMap<String, TestConfig>,
    /// Cookies by name.
    #[serde(default)]
    pub cookies: BTreeMap<String, TestConfig>,
}

/// One text or a list of texts.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Any of these.
    Many(Vec<String>),
}

impl OneOrMany {
    /// With the place of each below the key: none for a single one.
    pub fn items(&self) -> impl Iterator<Item = (Option<usize>, &str)> {
        let (one, many) = match self {
            OneOrMany::One(text) => (Some((None, text.as_str())), [].as_slice()),
            OneOrMany::Many(texts) => (None, texts.as_slice()),
        };
        let many = many.iter().enumerate();
        one.into_iter()
            .chain(many.map(|(index, text)| (Some(index), text.as_str())))
    }
}

/// What a value must be: a text (it must be equal), or one of the tests.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
pub enum TestConfig {
    /// Equal to this text.
    Equal(String),
    /// Satisfies this test.
    Test(ValueTest),
}

/// One test of a value.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValueTest {
    /// Equal to this text.
    Exact(String),
    /// Begins with this text.
    Prefix(String),
    /// Ends with this text.
    Suffix(String),
    /// Has this text somewhere.
    Contains(String),
    /// Matches this regular expression as a whole.
    Regex(String),
    /// Whether there is such a field, parameter or cookie at all.
    Present(bool),
    /// The opposite of this text or test; holds also when there is no value.
    Not(Box<TestConfig>),
}

/// A cluster and its share.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareConfig {
    /// The cluster's name.
    pub cluster: String,
    /// Its share, in proportion to the sum of all weights. 0 for none.
    pub weight: u32,
}

/// What picks from a split.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SplitByConfig {
    /// The first value of this request header field.
    Header(String),
    /// The value of this cookie.
    Cookie(String),
}

/// A redirect. What is not given stays as the request has it; the query is kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedirectConfig {
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "found")]
    pub status: u16,
    /// The new scheme: `http` or `https`. The request's port is then left out.
    pub scheme: Option<Scheme>,
    /// The new host, without a port.
    pub host: Option<String>,
    /// The new port.
    pub port: Option<u16>,
    /// The new path. After `path_regex` it may name groups of it: `$1`, `$name`;
    /// `$$` is a dollar sign.
    pub path: Option<String>,
    /// What takes the place of `path_prefix`.
    pub prefix: Option<String>,
}

fn found() -> u16 {
    302
}

/// A scheme of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// An answer made here.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RespondConfig {
    /// The status, 200 to 599.
    pub status: u16,
    /// The body. Its `content-type` is `text/plain; charset=utf-8` unless
    /// `headers` say otherwise.
    #[serde(default)]
    pub body: String,
    /// Header fields of the answer.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// A change of the request's target. The query is kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewriteConfig {
    /// What takes the place of `path_prefix`.
    pub prefix: Option<String>,
    /// The new path. After `path_regex` it may name groups of it: `$1`, `$name`;
    /// `$$` is a dollar sign.
    pub path: Option<String>,
    /// The new host, with a port if the origin wants one.
    pub host: Option<String>,
}

/// Changes of header fields.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadersConfig {
    /// In the request, before it is sent.
    #[serde(default)]
    pub request: EditsConfig,
    /// In the response, whoever made it.
    #[serde(default)]
    pub response: EditsConfig,
}

/// Changes of one head: first `remove`, then `set`, then `append`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EditsConfig {
    /// Give these fields this one value.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Add one more value to these fields.
    #[serde(default)]
    pub append: BTreeMap<String, String>,
    /// Remove these fields.
    #[serde(default)]
    pub remove: Vec<String>,
}

// Written out instead of `untagged`, which knows but one message for every
// mistake and loses its place.
impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrManyVisitor;
        impl<'de> Visitor<'de> for OneOrManyVisitor {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMany, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany::Many)
            }
        }
        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

impl<'de> Deserialize<'de> for TestConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TestVisitor;
        impl<'de> Visitor<'de> for TestVisitor {
            type Value = TestConfig;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a text (quote numbers) or a test such as { prefix: text }")
            }

            fn visit_str<E>(self, text: &str) -> Result<TestConfig, E> {
                Ok(TestConfig::Equal(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TestConfig, A::Error> {
                Deserialize::deserialize(MapAccessDeserializer::new(map)).map(TestConfig::Test)
            }
        }
        deserializer.deserialize_any(TestVisitor)
    }
}
