//! The secrets that filters may be granted.
//!
//! Takes: checked secrets, and word that their files may have changed. Gives: their
//! bytes as they are now, to every generation and worker at once; comparisons and
//! signatures with them; texts without them.
//! Must never: tell a byte of one to a log, a message or `Debug`; take time by which
//! one can be guessed; or give up a good value for a bad one.
//!
//! A [`Secret`] is what the configuration names, a [`Value`] what it is at a time.
//! Values change without a reload, so a call that uses one takes it anew.

mod mask;
mod secret;
mod value;

pub use mask::mask;
pub use secret::Secret;
pub use value::Value;
