//! Whose connection it is: what comes before everything else on it.

use std::pin::pin;

use bytes::BytesMut;

use super::Accepted;
use crate::config::ProxyProtocol;
use crate::deadline::{Alarm, within};
use crate::exchange::Local;
use crate::http::forwarded::{Peer, contains};
use crate::proxy_protocol::{Introduction, Unreadable, read};
use crate::stats::HeaderOutcome;

/// A connection whose client is known.
pub struct Introduced {
    pub peer: Peer,
    /// Taken for the beginning of a header, which it is not.
    pub read: BytesMut,
}

/// Reads the PROXY header where the listener wants one. `None` when the connection is
/// to be closed.
pub async fn introduce(local: &Local, accepted: &Accepted) -> Option<Introduced> {
    let snapshot = local.snapshot_for(&accepted.socket);
    let listener = snapshot.listener(&accepted.socket)?;
    let address = accepted.peer.ip();
    let mut bytes = BytesMut::new();
    let Some(rules) = &listener.shared.config.proxy_protocol else {
        let peer = Peer::new(address);
        return Some(Introduced { peer, read: bytes });
    };
    // Boxed, so that a connection does not carry room for it.
    let header = Box::pin(header(rules, accepted, &mut bytes)).await;
    let outcome = match &header {
        Ok(introduction) if introduction.is_v1() => HeaderOutcome::V1,
        Ok(_) => HeaderOutcome::V2,
        Err(outcome) => *outcome,
    };
    listener
        .shared
        .stats
        .of(local.worker)
        .proxy_headers
        .count(outcome);
    match header {
        Ok(introduction) => Some(Introduced {
            peer: Peer::introduced(address, introduction),
            read: BytesMut::new(),
        }),
        Err(HeaderOutcome::Absent) => Some(Introduced {
            peer: Peer::new(address),
            read: bytes,
        }),
        Err(outcome) => {
            let listener = &*listener.shared.config.name;
            tracing::debug!(peer = %accepted.peer, listener, outcome = outcome.name(), "closed for its PROXY header");
            None
        }
    }
}

/// Or why there is none.
async fn header(
    rules: &ProxyProtocol,
    accepted: &Accepted,
    bytes: &mut BytesMut,
) -> Result<Introduction, HeaderOutcome> {
    if !contains(&rules.from, accepted.peer.ip()) {
        return Err(match rules.is_required {
            true => HeaderOutcome::Untrusted,
            false => HeaderOutcome::Absent,
        });
    }
    let read = pin!(read(&accepted.stream, bytes));
    let read = within(&mut Alarm::default(), rules.timeout, read).await;
    match read {
        Some(Ok(Some(introduction))) => Ok(introduction),
        Some(Ok(None)) if rules.is_required => Err(HeaderOutcome::Missing),
        None if rules.is_required => Err(HeaderOutcome::Timeout),
        Some(Ok(None)) | None => Err(HeaderOutcome::Absent),
        Some(Err(Unreadable::Malformed)) => Err(HeaderOutcome::Malformed),
        Some(Err(Unreadable::Ended | Unreadable::Broken(_))) => Err(HeaderOutcome::Closed),
    }
}
