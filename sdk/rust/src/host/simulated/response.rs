//! The interface `response`.

use super::{Phase, Simulated, with};
use crate::HeadError;

pub(crate) fn status() -> Option<u16> {
    with(|simulated| simulated.exchange.status)
}

pub(crate) fn is_local() -> bool {
    with(|simulated| simulated.exchange.is_local)
}

pub(crate) fn set_status(status: u16) -> Result<(), HeadError> {
    change(|simulated| {
        if !(200..=599).contains(&status) {
            return Err(HeadError::Invalid);
        }
        simulated.exchange.status = Some(status);
        Ok(())
    })
}

pub(crate) fn get(name: &str) -> Option<Vec<u8>> {
    get_all(name).into_iter().next()
}

pub(crate) fn get_all(name: &str) -> Vec<Vec<u8>> {
    with(|simulated| match name {
        ":status" => {
            let status = simulated.exchange.status;
            status
                .map(|status| status.to_string().into_bytes())
                .into_iter()
                .collect()
        }
        _ => simulated.exchange.response.get_all(name),
    })
}

pub(crate) fn entries() -> Vec<(String, Vec<u8>)> {
    with(|simulated| simulated.exchange.response.0.clone())
}

pub(crate) fn set(name: &str, value: &[u8]) -> Result<(), HeadError> {
    change(|simulated| simulated.exchange.response.set(name, value))
}

pub(crate) fn append(name: &str, value: &[u8]) -> Result<(), HeadError> {
    change(|simulated| simulated.exchange.response.append(name, value))
}

pub(crate) fn remove(name: &str) -> Result<(), HeadError> {
    change(|simulated| simulated.exchange.response.remove(name))
}

fn change(change: impl FnOnce(&mut Simulated) -> Result<(), HeadError>) -> Result<(), HeadError> {
    with(|simulated| match simulated.phase {
        Phase::Response => change(simulated),
        Phase::Outside
        | Phase::Request
        | Phase::Transform
        | Phase::Trailers
        | Phase::Done
        | Phase::Job => Err(HeadError::TooLate),
    })
}
