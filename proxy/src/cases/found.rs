//! What came out of an exchange, or of a connection, in the form in which it can be compared.

use http::header::HOST;
use http::{HeaderMap, Method};

use super::calls::Call;
use super::message;
use super::origin;
use super::stage::ORIGIN;
use crate::config::cases::Verdict;
use crate::error::ErrorKind;
use crate::exchange::{Decided, Rehearsed};
use crate::filter::{Lendable, Mirror, Refused, View};

/// All of it.
#[derive(Debug)]
pub struct Found {
    pub verdict: Verdict,
    /// The faults of the filter, by name.
    pub faults: Vec<&'static str>,
    pub cluster: Option<String>,
    pub route: Option<String>,
    /// `None` if none was sent on.
    pub request: Option<FoundMessage>,
    /// `None` if the client got none.
    pub response: Option<FoundMessage>,
    pub attributes: Vec<(String, String)>,
    /// Lines that the filter logged.
    pub lines: Vec<String>,
    pub calls: Vec<FoundMessage>,
    pub mirrors: Vec<FoundMessage>,
}

/// A request, an answer, a call or a copy; each has some of these.
#[derive(Debug, Default)]
pub struct FoundMessage {
    pub cluster: Option<String>,
    pub method: Option<String>,
    pub path: Option<String>,
    pub authority: Option<String>,
    pub status: Option<u16>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
    pub is_cut_off: bool,
}

/// What came of a sample, as the proxy tells it.
pub enum Told {
    Exchange {
        rehearsed: Rehearsed,
        method: Method,
        /// What the client was sent.
        sent: Vec<u8>,
    },
    Connection {
        refused: Option<Refused>,
        view: Lendable,
    },
}

/// What it left beside that.
pub struct Traces {
    pub received: Vec<origin::Request>,
    pub made: Vec<Call>,
    pub faults: Vec<&'static str>,
    pub lines: Vec<String>,
}

impl Told {
    /// Why the proxy ended it.
    pub fn error(&self) -> Option<ErrorKind> {
        match self {
            Self::Exchange { rehearsed, .. } => rehearsed.error.as_ref().map(|error| error.kind),
            Self::Connection { refused, .. } => refused.as_ref().map(|refused| refused.error.kind),
        }
    }
}

impl Found {
    pub fn of(told: Told, traces: Traces) -> Self {
        match told {
            Told::Exchange {
                rehearsed,
                method,
                sent,
            } => Self::of_exchange(&rehearsed, &method, &sent, traces),
            Told::Connection { refused, view } => {
                let cluster = view.decisions.cluster.as_deref();
                Self {
                    verdict: refused.as_ref().map_or(Verdict::Next, of_refused),
                    cluster: Some(cluster.unwrap_or(ORIGIN).to_owned()),
                    ..Self::of_view(&view, traces)
                }
            }
        }
    }

    fn of_exchange(
        rehearsed: &Rehearsed,
        method: &Method,
        sent: &[u8],
        mut traces: Traces,
    ) -> Self {
        let cluster = rehearsed.cluster.as_ref();
        let mut received = std::mem::take(&mut traces.received).into_iter();
        // A copy may go to the same cluster, and begins later.
        let received = received.find(|request| Some(&request.cluster) == cluster);
        let view = &*rehearsed.view;
        Self {
            verdict: verdict(rehearsed.decided),
            cluster: cluster.map(|name| name.to_string()),
            route: view.decisions.route.as_ref().map(|name| name.to_string()),
            request: received.map(FoundMessage::received),
            response: FoundMessage::sent(sent, method),
            mirrors: view
                .decisions
                .mirrors
                .iter()
                .map(FoundMessage::mirror)
                .collect(),
            ..Self::of_view(view, traces)
        }
    }

    /// What any filter leaves.
    fn of_view(view: &View, traces: Traces) -> Self {
        Self {
            verdict: Verdict::Next,
            faults: traces.faults,
            cluster: None,
            route: None,
            request: None,
            response: None,
            attributes: view.attributes.clone(),
            lines: traces.lines,
            calls: traces.made.into_iter().map(FoundMessage::call).collect(),
            mirrors: Vec::new(),
        }
    }
}

fn of_refused(refused: &Refused) -> Verdict {
    match refused.error.kind {
        _ if refused.is_reset => Verdict::Reset,
        ErrorKind::ConnectionDenied => Verdict::Deny,
        _ => Verdict::Fail,
    }
}

fn verdict(decided: Option<Decided>) -> Verdict {
    match decided {
        Some(Decided::Next) => Verdict::Next,
        Some(Decided::Respond) => Verdict::Respond,
        Some(Decided::Fail) => Verdict::Fail,
        Some(Decided::Reset) => Verdict::Reset,
        None => Verdict::Refuse,
    }
}

impl FoundMessage {
    fn received(request: origin::Request) -> Self {
        let message = request.message;
        Self {
            method: Some(request.method.to_string()),
            path: Some(request.path),
            authority: authority(&message.headers),
            headers: message.headers,
            body: message.body,
            trailers: message.trailers,
            is_cut_off: message.is_cut_off,
            ..Self::default()
        }
    }

    fn sent(bytes: &[u8], method: &Method) -> Option<Self> {
        let (status, message) = message::read_response(bytes, method)?;
        Some(Self {
            status: Some(status.as_u16()),
            headers: message.headers,
            body: message.body,
            trailers: message.trailers,
            is_cut_off: message.is_cut_off,
            ..Self::default()
        })
    }

    fn call(call: Call) -> Self {
        Self {
            cluster: Some(call.cluster.to_string()),
            method: Some(call.method.to_string()),
            path: Some(call.path),
            authority: authority(&call.headers),
            headers: call.headers,
            body: call.body,
            ..Self::default()
        }
    }

    fn mirror(mirror: &Mirror) -> Self {
        Self {
            cluster: Some(mirror.cluster.to_string()),
            headers: mirror.headers.clone(),
            ..Self::default()
        }
    }
}

fn authority(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(HOST)?;
    Some(String::from_utf8_lossy(host.as_bytes()).into_owned())
}
