//! Cases after checking: sample exchanges for a filter, and what is expected of each.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checked::{Filter, FilterConfig, Name};
use super::place::Places;
use super::secret::{Secret, SecretBytes};
use crate::stats::Detected;

/// A file of cases for one filter.
#[derive(Debug)]
pub struct CaseFile {
    pub filter: Filter,
    pub cases: Vec<Case>,
    /// Where each value stands.
    pub places: Places,
}

/// One case.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Unique among those of a filter.
    pub name: String,
    /// JSON pointer of the case in the file.
    pub pointer: String,
    /// The route that an earlier filter named.
    pub route: Option<Name>,
    /// In the place of the filter's own.
    pub config: Option<FilterConfig>,
    /// In a file of cases: all that there are.
    pub secrets: Vec<Secret>,
    /// At least one.
    pub steps: Vec<Step>,
    /// What came from `${ENV}`: no message shows it.
    pub masked: Vec<SecretBytes>,
}

/// One exchange or connection, as often as `repeat` says.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub sample: Sample,
    pub answers: Vec<Answer>,
    /// `None` where the origin takes no connection.
    pub response: Option<SampleResponse>,
    pub repeat: u32,
    pub expect: Expect,
}

/// What a filter is shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    Request(Box<SampleRequest>),
    Connection(Box<SampleConnection>),
}

impl Sample {
    /// JSON pointer of it in the file.
    pub fn pointer(&self) -> &str {
        match self {
            Self::Request(request) => &request.pointer,
            Self::Connection(connection) => &connection.pointer,
        }
    }
}

/// Who connects, before anything is understood.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleConnection {
    pub client_address: IpAddr,
    pub destination: SocketAddr,
    /// It is passed on as it is.
    pub is_opaque: bool,
    /// Where the listener ends it.
    pub tls: Option<SampleTls>,
    /// Of a handshake that is passed on.
    pub sni: Option<String>,
    pub protocol: Option<Detected>,
    pub preview: Bytes,
    /// What earlier filters left, by full names.
    pub attributes: Vec<(String, String)>,
    /// JSON pointer of the connection in the file.
    pub pointer: String,
}

/// What a handshake came to that the listener had with the client.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleTls {
    pub sni: Option<String>,
    pub alpn: Option<String>,
    pub peer: Option<SamplePeer>,
}

/// Of a client's certificate, which was verified.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplePeer {
    pub subject: String,
    pub fingerprint: String,
    pub dns: Vec<String>,
    pub uris: Vec<String>,
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRequest {
    pub method: Method,
    pub path: PathAndQuery,
    pub authority: Authority,
    pub headers: HeaderMap,
    pub body: SampleBody,
    pub client_address: IpAddr,
    /// Of one over TLS.
    pub tls: Option<SampleTls>,
    /// What earlier filters left, by full names.
    pub attributes: Vec<(String, String)>,
    /// JSON pointer of the request in the file.
    pub pointer: String,
}

/// What an origin answers.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: SampleBody,
}

/// A body as it is sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SampleBody {
    /// None of them is empty.
    pub pieces: Vec<Bytes>,
    /// Whether it was written as a list, and so comes piece by piece.
    pub in_pieces: bool,
    pub trailers: HeaderMap,
}

/// What a cluster answers to a call of the filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub cluster: Name,
    /// `None` fits any.
    pub method: Option<Method>,
    pub path: Option<String>,
    pub outcome: Result<SampleResponse, NoAnswer>,
}

/// Why a call gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoAnswer {
    Timeout,
    Unavailable,
}

/// How the request phases of an exchange end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Next,
    Respond,
    Reset,
    /// The filter failed under `on_error: deny`.
    Fail,
    /// The proxy itself ended them.
    Refuse,
    /// A connection goes no further.
    Deny,
}

/// What is expected. Of a fault that is not named here, none.
#[derive(Debug, Clone, PartialEq)]
pub struct Expect {
    pub verdict: Option<Verdict>,
    pub fault: Option<String>,
    pub cluster: Option<String>,
    pub route: Option<String>,
    pub request: Option<ExpectedMessage>,
    pub response: Option<ExpectedMessage>,
    /// `None` for those that must not be there.
    pub attributes: Vec<(String, Option<String>)>,
    pub log: Vec<String>,
    pub calls: Option<Vec<ExpectedMessage>>,
    pub mirrors: Option<Vec<ExpectedMessage>>,
    /// JSON pointer of what is expected, or of the step where nothing is.
    pub pointer: String,
}

/// What is expected of a request, an answer, a call or a copy: each knows some of
/// these.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExpectedMessage {
    pub cluster: Option<String>,
    pub method: Option<String>,
    pub path: Option<String>,
    pub authority: Option<String>,
    pub status: Option<u16>,
    pub headers: Vec<ExpectedField>,
    pub body: Option<ExpectedBody>,
    pub trailers: Vec<ExpectedField>,
    pub cut_off: Option<bool>,
    /// JSON pointer of the message in the file.
    pub pointer: String,
}

/// One field.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedField {
    pub name: HeaderName,
    /// All of its values in order; `None` for a field that must not be there.
    pub values: Option<Vec<String>>,
    pub pointer: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedBody {
    pub bytes: Bytes,
    pub pointer: String,
}

impl Verdict {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Next => "next",
            Verdict::Respond => "respond",
            Verdict::Reset => "reset",
            Verdict::Fail => "fail",
            Verdict::Refuse => "refuse",
            Verdict::Deny => "deny",
        }
    }
}
