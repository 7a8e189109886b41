//! Tokens whose signature was found good before.
//!
//! A client sends its token with every request, and verifying a signature costs
//! a hundred times what reading the token does. What is remembered is only that
//! the signature is good, and only while these keys are: a new configuration, or
//! another set of keys, begins with nothing. The claims, and with them the time, are looked at again
//! for each request.

use std::cell::RefCell;

use crate::digest::Fingerprint;

const SLOTS: usize = 256;

/// Digests of good tokens, each in the one slot where it can stand.
pub struct Verified(RefCell<Vec<Option<Fingerprint>>>);

impl Verified {
    /// With nothing remembered.
    pub fn new() -> Self {
        Self(RefCell::new(vec![None; SLOTS]))
    }

    /// Whether this token is remembered.
    pub fn contains(&self, token: &Fingerprint) -> bool {
        self.0.borrow()[slot(token)].is_some_and(|known| known.same(token).into())
    }

    /// Remember a token, and forget the one that stood in its slot. Only good
    /// tokens come here, so nobody else can have one forgotten.
    pub fn keep(&self, token: Fingerprint) {
        self.0.borrow_mut()[slot(&token)] = Some(token);
    }

    /// Begin anew: the keys are others.
    pub fn forget(&self) {
        self.0.borrow_mut().fill(None);
    }
}

fn slot(token: &Fingerprint) -> usize {
    (token.spread() % SLOTS as u64) as usize
}
