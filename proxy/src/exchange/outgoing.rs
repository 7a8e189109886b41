//! The answer's way to the client, whatever version of HTTP carries it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::HeaderMap;

use crate::client::Writer;
use crate::deadline::Alarm;
use crate::error::{ErrorKind, ProxyError};
use crate::http::h1::{self, OwnFields, Persistence, remove_forbidden_trailers};
use crate::http::{AnswerFraming, ResponseHead, h2 as http2};
use crate::pace::{Late, Pace};
use crate::upstream;

/// What was encoded and not yet written may grow to this before it is.
const FLUSH_BYTES: usize = 16 * 1024;

/// Before an exchange has said otherwise.
const DEFAULT_STALL: Duration = Duration::from_secs(30);

/// Where answers go.
pub enum Outgoing<'a> {
    Http1(&'a mut Writer),
    Http2(Http2Writer<'a>),
}

impl<'a> Outgoing<'a> {
    pub fn http2(sink: &'a Http2Sink) -> Self {
        Outgoing::Http2(Http2Writer {
            sink,
            pending: None,
            pace: Pace::new(DEFAULT_STALL, 0),
            alarm: Alarm::default(),
        })
    }

    /// How slowly the client may take it.
    pub fn set_pace(&mut self, pace: Pace) {
        match self {
            Outgoing::Http1(writer) => writer.pace = pace,
            Outgoing::Http2(writer) => writer.pace = pace,
        }
    }

    /// Sends `100 Continue`.
    pub async fn ask_for_body(&mut self) -> Result<(), ProxyError> {
        match self {
            Outgoing::Http1(writer) => {
                writer.buffer.extend_from_slice(h1::continue_100());
                writer.flush().await
            }
            Outgoing::Http2(writer) => writer.interim(&ResponseHead {
                status: http::StatusCode::CONTINUE,
                headers: HeaderMap::new(),
            }),
        }
    }

    /// Encodes an interim answer. One that the client does not take is no reason to
    /// give the answer up.
    pub fn interim(&mut self, head: &ResponseHead) {
        match self {
            Outgoing::Http1(writer) => h1::encode_interim(&mut writer.buffer, head),
            Outgoing::Http2(writer) => {
                if let Err(error) = writer.interim(head) {
                    tracing::trace!(%error, "an interim answer was not taken");
                }
            }
        }
    }

    /// Encodes the head of the answer; it leaves with the next flush.
    pub fn head(
        &mut self,
        head: &ResponseHead,
        how: AnswerFraming,
        persistence: Persistence,
        own: OwnFields<'_>,
    ) -> Result<(), ProxyError> {
        match self {
            Outgoing::Http1(writer) => {
                h1::encode_response(&mut writer.buffer, head, how, persistence, own);
                Ok(())
            }
            Outgoing::Http2(writer) => writer.head(head, how, own),
        }
    }

    /// Encodes a part of the body, and writes what has become too much to keep.
    pub async fn data(&mut self, bytes: Bytes, how: AnswerFraming) -> Result<(), ProxyError> {
        if bytes.is_empty() || matches!(how, AnswerFraming::None | AnswerFraming::Switch) {
            return Ok(());
        }
        let writer = match self {
            Outgoing::Http1(writer) => writer,
            Outgoing::Http2(writer) => {
                writer.flush(false).await?;
                writer.pending = Some(bytes);
                return Ok(());
            }
        };
        match how {
            AnswerFraming::Chunked => {
                h1::encode_chunk_head(&mut writer.buffer, bytes.len());
                writer.push(bytes).await?;
                writer.buffer.extend_from_slice(b"\r\n");
            }
            AnswerFraming::None
            | AnswerFraming::Switch
            | AnswerFraming::Length(_)
            | AnswerFraming::Close => {
                writer.push(bytes).await?;
            }
        }
        match writer.buffer.len() >= FLUSH_BYTES {
            true => writer.flush().await,
            false => Ok(()),
        }
    }

    /// Writes everything that was encoded.
    pub async fn flush(&mut self) -> Result<(), ProxyError> {
        match self {
            Outgoing::Http1(writer) => writer.flush().await,
            Outgoing::Http2(writer) => writer.flush(false).await,
        }
    }

    /// Writes everything that was encoded and the end of the body.
    pub async fn end(
        &mut self,
        trailers: Option<HeaderMap>,
        how: AnswerFraming,
    ) -> Result<(), ProxyError> {
        match self {
            Outgoing::Http1(writer) => {
                if how == AnswerFraming::Chunked {
                    h1::encode_last_chunk(&mut writer.buffer, trailers);
                }
                writer.flush().await
            }
            // The head was all of it.
            Outgoing::Http2(_) if matches!(how, AnswerFraming::None | AnswerFraming::Switch) => {
                Ok(())
            }
            Outgoing::Http2(writer) => writer.end(trailers).await,
        }
    }
}

/// The way back of one stream. The request's body looks at it too, since it alone
/// tells that the client gave the stream up.
pub struct Http2Sink {
    sink: RefCell<Sink>,
    /// Bytes of bodies that moved on the connection, in either direction.
    meter: Rc<Cell<u64>>,
}

enum Sink {
    /// No final answer yet.
    Waiting(SendResponse<Bytes>),
    Open(SendStream<Bytes>),
    /// All was sent.
    Ended,
}

impl Http2Sink {
    /// `meter` is that of the connection.
    pub fn new(respond: SendResponse<Bytes>, meter: Rc<Cell<u64>>) -> Self {
        Self {
            sink: RefCell::new(Sink::Waiting(respond)),
            meter,
        }
    }

    pub fn meter(&self) -> &Cell<u64> {
        &self.meter
    }

    /// The way back, once another protocol goes on in it.
    pub fn into_stream(self) -> Option<SendStream<Bytes>> {
        match self.sink.into_inner() {
            Sink::Open(stream) => Some(stream),
            Sink::Waiting(_) | Sink::Ended => None,
        }
    }

    /// Ready once the client has given the stream up, or its connection is gone.
    pub fn poll_reset(&self, context: &mut Context<'_>) -> Poll<()> {
        match &mut *self.sink.borrow_mut() {
            Sink::Waiting(respond) => respond.poll_reset(context).map(drop),
            Sink::Open(stream) => stream.poll_reset(context).map(drop),
            Sink::Ended => Poll::Pending,
        }
    }

    /// Breaks the stream off, in a way that cannot be taken for the end of an
    /// answer. Of one that has ended there is nothing left to break.
    pub fn reset(&self) {
        match &mut *self.sink.borrow_mut() {
            Sink::Waiting(respond) => respond.send_reset(Reason::CANCEL),
            Sink::Open(stream) => stream.send_reset(Reason::INTERNAL_ERROR),
            Sink::Ended => {}
        }
    }
}

/// Encodes an answer as frames.
pub struct Http2Writer<'a> {
    sink: &'a Http2Sink,
    /// The last part, kept until it is known whether another follows: the frame that
    /// carries it can end the body then.
    pending: Option<Bytes>,
    pace: Pace,
    alarm: Alarm,
}

impl Http2Writer<'_> {
    fn interim(&mut self, head: &ResponseHead) -> Result<(), ProxyError> {
        match &mut *self.sink.sink.borrow_mut() {
            Sink::Waiting(respond) => respond
                .send_informational(http2::interim_head(head))
                .map_err(gone),
            Sink::Open(_) | Sink::Ended => Ok(()),
        }
    }

    fn head(
        &mut self,
        head: &ResponseHead,
        how: AnswerFraming,
        own: OwnFields<'_>,
    ) -> Result<(), ProxyError> {
        let ends = matches!(how, AnswerFraming::None | AnswerFraming::Length(0));
        let sink = &mut *self.sink.sink.borrow_mut();
        if let Sink::Waiting(respond) = sink {
            let head = http2::answer_head(head, how, own);
            let stream = respond.send_response(head, ends).map_err(gone)?;
            *sink = match ends {
                true => Sink::Ended,
                false => Sink::Open(stream),
            };
        }
        Ok(())
    }

    async fn flush(&mut self, ends: bool) -> Result<(), ProxyError> {
        while let Some(bytes) = &mut self.pending {
            let piece = {
                let wanted = bytes.len();
                let room = pin!(poll_fn(|context| self.sink.poll_room(wanted, context)));
                let meter = self.sink.meter();
                let room = self.pace.keep(&mut self.alarm, Some(meter), room).await;
                let room = room.map_err(|late| match late {
                    Late::Silent => ErrorKind::ClientStalled,
                    Late::Slow => ErrorKind::ClientTooSlow,
                })??;
                let piece = bytes.split_to(room.min(wanted));
                self.pace.moved_on(meter, piece.len() as u64);
                piece
            };
            let is_last = bytes.is_empty();
            if is_last {
                self.pending = None;
            }
            self.sink.send(piece, ends && is_last)?;
        }
        Ok(())
    }

    async fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), ProxyError> {
        let Some(mut trailers) = trailers else {
            let has_data = self.pending.is_some();
            self.flush(true).await?;
            return match has_data {
                true => Ok(()),
                false => self.sink.send(Bytes::new(), true),
            };
        };
        self.flush(false).await?;
        remove_forbidden_trailers(&mut trailers);
        self.sink.send_trailers(trailers)
    }
}

impl Http2Sink {
    /// How much of `wanted` bytes the client and the connection have room for.
    fn poll_room(
        &self,
        wanted: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<usize, ProxyError>> {
        let Sink::Open(stream) = &mut *self.sink.borrow_mut() else {
            return Poll::Ready(Err(ErrorKind::ClientGone.into()));
        };
        let room = ready!(upstream::poll_room(stream, wanted, context));
        Poll::Ready(room.ok_or_else(|| ErrorKind::ClientGone.into()))
    }

    fn send(&self, bytes: Bytes, ends: bool) -> Result<(), ProxyError> {
        let sink = &mut *self.sink.borrow_mut();
        match sink {
            Sink::Open(stream) => stream.send_data(bytes, ends).map_err(gone)?,
            Sink::Ended if bytes.is_empty() => {}
            Sink::Ended | Sink::Waiting(_) => return Err(ErrorKind::Internal.into()),
        }
        if ends {
            *sink = Sink::Ended;
        }
        Ok(())
    }

    fn send_trailers(&self, trailers: HeaderMap) -> Result<(), ProxyError> {
        let sink = &mut *self.sink.borrow_mut();
        let Sink::Open(stream) = sink else {
            return Err(ErrorKind::Internal.into());
        };
        stream.send_trailers(trailers).map_err(gone)?;
        *sink = Sink::Ended;
        Ok(())
    }
}

fn gone(error: h2::Error) -> ProxyError {
    ProxyError::with(ErrorKind::ClientGone, error)
}
