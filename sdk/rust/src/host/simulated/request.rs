//! The interface `request`.

use super::{Phase, Simulated, with};
use crate::{HeadError, field};

pub(crate) fn method() -> String {
    with(|simulated| simulated.exchange.method.clone())
}

pub(crate) fn scheme() -> String {
    with(|simulated| simulated.exchange.scheme.clone())
}

pub(crate) fn authority() -> String {
    with(|simulated| simulated.exchange.authority.clone())
}

pub(crate) fn path() -> String {
    with(|simulated| simulated.exchange.path.clone())
}

pub(crate) fn get(name: &str) -> Option<Vec<u8>> {
    get_all(name).into_iter().next()
}

pub(crate) fn get_all(name: &str) -> Vec<Vec<u8>> {
    with(|simulated| {
        let exchange = &simulated.exchange;
        let pseudo = match name {
            ":method" => &exchange.method,
            ":scheme" => &exchange.scheme,
            ":authority" => &exchange.authority,
            ":path" => &exchange.path,
            _ if name.eq_ignore_ascii_case("host") => &exchange.authority,
            _ => return exchange.request.get_all(name),
        };
        vec![pseudo.clone().into_bytes()]
    })
}

pub(crate) fn entries() -> Vec<(String, Vec<u8>)> {
    with(|simulated| simulated.exchange.request.0.clone())
}

pub(crate) fn set(name: &str, value: &[u8]) -> Result<(), HeadError> {
    change(|simulated| {
        simulated.exchange.request.set(name, value)?;
        simulated.exchange.forget_secret(name);
        Ok(())
    })
}

pub(crate) fn append(name: &str, value: &[u8]) -> Result<(), HeadError> {
    change(|simulated| simulated.exchange.request.append(name, value))
}

pub(crate) fn remove(name: &str) -> Result<(), HeadError> {
    change(|simulated| {
        simulated.exchange.request.remove(name)?;
        simulated.exchange.forget_secret(name);
        Ok(())
    })
}

pub(crate) fn set_method(method: &str) -> Result<(), HeadError> {
    change(|simulated| {
        valid(field::is_name(method))?;
        if method == "CONNECT" {
            return Err(HeadError::Forbidden);
        }
        simulated.exchange.method = method.to_owned();
        Ok(())
    })
}

pub(crate) fn set_authority(authority: &str) -> Result<(), HeadError> {
    change(|simulated| {
        valid(is_authority(authority))?;
        simulated.exchange.authority = authority.to_owned();
        Ok(())
    })
}

pub(crate) fn set_path(path: &str) -> Result<(), HeadError> {
    change(|simulated| {
        valid(is_path(path))?;
        simulated.exchange.path = path.to_owned();
        Ok(())
    })
}

pub(super) fn is_authority(authority: &str) -> bool {
    !authority.is_empty() && authority.bytes().all(|byte| byte.is_ascii_graphic())
}

/// With or without a query.
pub(super) fn is_path(path: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    path.starts_with('/') && path.bytes().all(is_legal)
}

fn change(change: impl FnOnce(&mut Simulated) -> Result<(), HeadError>) -> Result<(), HeadError> {
    with(|simulated| match simulated.phase {
        Phase::Request => change(simulated),
        Phase::Outside
        | Phase::Response
        | Phase::Transform
        | Phase::Trailers
        | Phase::Done
        | Phase::Job => Err(HeadError::TooLate),
    })
}

fn valid(is_valid: bool) -> Result<(), HeadError> {
    if is_valid {
        Ok(())
    } else {
        Err(HeadError::Invalid)
    }
}
