//! The heads of an exchange, whatever version of HTTP carried them.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use super::error::HeadError;
use super::{Framing, Upgrade};
use crate::config::Listener;

/// The head of a request as filters see it and origins get it.
#[derive(Debug, Clone)]
pub struct RequestHead {
    pub method: Method,
    pub scheme: Scheme,
    /// From the target or `Host`. Absent for HTTP/1.0 clients that name none.
    /// `headers` holds no `host`.
    pub authority: Option<Authority>,
    /// Normalised; `*` for `OPTIONS *` and for CONNECT.
    pub path: PathAndQuery,
    pub headers: HeaderMap,
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    pub status: StatusCode,
    pub headers: HeaderMap,
}

/// What this end of a connection is for its clients (RFC 9110 section 3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// An origin, as far as they know.
    Gateway,
    /// What they go to others through.
    Proxy,
}

impl Role {
    pub fn of(listener: &Listener) -> Self {
        match listener.forward_proxy {
            Some(_) => Self::Proxy,
            None => Self::Gateway,
        }
    }

    /// Whether a request is for what its client is connected with, and by its scheme.
    pub fn is_own(self, form: TargetForm) -> bool {
        self == Self::Gateway || form == TargetForm::Origin
    }
}

/// How a request names what it is for (RFC 9112 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetForm {
    /// By a path, at the host that `Host` or `:authority` names. That of OPTIONS may be `*`.
    Origin,
    /// By a URL.
    Absolute,
    /// By a host and a port, to be connected with.
    Authority,
}

impl TargetForm {
    pub fn name(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Absolute => "absolute",
            Self::Authority => "authority",
        }
    }
}

/// A request head with what the connection has to know about it.
#[derive(Debug)]
pub struct ParsedRequest {
    /// Hop-by-hop fields are still in it.
    pub head: RequestHead,
    pub version: Version,
    /// That of HTTP/2 tells no origin from absolute form, and is the first.
    pub form: TargetForm,
    pub framing: Framing,
    /// Whether the client wants the connection to go on. One of HTTP/2 always does.
    pub keep_alive: bool,
    /// Whether a body comes and the client waits for `100 Continue` before it.
    pub expects_continue: bool,
    /// Whether the client wants to go on in another protocol, which `Upgrade` names.
    pub asks_upgrade: bool,
    /// What it does go on in: see [`choose_upgrade`](Self::choose_upgrade).
    pub upgrade: Option<Box<Upgrade>>,
    /// Whether a field may be another in [disguise](super::disguise).
    pub may_be_disguised: bool,
    /// Whether a field may be one in which [hops](super::hops) tell each other something.
    /// Most requests have none, and need not be searched for each.
    pub is_told_by_hop: bool,
}

/// Of a request that came before the end of a handshake (RFC 8470, section 5.1).
const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");

impl ParsedRequest {
    /// Marks a request that somebody may send once more who overheard it; `false`
    /// where that could do harm.
    pub fn mark_early(&mut self) -> bool {
        let is_harmless = self.head.method.is_safe() && !self.asks_upgrade;
        if is_harmless {
            let yes = HeaderValue::from_static("1");
            self.head.headers.insert(EARLY_DATA, yes);
        }
        is_harmless
    }

    /// Chooses the protocol that the connection is to go on in, among those that are
    /// allowed. Without one, the wish is passed over.
    pub fn choose_upgrade(&mut self, allowed: &[HeaderValue]) -> Result<(), HeadError> {
        if self.asks_upgrade {
            let chosen = Upgrade::choose(&self.head.method, &self.head.headers, allowed)?;
            self.upgrade = chosen.map(Box::new);
        }
        Ok(())
    }
}
