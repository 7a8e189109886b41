//! What the filters of an exchange see of it and leave on it. Host functions
//! read and write here; the exchange acts on it once a phase is over.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method};
use smallvec::SmallVec;

use super::calls::Calls;
use super::timeouts::Timeouts;
use crate::balance::subsets::Label;
use crate::config::Name;
use crate::http::request_id::Hex;
use crate::http::{RequestHead, ResponseHead, TargetForm};
use crate::proxy_protocol::Introduction;
use crate::shared::Found;
use crate::tls::TlsFacts;

/// One exchange, as far as filters are concerned. It moves into an instance's
/// store for a call and back out of it, so it is boxed and `Send`.
#[derive(Debug)]
pub struct View {
    pub request: RequestHead,
    pub response: Option<ResponseHead>,
    /// There while a filter sees them.
    pub trailers: Option<HeaderMap>,
    /// The proxy or a filter made the answer.
    pub is_local: bool,
    pub client_address: IpAddr,
    pub listener: Name,
    pub form: TargetForm,
    /// Of a connection over TLS.
    pub tls: Option<Arc<TlsFacts>>,
    /// Of a connection that a PROXY header introduced.
    pub introduction: Option<Arc<Introduction>>,
    /// Where the client wanted to go before it was redirected here.
    pub original_destination: Option<SocketAddr>,
    /// Visible ASCII.
    pub request_id: HeaderValue,
    pub trace_id: Hex,
    /// Of a connection of which nothing is understood yet.
    pub connection: Option<Box<ConnectionFacts>>,
    /// When the request's first byte arrived.
    pub started: Instant,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// `upstream.cluster` and `upstream.endpoint`, once the request was sent.
    pub upstream: Option<(Name, Name)>,
    pub decisions: Decisions,
    /// TlsFacts that filters left, names already prefixed, in the order of arrival.
    pub attributes: Vec<(String, String)>,
    /// `state` by the filter's place in the chain.
    pub states: Vec<(usize, Vec<u8>)>,
    /// What filters have used of their budgets of one exchange.
    pub spent: SmallVec<[Spent; 4]>,
    /// What filters did, in the order of their first calls, where the access log
    /// tells it.
    pub told: Option<Vec<Told>>,
    /// What the filter that is called finds shared, where a shadow is to find the same.
    pub found: Option<Box<BTreeMap<String, Found>>>,
    /// How large filters may make the heads.
    pub head_limits: HeadLimits,
    /// Whether some cluster balances by keys of filters.
    pub takes_hash_key: bool,
    /// Whether some cluster has subsets.
    pub takes_subset: bool,
    /// Where calls of filters go, if any filter may make one.
    pub calls: Option<Calls>,
}

/// What is known of a connection before anything on it is understood.
#[derive(Debug, Clone)]
pub struct ConnectionFacts {
    /// Where the client connected to; `None` for a Unix socket.
    pub destination: Option<SocketAddr>,
    /// What it asked for in a TLS handshake that is passed on.
    pub sni: Option<String>,
    /// It is passed on as it is.
    pub is_opaque: bool,
    /// What it was found to speak, where that is looked at.
    pub protocol: Option<&'static str>,
}

impl ConnectionFacts {
    /// By the names that filters ask for.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let destination = self.destination;
        match name {
            "destination.address" => Some(destination?.ip().to_canonical().to_string()),
            "destination.port" => Some(destination?.port().to_string()),
            "tls.sni" => self.sni.clone(),
            "connection.protocol" => self.protocol.map(str::to_owned),
            _ => None,
        }
    }
}

/// The limits of a head that a filter makes without one before it.
const HEAD_LIMITS: HeadLimits = HeadLimits {
    max_bytes: 64 << 10,
    max_fields: 100,
};

/// What one filter has used of its budgets of one exchange.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    /// The filter's place in the chain.
    pub place: usize,
    /// Calls into the host.
    pub host_calls: u32,
    /// Waiting for its calls to clusters.
    pub waited: Duration,
}

/// Limits of one head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// All fields together, as on the wire.
    pub max_bytes: usize,
    pub max_fields: usize,
}

/// What filters decided so far.
#[derive(Debug, Clone, Default)]
pub struct Decisions {
    pub route: Option<Name>,
    pub cluster: Option<Name>,
    /// A retry policy in the place of the cluster's.
    pub retry: Option<Name>,
    /// To balance by, hashed.
    pub hash_key: Option<u64>,
    /// What the endpoint is to have.
    pub labels: Box<[Label]>,
    pub mirrors: Vec<Mirror>,
    /// Asked for in the current call; the chain waits as soon as it is over.
    pub delay: Duration,
    pub timeouts: Timeouts,
}

/// A copy to be sent elsewhere.
#[derive(Debug, Clone)]
pub struct Mirror {
    pub cluster: Name,
    /// Set on the copy.
    pub headers: HeaderMap,
}

/// A [`View`] that may be lent to an instance. It is away only while a guest
/// runs, and that is never across an await: whoever holds this sees the view,
/// also after a phase was given up halfway.
#[derive(Debug)]
pub struct Lendable(Option<Box<View>>);

/// What one filter did in one exchange.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its place in the chain.
    pub place: usize,
    pub filter: Name,
    /// From the beginning of each of its calls to its end, added up; waits for calls
    /// to clusters are part of it, those for an instance and delays are not.
    pub took: Duration,
    /// The last one that was not `next`, or the name of the fault.
    pub verdict: &'static str,
}

/// A verdict that says nothing after another one.
pub const NEXT: &str = "next";

impl Spent {
    pub(super) fn is_nothing(&self) -> bool {
        self.host_calls == 0 && self.waited.is_zero()
    }
}

impl View {
    /// Where there is no exchange: a request of which nothing is known.
    pub fn without_exchange(calls: Option<Calls>) -> Self {
        Self {
            request: RequestHead {
                method: Method::GET,
                scheme: Scheme::HTTP,
                authority: None,
                path: PathAndQuery::from_static("/"),
                headers: HeaderMap::new(),
            },
            response: None,
            trailers: None,
            is_local: false,
            client_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            listener: "".into(),
            form: TargetForm::Origin,
            tls: None,
            introduction: None,
            original_destination: None,
            request_id: HeaderValue::from_static(""),
            trace_id: Hex::of(0),
            connection: None,
            started: Instant::now(),
            request_bytes: 0,
            response_bytes: 0,
            upstream: None,
            decisions: Decisions::default(),
            attributes: Vec::new(),
            states: Vec::new(),
            spent: SmallVec::new(),
            told: None,
            found: None,
            head_limits: HEAD_LIMITS,
            takes_hash_key: false,
            takes_subset: false,
            calls,
        }
    }

    /// A copy that another filter may see: without what filters keep for themselves,
    /// and with no way to call anybody.
    pub(super) fn copy(&self) -> Box<Self> {
        Box::new(Self {
            request: self.request.clone(),
            response: self.response.clone(),
            trailers: self.trailers.clone(),
            is_local: self.is_local,
            client_address: self.client_address,
            listener: self.listener.clone(),
            form: self.form,
            tls: self.tls.clone(),
            introduction: self.introduction.clone(),
            original_destination: self.original_destination,
            request_id: self.request_id.clone(),
            trace_id: self.trace_id,
            connection: self.connection.clone(),
            started: self.started,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            upstream: self.upstream.clone(),
            decisions: self.decisions.clone(),
            attributes: self.attributes.clone(),
            states: Vec::new(),
            spent: SmallVec::new(),
            told: None,
            found: None,
            head_limits: self.head_limits,
            takes_hash_key: self.takes_hash_key,
            takes_subset: self.takes_subset,
            calls: None,
        })
    }

    /// What the filter at this place has used so far.
    pub(super) fn spent(&self, place: usize) -> Spent {
        let known = self.spent.iter().find(|spent| spent.place == place);
        known.copied().unwrap_or(Spent {
            place,
            ..Spent::default()
        })
    }

    /// Notes a verdict, where it is to be told.
    pub(super) fn tell_verdict(&mut self, place: usize, filter: &Name, verdict: &'static str) {
        self.tell(place, filter, |told| {
            if verdict != NEXT {
                told.verdict = verdict;
            }
        });
    }

    /// Notes how long a call took, where it is to be told.
    pub(super) fn tell_time(&mut self, place: usize, filter: &Name, took: Duration) {
        self.tell(place, filter, |told| told.took += took);
    }

    fn tell(&mut self, place: usize, filter: &Name, note: impl FnOnce(&mut Told)) {
        let Some(all) = &mut self.told else { return };
        let known = all.iter().position(|told| told.place == place);
        let index = known.unwrap_or_else(|| {
            all.push(Told {
                place,
                filter: filter.clone(),
                took: Duration::ZERO,
                verdict: NEXT,
            });
            all.len() - 1
        });
        note(&mut all[index]);
    }

    pub(super) fn note_spent(&mut self, spent: Spent) {
        match self.spent.iter_mut().find(|old| old.place == spent.place) {
            Some(old) => *old = spent,
            None => self.spent.push(spent),
        }
    }

    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }
}

impl Lendable {
    pub fn new(view: View) -> Self {
        Self::from(Box::new(view))
    }

    pub(super) fn lend(&mut self) -> Box<View> {
        self.0.take().expect("one call at a time has the view")
    }

    pub(super) fn take_back(&mut self, view: Box<View>) {
        self.0 = Some(view);
    }
}

impl From<Box<View>> for Lendable {
    fn from(view: Box<View>) -> Self {
        Self(Some(view))
    }
}

impl Deref for Lendable {
    type Target = View;

    fn deref(&self) -> &View {
        self.0.as_deref().expect("calls give the view back")
    }
}

impl DerefMut for Lendable {
    fn deref_mut(&mut self) -> &mut View {
        self.0.as_deref_mut().expect("calls give the view back")
    }
}
