//! Who a request is from: what the proxy and the filter that authenticates left.

use lockgate_sdk::prelude::*;

/// The names of attributes of the filter that authenticates.
#[derive(Debug)]
pub struct Identity {
    subject: String,
    claims: String,
}

impl Identity {
    pub fn of(filter: &str) -> Self {
        Self {
            subject: format!("{filter}.subject"),
            claims: format!("{filter}.claim."),
        }
    }

    pub fn subject(&self, exchange: &Exchange) -> Option<String> {
        exchange.attribute(&self.subject)
    }

    /// The attribute that has this claim.
    pub fn claim(&self, name: &str) -> String {
        format!("{}{name}", self.claims)
    }
}

pub fn spiffe(exchange: &Exchange) -> Option<String> {
    exchange.attribute("tls.peer.spiffe")
}

pub fn peer_subject(exchange: &Exchange) -> Option<String> {
    exchange.attribute("tls.peer.subject")
}

/// `DNS:a,URI:b`: none has a comma within.
pub fn sans(exchange: &Exchange) -> Option<String> {
    exchange.attribute("tls.peer.sans")
}

/// The items of a claim: those of a list that are texts, or words.
pub fn items(claim: &str) -> Vec<String> {
    if !claim.starts_with('[') {
        return claim.split_ascii_whitespace().map(str::to_owned).collect();
    }
    let list: Vec<serde_json::Value> = serde_json::from_str(claim).unwrap_or_default();
    let texts = list.into_iter().filter_map(|item| match item {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    });
    texts.collect()
}
