//! By what endpoints are picked.

use std::num::NonZeroU8;

use http::HeaderName;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    RoundRobin,
    /// Power of so many choices.
    LeastRequest(NonZeroU8),
    Random,
    /// Likewise.
    PeakEwma(NonZeroU8),
    /// Equal keys go to the same endpoint.
    Hash(Hashing),
}

impl Balance {
    /// Whether it goes by how requests went.
    pub fn watches(&self) -> bool {
        match self {
            Self::LeastRequest(_) | Self::PeakEwma(_) => true,
            Self::RoundRobin | Self::Random | Self::Hash(_) => false,
        }
    }

    pub fn hashing(&self) -> Option<&Hashing> {
        match self {
            Self::Hash(hashing) => Some(hashing),
            Self::RoundRobin | Self::LeastRequest(_) | Self::Random | Self::PeakEwma(_) => None,
        }
    }

    /// As in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastRequest(_) => "least_request",
            Self::Random => "random",
            Self::PeakEwma(_) => "peak_ewma",
            Self::Hash(hashing) => match hashing.table {
                HashTable::Ring => "ring_hash",
                HashTable::Maglev => "maglev",
            },
        }
    }
}

/// How keys become endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashing {
    pub table: HashTable,
    /// Of an endpoint's share of the requests under way: what it may have of them.
    pub bound_percent: Option<u32>,
    /// The first that a request has.
    pub keys: Vec<HashKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashTable {
    Ring,
    Maglev,
}

/// Where the key of a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// Set by a filter.
    Filter,
    /// The client's.
    Address,
    Header(HeaderName),
    Cookie {
        name: String,
        /// What is set where there is none.
        set: Option<SetCookie>,
    },
}

/// A cookie that clients are to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetCookie {
    pub path: String,
    /// All attributes but `Secure`, as they stand behind the value.
    pub attributes: String,
}

impl SetCookie {
    /// Whether a client sends it with a request for this path (RFC 6265 section 5.1.4).
    pub fn is_for(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.path.as_str());
        rest.is_some_and(|rest| {
            rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/')
        })
    }
}
