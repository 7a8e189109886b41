//! Connections that are passed on as they are, whatever their bytes mean.
//!
//! Takes a client's connection once its PROXY header and TLS handshake are done, and the
//! worker's current snapshot; picks an endpoint as a request would, passes bytes until
//! both sides have ended, and tells of the connection once, when it is over.
//! Must never: look into the bytes, keep memory for a connection on which nothing comes,
//! or hold a generation for as long as a connection lasts.

mod tell;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::client::Stream;
use crate::config::Name;
use crate::drain::Watcher;
use crate::error::{ErrorKind, ProxyError};
use crate::exchange::{Bounds, Local, relay};
use crate::http::forwarded::Peer;
use crate::listener::Socket;
use crate::pump::Passed;
use crate::snapshot::{WorkerListener, WorkerSnapshot};
use crate::stats::{ListenerStats, PerWorker};
use crate::upstream::{ConnectTimes, Progress, WorkerCluster, reach_opaque};

/// A client's connection, ready to be passed on.
pub struct TcpClient {
    pub stream: Stream,
    /// Taken for the beginning of something else, which it was not.
    pub read: BytesMut,
    pub socket_peer: SocketAddr,
    pub peer: Peer,
    pub socket: Arc<Socket>,
    pub watcher: Watcher,
    /// Where filters sent it.
    pub cluster: Option<Name>,
    /// What they want it to be balanced by.
    pub hash_key: Option<u64>,
}

/// What is known of a connection beside its bytes.
struct Facts {
    started: SystemTime,
    began: Instant,
    listener: Name,
    /// It is passed on as it is. Filters refuse others too.
    is_opaque: bool,
    cluster: Option<Name>,
    /// That refused it.
    filter: Option<Name>,
    stats: Arc<PerWorker<ListenerStats>>,
    progress: Progress,
    /// Until an endpoint took it.
    connected: Option<Instant>,
    passed: Passed,
}

/// Why a connection goes no further.
pub struct Refusal<'a> {
    /// That refused it.
    pub filter: Option<&'a Name>,
    pub error: &'a ProxyError,
    /// It would have been passed on as it is.
    pub is_opaque: bool,
}

/// Passes a connection on, to its end. Dropping it closes both sides at once, and
/// nothing is told.
pub async fn serve(local: Rc<Local>, client: TcpClient) {
    let Some((mut facts, cluster, bounds)) = begin(&local, &client) else {
        return;
    };
    let (peer, socket_peer) = (client.peer.clone(), client.socket_peer);
    let outcome = pass(client, cluster, bounds, &local, &mut facts).await;
    tell::tell(&local, (&peer, socket_peer), &facts, outcome.err().as_ref());
}

/// Tells of a connection that goes no further: a filter refused it, or it ended before
/// one was asked.
pub fn tell_refused(
    local: &Local,
    listener: &WorkerListener,
    (peer, socket_peer): (&Peer, SocketAddr),
    refusal: &Refusal<'_>,
) {
    let facts = Facts {
        filter: refusal.filter.cloned(),
        cluster: None,
        is_opaque: refusal.is_opaque,
        ..Facts::of(listener)
    };
    tell::tell(local, (peer, socket_peer), &facts, Some(refusal.error));
}

impl Facts {
    fn of(listener: &WorkerListener) -> Self {
        let config = &listener.shared.config;
        Self {
            started: SystemTime::now(),
            began: Instant::now(),
            listener: config.name.clone(),
            is_opaque: true,
            cluster: config.cluster.clone(),
            filter: None,
            stats: listener.shared.stats.clone(),
            progress: Progress::default(),
            connected: None,
            passed: Passed::default(),
        }
    }
}

type Begun = (Facts, Option<Rc<WorkerCluster>>, Bounds);

/// Nothing that stays of it holds the snapshot.
fn begin(local: &Rc<Local>, client: &TcpClient) -> Option<Begun> {
    let snapshot: Rc<WorkerSnapshot> = local.snapshot_for(&client.socket);
    let listener = snapshot.listener(&client.socket)?;
    let mut facts = Facts::of(listener);
    facts.progress = Progress::of_client(&client.peer).with_key(client.hash_key);
    let cluster = match &client.cluster {
        None => listener.cluster.clone(),
        Some(name) => {
            facts.cluster = Some(name.clone());
            snapshot.cluster(name).cloned()
        }
    };
    let own = listener.shared.config.cluster.clone();
    let bounds = Bounds::of_tcp(local, &snapshot, &client.socket, own);
    Some((facts, cluster, bounds))
}

async fn pass(
    client: TcpClient,
    cluster: Option<Rc<WorkerCluster>>,
    mut bounds: Bounds,
    local: &Local,
    facts: &mut Facts,
) -> Result<(), ProxyError> {
    let TcpClient {
        stream,
        read,
        watcher,
        ..
    } = client;
    let reached = match cluster {
        Some(cluster) => {
            let times = ConnectTimes::of(&cluster.cluster().config);
            let reaching = Box::pin(reach_opaque(&cluster, times, &facts.progress));
            bounds
                .until(&watcher, reaching)
                .await
                .and_then(|reached| reached)
        }
        None => Err(ErrorKind::NoRoute.into()),
    };
    let origin = match reached {
        Ok(origin) => origin,
        Err(error) => {
            stream.set_reset();
            return Err(error);
        }
    };
    facts.connected = Some(Instant::now());
    let count = |passed: Passed| {
        let stats = facts.stats.of(local.worker);
        stats.bytes_in.add(passed.up - facts.passed.up);
        stats.bytes_out.add(passed.down - facts.passed.down);
        facts.passed = passed;
    };
    relay((stream, read), origin, &watcher, &mut bounds, count).await
}
