//! Plays exchanges through a filter.

use std::marker::PhantomData;
use std::time::Duration;

use super::body::{Fate, Message, Way};
use super::call::{call, finish, packed};
use super::{Exchange, Grant, JobHarness, Outcome, SentCall};
use crate::export::Instance;
use crate::host::simulated::{Phase, Simulated, with};
use crate::http_client::CallError;
use crate::log::Level;
use crate::{ConfigErrors, Error, Filter, HandOver, Job, Reply, Verdict, Wants, host};

/// One filter with its configuration, and the exchange it is in.
///
/// The simulated proxy belongs to the thread: use one harness at a time in a
/// thread, as each `#[test]` does.
pub struct Harness<F: Filter> {
    instance: Instance<F>,
    /// As the proxy gives it.
    config: String,
    /// What the last `on_request` asked for.
    request_body: Way,
    /// What the last `on_response` asked for.
    response_body: Way,
    /// What it does belongs to this thread.
    not_send: PhantomData<*const ()>,
}

impl<F: Filter> Harness<F> {
    /// Create the filter with this configuration, as the proxy would: through
    /// its JSON.
    pub fn new(config: serde_json::Value) -> Result<Self, ConfigErrors> {
        Self::with_secrets(config, &[])
    }

    /// The same with secrets that are granted from the beginning, for a filter that
    /// uses one in `create`.
    pub fn with_secrets(
        config: serde_json::Value,
        secrets: &[(&str, &[u8], Grant)],
    ) -> Result<Self, ConfigErrors> {
        with(|simulated| *simulated = Simulated::default());
        for (name, secret, grant) in secrets {
            grant_secret(name, secret, *grant);
        }
        Self::create(config)
    }

    /// The same with calls to these clusters granted from the beginning, for a filter
    /// that looks in `create` whether they are.
    pub fn with_calls(config: serde_json::Value, clusters: &[&str]) -> Result<Self, ConfigErrors> {
        with(|simulated| {
            *simulated = Simulated::default();
            let clusters = clusters.iter().map(|cluster| (*cluster).to_owned());
            simulated.client.granted.extend(clusters);
        });
        Self::create(config)
    }

    fn create(config: serde_json::Value) -> Result<Self, ConfigErrors> {
        let config = config.to_string();
        let instance = Instance::create(&config)?;
        with(|simulated| simulated.wants = instance.wants().clone());
        Ok(Harness {
            instance,
            config,
            request_body: Way::Past,
            response_body: Way::Past,
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

    /// The job of this configuration, which has not run yet.
    pub fn job<J: Job<Filter = F>>(&self) -> Result<JobHarness<J>, Error> {
        JobHarness::new(&self.config)
    }

    /// Bring what is [`shared`](crate::shared) from the form `from` to that of `H`, as
    /// the proxy does before this version serves. After an error it is as it was.
    pub fn hand_over<H: HandOver>(&mut self, from: u32) -> Result<(), Error> {
        host::shared::hand_over(|key, stored| H::migrate(from, key, stored))
    }

    /// Begin an exchange and call `on_request`. A filter that does not want the
    /// phase is not called, and counts as having answered `Next`.
    pub fn request(&mut self, exchange: Exchange) -> Outcome {
        with(|simulated| simulated.exchange = exchange.state);
        self.request_body = Way::Past;
        self.response_body = Way::Past;
        if !self.wants().request {
            return finish(Ok(Verdict::Next));
        }
        let packed = packed(&self.wants().request_fields, host::request::get_all);
        let verdict = call(Phase::Request, || self.instance.on_request(&packed));
        finish(follow(verdict, &mut self.request_body))
    }

    /// Let the request's body arrive, and do with it what the filter's last
    /// verdict says: call `on_request_body`, or push it through the transform.
    /// Of any other verdict it passes by.
    ///
    /// A test of what happens without a body plays an empty one.
    pub fn request_body(&mut self, body: impl AsRef<[u8]>) -> Outcome<Fate> {
        self.request_chunks(&[body.as_ref()])
    }

    /// The same with a body that arrives in these chunks.
    pub fn request_chunks(&mut self, chunks: &[&[u8]]) -> Outcome<Fate> {
        let way = std::mem::take(&mut self.request_body);
        let on_body = |body| self.instance.on_request_body(body);
        finish(way.play(Message::Request, chunks, on_body))
    }

    /// End the request's body with these trailers, and call
    /// `on_request_trailers`.
    pub fn request_trailers(&mut self, trailers: &[(&str, &str)]) -> Outcome<()> {
        receive_trailers(trailers);
        if !self.wants().request_trailers {
            return finish(Ok(()));
        }
        let on_trailers = || self.instance.on_request_trailers();
        finish(call(Phase::Trailers, on_trailers))
    }

    /// Let the upstream answer, and call `on_response`.
    pub fn response(&mut self, status: u16, headers: &[(&str, &str)]) -> Outcome {
        self.answer(status, headers, false)
    }

    /// Let the proxy or another filter answer, and call `on_response`.
    pub fn local_response(&mut self, status: u16, headers: &[(&str, &str)]) -> Outcome {
        self.answer(status, headers, true)
    }

    /// Let the response's body arrive, as [`request_body`](Self::request_body)
    /// does the request's.
    pub fn response_body(&mut self, body: impl AsRef<[u8]>) -> Outcome<Fate> {
        self.response_chunks(&[body.as_ref()])
    }

    /// The same with a body that arrives in these chunks.
    pub fn response_chunks(&mut self, chunks: &[&[u8]]) -> Outcome<Fate> {
        let way = std::mem::take(&mut self.response_body);
        let on_body = |body| self.instance.on_response_body(body);
        finish(way.play(Message::Response, chunks, on_body))
    }

    /// End the response's body with these trailers, and call
    /// `on_response_trailers`.
    pub fn response_trailers(&mut self, trailers: &[(&str, &str)]) -> Outcome<()> {
        receive_trailers(trailers);
        if !self.wants().response_trailers {
            return finish(Ok(()));
        }
        let on_trailers = || self.instance.on_response_trailers();
        finish(call(Phase::Trailers, on_trailers))
    }

    /// End the exchange and call `on_done`.
    pub fn done(&mut self) -> Outcome {
        if !self.wants().done {
            return finish(Ok(Verdict::Next));
        }
        finish(call(Phase::Done, || {
            self.instance.on_done();
            Ok(Verdict::Next)
        }))
    }

    /// What the wall clock shows, since 1970-01-01 UTC.
    pub fn set_now(&mut self, since_epoch: Duration) {
        with(|simulated| simulated.now = since_epoch);
    }

    /// From where chance begins. The same seed gives the same draws.
    pub fn set_seed(&mut self, seed: u64) {
        with(|simulated| simulated.random = seed);
    }

    /// Grant a secret, or change it.
    pub fn grant_secret(&mut self, name: &str, secret: &[u8], grant: Grant) {
        grant_secret(name, secret, grant);
    }

    /// Let another instance be faster: this is called before each
    /// [`shared::replace`](crate::shared::replace) with its key, and may change
    /// what is [`shared`](crate::shared).
    pub fn set_rival(&mut self, rival: impl FnMut(&str) + 'static) {
        with(|simulated| simulated.shared.rival = Some(Box::new(rival)));
    }

    /// How many bytes of key and value an entry in [`shared`](crate::shared) may
    /// have; at first 64 KiB. With 0 nothing can be kept.
    pub fn set_largest_entry(&mut self, bytes: usize) {
        with(|simulated| simulated.shared.largest_entry = bytes);
    }

    /// Grant calls to this cluster. Others are [`CallError::Denied`].
    pub fn grant_call(&mut self, cluster: &str) {
        with(|simulated| simulated.client.granted.insert(cluster.to_owned()));
    }

    /// Answer the filter's [calls](crate::http_client) with this, in the order in
    /// which they start, and also those that are then cancelled. Until then each
    /// is [`CallError::Unavailable`].
    pub fn answer_calls(
        &mut self,
        answerer: impl FnMut(&SentCall) -> Result<Reply, CallError> + 'static,
    ) {
        with(|simulated| simulated.client.answerer = Some(Box::new(answerer)));
    }

    /// How many calls may be under way at once; at first 16.
    pub fn set_max_calls(&mut self, calls: usize) {
        with(|simulated| simulated.client.max_calls = calls);
    }

    /// How many bytes the body of an answer to a call may have; at first 1 MiB.
    pub fn set_max_call_bytes(&mut self, bytes: usize) {
        with(|simulated| simulated.client.max_call_bytes = bytes);
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
        self.response_body = Way::Past;
        if !self.wants().response {
            return finish(Ok(Verdict::Next));
        }
        let packed = packed(&self.wants().response_fields, host::response::get_all);
        let verdict = call(Phase::Response, || self.instance.on_response(&packed));
        finish(follow(verdict, &mut self.response_body))
    }
}

fn grant_secret(name: &str, secret: &[u8], grant: Grant) {
    with(|simulated| {
        let secrets = &mut simulated.secrets;
        secrets.insert(name.to_owned(), (secret.to_vec(), grant));
    });
}

/// Keep what the verdict says about the body.
fn follow(verdict: Result<Verdict, Error>, body: &mut Way) -> Result<Verdict, Error> {
    let (way, verdict) = Way::of(verdict?);
    *body = way;
    Ok(verdict)
}

fn receive_trailers(trailers: &[(&str, &str)]) {
    with(|simulated| {
        for (name, value) in trailers {
            simulated.exchange.trailers.push(name, value.as_bytes());
        }
    });
}
