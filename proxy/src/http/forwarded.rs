//! Who the client is, and what the origin is told about it: `X-Forwarded-For`,
//! `-Proto`, `-Host`, `-Client-Cert` (as Envoy has it) and `Forwarded` (RFC 7239).
//!
//! One rule: what an untrusted peer says about forwarding never reaches a filter
//! or an origin. What a trusted peer says is kept, and this hop is added to it.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::FORWARDED;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::{ForwardedStyle, Network};
use crate::proxy_protocol::{Ends, Introduction};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// What is said about forwarding, in whatever style.
pub const FIELDS: [HeaderName; 5] = [
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    X_FORWARDED_CLIENT_CERT,
    FORWARDED,
];

/// The other end of a connection, with its address as field text: it is written
/// once a connection and not once a request. Behind a balancer that introduces its
/// clients, that is the client.
#[derive(Debug, Clone)]
pub struct Peer {
    address: IpAddr,
    text: HeaderValue,
    introduction: Option<Arc<Introduction>>,
    /// What filters of connections found out about it, by name.
    facts: Arc<[(String, String)]>,
    /// For origins that are told whose connection it is.
    ends: Option<Ends>,
    /// Where it wanted to go before it was redirected here.
    original_destination: Option<SocketAddr>,
}

impl Peer {
    pub fn new(address: IpAddr) -> Self {
        // A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d.
        let address = address.to_canonical();
        let text = match address.is_unspecified() {
            // By a Unix socket (RFC 7239, section 6.3).
            true => Ok(HeaderValue::from_static("unknown")),
            false => HeaderValue::try_from(address.to_string()),
        };
        Self {
            address,
            text: text.expect("an address is visible ASCII"),
            introduction: None,
            facts: Arc::default(),
            ends: None,
            original_destination: None,
        }
    }

    /// The same, and where it wanted to go before it was redirected here.
    pub fn with_original_destination(self, original_destination: Option<SocketAddr>) -> Self {
        Self {
            original_destination,
            ..self
        }
    }

    pub fn original_destination(&self) -> Option<SocketAddr> {
        self.original_destination
    }

    /// The same, and how origins are told of it.
    pub fn with_ends(self, ends: Ends) -> Self {
        Self {
            ends: Some(ends),
            ..self
        }
    }

    pub fn ends(&self) -> Option<Ends> {
        self.ends
    }

    /// The same, and what filters of connections found out about it.
    pub fn with_facts(self, facts: Vec<(String, String)>) -> Self {
        Self {
            facts: facts.into(),
            ..self
        }
    }

    pub fn facts(&self) -> &[(String, String)] {
        &self.facts
    }

    /// The one that a PROXY header from `address` is about.
    pub fn introduced(address: IpAddr, introduction: Introduction) -> Self {
        let address = introduction.client().map_or(address, |client| client.ip());
        Self {
            introduction: Some(Arc::new(introduction)),
            ..Self::new(address)
        }
    }

    pub fn introduction(&self) -> Option<&Arc<Introduction>> {
        self.introduction.as_ref()
    }

    pub fn address(&self) -> IpAddr {
        self.address
    }
}

/// The client of one request, as far as trusted hops vouch for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    pub address: IpAddr,
    /// Whether the peer is a trusted hop, so that its forwarding fields, and its
    /// request id, are believed.
    pub is_behind_trusted: bool,
}

impl Client {
    /// Walks the recorded hops from the nearest outward, for as long as the one
    /// that recorded them is trusted.
    ///
    /// `Forwarded` is read when it is the configured style, or when both are
    /// written and there is no `X-Forwarded-For`; else `X-Forwarded-For` is: a hop
    /// that writes one of them may let the other through from anyone.
    pub fn find(
        peer: &Peer,
        headers: &HeaderMap,
        style: ForwardedStyle,
        trusted: &[Network],
    ) -> Self {
        let is_behind_trusted = contains(trusted, peer.address);
        let address = if is_behind_trusted {
            walk(peer.address, headers, style, trusted)
        } else {
            peer.address
        };
        Self {
            address,
            is_behind_trusted,
        }
    }
}

fn walk(peer: IpAddr, headers: &HeaderMap, style: ForwardedStyle, trusted: &[Network]) -> IpAddr {
    let reads_forwarded = match style {
        ForwardedStyle::Forwarded => true,
        ForwardedStyle::Both => !headers.contains_key(X_FORWARDED_FOR),
        ForwardedStyle::XForwarded | ForwardedStyle::None => false,
    };
    let hops = if reads_forwarded {
        forwarded_hops(headers)
    } else {
        x_forwarded_hops(headers)
    };
    let mut address = peer;
    for hop in hops.into_iter().rev() {
        match hop {
            Some(hop) if contains(trusted, address) => address = hop,
            _ => break,
        }
    }
    address
}

/// Whether `address` lies in one of `networks`.
pub fn contains(networks: &[Network], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| is_within(network, address))
}

fn is_within(network: &Network, address: IpAddr) -> bool {
    let prefix = u32::from(network.prefix);
    match (network.address, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let differing = network.to_bits() ^ address.to_bits();
            prefix == 0 || differing.checked_shr(32 - prefix.min(32)).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let differing = network.to_bits() ^ address.to_bits();
            prefix == 0 || differing.checked_shr(128 - prefix.min(128)).unwrap_or(0) == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// The entries of `X-Forwarded-For`, nearest last; `None` is an unreadable one.
fn x_forwarded_hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(X_FORWARDED_FOR).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(node)
        .collect()
}

/// The `for=` of each element of `Forwarded`, nearest last.
fn forwarded_hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(FORWARDED).into_iter();
    lines
        .flat_map(|line| split_unquoted(line.as_bytes(), b','))
        .map(|element| {
            split_unquoted(element, b';').into_iter().find_map(|pair| {
                let (name, value) = pair.split_at_checked(4)?;
                name.eq_ignore_ascii_case(b"for=").then(|| node(value))?
            })
        })
        .collect()
}

/// Splits at `separator` outside of quoted strings, and trims.
fn split_unquoted(text: &[u8], separator: u8) -> Vec<&[u8]> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    text.split(|&byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'"' if !was_escaped => is_quoted = !is_quoted,
            b'\\' if is_quoted && !was_escaped => is_escaped = true,
            _ => {}
        }
        byte == separator && !is_quoted
    })
    .map(<[u8]>::trim_ascii)
    .collect()
}

/// An address with or without port, brackets and quotes.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text.trim_ascii()).ok()?;
    let quoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let text = quoted.unwrap_or(text);
    let bracketed = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = match text.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => match text.parse::<SocketAddr>() {
            Ok(socket) => socket.ip(),
            Err(_) => IpAddr::V6(bracketed?.parse().ok()?),
        },
    };
    Some(address.to_canonical())
}

/// Writes this hop into `headers` in the configured style.
pub fn write(
    headers: &mut HeaderMap,
    style: ForwardedStyle,
    peer: &Peer,
    client: Client,
    scheme: &Scheme,
    authority: Option<&Authority>,
    certificate: Option<&HeaderValue>,
) {
    let (writes_x, writes_forwarded) = match style {
        ForwardedStyle::XForwarded => (true, false),
        ForwardedStyle::Forwarded => (false, true),
        ForwardedStyle::Both => (true, true),
        ForwardedStyle::None => (false, false),
    };
    let hop = Hop {
        address: writes_x.then(|| peer.text.clone()),
        proto: writes_x.then(|| HeaderValue::from_static(proto(scheme))),
        host: authority
            .filter(|_| writes_x)
            .and_then(|authority| value(authority.as_str())),
        certificate: certificate.cloned(),
        element: writes_forwarded
            .then(|| forwarded_element(peer.address, scheme, authority))
            .and_then(|element| value(&element)),
    };
    if client.is_behind_trusted {
        hop.add_to(headers);
    } else {
        hop.replace_in(headers);
    }
}

fn proto(scheme: &Scheme) -> &'static str {
    if *scheme == Scheme::HTTPS {
        "https"
    } else {
        "http"
    }
}

fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

/// What this hop has to say, as far as the style wants it.
struct Hop {
    address: Option<HeaderValue>,
    proto: Option<HeaderValue>,
    host: Option<HeaderValue>,
    certificate: Option<HeaderValue>,
    element: Option<HeaderValue>,
}

impl Hop {
    /// What an untrusted peer said goes, whatever the style.
    fn replace_in(self, headers: &mut HeaderMap) {
        let fields = [
            (X_FORWARDED_FOR, self.address),
            (X_FORWARDED_PROTO, self.proto),
            (X_FORWARDED_HOST, self.host),
            (X_FORWARDED_CLIENT_CERT, self.certificate),
            (FORWARDED, self.element),
        ];
        for (name, value) in fields {
            match value {
                Some(value) => {
                    headers.insert(name, value);
                }
                None if headers.contains_key(&name) => {
                    headers.remove(name);
                }
                None => {}
            }
        }
    }

    /// `-Proto` and `-Host` are about the first hop: what a trusted one said stays.
    fn add_to(self, headers: &mut HeaderMap) {
        if let Some(address) = self.address {
            append_to_list(headers, X_FORWARDED_FOR, address);
        }
        if let Some(certificate) = self.certificate {
            append_to_list(headers, X_FORWARDED_CLIENT_CERT, certificate);
        }
        if let Some(element) = self.element {
            append_to_list(headers, FORWARDED, element);
        }
        for (name, value) in [
            (X_FORWARDED_PROTO, self.proto),
            (X_FORWARDED_HOST, self.host),
        ] {
            if let Some(value) = value {
                headers.entry(name).or_insert(value);
            }
        }
    }
}

/// Adds `member` to a list field, in one line: many origins read only the first.
fn append_to_list(headers: &mut HeaderMap, name: HeaderName, member: HeaderValue) {
    let mut joined = Vec::new();
    for line in headers.get_all(&name) {
        joined.extend_from_slice(line.as_bytes());
        joined.extend_from_slice(b", ");
    }
    let value = if joined.is_empty() {
        member
    } else {
        joined.extend_from_slice(member.as_bytes());
        HeaderValue::try_from(joined).unwrap_or(member)
    };
    headers.insert(name, value);
}

fn forwarded_element(peer: IpAddr, scheme: &Scheme, authority: Option<&Authority>) -> String {
    let mut element = String::with_capacity(64);
    let written = match peer {
        unknown if unknown.is_unspecified() => write!(element, "for=unknown"),
        IpAddr::V4(address) => write!(element, "for={address}"),
        IpAddr::V6(address) => write!(element, "for=\"[{address}]\""),
    };
    written.expect("a string takes every text");
    if let Some(authority) = authority {
        // Quoted, as a port's colon is no token character.
        element.push_str(";host=\"");
        element.push_str(authority.as_str());
        element.push('"');
    }
    element.push_str(";proto=");
    element.push_str(scheme.as_str());
    element
}

#[cfg(test)]
mod tests;
