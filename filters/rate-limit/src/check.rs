//! From the configuration to the filter, with every mistake at once.

use std::collections::HashSet;

use lockgate_sdk::field;
use lockgate_sdk::matching::Matcher;
use lockgate_sdk::metrics::Counter;
use lockgate_sdk::prelude::*;

use crate::RateLimit;
use crate::config::{By, ByConfig, Config, KeyConfig, LimitConfig};
use crate::gcra::{Gcra, OutOfRange};
use crate::key::{Key, Part};
use crate::limit::Limit;

/// Without `burst` no more than this, so that what is given for a day does not
/// come in a second.
const MAX_DEFAULT_BURST: u64 = 1_000;
const MAX_NAME_BYTES: usize = 64;
const DEFAULT_IPV6_PREFIX: u8 = 64;

pub fn check(config: Config) -> Result<RateLimit, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    if config.limits.is_empty() {
        errors.push(ConfigError::at("/limits", "an empty list limits nothing"));
    }
    let mut names = HashSet::new();
    let limits = config.limits.into_iter().enumerate();
    let limits: Vec<_> = limits
        .filter_map(|(index, limit)| {
            let at = format!("/limits/{index}");
            if !names.insert(limit.name.clone()) {
                let message = format!("another limit is called `{}`", limit.name);
                errors.push(ConfigError::at(format!("{at}/name"), message));
            }
            check_limit(limit, &at, &mut errors)
        })
        .collect();
    errors.into_result()?;

    // A mistake leaves a hole, and then this line is not reached.
    let refused = Counter::define("refused_total", "requests refused", &["limit"])?;
    let undecided = "requests of which a limit could not tell whether to let them pass";
    let undecided = Counter::define("undecided_total", undecided, &["limit"])?;
    Ok(RateLimit {
        limits,
        undecided: config.undecided,
        headers: config.headers,
        refused_total: refused,
        undecided_total: undecided,
    })
}

fn check_limit(config: LimitConfig, at: &str, errors: &mut ConfigErrors) -> Option<Limit> {
    check_name(&config.name, at, errors);
    let gcra = check_size(&config, at, errors);
    let key = check_key(config.key, &format!("{at}/key"), errors);
    let matcher = Matcher::check(config.condition, &format!("{at}/match"));
    let matcher = matcher.map_err(|mistakes| errors.extend(mistakes)).ok();
    Some(Limit::new(
        config.name,
        (config.rate, config.per.0),
        gcra?,
        key?,
        matcher?,
        config.missing,
    ))
}

/// It stands in fields of answers as it is.
fn check_name(name: &str, at: &str, errors: &mut ConfigErrors) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_plain) {
        let message = format!(
            "`{name}` is not a name: 1 to {MAX_NAME_BYTES} letters, digits, `_`, `-` and `.`"
        );
        errors.push(ConfigError::at(format!("{at}/name"), message));
    }
}

fn check_size(config: &LimitConfig, at: &str, errors: &mut ConfigErrors) -> Option<Gcra> {
    let mut wrong = |key: &str, message: &str| {
        errors.push(ConfigError::at(format!("{at}/{key}"), message));
    };
    if config.rate == 0 {
        wrong("rate", "0 would let nothing pass, ever");
    }
    if config.per.0.is_zero() {
        wrong("per", "no time at all");
    }
    if config.burst == Some(0) {
        wrong("burst", "0 would let nothing pass, ever");
    }
    let burst = config.burst.unwrap_or(config.rate.min(MAX_DEFAULT_BURST));
    match Gcra::new(config.rate, config.per.0, burst) {
        Ok(gcra) => return Some(gcra),
        // Of which the key has been told.
        Err(OutOfRange::Nothing) => {}
        Err(OutOfRange::TooFast) => wrong("rate", "more than one request in a microsecond"),
        Err(OutOfRange::TooLong) => {
            let message = "`burst` requests would take longer than a year at this rate";
            wrong("per", message);
        }
    }
    None
}

fn check_key(config: KeyConfig, at: &str, errors: &mut ConfigErrors) -> Option<Key> {
    let mistakes = errors.0.len();
    let mut wrong = |key: &str, message: String| {
        errors.push(ConfigError::at(format!("{at}{key}"), message));
    };
    let by = match config.by {
        None => Vec::new(),
        Some(ByConfig::One(by)) => vec![by],
        Some(ByConfig::Many(by)) => by,
    };
    let is_twice = (1..by.len()).any(|index| by[..index].contains(&by[index]));
    let has_name = config.header.is_some() || config.attribute.is_some();
    if by.is_empty() && !has_name {
        let message = "at least one of `by`, `header` and `attribute` is wanted";
        wrong("", message.into());
    }
    if is_twice {
        wrong("/by", "the same twice".into());
    }
    if by.contains(&By::Global) && (by.len() > 1 || has_name) {
        wrong(
            "/by",
            "`global` counts all together, so it stands alone".into(),
        );
    }
    let prefix = config.ipv6_prefix.unwrap_or(DEFAULT_IPV6_PREFIX);
    if config.ipv6_prefix.is_some() && !by.contains(&By::Address) {
        wrong("/ipv6_prefix", "goes with `by: address` only".into());
    }
    if !(1..=128).contains(&prefix) {
        wrong(
            "/ipv6_prefix",
            format!("{prefix} is not a length of 1 to 128 bits"),
        );
    }
    let header = config.header.map(|name| name.to_ascii_lowercase());
    if let Some(name) = header.as_ref().filter(|name| !field::is_name(name)) {
        wrong("/header", format!("`{name}` is not a field name"));
    }
    if config.attribute.as_ref().is_some_and(String::is_empty) {
        wrong("/attribute", "the name of an attribute is missing".into());
    }
    if errors.0.len() > mistakes {
        return None;
    }
    let by = by.into_iter().filter_map(|by| match by {
        By::Address => Some(Part::Address {
            ipv6_prefix: prefix,
        }),
        By::Route => Some(Part::Route),
        By::Global => None,
    });
    let header = header.map(Part::Header);
    let attribute = config.attribute.map(Part::Attribute);
    Some(Key(by.chain(header).chain(attribute).collect()))
}
