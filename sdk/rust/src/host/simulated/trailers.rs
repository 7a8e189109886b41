//! The interface `trailers`.

use super::{Phase, Simulated, with};
use crate::HeadError;

pub(crate) fn get(name: &str) -> Option<Vec<u8>> {
    with(|simulated| simulated.exchange.trailers.get_all(name))
        .into_iter()
        .next()
}

pub(crate) fn entries() -> Vec<(String, Vec<u8>)> {
    with(|simulated| simulated.exchange.trailers.0.clone())
}

pub(crate) fn set(name: &str, value: &[u8]) -> Result<(), HeadError> {
    change(|simulated| simulated.exchange.trailers.set(name, value))
}

pub(crate) fn remove(name: &str) -> Result<(), HeadError> {
    change(|simulated| simulated.exchange.trailers.remove(name))
}

fn change(change: impl FnOnce(&mut Simulated) -> Result<(), HeadError>) -> Result<(), HeadError> {
    with(|simulated| match simulated.phase {
        Phase::Trailers => change(simulated),
        Phase::Outside
        | Phase::Request
        | Phase::Response
        | Phase::Transform
        | Phase::Done
        | Phase::Job => Err(HeadError::TooLate),
    })
}
