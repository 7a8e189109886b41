//! The way back from a failed call: every change to the exchange is noted with
//! what was there before, so that nothing has to be copied in advance.

use std::time::Duration;

use http::header::Entry;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use smallvec::SmallVec;

use super::timeouts::Timed;
use super::view::View;
use crate::balance::subsets::Label;
use crate::config::Name;

/// Values that a field had.
type Values = SmallVec<[HeaderValue; 1]>;

/// One change, as what undoes it.
#[derive(Debug)]
pub enum Undo {
    RequestField(HeaderName, Values),
    ResponseField(HeaderName, Values),
    Trailer(HeaderName, Values),
    Method(Method),
    Authority(Option<Authority>),
    Path(PathAndQuery),
    Status(StatusCode),
    Route(Option<Name>),
    Cluster(Option<Name>),
    Retry(Option<Name>),
    HashKey(Option<u64>),
    Subset(Box<[Label]>),
    /// How many mirrors there were.
    Mirrors(usize),
    /// An attribute that was not there before; it is the last.
    NewAttribute,
    Attribute(usize, String),
    /// A state that was not there before; it is the last.
    NewState,
    State(usize, Vec<u8>),
    Timeout(Timed, Option<Duration>),
}

/// The changes of one call, oldest first.
#[derive(Debug, Default)]
pub struct Journal(Vec<Undo>);

impl Journal {
    pub fn note(&mut self, undo: Undo) {
        self.0.push(undo);
    }

    /// The call went well.
    pub fn commit(&mut self) {
        self.0.clear();
    }

    /// The call failed: everything as it was before it.
    pub fn roll_back(&mut self, view: &mut View) {
        while let Some(undo) = self.0.pop() {
            apply(undo, view);
        }
        view.decisions.delay = Duration::ZERO;
    }
}

fn apply(undo: Undo, view: &mut View) {
    let decisions = &mut view.decisions;
    match undo {
        Undo::RequestField(name, values) => restore(&mut view.request.headers, &name, values),
        Undo::ResponseField(name, values) => {
            if let Some(response) = &mut view.response {
                restore(&mut response.headers, &name, values);
            }
        }
        Undo::Trailer(name, values) => {
            if let Some(trailers) = &mut view.trailers {
                restore(trailers, &name, values);
            }
        }
        Undo::Method(method) => view.request.method = method,
        Undo::Authority(authority) => view.request.authority = authority,
        Undo::Path(path) => view.request.path = path,
        Undo::Status(status) => {
            if let Some(response) = &mut view.response {
                response.status = status;
            }
        }
        Undo::Route(route) => decisions.route = route,
        Undo::Cluster(cluster) => decisions.cluster = cluster,
        Undo::Retry(retry) => decisions.retry = retry,
        Undo::HashKey(key) => decisions.hash_key = key,
        Undo::Subset(labels) => decisions.labels = labels,
        Undo::Mirrors(count) => decisions.mirrors.truncate(count),
        Undo::NewAttribute => drop(view.attributes.pop()),
        Undo::Attribute(place, value) => view.attributes[place].1 = value,
        Undo::NewState => drop(view.states.pop()),
        Undo::State(place, state) => view.states[place].1 = state,
        Undo::Timeout(which, before) => drop(decisions.timeouts.set(which, before)),
    }
}

fn restore(headers: &mut HeaderMap, name: &HeaderName, values: Values) {
    headers.remove(name);
    for value in values {
        headers.append(name.clone(), value);
    }
}

/// Replaces every value of a field and gives those it had.
pub fn set(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Values {
    match headers.entry(name) {
        Entry::Occupied(mut entry) => entry.insert_mult(value).collect(),
        Entry::Vacant(entry) => {
            entry.insert(value);
            Values::new()
        }
    }
}

/// Adds one value and gives those that the field had.
pub fn append(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Values {
    match headers.entry(name) {
        Entry::Occupied(mut entry) => {
            let before = entry.iter().cloned().collect();
            entry.append(value);
            before
        }
        Entry::Vacant(entry) => {
            entry.insert(value);
            Values::new()
        }
    }
}

/// Removes every value of a field and gives them.
pub fn remove(headers: &mut HeaderMap, name: &HeaderName) -> Values {
    match headers.entry(name) {
        Entry::Occupied(entry) => entry.remove_entry_mult().1.collect(),
        Entry::Vacant(_) => Values::new(),
    }
}
