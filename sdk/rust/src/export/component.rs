//! The exports of a component, by the bindings.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::panic::PanicHookInfo;
use std::sync::Once;

use crate::bindings::connection::exports::lockgate::filter::connection_filter as of_connections;
use crate::bindings::exports::lockgate::filter::http_filter as contract;
use crate::bindings::hand_over::exports::lockgate::filter::hand_over;
use crate::bindings::job::exports::lockgate::filter::background;
use crate::export::{Exported, ExportedConnection, Instance};
use crate::{
    Admission, Body, BodyVerdict, ConfigError, ConfigErrors, Connection, Error, Exchange, HandOver,
    Job, Overflow, Reply, Rest, Stored, Transform, Verdict, Wants, config, host, log,
};

/// What the macro `export!` exports: a filter behind the contract's interface.
#[doc(hidden)]
pub struct Component<F>(PhantomData<F>);

impl<F: Exported> contract::Guest for Component<F> {
    type Transform = Running;
    type Filter = Instance<F>;

    fn describe() -> contract::Manifest {
        hear_panics();
        contract::Manifest {
            name: F::NAME.to_owned(),
            version: F::VERSION.to_owned(),
            config_schema: Some(config::schema::<F::Config>()),
        }
    }
}

impl<F: Exported> contract::GuestFilter for Instance<F> {
    fn create(config: String) -> Result<contract::Filter, Vec<contract::ConfigError>> {
        hear_panics();
        match Instance::<F>::create(&config) {
            Ok(instance) => Ok(contract::Filter::new(instance)),
            Err(errors) => Err(mistakes(errors)),
        }
    }

    fn wants(&self) -> contract::Interest {
        interest(Instance::wants(self))
    }

    fn on_request(&self, fields: contract::PackedFields) -> Result<contract::Verdict, String> {
        verdict(Instance::on_request(self, &fields))
    }

    fn on_response(&self, fields: contract::PackedFields) -> Result<contract::Verdict, String> {
        verdict(Instance::on_response(self, &fields))
    }

    fn on_done(&self) {
        Instance::on_done(self);
    }

    fn on_request_body(&self, body: contract::Buffered) -> Result<contract::BodyVerdict, String> {
        body_verdict(Instance::on_request_body(self, collected(body)))
    }

    fn on_response_body(&self, body: contract::Buffered) -> Result<contract::BodyVerdict, String> {
        body_verdict(Instance::on_response_body(self, collected(body)))
    }

    fn on_request_trailers(&self) -> Result<(), String> {
        told(Instance::on_request_trailers(self))
    }

    fn on_response_trailers(&self) -> Result<(), String> {
        told(Instance::on_response_trailers(self))
    }
}

/// A transform at work. The proxy calls an instance once at a time, so it is
/// never borrowed twice.
#[doc(hidden)]
pub struct Running(RefCell<Box<dyn Transform>>);

impl contract::GuestTransform for Running {
    fn push(&self, chunk: Vec<u8>) -> Result<Vec<u8>, String> {
        let exchange = Exchange::in_later_phase();
        told(self.0.borrow_mut().push(&exchange, chunk))
    }

    fn finish(&self) -> Result<Vec<u8>, String> {
        told(self.0.borrow_mut().finish(&Exchange::in_later_phase()))
    }
}

/// The same for a filter of connections.
#[doc(hidden)]
pub struct ConnectionComponent<F>(PhantomData<F>);

impl<F: ExportedConnection> of_connections::Guest for ConnectionComponent<F> {
    type Filter = Gate<F>;

    fn describe() -> contract::Manifest {
        hear_panics();
        contract::Manifest {
            name: F::NAME.to_owned(),
            version: F::VERSION.to_owned(),
            config_schema: Some(config::schema::<F::Config>()),
        }
    }
}

/// A filter of connections at work.
#[doc(hidden)]
pub struct Gate<F>(F);

impl<F: ExportedConnection> of_connections::GuestFilter for Gate<F> {
    fn create(json: String) -> Result<of_connections::Filter, Vec<contract::ConfigError>> {
        hear_panics();
        match config::decode(&json).and_then(F::create) {
            Ok(filter) => Ok(of_connections::Filter::new(Gate(filter))),
            Err(errors) => Err(mistakes(errors)),
        }
    }

    fn wants(&self) -> of_connections::Interest {
        let wants = self.0.wants();
        of_connections::Interest {
            clusters: wants.clusters,
            preview: wants.preview,
            done: wants.done,
        }
    }

    fn on_connection(&self, preview: Vec<u8>) -> Result<of_connections::Verdict, String> {
        match told(self.0.on_connection(&Connection::in_call(), &preview))? {
            Admission::Next => Ok(of_connections::Verdict::Next),
            Admission::Deny(reason) => Ok(of_connections::Verdict::Deny(reason)),
        }
    }

    fn on_done(&self) {
        self.0.on_done(&Connection::in_call());
    }
}

/// The same for the filter's job.
#[doc(hidden)]
pub struct JobComponent<J>(PhantomData<J>);

impl<J: Job> background::Guest for JobComponent<J> {
    type Job = Working<J>;
}

/// A job at work, called once at a time.
#[doc(hidden)]
pub struct Working<J>(RefCell<J>);

impl<J: Job> background::GuestJob for Working<J> {
    fn create(config: String) -> Result<background::Job, String> {
        hear_panics();
        let config = config::decode(&config).map_err(|errors| errors.to_string())?;
        let job = told(J::create(config))?;
        Ok(background::Job::new(Working(RefCell::new(job))))
    }

    fn run(&self) -> Result<Option<background::Duration>, String> {
        told(self.0.borrow_mut().run()).map(|rest| match rest {
            Rest::For(rest) => Some(u64::try_from(rest.as_nanos()).unwrap_or(u64::MAX)),
            Rest::ForGood => None,
        })
    }
}

/// The same for how it hands over.
#[doc(hidden)]
pub struct HandOverComponent<H>(PhantomData<H>);

impl<H: HandOver> hand_over::Guest for HandOverComponent<H> {
    fn format() -> u32 {
        H::FORMAT
    }

    fn migrate(
        from: u32,
        key: String,
        value: hand_over::Stored,
    ) -> Result<Option<hand_over::Stored>, String> {
        hear_panics();
        let stored = match value {
            hand_over::Stored::Bytes(bytes) => Stored::Bytes(bytes),
            hand_over::Stored::Counter(count) => Stored::Counter(count),
        };
        let migrated = told(H::migrate(from, &key, stored))?;
        Ok(migrated.map(|stored| match stored {
            Stored::Bytes(bytes) => hand_over::Stored::Bytes(bytes),
            Stored::Counter(count) => hand_over::Stored::Counter(count),
        }))
    }
}

fn interest(wants: &Wants) -> contract::Interest {
    let mut phases = contract::Phases::empty();
    phases.set(contract::Phases::REQUEST, wants.request);
    phases.set(contract::Phases::REQUEST_TRAILERS, wants.request_trailers);
    phases.set(contract::Phases::RESPONSE, wants.response);
    phases.set(contract::Phases::RESPONSE_TRAILERS, wants.response_trailers);
    phases.set(contract::Phases::DONE, wants.done);
    contract::Interest {
        phases,
        request_fields: wants.request_fields.clone(),
        response_fields: wants.response_fields.clone(),
        clusters: wants.clusters.clone(),
        retries: wants.retries.clone(),
        routes: wants.routes.clone(),
    }
}

fn verdict(verdict: Result<Verdict, Error>) -> Result<contract::Verdict, String> {
    match verdict {
        Ok(Verdict::Next) => Ok(contract::Verdict::Next),
        Ok(Verdict::Leave) => Ok(contract::Verdict::Leave),
        Ok(Verdict::Respond(reply)) => Ok(contract::Verdict::Respond(answer(reply))),
        Ok(Verdict::Reset) => Ok(contract::Verdict::Reset),
        Ok(Verdict::Buffer { limit, overflow }) => Ok(buffer(limit, overflow)),
        Ok(Verdict::Transform(transform)) => {
            let running = Running(RefCell::new(transform));
            Ok(contract::Verdict::Transform(contract::Transform::new(
                running,
            )))
        }
        Err(error) => Err(error.into_message()),
    }
}

fn buffer(limit: u32, overflow: Overflow) -> contract::Verdict {
    let overflow = match overflow {
        Overflow::Reject => contract::Overflow::Reject,
        Overflow::Truncate => contract::Overflow::Truncate,
    };
    contract::Verdict::Buffer(contract::Buffering { limit, overflow })
}

fn collected(contract::Buffered { bytes, complete }: contract::Buffered) -> Body {
    Body { bytes, complete }
}

// Inlined, so that a component without bodies has nothing of it.
#[inline(always)]
fn body_verdict(verdict: Result<BodyVerdict, Error>) -> Result<contract::BodyVerdict, String> {
    match verdict {
        Ok(BodyVerdict::Keep) => Ok(contract::BodyVerdict::Keep),
        Ok(BodyVerdict::Replace(bytes)) => Ok(contract::BodyVerdict::Replace(bytes)),
        Ok(BodyVerdict::Respond(reply)) => Ok(contract::BodyVerdict::Respond(answer(reply))),
        Ok(BodyVerdict::Reset) => Ok(contract::BodyVerdict::Reset),
        Err(error) => Err(error.into_message()),
    }
}

fn told<T>(result: Result<T, Error>) -> Result<T, String> {
    result.map_err(Error::into_message)
}

fn answer(reply: Reply) -> contract::Reply {
    contract::Reply {
        status: reply.status,
        headers: reply.headers,
        body: reply.body,
    }
}

fn mistakes(errors: ConfigErrors) -> Vec<contract::ConfigError> {
    let mistake = |ConfigError { at, message }| contract::ConfigError { at, message };
    errors.into_iter().map(mistake).collect()
}

/// A panic ends the instance with a trap, which alone would not say where or
/// why.
fn hear_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(report_panic)));
}

fn report_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("panic without a message");
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    host::log::log(log::Level::Error, message, &[("panicked_at", place)]);
}
