//! What was denied: one line each.

use lockgate_sdk::prelude::*;

use crate::subject::{self, Identity};

/// Of a path, in a line: what is longer would push out the rest.
const MAX_PATH: usize = 512;

/// Who wanted what, and which rule was against it. Queries are left out, because they may
/// have secrets in them. The field `audit` is what the proxy knows such a line by.
pub fn record(exchange: &Exchange, identity: &Identity, decision: &str, rule: &str) {
    let text = |found: Option<String>| found.unwrap_or_else(|| "-".to_owned());
    let request = exchange.request();
    let target = request.path();
    let path = target.split('?').next().unwrap_or_default();
    let path: String = path.chars().take(MAX_PATH).collect();
    log::info!(
        "access",
        audit = decision,
        rule = rule,
        subject = text(identity.subject(exchange)),
        spiffe = text(subject::spiffe(exchange)),
        peer = text(subject::peer_subject(exchange)),
        address = exchange.client_address(),
        method = request.method(),
        host = request.authority(),
        path = path,
    );
}
