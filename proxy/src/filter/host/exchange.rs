//! `exchange`: facts about the exchange, and decisions about its way.

use std::time::Duration;

use http::HeaderMap;
use wasmtime::Result;

use super::HostState;
use crate::balance::hash::hash;
use crate::config::Name;
use crate::filter::bindings::lockgate::filter::exchange::{self, Timeout, TryPart};
use crate::filter::bindings::lockgate::filter::types::RouteError;
use crate::filter::head_rules;
use crate::filter::interest::Interest;
use crate::filter::journal::{Journal, Undo};
use crate::filter::state::{Phase, limit_broken};
use crate::filter::timeouts::Timed;
use crate::filter::view::{HeadLimits, Mirror, View};

/// Copies of one exchange.
const MAX_MIRRORS: usize = 8;

/// No subset has more.
const MAX_LABELS: usize = 16;

type Decision = Result<Result<(), RouteError>>;

impl HostState {
    /// Whether what is left on the exchange has any effect. A job sees none, and what
    /// it left would only grow.
    fn is_beside_exchanges(&self) -> bool {
        self.call.phase == Phase::Job
    }

    fn set_time(&mut self, which: Timed, after: u64) -> Result<()> {
        if self.is_beside_exchanges() {
            return Ok(());
        }
        let after = Some(Duration::from_nanos(after));
        let (view, journal) = self.exchange()?;
        let before = view.decisions.timeouts.set(which, after);
        journal.note(Undo::Timeout(which, before));
        Ok(())
    }

    /// Decides about the request's way, while it has not been sent.
    fn decide(
        &mut self,
        decide: impl FnOnce(&Interest, &mut View, &mut Journal) -> Result<(), RouteError>,
    ) -> Decision {
        let (phase, config) = (self.call.phase, self.call.config);
        let interests = self.interests.clone();
        let (view, journal) = self.exchange()?;
        Ok(match interests.get(config) {
            Some(interest) if phase.decides() => decide(interest, view, journal),
            Some(_) | None => Err(RouteError::TooLate),
        })
    }
}

impl exchange::Host for HostState {
    fn client_address(&mut self) -> Result<String> {
        Ok(self.view()?.client_address.to_string())
    }

    fn attribute(&mut self, name: String) -> Result<Option<String>> {
        Ok(attribute(self.view()?, &name))
    }

    fn set_attribute(&mut self, name: String, value: String) -> Result<()> {
        if self.is_beside_exchanges() {
            return Ok(());
        }
        let owner = self.owner.clone();
        let max_bytes = owner.limits.max_attribute_bytes;
        let (view, journal) = self.exchange()?;
        // The access log shows it, and other filters were not granted a secret by it.
        let secrets = &owner.granted.secrets;
        let (name, value) = (secrets.masked(name), secrets.masked(value));
        set_attribute(view, journal, &owner.name, &name, value, max_bytes)
    }

    fn state(&mut self) -> Result<Vec<u8>> {
        let place = self.call.place;
        let states = &self.view()?.states;
        let own = states.iter().find(|(owner, _)| *owner == place);
        Ok(own.map(|(_, state)| state.clone()).unwrap_or_default())
    }

    fn set_state(&mut self, state: Vec<u8>) -> Result<()> {
        if self.is_beside_exchanges() {
            return Ok(());
        }
        let (place, max_bytes) = (self.call.place, self.owner.limits.max_state_bytes);
        if state.len() > max_bytes {
            return Err(limit_broken(format!(
                "a state of more than {max_bytes} bytes"
            )));
        }
        let (view, journal) = self.exchange()?;
        match view.states.iter().position(|(owner, _)| *owner == place) {
            Some(index) => {
                let before = std::mem::replace(&mut view.states[index].1, state);
                journal.note(Undo::State(index, before));
            }
            None => {
                view.states.push((place, state));
                journal.note(Undo::NewState);
            }
        }
        Ok(())
    }

    fn route_to(&mut self, cluster: String) -> Decision {
        self.decide(|interest, view, journal| {
            let cluster = interest
                .clusters
                .get(&*cluster)
                .ok_or(RouteError::Unknown)?;
            let before = view.decisions.cluster.replace(cluster.clone());
            journal.note(Undo::Cluster(before));
            Ok(())
        })
    }

    fn set_route(&mut self, name: String) -> Decision {
        self.decide(|interest, view, journal| {
            let route = interest.routes.get(&*name).ok_or(RouteError::Unknown)?;
            let before = view.decisions.route.replace(route.clone());
            journal.note(Undo::Route(before));
            Ok(())
        })
    }

    fn set_subset(&mut self, labels: Vec<(String, String)>) -> Decision {
        self.decide(|_, view, journal| {
            if !view.takes_subset {
                return Err(RouteError::Unsupported);
            }
            if labels.len() > MAX_LABELS {
                return Err(RouteError::Other("too many labels".into()));
            }
            let before = std::mem::replace(&mut view.decisions.labels, labels.into());
            journal.note(Undo::Subset(before));
            Ok(())
        })
    }

    fn set_retry(&mut self, policy: String) -> Decision {
        self.decide(|interest, view, journal| {
            let policy = interest.retries.get(&*policy).ok_or(RouteError::Unknown)?;
            let before = view.decisions.retry.replace(policy.clone());
            journal.note(Undo::Retry(before));
            Ok(())
        })
    }

    fn set_hash_key(&mut self, key: Vec<u8>) -> Decision {
        self.decide(|_, view, journal| {
            if !view.takes_hash_key {
                return Err(RouteError::Unsupported);
            }
            let before = view.decisions.hash_key.replace(hash(&key));
            journal.note(Undo::HashKey(before));
            Ok(())
        })
    }

    fn mirror_to(&mut self, cluster: String, headers: Vec<(String, Vec<u8>)>) -> Decision {
        self.decide(|interest, view, journal| {
            let cluster = interest
                .clusters
                .get(&*cluster)
                .ok_or(RouteError::Unknown)?;
            let mirrors = &mut view.decisions.mirrors;
            if mirrors.len() >= MAX_MIRRORS {
                return Err(RouteError::Other("too many copies of one request".into()));
            }
            let headers = mirror_headers(headers, view.head_limits)?;
            journal.note(Undo::Mirrors(mirrors.len()));
            mirrors.push(Mirror {
                cluster: cluster.clone(),
                headers,
            });
            Ok(())
        })
    }

    fn delay(&mut self, by: u64) -> Result<()> {
        let left = self.call.delay_left;
        let (view, _) = self.exchange()?;
        let delay = &mut view.decisions.delay;
        *delay = delay.saturating_add(Duration::from_nanos(by)).min(left);
        Ok(())
    }

    fn set_timeout(&mut self, which: Timeout, after: u64) -> Result<()> {
        let which = match which {
            Timeout::Total => Timed::Total,
            Timeout::Try => Timed::Try,
            Timeout::Idle => Timed::Idle,
        };
        self.set_time(which, after)
    }

    fn set_try_timeout(&mut self, part: TryPart, after: u64) -> Result<()> {
        let which = match part {
            TryPart::Connect => Timed::Connect,
            TryPart::Tls => Timed::Tls,
            TryPart::Answer => Timed::Answer,
        };
        self.set_time(which, after)
    }

    fn elapsed(&mut self) -> Result<u64> {
        let elapsed = self.view()?.started.elapsed();
        Ok(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    fn request_bytes(&mut self) -> Result<u64> {
        Ok(self.view()?.request_bytes)
    }

    fn response_bytes(&mut self) -> Result<u64> {
        Ok(self.view()?.response_bytes)
    }
}

/// First the names that are well known, so that no filter can stand for one.
pub(super) fn attribute(view: &View, name: &str) -> Option<String> {
    let of = |name: &Name| name.to_string();
    let upstream = view.upstream.as_ref();
    match name {
        "route.name" => view.decisions.route.as_ref().map(of),
        "listener.name" => Some(of(&view.listener)),
        "client.address" => Some(view.client_address.to_string()),
        "request.id" => Some(view.request_id().to_owned()),
        "request.target" => Some(view.form.name().to_owned()),
        "trace.id" => Some(view.trace_id.to_string()),
        "original_destination.address" => Some(view.original_destination?.ip().to_string()),
        "original_destination.port" => Some(view.original_destination?.port().to_string()),
        "upstream.cluster" => upstream.map(|(cluster, _)| of(cluster)),
        "upstream.endpoint" => upstream.map(|(_, endpoint)| of(endpoint)),
        _ if name.starts_with("tls.") => view.tls.as_ref()?.attribute(&name["tls.".len()..]),
        _ => match name.strip_prefix("proxy_protocol.") {
            Some(name) => view.introduction.as_ref()?.attribute(name),
            None => {
                let known = view.attributes.iter().find(|(known, _)| known == name);
                known.map(|(_, value)| value.clone())
            }
        },
    }
}

fn set_attribute(
    view: &mut View,
    journal: &mut Journal,
    filter: &str,
    name: &str,
    value: String,
    max_bytes: usize,
) -> Result<()> {
    let is_own = |full: &str| {
        full.strip_prefix(filter)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    let full = format!("{filter}.{name}");
    let others = view
        .attributes
        .iter()
        .filter(|(key, _)| is_own(key) && *key != full);
    let used: usize = others.map(|(key, value)| key.len() + value.len()).sum();
    if used + full.len() + value.len() > max_bytes {
        return Err(limit_broken(format!(
            "attributes of more than {max_bytes} bytes"
        )));
    }
    match view.attributes.iter().position(|(known, _)| *known == full) {
        Some(index) => {
            let before = std::mem::replace(&mut view.attributes[index].1, value);
            journal.note(Undo::Attribute(index, before));
        }
        None => {
            view.attributes.push((full, value));
            journal.note(Undo::NewAttribute);
        }
    }
    Ok(())
}

/// The fields of a copy, under the rules of every head.
fn mirror_headers(
    raw: Vec<(String, Vec<u8>)>,
    limits: HeadLimits,
) -> Result<HeaderMap, RouteError> {
    if raw.len() > limits.max_fields {
        return Err(RouteError::Other("more fields than a head may have".into()));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in raw {
        let refused = |_| RouteError::Other(format!("the field `{}`", name.escape_debug()));
        let value = head_rules::value(value).map_err(refused)?;
        headers.append(head_rules::name(&name).map_err(refused)?, value);
    }
    match head_rules::size(&headers) > limits.max_bytes {
        true => Err(RouteError::Other("fields larger than a head may be".into())),
        false => Ok(headers),
    }
}
