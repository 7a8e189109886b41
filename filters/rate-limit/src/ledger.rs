//! Where requests are counted: for each key its theoretical arrival time, in the
//! state that all workers share.
//!
//! A count is exact over all workers, because it takes effect only if nobody
//! counted since it was read; else it is read and decided again.

use lockgate_sdk::prelude::*;
use lockgate_sdk::shared::{self, SharedError};

use crate::config::Undecided;
use crate::form;
use crate::gcra::Decision;
use crate::limit::Limit;

/// A key under which a request is to be counted.
pub struct Claim<'a> {
    pub limit: &'a Limit,
    pub key: String,
}

/// Where a client stands with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How many more requests may come now.
    pub left: u64,
    /// Until the limit is whole again; where nothing is left, until one more may
    /// come.
    pub after: Duration,
}

/// What becomes of the request.
pub enum Settlement<'a> {
    /// Counted in these. Those that could not be told are not among them.
    Passed(Vec<(&'a Limit, Standing)>),
    /// Refused by these, and counted nowhere.
    Refused(Vec<(&'a Limit, Standing)>),
    /// One of them could not be told, and that was enough.
    Undecided,
}

/// Count a request under all of the keys or under none. At first all are looked
/// at, so that what is refused costs no writing; `told` hears of each that could
/// not be decided.
pub fn settle<'a>(
    claims: &'a [Claim<'a>],
    now: u64,
    undecided: Undecided,
    told: impl Fn(&Limit, SharedError),
) -> Settlement<'a> {
    let read: Vec<_> = claims.iter().map(|claim| claim.read(now)).collect();
    let refused: Vec<_> = read.iter().filter_map(Reading::refusal).collect();
    if !refused.is_empty() {
        return Settlement::Refused(refused);
    }
    let mut passed = Vec::with_capacity(read.len());
    for (index, reading) in read.into_iter().enumerate() {
        let limit = reading.claim.limit;
        let failed = match reading.count(now) {
            Ok(standing) => {
                passed.push((index, standing));
                continue;
            }
            Err(Uncounted::Refused(standing)) => Settlement::Refused(vec![(limit, standing)]),
            Err(Uncounted::Undecided(error)) => {
                told(limit, error);
                match undecided {
                    Undecided::Allow => continue,
                    Undecided::Deny => Settlement::Undecided,
                }
            }
        };
        for (index, _) in passed {
            claims[index].give_back();
        }
        return failed;
    }
    let standings = passed.into_iter();
    let standings = standings.map(|(index, standing)| (claims[index].limit, standing));
    Settlement::Passed(standings.collect())
}

/// What was found under a key, and what follows.
struct Reading<'a> {
    claim: &'a Claim<'a>,
    version: u64,
    decision: Decision,
}

enum Uncounted {
    /// Others were faster, and now it exceeds the limit.
    Refused(Standing),
    Undecided(SharedError),
}

impl<'a> Claim<'a> {
    fn read(&'a self, now: u64) -> Reading<'a> {
        let entry = shared::get(&self.key);
        let tat = entry.as_ref().and_then(|entry| form::decode(&entry.value));
        Reading {
            claim: self,
            version: entry.map_or(0, |entry| entry.version),
            decision: self.limit.gcra.decide(tat, now),
        }
    }

    /// Count one request fewer. Should that fail, the client has one fewer until
    /// the limit is whole again.
    fn give_back(&self) {
        let gcra = self.limit.gcra;
        let result = shared::update(&self.key, Some(gcra.longest()), |value| {
            let tat = gcra.without_one(form::decode(value?)?);
            Some(form::encode(tat).into())
        });
        if let Err(error) = result {
            log::debug!(
                "cannot give a request back",
                limit = self.limit.name,
                error = error
            );
        }
    }
}

impl<'a> Reading<'a> {
    fn refusal(&self) -> Option<(&'a Limit, Standing)> {
        match self.decision {
            Decision::Conforms { .. } => None,
            Decision::Exceeds { after } => Some((self.claim.limit, Standing { left: 0, after })),
        }
    }

    fn count(mut self, now: u64) -> Result<Standing, Uncounted> {
        for _ in 0..shared::TRIES {
            let (tat, left, whole_after) = match self.decision {
                Decision::Conforms {
                    tat,
                    left,
                    whole_after,
                } => (tat, left, whole_after),
                Decision::Exceeds { after } => {
                    return Err(Uncounted::Refused(Standing { left: 0, after }));
                }
            };
            let Claim { key, limit } = self.claim;
            let value = form::encode(tat);
            match shared::replace(key, self.version, value, Some(whole_after)) {
                Ok(_) => {
                    let after = match left {
                        0 => limit.gcra.wait(tat, now),
                        _ => whole_after,
                    };
                    return Ok(Standing { left, after });
                }
                Err(SharedError::Conflict) => self = self.claim.read(now),
                Err(error) => return Err(Uncounted::Undecided(error)),
            }
        }
        Err(Uncounted::Undecided(SharedError::Conflict))
    }
}
