//! A second try beside a first that takes long, at another endpoint.
//!
//! Whichever has a good answer first is the one that counts. The other is dropped, which
//! breaks it off: its connection is closed, or its stream reset. That blames nobody, or who is
//! only slower than others would be ejected. To the cluster's budget the second is a retry.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin as Pinned, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::forward::{Answered, Asked, attempt};
use super::pool::{Pick, WorkerEndpoint};
use super::replay::Spare;
use super::request::{Progress, ToSend, TryEnd};
use super::retry::{self, Outcome, Tries};
use super::worker_cluster::WorkerCluster;
use crate::balance::hedge::{Hedge, Rule};
use crate::balance::retry_budget::Tried;
use crate::cluster::RetryPermit;
use crate::config::{Name, RetryMethods, RetryPolicy};
use crate::deadline::{Alarm, before};
use crate::error::{ErrorKind, ProxyError};

/// Whether there may be a second try beside the first: where the policy says so, twice does
/// no harm, and the hop before does not do so itself.
pub(super) fn may_hedge(asked: &Asked<'_>) -> bool {
    let is_covered = || {
        let covered = asked.terms.told.covered;
        covered.is_some_and(|covered| covered.hedges)
    };
    asked.terms.retry.is_some_and(|policy| {
        let is_repeatable = policy.methods == RetryMethods::Any || asked.is_idempotent;
        policy.hedge.is_some() && is_repeatable && asked.upgrade.is_none() && !is_covered()
    })
}

/// The first try, perhaps one beside it, and those that follow. Dropping the future breaks
/// off what is under way. It is boxed here: no other exchange has room for two tries.
pub(super) fn hedged<'a>(
    cluster: &'a WorkerCluster,
    pick: Pick,
    request: ToSend,
    asked: &'a mut Asked<'_>,
    spare: Option<Box<Spare>>,
    began: Instant,
) -> Pinned<Box<dyn Future<Output = Result<Answered, ProxyError>> + 'a>> {
    Box::pin(async move {
        let first = First {
            endpoint: Rc::clone(&pick.endpoint),
            cluster,
            asked,
            spare: spare.as_deref(),
            began,
            waits_for_client: !spare.as_deref().is_some_and(Spare::is_complete),
        };
        let counted = first.or_another(pick, request).await;
        let tries = Tries {
            cluster,
            asked,
            spare,
            last: counted.endpoint,
            began: counted.began,
            tried: counted.other.into_iter().collect(),
            was_free: false,
        };
        match retry::may_go_on(&counted.outcome, tries.asked) {
            true => tries.go_on(counted.outcome).await,
            false => counted.outcome.map_err(|failed| failed.error),
        }
    })
}

/// A try, and what it is to be hedged by.
struct First<'a, 'b> {
    cluster: &'a WorkerCluster,
    asked: &'a Asked<'b>,
    spare: Option<&'a Spare>,
    endpoint: Rc<WorkerEndpoint>,
    began: Instant,
    /// At its beginning a body is still to come.
    waits_for_client: bool,
}

/// The try that counts.
struct Counted {
    outcome: Outcome,
    endpoint: Rc<WorkerEndpoint>,
    began: Instant,
    /// Where else it was tried.
    other: Option<Rc<WorkerEndpoint>>,
}

/// All that a second try takes.
type Second = (Pick, ToSend, RetryPermit);

impl First<'_, '_> {
    async fn or_another(self, pick: Pick, request: ToSend) -> Counted {
        let mut first = pin!(attempt(self.cluster, pick, request, self.asked, self.began));
        let outcome = match self.delay() {
            Some(delay) => {
                let mut alarm = Alarm::default();
                before(&mut alarm, self.began + delay, first.as_mut()).await
            }
            None => Some(first.as_mut().await),
        };
        let outcome = match outcome {
            Some(outcome) => outcome,
            None => match self.second() {
                Some(second) => return self.beside(first, second).await,
                None => first.await,
            },
        };
        self.learn(&outcome);
        Counted {
            outcome,
            endpoint: self.endpoint,
            began: self.began,
            other: None,
        }
    }

    /// If the whole request is there, somebody else to ask, and a token in the budget.
    fn second(&self) -> Option<Second> {
        let progress = self.asked.progress;
        let tried = [Rc::clone(&self.endpoint)];
        let request = self.spare?.copy()?;
        let pick = self.cluster.pick_other(Instant::now(), progress, &tried)?;
        let permit = retry::spend(self.cluster, progress, Tried::Seen)?;
        Some((pick, request, permit))
    }

    async fn beside(
        self,
        mut first: Pinned<&mut impl Future<Output = Outcome>>,
        (pick, mut request, _permit): Second,
    ) -> Counted {
        let (now, stats) = (Instant::now(), self.cluster.stats());
        stats.retries.add(1);
        stats.hedges.add(1);
        let asked = Asked {
            try_deadline: self.asked.terms.try_deadline(now),
            ..self.asked.clone()
        };
        asked.terms.tell(request.headers_mut(), now);
        let other = Rc::clone(&pick.endpoint);
        let mut both = Both {
            progress: asked.progress,
            tries: [(&self.endpoint, self.began), (&other, now)],
            counts: FIRST,
            end_of_other: TryEnd::GivenUp,
        };
        let mut second = pin!(attempt(self.cluster, pick, request, &asked, now));
        let (mut of_first, mut of_second) = (None, None);
        let counts = poll_fn(|context| {
            poll_once(first.as_mut(), &mut of_first, context);
            if self.is_good(of_first.as_ref()) {
                return Poll::Ready(FIRST);
            }
            poll_once(second.as_mut(), &mut of_second, context);
            if self.is_good(of_second.as_ref()) {
                return Poll::Ready(SECOND);
            }
            match (&of_first, &of_second) {
                // Any answer rather than none.
                (Some(Err(_)), Some(_)) => Poll::Ready(SECOND),
                (Some(Ok(_)), Some(_)) => Poll::Ready(FIRST),
                (None, _) | (_, None) => Poll::Pending,
            }
        })
        .await;
        let (outcome, loser) = match counts {
            SECOND => (of_second, of_first),
            _ => (of_first, of_second),
        };
        both.counts = counts;
        both.end_of_other = loser.as_ref().map_or(TryEnd::Overtaken, retry::end_of);
        drop(both);
        if let Some(loser) = loser {
            retry::let_go(loser);
        }
        let outcome = outcome.expect("a try counts once it is over");
        if counts == SECOND && self.is_good(Some(&outcome)) {
            stats.hedges_won.add(1);
        }
        self.learn(&outcome);
        let (endpoint, began, other) = match counts {
            SECOND => (other, now, self.endpoint),
            _ => (self.endpoint, self.began, other),
        };
        Counted {
            outcome,
            endpoint,
            began,
            other: Some(other),
        }
    }

    fn is_good(&self, outcome: Option<&Outcome>) -> bool {
        let policy = self.asked.terms.retry;
        outcome.is_some_and(|outcome| match outcome {
            Ok(answered) => policy.is_none_or(|policy| !retry::wants(policy, answered)),
            Err(_) => false,
        })
    }

    fn delay(&self) -> Option<Duration> {
        let policy = self.asked.terms.retry?;
        self.cluster
            .hedges
            .of(policy, policy.hedge?, |hedge| hedge.delay())
    }

    /// What the request took counts, also where its first try was cut off: else what is slow
    /// would never be seen. What failed at once says nothing, nor does what waits for a client.
    fn learn(&self, outcome: &Outcome) {
        let is_late = outcome.as_ref().is_err_and(|failed| {
            matches!(
                failed.error.kind,
                ErrorKind::TryTimeout | ErrorKind::AnswerTimeout
            )
        });
        if !self.waits_for_client
            && (is_late || self.is_good(Some(outcome)))
            && let Some(policy) = self.asked.terms.retry
            && let Some(rule) = policy.hedge
        {
            let took = self.began.elapsed();
            let hedges = &self.cluster.hedges;
            hedges.of(policy, rule, |hedge| hedge.observe(took));
        }
    }
}

const FIRST: usize = 0;
const SECOND: usize = 1;

/// Until it is over.
fn poll_once(
    one: Pinned<&mut impl Future<Output = Outcome>>,
    outcome: &mut Option<Outcome>,
    context: &mut Context<'_>,
) {
    if outcome.is_none()
        && let Poll::Ready(found) = one.poll(context)
    {
        *outcome = Some(found);
    }
}

/// Two tries that are under way. Dropped, it notes which of them counts, and how the other
/// ended.
struct Both<'a> {
    progress: &'a Progress,
    tries: [(&'a Rc<WorkerEndpoint>, Instant); 2],
    counts: usize,
    end_of_other: TryEnd,
}

impl Drop for Both<'_> {
    fn drop(&mut self) {
        let (other, other_began) = self.tries[1 - self.counts];
        let (counted, began) = self.tries[self.counts];
        self.progress
            .ended(&other.shared, self.end_of_other, other_began);
        self.progress.goes_on_at(&counted.shared, began);
    }
}

/// Policies that hedge in one cluster, of which a worker knows what they have seen.
const MAX_KNOWN: usize = 32;

/// What one worker has seen of a cluster's requests, for each policy by which it hedges. Kept
/// where the cluster is made anew.
#[derive(Default)]
pub(super) struct Hedges(RefCell<SmallVec<[(Name, Rule, Hedge); 1]>>);

impl Hedges {
    fn of<T>(&self, policy: &RetryPolicy, rule: Rule, what: impl FnOnce(&mut Hedge) -> T) -> T {
        let mut known = self.0.borrow_mut();
        let place = known.iter().position(|(name, ..)| *name == policy.name);
        let place = place.unwrap_or_else(|| {
            // Reloads may name policies anew as often as they like.
            if known.len() == MAX_KNOWN {
                known.remove(0);
            }
            known.push((policy.name.clone(), rule, Hedge::new(rule)));
            known.len() - 1
        });
        let (_, of, hedge) = &mut known[place];
        if *of != rule {
            (*of, *hedge) = (rule, Hedge::new(rule));
        }
        what(hedge)
    }
}
