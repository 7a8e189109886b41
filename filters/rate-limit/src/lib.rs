//! `lockgate:rate-limit`: refuses what comes too often.
//!
//! `config` is what the operator writes and `check` makes the `RateLimit` of it,
//! which `filter` lets act. `gcra` decides, by time alone; `key` tells what a request
//! is counted by, and `ledger` keeps the counts where all workers share them, in the
//! form of `form`. `answer` is what clients are told.

mod answer;
mod check;
mod config;
mod filter;
mod form;
mod gcra;
mod key;
mod ledger;
mod limit;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use filter::RateLimit;

lockgate_sdk::export!(RateLimit, name = "lockgate:rate-limit");
