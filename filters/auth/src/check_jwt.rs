//! The part of the check that is about tokens.

use lockgate_sdk::{ConfigError, ConfigErrors, field};
use serde_json::Value;

use crate::check::{check_field_name, keep};
use crate::config::{Algorithm, Jwks, Jwt, Key, OneOrMany, RequiredClaims};
use crate::gate::Way;
use crate::jwt::{self, ClaimRules, Keys, MAX_TRIED, Requirement, Skipped, VerifyingKey};

/// A key and its place in the configuration.
type Placed = (String, jwt::Key);

/// Tokens as a way to pass, or the mistakes; what was left out goes to `notes`.
pub fn check(
    config: Jwt,
    attributes: Vec<String>,
    errors: &mut ConfigErrors,
    notes: &mut Vec<String>,
) -> Option<Way> {
    let header = check_field_name("/jwt/header", &config.header, errors);
    check_scheme(&config.scheme, errors);
    let mistakes_before = errors.iter().count();
    let are_fetched = config
        .jwks
        .as_ref()
        .is_some_and(|jwks| jwks.cluster.is_some());
    let has_no_list = config
        .jwks
        .as_ref()
        .is_some_and(|jwks| jwks.cluster.is_some() || jwks.keys.is_none());
    let mut keys = check_keys(config.keys, errors);
    keys.extend(check_jwks(config.jwks, errors, notes));
    if let Some(algorithms) = &config.algorithms {
        if !are_fetched {
            check_algorithms(&keys, algorithms, errors);
        }
        keys = keep_algorithms(keys, algorithms, errors, notes);
    }
    if keys.is_empty() && !has_no_list && errors.iter().count() == mistakes_before {
        let message = "no token could be verified: give at least one key in `keys` or `jwks`";
        errors.push(ConfigError::at("/jwt", message));
    }
    check_choice(&keys, errors);
    let rules = ClaimRules {
        issuers: check_texts("/jwt/issuer", config.issuer, errors),
        audiences: check_texts("/jwt/audience", config.audience, errors),
        leeway: config.leeway.0.as_secs_f64(),
        require_expiry: config.require_expiry,
        required: check_required(config.required_claims, errors),
    };
    let keys = Keys::new(keys.into_iter().map(|(_, key)| key).collect());
    let jwt = jwt::Jwt::new(keys, rules, attributes);
    Some(Way::Jwt {
        header: header?,
        scheme: config.scheme,
        jwt: match are_fetched {
            true => jwt.with_fetched(),
            false => jwt,
        },
    })
}

fn check_scheme(scheme: &str, errors: &mut ConfigErrors) {
    let at = "/jwt/scheme";
    if !scheme.is_empty() && !field::is_name(scheme) {
        let message = format!("expected one word or nothing, found `{scheme}`");
        errors.push(ConfigError::at(at, message));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        errors.push(ConfigError::at(at, "`Basic` carries passwords, not tokens"));
    }
}

fn check_keys(keys: Vec<Key>, errors: &mut ConfigErrors) -> Vec<Placed> {
    let mut checked = Vec::new();
    for (place, key) in keys.into_iter().enumerate() {
        let at = format!("/jwt/keys/{place}");
        if let Some(verifying) = keep(errors, check_key(&at, &key)) {
            let (kid, key) = (key.kid, verifying);
            checked.push((at, jwt::Key { kid, key }));
        }
    }
    checked
}

fn check_key(at: &str, key: &Key) -> Result<VerifyingKey, ConfigError> {
    let algorithm = key.alg.name();
    match (&key.secret, &key.public_key_pem) {
        (Some(secret), None) if key.alg == Algorithm::HS256 => {
            VerifyingKey::from_secret(secret.as_bytes())
                .map_err(|message| ConfigError::at(format!("{at}/secret"), message))
        }
        (None, Some(pem)) => VerifyingKey::from_pem(key.alg, pem)
            .map_err(|message| ConfigError::at(format!("{at}/public_key_pem"), message)),
        (Some(_), None) => {
            let message = format!("{algorithm} has no secret: give `public_key_pem`");
            Err(ConfigError::at(format!("{at}/secret"), message))
        }
        (None, None) if key.alg == Algorithm::HS256 => {
            Err(ConfigError::at(at, "HS256 needs `secret`"))
        }
        (None, None) => {
            let message = format!("{algorithm} needs `public_key_pem`");
            Err(ConfigError::at(at, message))
        }
        (Some(_), Some(_)) => Err(ConfigError::at(
            at,
            "expected only one of `secret` and `public_key_pem`",
        )),
    }
}

fn check_jwks(
    jwks: Option<Jwks>,
    errors: &mut ConfigErrors,
    notes: &mut Vec<String>,
) -> Vec<Placed> {
    let mut checked = Vec::new();
    let keys = jwks.and_then(|jwks| jwks.keys).unwrap_or_default();
    for (place, jwk) in keys.iter().enumerate() {
        let at = format!("/jwt/jwks/keys/{place}");
        match jwt::read_jwk(jwk) {
            Ok(Ok(key)) => checked.push((at, key)),
            Ok(Err(skipped)) => notes.push(format!("{at} is left out: {}", reason(&skipped))),
            Err((member, message)) => {
                errors.push(ConfigError::at(format!("{at}{member}"), message));
            }
        }
    }
    checked
}

fn reason(skipped: &Skipped) -> &'static str {
    match skipped {
        Skipped::OtherPurpose => "it is not for verifying signatures",
        Skipped::Unsupported => "its kind, curve or algorithm is not supported",
    }
}

/// Each must be that of a key.
fn check_algorithms(keys: &[Placed], algorithms: &[Algorithm], errors: &mut ConfigErrors) {
    for (place, algorithm) in algorithms.iter().enumerate() {
        if !keys
            .iter()
            .any(|(_, key)| key.key.algorithm() == *algorithm)
        {
            let message = format!("there is no key for {}", algorithm.name());
            errors.push(ConfigError::at(format!("/jwt/algorithms/{place}"), message));
        }
    }
}

/// Only keys of these algorithms. One that was given by itself must be of them;
/// from a set, as others publish it, the rest is left out.
fn keep_algorithms(
    mut keys: Vec<Placed>,
    algorithms: &[Algorithm],
    errors: &mut ConfigErrors,
    notes: &mut Vec<String>,
) -> Vec<Placed> {
    keys.retain(|(at, key)| {
        let algorithm = key.key.algorithm();
        if algorithms.contains(&algorithm) {
            return true;
        }
        let message = format!("`algorithms` does not list {}", algorithm.name());
        if at.starts_with("/jwt/keys/") {
            errors.push(ConfigError::at(format!("{at}/alg"), message));
        } else {
            notes.push(format!("{at} is left out: {message}"));
        }
        false
    });
    keys
}

/// A token must lead to few keys, or a bad one would cost too much.
fn check_choice(keys: &[Placed], errors: &mut ConfigErrors) {
    for (place, (at, key)) in keys.iter().enumerate() {
        let same = |(_, other): &&Placed| {
            other.kid == key.kid && other.key.algorithm() == key.key.algorithm()
        };
        let before = keys[..place].iter().filter(same).count();
        match &key.kid {
            Some(kid) if before > 0 => {
                let message = format!("another key of this algorithm has the kid `{kid}` too");
                errors.push(ConfigError::at(format!("{at}/kid"), message));
            }
            None if before == MAX_TRIED => {
                let message = format!(
                    "more than {MAX_TRIED} keys of one algorithm have no kid: \
                     every bad token would be tried with each"
                );
                errors.push(ConfigError::at(at, message));
            }
            _ => {}
        }
    }
}

fn check_texts(at: &str, texts: Option<OneOrMany>, errors: &mut ConfigErrors) -> Vec<String> {
    let Some(texts) = texts.map(OneOrMany::into_vec) else {
        return Vec::new();
    };
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        errors.push(ConfigError::at(
            at,
            "expected text, or a list of texts, not empty",
        ));
    }
    texts
}

fn check_required(required: Option<RequiredClaims>, errors: &mut ConfigErrors) -> Vec<Requirement> {
    match required {
        None => Vec::new(),
        Some(RequiredClaims::Names(names)) => names.into_iter().map(present).collect(),
        Some(RequiredClaims::Values(values)) => values
            .into_iter()
            .map(|(claim, value)| {
                let at = format!("/jwt/required_claims/{}", escape(&claim));
                let values = keep(errors, check_values(&at, value)).unwrap_or_default();
                Requirement { claim, values }
            })
            .collect(),
    }
}

fn present(claim: String) -> Requirement {
    let values = Vec::new();
    Requirement { claim, values }
}

fn check_values(at: &str, value: Value) -> Result<Vec<Value>, ConfigError> {
    let simple = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    match value {
        Value::Array(values) if !values.is_empty() && values.iter().all(simple) => Ok(values),
        value if simple(&value) => Ok(vec![value]),
        _ => Err(ConfigError::at(
            at,
            "expected a string, a number, a boolean, or a list of them",
        )),
    }
}

/// A name inside a JSON pointer (RFC 6901).
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
