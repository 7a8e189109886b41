//! As much of the statistics as the configuration names.

#[path = "../../proxy/src/stats/counter.rs"]
pub mod counter;
#[path = "../../proxy/src/stats/detection.rs"]
pub mod detection;
#[path = "../../proxy/src/stats/filter.rs"]
pub mod filter;

pub use detection::Detected;
