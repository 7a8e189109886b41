//! `secrets`: compared with, signed with, put into the request, and seen only where
//! that is granted. Also while a configuration is made: what a filter could do with
//! them then it can do in any phase, and whether one is granted is known at once.

use wasmtime::Result;

use super::{HostState, request};
use crate::config::SecretUse;
use crate::filter::bindings::granted::lockgate::filter::secrets::{self, SecretError};
use crate::filter::bindings::lockgate::filter::types::{HeadError, SecretField};
use crate::filter::head_rules;
use crate::secrets::Secret;

type Done<T> = Result<Result<T, SecretError>>;

impl HostState {
    fn secret(&self, name: &str) -> Result<(&Secret, SecretUse), SecretError> {
        let secrets = &self.owner.granted.secrets;
        secrets.find(name).ok_or(SecretError::Denied)
    }

    fn put_secret(&mut self, what: &SecretField) -> Done<()> {
        let value = match self.secret(&what.secret) {
            Ok((secret, _)) => secret.value(),
            Err(denied) => return Ok(Err(denied)),
        };
        if !self.call.phase.holds_request() {
            return Ok(Err(HeadError::TooLate.into()));
        }
        let put = self.change_request(|view, journal| {
            let name = head_rules::name(&what.field)?;
            let mut value = head_rules::value([what.prefix.as_bytes(), value.bytes()].concat())?;
            // From here on no guest reads it, and no `Debug` shows it.
            value.set_sensitive(true);
            request::set(view, journal, name, value)
        })?;
        Ok(put.map_err(SecretError::from))
    }
}

impl secrets::Host for HostState {
    fn matches(&mut self, name: String, candidate: Vec<u8>) -> Done<bool> {
        let secret = self.secret(&name);
        Ok(secret.map(|(secret, _)| secret.value().matches(&candidate)))
    }

    fn put(&mut self, what: SecretField) -> Done<()> {
        self.put_secret(&what)
    }

    fn sign(&mut self, name: String, data: Vec<u8>) -> Done<Vec<u8>> {
        let secret = self.secret(&name);
        Ok(secret.map(|(secret, _)| secret.value().sign(&data).to_vec()))
    }

    fn reveal(&mut self, name: String) -> Done<Vec<u8>> {
        Ok(match self.secret(&name) {
            Ok((secret, SecretUse::Reveal)) => Ok(secret.value().bytes().to_vec()),
            Ok((_, SecretUse::Use)) => Err(SecretError::Denied),
            Err(denied) => Err(denied),
        })
    }
}

impl From<HeadError> for SecretError {
    fn from(error: HeadError) -> Self {
        SecretError::Head(error)
    }
}
