//! What a filter did.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::log::Level;
use crate::testing::{Fate, PutSecret, SentCall};
use crate::{Error, Reply, Timeout, Verdict};

/// What a call came to, and the exchange after it. Of a head it is a verdict, of
/// a body its [`Fate`], of trailers nothing but whether it failed.
#[derive(Debug, Clone)]
pub struct Outcome<V = Verdict> {
    /// What the filter answered. After an error, everything else here is as it
    /// was before the call, but for `calls` and `logs`.
    pub verdict: Result<V, Error>,
    /// The method after the call.
    pub method: String,
    /// The authority after the call.
    pub authority: String,
    /// Path and query after the call.
    pub path: String,
    /// The fields of the request after the call.
    pub request: Head,
    /// Of these fields, those with a secret.
    pub secrets: Vec<PutSecret>,
    /// The status after the call.
    pub status: Option<u16>,
    /// The fields of the response after the call.
    pub response: Head,
    /// The trailers after the call that was for them; otherwise empty.
    pub trailers: Head,
    /// Where `route_to` sent the request.
    pub cluster: Option<String>,
    /// What `set_retry` named.
    pub retry: Option<String>,
    /// What `set_hash_key` set.
    pub hash_key: Option<Vec<u8>>,
    /// What `set_subset` asked for.
    pub subset: Vec<(String, String)>,
    /// What `set_route` named.
    pub route: Option<String>,
    /// The copies that `mirror_to` asked for.
    pub mirrors: Vec<Mirror>,
    /// The delays of this call, added up.
    pub delay: Duration,
    /// What `set_timeout` was given, in order.
    pub timeouts: Vec<(Timeout, Duration)>,
    /// What `set_attribute` left, by the filter's own names.
    pub attributes: BTreeMap<String, String>,
    /// The bytes that follow the exchange.
    pub state: Vec<u8>,
    /// What went out to clusters during this call, in the order of the starts.
    pub calls: Vec<SentCall>,
    /// What was logged during this call.
    pub logs: Vec<LogLine>,
}

impl Outcome {
    /// The filter's answer to the client.
    ///
    /// # Panics
    /// When it did not answer.
    #[track_caller]
    pub fn reply(&self) -> &Reply {
        match &self.verdict {
            Ok(Verdict::Respond(reply)) => reply,
            other => panic!("the filter did not respond: {other:?}"),
        }
    }

    /// Whether the filter lets the exchange go on and stays in it.
    pub fn is_next(&self) -> bool {
        self.verdict == Ok(Verdict::Next)
    }
}

impl Outcome<Fate> {
    /// The bytes that went on.
    ///
    /// # Panics
    /// When none did.
    #[track_caller]
    pub fn sent(&self) -> &[u8] {
        match &self.verdict {
            Ok(Fate::Sent(bytes)) => bytes,
            other => panic!("the body was not sent: {other:?}"),
        }
    }

    /// The filter's answer to the client.
    ///
    /// # Panics
    /// When it did not answer.
    #[track_caller]
    pub fn reply(&self) -> &Reply {
        match &self.verdict {
            Ok(Fate::Answered(reply)) => reply,
            other => panic!("the filter did not respond: {other:?}"),
        }
    }
}

impl<V> Outcome<V> {
    /// A fact that the filter left.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

/// The fields of a message, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head(pub Vec<(String, Vec<u8>)>);

impl Head {
    /// The first value of a field, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).first().copied()
    }

    /// Every value of a field that is UTF-8.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .filter_map(|(_, value)| std::str::from_utf8(value).ok())
            .collect()
    }
}

/// A copy that the filter asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Where the copy goes.
    pub cluster: String,
    /// What is set on it.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A line that the filter logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// The text.
    pub message: String,
    /// What it was logged with.
    pub fields: Vec<(String, String)>,
}
