//! `lockgate:mirror`: a copy of some requests for another cluster.
//!
//! The copy is the proxy's work: it goes out beside the original, has limits of
//! its own and its answer is dropped. This filter only says which requests and
//! where to, and it never fails one.

mod config;
#[cfg(test)]
mod tests;

use lockgate_sdk::matching::Matcher;
use lockgate_sdk::prelude::*;
use lockgate_sdk::random;

pub use crate::config::Config;

/// Set on every copy, so that its receiver can tell it from a request.
pub const MARK: (&str, &[u8]) = ("x-lockgate-mirror", b"1");

/// The filter.
pub struct Mirror {
    cluster: String,
    percent: f64,
    matcher: Matcher,
    /// Set on the copy, the mark among them.
    headers: Vec<(String, Vec<u8>)>,
}

impl Filter for Mirror {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        config::check(config)
    }

    fn wants(&self) -> Wants {
        Wants::request()
            .request_fields(self.matcher.fields())
            .cluster(&self.cluster)
    }

    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        if self.matcher.is_match(&exchange.request()) && random::percent(self.percent) {
            self.copy(exchange);
        }
        Ok(Verdict::Next)
    }
}

impl Mirror {
    /// A copy that cannot be sent must not harm the original.
    fn copy(&self, exchange: &Exchange) {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        if let Err(error) = exchange.mirror_to(&self.cluster, &headers) {
            log::warn!("cannot mirror", cluster = self.cluster, error = error);
        }
    }
}

lockgate_sdk::export!(Mirror, name = "lockgate:mirror");
