//! A route as it works: checked, and made ready for requests.

use std::time::Duration;

use lockgate_sdk::Timeout;

use crate::edits::{Edits, Field};
use crate::matching::Conditions;
use crate::redirect::Redirect;
use crate::rewrite::PathChange;
use crate::split::Split;

/// A route.
#[derive(Debug)]
pub struct Route {
    pub name: Box<str>,
    pub conditions: Conditions,
    pub action: Action,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Action {
    Forward(Box<Forward>),
    Redirect(Box<Redirect>, Vec<Field>),
    Respond(Box<Respond>),
}

/// How a request is sent on.
#[derive(Debug)]
pub struct Forward {
    pub target: Target,
    /// The labels that an endpoint is to have.
    pub subset: Vec<(String, String)>,
    pub path: Option<PathChange>,
    pub authority: Option<Box<str>>,
    pub request: Edits,
    pub response: Edits,
    /// Those that the route has.
    pub timeouts: Vec<(Timeout, Duration)>,
    pub retry: Option<Box<str>>,
}

/// Where to.
#[derive(Debug)]
pub enum Target {
    Cluster(Box<str>),
    Split(Split),
}

/// An answer made here.
#[derive(Debug)]
pub struct Respond {
    pub status: u16,
    pub fields: Vec<Field>,
    pub body: Box<str>,
}

impl Route {
    /// Whether the response phase has something to do.
    pub fn edits_response(&self) -> bool {
        matches!(&self.action, Action::Forward(forward) if !forward.response.is_empty())
    }
}
