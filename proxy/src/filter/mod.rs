//! The filter host: runs the WebAssembly components that are the proxy's
//! policy.
//!
//! Takes: component bytes and checked configurations (on the control side, where
//! everything that can fail does), and exchanges (on the workers). Gives: what
//! the filters decided, or which of them failed and how.
//! Must never: let a guest reach another exchange, another filter, the network
//! or the disk; let it run, grow or write without a limit; or leave behind what
//! a failed call did. Nothing here knows the name of any filter.
//!
//! On the control side: [`FilterEngine`] → [`Module`] → [`LoadedFilter`]. On a
//! worker: [`WorkerFilter`] lends instances, [`WorkerChain`] calls them. A [`Job`] is run away
//! from both.

mod ahead;
mod bindings;
mod budget;
mod call;
mod calls;
mod chain;
mod compiler;
mod connection;
mod contract;
mod engine;
mod fault;
mod field;
mod granted;
mod hand_over;
mod head_rules;
mod host;
mod instance;
mod interest;
mod job;
mod job_state;
mod journal;
mod lenience;
mod library;
mod loaded;
mod log;
mod meter;
mod module;
mod names;
pub mod packed;
mod participants;
mod pool;
mod presence;
mod priority;
mod shadow;
mod state;
#[cfg(test)]
pub mod tests;
mod ticker;
pub mod timeouts;
mod transform;
mod verdict;
mod version;
pub mod view;
mod wasi;

pub use call::Collected;
pub use calls::{CallFailed, Calls, Inbound, Outbound};
pub use chain::{FilterFailed, Flow, WorkerChain};
pub use compiler::{COMMAND as COMPILE_COMMAND, Compiler, compile_for_another};
pub use connection::{ConnectionChain, Refused};
pub use contract::{Kind, Refusal, VERSION as CONTRACT};
pub use engine::{EngineOptions, FilterEngine, MAX_MEMORY_BYTES, Opened, StartError};
pub use fault::{Failure, FilterFault};
pub use granted::{Granted, GrantedSecrets, Lines, Shared};
pub use hand_over::{NotTakenOver, hand_over};
pub use interest::{Interest, Phases};
pub use job::{Job, Ran};
pub use job_state::{JobState, Standing};
pub use loaded::{BuildError, Configured, Fared, LoadedFilter, generation, is_reserved};
pub use log::{TARGET as LOG_TARGET, clean};
pub use module::{LoadError, Manifest, Module, Pace};
pub use participants::Participants;
pub use pool::WorkerFilter;
pub use shadow::{Shadow, Understudy};
pub use state::Remark;
pub use transform::Transform;
pub use verdict::{Collect, Reply};
pub use version::{Place, WorkerCanary};
pub use view::{ConnectionFacts, Decisions, HeadLimits, Lendable, Mirror, Told, View};
