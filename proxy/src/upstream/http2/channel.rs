//! The HTTP/2 connections of one worker to one endpoint.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::Poll;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use http::uri::Scheme;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::{Cluster, UpstreamHttp2};
use crate::deadline::{Alarm, before};
use crate::error::ErrorKind;
use crate::pings::Pings;
use crate::upstream::socket::Socket;

/// What the codec is told an origin allows, until that has said it: no number that its
/// settings could have, nor what the codec takes for their silence.
const UNTOLD: usize = usize::MAX - 1;
/// Streams on a connection until then. It may allow as few as it likes, and what it refuses
/// is lost where it may be sent once only.
const UNTOLD_STREAMS: usize = 1;
/// Of one stream's request, what is kept for an origin that does not take it.
const SEND_BUFFER: usize = 64 * 1024;

/// What an origin says of extended CONNECT.
pub(in crate::upstream) enum Told {
    Takes,
    TakesNot,
    /// The connection ended before it said so.
    Gone,
}

/// A connection. It lives as long as something holds it and its origin lets it.
pub(in crate::upstream) struct Channel {
    sender: SendRequest<Bytes>,
    /// That of the connection: some endpoints refuse another.
    pub scheme: Scheme,
    /// Streams under way.
    active: Cell<usize>,
    max_streams: usize,
    /// Streams that it may yet begin.
    left: Cell<u32>,
    /// No new streams: it has ended, or the origin said that it will.
    is_closed: Cell<bool>,
    /// By when the origin has sent its settings.
    told_by: Instant,
    /// Told whenever something came, for who waits for that.
    moved: Notify,
    pub expires: Instant,
    pub idle_since: Cell<Instant>,
}

impl Channel {
    /// A handle for one more stream.
    pub fn sender(&self) -> SendRequest<Bytes> {
        self.sender.clone()
    }

    /// Whether the origin takes extended CONNECT (RFC 8441). Of a new connection its
    /// settings are waited for, of which only those that say so are told.
    pub async fn takes_extended_connect(&self, deadline: Option<Instant>) -> Told {
        let until = deadline.map_or(self.told_by, |deadline| deadline.min(self.told_by));
        let mut alarm = Alarm::default();
        loop {
            let mut moved = pin!(self.moved.notified());
            moved.as_mut().enable();
            if self.sender.is_extended_connect_protocol_enabled() {
                return Told::Takes;
            }
            if self.is_closed.get() {
                return Told::Gone;
            }
            if before(&mut alarm, until, moved).await.is_none() {
                return Told::TakesNot;
            }
        }
    }

    pub fn begin(&self) {
        self.active.set(self.active.get() + 1);
        self.left.set(self.left.get().saturating_sub(1));
    }

    pub fn end(&self) {
        self.active.set(self.active.get() - 1);
        self.idle_since.set(Instant::now());
    }

    /// It is not used for what comes.
    pub fn close(&self) {
        self.is_closed.set(true);
        self.moved.notify_waiters();
    }

    /// How many streams there may be at once. What the origin allows is asked under a lock.
    fn allowed(&self) -> usize {
        match self.sender.current_max_send_streams() {
            UNTOLD => UNTOLD_STREAMS,
            allowed => allowed.min(self.max_streams),
        }
    }

    /// Whether the origin may yet allow more.
    fn is_untold(&self) -> bool {
        !self.takes_no_more() && self.sender.current_max_send_streams() == UNTOLD
    }

    /// Waits until the origin has said how many it allows, which takes a round trip, or has
    /// had its time for that.
    async fn told(&self) {
        let mut alarm = Alarm::default();
        loop {
            let mut moved = pin!(self.moved.notified());
            moved.as_mut().enable();
            if !self.is_untold() || before(&mut alarm, self.told_by, moved).await.is_none() {
                return;
            }
        }
    }

    fn takes_no_more(&self) -> bool {
        self.is_closed.get() || self.left.get() == 0
    }

    fn is_idle(&self) -> bool {
        self.active.get() == 0
    }
}

#[derive(Default)]
pub(in crate::upstream) struct Channels {
    open: RefCell<Vec<Rc<Channel>>>,
    /// Requests that come while a connection is made wait for it, instead of making
    /// one each.
    turn: Rc<Turn>,
}

/// Whose turn it is to make a connection.
#[derive(Default)]
struct Turn {
    is_taken: Cell<bool>,
    /// Connections that were not made, and why the last was not.
    failures: Cell<u64>,
    why: Cell<Option<ErrorKind>>,
    is_over: Notify,
}

/// A connection is being made. Dropping it wakes those that wait for it.
pub(in crate::upstream) struct Connecting(Rc<Turn>);

impl Connecting {
    /// It cannot be made: those that wait need not try the same.
    pub fn failed(&self, why: ErrorKind) {
        self.0.failures.set(self.0.failures.get() + 1);
        self.0.why.set(Some(why));
    }
}

/// What comes of waiting for a connection.
pub(in crate::upstream) enum Waited {
    /// It is to be made.
    Turn(Connecting),
    There(Rc<Channel>),
    /// Who made one could not.
    Failed(ErrorKind),
}

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.is_taken.set(false);
        self.0.is_over.notify_waiters();
    }
}

impl Channels {
    /// One that takes another stream.
    pub fn with_room(&self, now: Instant) -> Option<Rc<Channel>> {
        let open = self.open.borrow();
        let has_room = |channel: &&Rc<Channel>| {
            !channel.takes_no_more()
                && now < channel.expires
                && channel.active.get() < channel.allowed()
        };
        open.iter().find(has_room).cloned()
    }

    /// One that may have room once its origin has said how many streams it allows.
    fn untold(&self, now: Instant) -> Option<Rc<Channel>> {
        let open = self.open.borrow();
        let is_it = |channel: &&Rc<Channel>| {
            now < channel.expires && now < channel.told_by && channel.is_untold()
        };
        open.iter().find(is_it).cloned()
    }

    pub fn add(&self, channel: Rc<Channel>) {
        self.open.borrow_mut().push(channel);
    }

    /// Waits while another request makes a connection, and until its origin has said how
    /// many streams it allows; then it is this one's turn. Gives a connection that has room
    /// instead, wherever there is one.
    pub async fn turn(&self) -> Waited {
        let failures = self.turn.failures.get();
        loop {
            // Also for a stream that was refused: an origin that refuses many has no use
            // for more connections.
            let now = Instant::now();
            if let Some(channel) = self.with_room(now) {
                return Waited::There(channel);
            }
            if self.turn.failures.get() != failures {
                let why = self.turn.why.get();
                return Waited::Failed(why.unwrap_or(ErrorKind::ConnectFailed));
            }
            if self.turn.is_taken.get() {
                self.turn.is_over.notified().await;
                continue;
            }
            match self.untold(now) {
                Some(channel) => channel.told().await,
                None => break,
            }
        }
        self.turn.is_taken.set(true);
        Waited::Turn(Connecting(self.turn.clone()))
    }

    /// Whether there is one that takes streams, now or when others have ended.
    pub fn has_lasting(&self, now: Instant) -> bool {
        let open = self.open.borrow();
        let mut all = open.iter();
        all.any(|channel| !channel.takes_no_more() && now < channel.expires)
    }

    /// Whether one goes with its last stream, so that there will be room for another.
    pub fn has_spent(&self, now: Instant) -> bool {
        let open = self.open.borrow();
        let mut all = open.iter();
        all.any(|channel| channel.takes_no_more() || now >= channel.expires)
    }

    /// Connections without a stream.
    pub fn idle(&self) -> usize {
        let open = self.open.borrow();
        open.iter().filter(|channel| channel.is_idle()).count()
    }

    /// Streams under way on those that take others.
    pub fn streams(&self) -> usize {
        let open = self.open.borrow();
        open.iter().map(|channel| channel.active.get()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.open.borrow().is_empty()
    }

    /// Lets go of what has ended or is too old. Gives how many that were.
    pub fn sweep(&self, is_too_old: impl Fn(&Channel) -> bool) -> usize {
        let mut open = self.open.borrow_mut();
        let before = open.len();
        open.retain(|channel| {
            !(channel.takes_no_more() || channel.is_idle() && is_too_old(channel))
        });
        before - open.len()
    }

    /// Lets go of one that nobody uses. `false` without any.
    pub fn close_an_idle(&self) -> bool {
        let mut open = self.open.borrow_mut();
        let idle = open.iter().position(|channel| channel.is_idle());
        idle.map(|idle| open.remove(idle).close()).is_some()
    }

    /// Streams under way go on to their end.
    pub fn retire(&self) -> usize {
        std::mem::take(&mut *self.open.borrow_mut()).len()
    }
}

/// Speaks HTTP/2 on a socket. The task that reads and writes it ends with it.
pub(in crate::upstream) async fn open(
    cluster: &Cluster,
    socket: Socket,
    expires: Instant,
) -> Result<Rc<Channel>, h2::Error> {
    let config = &cluster.http2;
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(UNTOLD)
        .initial_window_size(config.stream_window)
        .initial_connection_window_size(config.connection_window)
        .max_header_list_size(cluster.max_head_bytes as u32)
        .max_send_buffer_size(SEND_BUFFER);
    let scheme = match socket.is_tls() {
        true => Scheme::HTTPS,
        false => Scheme::HTTP,
    };
    let (sender, connection) = builder.handshake(socket).await?;
    let channel = Rc::new(Channel {
        sender,
        scheme,
        active: Cell::new(0),
        max_streams: config.max_streams as usize,
        left: Cell::new(cluster.pool.max_requests.unwrap_or(u32::MAX)),
        is_closed: Cell::new(false),
        told_by: Instant::now() + cluster.timeouts.connect,
        moved: Notify::new(),
        expires,
        idle_since: Cell::new(Instant::now()),
    });
    tokio::task::spawn_local(drive(connection, Rc::downgrade(&channel), config.clone()));
    Ok(channel)
}

async fn drive(
    mut connection: Connection<Socket, Bytes>,
    channel: Weak<Channel>,
    config: UpstreamHttp2,
) {
    let mut pings = connection.ping_pong().map(Pings::new);
    let mut alarm = Alarm::default();
    poll_fn(|context| {
        if let Poll::Ready(end) = std::pin::Pin::new(&mut connection).poll(context) {
            if let Err(error) = end {
                tracing::debug!(%error, "HTTP/2 connection to an origin ended");
            }
            return Poll::Ready(());
        }
        let is_busy = channel.upgrade().is_some_and(|channel| {
            channel.moved.notify_waiters();
            !channel.is_idle()
        });
        let lost = pings
            .as_mut()
            .is_some_and(|pings| pings.poll_lost(context, &mut alarm, &config.pings, is_busy));
        if lost {
            tracing::debug!("an origin does not answer pings");
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
    if let Some(channel) = channel.upgrade() {
        channel.close();
        channel.moved.notify_waiters();
    }
}
