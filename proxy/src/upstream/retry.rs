//! Whether a request is tried again, and the tries that follow its first one.

use std::pin::Pin as Pinned;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{StatusCode, Version};
use http_body::Body;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::classify::{grpc_status, retry_after};
use super::forward::{Answered, Asked, Failed, Received, Stage, attempt, fresh};
use super::pool::{Pick, WorkerEndpoint};
use super::replay::Spare;
use super::request::{Progress, ToSend, TryEnd};
use super::worker_cluster::WorkerCluster;
use crate::balance::retry_budget::{Denied, Tried};
use crate::cluster::RetryPermit;
use crate::config::{RetryMethods, RetryPolicy};
use crate::error::{ErrorKind, ProxyError};
use crate::http::grpc;
use crate::stats::NoRetry;

/// Tries in all without a policy.
const DEFAULT_ATTEMPTS: u32 = 3;

/// Of the body of an answer that is not passed on: with no more the connection is kept.
const MAX_DRAINED: u64 = 16 * 1024;

/// What came of one try.
pub(super) type Outcome = Result<Answered, Failed>;

/// Whether what came of the first try may not be the last word. Cheap, for all that went well.
pub(super) fn may_go_on(first: &Outcome, asked: &Asked<'_>) -> bool {
    match first {
        Ok(answered) => asked
            .terms
            .retry
            .is_some_and(|policy| wants(policy, answered)),
        Err(_) => true,
    }
}

/// A token of the cluster's budget; counts and notes that there is none.
pub(super) fn spend(
    cluster: &WorkerCluster,
    progress: &Progress,
    tried: Tried,
) -> Option<RetryPermit> {
    let token = token(cluster, tried);
    token.map_err(|why| deny(cluster, progress, why)).ok()
}

fn token(cluster: &WorkerCluster, tried: Tried) -> Result<RetryPermit, NoRetry> {
    let cluster = cluster.cluster();
    let most = cluster.config.bounds.limits.retries;
    cluster
        .retry_tokens
        .spend(most, tried)
        .map_err(|why| match why {
            Denied::Spent => NoRetry::Budget,
            Denied::AtOnce => NoRetry::AtOnce,
            Denied::Limit => NoRetry::Limit,
        })
}

fn deny(cluster: &WorkerCluster, progress: &Progress, why: NoRetry) {
    cluster.stats().retries_denied.count(why);
    progress.not_retried(why);
}

/// The tries of one request.
pub(super) struct Tries<'a, 'b> {
    pub cluster: &'a WorkerCluster,
    pub asked: &'a mut Asked<'b>,
    pub spare: Option<Box<Spare>>,
    /// Where it was tried last.
    pub last: Rc<WorkerEndpoint>,
    /// When that began.
    pub began: Instant,
    /// Where else it was tried until now.
    pub tried: Endpoints,
    /// One of its tries was none, since the connection was dead.
    pub was_free: bool,
}

/// What follows a try.
struct Next {
    request: ToSend,
    wait: Duration,
    /// Where it is known already.
    pick: Option<Pick>,
    /// It is no try, and on a connection of its own.
    is_free: bool,
    permit: Option<RetryPermit>,
}

type Plan = (ToSend, Duration, Option<RetryPermit>);

pub(super) type Endpoints = SmallVec<[Rc<WorkerEndpoint>; 3]>;

/// Who is tried next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// Once more, since the connection was dead when the request came.
    Again,
    /// One that was not tried.
    Other,
    /// One that was not tried if there is one.
    Any,
}

impl Tries<'_, '_> {
    /// Tries on, until there is an answer to be passed on or nothing more to be done.
    /// Dropping the future breaks off the try that is under way.
    pub async fn go_on(mut self, first: Outcome) -> Result<Answered, ProxyError> {
        let mut outcome = first;
        let mut tried = std::mem::take(&mut self.tried);
        let mut _permit = None;
        let mut count = 1 + tried.len() as u32;
        loop {
            // The next one has a permit of its own.
            _permit = None;
            // As long as the body's beginning is not what comes next again.
            let was_sent = was_sent_whole(&mut outcome);
            let Some(next) = self.next(&mut outcome, count, &mut tried) else {
                return outcome.map_err(|failed| failed.error);
            };
            let progress = self.asked.progress;
            progress.ended(&self.last.shared, end_of(&outcome), self.began);
            let error = match outcome {
                Ok(answered) => {
                    discard(answered, was_sent);
                    None
                }
                Err(failed) => Some(failed.error),
            };
            if !next.wait.is_zero() {
                tokio::time::sleep(next.wait).await;
            }
            let now = Instant::now();
            let pick = match next.pick {
                Some(pick) => pick,
                None => match self.any(now, &mut tried) {
                    Ok(pick) => pick,
                    Err(why) => return Err(error.unwrap_or_else(|| why.into())),
                },
            };
            self.cluster.stats().retries.add(1);
            _permit = next.permit;
            self.last = Rc::clone(&pick.endpoint);
            self.began = now;
            progress.began(now);
            self.asked.try_deadline = self.asked.terms.try_deadline(now);
            let mut request = next.request;
            self.asked.terms.tell(request.headers_mut(), now);
            count += u32::from(!next.is_free);
            self.was_free |= next.is_free;
            outcome = match next.is_free {
                true => fresh(self.cluster, pick, request, self.asked).await,
                false => attempt(self.cluster, pick, request, self.asked, now).await,
            };
        }
    }

    /// One that was not tried, or else any: then all were, and may be once more.
    fn any(&self, now: Instant, tried: &mut Endpoints) -> Result<Pick, ErrorKind> {
        let progress = self.asked.progress;
        let other = self.cluster.pick_other(now, progress, tried);
        other.map_or_else(
            || {
                tried.clear();
                self.cluster.pick_again(now, progress)
            },
            Ok,
        )
    }

    /// Whether there is another try, with all that it takes. What denies one that would
    /// have been is counted.
    fn next(&self, outcome: &mut Outcome, count: u32, tried: &mut Endpoints) -> Option<Next> {
        let policy = self.asked.terms.retry;
        let mut whom = self.whom(outcome)?;
        let (now, progress) = (Instant::now(), self.asked.progress);
        let again = match whom {
            Whom::Again => self.again(now, tried),
            Whom::Other | Whom::Any => None,
        };
        if again.is_none() && whom == Whom::Again {
            // It has as many as it may meanwhile.
            whom = Whom::Other;
        }
        let most = policy.map_or(DEFAULT_ATTEMPTS, |policy| policy.attempts);
        if whom != Whom::Again && count >= most {
            return None;
        }
        if whom != Whom::Again {
            tried.push(Rc::clone(&self.last));
        }
        let pick = match whom {
            Whom::Again => again,
            Whom::Other => Some(self.cluster.pick_other(now, progress, tried)?),
            // While the answer that is there can still be given.
            Whom::Any if self.cluster.limits_retries_of_endpoints() => {
                let other = self.cluster.pick_other(now, progress, tried);
                let pick = other.or_else(|| {
                    let is_limited = self.cluster.has_other(now, progress, tried);
                    (!is_limited).then(|| self.any(now, tried).ok())?
                });
                if pick.is_none() {
                    deny(self.cluster, progress, NoRetry::Limit);
                    return None;
                }
                pick
            }
            // Once it is time.
            Whom::Any => None,
        };
        match self.plan(outcome, count, whom, tried) {
            Ok((request, wait, permit)) => Some(Next {
                request,
                wait,
                pick,
                is_free: whom == Whom::Again,
                permit,
            }),
            Err(why) => {
                deny(self.cluster, progress, why);
                None
            }
        }
    }

    /// Elsewhere, since the endpoint may be as dead as the connection was; where there is
    /// nobody else, or keys have endpoints of their own, there.
    fn again(&self, now: Instant, tried: &mut Endpoints) -> Option<Pick> {
        let balance = &self.cluster.cluster().config.balance;
        let progress = self.asked.progress;
        if balance.hashing().is_none() {
            tried.push(Rc::clone(&self.last));
            let other = self.cluster.pick_other(now, progress, tried);
            if other.is_some() {
                return other;
            }
            tried.pop();
        }
        self.cluster.again(Rc::clone(&self.last), now)
    }

    fn whom(&self, outcome: &Outcome) -> Option<Whom> {
        let kind = outcome.as_ref().err().map(|failed| failed.error.kind);
        if let Some(ErrorKind::ConnectionLimit | ErrorKind::PendingLimit) = kind {
            // That is of all of the cluster's endpoints.
            return None;
        }
        let Some(policy) = self.asked.terms.retry else {
            // Where it can be sent again as it is.
            let failed = outcome.as_ref().err()?;
            failed.request.as_ref()?;
            return Some(match failed.reused && !self.was_free {
                true => Whom::Again,
                false => Whom::Other,
            });
        };
        if kind == Some(ErrorKind::EndpointLimit) {
            // Nobody has seen it, and others may have room.
            return Some(Whom::Other);
        }
        let is_repeatable = policy.methods == RetryMethods::Any || self.asked.is_idempotent;
        let failed = match outcome {
            Ok(answered) => return (is_repeatable && wants(policy, answered)).then_some(Whom::Any),
            Err(failed) => failed,
        };
        if failed.reused && failed.request.is_some() && !self.was_free {
            return Some(Whom::Again);
        }
        let on = &policy.on;
        let is_late = on.try_timeout
            && matches!(
                failed.error.kind,
                ErrorKind::TryTimeout | ErrorKind::AnswerTimeout
            );
        let is_wanted = match failed.stage {
            Stage::Connecting => on.connect_failure || is_late,
            Stage::Unsent => on.reset || on.connect_failure,
            Stage::Refused => on.refused_stream,
            Stage::Sent if !is_repeatable => false,
            Stage::Sent => is_late || on.reset && failed.error.kind == ErrorKind::UpstreamReset,
        };
        is_wanted.then_some(Whom::Any)
    }

    fn plan(
        &self,
        outcome: &mut Outcome,
        count: u32,
        whom: Whom,
        tried: &[Rc<WorkerEndpoint>],
    ) -> Result<Plan, NoRetry> {
        let asked = &*self.asked;
        if asked.terms.told.covered.is_some() && self.is_covered(outcome) {
            return Err(NoRetry::OuterHop);
        }
        let has_request = outcome
            .as_ref()
            .is_err_and(|failed| failed.request.is_some());
        if !has_request && !self.spare.as_ref().is_some_and(|spare| spare.is_whole()) {
            return Err(NoRetry::Body);
        }
        let wait = self
            .wait(outcome, count, whom, tried)
            .ok_or(NoRetry::Deadline)?;
        // There are no more of these than connections were kept.
        let permit = match whom {
            Whom::Again => None,
            Whom::Other | Whom::Any => Some(token(self.cluster, tried_by(outcome))?),
        };
        let given_back = outcome
            .as_mut()
            .err()
            .and_then(|failed| failed.request.take());
        let spare = || self.spare.as_ref().and_then(|spare| spare.request());
        let request = given_back.or_else(spare);
        Ok((request.ok_or(NoRetry::Body)?, wait, permit))
    }

    /// Whether the hop before tries again what this would be answered with.
    fn is_covered(&self, outcome: &Outcome) -> bool {
        let (status, told) = match outcome {
            Ok(answered) => (answered.parts.status, grpc_status(&answered.parts.headers)),
            Err(failed) => {
                let status = StatusCode::from_u16(failed.error.kind.status());
                (status.unwrap_or(StatusCode::BAD_GATEWAY), None)
            }
        };
        let covered = self.asked.terms.told.covered;
        let covered = covered.map(|covered| &covered.answers);
        covered.is_some_and(|answers| match self.asked.terms.told.is_grpc {
            true => answers.has_grpc(told.unwrap_or_else(|| grpc::status_of(status))),
            false => answers.has_status(status.as_u16()),
        })
    }

    /// How long to wait before it. `None` if there is not so much time.
    fn wait(
        &self,
        outcome: &Outcome,
        count: u32,
        whom: Whom,
        tried: &[Rc<WorkerEndpoint>],
    ) -> Option<Duration> {
        let now = Instant::now();
        let left = self.asked.terms.left(now);
        let Some(policy) = self.asked.terms.retry.filter(|_| whom != Whom::Again) else {
            return (!left.is_zero()).then_some(Duration::ZERO);
        };
        let answered = outcome.as_ref().ok();
        let asked_for = answered.and_then(|answered| retry_after(&answered.parts.headers));
        // Others have not asked for it.
        let is_meant = || !self.cluster.has_other(now, self.asked.progress, tried);
        let asked_for = asked_for.filter(|_| is_meant());
        let asked_for = asked_for.map(|time| time.min(policy.max_retry_after));
        policy
            .backoff
            .wait(count - 1, fastrand::f64(), asked_for, left)
    }
}

/// Whether an answer is one that the policy tries again.
pub(super) fn wants(policy: &RetryPolicy, answered: &Answered) -> bool {
    let answers = &policy.on.answers;
    answers.has_status(answered.parts.status.as_u16())
        || answers.grpc != 0
            && grpc_status(&answered.parts.headers).is_some_and(|status| answers.has_grpc(status))
}

pub(super) fn end_of(outcome: &Outcome) -> TryEnd {
    match outcome {
        Ok(answered) => match grpc_status(&answered.parts.headers) {
            Some(status) => TryEnd::Grpc(status),
            None => TryEnd::Status(answered.parts.status.as_u16()),
        },
        Err(failed) => TryEnd::Error(failed.error.kind),
    }
}

/// Whether the last try reached nobody. A handshake that fails is work for an origin.
fn tried_by(outcome: &Outcome) -> Tried {
    match outcome.as_ref().err() {
        Some(Failed {
            stage: Stage::Unsent,
            ..
        }) => Tried::Unseen,
        Some(failed) => tried_to_reach(failed.error.kind),
        None => Tried::Seen,
    }
}

/// The same of a try that ended so.
pub(super) fn tried_to_reach(kind: ErrorKind) -> Tried {
    match kind {
        ErrorKind::ConnectFailed | ErrorKind::EndpointLimit => Tried::Unseen,
        _ => Tried::Seen,
    }
}

/// Whether all of the request went, of one of HTTP/1 that is answered.
fn was_sent_whole(outcome: &mut Outcome) -> bool {
    match outcome {
        Ok(answered) => match &mut answered.received {
            Received::Http1(_, lease) => lease.connection().unsent_body().is_none(),
            Received::Http2(..) => false,
        },
        Err(_) => false,
    }
}

/// A try that does not count is over.
pub(super) fn let_go(mut outcome: Outcome) {
    let was_sent = was_sent_whole(&mut outcome);
    if let Ok(answered) = outcome {
        discard(answered, was_sent);
    }
}

/// Gives the connection back if all of the answer has come. Waits for nothing.
fn discard(answered: Answered, was_sent: bool) {
    let Received::Http1(mut incoming, mut lease) = answered.received else {
        return;
    };
    let is_small = incoming
        .size_hint()
        .exact()
        .is_some_and(|size| size <= MAX_DRAINED);
    if !is_small || answered.parts.version != Version::HTTP_11 || !was_sent {
        return;
    }
    let mut quiet = Context::from_waker(Waker::noop());
    let mut looked = false;
    while !incoming.is_end_stream() {
        match Pinned::new(&mut incoming).poll_frame(&mut quiet) {
            Poll::Ready(Some(Ok(_))) => looked = false,
            Poll::Ready(Some(Err(_))) => return,
            Poll::Ready(None) => break,
            Poll::Pending if looked => return,
            Poll::Pending => {
                looked = true;
                lease.connection().poll(&mut quiet);
            }
        }
    }
    drop(incoming);
    lease.finish();
}
