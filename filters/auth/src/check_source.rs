//! The part of the check that is about where keys are fetched.

use std::time::Duration;

use lockgate_sdk::{ConfigError, ConfigErrors};

use crate::config::{Jwks, Jwt};
use crate::jwt::KeyRules;
use crate::remote::Source;

const AT: &str = "/jwt/jwks";
const DEFAULT_REFRESH: Duration = Duration::from_secs(5 * 60);
const REFRESH: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);
/// It is a part of names in the shared state.
const MAX_PATH: usize = 1024;

/// Where the keys of these tokens are, if they are to be fetched; or the mistakes.
pub fn check(
    jwt: &mut Jwt,
    may_call: &dyn Fn(&str) -> bool,
    errors: &mut ConfigErrors,
) -> Option<Source> {
    let jwks = jwt.jwks.as_ref()?;
    if jwks.keys.is_some() && jwks.cluster.is_some() {
        let message = "expected only one of `keys` and `cluster`";
        errors.push(ConfigError::at(AT, message));
    }
    let Some(cluster) = &jwks.cluster else {
        check_written_out(jwks, errors);
        return None;
    };
    if !may_call(cluster) {
        let message = format!(
            "expected a cluster that this filter may call, which \
             `grants: {{ call: [{cluster}], shared: true }}` would allow"
        );
        errors.push(ConfigError::at(format!("{AT}/cluster"), message));
    }
    Some(Source {
        cluster: cluster.clone(),
        path: check_path(jwks, errors),
        refresh: check_refresh(jwks, errors),
        rules: KeyRules {
            algorithms: jwt.algorithms.clone(),
        },
    })
}

fn check_written_out(jwks: &Jwks, errors: &mut ConfigErrors) {
    if jwks.keys.is_none() {
        let message = "expected `keys`, or `cluster` and `path`";
        errors.push(ConfigError::at(AT, message));
    }
    let is_given = [
        ("path", jwks.path.is_some()),
        ("refresh", jwks.refresh.is_some()),
    ];
    for (key, _) in is_given.into_iter().filter(|(_, is_given)| *is_given) {
        let message = "only a set that is fetched has this: it goes with `cluster`";
        errors.push(ConfigError::at(format!("{AT}/{key}"), message));
    }
}

fn check_path(jwks: &Jwks, errors: &mut ConfigErrors) -> String {
    let path = jwks.path.clone().unwrap_or_default();
    let is_visible = |byte: u8| matches!(byte, b'!'..=b'~');
    let is_path = path.starts_with('/') && path.bytes().all(is_visible) && !path.contains('#');
    if !is_path || path.len() > MAX_PATH {
        let message = format!(
            "expected the path of the key set, such as `/.well-known/jwks.json`, \
             of at most {MAX_PATH} characters"
        );
        let at = match jwks.path {
            Some(_) => format!("{AT}/path"),
            None => AT.to_owned(),
        };
        errors.push(ConfigError::at(at, message));
    }
    path
}

fn check_refresh(jwks: &Jwks, errors: &mut ConfigErrors) -> Duration {
    let refresh = jwks.refresh.map_or(DEFAULT_REFRESH, |refresh| refresh.0);
    if !REFRESH.contains(&refresh) {
        let message = "expected a time from `1s` to `24h`";
        errors.push(ConfigError::at(format!("{AT}/refresh"), message));
    }
    refresh
}
