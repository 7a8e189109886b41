//! The form of a count: the theoretical arrival time of a key as it stands in the
//! entry that all workers share.
//!
//! Entries outlive versions of this filter. One that keeps them in another form has to
//! read this one, and to say so (`HandOver` of the SDK); without that it is the form 0.

/// What is kept of this time.
pub fn encode(tat: u64) -> [u8; 8] {
    tat.to_le_bytes()
}

/// The time that was kept. `None` for what this filter did not leave.
pub fn decode(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_le_bytes)
}
