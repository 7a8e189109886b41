use super::*;

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
/// 2026.
const START: u64 = 1_767_225_600 * SECOND;

#[test]
fn bursts_rates_and_refills() {
    // Ten in a second, three at once. Times in milliseconds since the start.
    let ten = limit(10, 1, 3);
    check(ten, "a burst", &[0, 0, 0, 0, 0], "...xx");
    check(
        ten,
        "a steady stream",
        &[0, 100, 200, 300, 400, 500],
        "......",
    );
    check(
        ten,
        "twice the rate",
        &[0, 50, 100, 150, 200, 250, 300, 350, 400],
        ".....x.x.",
    );
    check(ten, "refill of one", &[0, 0, 0, 99, 100, 100], "...x.x");
    check(
        ten,
        "refill of all",
        &[0, 0, 0, 300, 300, 300, 300],
        "......x",
    );
    check(
        ten,
        "no more than whole",
        &[0, 0, 0, 86_400_000, 86_400_000, 86_400_000, 86_400_000],
        "......x",
    );
    check(
        ten,
        "refused ones do not count",
        &[0, 0, 0, 20, 40, 60, 80, 100],
        "...xxxx.",
    );

    let one = limit(1, 1, 1);
    check(one, "no burst", &[0, 0, 999, 1_000, 1_000, 2_000], ".xx.x.");
    check(
        one,
        "late does not save up",
        &[0, 1_500, 2_400, 2_500],
        "..x.",
    );

    let hourly = Gcra::new(1000, Duration::from_secs(3600), 1000).unwrap();
    let times: Vec<u64> = (0..1001).collect();
    let wanted = format!("{}x", ".".repeat(1000));
    check(hourly, "an hour at once", &times, &wanted);
}

#[test]
fn a_clock_that_goes_back() {
    let one = limit(1, 1, 2);
    // By what two workers may differ, or little more.
    check(one, "a little", &[1_000, 1_000, 999, 998, 2_000], "..xx.");
    // By an hour: it goes on at its rate, without a burst and without the hour.
    check(
        one,
        "far",
        &[
            3_600_000, 3_600_000, 3_600_000, 0, 0, 999, 1_000, 2_000, 3_000,
        ],
        "..x.xx...",
    );
}

#[test]
fn every_request_of_a_clock_that_jumps_is_decided() {
    let limits = [
        limit(1, 1, 1),
        limit(1_000_000, 1, 1_000),
        Gcra::new(1, Duration::from_secs(366 * 24 * 3600), 1).unwrap(),
    ];
    let times = [0, 1, START, u64::MAX - 1, u64::MAX];
    for limit in limits {
        for now in times {
            for tat in times.map(Some).into_iter().chain([None]) {
                match limit.decide(tat, now) {
                    Decision::Conforms {
                        tat, whole_after, ..
                    } => {
                        assert!(tat >= now);
                        assert!(whole_after <= limit.longest());
                    }
                    Decision::Exceeds { after } => {
                        let slack = Duration::from_nanos(CLOCK_SLACK);
                        assert!(!after.is_zero());
                        assert!(after <= limit.longest() + slack);
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_left_and_for_how_long_to_wait() {
    let ten = limit(10, 1, 3);
    let conforms = |tat, left, whole_after| Decision::Conforms {
        tat: START + tat * MS,
        left,
        whole_after: Duration::from_millis(whole_after),
    };
    assert_eq!(ten.decide(None, START), conforms(100, 2, 100));
    assert_eq!(ten.decide(Some(START - 1), START), conforms(100, 2, 100));
    assert_eq!(
        ten.decide(Some(START + 100 * MS), START),
        conforms(200, 1, 200)
    );
    assert_eq!(
        ten.decide(Some(START + 150 * MS), START),
        conforms(250, 0, 250)
    );
    assert_eq!(
        ten.decide(Some(START + 200 * MS), START),
        conforms(300, 0, 300)
    );
    for (ahead, after) in [(200 * MS + 1, 1), (300 * MS, 100 * MS)] {
        assert_eq!(
            ten.decide(Some(START + ahead), START),
            Decision::Exceeds {
                after: Duration::from_nanos(after)
            }
        );
    }
    assert_eq!(ten.longest(), Duration::from_millis(300));
    assert_eq!(ten.without_one(START + 100 * MS), START);
    assert_eq!(ten.without_one(1), 0);
}

#[test]
fn a_wait_is_long_enough_and_no_longer() {
    let limit = limit(7, 1, 3);
    let mut tat = None;
    let mut now = START;
    let mut refused = 0;
    for step in 0..10_000u64 {
        match limit.decide(tat, now) {
            Decision::Conforms { tat: moved, .. } => tat = Some(moved),
            Decision::Exceeds { after } => {
                refused += 1;
                now += u64::try_from(after.as_nanos()).unwrap();
                let too_early = limit.decide(tat, now - 1);
                assert!(matches!(too_early, Decision::Exceeds { .. }));
                assert!(matches!(limit.decide(tat, now), Decision::Conforms { .. }));
            }
        }
        now += step % 3 * 10 * MS;
    }
    assert!(refused > 1_000, "{refused}");
}

/// The other form of the same algorithm, as the same documents give it.
struct LeakyBucket {
    level: u64,
    last: u64,
}

impl LeakyBucket {
    fn conforms(&mut self, limit: Gcra, now: u64) -> bool {
        let level = self.level.saturating_sub(now - self.last);
        if level > limit.tolerance {
            return false;
        }
        self.level = level + limit.interval;
        self.last = now;
        true
    }
}

#[test]
fn it_is_the_leaky_bucket() {
    let mut random = 7u64;
    let mut draw = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % below
    };
    for _ in 0..200 {
        let limit = limit(1 + draw(50), 1 + draw(5), 1 + draw(20));
        let mut bucket = LeakyBucket {
            level: 0,
            last: START,
        };
        let (mut now, mut tat, mut passed) = (START, None, 0);
        for _ in 0..500 {
            now += draw(1 + 2 * limit.interval);
            let decision = limit.decide(tat, now);
            let conforms = matches!(decision, Decision::Conforms { .. });
            assert_eq!(conforms, bucket.conforms(limit, now), "{limit:?}");
            if let Decision::Conforms { tat: moved, .. } = decision {
                tat = Some(moved);
                passed += 1;
            }
        }
        let at_most = (now - START) / limit.interval + limit.tolerance / limit.interval + 1;
        assert!(passed <= at_most, "{passed} of {at_most}: {limit:?}");
    }
}

#[test]
fn what_is_no_limit() {
    let day = Duration::from_secs(86_400);
    let check = |rate, per, burst, wanted| {
        assert_eq!(Gcra::new(rate, per, burst).err(), wanted);
    };
    check(0, day, 1, Some(OutOfRange::Nothing));
    check(1, Duration::ZERO, 1, Some(OutOfRange::Nothing));
    check(1, day, 0, Some(OutOfRange::Nothing));
    check(1_000_000, Duration::from_secs(1), 1, None);
    check(
        1_000_001,
        Duration::from_secs(1),
        1,
        Some(OutOfRange::TooFast),
    );
    check(u64::MAX, day, 1, Some(OutOfRange::TooFast));
    check(1, day, 366, None);
    check(1, day, 367, Some(OutOfRange::TooLong));
    check(1, day, u64::MAX, Some(OutOfRange::TooLong));
    check(1, Duration::MAX, 1, Some(OutOfRange::TooLong));
}

fn limit(rate: u64, seconds: u64, burst: u64) -> Gcra {
    Gcra::new(rate, Duration::from_secs(seconds), burst).unwrap()
}

/// `.` for each request that conforms, `x` for each that does not.
fn check(limit: Gcra, what: &str, milliseconds: &[u64], wanted: &str) {
    let mut tat = None;
    let decide = |time: &u64| match limit.decide(tat, START + time * MS) {
        Decision::Conforms { tat: moved, .. } => {
            tat = Some(moved);
            '.'
        }
        Decision::Exceeds { .. } => 'x',
    };
    let decided: String = milliseconds.iter().map(decide).collect();
    assert_eq!(decided, wanted, "{what}");
}
