//! Who of those that wait for a permit is served, and who is refused.
//!
//! Controlled delay, as Facebook has it for requests (Maurer, "Fail at Scale", ACM Queue
//! 2015; folly's `Codel`) after Nichols and Jacobson ("Controlling Queue Delay", 2012, and
//! RFC 8289): a queue that was not empty of waiting for a whole interval is a standing one,
//! which makes everybody late and nobody sooner. RFC 8289 drops one packet after another, for
//! senders slow down when they miss one; clients do not, so that everything is refused that
//! waited twice the target.
//!
//! While it stands the newest is served first ("adaptive LIFO", ibid.): its client still waits,
//! that of the oldest has perhaps gone, and so some are served in time instead of all late.
//! Otherwise it is the oldest's turn, which is fair.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// What the one that waited least may wait.
    pub target: Duration,
    /// In which it is looked for.
    pub interval: Duration,
}

impl Default for Rules {
    /// Of both papers.
    fn default() -> Self {
        Self {
            target: Duration::from_millis(5),
            interval: Duration::from_millis(100),
        }
    }
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Oldest,
    Newest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Serve,
    Refuse,
}

/// Of the queue of one worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Codel {
    /// Of those that left the queue in this interval, the least.
    least: Option<Duration>,
    interval_ends: Duration,
    stands: bool,
}

impl Codel {
    /// It is somebody's turn: who is to be taken out.
    pub fn next(&self) -> Next {
        match self.stands {
            true => Next::Newest,
            false => Next::Oldest,
        }
    }

    /// Who was taken out, and has waited so long, is it to be served? `oldest` is what the
    /// one that waits longest has waited: with the newest in front, that is what tells
    /// whether the queue stands.
    pub fn judge(
        &mut self,
        now: Duration,
        waited: Duration,
        oldest: Duration,
        rules: &Rules,
    ) -> Verdict {
        if now >= self.interval_ends {
            self.stands = self.least.is_some_and(|least| least > rules.target);
            self.interval_ends = now.saturating_add(rules.interval);
            self.least = None;
        }
        let least = self.least.map_or(oldest, |least| least.min(oldest));
        self.least = Some(least);
        match self.stands && waited > rules.target.saturating_mul(2) {
            true => Verdict::Refuse,
            false => Verdict::Serve,
        }
    }

    /// Nobody waits.
    pub fn is_empty(&mut self) {
        self.least = Some(Duration::ZERO);
        self.stands = false;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::VecDeque;

    const RULES: Rules = Rules {
        target: Duration::from_millis(5),
        interval: Duration::from_millis(100),
    };

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// At a time one that waited so long comes out: whether it is served, and who is next.
    fn check(steps: &[(u64, u64, Verdict, Next)]) {
        let mut codel = Codel::default();
        for (at, waited, verdict, next) in steps {
            let waited = millis(*waited);
            let found = codel.judge(millis(*at), waited, waited, &RULES);
            assert_eq!((found, codel.next()), (*verdict, *next), "at {at}");
        }
    }

    use Next::{Newest, Oldest};
    use Verdict::{Refuse, Serve};

    #[test]
    fn a_burst_is_served() {
        check(&[
            (1000, 90, Serve, Oldest),
            (1050, 40, Serve, Oldest),
            (1090, 5, Serve, Oldest),
            (1100, 90, Serve, Oldest),
        ]);
    }

    #[test]
    fn a_queue_that_stands_is_cut() {
        check(&[
            (1000, 6, Serve, Oldest),
            (1050, 60, Serve, Oldest),
            (1100, 60, Refuse, Newest),
            (1110, 11, Refuse, Newest),
            (1111, 10, Serve, Newest),
            (1150, 4, Serve, Newest),
            // For an interval somebody had not waited.
            (1201, 60, Serve, Oldest),
        ]);
    }

    #[test]
    fn an_empty_queue_does_not_stand() {
        let mut codel = Codel::default();
        codel.judge(millis(1000), millis(50), millis(50), &RULES);
        codel.judge(millis(1100), millis(50), millis(50), &RULES);
        assert_eq!(codel.next(), Newest);
        codel.is_empty();
        assert_eq!(codel.next(), Oldest);
        codel.judge(millis(1250), millis(50), millis(50), &RULES);
        assert_eq!(codel.next(), Oldest);
    }

    #[test]
    fn clocks_may_jump() {
        let mut codel = Codel::default();
        for at in [Duration::MAX, Duration::ZERO, Duration::MAX] {
            codel.judge(at, Duration::MAX, Duration::MAX, &RULES);
        }
    }

    /// One is served each millisecond for ten seconds; two come. Who is served within 50 ms
    /// is of use, since clients then give up: with a plain queue of a thousand hardly any
    /// is, with this half of all that come, which is all that can be.
    #[test]
    fn under_overload_what_is_served_is_of_use() {
        let of_use = |queue| {
            let served = served(queue);
            served.iter().filter(|(_, waited)| *waited <= 50).count()
        };
        let plain = of_use(None);
        let codel = of_use(Some(Codel::default()));
        assert!(plain < 500, "{plain}");
        assert!(codel > 9_000, "{codel}");
    }

    /// When, and after which wait, in milliseconds.
    pub fn served(mut codel: Option<Codel>) -> Vec<(u64, u64)> {
        let mut queue: VecDeque<u64> = VecDeque::new();
        let mut served = Vec::new();
        for at in 0..10_000 {
            queue.extend([at, at]);
            queue.truncate(1000);
            while let Some(oldest) = queue.front().copied() {
                let newest_first = codel.is_some_and(|codel| codel.next() == Newest);
                let came = if newest_first {
                    queue.pop_back()
                } else {
                    queue.pop_front()
                };
                let waited = at - came.unwrap();
                let judge = |codel: &mut Codel| {
                    codel.judge(millis(at), millis(waited), millis(at - oldest), &RULES)
                };
                if codel.as_mut().is_none_or(|codel| judge(codel) == Serve) {
                    served.push((at, waited));
                    break;
                }
            }
        }
        served
    }
}
