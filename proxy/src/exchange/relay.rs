//! Both directions of one connection, within its bounds.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

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

    /// Ready when it was broken off, where neither reading nor writing would tell.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

impl Side for Stream {
    fn reset(&mut self) {
        self.set_reset();
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Side for Duplex {
    fn reset(&mut self) {
        Duplex::reset(self);
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Duplex::poll_gone(self, context)
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
        if let Poll::Ready(outcome) = outcome {
            return Poll::Ready(Ok(outcome));
        }
        if client.poll_gone(context).is_ready() {
            return Poll::Ready(Ok(Err(Broken::Client(gone()))));
        }
        match origin.poll_gone(context) {
            Poll::Ready(()) => Poll::Ready(Ok(Err(Broken::Origin(gone())))),
            Poll::Pending => bounds.poll_over(context).map(Err),
        }
    })
    .await;
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Broken::Client(error))) => {
            // Whoever has said all may still be heard.
            if !pump.is_up_whole() {
                origin.reset();
            }
            Err(ProxyError::with(ErrorKind::ClientGone, error))
        }
        Ok(Err(Broken::Origin(error))) => {
            if !pump.is_down_whole() {
                client.reset();
            }
            Err(origin.failed(ProxyError::with(ErrorKind::UpstreamReset, error)))
        }
        Err(kind) => {
            // Between two bytes silence may well be an end. Else neither side is to take
            // what it has for the whole.
            let is_quiet = kind == ErrorKind::IdleTimeout && pump.holds_nothing();
            if !is_quiet && !pump.is_down_whole() {
                client.reset();
            }
            if !is_quiet && !pump.is_up_whole() {
                origin.reset();
            }
            Err(kind.into())
        }
    }
}

fn gone() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
