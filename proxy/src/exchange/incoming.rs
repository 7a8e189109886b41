//! The body of a request as the client sends it, whatever version of HTTP carries
//! it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName};

use super::Http2Sink;
use crate::client::Reader;
use crate::config::Listener;
use crate::deadline::{Alarm, within};
use crate::error::{ErrorKind, ProxyError};
use crate::http::Framing;
use crate::http::disguise::remove_disguised;
use crate::http::h1::{BodyDecoder, Decoded, remove_forbidden_trailers};
use crate::http::h2::check_fields;
use crate::pace::{Late, Pace};
use crate::upstream::{Frame, poll_stream};

/// Where requests come from.
pub enum Incoming<'a> {
    Http1(&'a mut Reader),
    /// One stream; its other direction tells when the client gives it up.
    Http2(&'a mut RecvStream, &'a Http2Sink),
}

/// One request's body on its way in.
pub struct Source<'a> {
    coding: Coding<'a>,
    /// Fields that clients may not set, in trailers either.
    removed: &'a [HeaderName],
    /// How slowly the client may send it.
    pace: Pace,
    alarm: Alarm,
    /// Body bytes so far.
    bytes: u64,
    length: Option<u64>,
    /// What may still be read.
    allowance: u64,
    done: bool,
}

enum Coding<'a> {
    Http1(&'a mut Reader, BodyDecoder),
    Http2(&'a mut RecvStream, &'a Http2Sink),
}

impl<'a> Source<'a> {
    pub fn new(incoming: Incoming<'a>, framing: Framing, config: &'a Listener, pace: Pace) -> Self {
        let max_body = config.limits.max_body_bytes;
        let is_empty = matches!(framing, Framing::None | Framing::Length(0));
        let (coding, done) = match incoming {
            Incoming::Http1(reader) => {
                let decoder = BodyDecoder::new(framing, max_body);
                let done = decoder.is_done();
                (Coding::Http1(reader, decoder), done)
            }
            Incoming::Http2(stream, sink) => (Coding::Http2(stream, sink), is_empty),
        };
        Self {
            coding,
            removed: &config.remove_request_headers,
            pace,
            alarm: Alarm::default(),
            bytes: 0,
            length: match framing {
                Framing::Length(length) => Some(length),
                Framing::None | Framing::Chunked => None,
            },
            allowance: max_body,
            done,
        }
    }

    /// Whether it was read to its end.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Body bytes that the client has sent so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the client has sent any of it yet, as far as that can be seen.
    pub fn has_begun(&self) -> bool {
        match &self.coding {
            Coding::Http1(reader, _) => self.bytes > 0 || !reader.buffer.is_empty(),
            Coding::Http2(..) => self.bytes > 0,
        }
    }

    /// What is still to come, where that is known; else nothing is.
    pub fn remaining(&self) -> u64 {
        let length = self.length;
        length.map_or(0, |length| length.saturating_sub(self.bytes))
    }

    /// How long the client may send no byte.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.pace = Pace::of_silence(timeout);
    }

    /// No more than this may still be read.
    pub fn limit(&mut self, allowance: u64) {
        self.allowance = self.allowance.min(allowance);
    }

    /// The next part, or `None` at the end. Cancel-safe.
    pub async fn read(&mut self) -> Result<Option<Frame>, ProxyError> {
        if self.done {
            return Ok(None);
        }
        let part = match &mut self.coding {
            Coding::Http1(reader, decoder) => {
                read_http1(reader, decoder, &mut self.alarm, &mut self.pace).await?
            }
            Coding::Http2(stream, sink) => {
                let meter = sink.meter();
                let part = pin!(poll_fn(|context| poll_http2(stream, context)));
                let part = self.pace.keep(&mut self.alarm, Some(meter), part).await;
                let part = part.map_err(late)??;
                if let Some(Frame::Data(bytes)) = &part {
                    self.pace.moved_on(meter, bytes.len() as u64);
                }
                part
            }
        };
        Ok(match part {
            Some(Frame::Data(bytes)) => {
                self.count(bytes.len() as u64)?;
                Some(Frame::Data(bytes))
            }
            Some(Frame::Trailers(trailers)) => Some(Frame::Trailers(self.clean(trailers))),
            None => {
                self.done = true;
                None
            }
        })
    }

    fn count(&mut self, length: u64) -> Result<(), ProxyError> {
        self.allowance = self
            .allowance
            .checked_sub(length)
            .ok_or(ErrorKind::BodyTooLarge)?;
        self.bytes += length;
        Ok(())
    }

    fn clean(&self, mut trailers: HeaderMap) -> HeaderMap {
        for name in self.removed {
            trailers.remove(name);
        }
        remove_disguised(&mut trailers, self.removed.iter());
        trailers
    }

    /// Whether it shows that the client goes away. On a connection of HTTP/1 only what
    /// follows the body would.
    pub fn shows_end(&self) -> bool {
        self.done || self.stream().is_some()
    }

    /// The stream that the client may break off at any time.
    pub fn stream(&self) -> Option<&'a Http2Sink> {
        match self.coding {
            Coding::Http1(..) => None,
            Coding::Http2(_, sink) => Some(sink),
        }
    }

    /// Ready once the client has gone away. What else it sends meanwhile is kept.
    pub async fn gone(&mut self) -> ProxyError {
        match &mut self.coding {
            Coding::Http1(reader, _) => match reader.closed().await {
                Ok(()) => ErrorKind::ClientGone.into(),
                Err(error) => ProxyError::with(ErrorKind::ClientGone, error),
            },
            Coding::Http2(_, sink) => {
                poll_fn(|context| sink.poll_reset(context)).await;
                ErrorKind::ClientGone.into()
            }
        }
    }
}

async fn read_http1(
    reader: &mut Reader,
    decoder: &mut BodyDecoder,
    alarm: &mut Alarm,
    pace: &mut Pace,
) -> Result<Option<Frame>, ProxyError> {
    loop {
        match decoder.decode(&mut reader.buffer)? {
            Decoded::Data(bytes) => return Ok(Some(Frame::Data(bytes))),
            Decoded::Trailers(trailers) => return Ok(Some(Frame::Trailers(trailers))),
            Decoded::End => return Ok(None),
            Decoded::NeedMore => {}
        }
        match pace.keep(alarm, None, pin!(reader.fill_body())).await {
            Err(reason) => return Err(late(reason).into()),
            // It may have closed one way only and still read the answer.
            Ok(Ok(0)) => {
                return Err(ProxyError::because(
                    ErrorKind::BadBody,
                    "the client closed in the middle of its body",
                ));
            }
            Ok(Ok(count)) => pace.moved(count as u64),
            Ok(Err(error)) => return Err(ProxyError::with(ErrorKind::ClientGone, error)),
        }
    }
}

fn late(late: Late) -> ErrorKind {
    match late {
        Late::Silent => ErrorKind::BodyTimeout,
        Late::Slow => ErrorKind::BodyTooSlow,
    }
}

fn poll_http2(
    stream: &mut RecvStream,
    context: &mut Context<'_>,
) -> Poll<Result<Option<Frame>, ProxyError>> {
    let mut part = ready!(poll_stream(stream, context))
        .transpose()
        .map_err(of_stream);
    if let Ok(Some(Frame::Trailers(trailers))) = &mut part {
        if let Err(why) = check_fields(trailers) {
            return Poll::Ready(Err(ProxyError::because(ErrorKind::BadBody, why)));
        }
        remove_forbidden_trailers(trailers);
    }
    Poll::Ready(part)
}

/// Waits for the end of a body that has no bytes. Who sends one all the same has sent no
/// request (RFC 9113 section 8.1.1), and the origin is not to hear of it.
pub async fn read_end(stream: &mut RecvStream, timeout: Duration) -> Result<(), ProxyError> {
    let mut alarm = Alarm::default();
    let ended = pin!(async {
        while let Some(empty) = stream.data().await {
            empty.map_err(of_stream)?;
        }
        Ok(())
    });
    let ended = within(&mut alarm, timeout, ended).await;
    ended.unwrap_or_else(|| Err(ErrorKind::BodyTimeout.into()))
}

/// A stream that the client broke off, or one whose frames broke a rule.
fn of_stream(error: h2::Error) -> ProxyError {
    let kind = match error.reason() {
        Some(Reason::PROTOCOL_ERROR) if error.is_reset() && error.is_library() => {
            ErrorKind::BadBody
        }
        _ => ErrorKind::ClientGone,
    };
    ProxyError::with(kind, error)
}
