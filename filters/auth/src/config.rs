//! The configuration as it is written. `check` makes a `Gate` of it.

use std::collections::BTreeMap;
use std::time::Duration;

use lockgate_sdk::duration::Span;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// Who may pass. At least one of `api_keys`, `jwt` and `basic` is given; a
/// request that satisfies any one of them passes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The protection space that challenges name.
    #[serde(default = "default_realm")]
    pub realm: String,
    /// Keys that clients send in a header field.
    #[serde(default)]
    pub api_keys: Vec<ApiKey>,
    /// The header field that carries an API key.
    #[serde(default = "default_api_key_header")]
    pub api_key_header: String,
    /// JSON Web Tokens.
    pub jwt: Option<Jwt>,
    /// Users with a password, for the `Basic` scheme.
    #[serde(default)]
    pub basic: Vec<User>,
    /// A request header field that is set to the verified name, or removed where
    /// a token has no subject. List it in the listener's
    /// `remove_request_headers` too: that closes the routes for which this
    /// filter is off.
    #[schemars(extend("x-lockgate-trusted-header" = true))]
    pub identity_header: Option<String>,
    /// Claims of a token that are left as attributes `claim.NAME`.
    #[serde(default)]
    pub attributes: Vec<String>,
    /// Remove the header fields that can carry a credential of the given ways
    /// before the request goes on.
    #[serde(default)]
    pub remove_credentials: bool,
}

/// A key and the name that it stands for. One of `key`, `key_sha256` and `secret`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Whom the key identifies.
    pub name: String,
    /// The key itself.
    #[schemars(extend("writeOnly" = true))]
    pub key: Option<String>,
    /// SHA-256 of the key, 64 hexadecimal digits.
    #[schemars(extend("writeOnly" = true))]
    pub key_sha256: Option<String>,
    /// The name of a secret that is the key. It must be granted to this filter.
    pub secret: Option<String>,
}

/// A user of the `Basic` scheme.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The user name, without a colon.
    pub user: String,
    /// At least 8 characters, different for each user.
    #[schemars(extend("writeOnly" = true))]
    pub salt: String,
    /// SHA-256 of the salt followed by the password, 64 hexadecimal digits.
    #[schemars(extend("writeOnly" = true))]
    pub password_sha256: String,
}

/// Which tokens are good. At least one key is given, in `keys` or in `jwks`, or
/// `jwks` tells where they are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// Keys, each for one algorithm.
    #[serde(default)]
    pub keys: Vec<Key>,
    /// A JSON Web Key Set (RFC 7517), written out or to be fetched.
    pub jwks: Option<Jwks>,
    /// The only algorithms that are accepted, where there are keys for more.
    pub algorithms: Option<Vec<Algorithm>>,
    /// The `iss` claim must be this, or one of these.
    pub issuer: Option<OneOrMany>,
    /// The `aud` claim must contain this, or one of these. Without it a token
    /// that has an `aud` claim is refused.
    pub audience: Option<OneOrMany>,
    /// How far clocks may differ when `exp` and `nbf` are compared, such as
    /// `30s` or `2m`.
    #[serde(default = "default_leeway")]
    pub leeway: Span,
    /// Refuse tokens that never expire.
    #[serde(default = "default_require_expiry")]
    pub require_expiry: bool,
    /// Claims that a token must have, by name, or with the value they must have.
    /// A good token without them is answered 403.
    pub required_claims: Option<RequiredClaims>,
    /// The header field that carries the token.
    #[serde(default = "default_token_header")]
    pub header: String,
    /// The word before the token; an empty one means that the field is the
    /// token alone.
    #[serde(default = "default_scheme")]
    pub scheme: String,
}

/// A key of one algorithm: `secret` for HS256, `public_key_pem` for the others.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The key's name: what a token says in its `kid`.
    pub kid: Option<String>,
    /// The only algorithm that the key verifies.
    pub alg: Algorithm,
    /// The secret of HS256, at least 32 bytes.
    #[schemars(extend("writeOnly" = true))]
    pub secret: Option<String>,
    /// The public key in PEM (`BEGIN PUBLIC KEY`).
    pub public_key_pem: Option<String>,
}

/// A signature algorithm of RFC 7518 or RFC 8037.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    HS256,
    /// RSA PKCS#1 v1.5 with SHA-256, keys of 2048 to 4096 bits.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// The algorithm of a header's or a key's `alg`; `none` is not one.
    pub fn find(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::HS256),
            "RS256" => Some(Self::RS256),
            "ES256" => Some(Self::ES256),
            "EdDSA" => Some(Self::EdDSA),
            _ => None,
        }
    }

    /// The name in RFC 7518 and RFC 8037.
    pub fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }
}

/// A key set: `keys`, or `cluster` and `path` of where it is fetched. Keys for
/// something else than verifying, and of kinds that are not supported, are left out
/// (RFC 7517 section 5).
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Jwks {
    /// The keys.
    pub keys: Option<Vec<Jwk>>,
    /// The cluster that publishes the set. Calls to it must be granted to this
    /// filter, and shared state.
    #[schemars(extend("x-lockgate-needs" = ["http-client", "shared"]))]
    pub cluster: Option<String>,
    /// The path of the set there.
    pub path: Option<String>,
    /// How often it is fetched, from `1s` to `24h`; `5m` if not given.
    pub refresh: Option<Span>,
}

/// A JSON Web Key. Members that are not named here are ignored (RFC 7517
/// section 4).
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct Jwk {
    /// `oct`, `RSA`, `EC` or `OKP`.
    pub kty: String,
    /// The key's name: what a token says in its `kid`.
    pub kid: Option<String>,
    /// The only algorithm that the key verifies.
    pub alg: Option<String>,
    /// What the key is for; only `sig` is taken.
    #[serde(rename = "use")]
    pub purpose: Option<String>,
    /// What the key is for; only keys for `verify` are taken.
    pub key_ops: Option<Vec<String>>,
    /// The curve: `P-256` or `Ed25519`.
    pub crv: Option<String>,
    /// Coordinate of a point.
    pub x: Option<String>,
    /// Coordinate of a point.
    pub y: Option<String>,
    /// RSA modulus.
    pub n: Option<String>,
    /// RSA exponent.
    pub e: Option<String>,
    /// The secret of HS256, at least 32 bytes.
    #[schemars(extend("writeOnly" = true))]
    pub k: Option<String>,
    /// The private part, which does not belong here: refused.
    #[schemars(extend("writeOnly" = true))]
    pub d: Option<Value>,
}

/// One value or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// This one.
    One(String),
    /// Any of these.
    Many(Vec<String>),
}

impl OneOrMany {
    /// Every value.
    pub fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

/// What claims a token must have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RequiredClaims {
    /// Any value will do.
    Names(Vec<String>),
    /// A string, number or boolean, or a list of which any one will do. A claim
    /// that is a list satisfies it with any element, `scope` with any word.
    Values(BTreeMap<String, Value>),
}

fn default_realm() -> String {
    "lockgate".into()
}

fn default_api_key_header() -> String {
    "x-api-key".into()
}

fn default_leeway() -> Span {
    Span(Duration::from_secs(60))
}

fn default_require_expiry() -> bool {
    true
}

fn default_token_header() -> String {
    "authorization".into()
}

fn default_scheme() -> String {
    "Bearer".into()
}
