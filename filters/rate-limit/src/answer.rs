//! What clients are told: `Retry-After` (RFC 9110, section 10.2.3), and the
//! fields of draft-ietf-httpapi-ratelimit-headers in their structured form.

use lockgate_sdk::prelude::*;

use crate::ledger::Standing;
use crate::limit::Limit;

pub const POLICY: &str = "ratelimit-policy";
pub const STANDING: &str = "ratelimit";

/// `RateLimit-Policy` and `RateLimit`, a member for each limit.
pub fn fields(standings: &[(&Limit, Standing)]) -> (String, String) {
    let policies = standings.iter().map(|(limit, _)| limit.policy.clone());
    let members = standings.iter().map(|(limit, standing)| {
        let Standing { left, after } = *standing;
        format!("\"{}\";r={left};t={}", limit.name, seconds(after))
    });
    let list = |members: Vec<String>| members.join(", ");
    (list(policies.collect()), list(members.collect()))
}

/// The answer to a request that was refused. The first has the longest wait, which
/// is the one that matters.
pub fn too_many(refused: &[(&Limit, Standing)], headers: bool) -> Reply {
    let wait = refused.first().map(|(_, standing)| standing.after);
    let wait = seconds(wait.unwrap_or_default());
    let reply = Reply::text(429, "too many requests\n").header("retry-after", wait.to_string());
    if !headers {
        return reply;
    }
    let (policy, standing) = fields(refused);
    reply.header(POLICY, policy).header(STANDING, standing)
}

/// Nobody knows whether there were too many.
pub fn undecided() -> Reply {
    Reply::text(503, "try again\n").header("retry-after", "1")
}

pub fn no_key() -> Reply {
    Reply::text(403, "forbidden\n")
}

/// Whole seconds, and none too few: who comes back then is let in.
fn seconds(time: Duration) -> u64 {
    let begun = u64::from(time.subsec_nanos() > 0);
    (time.as_secs() + begun).max(1)
}
