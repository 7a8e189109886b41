//! Asking the peer of an HTTP/2 connection now and then whether it is there: one that
//! is gone without a word would hold its streams until their time is up.

use std::task::Context;

use h2::{Ping, PingPong};
use tokio::time::Instant;

use crate::config::PingTimes;
use crate::deadline::Alarm;

pub struct Pings {
    frames: PingPong,
    /// When the next is sent, or when the answer to the last is late.
    due: Option<Instant>,
    is_waiting: bool,
}

impl Pings {
    pub fn new(frames: PingPong) -> Self {
        Self {
            frames,
            due: None,
            is_waiting: false,
        }
    }

    /// Whether an answer is late. Nothing is asked while no stream `is_busy`.
    pub fn poll_lost(
        &mut self,
        context: &mut Context<'_>,
        alarm: &mut Alarm,
        times: &PingTimes,
        is_busy: bool,
    ) -> bool {
        if self.is_waiting && self.frames.poll_pong(context).is_ready() {
            self.is_waiting = false;
            self.due = None;
        }
        if !is_busy && !self.is_waiting {
            self.due = None;
            return false;
        }
        loop {
            let after = match self.is_waiting {
                true => times.timeout,
                false => times.every,
            };
            let due = *self.due.get_or_insert_with(|| Instant::now() + after);
            if alarm.poll_until(context, due).is_pending() {
                return false;
            }
            if self.is_waiting || self.frames.send_ping(Ping::opaque()).is_err() {
                return true;
            }
            self.is_waiting = true;
            self.due = None;
        }
    }
}
