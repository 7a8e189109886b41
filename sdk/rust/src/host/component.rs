//! The host functions of a component, by the bindings.

use crate::bindings::lockgate::filter as contract;
use crate::{HeadError, RouteError};

pub(crate) use contract::host::{now, random};

pub(crate) mod request {
    use super::{HeadError, contract, head_result};

    pub(crate) use contract::request::{authority, entries, get, get_all, method, path, scheme};

    pub(crate) fn set(name: &str, value: &[u8]) -> Result<(), HeadError> {
        head_result(contract::request::set(name, value))
    }

    pub(crate) fn append(name: &str, value: &[u8]) -> Result<(), HeadError> {
        head_result(contract::request::append(name, value))
    }

    pub(crate) fn remove(name: &str) -> Result<(), HeadError> {
        head_result(contract::request::remove(name))
    }

    pub(crate) fn set_method(method: &str) -> Result<(), HeadError> {
        head_result(contract::request::set_method(method))
    }

    pub(crate) fn set_authority(authority: &str) -> Result<(), HeadError> {
        head_result(contract::request::set_authority(authority))
    }

    pub(crate) fn set_path(path: &str) -> Result<(), HeadError> {
        head_result(contract::request::set_path(path))
    }
}

pub(crate) mod response {
    use super::{HeadError, contract, head_result};

    pub(crate) use contract::response::{entries, get, get_all, is_local, status};

    pub(crate) fn set_status(status: u16) -> Result<(), HeadError> {
        head_result(contract::response::set_status(status))
    }

    pub(crate) fn set(name: &str, value: &[u8]) -> Result<(), HeadError> {
        head_result(contract::response::set(name, value))
    }

    pub(crate) fn append(name: &str, value: &[u8]) -> Result<(), HeadError> {
        head_result(contract::response::append(name, value))
    }

    pub(crate) fn remove(name: &str) -> Result<(), HeadError> {
        head_result(contract::response::remove(name))
    }
}

pub(crate) mod trailers {
    use super::{HeadError, contract, head_result};

    pub(crate) use contract::trailers::{entries, get};

    pub(crate) fn set(name: &str, value: &[u8]) -> Result<(), HeadError> {
        head_result(contract::trailers::set(name, value))
    }

    pub(crate) fn remove(name: &str) -> Result<(), HeadError> {
        head_result(contract::trailers::remove(name))
    }
}

pub(crate) mod exchange {
    use std::time::Duration;

    use super::{RouteError, contract, nanoseconds, route_result};
    use crate::Timeout;

    pub(crate) use contract::exchange::{
        attribute, client_address, request_bytes, response_bytes, set_attribute, set_state, state,
    };

    pub(crate) fn route_to(cluster: &str) -> Result<(), RouteError> {
        route_result(contract::exchange::route_to(cluster))
    }

    pub(crate) fn set_route(name: &str) -> Result<(), RouteError> {
        route_result(contract::exchange::set_route(name))
    }

    pub(crate) fn set_subset(labels: &[(&str, &str)]) -> Result<(), RouteError> {
        route_result(contract::exchange::set_subset(labels))
    }

    pub(crate) fn set_retry(policy: &str) -> Result<(), RouteError> {
        route_result(contract::exchange::set_retry(policy))
    }

    pub(crate) fn set_hash_key(key: &[u8]) -> Result<(), RouteError> {
        route_result(contract::exchange::set_hash_key(key))
    }

    pub(crate) fn mirror_to(cluster: &str, headers: &[(&str, &[u8])]) -> Result<(), RouteError> {
        route_result(contract::exchange::mirror_to(cluster, headers))
    }

    pub(crate) fn delay(by: Duration) {
        contract::exchange::delay(nanoseconds(by));
    }

    pub(crate) fn set_timeout(which: Timeout, after: Duration) {
        use contract::exchange::{self, TryPart};
        let after = nanoseconds(after);
        let set = |which| exchange::set_timeout(which, after);
        let set_part = |part| exchange::set_try_timeout(part, after);
        match which {
            Timeout::Total => set(exchange::Timeout::Total),
            Timeout::Try => set(exchange::Timeout::Try),
            Timeout::Idle => set(exchange::Timeout::Idle),
            Timeout::Connect => set_part(TryPart::Connect),
            Timeout::Tls => set_part(TryPart::Tls),
            Timeout::Answer => set_part(TryPart::Answer),
        }
    }

    pub(crate) fn elapsed() -> Duration {
        Duration::from_nanos(contract::exchange::elapsed())
    }
}

pub(crate) mod connection {
    use super::{RouteError, route_result};
    use crate::bindings::connection::lockgate::filter::connection;

    pub(crate) use connection::{attribute, client_address, set_attribute};

    pub(crate) fn route_to(cluster: &str) -> Result<(), RouteError> {
        route_result(connection::route_to(cluster))
    }

    pub(crate) fn set_hash_key(key: &[u8]) -> Result<(), RouteError> {
        route_result(connection::set_hash_key(key))
    }
}

pub(crate) mod log {
    use super::contract;
    use crate::log::Level;

    pub(crate) fn enabled(level: Level) -> bool {
        contract::log::enabled(by_contract(level))
    }

    pub(crate) fn log(level: Level, message: &str, fields: &[(&str, String)]) {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        contract::log::log(by_contract(level), message, &fields);
    }

    fn by_contract(level: Level) -> contract::log::Level {
        match level {
            Level::Trace => contract::log::Level::Trace,
            Level::Debug => contract::log::Level::Debug,
            Level::Info => contract::log::Level::Info,
            Level::Warn => contract::log::Level::Warn,
            Level::Error => contract::log::Level::Error,
        }
    }
}

pub(crate) mod metrics {
    use super::contract;
    use crate::MetricError;
    use crate::metrics::Kind;

    pub(crate) struct Metric(contract::metrics::Metric);

    impl Metric {
        pub(crate) fn define(
            kind: Kind,
            name: &str,
            help: &str,
            labels: &[&str],
        ) -> Result<Self, MetricError> {
            let kind = match kind {
                Kind::Counter => contract::metrics::Kind::Counter,
                Kind::Gauge => contract::metrics::Kind::Gauge,
                Kind::Histogram => contract::metrics::Kind::Histogram,
            };
            contract::metrics::Metric::define(kind, name, help, labels)
                .map(Metric)
                .map_err(MetricError)
        }

        pub(crate) fn update(&self, value: f64, labels: &[&str]) {
            self.0.update(value, labels);
        }
    }
}

pub(crate) mod shared {
    use std::time::Duration;

    use super::{contract, nanoseconds};
    use crate::shared::{Entry, SharedError};

    pub(crate) use contract::shared::remove;

    pub(crate) fn get(key: &str) -> Option<Entry> {
        let contract::shared::Entry { value, version } = contract::shared::get(key)?;
        Some(Entry { value, version })
    }

    pub(crate) fn set(key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), SharedError> {
        contract::shared::set(key, value, ttl.map(nanoseconds)).map_err(by_contract)
    }

    pub(crate) fn replace(
        key: &str,
        version: u64,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<u64, SharedError> {
        let ttl = ttl.map(nanoseconds);
        contract::shared::replace(key, version, value, ttl).map_err(by_contract)
    }

    pub(crate) fn add(key: &str, delta: i64, ttl: Option<Duration>) -> Result<i64, SharedError> {
        contract::shared::add(key, delta, ttl.map(nanoseconds)).map_err(by_contract)
    }

    fn by_contract(error: contract::shared::SharedError) -> SharedError {
        match error {
            contract::shared::SharedError::Conflict => SharedError::Conflict,
            contract::shared::SharedError::TooLarge => SharedError::TooLarge,
            contract::shared::SharedError::NotACounter => SharedError::NotACounter,
            contract::shared::SharedError::Other(message) => SharedError::Other(message),
        }
    }
}

pub(crate) mod secrets {
    use super::{contract, head_error};
    use crate::secrets::SecretError;

    pub(crate) fn matches(name: &str, candidate: &[u8]) -> Result<bool, SecretError> {
        contract::secrets::matches(name, candidate).map_err(by_contract)
    }

    pub(crate) fn put(field: &str, prefix: &str, secret: &str) -> Result<(), SecretError> {
        let field = contract::types::SecretField {
            field,
            prefix,
            secret,
        };
        contract::secrets::put(field).map_err(by_contract)
    }

    pub(crate) fn sign(name: &str, data: &[u8]) -> Result<Vec<u8>, SecretError> {
        contract::secrets::sign(name, data).map_err(by_contract)
    }

    pub(crate) fn reveal(name: &str) -> Result<Vec<u8>, SecretError> {
        contract::secrets::reveal(name).map_err(by_contract)
    }

    fn by_contract(error: contract::secrets::SecretError) -> SecretError {
        match error {
            contract::secrets::SecretError::Denied => SecretError::Denied,
            contract::secrets::SecretError::Head(error) => SecretError::Head(head_error(error)),
            contract::secrets::SecretError::Other(message) => SecretError::Other(message),
        }
    }
}

pub(crate) mod http_client {
    use super::{contract, nanoseconds};
    use crate::http_client::{Answer, Call, CallError};

    #[derive(Debug)]
    pub(crate) struct UnderWay(contract::http_client::Call);

    pub(crate) fn start(cluster: &str, call: &Call) -> UnderWay {
        let headers: Vec<_> = call
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let secrets: Vec<_> = call
            .secrets
            .iter()
            .map(|secret| contract::types::SecretField {
                field: &secret.field,
                prefix: &secret.prefix,
                secret: &secret.secret,
            })
            .collect();
        let outgoing = contract::http_client::Outgoing {
            method: &call.method,
            path: &call.path,
            authority: call.authority.as_deref(),
            headers: &headers,
            secrets: &secrets,
            body: &call.body,
            timeout: call.timeout.map(nanoseconds),
        };
        UnderWay(contract::http_client::Call::start(cluster, outgoing))
    }

    impl UnderWay {
        pub(crate) fn wait(self) -> Result<Answer, CallError> {
            let incoming = contract::http_client::Call::wait(self.0).map_err(by_contract)?;
            Ok(Answer {
                status: incoming.status,
                headers: incoming.headers,
                body: incoming.body,
            })
        }
    }

    fn by_contract(error: contract::http_client::CallError) -> CallError {
        match error {
            contract::http_client::CallError::Denied => CallError::Denied,
            contract::http_client::CallError::Invalid => CallError::Invalid,
            contract::http_client::CallError::Unavailable => CallError::Unavailable,
            contract::http_client::CallError::Timeout => CallError::Timeout,
            contract::http_client::CallError::TooLarge => CallError::TooLarge,
            contract::http_client::CallError::Other(message) => CallError::Other(message),
        }
    }
}

fn head_result(result: Result<(), contract::types::HeadError>) -> Result<(), HeadError> {
    result.map_err(head_error)
}

fn head_error(error: contract::types::HeadError) -> HeadError {
    match error {
        contract::types::HeadError::Invalid => HeadError::Invalid,
        contract::types::HeadError::Forbidden => HeadError::Forbidden,
        contract::types::HeadError::TooLate => HeadError::TooLate,
        contract::types::HeadError::TooLarge => HeadError::TooLarge,
        contract::types::HeadError::Other(message) => HeadError::Other(message),
    }
}

fn route_result(result: Result<(), contract::types::RouteError>) -> Result<(), RouteError> {
    result.map_err(|error| match error {
        contract::types::RouteError::Unknown => RouteError::Unknown,
        contract::types::RouteError::TooLate => RouteError::TooLate,
        contract::types::RouteError::Unsupported => RouteError::Unsupported,
        contract::types::RouteError::Other(message) => RouteError::Other(message),
    })
}

/// The contract's durations; one longer than 584 years is that long.
fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
