//! Connections that serve more than once.

use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;
use crate::upstream::Sweep;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_connection_serves_one_request_after_the_other() {
    run(async {
        let origin = Origin::answering(OK).await;
        let cluster = cluster(&origin);
        for number in 0..10 {
            assert_eq!(fetch(&cluster, get()).await, (200, "ok".into(), number > 0));
        }
        assert_eq!(origin.accepted(), 1);
        let stats = cluster.stats();
        assert_eq!(stats.connections_opened.get(), 1);
        assert_eq!(stats.connections_reused.get(), 9);
        assert_eq!(stats.connections_discarded.get(), 0);
        assert_eq!(stats.connections_idle.get(), 1);
        assert_eq!(stats.retries.get(), 0);
    });
}

#[test]
fn no_more_than_max_idle_are_kept() {
    run(async {
        let origin = Origin::answering(OK).await;
        let mut config = config([origin.address()]);
        config.pool.max_idle = 2;
        let cluster = open(config);
        let mut answers = Vec::new();
        for _ in 0..5 {
            answers.push(ask(&cluster, get()).await.unwrap());
        }
        for answer in answers {
            read(answer.body).await.unwrap();
        }
        assert_eq!(cluster.stats().connections_idle.get(), 2);
        assert_eq!(cluster.stats().connections_discarded.get(), 3);
        assert_eq!(origin.accepted(), 5);
    });
}

#[test]
fn an_answer_that_says_close_is_the_last() {
    run(async {
        let origin =
            Origin::answering("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                .await;
        let cluster = cluster(&origin);
        fetch(&cluster, get()).await;
        assert!(!fetch(&cluster, get()).await.2);
    });
}

#[test]
fn an_unfinished_answer_is_not_reused() {
    run(async {
        let origin = Origin::answering(OK).await;
        let cluster = cluster(&origin);
        drop(ask(&cluster, get()).await.unwrap());
        assert!(!fetch(&cluster, get()).await.2);
        assert_eq!(cluster.stats().connections_discarded.get(), 1);
    });
}

#[test]
fn old_connections_are_not_reused() {
    run(async {
        let origin = Origin::answering(OK).await;
        for (idle_timeout, max_lifetime) in [(Duration::ZERO, LONG), (LONG, SHORT)] {
            let mut config = config([origin.address()]);
            config.pool.idle_timeout = idle_timeout;
            config.pool.max_lifetime = max_lifetime;
            let cluster = open(config);
            fetch(&cluster, get()).await;
            while fetch(&cluster, get()).await.2 {}
            let stats = cluster.stats();
            assert_eq!(stats.connections_opened.get(), 2);
            assert_eq!(
                stats.connections_expired.get() + stats.connections_discarded.get(),
                1
            );
        }
    });
}

#[test]
fn old_connections_are_swept() {
    run(async {
        let origin = Origin::answering(OK).await;
        let cluster = cluster(&origin);
        fetch(&cluster, get()).await;
        cluster.sweep(Instant::now(), Sweep::Old);
        assert_eq!(cluster.stats().connections_idle.get(), 1);
        cluster.sweep(Instant::now() + LONG, Sweep::Old);
        assert_eq!(cluster.stats().connections_idle.get(), 0);
        assert_eq!(cluster.stats().connections_expired.get(), 1);
    });
}

/// An origin whose first connection closes after one answer, when told so.
async fn closing(close: Rc<Notify>) -> Origin {
    Origin::start(move |mut peer, number| {
        let close = Rc::clone(&close);
        async move {
            peer.read_head().await;
            peer.write(OK).await;
            match number {
                0 => close.notified().await,
                _ => peer.read_to_end().await,
            }
        }
    })
    .await
}

#[test]
fn an_idle_connection_that_the_origin_closed_is_noticed() {
    run(async {
        let close = Rc::new(Notify::new());
        let origin = closing(Rc::clone(&close)).await;
        let cluster = cluster(&origin);
        fetch(&cluster, get()).await;
        cluster.sweep(Instant::now(), Sweep::Old);
        assert_eq!(cluster.stats().connections_idle.get(), 1);
        close.notify_one();
        while cluster.stats().connections_idle.get() == 1 {
            tokio::task::yield_now().await;
            cluster.sweep(Instant::now(), Sweep::Old);
        }
        assert_eq!(cluster.stats().connections_expired.get(), 1);
        assert!(!fetch(&cluster, get()).await.2);
    });
}

/// An origin that reads a second request on its first connection and closes
/// without an answer to it.
async fn hanging_up() -> Origin {
    Origin::start(|mut peer, _| async move {
        peer.read_head().await;
        peer.write(OK).await;
        peer.read_head().await;
    })
    .await
}

#[test]
fn a_dead_reused_connection_is_replaced_once_for_what_may_be_repeated() {
    run(async {
        let origin = hanging_up().await;
        let cluster = cluster(&origin);
        let mut first = get();
        first.headers.insert("x-a", HeaderValue::from_static("1"));
        fetch(&cluster, first).await;
        assert_eq!(fetch(&cluster, get()).await, (200, "ok".into(), false));
        assert_eq!(cluster.stats().retries.get(), 1);
        assert_eq!(cluster.stats().requests.get(), 2);
        assert_eq!(origin.accepted(), 2);
    });
}

#[test]
fn what_may_not_be_repeated_is_not() {
    run(async {
        for post in [
            || request(Method::POST, RequestBody::Empty),
            || {
                let (sender, body) = body_channel(Some(0));
                sender.finish();
                request(Method::PUT, body)
            },
        ] {
            let origin = hanging_up().await;
            let cluster = cluster(&origin);
            fetch(&cluster, get()).await;
            assert_eq!(ask_kind(&cluster, post()).await, ErrorKind::UpstreamReset);
            assert_eq!(cluster.stats().retries.get(), 0);
            assert_eq!(origin.accepted(), 1);
        }
    });
}

#[test]
fn what_was_never_sent_goes_to_another_connection_whatever_it_is() {
    run(async {
        let close = Rc::new(Notify::new());
        let origin = closing(Rc::clone(&close)).await;
        let cluster = cluster(&origin);
        fetch(&cluster, get()).await;
        close.notify_one();
        // Another connection's traffic shows that the runtime has seen the
        // end of the first.
        let other = Origin::answering(OK).await;
        let other = super::cluster(&other);
        for _ in 0..8 {
            fetch(&other, get()).await;
        }
        let post = request(Method::POST, RequestBody::Empty);
        assert_eq!(fetch(&cluster, post).await, (200, "ok".into(), false));
        assert_eq!(cluster.stats().retries.get(), 1);
    });
}

#[test]
fn an_answer_that_broke_off_is_not_tried_again() {
    run(async {
        let origin = Origin::start(|mut peer, _| async move {
            peer.read_head().await;
            peer.write(OK).await;
            peer.read_head().await;
            peer.write("HTTP/1.1 2").await;
        })
        .await;
        let cluster = cluster(&origin);
        fetch(&cluster, get()).await;
        assert_eq!(ask_kind(&cluster, get()).await, ErrorKind::UpstreamReset);
        assert_eq!(cluster.stats().retries.get(), 0);
    });
}

#[test]
fn only_the_second_try_is_the_last() {
    run(async {
        let origin = Origin::start(|mut peer, number| async move {
            peer.read_head().await;
            if number == 0 {
                peer.write(OK).await;
                peer.read_head().await;
            }
        })
        .await;
        let cluster = cluster(&origin);
        fetch(&cluster, get()).await;
        assert_eq!(ask_kind(&cluster, get()).await, ErrorKind::UpstreamReset);
        assert_eq!(cluster.stats().retries.get(), 1);
        assert_eq!(origin.accepted(), 2);
    });
}

/// What was kept last is the least likely to be closed by the origin meanwhile.
#[test]
fn the_connection_that_was_used_last_is_used_next() {
    run(async {
        let origin = Origin::start(|mut peer, number| async move {
            while peer.read_head().await.is_some() {
                let head = format!("HTTP/1.1 200 OK\r\nx-number: {number}\r\n");
                peer.write(head + "content-length: 1\r\n\r\n" + &number.to_string())
                    .await;
            }
        })
        .await;
        let cluster = cluster(&origin);
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let mut answers = Vec::new();
            for _ in order {
                answers.push(Some(ask(&cluster, get()).await.unwrap()));
            }
            let mut by_number = [None, None, None];
            for answer in answers.iter_mut().filter_map(Option::take) {
                let number: usize = answer.headers["x-number"]
                    .to_str()
                    .unwrap()
                    .parse()
                    .unwrap();
                by_number[number] = Some(answer.body);
            }
            for number in order {
                read(by_number[number].take().unwrap()).await.unwrap();
            }
            let last = order[2].to_string();
            for _ in 0..3 {
                assert_eq!(fetch(&cluster, get()).await, (200, last.clone(), true));
            }
        }
        assert_eq!(origin.accepted(), 3);
    });
}

/// Else all that were made at a start would end at once, and be made again at once.
#[test]
fn connections_that_are_made_together_do_not_expire_together() {
    run(async {
        let origin = Origin::answering(OK).await;
        let cluster = cluster(&origin);
        let now = Instant::now();
        let mut lifetimes: Vec<_> = (0..1000).map(|_| cluster.pool.expiry(now) - now).collect();
        lifetimes.sort();
        let (first, last) = (lifetimes[0], lifetimes[999]);
        assert!(
            first >= LONG.mul_f64(0.9) && last <= LONG,
            "{first:?} {last:?}"
        );
        // No tenth of the time in which they end sees more than a fifth of them.
        let tenth = LONG.mul_f64(0.01);
        let most = lifetimes
            .iter()
            .map(|from| {
                lifetimes
                    .iter()
                    .filter(|at| (*from..*from + tenth).contains(*at))
                    .count()
            })
            .max();
        assert!(most.is_some_and(|most| most < 200), "{most:?}");
    });
}
