//! The two directions of a stream, whoever is at its other end.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{RecvStream, SendStream};

use crate::upstream::Frame;

/// The next part of what comes. The other end may send as much again at once: nothing
/// is read before there is room for it.
pub fn poll_stream(
    stream: &mut RecvStream,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame, h2::Error>>> {
    loop {
        match ready!(stream.poll_data(cx)) {
            Some(Ok(bytes)) if bytes.is_empty() => {}
            Some(Ok(bytes)) => {
                stream.flow_control().release_capacity(bytes.len())?;
                return Poll::Ready(Some(Ok(Frame::Data(bytes))));
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => break,
        }
    }
    let trailers = ready!(stream.poll_trailers(cx)).transpose();
    Poll::Ready(trailers.map(|trailers| trailers.map(Frame::Trailers)))
}

/// How many of `wanted` bytes the other end and its connection have room for. `None`
/// once it wants nothing more.
pub fn poll_room(
    stream: &mut SendStream<Bytes>,
    wanted: usize,
    cx: &mut Context<'_>,
) -> Poll<Option<usize>> {
    stream.reserve_capacity(wanted);
    if stream.capacity() > 0 {
        return Poll::Ready(Some(stream.capacity()));
    }
    Poll::Ready(match ready!(stream.poll_capacity(cx)) {
        Some(Ok(room)) => Some(room),
        Some(Err(_)) | None => None,
    })
}
