//! How slow a client may be.
//!
//! It may be silent for a time, and what it moves has to come to a rate. Time that is
//! waited for it is taken from a credit, and each byte gives some back. The credit is
//! never more than the time that it may be silent: so who was fast once gains nothing,
//! and who moves a byte now and then runs out of it. Time in which nobody waits for the
//! client, because an origin is slow, costs it nothing.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use crate::deadline::Alarm;

/// Of one body in one direction.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long no byte may move.
    silence: Duration,
    /// Bytes a second; 0 where any will do.
    rate: u64,
    credit: Duration,
    /// Since a byte moved.
    silent: Duration,
    /// Of what moved on the connection, what has been looked at.
    seen: u64,
}

/// Why a client is waited for no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// Nothing moved.
    Silent,
    /// Too little did.
    Slow,
}

impl Pace {
    pub fn new(silence: Duration, rate: u64) -> Self {
        Self {
            silence,
            rate,
            credit: silence,
            silent: Duration::ZERO,
            seen: 0,
        }
    }

    /// For a body that may be silent for so long, and as slow as it is.
    pub fn of_silence(silence: Duration) -> Self {
        Self::new(silence, 0)
    }

    /// So much moved.
    pub fn moved(&mut self, bytes: u64) {
        self.silent = Duration::ZERO;
        self.gain(bytes);
    }

    /// The same where streams share a connection, which `meter` is about: what one of
    /// them moves speaks for all.
    pub fn moved_on(&mut self, meter: &Cell<u64>, bytes: u64) {
        self.gain_of(meter);
        self.moved(bytes);
        meter.set(meter.get().wrapping_add(bytes));
        self.seen = meter.get();
    }

    /// Runs `work`, which waits for the client, for as long as it may take. The clock is
    /// only looked at once it has to wait. Where streams share a connection, `meter`
    /// tells what all of them moved.
    pub async fn keep<T>(
        &mut self,
        alarm: &mut Alarm,
        meter: Option<&Cell<u64>>,
        mut work: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Late> {
        loop {
            let left = self.left();
            let mut since = None;
            let done = poll_fn(|context| {
                if let Poll::Ready(done) = work.as_mut().poll(context) {
                    return Poll::Ready(Some(done));
                }
                let since = *since.get_or_insert_with(Instant::now);
                alarm.poll_until(context, since + left).map(|()| None)
            })
            .await;
            if let Some(since) = since {
                self.wait(since.elapsed());
            }
            if let Some(done) = done {
                return Ok(done);
            }
            if let Some(meter) = meter {
                self.gain_of(meter);
            }
            if let Some(late) = self.late() {
                return Err(late);
            }
        }
    }

    /// How long the client may be waited for now.
    fn left(&self) -> Duration {
        let silence = self.silence.saturating_sub(self.silent);
        match self.rate {
            0 => silence,
            _ => silence.min(self.credit),
        }
    }

    /// The client was waited for.
    fn wait(&mut self, time: Duration) {
        self.silent += time;
        self.credit = self.credit.saturating_sub(time);
    }

    fn late(&self) -> Option<Late> {
        match () {
            () if self.silent >= self.silence => Some(Late::Silent),
            () if self.rate > 0 && self.credit.is_zero() => Some(Late::Slow),
            () => None,
        }
    }

    fn gain(&mut self, bytes: u64) {
        if let Some(millis) = bytes.saturating_mul(1000).checked_div(self.rate) {
            let more = self.credit.saturating_add(Duration::from_millis(millis));
            self.credit = more.min(self.silence);
        }
    }

    fn gain_of(&mut self, meter: &Cell<u64>) {
        self.gain(meter.get().wrapping_sub(self.seen));
        self.seen = meter.get();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What happens to a client that may be silent for 10 s and has to move 100 bytes a
    /// second: waits in seconds, and bytes behind each.
    fn check(steps: &[(u64, u64)], late: Option<Late>) {
        let mut pace = Pace::new(10 * SECOND, 100);
        let ended = steps.iter().find_map(|(wait, bytes)| {
            let wait = (*wait as u32 * SECOND).min(pace.left());
            let is_cut = wait == pace.left();
            pace.wait(wait);
            if is_cut {
                return pace.late();
            }
            pace.moved(*bytes);
            None
        });
        assert_eq!(ended, late, "{steps:?}");
    }

    #[test]
    fn what_moves_is_what_counts() {
        check(&[(9, 100_000), (9, 900), (9, 900)], None);
        check(&[(10, 0)], Some(Late::Silent));
        check(&[(11, 0)], Some(Late::Silent));
        // A byte now and then.
        check(&[(5, 1), (5, 1), (5, 1)], Some(Late::Slow));
        check(&[(1, 50); 18], None);
        check(&[(1, 50); 30], Some(Late::Slow));
        check(&[(1, 100); 1000], None);
        // Having been fast is worth no more than having been in time.
        check(&[(1, 1 << 40), (9, 1), (2, 1)], Some(Late::Slow));
        check(&[(9, u64::MAX), (9, u64::MAX)], None);
    }

    #[test]
    fn without_a_rate_any_will_do() {
        let mut pace = Pace::new(10 * SECOND, 0);
        for _ in 0..100 {
            pace.wait(9 * SECOND);
            assert_eq!(pace.late(), None);
            pace.moved(1);
        }
        pace.wait(10 * SECOND);
        assert_eq!(pace.late(), Some(Late::Silent));
    }

    /// A stream that gets nothing because the others of its connection do is not slow,
    /// but it may not be silent for longer than any.
    #[test]
    fn the_streams_of_a_connection_speak_for_each_other() {
        let meter = Cell::new(0);
        let mut one = Pace::new(10 * SECOND, 100);
        let mut other = one;
        one.wait(5 * SECOND);
        one.moved_on(&meter, 1);
        one.wait(4 * SECOND);
        other.moved_on(&meter, 1000);
        assert_eq!(one.left(), SECOND + Duration::from_millis(10));
        one.gain_of(&meter);
        assert_eq!(one.left(), 6 * SECOND);
        one.gain_of(&meter);
        one.wait(6 * SECOND);
        assert_eq!(one.late(), Some(Late::Silent));
    }

    #[tokio::test]
    async fn who_is_waited_for_runs_out_of_time() {
        let mut pace = Pace::new(Duration::from_millis(20), 1_000_000);
        let mut alarm = Alarm::default();
        let mut never = std::pin::pin!(std::future::pending::<()>());
        let kept = pace.keep(&mut alarm, None, never.as_mut()).await;
        assert_eq!(kept, Err(Late::Silent));
        pace.moved(1000);
        let kept = pace.keep(&mut alarm, None, never.as_mut()).await;
        assert_eq!(kept, Err(Late::Slow));
        let mut done = std::pin::pin!(async { 7 });
        assert_eq!(pace.keep(&mut alarm, None, done.as_mut()).await, Ok(7));
    }
}
