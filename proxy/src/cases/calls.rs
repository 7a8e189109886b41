//! Calls of the filter, answered from the case.

use std::cell::RefCell;
use std::rc::Rc;

use http::{HeaderMap, Method};
use tokio::sync::mpsc;

use crate::config::Name;
use crate::config::cases::{Answer, NoAnswer, SampleResponse};
use crate::filter::{CallFailed, Inbound, Outbound};

/// Calls in the order in which they were made.
pub type Made = Rc<RefCell<Vec<Call>>>;

/// A call as the filter made it.
#[derive(Debug)]
pub struct Call {
    pub cluster: Name,
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The case has an answer to it.
    pub is_answered: bool,
}

/// Answers calls for as long as any may come.
pub async fn serve(answers: Vec<Answer>, mut asked: mpsc::UnboundedReceiver<Outbound>, made: Made) {
    let mut used = vec![false; answers.len()];
    while let Some(call) = asked.recv().await {
        let answer = pick(&answers, &mut used, &call);
        let outcome = match answer.map(|answer| &answer.outcome) {
            Some(Ok(response)) => inbound(response, &call),
            Some(Err(NoAnswer::Timeout)) => Err(CallFailed::Timeout),
            Some(Err(NoAnswer::Unavailable)) | None => Err(CallFailed::Unavailable),
        };
        made.borrow_mut().push(Call {
            cluster: call.cluster,
            method: call.method,
            path: call.path.as_str().to_owned(),
            headers: call.headers,
            body: call.body.to_vec(),
            is_answered: answer.is_some(),
        });
        // Who waited may have given the call up.
        drop(call.answer.send(outcome));
    }
}

/// The first that fits and was not used, or else the last that fits.
fn pick<'a>(answers: &'a [Answer], used: &mut [bool], call: &Outbound) -> Option<&'a Answer> {
    let fits = |answer: &Answer| {
        answer.cluster == call.cluster
            && answer.method.as_ref().is_none_or(|own| *own == call.method)
            && answer
                .path
                .as_ref()
                .is_none_or(|own| own == call.path.as_str())
    };
    let mut fitting = (0..answers.len()).filter(|place| fits(&answers[*place]));
    let place = fitting
        .clone()
        .find(|place| !used[*place])
        .or_else(|| fitting.next_back())?;
    used[place] = true;
    Some(&answers[place])
}

/// Under the limit that the filter's calls have.
fn inbound(response: &SampleResponse, call: &Outbound) -> Result<Inbound, CallFailed> {
    let body = match call.method {
        Method::HEAD => Vec::new(),
        _ => response.body.pieces.concat(),
    };
    match body.len() <= call.max_bytes {
        true => Ok(Inbound {
            status: response.status,
            headers: response.headers.clone(),
            body,
        }),
        false => Err(CallFailed::TooLarge),
    }
}
