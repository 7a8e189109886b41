//! The first bytes of a connection, where they tell what it speaks or a filter wants to
//! see them.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::connection::Opened;
use super::detect::detect;
use super::patience::last_request;
use crate::client::Stream;
use crate::config::{self, Protocol};
use crate::deadline::{Alarm, within};
use crate::drain::Watcher;
use crate::error::{ErrorKind, ProxyError};
use crate::exchange::Local;
use crate::stats::Detected;
use crate::tls::{Hello, HelloReader};

/// Of what nobody needs, more is read at once than was asked for.
const READ_BYTES: usize = 4 * 1024;

/// More than this nobody is shown of a connection, whatever a filter wants.
const MAX_PREVIEW: usize = 64 * 1024;

/// How first bytes are waited for.
pub struct Waits<'a> {
    pub config: &'a config::Listener,
    /// How many of them filters want to see.
    pub wanted: usize,
    pub local: &'a Local,
    pub watcher: &'a Watcher,
}

/// What they tell.
#[derive(Default)]
pub struct Told {
    /// `None` where that is not asked.
    pub detected: Option<Detected>,
    /// The name that is asked for in a handshake that is passed on.
    pub sni: Option<String>,
}

/// When a drain ends who has said nothing.
#[derive(Default)]
struct Last {
    until: Option<Instant>,
    alarm: Alarm,
}

impl Waits<'_> {
    /// Waits for as long as the listener does, until what is spoken is told and as many
    /// bytes are there as filters want, or until the client ends.
    pub async fn first_bytes(&self, opened: &mut Opened) -> Result<Told, ProxyError> {
        let (config, wanted) = (self.config, self.wanted.min(MAX_PREVIEW));
        if wanted == 0 && !config.detects() {
            return Ok(Told::default());
        }
        if self.server_speaks_first(opened) {
            return Ok(Told {
                detected: config.detects().then_some(Detected::ServerFirst),
                sni: None,
            });
        }
        let (stream, read) = (&mut opened.stream, &mut opened.read);
        let mut look = Look::new(config, wanted, stream);
        let mut last = Last::default();
        let waited = pin!(poll_fn(|context| {
            while !look.at(read) {
                read.reserve(wanted.clamp(64, READ_BYTES));
                match pin!(stream.read_buf(read)).poll(context) {
                    Poll::Ready(Ok(0)) => {
                        look.end();
                        break;
                    }
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
            Poll::Ready(Ok(()))
        }));
        let waited = within(&mut Alarm::default(), config.detection, waited).await;
        if read.is_empty() {
            *read = BytesMut::new();
        }
        match waited {
            Some(Err(error)) => Err(error),
            Some(Ok(())) | None => Ok(look.told()),
        }
    }

    fn server_speaks_first(&self, opened: &Opened) -> bool {
        let ports = &self.config.server_first_ports;
        if ports.is_empty() {
            return false;
        }
        let wanted = opened.peer.original_destination();
        let address = wanted.or_else(|| opened.stream.local_address());
        address.is_some_and(|address| ports.contains(&address.port()))
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

/// What is looked for in them.
struct Look<'a> {
    /// `None` where nothing is detected.
    spoken: Option<&'a [Protocol]>,
    detected: Option<Detected>,
    wanted: usize,
    /// There while they may begin a handshake that is passed on.
    hello: Option<HelloReader>,
    sni: Option<String>,
}

impl<'a> Look<'a> {
    fn new(config: &'a config::Listener, wanted: usize, stream: &Stream) -> Self {
        let is_plain = matches!(stream, Stream::Tcp(_));
        Self {
            spoken: config.detects().then_some(&*config.protocols),
            detected: agreed(stream),
            wanted,
            hello: (wanted > 0 && is_plain).then(HelloReader::default),
            sni: None,
        }
    }

    /// Whether nothing more is needed.
    fn at(&mut self, read: &[u8]) -> bool {
        if self.detected.is_none()
            && let Some(spoken) = self.spoken
        {
            self.detected = detect(read, spoken);
        }
        let is_shown = self.is_shown(read);
        is_shown && (self.spoken.is_none() || self.detected.is_some())
    }

    /// Of a handshake that is passed on, the whole first message is shown and no more.
    fn is_shown(&mut self, read: &[u8]) -> bool {
        match self.hello.as_mut().map(|hello| hello.look(read)) {
            Some(Hello::Complete(sni)) => {
                self.sni = sni;
                self.wanted = 0;
            }
            Some(Hello::Incomplete) => return false,
            Some(Hello::None) | None => {}
        }
        self.hello = None;
        read.len() >= self.wanted
    }

    /// No more will come.
    fn end(&mut self) {
        self.detected.get_or_insert(Detected::Opaque);
    }

    fn told(self) -> Told {
        let Self {
            spoken, detected, ..
        } = self;
        Told {
            detected: spoken.map(|_| detected.unwrap_or(Detected::Timeout)),
            sni: self.sni,
        }
    }
}

/// What was agreed on in the handshake. Who speaks otherwise then breaks a rule.
fn agreed(stream: &Stream) -> Option<Detected> {
    match stream.alpn()? {
        b"h2" => Some(Detected::Http2),
        _ => Some(Detected::Http1),
    }
}
