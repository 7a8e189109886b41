//! A request's body on its way into a stream.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use tokio::task::JoinHandle;

use super::stream::poll_room;
use crate::deadline::{Alarm, within};
use crate::upstream::body::{BodyReceiver, BodyWatch};

/// Sends the body, whatever the answer does meanwhile. Dropping it breaks off what
/// was not sent.
pub(in crate::upstream) struct Pump {
    task: JoinHandle<()>,
    state: Rc<State>,
    body: BodyWatch,
}

struct State {
    sent: Cell<Sent>,
    waker: RefCell<Waker>,
}

/// How far a body got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Sent {
    Under,
    /// All of it, or all that the origin wants.
    Whole,
    /// The origin took nothing for too long.
    Stalled,
    /// The client's part broke off.
    Abandoned,
}

impl Pump {
    /// `idle` is how long the origin may take nothing.
    pub fn start(body: BodyReceiver, stream: SendStream<Bytes>, idle: Duration) -> Self {
        let state = Rc::new(State {
            sent: Cell::new(Sent::Under),
            waker: RefCell::new(Waker::noop().clone()),
        });
        let watch = body.watch();
        let told = state.clone();
        let task = tokio::task::spawn_local(async move {
            told.sent.set(pump(body, stream, idle).await);
            told.waker.borrow().wake_by_ref();
        });
        Self {
            task,
            state,
            body: watch,
        }
    }

    /// An answer came: a body that breaks off now only never ends.
    pub fn answered(&self) {
        self.body.answered();
    }

    /// How far it got; the task is woken when that changes.
    pub fn poll_sent(&self, context: &Context<'_>) -> Sent {
        self.state.waker.borrow_mut().clone_from(context.waker());
        self.state.sent.get()
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pump(mut body: BodyReceiver, mut stream: SendStream<Bytes>, idle: Duration) -> Sent {
    let mut alarm = Alarm::default();
    loop {
        let next = poll_fn(|context| {
            if stream.poll_reset(context).is_ready() {
                // What the origin has to say comes as its answer.
                return Poll::Ready(None);
            }
            body.poll_wait(context).map(Some)
        });
        let mut chunk = match next.await {
            None => return Sent::Whole,
            Some(Some(Ok(chunk))) => chunk,
            Some(Some(Err(_))) => {
                stream.send_reset(Reason::CANCEL);
                return Sent::Abandoned;
            }
            Some(None) => return finish(&body, &mut stream),
        };
        while !chunk.is_empty() {
            let wanted = chunk.len();
            let room = pin!(poll_fn(|context| poll_room(&mut stream, wanted, context)));
            let piece = match within(&mut alarm, idle, room).await {
                Some(Some(room)) => chunk.split_to(room.min(wanted)),
                Some(None) => return Sent::Whole,
                None => {
                    stream.send_reset(Reason::CANCEL);
                    return Sent::Stalled;
                }
            };
            let is_last = chunk.is_empty() && body.is_at_end();
            if stream.send_data(piece, is_last).is_err() || is_last {
                return Sent::Whole;
            }
        }
    }
}

fn finish(body: &BodyReceiver, stream: &mut SendStream<Bytes>) -> Sent {
    let sent = match body.take_trailers() {
        Some(trailers) => stream.send_trailers(trailers),
        None => stream.send_data(Bytes::new(), true),
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "the end of a request was not sent");
    }
    Sent::Whole
}
