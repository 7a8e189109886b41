//! The request's body on its way from the client.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;

use super::mirror::Copy;
use crate::client::Reader;
use crate::deadline::{Alarm, within};
use crate::error::{ErrorKind, ProxyError};
use crate::http::Framing;
use crate::http::disguise::remove_disguised;
use crate::http::h1::{BodyDecoder, Decoded};
use crate::upstream::BodySender;

/// Reads a body and hands it on, piece by piece. It runs beside whatever else
/// the exchange does and may be left alone at any await and run again later.
pub struct Upload<'a> {
    reader: &'a mut Reader,
    decoder: BodyDecoder,
    /// Fields that clients may not set, in trailers either.
    removed: &'a [HeaderName],
    /// How long the client may send no byte.
    timeout: Duration,
    alarm: Alarm,
    /// Read and not yet taken by the origin.
    pending: Option<Bytes>,
    /// Gone once the origin no longer wants the rest, which is then discarded.
    pub sender: Option<BodySender>,
    /// These never hold the original up: a copy that lags is cut off.
    pub copies: Vec<Copy>,
    /// Body bytes so far.
    pub bytes: u64,
    /// The client was sent `100 Continue`.
    pub was_asked_for: bool,
    length: Option<u64>,
    /// What may still be read only to be thrown away.
    allowance: u64,
    done: bool,
    /// It cannot be read to its end: it failed, or its head said already that
    /// it is too large. The connection ends with the answer.
    is_broken: bool,
}

impl<'a> Upload<'a> {
    pub fn new(
        reader: &'a mut Reader,
        decoder: BodyDecoder,
        framing: Framing,
        removed: &'a [HeaderName],
        timeout: Duration,
    ) -> Self {
        Self {
            reader,
            done: decoder.is_done(),
            decoder,
            removed,
            timeout,
            alarm: Alarm::default(),
            pending: None,
            sender: None,
            copies: Vec::new(),
            bytes: 0,
            was_asked_for: false,
            length: match framing {
                Framing::Length(length) => Some(length),
                Framing::None | Framing::Chunked => None,
            },
            allowance: u64::MAX,
            is_broken: false,
        }
    }

    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Nothing of it is read any more.
    pub fn give_up(&mut self) {
        self.is_broken = true;
        self.sender = None;
        self.copies.clear();
    }

    /// Whether the body was read to its end, so that the connection may carry
    /// another request.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the client has sent any of it yet.
    pub fn has_begun(&self) -> bool {
        self.bytes > 0 || !self.reader.buffer.is_empty()
    }

    /// Runs `work`, for which no more of the body is read, as long as the client
    /// is there.
    pub async fn beside<T>(
        &mut self,
        work: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, ProxyError> {
        match self.done {
            true => while_there(self.reader, work).await,
            false => Ok(work.await),
        }
    }

    /// Whether there is more of it, and all that came has been taken.
    pub fn waits_for_client(&self) -> bool {
        !self.done && !self.is_broken && self.pending.is_none()
    }

    /// What is still to come, where that is known; else nothing is.
    pub fn remaining(&self) -> u64 {
        self.length
            .map_or(0, |length| length.saturating_sub(self.bytes))
    }

    /// From now on the rest goes nowhere, and `run` fails beyond so many bytes.
    pub fn discard(&mut self, allowance: u64) {
        self.sender = None;
        self.copies.clear();
        self.allowance = allowance;
    }

    /// Reads the body to its end. Backpressure: nothing is read while the origin
    /// has not taken what is there. Cancel-safe. Once it has failed it is given
    /// up, and must not be run again.
    pub async fn run(&mut self) -> Result<(), ProxyError> {
        let outcome = self.read_to_end().await;
        if outcome.is_err() {
            self.give_up();
        }
        outcome
    }

    async fn read_to_end(&mut self) -> Result<(), ProxyError> {
        while !self.done {
            self.pass_on().await;
            match self.decoder.decode(&mut self.reader.buffer)? {
                Decoded::Data(bytes) => self.take(bytes)?,
                Decoded::Trailers(mut trailers) => {
                    for name in self.removed {
                        trailers.remove(name);
                    }
                    remove_disguised(&mut trailers, self.removed.iter());
                    for copy in self.copies.drain(..) {
                        copy.trailers(&trailers);
                    }
                    if let Some(sender) = self.sender.take() {
                        sender.trailers(trailers);
                    }
                }
                Decoded::End => self.finish(),
                Decoded::NeedMore => self.fill().await?,
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: Bytes) -> Result<(), ProxyError> {
        let length = bytes.len() as u64;
        self.allowance = self
            .allowance
            .checked_sub(length)
            .ok_or(ErrorKind::BodyTooLarge)?;
        self.bytes += length;
        for copy in &mut self.copies {
            copy.offer(&bytes);
        }
        self.pending = Some(bytes);
        Ok(())
    }

    /// Waits until the origin has room for what is pending.
    async fn pass_on(&mut self) {
        if self.pending.is_none() {
            return;
        }
        if let Some(sender) = &mut self.sender {
            let room = sender.room().await;
            let sent = room.is_ok()
                && self
                    .pending
                    .take()
                    .is_none_or(|bytes| sender.try_send(bytes).is_ok());
            if !sent {
                self.sender = None;
            }
        }
        self.pending = None;
    }

    fn finish(&mut self) {
        self.done = true;
        for copy in self.copies.drain(..) {
            copy.finish();
        }
        if let Some(sender) = self.sender.take() {
            sender.finish();
        }
    }

    async fn fill(&mut self) -> Result<(), ProxyError> {
        match within(&mut self.alarm, self.timeout, pin!(self.reader.fill_body())).await {
            None => Err(ErrorKind::BodyTimeout.into()),
            // It may have closed one way only and still read the answer.
            Some(Ok(0)) => Err(ProxyError::because(
                ErrorKind::BadBody,
                "the client closed in the middle of its body",
            )),
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(ProxyError::with(ErrorKind::ClientGone, error)),
        }
    }
}

/// Runs `work` to its end and the upload beside it for as long; once the body is
/// there, it looks whether the client is. An upload that fails or a client that
/// goes away ends both: `work` is dropped.
pub async fn alongside<T>(
    upload: &mut Upload<'_>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, ProxyError> {
    if upload.is_broken() {
        return Ok(work.await);
    }
    if upload.is_done() {
        return while_there(upload.reader, work).await;
    }
    let first = {
        let mut running = pin!(upload.run());
        poll_fn(|context| {
            if let Poll::Ready(value) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(Some(value)));
            }
            running.as_mut().poll(context).map_ok(|()| None)
        })
        .await?
    };
    match first {
        Some(value) => Ok(value),
        None => while_there(upload.reader, work).await,
    }
}

/// A client that closes its sending side has gone away: what nobody waits for
/// is not worth an origin's time.
async fn while_there<T>(
    reader: &mut Reader,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, ProxyError> {
    let mut closed = pin!(reader.closed());
    poll_fn(|context| {
        if let Poll::Ready(value) = work.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        closed.as_mut().poll(context).map(|closed| match closed {
            Ok(()) => Err(ErrorKind::ClientGone.into()),
            Err(error) => Err(ProxyError::with(ErrorKind::ClientGone, error)),
        })
    })
    .await
}
