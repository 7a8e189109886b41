//! The interface `http-client`. Calls are answered the moment they start; until
//! the filter waits for them they count as under way.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::{Head, Phase, Simulated, request, with};
use crate::http_client::{Answer, Call, CallError};
use crate::testing::{PutSecret, SentCall};
use crate::{Reply, field};

/// What one filter may call, and what a test makes of it.
pub(crate) struct Client {
    pub(crate) granted: BTreeSet<String>,
    pub(crate) answerer: Option<Answerer>,
    /// Under way in one call of the filter.
    pub(crate) max_calls: usize,
    /// Of an answer's body.
    pub(crate) max_call_bytes: usize,
    /// Since the last outcome.
    sent: Vec<Sent>,
}

pub(crate) type Answerer = Box<dyn FnMut(&SentCall) -> Result<Reply, CallError>>;

/// Of two owners: the proxy, which tells of it, and the filter, which may drop it.
type Sent = Rc<RefCell<Record>>;

#[derive(Debug)]
struct Record {
    call: SentCall,
    /// What waiting will come to. `None`: no longer under way.
    coming: Option<Result<Answer, CallError>>,
}

impl Default for Client {
    fn default() -> Self {
        Client {
            granted: BTreeSet::new(),
            answerer: None,
            max_calls: 16,
            max_call_bytes: 1024 * 1024,
            sent: Vec::new(),
        }
    }
}

impl Client {
    /// The filter's call is over, and with it what it left under way.
    pub(crate) fn cancel_all(&mut self) {
        for sent in &self.sent {
            sent.borrow_mut().coming = None;
        }
    }

    /// What went out since this was asked last.
    pub(crate) fn take_sent(&mut self) -> Vec<SentCall> {
        let told = |sent: Sent| sent.borrow().call.clone();
        std::mem::take(&mut self.sent)
            .into_iter()
            .map(told)
            .collect()
    }

    fn under_way(&self) -> usize {
        let is_under_way = |sent: &&Sent| sent.borrow().coming.is_some();
        self.sent.iter().filter(is_under_way).count()
    }
}

/// A call as the filter holds it, or why it did not go out.
#[derive(Debug)]
pub(crate) struct UnderWay(Result<Sent, CallError>);

pub(crate) fn start(cluster: &str, call: &Call) -> UnderWay {
    let sent = with(|simulated| build(simulated, cluster, call)).map(|call| {
        let coming = Some(answer(&call));
        Rc::new(RefCell::new(Record { call, coming }))
    });
    if let Ok(sent) = &sent {
        with(|simulated| simulated.client.sent.push(sent.clone()));
    }
    UnderWay(sent)
}

impl UnderWay {
    pub(crate) fn wait(self) -> Result<Answer, CallError> {
        let sent = self.0.as_ref().map_err(CallError::clone)?;
        match with(|simulated| simulated.phase) {
            Phase::Request | Phase::Response | Phase::Job => {}
            Phase::Outside | Phase::Transform | Phase::Trailers | Phase::Done => {
                return Err(cannot_wait());
            }
        }
        let mut record = sent.borrow_mut();
        let Some(answer) = record.coming.take() else {
            let message = "the call was cancelled when its phase ended";
            return Err(CallError::Other(message.to_owned()));
        };
        record.call.answer = Some(answer.clone());
        answer
    }
}

/// What was waited for is no longer under way; the rest is cancelled.
impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Ok(sent) = &self.0 {
            sent.borrow_mut().coming = None;
        }
    }
}

/// The call as it goes out, or why it does not.
fn build(simulated: &Simulated, cluster: &str, call: &Call) -> Result<SentCall, CallError> {
    let client = &simulated.client;
    if !client.granted.contains(cluster) {
        return Err(CallError::Denied);
    }
    if simulated.phase == Phase::Outside {
        return Err(cannot_wait());
    }
    let authority = call.authority.as_deref().unwrap_or(cluster);
    let is_well_formed = field::is_name(&call.method)
        && call.method != "CONNECT"
        && request::is_path(&call.path)
        && request::is_authority(authority);
    if !is_well_formed {
        return Err(CallError::Invalid);
    }
    let (headers, secrets) = fields(simulated, call)?;
    let under_way = client.under_way() + 1;
    if under_way > client.max_calls {
        return Err(CallError::Other("too many calls are under way".to_owned()));
    }
    Ok(SentCall {
        cluster: cluster.to_owned(),
        method: call.method.clone(),
        path: call.path.clone(),
        authority: authority.to_owned(),
        headers: crate::testing::Head(headers.0),
        secrets,
        body: call.body.clone(),
        timeout: call.timeout,
        under_way,
        answer: None,
    })
}

/// The fields as the cluster gets them, and those of them with a secret.
fn fields(simulated: &Simulated, call: &Call) -> Result<(Head, Vec<PutSecret>), CallError> {
    let mut headers = Head::default();
    for (name, value) in &call.headers {
        headers
            .append(name, value)
            .map_err(|_| CallError::Invalid)?;
    }
    let mut secrets = Vec::new();
    for field in &call.secrets {
        let granted = simulated.secrets.get(&field.secret);
        let (secret, _) = granted.ok_or(CallError::Denied)?;
        let value = [field.prefix.as_bytes(), secret].concat();
        headers
            .set(&field.field, &value)
            .map_err(|_| CallError::Invalid)?;
        secrets.push(PutSecret {
            field: field.field.to_ascii_lowercase(),
            prefix: field.prefix.clone(),
            secret: field.secret.clone(),
            value,
        });
    }
    if headers.get_all(TRACEPARENT).is_empty() {
        for value in simulated.exchange.request.get_all(TRACEPARENT) {
            headers.push(TRACEPARENT, &value);
        }
    }
    Ok((headers, secrets))
}

const TRACEPARENT: &str = "traceparent";

/// The test's answerer may use what a filter may, such as the shared state.
fn answer(call: &SentCall) -> Result<Answer, CallError> {
    let Some(mut answerer) = with(|simulated| simulated.client.answerer.take()) else {
        return Err(CallError::Unavailable);
    };
    let reply = answerer(call);
    let max_call_bytes = with(|simulated| {
        simulated.client.answerer = Some(answerer);
        simulated.client.max_call_bytes
    });
    match reply? {
        reply if reply.body.len() > max_call_bytes => Err(CallError::TooLarge),
        reply => Ok(reply.into()),
    }
}

fn cannot_wait() -> CallError {
    CallError::Other("this phase cannot wait for calls".to_owned())
}
