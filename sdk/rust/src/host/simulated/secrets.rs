//! The interface `secrets`.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Phase, with};
use crate::HeadError;
use crate::secrets::SecretError;
use crate::testing::{Grant, PutSecret};

pub(crate) fn matches(name: &str, candidate: &[u8]) -> Result<bool, SecretError> {
    // In a test no time is taken to guess from.
    granted(name).map(|(secret, _)| secret == candidate)
}

pub(crate) fn put(field: &str, prefix: &str, name: &str) -> Result<(), SecretError> {
    let (secret, _) = granted(name)?;
    let whole = [prefix.as_bytes(), &secret].concat();
    with(|simulated| match simulated.phase {
        Phase::Request => {
            let exchange = &mut simulated.exchange;
            exchange.put_secret(PutSecret {
                field: field.to_ascii_lowercase(),
                prefix: prefix.to_owned(),
                secret: name.to_owned(),
                value: whole,
            })
        }
        Phase::Outside
        | Phase::Response
        | Phase::Transform
        | Phase::Trailers
        | Phase::Done
        | Phase::Job => Err(HeadError::TooLate),
    })
    .map_err(SecretError::Head)
}

pub(crate) fn sign(name: &str, data: &[u8]) -> Result<Vec<u8>, SecretError> {
    let (secret, _) = granted(name)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).expect("HMAC takes keys of any length");
    mac.update(data);
    Ok(mac.finalize().into_bytes().to_vec())
}

pub(crate) fn reveal(name: &str) -> Result<Vec<u8>, SecretError> {
    match granted(name)? {
        (secret, Grant::Reveal) => Ok(secret),
        (_, Grant::Use) => Err(SecretError::Denied),
    }
}

fn granted(name: &str) -> Result<(Vec<u8>, Grant), SecretError> {
    let secret = with(|simulated| simulated.secrets.get(name).cloned());
    secret.ok_or(SecretError::Denied)
}
