//! As much of the statistics as the configuration names.

#[path = "../../proxy/src/stats/counter.rs"]
pub mod counter;
#[path = "../../proxy/src/stats/filter.rs"]
pub mod filter;
