//! A key set that is fetched from its issuer: kept in `shared` for all instances,
//! fetched again from time to time by the job, and once in a while when a token
//! names a key that nobody knows.
//!
//! Entries have no expiry: when the issuer is gone, the last good set stays.

use std::cell::Cell;
use std::time::Duration;

use lockgate_sdk::http_client::Call;
use lockgate_sdk::shared::{self, SharedError};
use lockgate_sdk::{Error, log, time};

use crate::digest::Fingerprint;
use crate::jwt::{KeyRules, Keys, read_set};

/// How long nobody asks again for a key that was not there.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an issuer may take to be asked for a key. Meanwhile nobody else asks, and
/// no longer: who asked may be gone with its client, and tells nobody.
pub const ASKING: Duration = Duration::from_secs(3);
/// Bytes in front of a set: when it was asked for, in nanoseconds since 1970.
const STAMP: usize = size_of::<u64>();
/// What `asked` holds of a key.
const ANSWERED: &[u8] = b"answered";
const IN_VAIN: &[u8] = b"in vain";

/// Where a set is, and which of its keys count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub cluster: String,
    pub path: String,
    pub refresh: Duration,
    pub rules: KeyRules,
}

/// The set as one instance follows it.
pub struct Remote {
    source: Source,
    /// Of the mark whose set was read last; 0 before there was one.
    version: Cell<u64>,
}

/// Whether the issuer was asked for an unknown key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Just now or lately: what it publishes is known.
    Answered,
    /// Without a key set for an answer.
    InVain,
    /// Another exchange asks, or did a moment ago.
    NotYet,
}

impl Source {
    /// Changes whenever the set does, and is small: read for every request.
    fn mark(&self) -> String {
        format!("jwks mark {}{}", self.cluster, self.path)
    }

    fn set(&self) -> String {
        format!("jwks set {}{}", self.cluster, self.path)
    }

    /// There while somebody asks for a key, whichever it is.
    fn asking(&self) -> String {
        format!("jwks asking {}{}", self.cluster, self.path)
    }

    /// By a digest, because strangers choose the name.
    fn asked(&self, key: &str) -> String {
        let digest = Fingerprint::of(&[key.as_bytes()]).spread();
        format!("jwks asked {digest:016x} {}{}", self.cluster, self.path)
    }

    /// Asks the issuer, and shares a good answer. Without one, what was shared
    /// before stays.
    pub fn fetch(&self) -> Result<(), Error> {
        self.fetch_by(Call::get(&self.path))
    }

    fn fetch_by(&self, call: Call) -> Result<(), Error> {
        let began = u64::try_from(time::since_epoch().as_nanos()).unwrap_or(u64::MAX);
        let answer = call
            .header("accept", "application/json")
            .send(&self.cluster)
            .map_err(|error| self.failed(error))?;
        if answer.status != 200 {
            return Err(self.failed(format_args!("it answered with status {}", answer.status)));
        }
        let set = read_set(&answer.body, &self.rules).map_err(|error| self.failed(error))?;
        for note in &set.notes {
            log::warn!("{note}", cluster = self.cluster, path = self.path);
        }
        self.share(began, &answer.body)
            .map_err(|error| match error {
                SharedError::TooLarge => self.failed(
                    "it is larger than an entry of `shared` may be (`limits.max_shared_entry`)",
                ),
                other => other.into(),
            })
    }

    fn failed(&self, why: impl std::fmt::Display) -> Error {
        Error::new(format_args!(
            "no key set from `{}` of the cluster `{}`: {why}",
            self.path, self.cluster
        ))
    }

    /// Of two answers that come at once, the one asked for last is kept.
    fn share(&self, began: u64, body: &[u8]) -> Result<(), SharedError> {
        let mut is_news = false;
        shared::update(&self.set(), None, |known| {
            let known = known.and_then(<[u8]>::split_first_chunk::<STAMP>);
            is_news = known.is_none_or(|(_, known)| known != body);
            let is_newer = known.is_none_or(|(stamp, _)| {
                let ahead = u64::from_le_bytes(*stamp).saturating_sub(began);
                // Further ahead the clock was wrong then.
                ahead == 0 || u128::from(ahead) > PATIENCE.as_nanos()
            });
            is_newer.then(|| [&began.to_le_bytes(), body].concat())
        })?;
        match is_news || shared::get(&self.mark()).is_none() {
            true => shared::set(&self.mark(), began.to_le_bytes(), None),
            false => Ok(()),
        }
    }
}

impl Remote {
    /// A set that is yet to be read.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            version: Cell::new(0),
        }
    }

    /// Whether there ever was a set.
    pub fn is_known(&self) -> bool {
        self.version.get() != 0
    }

    /// The keys, if they are others than those given last.
    pub fn news(&self) -> Option<Keys> {
        let mark = shared::get(&self.source.mark())?.version;
        if mark == self.version.get() {
            return None;
        }
        let set = shared::get(&self.source.set())?;
        // Only what can be read was shared, by this version or another.
        let body = set.value.get(STAMP..)?;
        let set = read_set(body, &self.source.rules).ok()?;
        self.version.set(mark);
        Some(set.keys)
    }

    /// Asks the issuer for a key that nobody knows, unless that was done lately:
    /// strangers can make up names of keys. One who does keeps nobody from asking for
    /// another key for longer than [`ASKING`], and any answer tells of all keys.
    pub fn ask(&self, key: &str) -> Asked {
        let source = &self.source;
        let asked = source.asked(key);
        match shared::get(&asked) {
            Some(entry) if entry.value == IN_VAIN => return Asked::InVain,
            Some(_) => return Asked::Answered,
            None => {}
        }
        if shared::replace(&source.asking(), 0, b"", Some(ASKING)).is_err() {
            return Asked::NotYet;
        }
        let (outcome, note) = match source.fetch_by(Call::get(&source.path).timeout(ASKING)) {
            Ok(()) => (Asked::Answered, ANSWERED),
            Err(error) => {
                log::warn!("{error}");
                (Asked::InVain, IN_VAIN)
            }
        };
        if let Err(error) = shared::set(&asked, note, Some(PATIENCE)) {
            log::debug!("cannot tell that the issuer was asked", error = error);
        }
        outcome
    }
}
