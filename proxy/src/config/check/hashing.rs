//! How a cluster's endpoints are picked, and by which key of a request.

use std::num::NonZeroU8;

use super::Checker;
use super::address::{Wrong, read_header};
use crate::config::checked::{Balance, HashKey, HashTable, Hashing, SetCookie};
use crate::config::place::below;
use crate::config::raw::{RawBalance, RawCluster, RawHashKey, RawHashName, RawHashWord};

/// Endpoints that are drawn, where nothing is said.
const TWO: NonZeroU8 = NonZeroU8::new(2).expect("it is not zero");

impl Checker<'_> {
    pub(super) fn balance(&mut self, at: &str, raw: &RawCluster) -> Balance {
        // From 2 to 16, by the schema.
        let choices = raw.choices.unwrap_or(TWO);
        let table = match raw.balance {
            RawBalance::RingHash => Ok(HashTable::Ring),
            RawBalance::Maglev => Ok(HashTable::Maglev),
            RawBalance::RoundRobin => Err(Balance::RoundRobin),
            RawBalance::LeastRequest => Err(Balance::LeastRequest(choices)),
            RawBalance::PeakEwma => Err(Balance::PeakEwma(choices)),
            RawBalance::Random => Err(Balance::Random),
        };
        let draws = [RawBalance::LeastRequest, RawBalance::PeakEwma];
        if raw.choices.is_some() && !draws.contains(&raw.balance) {
            let found = "`choices` with a policy that draws none";
            let wanted = "no such key, or `balance: least_request` or `peak_ewma`";
            self.mistake(&below(at, "choices"), found, wanted);
        }
        match table {
            Ok(table) => Balance::Hash(self.hashing(at, raw, table)),
            Err(other) => {
                let keys = [
                    ("hash_key", raw.hash_key.is_some()),
                    ("bounded_load", raw.bounded_load.is_some()),
                ];
                for (key, _) in keys.into_iter().filter(|(_, is_there)| *is_there) {
                    let found = format!("`{key}` with a policy that does not hash");
                    let wanted = "no such key, or `balance: ring_hash` or `maglev`";
                    self.mistake(&below(at, key), found, wanted);
                }
                other
            }
        }
    }

    fn hashing(&mut self, at: &str, raw: &RawCluster, table: HashTable) -> Hashing {
        let at = below(at, "hash_key");
        let keys = raw.hash_key.as_deref().map(|keys| {
            let keys = keys.iter().enumerate();
            keys.filter_map(|(index, key)| self.hash_key(&below(&at, index), key.as_ref()?))
                .collect()
        });
        Hashing {
            table,
            // From 1 to 1000, by the schema.
            bound_percent: raw.bounded_load.map(|bound| (bound * 100.0).round() as u32),
            keys: keys.unwrap_or_else(|| vec![HashKey::Filter, HashKey::Address]),
        }
    }

    fn hash_key(&mut self, at: &str, raw: &RawHashKey) -> Option<HashKey> {
        let named = match raw {
            RawHashKey::Word(RawHashWord::Filter) => return Some(HashKey::Filter),
            RawHashKey::Word(RawHashWord::Address) => return Some(HashKey::Address),
            RawHashKey::Named(named) => named,
        };
        match (&named.header, &named.cookie) {
            (Some(header), None) if named.ttl.is_none() && named.path.is_none() => self
                .text(&below(at, "header"), header, read_header)
                .map(HashKey::Header),
            (None, Some(cookie)) => {
                let name = self.text(&below(at, "cookie"), cookie, read_cookie);
                let set = self.set_cookie(at, named);
                Some(HashKey::Cookie { name: name?, set })
            }
            (Some(_), None) => {
                let wanted = "`ttl` and `path` with `cookie` only";
                self.mistake(at, "a field with attributes of a cookie", wanted);
                None
            }
            (None, None) | (Some(_), Some(_)) => {
                let wanted = "either `header` or `cookie`";
                self.mistake(at, "a map with both or neither", wanted);
                None
            }
        }
    }

    /// The attributes of a cookie that is set where there is none.
    fn set_cookie(&mut self, at: &str, raw: &RawHashName) -> Option<SetCookie> {
        let path = match &raw.path {
            Some(path) => self.text(&below(at, "path"), path, read_path)?,
            None => "/".to_owned(),
        };
        let Some(ttl) = raw.ttl else {
            if raw.path.is_some() {
                let wanted = "`ttl` beside it: without that no cookie is set";
                self.mistake(
                    &below(at, "path"),
                    "a path of a cookie that is never set",
                    wanted,
                );
            }
            return None;
        };
        let age = match self.time(at, "ttl", ttl).as_secs() {
            0 => String::new(),
            seconds => format!("; Max-Age={seconds}"),
        };
        let attributes = format!("{age}; Path={path}; HttpOnly; SameSite=Lax");
        Some(SetCookie { path, attributes })
    }
}

/// RFC 6265 section 4.1.1.
fn read_cookie(text: &str) -> Result<String, Wrong> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    match !text.is_empty() && text.chars().all(is_token) {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new("the name of a cookie, such as `affinity`")),
    }
}

fn read_path(text: &str) -> Result<String, Wrong> {
    let is_good = |c: char| c.is_ascii_graphic() && c != ';';
    match text.starts_with('/') && text.chars().all(is_good) {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new(
            "a path with a `/` at its beginning and without `;`",
        )),
    }
}
