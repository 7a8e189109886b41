//! How much the process carries, and what it gives up when that is too much.
//!
//! Takes: connections as they come and go, what the system says of memory and
//! descriptors, how late the timers of workers are. Gives: a level, which workers look at
//! as they accept and as an exchange begins. `level` alone decides; the rest measures.
//! Must never: lock or ask the system where an exchange passes, or end what is under way.

mod descriptors;
mod level;
mod load;
mod memory;
mod watch;

pub use descriptors::{is_exhaustion, raise_limit};
pub use level::Level;
pub use load::Load;
pub use watch::watch;
