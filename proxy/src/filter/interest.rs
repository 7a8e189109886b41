//! What a configuration wants to be called for, as `wants` answered it.

use std::collections::BTreeSet;

use super::bindings::connection::exports::lockgate::filter::connection_filter;
use super::bindings::exports::lockgate::filter::http_filter;
use super::field::Field;
use super::state::Phase;
use crate::config::Name;

/// Fields that are handed over with a head: each costs every exchange a look.
const MAX_FIELDS: usize = 1000;

/// A checked answer of `wants`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Interest {
    pub phases: Phases,
    /// Handed over with `on-request`, in this order.
    pub request_fields: Vec<Field>,
    /// Handed over with `on-response`.
    pub response_fields: Vec<Field>,
    /// Every cluster that the configuration may name.
    pub clusters: BTreeSet<Name>,
    /// Every retry policy that it may name.
    pub retries: BTreeSet<Name>,
    /// Every name that it may give to `set-route`.
    pub routes: BTreeSet<Name>,
    /// Of a connection's first bytes, those that it wants to see at most.
    pub preview: usize,
}

/// The phases in which it wants to be called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    pub request: bool,
    pub request_trailers: bool,
    pub response: bool,
    pub response_trailers: bool,
    pub done: bool,
}

impl Phases {
    /// Whether filters may still read the request's head once it is sent.
    pub fn looks_at_requests_later(self) -> bool {
        self.request_trailers || self.response || self.response_trailers || self.done
    }

    /// Whether it is called in this phase without having asked for it in an earlier one.
    pub(super) fn has(self, phase: Phase) -> bool {
        match phase {
            Phase::Request => self.request,
            Phase::RequestTrailers => self.request_trailers,
            Phase::Response => self.response,
            Phase::ResponseTrailers => self.response_trailers,
            Phase::Done => self.done,
            Phase::RequestBody | Phase::ResponseBody | Phase::Transform => false,
            Phase::Outside | Phase::Connection | Phase::Job => false,
        }
    }

    /// Whether a filter that was called for this phase, and did not ask for the body, may
    /// be called again.
    pub(super) fn goes_on_after(self, phase: Phase) -> bool {
        match phase {
            Phase::Request | Phase::RequestBody => self.looks_at_requests_later(),
            _ => self.response_trailers || self.done,
        }
    }

    /// Those that either wants.
    pub fn or(self, other: Self) -> Self {
        Self {
            request: self.request || other.request,
            request_trailers: self.request_trailers || other.request_trailers,
            response: self.response || other.response,
            response_trailers: self.response_trailers || other.response_trailers,
            done: self.done || other.done,
        }
    }
}

impl Interest {
    /// An equal one that shares nothing with this: its names are counted by the
    /// worker that has it, and workers do not wait for each other.
    pub fn apart(&self) -> Self {
        let apart = |names: &BTreeSet<Name>| names.iter().map(|name| Name::from(&**name)).collect();
        Self {
            phases: self.phases,
            request_fields: self.request_fields.clone(),
            response_fields: self.response_fields.clone(),
            clusters: apart(&self.clusters),
            retries: apart(&self.retries),
            routes: apart(&self.routes),
            preview: self.preview,
        }
    }

    /// Everything that is wrong with the answer, or what it says.
    pub fn check(raw: http_filter::Interest) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        let has = |phase| raw.phases.contains(phase);
        let phases = Phases {
            request: has(http_filter::Phases::REQUEST),
            request_trailers: has(http_filter::Phases::REQUEST_TRAILERS),
            response: has(http_filter::Phases::RESPONSE),
            response_trailers: has(http_filter::Phases::RESPONSE_TRAILERS),
            done: has(http_filter::Phases::DONE),
        };
        let request_fields = fields(&raw.request_fields, Field::of_request, &mut mistakes);
        let response_fields = fields(&raw.response_fields, Field::of_response, &mut mistakes);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self {
            phases,
            request_fields,
            response_fields,
            clusters: names(raw.clusters),
            retries: names(raw.retries),
            routes: names(raw.routes),
            preview: 0,
        })
    }

    /// What a filter of connections wants, which is called for each of them.
    pub fn of_connections(raw: connection_filter::Interest) -> Self {
        Self {
            phases: Phases {
                done: raw.done,
                ..Phases::default()
            },
            clusters: names(raw.clusters),
            preview: raw.preview as usize,
            ..Self::default()
        }
    }
}

fn fields(
    raw: &[String],
    parse: fn(&str) -> Option<Field>,
    mistakes: &mut Vec<String>,
) -> Vec<Field> {
    if raw.len() > MAX_FIELDS {
        let wanted = raw.len();
        mistakes.push(format!(
            "wants {wanted} fields with a head, of at most {MAX_FIELDS}"
        ));
        return Vec::new();
    }
    let mut good: Vec<Field> = Vec::with_capacity(raw.len());
    for name in raw {
        match parse(name) {
            // A value of a megabyte would be handed over as often.
            Some(field) if good.contains(&field) => {
                mistakes.push(format!("wants the field `{}` twice", name.escape_debug()));
            }
            Some(field) => good.push(field),
            None => mistakes.push(format!(
                "wants the field `{}`, which is no name of a field",
                name.escape_debug()
            )),
        }
    }
    good
}

fn names(raw: Vec<String>) -> BTreeSet<Name> {
    raw.into_iter().map(Name::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(request_fields: Vec<String>) -> http_filter::Interest {
        http_filter::Interest {
            phases: http_filter::Phases::REQUEST,
            request_fields,
            response_fields: vec!["x-one".into()],
            clusters: Vec::new(),
            retries: Vec::new(),
            routes: Vec::new(),
        }
    }

    #[track_caller]
    fn check(fields: Vec<String>, expected: &str) {
        assert_eq!(Interest::check(raw(fields)), Err(vec![expected.to_owned()]));
    }

    #[test]
    fn what_is_handed_over_with_a_head_has_a_bound() {
        let names = |count: usize| (0..count).map(|number| format!("x-{number}")).collect();
        let most = Interest::check(raw(names(MAX_FIELDS))).unwrap();
        assert_eq!(most.request_fields.len(), MAX_FIELDS);
        check(
            names(MAX_FIELDS + 1),
            "wants 1001 fields with a head, of at most 1000",
        );
        let twice = vec!["x-one".into(), ":path".into(), "X-One".into()];
        check(twice, "wants the field `X-One` twice");
    }
}
