//! `lockgate:auth`: only requests of somebody known pass.
//!
//! `config` is what the operator writes and `check` makes a `gate` of it, with
//! every mistake at once. The gate and what it is made of (`api_keys`, `basic`,
//! `jwt`) are pure: fields and a time go in, an `identity` or a refusal comes
//! out. Only this file and `remote`, which fetches and shares key sets, speak with
//! the proxy; `job` has it do so from time to time.

mod answer;
mod api_keys;
mod basic;
mod check;
mod check_jwt;
mod check_source;
mod config;
mod digest;
mod gate;
mod identity;
mod job;
mod jwt;
mod remote;

use lockgate_sdk::Overflow;
use lockgate_sdk::http_client::{Call, CallError};
use lockgate_sdk::prelude::*;
use lockgate_sdk::secrets::{self, SecretError};

use crate::check::{Checked, Granted};
use crate::identity::{Identity, Refusal, TokenError};
use crate::remote::{ASKING, Asked, Remote};

pub use crate::config::Config;
pub use crate::job::Refresh;

/// The filter.
pub struct Auth {
    checked: Checked,
    /// Keys that the issuer publishes.
    remote: Option<Remote>,
}

impl Filter for Auth {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        // Nothing is compared with or sent: it only tells whether that is granted.
        let granted = Granted {
            secret: &|name| secrets::matches(name, b"") != Err(SecretError::Denied),
            call: &|cluster| Call::get("/").send(cluster) != Err(CallError::Denied),
        };
        let checked = check::check(config, &granted)?;
        for note in &checked.notes {
            log::warn!("{note}");
        }
        Ok(Self {
            remote: checked.source.clone().map(Remote::new),
            checked,
        })
    }

    fn wants(&self) -> Wants {
        Wants::request().request_fields(self.checked.gate.fields())
    }

    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        match self.identify_or_ask(exchange) {
            Ok(identity) => self.pass(exchange, &identity).map(|()| Verdict::Next),
            // Called again when the answer must be there, for the sake of which nothing
            // of the body is wanted.
            Err(Refusal::KeyAskedFor) => {
                exchange.delay(ASKING);
                Ok(Verdict::Buffer {
                    limit: 0,
                    overflow: Overflow::Truncate,
                })
            }
            Err(refusal) => Ok(self.refuse(exchange, refusal).into()),
        }
    }

    fn on_request_body(&self, exchange: &Exchange, _: Body) -> Result<BodyVerdict, Error> {
        match self.identify_or_ask(exchange) {
            Ok(identity) => self.pass(exchange, &identity).map(|()| BodyVerdict::Keep),
            Err(refusal) => Ok(BodyVerdict::Respond(self.refuse(exchange, refusal))),
        }
    }
}

impl Auth {
    /// Who sent the request, after the issuer was asked for a key that nobody knows.
    fn identify_or_ask(&self, exchange: &Exchange) -> Result<Identity<'_>, Refusal> {
        let unknown = Refusal::Token(TokenError::UnknownKey);
        let remote = match (self.identify(exchange), &self.remote) {
            (Err(refusal), Some(remote)) if refusal == unknown => remote,
            (outcome, _) => return outcome,
        };
        let request = exchange.request();
        let key = self.checked.gate.named_key(|name| request.headers(name));
        match remote.ask(&key.unwrap_or_default()) {
            Asked::Answered => self.identify(exchange),
            Asked::InVain => Err(Refusal::IssuerSilent),
            Asked::NotYet => Err(Refusal::KeyAskedFor),
        }
    }

    /// Who sent the request, by the newest keys.
    fn identify(&self, exchange: &Exchange) -> Result<Identity<'_>, Refusal> {
        let gate = &self.checked.gate;
        if let Some(keys) = self.remote.as_ref().and_then(Remote::news) {
            gate.replace_fetched(keys);
        }
        let request = exchange.request();
        let now = || lockgate_sdk::time::since_epoch().as_secs_f64();
        // Grants do not change while an instance lives, so there is no error here
        // that `create` would not have told; if there were, nobody would pass by it.
        let is_secret = |name: &str, key: &[u8]| secrets::matches(name, key) == Ok(true);
        gate.identify(|name| request.headers(name), now, is_secret)
    }

    fn pass(&self, exchange: &Exchange, identity: &Identity) -> Result<(), Error> {
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
        if let Some(header) = &self.checked.identity_header {
            match &identity.subject {
                Some(subject) => request.set_header(header, subject.as_bytes())?,
                None => request.remove_header(header)?,
            }
        }
        for header in &self.checked.remove {
            request.remove_header(header)?;
        }
        Ok(())
    }

    fn refuse(&self, exchange: &Exchange, refusal: Refusal) -> Reply {
        let is_known = self.remote.as_ref().is_none_or(Remote::is_known);
        let refusal = match refusal {
            // Nobody can tell yet whether it is a good one.
            Refusal::Token(TokenError::UnknownKey) if !is_known => Refusal::NoKeys,
            refusal => refusal,
        };
        exchange.set_attribute("refusal", refusal.description());
        self.checked.challenges.answer(refusal)
    }
}

lockgate_sdk::export!(Auth, name = "lockgate:auth", job = Refresh);
