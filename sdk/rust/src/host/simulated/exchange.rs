//! The interface `exchange`.

use std::time::Duration;

use super::{Phase, Simulated, with};
use crate::testing::Mirror;
use crate::{RouteError, Timeout};

pub(crate) fn client_address() -> String {
    with(|simulated| simulated.exchange.client_address.clone())
}

pub(crate) fn attribute(name: &str) -> Option<String> {
    with(|simulated| simulated.exchange.attributes.get(name).cloned())
}

pub(crate) fn set_attribute(name: &str, value: &str) {
    with(|simulated| {
        let attributes = &mut simulated.exchange.set_attributes;
        attributes.insert(name.to_owned(), value.to_owned());
    });
}

pub(crate) fn state() -> Vec<u8> {
    with(|simulated| simulated.exchange.state.clone())
}

pub(crate) fn set_state(state: &[u8]) {
    with(|simulated| simulated.exchange.state = state.to_vec());
}

pub(crate) fn route_to(cluster: &str) -> Result<(), RouteError> {
    decide(|simulated| {
        declared(&simulated.wants.clusters, cluster)?;
        simulated.exchange.cluster = Some(cluster.to_owned());
        Ok(())
    })
}

pub(crate) fn set_route(name: &str) -> Result<(), RouteError> {
    decide(|simulated| {
        declared(&simulated.wants.routes, name)?;
        simulated.exchange.route = Some(name.to_owned());
        Ok(())
    })
}

pub(crate) fn mirror_to(cluster: &str, headers: &[(&str, &[u8])]) -> Result<(), RouteError> {
    decide(|simulated| {
        declared(&simulated.wants.clusters, cluster)?;
        simulated.exchange.mirrors.push(Mirror {
            cluster: cluster.to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
                .collect(),
        });
        Ok(())
    })
}

pub(crate) fn set_subset(labels: &[(&str, &str)]) -> Result<(), RouteError> {
    decide(|simulated| {
        let labels = labels.iter();
        let labels = labels.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        simulated.exchange.subset = labels.collect();
        Ok(())
    })
}

pub(crate) fn set_retry(policy: &str) -> Result<(), RouteError> {
    decide(|simulated| {
        declared(&simulated.wants.retries, policy)?;
        simulated.exchange.retry = Some(policy.to_owned());
        Ok(())
    })
}

pub(crate) fn set_hash_key(key: &[u8]) -> Result<(), RouteError> {
    decide(|simulated| {
        simulated.exchange.hash_key = Some(key.to_vec());
        Ok(())
    })
}

pub(crate) fn delay(by: Duration) {
    with(|simulated| match simulated.phase {
        Phase::Transform | Phase::Trailers | Phase::Job => {}
        Phase::Outside | Phase::Request | Phase::Response | Phase::Done => {
            simulated.exchange.delay += by;
        }
    });
}

pub(crate) fn set_timeout(which: Timeout, after: Duration) {
    with(|simulated| simulated.exchange.timeouts.push((which, after)));
}

pub(crate) fn elapsed() -> Duration {
    with(|simulated| simulated.exchange.elapsed)
}

pub(crate) fn request_bytes() -> u64 {
    with(|simulated| simulated.exchange.request_bytes)
}

pub(crate) fn response_bytes() -> u64 {
    with(|simulated| simulated.exchange.response_bytes)
}

fn decide(decide: impl FnOnce(&mut Simulated) -> Result<(), RouteError>) -> Result<(), RouteError> {
    with(|simulated| match simulated.phase {
        Phase::Request => decide(simulated),
        Phase::Outside
        | Phase::Response
        | Phase::Transform
        | Phase::Trailers
        | Phase::Done
        | Phase::Job => Err(RouteError::TooLate),
    })
}

fn declared(names: &[String], name: &str) -> Result<(), RouteError> {
    match names.iter().any(|declared| declared == name) {
        true => Ok(()),
        false => Err(RouteError::Unknown),
    }
}
