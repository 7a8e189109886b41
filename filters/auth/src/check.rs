//! From the configuration as written to a `Gate`, or to every mistake in it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use lockgate_sdk::{ConfigError, ConfigErrors, field};

use crate::answer::Challenges;
use crate::api_keys::{ApiKeys, Key};
use crate::basic::{Password, Users};
use crate::config::{ApiKey, Config, User};
use crate::digest::Fingerprint;
use crate::gate::{Gate, Way};
use crate::jwt::is_name;
use crate::remote::Source;
use crate::{check_jwt, check_source};

const MIN_SALT: usize = 8;

/// A good configuration.
pub struct Checked {
    pub gate: Gate,
    pub challenges: Challenges,
    pub identity_header: Option<String>,
    /// Fields that are removed before the request goes on.
    pub remove: Vec<String>,
    /// Where keys are fetched.
    pub source: Option<Source>,
    /// For the operator's log.
    pub notes: Vec<String>,
}

/// What this filter may use, by name.
pub struct Granted<'a> {
    pub secret: &'a dyn Fn(&str) -> bool,
    /// Clusters to call.
    pub call: &'a dyn Fn(&str) -> bool,
}

/// Check everything; the mistakes are in the order of the keys.
pub fn check(config: Config, granted: &Granted<'_>) -> Result<Checked, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let mut notes = Vec::new();
    if config.api_keys.is_empty() && config.jwt.is_none() && config.basic.is_empty() {
        let message = "nobody could pass: give at least one of `api_keys`, `jwt` and `basic`";
        errors.push(ConfigError::whole(message));
    }
    check_realm(&config.realm, &mut errors);
    let mut ways = Vec::new();
    ways.extend(check_api_keys(&config, granted.secret, &mut errors));
    ways.extend(check_users(config.basic, &mut errors));
    let mut source = None;
    if let Some(mut jwt) = config.jwt {
        source = check_source::check(&mut jwt, granted.call, &mut errors);
        ways.extend(check_jwt::check(
            jwt,
            config.attributes,
            &mut errors,
            &mut notes,
        ));
    } else if !config.attributes.is_empty() {
        let message = "only tokens have claims: this needs `jwt`";
        errors.push(ConfigError::at("/attributes", message));
    }
    let gate = Gate::new(ways);
    let identity_header = config
        .identity_header
        .and_then(|name| check_identity_header(name, &gate, &mut errors));
    errors.into_result()?;
    Ok(Checked {
        challenges: Challenges::new(&config.realm, &gate),
        remove: match config.remove_credentials {
            true => gate.fields().map(str::to_owned).collect(),
            false => Vec::new(),
        },
        gate,
        identity_header,
        source,
        notes,
    })
}

fn check_realm(realm: &str, errors: &mut ConfigErrors) {
    let printable = |byte: u8| matches!(byte, b' '..=b'~');
    if !realm.bytes().all(printable) {
        let message = "expected printable ASCII characters only";
        errors.push(ConfigError::at("/realm", message));
    }
}

fn check_api_keys(
    config: &Config,
    is_granted: impl Fn(&str) -> bool,
    errors: &mut ConfigErrors,
) -> Option<Way> {
    let header = check_field_name("/api_key_header", &config.api_key_header, errors);
    if config.api_keys.is_empty() {
        return None;
    }
    let mut keys: Vec<(Key, String)> = Vec::new();
    for (place, key) in config.api_keys.iter().enumerate() {
        let at = format!("/api_keys/{place}");
        check_name(&format!("{at}/name"), &key.name, errors);
        let Some(checked) = keep(errors, check_api_key(&at, key, &is_granted)) else {
            continue;
        };
        if keys.iter().any(|(known, _)| same(known, &checked)) {
            errors.push(ConfigError::at(at, "this key is given twice"));
        } else {
            keys.push((checked, key.name.clone()));
        }
    }
    Some(Way::ApiKeys {
        header: header?,
        keys: ApiKeys::new(keys),
    })
}

fn check_api_key(
    at: &str,
    key: &ApiKey,
    is_granted: impl Fn(&str) -> bool,
) -> Result<Key, ConfigError> {
    match (&key.key, &key.key_sha256, &key.secret) {
        (Some(key), None, None) if is_name(key) => {
            Ok(Key::Fingerprint(Fingerprint::of(&[key.as_bytes()])))
        }
        (Some(_), None, None) => Err(ConfigError::at(
            format!("{at}/key"),
            "expected text that a header field can carry: not empty, no control characters, \
             no space at either end",
        )),
        (None, Some(hex), None) => Fingerprint::from_hex(hex)
            .map(Key::Fingerprint)
            .map_err(|message| ConfigError::at(format!("{at}/key_sha256"), message)),
        (None, None, Some(secret)) if is_granted(secret) => Ok(Key::Secret(secret.clone())),
        (None, None, Some(secret)) => Err(ConfigError::at(
            format!("{at}/secret"),
            format!(
                "expected a secret that this filter may use, which \
                 `grants: {{ secrets: [{secret}] }}` would allow"
            ),
        )),
        (None, None, None) => Err(ConfigError::at(
            at,
            "expected `key`, `key_sha256` or `secret`",
        )),
        _ => Err(ConfigError::at(
            at,
            "expected only one of `key`, `key_sha256` and `secret`",
        )),
    }
}

/// Whether two keys are one, as far as that can be told.
fn same(one: &Key, other: &Key) -> bool {
    match (one, other) {
        (Key::Fingerprint(one), Key::Fingerprint(other)) => one.same(other).into(),
        (Key::Secret(one), Key::Secret(other)) => one == other,
        (Key::Fingerprint(_), Key::Secret(_)) | (Key::Secret(_), Key::Fingerprint(_)) => false,
    }
}

fn check_users(users: Vec<User>, errors: &mut ConfigErrors) -> Option<Way> {
    if users.is_empty() {
        return None;
    }
    let mut known = BTreeMap::new();
    for (place, user) in users.into_iter().enumerate() {
        let at = format!("/basic/{place}");
        check_name(&format!("{at}/user"), &user.user, errors);
        if user.user.contains(':') {
            let message = "a user name cannot contain a colon (RFC 7617)";
            errors.push(ConfigError::at(format!("{at}/user"), message));
        }
        if user.salt.chars().count() < MIN_SALT {
            let message = format!("expected at least {MIN_SALT} characters");
            errors.push(ConfigError::at(format!("{at}/salt"), message));
        }
        let digest = Fingerprint::from_hex(&user.password_sha256)
            .map_err(|message| ConfigError::at(format!("{at}/password_sha256"), message));
        let Some(fingerprint) = keep(errors, digest) else {
            continue;
        };
        let salt = user.salt;
        match known.entry(user.user) {
            Entry::Vacant(vacant) => {
                vacant.insert(Password { salt, fingerprint });
            }
            Entry::Occupied(taken) => {
                let message = format!("the user `{}` is given twice", taken.key());
                errors.push(ConfigError::at(format!("{at}/user"), message));
            }
        }
    }
    Some(Way::Users(Users::new(known)))
}

fn check_identity_header(name: String, gate: &Gate, errors: &mut ConfigErrors) -> Option<String> {
    let at = "/identity_header";
    let name = check_field_name(at, &name, errors)?;
    if name == "host" || field::is_owned_by_proxy(&name) {
        let message = format!("the proxy owns `{name}`: no filter can set it");
        errors.push(ConfigError::at(at, message));
    }
    if gate.fields().any(|field| field == name) {
        let message = format!("`{name}` carries a credential");
        errors.push(ConfigError::at(at, message));
    }
    Some(name)
}

/// A name that can become a header value.
fn check_name(at: &str, name: &str, errors: &mut ConfigErrors) {
    if !is_name(name) {
        let message = "expected a name: not empty, no control characters, no space at either end";
        errors.push(ConfigError::at(at, message));
    }
}

/// The name of a header field, in lower case.
pub fn check_field_name(at: &str, name: &str, errors: &mut ConfigErrors) -> Option<String> {
    if field::is_name(name) {
        return Some(name.to_ascii_lowercase());
    }
    let message = format!("expected the name of a header field, found `{name}`");
    errors.push(ConfigError::at(at, message));
    None
}

/// The value, or `None` with the mistake noted.
pub fn keep<T>(errors: &mut ConfigErrors, result: Result<T, ConfigError>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}
