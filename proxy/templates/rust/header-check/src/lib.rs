//! Lets requests pass only with a certain field, and marks the answers to them.

use lockgate_sdk::prelude::*;

/// What the operator configures.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The request field that must be there.
    #[schemars(length(min = 1))]
    require: String,
    /// The value of `x-checked` on answers.
    #[serde(default = "passed")]
    mark: String,
}

fn passed() -> String {
    "passed".to_owned()
}

/// The filter.
pub struct HeaderCheck {
    config: Config,
}

impl Filter for HeaderCheck {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        if config.require.is_empty() {
            return Err(ConfigError::at("/require", "an empty field name").into());
        }
        Ok(HeaderCheck { config })
    }

    fn wants(&self) -> Wants {
        Wants::request()
            .request_field(&self.config.require)
            .response()
    }

    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        let require = &self.config.require;
        if exchange.request().header(require).is_some() {
            return Ok(Verdict::Next);
        }
        log::info!("refused", missing = require);
        let reply = Reply::new(403)
            .header("content-type", "text/plain")
            .body(format!("forbidden: no {require}\n"));
        Ok(reply.into())
    }

    fn on_response(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        exchange
            .response()
            .set_header("x-checked", &self.config.mark)?;
        Ok(Verdict::Next)
    }
}

lockgate_sdk::export!(HeaderCheck);

#[cfg(test)]
mod tests {
    use lockgate_sdk::testing::{self, Harness};
    use serde_json::json;

    use super::*;

    #[test]
    fn only_those_with_the_field_pass() {
        let mut harness = Harness::<HeaderCheck>::new(json!({ "require": "x-team" })).unwrap();
        let outcome = harness.request(testing::Exchange::get("/").header("x-team", "blue"));
        assert!(outcome.is_next());
        let outcome = harness.response(200, &[]);
        assert_eq!(outcome.response.header("x-checked"), Some("passed"));

        let outcome = harness.request(testing::Exchange::get("/"));
        assert_eq!(outcome.reply().status, 403);
    }
}
