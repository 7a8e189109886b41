//! A key set as an issuer publishes it. What is wrong with one of its keys is no
//! reason to do without the others (RFC 7517 section 5).

use serde::Deserialize;
use serde_json::Value;

use super::jwks::{self, Skipped};
use super::keys::{Key, Keys, MAX_TRIED};
use crate::config::{Algorithm, Jwk};

/// Keys of one set beyond this are left out: each instance makes all of them within
/// one call.
pub const MAX_KEYS: usize = 16;

/// Which keys of a set count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRules {
    /// Any, if not given.
    pub algorithms: Option<Vec<Algorithm>>,
}

/// The keys of a set, and why others were left out.
pub struct Set {
    pub keys: Keys,
    pub notes: Vec<String>,
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

/// The usable keys of a set; without any it is an error.
pub fn read_set(body: &[u8], rules: &KeyRules) -> Result<Set, String> {
    let published: Published =
        serde_json::from_slice(body).map_err(|error| format!("not a key set: {error}"))?;
    let (mut keys, mut notes) = (Vec::new(), Vec::new());
    for (place, jwk) in published.keys.iter().enumerate() {
        match usable(jwk, rules, &keys) {
            Ok(key) => keys.push(key),
            Err(why) => notes.push(format!("/keys/{place} is left out: {why}")),
        }
    }
    match keys.is_empty() {
        true => Err(format!(
            "no key that can be used, of {}",
            published.keys.len()
        )),
        false => Ok(Set {
            keys: Keys::new(keys),
            notes,
        }),
    }
}

fn usable(jwk: &Value, rules: &KeyRules, before: &[Key]) -> Result<Key, String> {
    if before.len() == MAX_KEYS {
        return Err(format!("there are {MAX_KEYS} before it"));
    }
    let jwk = Jwk::deserialize(jwk).map_err(|error| error.to_string())?;
    let key = match jwks::read(&jwk) {
        Ok(Ok(key)) => key,
        Ok(Err(Skipped::OtherPurpose)) => return Err("it is not for verifying".into()),
        Ok(Err(Skipped::Unsupported)) => return Err("its kind is not supported".into()),
        Err((member, message)) => return Err(format!("{member}: {message}")),
    };
    let algorithm = key.key.algorithm();
    if algorithm == Algorithm::HS256 {
        return Err("a secret that is published is none".into());
    }
    let listed = rules.algorithms.as_ref();
    if listed.is_some_and(|listed| !listed.contains(&algorithm)) {
        return Err(format!("`algorithms` does not list {}", algorithm.name()));
    }
    // A token must lead to few keys, or a bad one would cost too much.
    let same = |other: &&Key| other.kid == key.kid && other.key.algorithm() == algorithm;
    match (&key.kid, before.iter().filter(same).count()) {
        (Some(_), 1..) => Err("another key of its algorithm has its kid".into()),
        (None, MAX_TRIED..) => Err(format!("{MAX_TRIED} before it have no kid either")),
        _ => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ED: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn key(kid: &str) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": ED })
    }

    fn read(set: Value, algorithms: Option<Vec<Algorithm>>) -> Result<Vec<String>, String> {
        let rules = KeyRules { algorithms };
        read_set(set.to_string().as_bytes(), &rules).map(|set| set.notes)
    }

    fn check(keys: Value, notes: &[&str]) {
        assert_eq!(read(json!({ "keys": keys }), None).unwrap(), notes);
    }

    #[test]
    fn one_good_key_is_enough() {
        check(json!([key("a"), key("b")]), &[]);
        check(
            json!([
                5,
                { "kty": "oct", "k": "c".repeat(64) },
                { "kty": "OKP", "crv": "Ed25519", "x": "short" },
                { "kty": "RSA", "use": "enc" },
                { "kty": "EC", "crv": "P-521" },
                key("a"),
                key("a"),
            ]),
            &[
                "/keys/0 is left out: invalid type: integer `5`, expected struct Jwk",
                "/keys/1 is left out: a secret that is published is none",
                "/keys/2 is left out: /x: expected base64url without padding",
                "/keys/3 is left out: it is not for verifying",
                "/keys/4 is left out: its kind is not supported",
                "/keys/6 is left out: another key of its algorithm has its kid",
            ],
        );
    }

    #[test]
    fn keys_beyond_the_limit_are_left_out() {
        let keys: Vec<_> = (0..20).map(|kid| key(&kid.to_string())).collect();
        let notes = read(json!({ "keys": keys }), None).unwrap();
        assert_eq!(notes.len(), 4);
        assert_eq!(notes[0], "/keys/16 is left out: there are 16 before it");
    }

    #[test]
    fn without_a_usable_key_it_is_no_set() {
        let none = "no key that can be used, of 1";
        let listed = Some(vec![Algorithm::ES256]);
        assert_eq!(
            read(json!({ "keys": [key("a")] }), listed),
            Err(none.into())
        );
        assert!(read(json!({ "keys": [] }), None).is_err());
        assert!(read(json!({ "error": "gone" }), None).is_err());
        assert!(read(json!("keys"), None).is_err());
    }
}
