//! Plays exchanges through a filter.

use std::marker::PhantomData;
use std::time::Duration;

use crate::export::Instance;
use crate::host::simulated::{Phase, Simulated, State, with};
use crate::log::Level;
use crate::testing::{Exchange, Head, Outcome};
use crate::{ConfigErrors, Error, Filter, Verdict, Wants, host};

/// One filter with its configuration, and the exchange it is in.
///
/// The simulated proxy belongs to the thread: use one harness at a time in a
/// thread, as each `#[test]` does.
pub struct Harness<F: Filter> {
    instance: Instance<F>,
    /// What it does belongs to this thread.
    not_send: PhantomData<*const ()>,
}

impl<F: Filter> Harness<F> {
    /// Create the filter with this configuration, as the proxy would: through
    /// its JSON.
    pub fn new(config: serde_json::Value) -> Result<Self, ConfigErrors> {
        with(|simulated| *simulated = Simulated::default());
        let instance = Instance::create(&config.to_string())?;
        with(|simulated| simulated.wants = instance.wants().clone());
        Ok(Harness {
            instance,
            not_send: PhantomData,
        })
    }

    /// The filter itself.
    pub fn filter(&self) -> &F {
        self.instance.filter()
    }

    /// What the filter asked for.
    pub fn wants(&self) -> &Wants {
        self.instance.wants()
    }

    /// Begin an exchange and call `on_request`. A filter that does not want the
    /// phase is not called, and counts as having answered `Next`.
    pub fn request(&mut self, exchange: Exchange) -> Outcome {
        with(|simulated| simulated.exchange = exchange.state);
        if !self.wants().request {
            return finish(Ok(Verdict::Next));
        }
        let packed = packed(&self.wants().request_fields, host::request::get_all);
        let before = begin(Phase::Request);
        settle(before, self.instance.on_request(&packed))
    }

    /// Let the upstream answer, and call `on_response`.
    pub fn response(&mut self, status: u16, headers: &[(&str, &str)]) -> Outcome {
        self.answer(status, headers, false)
    }

    /// Let the proxy or another filter answer, and call `on_response`.
    pub fn local_response(&mut self, status: u16, headers: &[(&str, &str)]) -> Outcome {
        self.answer(status, headers, true)
    }

    /// End the exchange and call `on_done`.
    pub fn done(&mut self) -> Outcome {
        if self.wants().done {
            begin(Phase::Done);
            self.instance.on_done();
        }
        finish(Ok(Verdict::Next))
    }

    /// What the wall clock shows, since 1970-01-01 UTC.
    pub fn set_now(&mut self, since_epoch: Duration) {
        with(|simulated| simulated.now = since_epoch);
    }

    /// From where chance begins. The same seed gives the same draws.
    pub fn set_seed(&mut self, seed: u64) {
        with(|simulated| simulated.random = seed);
    }

    /// The least level that is kept; at first everything is.
    pub fn set_log_level(&mut self, level: Level) {
        with(|simulated| simulated.level = level);
    }

    /// A counter's sum, a gauge's value, a histogram's number of observations.
    pub fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        with(|simulated| {
            let values = &simulated.metrics.values;
            values.get(&(name.to_owned(), labels)).copied()
        })
    }

    fn answer(&mut self, status: u16, headers: &[(&str, &str)], is_local: bool) -> Outcome {
        with(|simulated| {
            let exchange = &mut simulated.exchange;
            exchange.status = Some(status);
            exchange.is_local = is_local;
            exchange.response.0.clear();
            for (name, value) in headers {
                exchange.response.push(name, value.as_bytes());
            }
        });
        if !self.wants().response {
            return finish(Ok(Verdict::Next));
        }
        let packed = packed(&self.wants().response_fields, host::response::get_all);
        let before = begin(Phase::Response);
        settle(before, self.instance.on_response(&packed))
    }
}

/// The fields as the proxy would pack them.
fn packed(names: &[String], values: fn(&str) -> Vec<Vec<u8>>) -> Vec<u8> {
    let mut packed = Vec::new();
    for name in names {
        let values = values(name);
        let count = u16::try_from(values.len()).expect("a test sends few values of one field");
        packed.extend(count.to_le_bytes());
        for value in values {
            let length = u32::try_from(value.len()).expect("a test sends short values");
            packed.extend(length.to_le_bytes());
            packed.extend(value);
        }
    }
    packed
}

fn begin(phase: Phase) -> State {
    with(|simulated| {
        simulated.phase = phase;
        simulated.exchange.clone()
    })
}

/// Roll back what a failed call changed.
fn settle(before: State, verdict: Result<Verdict, Error>) -> Outcome {
    if verdict.is_err() {
        with(|simulated| simulated.exchange = before);
    }
    finish(verdict)
}

fn finish(verdict: Result<Verdict, Error>) -> Outcome {
    with(|simulated| {
        simulated.phase = Phase::Outside;
        let delay = std::mem::take(&mut simulated.exchange.delay);
        let exchange = simulated.exchange.clone();
        Outcome {
            verdict,
            method: exchange.method,
            authority: exchange.authority,
            path: exchange.path,
            request: Head(exchange.request.0),
            status: exchange.status,
            response: Head(exchange.response.0),
            cluster: exchange.cluster,
            route: exchange.route,
            mirrors: exchange.mirrors,
            delay,
            timeouts: exchange.timeouts,
            attributes: exchange.set_attributes,
            state: exchange.state,
            logs: std::mem::take(&mut simulated.logs),
        }
    })
}
