//! The unit of work that the peers are compared with: read one field, set one in
//! the request and, unless told otherwise, one in the response. Or collect the request's
//! body first, and set the field if all of it is there.

use lockgate_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Tells the units of one chain apart.
    number: u32,
    /// Whether to stamp the response, too.
    #[serde(default = "both_phases")]
    response: bool,
    /// How long a body it collects first. It collects none without.
    #[serde(default)]
    body: Option<u32>,
}

fn both_phases() -> bool {
    true
}

struct Stamp {
    header: String,
    stamps_response: bool,
    body: Option<u32>,
}

impl Stamp {
    fn stamp(&self, exchange: &Exchange) -> Result<(), Error> {
        let request = exchange.request();
        let value = request.header("x-bench").unwrap_or_default();
        Ok(request.set_header(&self.header, &value)?)
    }
}

impl Filter for Stamp {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        Ok(Self {
            header: format!("x-stamp-{}", config.number),
            stamps_response: config.response,
            body: config.body,
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
        if let Some(length) = self.body {
            return Ok(Verdict::buffer(length));
        }
        self.stamp(exchange)?;
        Ok(Verdict::Next)
    }

    fn on_request_body(&self, exchange: &Exchange, body: Body) -> Result<BodyVerdict, Error> {
        if u32::try_from(body.bytes.len()).ok() == self.body {
            self.stamp(exchange)?;
        }
        Ok(BodyVerdict::Keep)
    }

    fn on_response(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        exchange.response().set_header(&self.header, "1")?;
        Ok(Verdict::Next)
    }
}

lockgate_sdk::export!(Stamp);
