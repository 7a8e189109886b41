//! The unit of work that the peers are compared with: read one field, set one in
//! the request and, unless told otherwise, one in the response.

use lockgate_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Tells the units of one chain apart.
    number: u32,
    /// Whether to stamp the response, too.
    #[serde(default = "both_phases")]
    response: bool,
}

fn both_phases() -> bool {
    true
}

struct Stamp {
    header: String,
    stamps_response: bool,
}

impl Filter for Stamp {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        Ok(Self {
            header: format!("x-stamp-{}", config.number),
            stamps_response: config.response,
        })
    }

    fn wants(&self) -> Wants {
        let wants = Wants::request().request_field("x-bench");
        if self.stamps_response {
            wants.response()
        } else {
            wants
        }
    }

    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        let request = exchange.request();
        let value = request.header("x-bench").unwrap_or_default();
        request.set_header(&self.header, &value)?;
        Ok(Verdict::Next)
    }

    fn on_response(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        exchange.response().set_header(&self.header, "1")?;
        Ok(Verdict::Next)
    }
}

lockgate_sdk::export!(Stamp);
