//! Both directions of one connection, within its bounds.

use std::future::poll_fn;
use std::task::Poll;

use bytes::BytesMut;

use tokio::io::{AsyncRead, AsyncWrite};

use super::bounds::Bounds;
use crate::client::Stream;
use crate::drain::Watcher;
use crate::error::{ErrorKind, ProxyError};
use crate::pump::{Broken, Passed, Pump};
use crate::upstream::{Duplex, Opaque};

/// A client's side that can be broken off in a way that shows.
pub trait Side: AsyncRead + AsyncWrite + Unpin {
    /// Has it end so that nobody takes that for an end.
    fn reset(&mut self);
}

impl Side for Stream {
    fn reset(&mut self) {
        self.set_reset();
    }
}

impl Side for Duplex {
    fn reset(&mut self) {
        Duplex::reset(self);
    }
}

/// Passes bytes until both sides have ended, telling `count` of all that has passed
/// whenever some did. What one side breaks off is broken off to the other.
pub async fn relay(
    (mut client, read): (impl Side, BytesMut),
    mut origin: Opaque,
    watcher: &Watcher,
    bounds: &mut Bounds,
    mut count: impl FnMut(Passed),
) -> Result<(), ProxyError> {
    let mut pump = Pump::new(read);
    let mut passed = Passed::default();
    let ended = poll_fn(|context| {
        watcher.attend(context);
        let outcome = pump.poll(context, &mut client, &mut origin);
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
            client.reset();
            Err(origin.failed(ProxyError::with(ErrorKind::UpstreamReset, error)))
        }
        Err(kind) => Err(kind.into()),
    }
}
