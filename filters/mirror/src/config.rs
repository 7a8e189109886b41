//! What the operator writes, and what becomes of it.

use std::collections::BTreeMap;

use lockgate_sdk::field;
use lockgate_sdk::matching::{Match, Matcher};
use lockgate_sdk::prelude::*;

use crate::{MARK, Mirror};

/// Sends a copy of some requests to another cluster and drops its answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the copies go.
    pub cluster: String,
    /// How many of the matching requests are copied, in percent. Default: 100.
    #[serde(default = "always")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: f64,
    /// Which requests. Without it, every request.
    #[serde(default, rename = "match")]
    pub condition: Match,
    /// Fields to set on the copy, by name. `x-lockgate-mirror: 1` is always set.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

fn always() -> f64 {
    100.0
}

/// Every mistake at once, each with its place.
pub fn check(config: Config) -> Result<Mirror, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    if config.cluster.is_empty() {
        errors.push(ConfigError::at(
            "/cluster",
            "the name of a cluster is missing",
        ));
    }
    if !(0.0..=100.0).contains(&config.percent) {
        let message = format!("{} is not a percentage: 0 to 100", config.percent);
        errors.push(ConfigError::at("/percent", message));
    }
    errors.extend(config.headers.iter().filter_map(header_mistake));
    let matcher = Matcher::check(config.condition, "/match").unwrap_or_else(|mistakes| {
        errors.extend(mistakes);
        Matcher::default()
    });
    errors.into_result()?;

    let mark = (MARK.0.to_owned(), MARK.1.to_vec());
    let own = config.headers.into_iter();
    let own = own.map(|(name, value)| (name.to_ascii_lowercase(), value.into_bytes()));
    Ok(Mirror {
        cluster: config.cluster,
        percent: config.percent,
        matcher,
        headers: own.chain([mark]).collect(),
    })
}

fn header_mistake((name, value): (&String, &String)) -> Option<ConfigError> {
    let message = if !field::is_name(name) {
        format!("`{name}` is not a field name")
    } else if field::is_owned_by_proxy(name) {
        format!("the proxy alone sets `{name}`")
    } else if name.eq_ignore_ascii_case(MARK.0) {
        format!("`{name}` is set on every copy and says that it is one")
    } else if !field::is_value(value.as_bytes()) {
        format!("not a value for the field `{name}`: a control character, or blanks around it")
    } else {
        return None;
    };
    Some(ConfigError::at(
        format!("/headers/{}", escaped(name)),
        message,
    ))
}

/// As a part of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
