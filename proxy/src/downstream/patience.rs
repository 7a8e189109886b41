//! For how long a connection is kept without a request.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use crate::deadline::Alarm;
use crate::exchange::Local;
use crate::listener::Socket;

/// For a request that is on its way when a connection's listener goes: a client that is
/// told by nothing but a close has to guess whether it was heard.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// Within this time all connections go that could be spared, if there is too much to carry
/// for so long.
const SPARED_WITHIN: Duration = Duration::from_secs(4);

/// For how long a request of HTTP/1 is waited for.
#[derive(Default)]
pub struct Patience {
    until: Option<Instant>,
    /// The connection ends, and only what is on its way is waited for.
    is_leaving: bool,
}

impl Patience {
    /// As it is now: a drain and a reload shorten it.
    pub fn until(&mut self, local: &Local, socket: &Arc<Socket>, is_draining: bool) -> Instant {
        if let (Some(until), true) = (self.until, self.is_leaving) {
            return until;
        }
        let snapshot = local.snapshot();
        let listener = snapshot.listener(socket);
        let idle = listener.map(|listener| listener.shared.config.timeouts.idle);
        self.is_leaving = is_draining || idle.is_none();
        let until = match (idle, self.until) {
            (Some(idle), until) if !self.is_leaving => {
                until.unwrap_or_else(|| Instant::now() + idle)
            }
            (_, until) => {
                let last = last_request(local);
                until.map_or(last, |until| until.min(last))
            }
        };
        *self.until.insert(until)
    }

    /// Whether the connection ends for another reason than that it was idle.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving
    }
}

/// When a connection goes that could carry more requests, while there is too much to carry:
/// each at a moment of its own, since all of them at once would come again at once, and some
/// may be enough.
#[derive(Default)]
pub struct Spare(Option<Instant>);

impl Spare {
    /// Whether it is time.
    pub fn is_due(&mut self, context: &mut Context<'_>, local: &Local, alarm: &mut Alarm) -> bool {
        if !local.closes() {
            self.0 = None;
            return false;
        }
        let at = *self.0.get_or_insert_with(|| {
            let after = SPARED_WITHIN.mul_f64(fastrand::f64());
            Instant::now() + LAST_REQUEST + after
        });
        alarm.poll_until(context, at).is_ready()
    }
}

/// Until when a request is waited for on a connection that ends: by a drain, or because
/// its listener is gone.
pub fn last_request(local: &Local) -> Instant {
    let drained = local.drain.last_request();
    drained.unwrap_or_else(|| Instant::now() + LAST_REQUEST)
}
