//! As much of balancing as the configuration names.

#[path = "../../proxy/src/balance/backoff.rs"]
pub mod backoff;
#[path = "../../proxy/src/balance/retry_budget.rs"]
pub mod retry_budget;
