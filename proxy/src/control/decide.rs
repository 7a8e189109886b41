//! What becomes of filters' versions between reloads: one that fails is replaced, and a
//! canary takes its filter's place or is given up. Each is a publish of the same snapshot
//! with a version changed.

use std::sync::Arc;

use super::Control;
use super::admin::{Decide, ReloadOutcome};
use super::versions::Event;
use crate::config::Name;
use crate::snapshot::{Reason, Snapshot, Standing};
use crate::state::{Decision, Verdict};

impl Control {
    /// Serves at once, and lets jobs follow.
    async fn go_on_with(&mut self, next: Snapshot) {
        let next = Arc::new(next);
        self.serve(next.clone());
        self.jobs.follow(&next).await;
    }

    /// Does what a filter's versions call for. No file is read.
    pub(super) async fn act(&mut self, event: Event) {
        match event {
            Event::Fallen { filter, why } => self.fall_back(&filter, &why).await,
            Event::Decided { filter, decision } => self.end_trial(&filter, &decision).await,
        }
    }

    /// Decides about a canary because somebody asked for it.
    pub(super) async fn decide(&mut self, decide: Decide) {
        let before = self.published.load();
        let Decide {
            filter,
            verdict,
            seen,
            reply,
        } = decide;
        let event = self.versions.decide(&filter, verdict, &seen, &before);
        let outcome = match event {
            Ok(event) => {
                self.act(event).await;
                ReloadOutcome::published(&self.published.load(), &before, Vec::new())
            }
            Err(error) => ReloadOutcome {
                ok: false,
                generation: before.generation,
                mistakes: vec![error.to_string()],
                ..ReloadOutcome::default()
            },
        };
        // Who asked may have gone away meanwhile.
        reply.send(outcome).ok();
    }

    /// Ends the trial of a canary, with it in the filter's place or without it.
    async fn end_trial(&mut self, filter: &Name, decision: &Decision) {
        let mut next = self.published.load().next();
        let tried = next.without_canary(filter);
        let canary = tried.as_ref().map(|(canary, _)| canary.clone());
        let reason = match decision.verdict {
            Verdict::Promoted => Reason::Promoted,
            Verdict::Aborted => Reason::Aborted,
        };
        if let (Reason::Promoted, Some((canary, origin))) = (reason, tried) {
            next.replace(&canary, origin);
        }
        let standing = Standing {
            filter: filter.clone(),
            reason,
            why: vec![decision.why.clone()],
        };
        tracing::warn!(
            why = decision.why,
            canary = canary.map(|canary| canary.module().digest().to_owned()),
            "{standing}"
        );
        next.note(standing);
        self.go_on_with(next).await;
    }

    /// Puts the last good version of a filter in the place of one that failed.
    async fn fall_back(&mut self, filter: &Name, why: &str) {
        let current = self.published.load();
        let (loader, past) = (self.loader.clone(), self.versions.past());
        let (name, known) = (filter.clone(), current.clone());
        let good = tokio::task::spawn_blocking(move || loader.good(&name, &known, &past));
        let Ok(Some((good, origin))) = good.await else {
            tracing::error!(
                %filter,
                why,
                "a new version fails, and there is no good one to go back to; `on_error` applies"
            );
            return;
        };
        let standing = Standing {
            filter: filter.clone(),
            reason: Reason::FellBack,
            why: vec![why.to_owned()],
        };
        tracing::error!(
            why,
            from = current.filter(filter).map(|bad| bad.module().digest()),
            to = good.module().digest(),
            "{standing}"
        );
        let mut next = current.next();
        next.replace(&good, origin);
        next.without_canary(filter);
        next.note(standing);
        self.go_on_with(next).await;
    }
}
