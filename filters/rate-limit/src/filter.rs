//! What the filter does in each phase.

use std::cmp::Reverse;

use lockgate_sdk::metrics::Counter;
use lockgate_sdk::prelude::*;
use lockgate_sdk::shared::SharedError;
use lockgate_sdk::time;

use crate::config::{Config, Undecided};
use crate::ledger::{self, Claim, Settlement, Standing};
use crate::limit::{Concern, Limit};
use crate::{answer, check};

/// The filter.
pub struct RateLimit {
    pub(crate) limits: Vec<Limit>,
    pub(crate) undecided: Undecided,
    pub(crate) headers: bool,
    pub(crate) refused_total: Counter,
    pub(crate) undecided_total: Counter,
}

impl Filter for RateLimit {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        check::check(config)
    }

    fn wants(&self) -> Wants {
        let fields = self.limits.iter().flat_map(Limit::fields);
        let wants = Wants::request().request_fields(fields);
        match self.headers {
            true => wants.response(),
            false => wants,
        }
    }

    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        let claims = match self.claims(exchange) {
            Ok(claims) => claims,
            Err(limit) => {
                self.record_refusal(exchange, &[limit]);
                return Ok(answer::no_key().into());
            }
        };
        let told = |limit: &Limit, error| self.record_undecided(exchange, limit, error);
        match ledger::settle(&claims, now(), self.undecided, told) {
            Settlement::Passed(standings) => Ok(self.pass(exchange, &standings)),
            Settlement::Refused(mut standings) => {
                standings.sort_by_key(|(_, standing)| Reverse(standing.after));
                let limits: Vec<_> = standings.iter().map(|(limit, _)| *limit).collect();
                self.record_refusal(exchange, &limits);
                Ok(answer::too_many(&standings, self.headers).into())
            }
            Settlement::Undecided => Ok(answer::undecided().into()),
        }
    }

    fn on_response(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        let state = exchange.state();
        let told = str::from_utf8(&state)
            .ok()
            .and_then(|told| told.split_once('\n'));
        if let Some((policy, standing)) = told {
            // The upstream may have limits of its own.
            let response = exchange.response();
            let result = response
                .append_header(answer::POLICY, policy)
                .and_then(|()| response.append_header(answer::STANDING, standing));
            if let Err(error) = result {
                log::debug!("cannot tell of the limits", error = error);
            }
        }
        Ok(Verdict::Next)
    }
}

impl RateLimit {
    /// What the request is to be counted by, or the limit that denies it for the
    /// lack of it.
    fn claims(&self, exchange: &Exchange) -> Result<Vec<Claim<'_>>, &Limit> {
        let mut claims = Vec::new();
        for limit in &self.limits {
            match limit.concern(exchange) {
                Concern::None => {}
                Concern::Key(key) => claims.push(Claim { limit, key }),
                Concern::Denied => return Err(limit),
            }
        }
        Ok(claims)
    }

    fn pass(&self, exchange: &Exchange, standings: &[(&Limit, Standing)]) -> Verdict {
        if !self.headers || standings.is_empty() {
            return Verdict::Leave;
        }
        let (policy, standing) = answer::fields(standings);
        exchange.set_state(format!("{policy}\n{standing}").as_bytes());
        Verdict::Next
    }

    /// The first is the strictest.
    fn record_refusal(&self, exchange: &Exchange, limits: &[&Limit]) {
        if let Some(limit) = limits.first() {
            exchange.set_attribute("refused", &limit.name);
        }
        for limit in limits {
            self.refused_total.increment(&[&limit.name]);
        }
    }

    /// No warning: where it happens at all, it happens often.
    fn record_undecided(&self, exchange: &Exchange, limit: &Limit, error: SharedError) {
        log::debug!("cannot count a request", limit = limit.name, error = error);
        exchange.set_attribute("undecided", &limit.name);
        self.undecided_total.increment(&[&limit.name]);
    }
}

fn now() -> u64 {
    u64::try_from(time::since_epoch().as_nanos()).unwrap_or(u64::MAX)
}
