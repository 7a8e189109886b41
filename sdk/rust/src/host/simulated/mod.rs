//! A proxy in a thread-local, for native tests. It keeps one exchange and the
//! rules of the contract that a filter can run into: what may be set when,
//! what must be declared.

pub(crate) mod exchange;
mod head;
pub(crate) mod http_client;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod secrets;
pub(crate) mod shared;
pub(crate) mod trailers;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::testing::{Grant, LogLine, Mirror, PutSecret};
use crate::{HeadError, Timeout, Wants, random as chance};

pub(crate) use head::Head;

/// What a call of the filter may do. A collected body is a part of its head's
/// phase, because the head is still held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Phase {
    #[default]
    Outside,
    Request,
    Response,
    Transform,
    Trailers,
    Done,
    /// A run of a job: there is no exchange.
    Job,
}

/// One exchange as the proxy would keep it.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) method: String,
    pub(crate) scheme: String,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) request: Head,
    /// Of the request's fields, those that `secrets::put` set.
    pub(crate) secrets: Vec<PutSecret>,
    pub(crate) status: Option<u16>,
    pub(crate) is_local: bool,
    pub(crate) response: Head,
    /// Of the message whose trailer phase it is; empty in the others.
    pub(crate) trailers: Head,
    pub(crate) client_address: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) set_attributes: BTreeMap<String, String>,
    pub(crate) state: Vec<u8>,
    pub(crate) cluster: Option<String>,
    pub(crate) retry: Option<String>,
    pub(crate) hash_key: Option<Vec<u8>>,
    pub(crate) subset: Vec<(String, String)>,
    pub(crate) route: Option<String>,
    pub(crate) mirrors: Vec<Mirror>,
    pub(crate) delay: Duration,
    pub(crate) timeouts: Vec<(Timeout, Duration)>,
    pub(crate) elapsed: Duration,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
}

impl State {
    /// As far as a filter can see, the field is empty.
    fn put_secret(&mut self, secret: PutSecret) -> Result<(), HeadError> {
        head::check(&secret.field, &secret.value)?;
        self.request.set(&secret.field, b"")?;
        self.forget_secret(&secret.field);
        self.secrets.push(secret);
        Ok(())
    }

    /// The field is set to something else, or removed.
    fn forget_secret(&mut self, field: &str) {
        self.secrets
            .retain(|secret| !secret.field.eq_ignore_ascii_case(field));
    }
}

/// Everything a filter can reach.
pub(crate) struct Simulated {
    pub(crate) phase: Phase,
    pub(crate) wants: Wants,
    pub(crate) exchange: State,
    pub(crate) level: crate::log::Level,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) metrics: metrics::Registry,
    pub(crate) shared: shared::Store,
    pub(crate) secrets: BTreeMap<String, (Vec<u8>, Grant)>,
    pub(crate) client: http_client::Client,
    pub(crate) now: Duration,
    pub(crate) random: u64,
}

impl Default for Simulated {
    fn default() -> Self {
        Simulated {
            phase: Phase::Outside,
            wants: Wants::nothing(),
            exchange: State::default(),
            level: crate::log::Level::Trace,
            logs: Vec::new(),
            metrics: metrics::Registry::default(),
            shared: shared::Store::default(),
            secrets: BTreeMap::new(),
            client: http_client::Client::default(),
            now: Duration::from_secs(1_700_000_000),
            random: 0,
        }
    }
}

thread_local! {
    static SIMULATED: RefCell<Simulated> = RefCell::default();
}

/// Look at or change what the filters of this thread see.
pub(crate) fn with<T>(look: impl FnOnce(&mut Simulated) -> T) -> T {
    SIMULATED.with_borrow_mut(look)
}

pub(crate) fn now() -> u64 {
    with(|simulated| u64::try_from(simulated.now.as_nanos()).unwrap_or(u64::MAX))
}

/// SplitMix64: the state is a counter.
pub(crate) fn random() -> u64 {
    with(|simulated| {
        simulated.random = simulated.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        chance::mixed(simulated.random)
    })
}
