//! Greets the upstream in a request field and the client in a response field.

use lockgate_sdk::prelude::*;

/// What the operator configures.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The greeting. `{name}` in it stands for the caller's name.
    greeting: String,
    /// The request field that tells the caller's name.
    #[serde(default = "default_name_field")]
    name_field: String,
}

fn default_name_field() -> String {
    "x-name".to_owned()
}

/// The filter.
pub struct HelloHeader {
    config: Config,
}

impl Filter for HelloHeader {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        if config.greeting.trim().is_empty() {
            return Err(ConfigError::at("/greeting", "an empty greeting").into());
        }
        Ok(HelloHeader { config })
    }

    fn wants(&self) -> Wants {
        Wants::request()
            .request_field(&self.config.name_field)
            .response()
    }

    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        let request = exchange.request();
        let Some(name) = request.header_str(&self.config.name_field) else {
            return Ok(Reply::text(400, "who are you?\n").into());
        };
        let hello = self.config.greeting.replace("{name}", &name);
        request.set_header("x-hello", &hello)?;
        exchange.set_state(hello.as_bytes());
        Ok(Verdict::Next)
    }

    fn on_response(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        exchange
            .response()
            .set_header("x-hello", exchange.state())?;
        Ok(Verdict::Next)
    }
}

lockgate_sdk::export!(HelloHeader);

#[cfg(test)]
mod tests {
    use lockgate_sdk::testing::{self, Harness};
    use serde_json::json;

    use super::*;

    #[test]
    fn upstream_and_client_are_greeted() {
        let config = json!({ "greeting": "hello, {name}" });
        let mut harness = Harness::<HelloHeader>::new(config).unwrap();

        let outcome = harness.request(testing::Exchange::get("/").header("x-name", "ann"));
        assert_eq!(outcome.request.header("x-hello"), Some("hello, ann"));

        let outcome = harness.response(200, &[]);
        assert_eq!(outcome.response.header("x-hello"), Some("hello, ann"));
    }

    #[test]
    fn a_stranger_is_asked() {
        let config = json!({ "greeting": "hello" });
        let mut harness = Harness::<HelloHeader>::new(config).unwrap();
        let outcome = harness.request(testing::Exchange::get("/"));
        assert_eq!(outcome.reply().status, 400);
    }

    #[test]
    fn an_empty_greeting_is_refused() {
        let errors = Harness::<HelloHeader>::new(json!({ "greeting": " " }))
            .err()
            .unwrap();
        assert_eq!(errors.to_string(), "/greeting: an empty greeting");
    }
}
