//! The body of a request on its way from the client to the origin.
//!
//! A channel of a few chunks inside one thread: the sender waits while the origin
//! does not take them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;

/// Chunks on their way of a body that waits for its origin.
const CAPACITY: usize = 2;

/// The body of an [`UpstreamRequest`](super::UpstreamRequest).
#[derive(Debug)]
pub enum RequestBody {
    Empty,
    Stream(BodyReceiver),
}

/// A body of `length` bytes, or of any length and chunked.
pub fn body_channel(length: Option<u64>) -> (BodySender, RequestBody) {
    body_channel_of(length, CAPACITY)
}

/// The same with room for so many chunks: a copy may lag behind by as much.
pub fn body_channel_of(length: Option<u64>, capacity: usize) -> (BodySender, RequestBody) {
    let channel = Rc::new(RefCell::new(Channel::new(length, capacity)));
    let receiver = BodyReceiver::of(&channel);
    (BodySender(channel), RequestBody::Stream(receiver))
}

#[derive(Debug)]
struct Channel {
    chunks: SmallVec<[Bytes; CAPACITY]>,
    capacity: usize,
    trailers: Option<HeaderMap>,
    end: End,
    /// The receiver has been told of the end.
    end_is_known: bool,
    /// Of a known length, what the receiver has not seen yet.
    remaining: Option<u64>,
    receiver: Receiver,
    receiver_waker: Option<Waker>,
    sender_waker: Option<Waker>,
    /// How often it was begun anew.
    turn: u32,
    /// What may have to be sent again.
    kept: Option<Box<Kept>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Finished,
    Abandoned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiver {
    Reading,
    /// The answer began before the body ended: an abandoned body no longer
    /// breaks the connection, it only never ends.
    Answered,
    Gone,
}

impl Channel {
    fn new(length: Option<u64>, capacity: usize) -> Self {
        Self {
            chunks: SmallVec::new(),
            capacity,
            trailers: None,
            end: End::Open,
            end_is_known: false,
            remaining: length,
            receiver: Receiver::Reading,
            receiver_waker: None,
            sender_waker: None,
            turn: 0,
            kept: None,
        }
    }

    fn wake_receiver(&mut self) {
        if let Some(waker) = self.receiver_waker.take() {
            waker.wake();
        }
    }

    fn wake_sender(&mut self) {
        if let Some(waker) = self.sender_waker.take() {
            waker.wake();
        }
    }
}

/// The upstream side does not want more of the body: it has answered, or
/// failed. The answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the origin takes no more of the body")]
pub struct NotWanted;

/// The end that the client's body is put into. Dropping it before
/// [`finish`](Self::finish) or [`trailers`](Self::trailers) breaks the request
/// off, so that the origin never takes half a body for a whole one.
#[derive(Debug)]
pub struct BodySender(Rc<RefCell<Channel>>);

impl BodySender {
    /// Waits until there is room. Dropping the future sends nothing.
    pub async fn send(&mut self, chunk: Bytes) -> Result<(), NotWanted> {
        poll_fn(|cx| self.poll_room(cx)).await?;
        if !chunk.is_empty() {
            let mut channel = self.0.borrow_mut();
            channel.chunks.push(chunk);
            channel.wake_receiver();
        }
        Ok(())
    }

    /// Waits until there is room. Dropping the future loses nothing.
    pub async fn room(&mut self) -> Result<(), NotWanted> {
        poll_fn(|cx| self.poll_room(cx)).await
    }

    /// Sends only if there is room now.
    pub fn try_send(&mut self, chunk: Bytes) -> Result<(), TrySendError> {
        let mut channel = self.0.borrow_mut();
        if channel.receiver == Receiver::Gone {
            return Err(TrySendError::NotWanted);
        }
        if channel.chunks.len() == channel.capacity {
            return Err(TrySendError::Full);
        }
        if !chunk.is_empty() {
            channel.chunks.push(chunk);
            channel.wake_receiver();
        }
        Ok(())
    }

    /// The body is whole.
    pub fn finish(self) {
        self.end(End::Finished);
    }

    /// The body is whole, and these fields follow it.
    pub fn trailers(self, trailers: HeaderMap) {
        self.0.borrow_mut().trailers = Some(trailers);
        self.end(End::Finished);
    }

    /// Resolves once nobody wants the body any more.
    pub async fn not_wanted(&mut self) {
        poll_fn(|cx| {
            let mut channel = self.0.borrow_mut();
            if channel.receiver == Receiver::Gone {
                return Poll::Ready(());
            }
            channel.sender_waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), NotWanted>> {
        let mut channel = self.0.borrow_mut();
        if channel.receiver == Receiver::Gone {
            return Poll::Ready(Err(NotWanted));
        }
        if channel.chunks.len() < channel.capacity {
            return Poll::Ready(Ok(()));
        }
        channel.sender_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn end(&self, end: End) {
        let mut channel = self.0.borrow_mut();
        if channel.end == End::Open {
            channel.end = end;
            channel.wake_receiver();
        }
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        self.end(End::Abandoned);
    }
}

/// Why [`BodySender::try_send`] did not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrySendError {
    Full,
    NotWanted,
}

/// Why a body cannot be sent to its end.
#[derive(Debug, thiserror::Error)]
pub enum BrokenBody {
    #[error("the request's body was abandoned")]
    Abandoned,
    #[error("the request's body is not as long as announced")]
    WrongLength,
}

/// The end that the connection reads from.
#[derive(Debug)]
pub struct BodyReceiver {
    channel: Rc<RefCell<Channel>>,
    /// The channel's, unless another has taken its place.
    turn: u32,
}

impl BodyReceiver {
    fn of(channel: &Rc<RefCell<Channel>>) -> Self {
        Self {
            channel: Rc::clone(channel),
            turn: channel.borrow().turn,
        }
    }

    /// Keeps what is read of it, so that it can be read again as long as it is no more
    /// than `most`. `None` if it is known to be more.
    pub(super) fn keep(&mut self, most: usize) -> Option<Replay> {
        let mut channel = self.channel.borrow_mut();
        let length = channel.remaining;
        if length.is_some_and(|length| length > most as u64) {
            return None;
        }
        channel.kept = Some(Box::new(Kept::new(length, most)));
        Some(Replay(Rc::clone(&self.channel)))
    }

    /// What the connection's driver keeps, since hyper takes the receiver.
    pub(super) fn watch(&self) -> BodyWatch {
        BodyWatch(Rc::clone(&self.channel))
    }

    /// The next chunk. The task is woken when there is one.
    pub(super) fn poll_wait(
        &mut self,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Bytes, BrokenBody>>> {
        self.watch().wake_by(cx.waker());
        let next = self.poll_next();
        next.map_ok(|frame| frame.into_data().unwrap_or_default())
    }

    /// Whether nothing comes behind what was taken, trailers neither.
    pub(super) fn is_at_end(&self) -> bool {
        self.watch().is_sent()
    }

    /// What stands behind the last chunk, once that was taken.
    pub(super) fn take_trailers(&self) -> Option<HeaderMap> {
        self.watch().take_trailers()
    }

    /// Whoever polls has left its waker in the channel: see [`BodyWatch`].
    fn poll_next(&mut self) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        let mut channel = self.channel.borrow_mut();
        if let Some(chunk) = channel.kept.as_mut().and_then(|kept| kept.next()) {
            return Poll::Ready(Some(channel.count(chunk)));
        }
        if !channel.chunks.is_empty() {
            let chunk = channel.chunks.remove(0);
            channel.wake_sender();
            if let Some(kept) = &mut channel.kept {
                kept.keep(&chunk);
            }
            return Poll::Ready(Some(channel.count(chunk)));
        }
        match channel.end {
            End::Open => Poll::Pending,
            End::Abandoned if channel.receiver == Receiver::Answered => Poll::Pending,
            End::Abandoned => Poll::Ready(Some(Err(BrokenBody::Abandoned))),
            End::Finished if channel.remaining.is_some_and(|remaining| remaining > 0) => {
                Poll::Ready(Some(Err(BrokenBody::WrongLength)))
            }
            // Trailers go past hyper, which would send only those that the
            // request's `Trailer` field announces: see `wire`.
            End::Finished => {
                channel.end_is_known = true;
                Poll::Ready(None)
            }
        }
    }
}

impl Channel {
    fn count(&mut self, chunk: Bytes) -> Result<Frame<Bytes>, BrokenBody> {
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining
                .checked_sub(chunk.len() as u64)
                .ok_or(BrokenBody::WrongLength)?;
        }
        Ok(Frame::data(chunk))
    }

    fn is_drained(&self) -> bool {
        self.end == End::Finished && !self.has_chunks() && self.trailers.is_none()
    }

    /// Whether there is something that the receiver has not taken.
    fn has_chunks(&self) -> bool {
        !self.chunks.is_empty() || self.kept.as_ref().is_some_and(|kept| kept.has_next())
    }

    fn gone(&mut self) {
        self.receiver = Receiver::Gone;
        self.wake_sender();
    }
}

impl Drop for BodyReceiver {
    fn drop(&mut self) {
        let mut channel = self.channel.borrow_mut();
        if self.turn != channel.turn {
            // Another has come.
            return;
        }
        match &mut channel.kept {
            // Another may come.
            Some(kept) if kept.has_replay => kept.has_receiver = false,
            Some(_) | None => channel.gone(),
        }
    }
}

/// What of a body went by, as references to what was read.
#[derive(Debug)]
struct Kept {
    chunks: Vec<Bytes>,
    /// Behind those, copied together: clients choose how small chunks are, and each holds
    /// all of what it was read into.
    small: BytesMut,
    /// Of these, how many the present receiver has had.
    next: usize,
    /// What may still be kept; `None` once more than that went by.
    room: Option<usize>,
    trailers: Option<HeaderMap>,
    /// Of the whole body, where it is known.
    length: Option<u64>,
    has_receiver: bool,
    /// Whether anybody may still want it again.
    has_replay: bool,
}

/// Of one body.
const MAX_KEPT_CHUNKS: usize = 1024;

/// Smaller ones are copied.
const MIN_REFERENCE: usize = 1024;

impl Kept {
    fn new(length: Option<u64>, most: usize) -> Self {
        Self {
            chunks: Vec::new(),
            small: BytesMut::new(),
            next: 0,
            room: Some(most),
            trailers: None,
            length,
            has_receiver: true,
            has_replay: true,
        }
    }

    /// All of a body, that nobody will want again.
    fn read(chunks: Vec<Bytes>) -> Self {
        Self {
            chunks,
            has_replay: false,
            ..Self::new(None, 0)
        }
    }

    /// What went by in an earlier turn and not yet in this one.
    fn next(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.get(self.next)?.clone();
        self.next += 1;
        Some(chunk)
    }

    fn has_next(&self) -> bool {
        self.next < self.chunks.len()
    }

    fn keep(&mut self, chunk: &Bytes) {
        let room = self.room.and_then(|room| room.checked_sub(chunk.len()));
        self.room = room.filter(|_| self.has_replay && self.chunks.len() < MAX_KEPT_CHUNKS);
        if self.room.is_none() {
            self.chunks = Vec::new();
            self.small = BytesMut::new();
        } else if chunk.len() < MIN_REFERENCE {
            self.small.extend_from_slice(chunk);
        } else {
            self.gather();
            self.chunks.push(chunk.clone());
        }
        self.next = self.chunks.len();
    }

    fn gather(&mut self) {
        if !self.small.is_empty() {
            self.chunks.push(self.small.split().freeze());
        }
    }
}

/// Lets a body be sent again. Dropped, nothing of it is kept any more.
#[derive(Debug)]
pub(super) struct Replay(Rc<RefCell<Channel>>);

impl Replay {
    /// Whether all that went by is still there, and the rest may come.
    pub fn is_whole(&self) -> bool {
        let channel = self.0.borrow();
        let is_kept = channel
            .kept
            .as_ref()
            .is_some_and(|kept| kept.room.is_some());
        is_kept && channel.end != End::Abandoned
    }

    /// Whether all of the body has come, and is still there.
    pub fn is_complete(&self) -> bool {
        let channel = self.0.borrow();
        channel.end == End::Finished
            && channel.kept.as_ref().is_some_and(|kept| {
                let waiting: usize = channel.chunks.iter().map(Bytes::len).sum();
                kept.room.is_some_and(|room| waiting <= room)
            })
    }

    /// The whole body once more, for another origin, while this one is read on.
    pub fn copy(&self) -> Option<RequestBody> {
        if !self.is_complete() {
            return None;
        }
        let channel = self.0.borrow();
        let kept = channel.kept.as_ref()?;
        let small = Some(Bytes::copy_from_slice(&kept.small));
        let small = small.filter(|small| !small.is_empty());
        let chunks = kept.chunks.iter().cloned();
        let chunks = chunks.chain(small).chain(channel.chunks.iter().cloned());
        let trailers = channel.trailers.as_ref().or(kept.trailers.as_ref());
        let copy = Channel {
            trailers: trailers.cloned(),
            end: End::Finished,
            kept: Some(Box::new(Kept::read(chunks.collect()))),
            ..Channel::new(kept.length, CAPACITY)
        };
        Some(RequestBody::Stream(BodyReceiver::of(&Rc::new(
            RefCell::new(copy),
        ))))
    }

    /// The body from its beginning, in the place of the one that was read before.
    pub fn again(&self) -> Option<RequestBody> {
        if !self.is_whole() {
            return None;
        }
        let channel = &mut *self.0.borrow_mut();
        let kept = channel.kept.as_mut()?;
        channel.turn += 1;
        kept.gather();
        kept.next = 0;
        kept.has_receiver = true;
        channel.trailers = channel.trailers.take().or(kept.trailers.take());
        channel.remaining = kept.length;
        channel.end_is_known = false;
        channel.receiver = Receiver::Reading;
        let turn = channel.turn;
        Some(RequestBody::Stream(BodyReceiver {
            channel: Rc::clone(&self.0),
            turn,
        }))
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        let mut channel = self.0.borrow_mut();
        let Some(kept) = &mut channel.kept else {
            return;
        };
        kept.has_replay = false;
        if !kept.has_receiver {
            channel.gone();
        } else if !kept.has_next() {
            channel.kept = None;
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        match self.get_mut() {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Stream(receiver) => receiver.poll_next(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Stream(receiver) => {
                let channel = receiver.channel.borrow();
                channel.is_drained() && channel.remaining.is_none_or(|remaining| remaining == 0)
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Stream(receiver) => match receiver.channel.borrow().remaining {
                Some(remaining) => SizeHint::with_exact(remaining),
                None => SizeHint::default(),
            },
        }
    }
}

/// What the driver of a connection knows about the body that it sends.
#[derive(Debug, Clone)]
pub(super) struct BodyWatch(Rc<RefCell<Channel>>);

impl BodyWatch {
    /// Has more of the body wake this task.
    pub fn wake_by(&self, waker: &Waker) {
        let mut channel = self.0.borrow_mut();
        match &mut channel.receiver_waker {
            Some(known) if known.will_wake(waker) => {}
            known => *known = Some(waker.clone()),
        }
    }

    /// Whether the connection has taken the last of it.
    pub fn is_sent(&self) -> bool {
        self.0.borrow().is_drained()
    }

    /// The trailers, once everything before them has been taken.
    pub fn take_trailers(&self) -> Option<HeaderMap> {
        let mut channel = self.0.borrow_mut();
        if !channel.end_is_known {
            return None;
        }
        let trailers = channel.trailers.take()?;
        if let Some(kept) = &mut channel.kept {
            kept.trailers = Some(trailers.clone());
        }
        Some(trailers)
    }

    /// Whether there is something that the connection has not taken.
    pub fn is_waiting(&self) -> bool {
        self.0.borrow().has_chunks()
    }

    /// An answer came before the end of the body.
    pub fn answered(&self) {
        let mut channel = self.0.borrow_mut();
        if channel.receiver == Receiver::Reading {
            channel.receiver = Receiver::Answered;
        }
    }
}
