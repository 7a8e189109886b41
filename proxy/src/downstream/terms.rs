//! Whether a connection that took its time to come in would still come in that way.

use std::sync::Arc;

use crate::config::{ClientCertificates, ProxyProtocol};
use crate::exchange::Local;
use crate::listener::Socket;
use crate::snapshot::Listener;

/// The rules by which a listener learns whose connection it has, as they were when it
/// came. Not to be kept for longer than it takes to come in: it holds a listener.
pub struct Terms(Arc<Listener>);

impl Terms {
    /// `None` where the listener is gone.
    pub fn of(local: &Local, socket: &Arc<Socket>) -> Option<Self> {
        let snapshot = local.snapshot_for(socket);
        let listener = snapshot.listener(socket)?;
        Some(Self(listener.shared.clone()))
    }

    /// Whether those of now are the same. By others the client may be somebody else, or
    /// nobody, and there is no asking it again.
    pub fn still_hold(&self, local: &Local, socket: &Arc<Socket>) -> bool {
        let snapshot = local.snapshot_for(socket);
        let Some(now) = snapshot.listener(socket) else {
            return false;
        };
        Arc::ptr_eq(&self.0, &now.shared) || rules(&self.0) == rules(&now.shared)
    }
}

/// Of PROXY headers, whether there is TLS, and which certificates it asks for.
type Rules<'a> = (
    Option<&'a ProxyProtocol>,
    Option<Option<&'a ClientCertificates>>,
);

fn rules(listener: &Listener) -> Rules<'_> {
    let tls = listener.tls.as_ref();
    (
        listener.config.proxy_protocol.as_ref(),
        tls.map(|tls| tls.configured.client.as_ref()),
    )
}
