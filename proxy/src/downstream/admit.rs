//! Whether a connection may go on, and where to: what filters of connections say.

use std::pin::pin;
use std::rc::Rc;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use super::connection::Opened;
use crate::client::Stream;
use crate::config::{self, Name, Protocol};
use crate::deadline::{Alarm, within};
use crate::exchange::Local;
use crate::filter::{ConnectionChain, ConnectionFacts, Lendable, Participants, Refused, View};
use crate::snapshot::{WorkerListener, WorkerSnapshot};
use crate::tcp;
use crate::tls::{Hello, HelloReader};

/// Of what filters do not need, more is read at once than they asked for.
const READ_BYTES: usize = 4 * 1024;

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
pub async fn admit(local: &Local, opened: &mut Opened) -> Option<Admitted> {
    let snapshot = local.snapshot();
    let listener = snapshot.listener(&opened.socket)?;
    if listener.connection_chain.is_empty() {
        return Some(Admitted::default());
    }
    // Boxed, so that a connection does not carry room for it.
    Box::pin(ask(local, &snapshot, listener, opened)).await
}

async fn ask(
    local: &Local,
    snapshot: &WorkerSnapshot,
    listener: &WorkerListener,
    opened: &mut Opened,
) -> Option<Admitted> {
    let chain = &listener.connection_chain;
    let config = &listener.shared.config;
    let sni = match chain.preview() {
        0 => None,
        wanted => first_bytes(config, &mut opened.stream, &mut opened.read, wanted).await,
    };
    let mut view = Lendable::new(View {
        client_address: opened.peer.address(),
        listener: config.name.clone(),
        tls: opened.tls.clone(),
        introduction: opened.peer.introduction().cloned(),
        connection: Some(Box::new(ConnectionFacts {
            destination: opened.stream.local_address().ok()?,
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
    tcp::tell_refused(local, listener, peers, (&refused.filter, &refused.error));
    if refused.is_reset {
        opened.stream.set_reset();
    }
}

/// Waits for the first bytes, for as long as the listener does. Of a handshake that is
/// passed on, the whole first message is waited for, and the name in it told.
async fn first_bytes(
    config: &config::Listener,
    stream: &mut Stream,
    read: &mut BytesMut,
    wanted: usize,
) -> Option<String> {
    let mut hello = match stream {
        Stream::Tcp(_) => Some(HelloReader::default()),
        Stream::Tls(_) => None,
    };
    let mut name = None;
    let reading = pin!(async {
        loop {
            if !read.is_empty() {
                match hello.as_mut().map(|hello| hello.look(read)) {
                    Some(Hello::Incomplete) => {}
                    Some(Hello::Complete(asked)) => return name = asked,
                    Some(Hello::None) | None => return,
                }
            }
            read.reserve(wanted.clamp(1, READ_BYTES));
            match stream.read_buf(read).await {
                Ok(count) if count > 0 => {}
                Ok(_) | Err(_) => return,
            }
        }
    });
    within(&mut Alarm::default(), config.detection, reading).await;
    if read.is_empty() {
        *read = BytesMut::new();
    }
    name
}
