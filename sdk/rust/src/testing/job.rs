//! The job of a filter, run when the test says so.

use std::marker::PhantomData;

use super::Outcome;
use super::call::{call, finish};
use crate::host::simulated::{Phase, with};
use crate::{Error, Job, Rest, config};

/// A job at work, beside the [`Harness`](super::Harness) that it comes from: both
/// share what is [`shared`](crate::shared), and the clusters that the test plays.
pub struct JobHarness<J> {
    job: J,
    /// What it does belongs to this thread.
    not_send: PhantomData<*const ()>,
}

impl<J: Job> JobHarness<J> {
    pub(super) fn new(json: &str) -> Result<Self, Error> {
        let config = config::decode(json).map_err(Error::new)?;
        Ok(JobHarness {
            job: J::create(config)?,
            not_send: PhantomData,
        })
    }

    /// Run it once. There is no exchange: of the outcome, verdict, calls and logs
    /// tell something.
    pub fn run(&mut self) -> Outcome<Rest> {
        let exchange = with(|simulated| std::mem::take(&mut simulated.exchange));
        let outcome = finish(call(Phase::Job, || self.job.run()));
        with(|simulated| simulated.exchange = exchange);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::http_client::{Call, CallError};
    use crate::prelude::*;
    use crate::testing::{self, Harness};
    use crate::{Error, Job, Rest, shared};

    /// Answers with what its job learned.
    struct Told;

    impl Filter for Told {
        type Config = String;

        fn create(_: String) -> Result<Self, ConfigErrors> {
            Ok(Told)
        }

        fn wants(&self) -> Wants {
            Wants::request()
        }

        fn on_request(&self, _: &Exchange) -> Result<Verdict, Error> {
            let told = shared::get("told").map(|entry| entry.value);
            Ok(Reply::new(200).body(told.unwrap_or_default()).into())
        }
    }

    /// Asks once for what its configuration names.
    struct Ask {
        path: String,
        asked: u32,
    }

    impl Job for Ask {
        type Filter = Told;

        fn create(path: String) -> Result<Self, Error> {
            match path.as_str() {
                "" => Err("nothing to ask for".into()),
                _ => Ok(Ask { path, asked: 0 }),
            }
        }

        fn run(&mut self) -> Result<Rest, Error> {
            self.asked += 1;
            log::info!("asking");
            let answer = Call::get(&self.path).send("oracle")?;
            shared::set("told", format!("{} {}", self.asked, answer.text()?), None)?;
            Ok(Rest::ForGood)
        }
    }

    #[test]
    fn what_a_job_learns_reaches_its_filter() {
        let mut harness = Harness::<Told>::new(json!("/a")).unwrap();
        let mut job = harness.job::<Ask>().unwrap();
        let denied = job.run();
        assert_eq!(denied.verdict, Err(CallError::Denied.into()));
        assert_eq!(denied.logs.len(), 1);
        harness.grant_call("oracle");
        harness.answer_calls(|call| Ok(Reply::text(200, call.path.clone())));
        let before = harness.request(testing::Exchange::get("/kept"));
        assert_eq!(before.reply().body, b"");
        let ran = job.run();
        assert_eq!((ran.verdict, ran.calls.len()), (Ok(Rest::ForGood), 1));
        let after = harness.request(testing::Exchange::get("/"));
        assert_eq!(after.reply().body, b"2 /a");
    }

    #[test]
    fn a_job_may_refuse_what_the_filter_took() {
        let harness = Harness::<Told>::new(json!("")).unwrap();
        let refused = harness.job::<Ask>().err();
        assert_eq!(refused, Some("nothing to ask for".into()));
    }
}
