//! TLS towards a client, over its socket.
//!
//! It is rustls' server in front of a socket, as others have it too, but for one thing: a
//! connection can be used before its handshake is done, for what a client sent along with
//! its first message (RFC 8446, section 2.3).

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::server::{AcceptedAlert, Acceptor, ClientHello};
use rustls::{AlertDescription, ServerConfig, ServerConnection};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// TLS over TCP. What is received lies in the session until it is taken, what is sent
/// until the socket takes it.
#[derive(Debug)]
pub struct TlsStream {
    tcp: TcpStream,
    session: ServerConnection,
    early: Option<Early>,
    has_said_goodbye: bool,
}

/// What a client said before its handshake was done.
#[derive(Debug)]
struct Early {
    /// As much of it as is not taken yet; the session bounds it.
    said: BytesMut,
    is_now: EarlyData,
}

/// Whether a handshake is still under way, so that whatever was said so far may be a
/// repetition by somebody who overheard it.
#[derive(Debug, Clone, Default)]
pub struct EarlyData(Rc<Cell<bool>>);

impl EarlyData {
    pub fn is_so(&self) -> bool {
        self.0.get()
    }
}

impl TlsStream {
    /// Shakes hands, or comes so far that there is early data. Where that fails, the
    /// socket comes back too.
    pub async fn accept(
        config: Arc<ServerConfig>,
        tcp: TcpStream,
    ) -> Result<Self, (io::Error, TcpStream)> {
        match ServerConnection::new(config) {
            Ok(session) => Self::shake(session, tcp).await,
            Err(error) => Err((io::Error::other(error), tcp)),
        }
    }

    /// The same where what the client says first decides by which rules, or with which
    /// alert it is refused.
    pub async fn accept_by(
        choose: impl Fn(&ClientHello<'_>) -> Result<Arc<ServerConfig>, AlertDescription>,
        tcp: TcpStream,
    ) -> Result<Self, (io::Error, TcpStream)> {
        match hear(choose, &tcp).await {
            Ok(session) => Self::shake(session, tcp).await,
            Err(error) => Err((error, tcp)),
        }
    }

    async fn shake(
        session: ServerConnection,
        tcp: TcpStream,
    ) -> Result<Self, (io::Error, TcpStream)> {
        let mut stream = Self {
            tcp,
            session,
            early: None,
            has_said_goodbye: false,
        };
        let shaken = match stream.digest() {
            // More than the first message may have been heard with it.
            Ok(()) => poll_fn(|context| stream.poll_handshake(context)).await,
            Err(error) => Err(error),
        };
        match shaken {
            Ok(()) => Ok(stream),
            Err(error) => Err((error, stream.tcp)),
        }
    }

    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub fn session(&self) -> &ServerConnection {
        &self.session
    }

    pub fn into_tcp(self) -> TcpStream {
        self.tcp
    }

    /// `None` where the handshake was done before anything was said.
    pub fn early_data(&self) -> Option<EarlyData> {
        self.early.as_ref().map(|early| early.is_now.clone())
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_send(context))?;
            let has_spoken = self.early.as_ref();
            let has_spoken = has_spoken.is_some_and(|early| !early.said.is_empty());
            if !self.session.is_handshaking() || has_spoken {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_receive(context))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Takes what was received, once there is some; 0 bytes at the end.
    pub(super) fn poll_take(
        &mut self,
        context: &mut Context<'_>,
        most: usize,
        take: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(early) = &mut self.early
                && !early.said.is_empty()
            {
                let count = early.said.len().min(most);
                take(&early.said[..count]);
                early.said.advance(count);
                if early.said.is_empty() {
                    early.said = BytesMut::new();
                }
                return Poll::Ready(Ok(count));
            }
            match self.session.reader().into_first_chunk() {
                Ok(received) => {
                    let count = received.len().min(most);
                    take(&received[..count]);
                    self.session.reader().consume(count);
                    return Poll::Ready(Ok(count));
                }
                Err(error) if is_to_wait(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            // At the end of the socket the session knows whether it was one.
            ready!(self.poll_receive(context))?;
        }
    }

    /// Reads from the socket once, and has the session look at it.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let count = loop {
            // Asked first: it takes from what a task may do in a turn, and a client that
            // always has more to say is not to keep others from theirs.
            ready!(self.tcp.poll_read_ready(context))?;
            match self.session.read_tls(&mut Socket(&self.tcp)) {
                Ok(count) => break count,
                Err(error) if is_to_wait(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        };
        self.digest()?;
        Poll::Ready(Ok(count))
    }

    /// Has the session look at what it has received.
    fn digest(&mut self) -> io::Result<()> {
        let was_handshaking = self.session.is_handshaking();
        if let Err(error) = self.session.process_new_packets() {
            // The client is told why, if it can be.
            self.try_send();
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        match was_handshaking {
            true => self.look_for_early(),
            false => Ok(()),
        }
    }

    fn look_for_early(&mut self) -> io::Result<()> {
        let is_handshaking = self.session.is_handshaking();
        if let Some(mut said) = self.session.early_data() {
            let early = self.early.get_or_insert_with(|| Early {
                said: BytesMut::new(),
                is_now: EarlyData(Rc::new(Cell::new(true))),
            });
            let mut piece = [0; 1024];
            loop {
                match said.read(&mut piece)? {
                    0 => break,
                    count => early.said.extend_from_slice(&piece[..count]),
                }
            }
            early.is_now.0.set(is_handshaking);
        }
        if !is_handshaking {
            // Nobody may have anything else to say for long, and the client wants tickets.
            self.try_send();
        }
        Ok(())
    }

    /// Sends what the session has, until the socket takes no more.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while ready!(self.poll_send_some(context))?.is_some() {}
        Poll::Ready(Ok(()))
    }

    /// Sends some of it, and tells how much; `None` where there is none.
    pub(super) fn poll_send_some(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<usize>>> {
        while self.session.wants_write() {
            ready!(self.tcp.poll_write_ready(context))?;
            match self.session.write_tls(&mut Socket(&self.tcp)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => return Poll::Ready(Ok(Some(count))),
                Err(error) if is_to_wait(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(None))
    }

    /// Sends what the socket takes at once. Where that fails, the next who uses it is told.
    fn try_send(&mut self) {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Socket(&self.tcp)) {
                Ok(count) if count > 0 => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn poll_write_with(
        &mut self,
        context: &mut Context<'_>,
        write: impl Fn(&mut rustls::Writer<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let count = write(&mut self.session.writer())?;
            let sent = self.poll_send(context)?;
            // What the session took it keeps.
            if count > 0 || sent.is_pending() {
                return match count {
                    0 => Poll::Pending,
                    count => Poll::Ready(Ok(count)),
                };
            }
            if !self.session.wants_write() && self.session.is_handshaking() {
                let why = "nothing may be said before the handshake is done";
                return Poll::Ready(Err(io::Error::other(why)));
            }
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let taken = self
            .get_mut()
            .poll_take(context, room, |bytes| buffer.put_slice(bytes));
        taken.map_ok(|_| ())
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match bytes {
            [] => Poll::Ready(Ok(0)),
            bytes => self
                .get_mut()
                .poll_write_with(context, |writer| writer.write(bytes)),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices.iter().all(|slice| slice.is_empty()) {
            true => Poll::Ready(Ok(0)),
            false => self
                .get_mut()
                .poll_write_with(context, |writer| writer.write_vectored(slices)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(context)
    }

    /// With a `close_notify` before the end.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.has_said_goodbye {
            this.session.send_close_notify();
            this.has_said_goodbye = true;
        }
        ready!(this.poll_send(context))?;
        match SockRef::from(&this.tcp).shutdown(Shutdown::Write) {
            // The client has gone already.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            outcome => Poll::Ready(outcome),
        }
    }
}

/// Hears the first message.
async fn hear(
    choose: impl Fn(&ClientHello<'_>) -> Result<Arc<ServerConfig>, AlertDescription>,
    tcp: &TcpStream,
) -> io::Result<ServerConnection> {
    // The client is told why, if it can be.
    let refuse = |(error, mut alert): (rustls::Error, AcceptedAlert)| {
        drop(alert.write(&mut Socket(tcp)));
        io::Error::new(io::ErrorKind::InvalidData, error)
    };
    let mut acceptor = Acceptor::default();
    loop {
        match acceptor.read_tls(&mut Socket(tcp)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if is_to_wait(&error) => {
                tcp.readable().await?;
                continue;
            }
            Err(error) => return Err(error),
        }
        if let Some(accepted) = acceptor.accept().map_err(refuse)? {
            return match choose(&accepted.client_hello()) {
                Ok(config) => accepted.into_connection(config).map_err(refuse),
                Err(alert) => {
                    drop(tcp.try_write(&fatal(alert)));
                    let error = rustls::Error::General("no certificate for it".to_owned());
                    Err(io::Error::new(io::ErrorKind::InvalidData, error))
                }
            };
        }
    }
}

/// As a record (RFC 8446, section 6). rustls has but one alert for all that no certificate
/// is picked for, which browsers read as a complaint about their own.
fn fatal(alert: AlertDescription) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, alert.into()]
}

/// A socket as something that is read from and written to without waiting.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.0.try_read(bytes)?;
        if 0 < count && count < bytes.len() {
            drained(self.0);
        }
        Ok(count)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A short read took all there was. The runtime would call the socket readable until a
/// read found nothing, and an idle connection would seem to begin a request. As in tokio's
/// own `poll_read`, the next byte or the end makes it readable again.
pub(super) fn drained(tcp: &TcpStream) {
    let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
    if tcp.try_io(Interest::READABLE, nothing).is_ok() {
        debug_assert!(false, "nothing was read");
    }
}

pub(super) fn is_to_wait(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
