//! A filter that uses all of the contract that Lockgate 0.1 serves.
//!
//! The last segment of the path picks what happens: `leave`, `respond`,
//! `reset`, `fail` (an error after a change), `panic` (a trap after a change).
//! Any other path walks through every host function; what it read goes into the
//! request as `golden-*` fields, for the origin to show, and what it was refused
//! makes the call fail. The response gets `golden-*` fields likewise.

mod request;
mod response;

use lockgate_sdk::metrics::{Counter, Gauge, Histogram};
use lockgate_sdk::prelude::*;

/// The names that the filter may use.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Where requests go.
    cluster: String,
    /// Where copies go.
    mirror: String,
    /// The route that it names.
    route: String,
}

struct Golden {
    config: Config,
    calls: Counter,
    last_status: Gauge,
    seconds: Histogram,
}

impl Filter for Golden {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        if config.cluster == config.mirror {
            return Err(ConfigError::at("/mirror", "the same as `cluster`").into());
        }
        Ok(Golden {
            config,
            calls: Counter::define("calls_total", "calls by phase", &["phase"])?,
            last_status: Gauge::define("last_status", "status of the last answer", &[])?,
            seconds: Histogram::define("seconds", "time of an exchange", &["method"])?,
        })
    }

    fn wants(&self) -> Wants {
        Wants::request()
            .request_fields([":path", "golden-many", "golden-absent"])
            .response()
            .response_fields([":status", "golden-origin"])
            .done()
            .clusters([&self.config.cluster, &self.config.mirror])
            .route(&self.config.route)
    }

    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        self.calls.increment(&["request"]);
        let path = exchange.request().path();
        match path.rsplit('/').next().unwrap_or_default() {
            "leave" => Ok(Verdict::Leave),
            "respond" => Ok(Reply::text(299, "golden answer\n")
                .header("golden-reply", "1")
                .into()),
            "reset" => Ok(Verdict::Reset),
            "fail" => {
                exchange.request().set_header("golden-trace", "1")?;
                Err("golden failure".into())
            }
            "panic" => {
                exchange.request().set_header("golden-trace", "1")?;
                panic!("golden panic")
            }
            _ => request::walk(self, exchange),
        }
    }

    fn on_response(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        self.calls.increment(&["response"]);
        response::walk(self, exchange)
    }

    fn on_done(&self, exchange: &Exchange) {
        self.calls.increment(&["done"]);
        let method = exchange.request().method();
        self.seconds
            .observe(exchange.elapsed().as_secs_f64(), &[&method]);
        log::info!(
            "golden done",
            status = exchange.response().status().unwrap_or_default(),
            request_bytes = exchange.request_bytes(),
            response_bytes = exchange.response_bytes(),
            state = String::from_utf8_lossy(&exchange.state()),
        );
    }
}

/// What must hold, or the call fails with this text.
fn expect(holds: bool, what: &str) -> Result<(), Error> {
    match holds {
        true => Ok(()),
        false => Err(format!("not as the contract says: {what}").into()),
    }
}

lockgate_sdk::export!(Golden, name = "golden");
