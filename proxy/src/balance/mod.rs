//! Who takes the next request, and how much may be asked of whom: the algorithms alone.
//!
//! Takes: weights, tallies, health, and time and chance as arguments. Gives: the index of an
//! endpoint, shares, verdicts. Each file has one subject and names where it comes from.
//! Must never: read a clock, draw from a generator of its own, touch a socket, or know a
//! cluster. What picks takes no lock and allocates nothing; what is built for picking (a
//! schedule, a ring, a table) is built aside and never changed.
//!
//! Time is what passed since any fixed moment. A clock that jumps back is one that stood still.

pub mod stride;
