//! One call of a filter, with what the proxy does around it.

use super::{Head, Outcome};
use crate::Error;
use crate::host::simulated::{Phase, with};

/// Call the filter, end what it left under way, and roll back what a failed call
/// changed.
pub(super) fn call<T>(phase: Phase, call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let before = with(|simulated| {
        simulated.phase = phase;
        simulated.exchange.clone()
    });
    let result = call();
    with(|simulated| {
        simulated.phase = Phase::Outside;
        simulated.client.cancel_all();
        if result.is_err() {
            simulated.exchange = before;
        }
    });
    result
}

/// Tell what one or more calls came to.
pub(super) fn finish<V>(verdict: Result<V, Error>) -> Outcome<V> {
    with(|simulated| {
        let delay = std::mem::take(&mut simulated.exchange.delay);
        let trailers = std::mem::take(&mut simulated.exchange.trailers);
        let exchange = simulated.exchange.clone();
        Outcome {
            verdict,
            method: exchange.method,
            authority: exchange.authority,
            path: exchange.path,
            request: Head(exchange.request.0),
            secrets: exchange.secrets,
            status: exchange.status,
            response: Head(exchange.response.0),
            trailers: Head(trailers.0),
            cluster: exchange.cluster,
            retry: exchange.retry,
            hash_key: exchange.hash_key,
            subset: exchange.subset,
            route: exchange.route,
            mirrors: exchange.mirrors,
            delay,
            timeouts: exchange.timeouts,
            attributes: exchange.set_attributes,
            state: exchange.state,
            calls: simulated.client.take_sent(),
            logs: std::mem::take(&mut simulated.logs),
        }
    })
}

/// The fields as the proxy would pack them.
pub(super) fn packed(names: &[String], values: fn(&str) -> Vec<Vec<u8>>) -> Vec<u8> {
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
