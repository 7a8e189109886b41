//! Whether a connection may go on, and where to: what filters of connections say.

use std::rc::Rc;
use std::sync::Arc;

use super::connection::Opened;
use super::first_bytes::{Told, Waits};
use crate::config::Name;
use crate::drain::Watcher;
use crate::error::{ErrorKind, ProxyError};
use crate::exchange::Local;
use crate::filter::{
    ConnectionChain, ConnectionFacts, Lendable, LoadedFilter, Participants, Refused, View,
};
use crate::listener::Socket;
use crate::snapshot::{WorkerListener, WorkerSnapshot};
use crate::stats::Detected;
use crate::tcp::{self, Refusal};

/// A connection that goes on.
#[derive(Default)]
pub struct Admitted {
    /// Where it is sent.
    pub cluster: Option<Name>,
    /// What it is to be balanced by.
    pub hash_key: Option<u64>,
    /// There if a filter wants to hear of its end.
    pub parting: Option<Box<Parting>>,
}

/// What tells filters that a connection is over.
pub struct Parting {
    chain: Rc<ConnectionChain>,
    view: Lendable,
    taken: Participants,
}

impl Parting {
    pub fn tell(mut self) {
        self.chain.on_done(&mut self.view, &mut self.taken);
    }
}

/// Learns what the connection speaks, and asks the listener's filters of connections.
/// `None` when it is to be closed, of which has been told then.
pub async fn admit(local: &Local, watcher: &Watcher, opened: &mut Opened) -> Option<Admitted> {
    loop {
        let snapshot = local.snapshot_for(&opened.socket);
        let listener = snapshot.listener(&opened.socket)?;
        let config = &listener.shared.config;
        opened.is_opaque = config.is_opaque();
        if listener.connection_chain.is_empty() && !config.detects() {
            return Some(Admitted::default());
        }
        // Boxed, so that a connection does not carry room for it.
        let admitted = Box::pin(ask(local, watcher, &snapshot, listener, opened)).await?;
        if has_the_say(local, listener, &opened.socket) {
            return Some(admitted);
        }
        // A reload put others in their place meanwhile. What those that were asked let
        // in is theirs to refuse.
        if let Some(parting) = admitted.parting {
            parting.tell();
        }
    }
}

/// Whether the filters that were asked are those of the current generation, asked about
/// the same.
fn has_the_say(local: &Local, asked: &WorkerListener, socket: &Arc<Socket>) -> bool {
    let snapshot = local.snapshot_for(socket);
    let Some(now) = snapshot.listener(socket) else {
        return false;
    };
    let (asked, now) = (&asked.shared, &now.shared);
    let is_same = |(one, other): (&Arc<LoadedFilter>, &Arc<LoadedFilter>)| Arc::ptr_eq(one, other);
    let (before, chain) = (&asked.connection_chain, &now.connection_chain);
    before.len() == chain.len()
        && before.iter().zip(chain).all(is_same)
        && asked.config.name == now.config.name
        && asked.config.protocols == now.config.protocols
}

async fn ask(
    local: &Local,
    watcher: &Watcher,
    snapshot: &WorkerSnapshot,
    listener: &WorkerListener,
    opened: &mut Opened,
) -> Option<Admitted> {
    let chain = &listener.connection_chain;
    let config = &listener.shared.config;
    let waits = Waits {
        config,
        wanted: chain.preview(),
        local,
        watcher,
    };
    let told = waits.first_bytes(opened).await;
    let told = told.and_then(|told| take_in(local, listener, opened, told));
    let Told { detected, sni } = match told {
        Ok(told) => told,
        Err(error) => {
            give_up(local, listener, opened, &error);
            return None;
        }
    };
    if chain.is_empty() {
        return Some(Admitted::default());
    }
    let mut view = Lendable::new(View {
        client_address: opened.peer.address(),
        listener: config.name.clone(),
        tls: opened.tls.clone(),
        introduction: opened.peer.introduction().cloned(),
        original_destination: opened.peer.original_destination(),
        connection: Some(Box::new(ConnectionFacts {
            destination: opened.stream.local_address(),
            sni,
            is_opaque: opened.is_opaque,
            protocol: detected.map(Detected::name),
        })),
        takes_hash_key: snapshot.takes_hash_keys,
        ..View::without_exchange(snapshot.calls.clone())
    });
    let mut taken = Participants::default();
    let asked = chain
        .on_connection(&mut view, &mut taken, &opened.read)
        .await;
    opened.peer = opened.peer.clone().with_facts(view.attributes.clone());
    if let Err(refused) = asked {
        refuse(local, listener, opened, &refused);
        if chain.wants_done() {
            chain.on_done(&mut view, &mut taken);
        }
        return None;
    }
    Some(Admitted {
        cluster: view.decisions.cluster.take(),
        hash_key: view.decisions.hash_key,
        parting: chain.wants_done().then(|| {
            Box::new(Parting {
                chain: chain.clone(),
                view,
                taken,
            })
        }),
    })
}

/// Counts what the connection was found to speak. A connection of TCP is what a request
/// is of HTTP, so it is refused where that would be.
fn take_in(
    local: &Local,
    listener: &WorkerListener,
    opened: &mut Opened,
    told: Told,
) -> Result<Told, ProxyError> {
    if let Some(detected) = told.detected {
        let stats = listener.shared.stats.of(local.worker);
        stats.detections.count(detected);
        opened.is_opaque = detected.is_opaque();
        if opened.is_opaque && local.sheds() {
            return Err(ErrorKind::Overloaded.into());
        }
    }
    Ok(told)
}

fn refuse(local: &Local, listener: &WorkerListener, opened: &Opened, refused: &Refused) {
    let refusal = Refusal {
        filter: Some(&refused.filter),
        error: &refused.error,
        is_opaque: opened.is_opaque,
    };
    let peers = (&opened.peer, opened.socket_peer);
    tcp::tell_refused(local, listener, peers, &refusal);
    if refused.is_reset {
        opened.stream.set_reset();
    }
}

/// Ends a connection about which no filter was asked. Where it may be of HTTP, nothing is
/// told of connections that end before a request.
pub fn give_up(local: &Local, listener: &WorkerListener, opened: &Opened, error: &ProxyError) {
    if opened.is_opaque {
        let refusal = Refusal {
            filter: None,
            error,
            is_opaque: true,
        };
        let peers = (&opened.peer, opened.socket_peer);
        tcp::tell_refused(local, listener, peers, &refusal);
    }
}
