//! From an accepted socket to a connection that bytes of HTTP come from.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::Accepted;
use super::linger::linger;
use super::place::take_handshake;
use crate::client::{Client, Stream, TlsStream};
use crate::deadline::{Alarm, within};
use crate::exchange::Local;
use crate::http::forwarded::Peer;
use crate::listener::Handshaking;
use crate::snapshot::WorkerListener;
use crate::stats::HandshakeFailure;
use crate::tls::{self, Failure, TlsFacts};

/// A connection, and what is known of it where it is TLS.
pub type Established = (Stream, Option<Arc<TlsFacts>>);

const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain\r\ncontent-length: 60\r\nconnection: close\r\n\r\n\
    This port speaks HTTPS, and the request was sent without TLS";

/// Shakes hands where the listener wants it. `None` when nothing came of that. What was
/// read before is no beginning of a handshake.
pub async fn establish(
    local: &Rc<Local>,
    accepted: Accepted,
    peer: &Peer,
    read: &[u8],
) -> Option<Established> {
    let snapshot = local.snapshot_for(&accepted.socket);
    let listener = snapshot.listener(&accepted.socket)?;
    match &listener.shared.tls {
        None => Some((Stream::Tcp(accepted.stream), None)),
        // Boxed, so that a connection does not carry room for a handshake.
        Some(server) => Box::pin(shake(local, listener, server, accepted, peer, read)).await,
    }
}

async fn shake(
    local: &Rc<Local>,
    listener: &WorkerListener,
    server: &Arc<tls::Server>,
    accepted: Accepted,
    client: &Peer,
    read: &[u8],
) -> Option<Established> {
    let stats = &listener.shared.stats.of(local.worker).tls;
    let config = &listener.shared.config;
    let peer = accepted.peer;
    let of_client = take_handshake(listener, &accepted.socket, client);
    let of_all = Handshaking::begin(&accepted.socket, config.limits.max_handshakes);
    let outcome = match (of_client, of_all) {
        _ if !read.is_empty() => Err((HandshakeFailure::PlainHttp.into(), Some(accepted.stream))),
        (None, _) => Err((HandshakeFailure::ClientLimit.into(), None)),
        (_, None) => Err((HandshakeFailure::Limit.into(), None)),
        (Some(_of_client), Some(_of_all)) => {
            let accept = pin!(tls::accept(server, accepted.stream));
            within(&mut Alarm::default(), config.timeouts.handshake, accept)
                .await
                .unwrap_or_else(|| Err((HandshakeFailure::Timeout.into(), None)))
        }
    };
    match outcome {
        Ok(tls) => {
            let facts = TlsFacts::of(tls.session());
            stats.count_done(facts.version, facts.is_resumed);
            Some((established(tls), Some(Arc::new(facts))))
        }
        Err((Failure { reason, cause }, tcp)) => {
            stats.failed(reason).add(1);
            let cause = cause.map(tracing::field::display);
            tracing::debug!(%peer, listener = &*config.name, reason = reason.name(), cause, "no TLS handshake");
            if let Some(tcp) = tcp {
                part(tcp, reason).await;
            }
            None
        }
    }
}

fn established(tls: TlsStream) -> Stream {
    Stream::Tls(Box::new(tls))
}

/// Lets the client read why: what it sent meanwhile would otherwise make the kernel
/// reset the connection, and the alert with it.
async fn part(tcp: TcpStream, reason: HandshakeFailure) {
    let mut client = Client::new(Stream::Tcp(tcp));
    if reason == HandshakeFailure::PlainHttp {
        client.writer.buffer.extend_from_slice(PLAIN_HTTP);
        if client.writer.flush().await.is_err() {
            return;
        }
    }
    linger(&mut client).await;
}
