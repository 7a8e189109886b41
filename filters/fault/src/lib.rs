//! `lockgate:fault`: delays and failures on purpose.
//!
//! `config` is what the operator writes and `check` makes the `Fault` of it.
//! `draw` decides which requests are hit, `ask` reads what a request asks for
//! itself. A delay is the proxy's work: no instance waits.

mod abort;
mod ask;
mod check;
mod config;
mod delay;
mod draw;
#[cfg(test)]
mod tests;

use lockgate_sdk::matching::Matcher;
use lockgate_sdk::metrics::Counter;
use lockgate_sdk::prelude::*;

use crate::abort::Abort;
use crate::ask::Asking;
pub use crate::config::Config;
use crate::delay::Delay;
use crate::draw::{Draw, Draws, Percent};

/// The filter.
pub struct Fault {
    matcher: Matcher,
    seed: Option<u64>,
    delay: Option<(Delay, Percent)>,
    abort: Option<(Abort, Percent)>,
    asking: Option<Asking>,
    injected: Counter,
}

impl Filter for Fault {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        check::check(config)
    }

    fn wants(&self) -> Wants {
        let asked = self.asking.iter().flat_map(Asking::fields);
        Wants::request()
            .request_fields(self.matcher.fields())
            .request_fields(asked)
    }

    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        if !self.matcher.is_match(&exchange.request()) {
            return Ok(Verdict::Next);
        }
        let draws = Draws::new(self.seed, exchange);
        if let Some(delay) = self.delay(exchange, &draws) {
            exchange.delay(delay);
            self.record(exchange, "delay", &format!("{}ms", delay.as_millis()));
        }
        let Some(abort) = self.abort(exchange, &draws) else {
            return Ok(Verdict::Next);
        };
        self.record(exchange, "abort", &abort.name());
        Ok(abort.verdict())
    }
}

impl Fault {
    /// What the request asks for takes the place of what is configured.
    fn delay(&self, exchange: &Exchange, draws: &Draws) -> Option<Duration> {
        let asked = self.asking.as_ref();
        if let Some((delay, percent)) = asked.and_then(|asking| asking.delay(&exchange.request())) {
            return draws.hits(Draw::Delay, percent).then_some(delay);
        }
        let (delay, percent) = self.delay.as_ref()?;
        let is_hit = draws.hits(Draw::Delay, *percent);
        is_hit.then(|| delay.length(|| draws.unit(Draw::Length)))
    }

    fn abort(&self, exchange: &Exchange, draws: &Draws) -> Option<Abort> {
        let asked = self.asking.as_ref();
        if let Some((abort, percent)) = asked.and_then(|asking| asking.abort(&exchange.request())) {
            return draws.hits(Draw::Abort, percent).then_some(abort);
        }
        let (abort, percent) = self.abort.as_ref()?;
        draws.hits(Draw::Abort, *percent).then(|| abort.clone())
    }

    fn record(&self, exchange: &Exchange, kind: &str, value: &str) {
        exchange.set_attribute(kind, value);
        self.injected.increment(&[kind]);
    }
}

lockgate_sdk::export!(Fault, name = "lockgate:fault");
