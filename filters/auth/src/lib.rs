//! `lockgate:auth`: only requests of somebody known pass.
//!
//! `config` is what the operator writes and `check` makes a `gate` of it, with
//! every mistake at once. The gate and what it is made of (`api_keys`, `basic`,
//! `jwt`) are pure: fields and a time go in, an `identity` or a refusal comes
//! out. Only this file speaks with the proxy.

mod answer;
mod api_keys;
mod basic;
mod check;
mod check_jwt;
mod config;
mod digest;
mod gate;
mod identity;
mod jwt;

use lockgate_sdk::prelude::*;
use lockgate_sdk::secrets::{self, SecretError};

use crate::check::Checked;
use crate::identity::{Identity, Refusal};

pub use crate::config::Config;

/// The filter.
pub struct Auth(Checked);

impl Filter for Auth {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        // Nothing is compared with: it only tells whether the secret is granted.
        let is_granted = |name: &str| secrets::matches(name, b"") != Err(SecretError::Denied);
        let checked = check::check(config, is_granted)?;
        for note in &checked.notes {
            log::warn!("{note}");
        }
        Ok(Self(checked))
    }

    fn wants(&self) -> Wants {
        Wants::request().request_fields(self.0.gate.fields())
    }

    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        let request = exchange.request();
        let now = || lockgate_sdk::time::since_epoch().as_secs_f64();
        // Grants do not change while an instance lives, so there is no error here
        // that `create` would not have told; if there were, nobody would pass by it.
        let is_secret = |name: &str, key: &[u8]| secrets::matches(name, key) == Ok(true);
        let values = |name: &str| request.headers(name);
        match self.0.gate.identify(values, now, is_secret) {
            Ok(identity) => self.pass(exchange, &identity),
            Err(refusal) => Ok(self.refuse(exchange, refusal)),
        }
    }
}

impl Auth {
    fn pass(&self, exchange: &Exchange, identity: &Identity) -> Result<Verdict, Error> {
        let request = exchange.request();
        exchange.set_attribute("method", identity.method.name());
        if let Some(subject) = &identity.subject {
            exchange.set_attribute("subject", subject);
        }
        for (name, value) in &identity.claims {
            exchange.set_attribute(&format!("claim.{name}"), value);
        }
        // What came from outside never stays, not even beside somebody without
        // a name.
        if let Some(header) = &self.0.identity_header {
            match &identity.subject {
                Some(subject) => request.set_header(header, subject.as_bytes())?,
                None => request.remove_header(header)?,
            }
        }
        for header in &self.0.remove {
            request.remove_header(header)?;
        }
        Ok(Verdict::Next)
    }

    fn refuse(&self, exchange: &Exchange, refusal: Refusal) -> Verdict {
        exchange.set_attribute("refusal", refusal.description());
        self.0.challenges.answer(refusal).into()
    }
}

lockgate_sdk::export!(Auth, name = "lockgate:auth");
