//! Both directions of one connection, within its bounds.

use std::future::poll_fn;
use std::task::Poll;

use bytes::BytesMut;

use super::bounds::Bounds;
use crate::client::Stream;
use crate::drain::Watcher;
use crate::error::{ErrorKind, ProxyError};
use crate::pump::{Broken, Passed, Pump};
use crate::upstream::Opaque;

/// Passes bytes until both sides have ended, telling `count` of all that has passed
/// whenever some did. What one side breaks off is broken off to the other.
pub async fn relay(
    (mut stream, read): (Stream, BytesMut),
    mut origin: Opaque,
    watcher: &Watcher,
    bounds: &mut Bounds,
    mut count: impl FnMut(Passed),
) -> Result<(), ProxyError> {
    let mut pump = Pump::new(read);
    let mut passed = Passed::default();
    let ended = poll_fn(|context| {
        watcher.attend(context);
        let outcome = pump.poll(context, &mut stream, &mut origin);
        if pump.passed() != passed {
            passed = pump.passed();
            count(passed);
            bounds.note_activity();
        }
        match outcome {
            Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
            Poll::Pending => bounds.poll_over(context).map(Err),
        }
    })
    .await;
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Broken::Client(error))) => {
            origin.reset();
            Err(ProxyError::with(ErrorKind::ClientGone, error))
        }
        Ok(Err(Broken::Origin(error))) => {
            reset(&stream);
            Err(origin.failed(ProxyError::with(ErrorKind::UpstreamReset, error)))
        }
        Err(kind) => Err(kind.into()),
    }
}

/// Has a client's connection end so that nobody takes that for an end.
pub fn reset(stream: &Stream) {
    if let Err(error) = stream.set_reset() {
        tracing::debug!(%error, "a client's connection is closed and not reset");
    }
}
