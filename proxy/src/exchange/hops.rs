//! How much time a request has, and what the hop before and the next one know of that.

use std::time::Duration;

use http::{HeaderMap, Method};
use tokio::time::Instant;

use super::Scene;
use super::begin::Asked;
use crate::config::{RetryMethods, RetryPolicy};
use crate::error::ErrorKind;
use crate::filter::View;
use crate::filter::timeouts::Timed;
use crate::http::Framing;
use crate::http::hops::{self, Covered};
use crate::upstream::Told;

/// What the client, or a hop before, said of a request. It can only make things stricter.
#[derive(Debug, Default)]
pub struct Hop {
    /// What was left when the request came.
    left: Option<Duration>,
    /// Whether it said so in the words of gRPC.
    has_grpc_timeout: bool,
    /// What it does again itself.
    covered: Option<Box<Covered>>,
}

/// When an exchange must be over, and why.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    pub at: Instant,
    pub kind: ErrorKind,
}

impl Hop {
    /// `is_told` where there may be a field of a hop before.
    pub fn read(headers: &HeaderMap, is_told: bool, is_grpc: bool) -> Self {
        if !is_told && !is_grpc {
            return Self::default();
        }
        let deadline = hops::read_deadline(headers);
        let grpc_timeout = match is_grpc {
            true => hops::read_grpc_timeout(headers),
            false => None,
        };
        let covers = headers.contains_key(hops::RETRY);
        Self {
            left: deadline.into_iter().chain(grpc_timeout).min(),
            has_grpc_timeout: grpc_timeout.is_some(),
            covered: covers.then(|| Box::new(Covered::read(headers))),
        }
    }
}

impl Scene<'_> {
    /// When the whole exchange must be over.
    pub(super) fn limit(&self, asked: &Asked, view: &View) -> Limit {
        let timeouts = &self.listener.shared.config.timeouts;
        let asked_for = view.decisions.timeouts[Timed::Total];
        let total = asked_for.map_or(timeouts.total, |total| total.min(timeouts.longest));
        let own = Limit {
            at: (self.started + total).into(),
            kind: ErrorKind::TotalTimeout,
        };
        let left = asked
            .hop
            .left
            .and_then(|left| self.started.checked_add(left));
        match left.map(Instant::from) {
            Some(at) if at < own.at => Limit {
                at,
                kind: ErrorKind::DeadlineExceeded,
            },
            Some(_) | None => own,
        }
    }
}

/// What the next hop is told, which is nothing where nobody has said anything.
pub fn told<'a>(asked: &'a Asked, view: &View) -> Told<'a> {
    Told {
        deadline: asked.hop.left.is_some() || view.decisions.timeouts[Timed::Total].is_some(),
        grpc_timeout: asked.hop.has_grpc_timeout,
        is_grpc: asked.is_grpc,
        covered: asked.hop.covered.as_deref(),
    }
}

/// Tells the next hop what this one does again, so that only one of both does.
pub fn tell_retries(
    headers: &mut HeaderMap,
    asked: &Asked,
    policy: &RetryPolicy,
    method: &Method,
    framing: Framing,
) {
    let is_repeatable = policy.methods == RetryMethods::Any || method.is_idempotent();
    let hedges = policy.hedge.is_some() && asked.upgrade.is_none();
    let answers = &policy.on.answers;
    if policy.attempts > 1
        && is_repeatable
        && !framing.exceeds(policy.max_body as u64)
        && (hedges || !answers.is_none())
    {
        let own = Covered {
            answers: answers.clone(),
            hedges,
        };
        own.and(asked.hop.covered.as_deref()).write(headers);
    }
}
