//! Deadlines that cost next to nothing while they are not reached.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// One timer of the runtime for all deadlines of a connection, one after the
/// other. It is moved only when a deadline comes before the one it stands at:
/// deadlines of a busy connection move away all the time, and moving the timer
/// with each of them would cost more than parsing a head. So it is left where it
/// is, and looks again when it goes off.
#[derive(Debug, Default)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once `deadline` has passed.
    pub fn poll_until(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() == deadline || Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

/// Runs `work` for at most `limit` from now; `None` when it did not end in
/// time. The clock is only looked at once the work has to wait.
///
/// It takes the future pinned, as everything on the path does that wraps one:
/// an async function that takes a future by value holds it twice, and a few of
/// them around each other make an exchange of a hundred kilobytes.
pub async fn within<T>(
    alarm: &mut Alarm,
    limit: Duration,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let mut deadline = None;
    poll_fn(|context| {
        if let Poll::Ready(value) = work.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + limit);
        alarm.poll_until(context, deadline).map(|()| None)
    })
    .await
}

/// Runs `work` until `deadline`, likewise.
pub async fn before<T>(
    alarm: &mut Alarm,
    deadline: Instant,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    poll_fn(|context| {
        if let Poll::Ready(value) = work.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        alarm.poll_until(context, deadline).map(|()| None)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_goes_off_at_the_deadline_wherever_it_stood_before() {
        let mut alarm = Alarm::default();
        for milliseconds in [5, 3, 9, 9, 1] {
            let start = Instant::now();
            let deadline = start + Duration::from_millis(milliseconds);
            // Stands at an hour, or at what an earlier round left.
            let far = start + Duration::from_secs(3600);
            poll_fn(|context| {
                assert!(alarm.poll_until(context, far).is_pending());
                Poll::Ready(())
            })
            .await;
            poll_fn(|context| alarm.poll_until(context, deadline)).await;
            assert!(Instant::now() >= deadline);
        }
    }
}
