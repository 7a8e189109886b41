//! Whether a connection may go on, and where to: what filters of connections say.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::connection::Opened;
use super::patience::last_request;
use crate::client::Stream;
use crate::config::{self, Name, Protocol};
use crate::deadline::{Alarm, within};
use crate::drain::Watcher;
use crate::error::{ErrorKind, ProxyError};
use crate::exchange::Local;
use crate::filter::{
    ConnectionChain, ConnectionFacts, Lendable, LoadedFilter, Participants, Refused, View,
};
use crate::listener::Socket;
use crate::snapshot::{WorkerListener, WorkerSnapshot};
use crate::tcp;
use crate::tls::{Hello, HelloReader};

/// Of what filters do not need, more is read at once than they asked for.
const READ_BYTES: usize = 4 * 1024;

/// More than this nobody is shown of a connection, whatever a filter wants.
const MAX_PREVIEW: usize = 64 * 1024;

/// A connection that goes on.
#[derive(Default)]
pub struct Admitted {
    /// Where it is sent.
    pub cluster: Option<Name>,
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

/// Asks the listener's filters of connections. `None` when the connection is to be
/// closed, of which has been told then.
pub async fn admit(local: &Local, watcher: &Watcher, opened: &mut Opened) -> Option<Admitted> {
    loop {
        let snapshot = local.snapshot_for(&opened.socket);
        let listener = snapshot.listener(&opened.socket)?;
        if listener.connection_chain.is_empty() {
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
        && asked.config.speaks(Protocol::Tcp) == now.config.speaks(Protocol::Tcp)
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
    let sni = match chain.preview() {
        0 => None,
        wanted => {
            let waits = Waits {
                config,
                wanted: wanted.min(MAX_PREVIEW),
                local,
                watcher,
            };
            match waits
                .first_bytes(&mut opened.stream, &mut opened.read)
                .await
            {
                Ok(sni) => sni,
                Err(error) => {
                    give_up(local, listener, opened, &error);
                    return None;
                }
            }
        }
    };
    let mut view = Lendable::new(View {
        client_address: opened.peer.address(),
        listener: config.name.clone(),
        tls: opened.tls.clone(),
        introduction: opened.peer.introduction().cloned(),
        original_destination: opened.peer.original_destination(),
        connection: Some(Box::new(ConnectionFacts {
            destination: opened.stream.local_address(),
            sni,
            is_opaque: config.speaks(Protocol::Tcp),
        })),
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
        parting: chain.wants_done().then(|| {
            Box::new(Parting {
                chain: chain.clone(),
                view,
                taken,
            })
        }),
    })
}

fn refuse(local: &Local, listener: &WorkerListener, opened: &Opened, refused: &Refused) {
    let peers = (&opened.peer, opened.socket_peer);
    let why = (Some(&refused.filter), &refused.error);
    tcp::tell_refused(local, listener, peers, why);
    if refused.is_reset {
        opened.stream.set_reset();
    }
}

/// Ends a connection about which no filter was asked. Where there is HTTP, nothing is
/// told of connections that end before a request.
pub fn give_up(local: &Local, listener: &WorkerListener, opened: &Opened, error: &ProxyError) {
    if listener.shared.config.speaks(Protocol::Tcp) {
        let peers = (&opened.peer, opened.socket_peer);
        tcp::tell_refused(local, listener, peers, (None, error));
    }
}

/// How first bytes are waited for.
struct Waits<'a> {
    config: &'a config::Listener,
    wanted: usize,
    local: &'a Local,
    watcher: &'a Watcher,
}

/// When a drain ends who has said nothing.
#[derive(Default)]
struct Last {
    until: Option<Instant>,
    alarm: Alarm,
}

impl Waits<'_> {
    /// Waits until as many are there as are wanted, for as long as the listener does, or
    /// until the client ends. Of a handshake that is passed on, the whole first message
    /// is waited for and no more, and the name in it told.
    async fn first_bytes(
        &self,
        stream: &mut Stream,
        read: &mut BytesMut,
    ) -> Result<Option<String>, ProxyError> {
        let mut hello = match stream {
            Stream::Tcp(_) => Some(HelloReader::default()),
            Stream::Tls(_) => None,
        };
        let mut last = Last::default();
        let waited = pin!(poll_fn(|context| {
            loop {
                match hello.as_mut().map(|hello| hello.look(read)) {
                    Some(Hello::Complete(asked)) => return Poll::Ready(Ok(asked)),
                    Some(Hello::Incomplete) => {}
                    Some(Hello::None) | None => {
                        hello = None;
                        if read.len() >= self.wanted {
                            return Poll::Ready(Ok(None));
                        }
                    }
                }
                read.reserve(self.wanted.clamp(1, READ_BYTES));
                match pin!(stream.read_buf(read)).poll(context) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Ok(None)),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Err(ProxyError::with(ErrorKind::ClientGone, error)));
                    }
                    Poll::Pending if self.is_over(context, read, &mut last) => {
                        return Poll::Ready(Err(ErrorKind::Draining.into()));
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        }));
        let waited = within(&mut Alarm::default(), self.config.detection, waited).await;
        if read.is_empty() {
            *read = BytesMut::new();
        }
        waited.unwrap_or(Ok(None))
    }

    /// Woken when it is. A drain lets connections of TCP go on until its limit, and gives
    /// others the time that is theirs for a first byte.
    fn is_over(&self, context: &mut Context<'_>, read: &[u8], last: &mut Last) -> bool {
        let is_draining = self.watcher.poll_draining(context);
        if self.local.drain.is_cut_off() {
            return true;
        }
        if !is_draining || !read.is_empty() || self.config.speaks(Protocol::Tcp) {
            return false;
        }
        let until = last.until.get_or_insert_with(|| last_request(self.local));
        last.alarm.poll_until(context, *until).is_ready()
    }
}
