//! Which requests a filter is about: a small `match:` block that filters can
//! put into their configuration.
//!
//! ```
//! use lockgate_sdk::matching::{Match, Matcher};
//! use lockgate_sdk::prelude::*;
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Config {
//!     /// Which requests. Without it, every request.
//!     #[serde(default, rename = "match")]
//!     condition: Match,
//! }
//!
//! struct Quiet {
//!     matcher: Matcher,
//! }
//!
//! impl Filter for Quiet {
//!     type Config = Config;
//!
//!     fn create(config: Config) -> Result<Self, ConfigErrors> {
//!         let matcher = Matcher::check(config.condition, "/match")?;
//!         Ok(Quiet { matcher })
//!     }
//!
//!     fn wants(&self) -> Wants {
//!         Wants::request().request_fields(self.matcher.fields())
//!     }
//!
//!     fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
//!         match self.matcher.is_match(&exchange.request()) {
//!             true => Ok(Reply::new(204).into()),
//!             false => Ok(Verdict::Leave),
//!         }
//!     }
//! }
//! ```

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{ConfigError, ConfigErrors, Request};

/// Conditions on a request, as an operator writes them. All must hold; without
/// any, every request matches.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// The whole path, without the query.
    pub path: Option<String>,
    /// The first segments of the path: `/a` takes `/a`, `/a/` and `/a/b`, but
    /// not `/ab`.
    pub path_prefix: Option<String>,
    /// A method or a list of them. `GET` does not include `HEAD`.
    pub method: Option<Methods>,
    /// Header fields by name, and the value that each must have. Of a field
    /// with several values one must match.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// One method or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Methods {
    /// This one.
    One(String),
    /// Any of these.
    Many(Vec<String>),
}

/// Conditions that were checked.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    path: Option<String>,
    /// Without slashes at its end.
    path_prefix: Option<String>,
    /// Empty for all.
    methods: Vec<String>,
    headers: Vec<(String, String)>,
}

impl Matcher {
    /// Check the conditions that stand at this JSON pointer.
    pub fn check(condition: Match, at: &str) -> Result<Self, ConfigErrors> {
        let errors: ConfigErrors = mistakes(&condition, at).collect();
        errors.into_result()?;
        Ok(Matcher {
            path: condition.path,
            path_prefix: condition
                .path_prefix
                .map(|prefix| prefix.trim_end_matches('/').to_owned()),
            methods: match condition.method {
                None => Vec::new(),
                Some(Methods::One(method)) => vec![method],
                Some(Methods::Many(methods)) => methods,
            },
            headers: condition.headers.into_iter().collect(),
        })
    }

    /// The fields that it looks at, for
    /// [`Wants::request_fields`](crate::Wants::request_fields).
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        let path = self.path.is_some() || self.path_prefix.is_some();
        let path = path.then_some(":path");
        let method = (!self.methods.is_empty()).then_some(":method");
        let headers = self.headers.iter().map(|(name, _)| name.as_str());
        path.into_iter().chain(method).chain(headers)
    }

    /// Whether all conditions hold.
    pub fn is_match(&self, request: &Request<'_>) -> bool {
        self.is_method(request) && self.is_path(request) && self.are_headers(request)
    }

    fn is_method(&self, request: &Request<'_>) -> bool {
        self.methods.is_empty() || {
            let method = request.method();
            self.methods.iter().any(|wanted| **wanted == *method)
        }
    }

    fn is_path(&self, request: &Request<'_>) -> bool {
        if self.path.is_none() && self.path_prefix.is_none() {
            return true;
        }
        let target = request.path();
        let path = target.split('?').next().unwrap_or_default();
        let is_equal = self.path.as_ref().is_none_or(|wanted| wanted == path);
        let is_below = self.path_prefix.as_ref().is_none_or(|prefix| {
            let rest = path.strip_prefix(prefix.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        is_equal && is_below
    }

    fn are_headers(&self, request: &Request<'_>) -> bool {
        self.headers.iter().all(|(name, wanted)| {
            let values = request.headers(name);
            values.iter().any(|value| **value == *wanted.as_bytes())
        })
    }
}

fn mistakes(condition: &Match, at: &str) -> impl Iterator<Item = ConfigError> {
    let path = condition.path.as_ref().map(|path| ("path", path));
    let prefix = condition
        .path_prefix
        .as_ref()
        .map(|path| ("path_prefix", path));
    let paths = [path, prefix].into_iter().flatten();
    let paths = paths
        .filter(|(_, path)| !is_path(path))
        .map(move |(key, path)| {
            let message = format!("`{path}` is not a path: it begins with `/` and has no query");
            ConfigError::at(format!("{at}/{key}"), message)
        });
    let no_method = matches!(&condition.method, Some(Methods::Many(methods)) if methods.is_empty());
    let no_method = no_method
        .then(|| ConfigError::at(format!("{at}/method"), "an empty list matches no request"));
    paths.chain(no_method)
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && !path.contains(['?', '#'])
}

#[cfg(test)]
mod tests;
