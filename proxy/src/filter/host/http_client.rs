//! `http-client`: calls to clusters that are granted. A call belongs to the phase
//! that started it: what is still under way at its end is cancelled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::oneshot;
use tokio::time::timeout;
use wasmtime::component::{Linker, Resource};
use wasmtime::{Result, StoreContextMut, Trap};

use super::HostState;
use crate::config::Name;
use crate::filter::bindings::granted::lockgate::filter::http_client::{
    self, CallError, Incoming, Outgoing,
};
use crate::filter::bindings::lockgate::filter::types::SecretField;
use crate::filter::budget::Tick;
use crate::filter::calls::{CallFailed, Inbound, Outbound};
use crate::filter::fault::FilterFault;
use crate::filter::head_rules;
use crate::filter::state::budget_broken;
use crate::filter::ticker;
use crate::filter::view::View;
use crate::http::call_depth;

/// How often a call may lead to a call, so that a filter that calls through itself
/// comes to an end.
const MAX_DEPTH: u32 = 4;
/// Passed on, unless the filter set it.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A call in a guest's hands.
pub enum Pending {
    Failed(CallError),
    Sent(oneshot::Receiver<Result<Inbound, CallFailed>>),
}

/// The calls that a phase has under way, by numbers that are never given again:
/// a handle that a guest kept means no other call.
#[derive(Default)]
pub struct UnderWay {
    calls: Vec<(u32, Pending)>,
    next: u32,
    /// One more for each call that is not over, given up or not.
    slots: Arc<()>,
}

impl UnderWay {
    fn add(&mut self, call: Pending) -> u32 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        self.calls.push((number, call));
        number
    }

    fn take(&mut self, number: u32) -> Option<Pending> {
        let place = self.calls.iter().position(|(known, _)| *known == number)?;
        Some(self.calls.swap_remove(place).1)
    }

    /// Cancels them.
    pub fn clear(&mut self) {
        self.calls.clear();
    }
}

impl HostState {
    /// The fields that a filter gave, and those of secrets, which it need not see.
    fn fields(
        &self,
        raw: Vec<(String, Vec<u8>)>,
        secrets: &[SecretField],
    ) -> Result<HeaderMap, CallError> {
        let mut fields = HeaderMap::new();
        for (name, value) in raw {
            let value = head_rules::value(value).map_err(|_| CallError::Invalid)?;
            let name = head_rules::name(&name).map_err(|_| CallError::Invalid)?;
            fields
                .try_append(name, value)
                .map_err(|_| CallError::Invalid)?;
        }
        for field in secrets {
            let granted = self.owner.granted.secrets.find(&field.secret);
            let (secret, _) = granted.ok_or(CallError::Denied)?;
            let value = [field.prefix.as_bytes(), secret.value().bytes()].concat();
            let mut value = head_rules::value(value).map_err(|_| CallError::Invalid)?;
            value.set_sensitive(true);
            let name = head_rules::name(&field.field).map_err(|_| CallError::Invalid)?;
            fields
                .try_insert(name, value)
                .map_err(|_| CallError::Invalid)?;
        }
        Ok(fields)
    }

    fn send(&self, cluster: &str, request: Outgoing) -> Result<Pending, CallError> {
        let limits = &self.owner.limits;
        let granted = self.owner.call.iter().find(|name| &***name == cluster);
        // First, so that a filter learns of it in `create` too.
        let cluster = granted.ok_or(CallError::Denied)?;
        let Ok(view) = self.view() else {
            return Err(other(
                "there is nothing to call while a configuration is made",
            ));
        };
        let calls = view.calls.as_ref().ok_or(CallError::Denied)?;
        if Arc::strong_count(&self.calls.slots) > limits.max_calls {
            return Err(other("as many calls are under way as may be"));
        }
        let timeout = request.timeout.map(Duration::from_nanos);
        let fields = self.fields(request.headers, &request.secrets)?;
        let (answer, received) = oneshot::channel();
        let call = Outbound {
            cluster: cluster.clone(),
            method: head_rules::method(&request.method).map_err(|_| CallError::Invalid)?,
            path: head_rules::path(&request.path).map_err(|_| CallError::Invalid)?,
            headers: headers(view, cluster, request.authority.as_deref(), fields)?,
            body: request.body.into(),
            timeout: timeout.map_or(limits.call_timeout, |own| own.min(limits.call_timeout)),
            max_bytes: limits.max_call_bytes,
            slot: self.calls.slots.clone(),
            answer,
        };
        match calls.send(call) {
            Ok(()) => Ok(Pending::Sent(received)),
            Err(_) => Err(CallError::Unavailable),
        }
    }
}

/// The head of a call, under the rules of every head.
fn headers(
    view: &View,
    cluster: &Name,
    authority: Option<&str>,
    mut headers: HeaderMap,
) -> Result<HeaderMap, CallError> {
    if headers.len() > view.head_limits.max_fields {
        return Err(CallError::Invalid);
    }
    if head_rules::size(&headers) > view.head_limits.max_bytes {
        return Err(CallError::Invalid);
    }
    let authority = authority.unwrap_or(cluster);
    let authority = head_rules::authority(authority).map_err(|_| CallError::Invalid)?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| CallError::Invalid)?;
    headers.insert(HOST, host);
    if let Some(parent) = view.request.headers.get(TRACEPARENT) {
        headers.entry(TRACEPARENT).or_insert_with(|| parent.clone());
    }
    let depth = call_depth::read(&view.request.headers);
    if depth >= MAX_DEPTH {
        return Err(other("calls of filters led to calls too often: a loop"));
    }
    call_depth::write(&mut headers, depth + 1);
    Ok(headers)
}

impl http_client::Host for HostState {}

impl http_client::HostCall for HostState {
    fn start(&mut self, cluster: String, request: Outgoing) -> Result<Resource<Pending>> {
        let pending = self.send(&cluster, request).unwrap_or_else(Pending::Failed);
        Ok(Resource::new_own(self.calls.add(pending)))
    }

    async fn wait(&mut self, this: Resource<Pending>) -> Result<Result<Incoming, CallError>> {
        let Some(pending) = self.calls.take(this.rep()) else {
            return Ok(Err(other("the call ended with the phase that started it")));
        };
        let receiver = match pending {
            Pending::Failed(error) => return Ok(Err(error)),
            Pending::Sent(receiver) => receiver,
        };
        if !self.call.may_wait {
            return Ok(Err(other("this phase cannot wait for calls")));
        }
        let left_at = self.clock.now();
        if self.budget.wait(left_at) == Tick::Over {
            return Err(Trap::Interrupt.into());
        }
        // The run of a job has a time of its own.
        let max = match self.call.phase.is_of_exchange() {
            true => self.owner.limits.max_call_time,
            false => Duration::MAX,
        };
        let left = max.saturating_sub(self.call.spent.waited);
        let began = Instant::now();
        self.owner.stats.of(self.worker).call_waits.began();
        let received = timeout(left, receiver).await;
        let (waited, back_at) = (began.elapsed(), self.clock.now());
        self.call.spent.waited += waited;
        self.call.away += back_at.saturating_sub(left_at);
        self.owner.stats.of(self.worker).call_waits.ended(waited);
        ticker::begins();
        self.budget.resume(back_at);
        let Ok(received) = received else {
            let what = format!("waited for its calls for {max:?} of one exchange");
            return Err(budget_broken(FilterFault::CallTime, what));
        };
        Ok(match received {
            Ok(Ok(answer)) => Ok(Incoming {
                status: answer.status.as_u16(),
                headers: super::entries(&answer.headers),
                body: answer.body,
            }),
            Ok(Err(failed)) => Err(failed.into()),
            // The worker is at its end.
            Err(_) => Err(CallError::Unavailable),
        })
    }

    fn drop(&mut self, this: Resource<Pending>) -> Result<()> {
        // One that ended with its phase is gone already.
        self.calls.take(this.rep());
        Ok(())
    }
}

/// For filters that may call nothing: their calls have failed as they are made, so
/// that nothing is waited for and no call needs a stack of its own.
pub fn without_waits(linker: &mut Linker<HostState>) -> Result<()> {
    linker.allow_shadowing(true);
    let mut interface = linker.instance("lockgate:filter/http-client@0.1.0")?;
    interface.func_wrap("[static]call.wait", failed_at_once)?;
    linker.allow_shadowing(false);
    Ok(())
}

type Waited = Result<(Result<Incoming, CallError>,)>;

fn failed_at_once(
    mut context: StoreContextMut<'_, HostState>,
    (this,): (Resource<Pending>,),
) -> Waited {
    let pending = context.data_mut().calls.take(this.rep());
    Ok((Err(match pending {
        Some(Pending::Failed(error)) => error,
        Some(Pending::Sent(_)) | None => CallError::Denied,
    }),))
}

fn other(why: &str) -> CallError {
    CallError::Other(why.into())
}

impl From<CallFailed> for CallError {
    fn from(failed: CallFailed) -> Self {
        match failed {
            CallFailed::Denied => CallError::Denied,
            CallFailed::Unavailable => CallError::Unavailable,
            CallFailed::Timeout => CallError::Timeout,
            CallFailed::TooLarge => CallError::TooLarge,
        }
    }
}
