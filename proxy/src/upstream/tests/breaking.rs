//! Origins that break rules, connections or promises.

use tokio::time::Instant;

use super::origin::closed_port;
use super::*;

/// The error of the head, or of the body.
async fn outcome(bytes: impl Into<Vec<u8>>) -> (ErrorKind, Rc<WorkerCluster>) {
    let origin = Origin::in_turn(vec![bytes.into()]).await;
    let cluster = cluster(&origin);
    let error = match ask(&cluster, get()).await {
        Ok(answer) => read(answer.body).await.expect_err("no whole answer wanted"),
        Err(error) => error,
    };
    (error.kind, cluster)
}

#[test]
fn bad_answers_are_refused_and_their_connections_dropped() {
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    use ErrorKind::{AnswerTooLarge, BadAnswer, UpstreamReset};
    run(async {
        check("", UpstreamReset).await;
        check("HTTP/1.1 200 O", UpstreamReset).await;
        check(OK, UpstreamReset).await;
        check("nonsense\r\n\r\n", BadAnswer).await;
        check("HTTP/2.0 200 OK\r\n\r\n", BadAnswer).await;
        check("HTTP/1.1 20 OK\r\n\r\n", BadAnswer).await;
        check("HTTP/1.1 200 OK\ncontent-length: 0\n\n", BadAnswer).await;
        check("\r\nHTTP/1.1 200 OK\r\n\r\n", BadAnswer).await;
        check(format!("{OK}a: b\nc: d\r\n\r\n"), BadAnswer).await;
        check(format!("{OK}a: b\0\r\n\r\n"), BadAnswer).await;
        check(format!("{OK}a: b\r\n c\r\n\r\n"), BadAnswer).await;
        check(format!("{OK}a : b\r\n\r\n"), BadAnswer).await;
        check(
            format!("{OK}content-length: 1\r\ncontent-length: 2\r\n\r\nab"),
            BadAnswer,
        )
        .await;
        check(format!("{OK}content-length: x\r\n\r\n"), BadAnswer).await;
        check(
            format!("{OK}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            BadAnswer,
        )
        .await;
        check(
            format!("{OK}transfer-encoding: chunked, gzip\r\n\r\n"),
            BadAnswer,
        )
        .await;
        check(
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            BadAnswer,
        )
        .await;
        check(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
            BadAnswer,
        )
        .await;
        check("HTTP/1.1 103 Early Hints\r\na: b\nc: d\r\n\r\n", BadAnswer).await;
        check(
            format!("{OK}content-length: 10\r\n\r\nshort"),
            UpstreamReset,
        )
        .await;
        check(
            format!("{OK}transfer-encoding: chunked\r\n\r\n5\r\nab"),
            UpstreamReset,
        )
        .await;
        check(
            format!("{OK}transfer-encoding: chunked\r\n\r\nx\r\n"),
            BadAnswer,
        )
        .await;
        check(
            format!("{OK}transfer-encoding: chunked\r\n\r\n2\r\nabc\r\n"),
            BadAnswer,
        )
        .await;
        check(
            format!("{OK}a: {}\r\n\r\n", "x".repeat(1 << 20)),
            AnswerTooLarge,
        )
        .await;
        check(
            format!("{OK}{}\r\n", "a: b\r\n".repeat(200)),
            AnswerTooLarge,
        )
        .await;
        check(
            format!("HTTP/1.1 103 A\r\na: {}", "x".repeat(1 << 20)),
            AnswerTooLarge,
        )
        .await;
    });
}

async fn check(bytes: impl Into<Vec<u8>>, kind: ErrorKind) {
    let bytes = bytes.into();
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
    let (found, cluster) = outcome(bytes).await;
    assert_eq!(found, kind, "{text:?}");
    let stats = cluster.stats();
    assert_eq!(stats.connections_discarded.get(), 1, "{text:?}");
    assert_eq!(stats.connections_idle.get(), 0, "{text:?}");
    assert_eq!(stats.errors(kind as usize).get(), 1, "{text:?}");
    assert_eq!(stats.active.get(), 0, "{text:?}");
}

#[test]
fn a_reset_is_an_error_before_and_in_the_body() {
    run(async {
        let origin = Origin::start(|mut peer, number| async move {
            peer.read_head().await;
            if number == 1 {
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
                    .await;
                peer.read_until("never").await;
            }
            peer.reset();
        })
        .await;
        let cluster = cluster(&origin);
        assert_eq!(ask_kind(&cluster, get()).await, ErrorKind::UpstreamReset);
        let mut answer = ask(&cluster, get()).await.unwrap();
        assert!(matches!(
            answer.body.next_frame().await,
            Some(Ok(Frame::Data(_)))
        ));
        drop(answer);
        assert_eq!(cluster.stats().connections_discarded.get(), 2);
    });
}

#[test]
fn a_second_answer_is_never_given_to_the_next_request() {
    run(async {
        let origin = Origin::start(|mut peer, number| async move {
            peer.read_head().await;
            let one = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
            peer.write(format!(
                "{one}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"
            ))
            .await;
            peer.read_to_end().await;
        })
        .await;
        let cluster = cluster(&origin);
        assert_eq!(fetch(&cluster, get()).await, (200, "0".into(), false));
        assert_eq!(fetch(&cluster, get()).await, (200, "1".into(), false));
        assert_eq!(cluster.stats().connections_discarded.get(), 2);
    });
}

#[test]
fn more_bytes_than_announced_discard_the_connection() {
    run(async {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok!",
            "HTTP/1.1 204 No Content\r\n\r\nbody",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n0\r\n\r\n",
        ] {
            let origin = Origin::answering(answer).await;
            let cluster = cluster(&origin);
            fetch(&cluster, get()).await;
            assert!(!fetch(&cluster, get()).await.2, "{answer:?}");
        }
    });
}

#[test]
fn a_silent_origin_runs_out_of_time() {
    run(async {
        let origin = Origin::start(|mut peer, number| async move {
            peer.read_head().await;
            if number == 2 {
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
                    .await;
            }
            peer.read_to_end().await;
        })
        .await;
        let mut config = config([origin.address()]);
        config.timeouts.answer = SHORT;
        config.timeouts.idle = SHORT;
        let cluster = open(config);
        assert_eq!(ask_kind(&cluster, get()).await, ErrorKind::AnswerTimeout);
        let terms = Terms {
            answer: LONG,
            idle: LONG,
            try_timeout: Some(SHORT),
            ..Terms::of(&cluster.cluster().config)
        };
        let (_sender, body) = body_channel(None);
        let post = request(Method::POST, body);
        let error = forward(&cluster, post, &terms, &Progress::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::TryTimeout);
        let answer = ask(&cluster, get()).await.unwrap();
        assert_eq!(
            read(answer.body).await.unwrap_err().kind,
            ErrorKind::UpstreamStalled
        );
        assert_eq!(cluster.stats().connections_discarded.get(), 3);
        assert_eq!(cluster.stats().active.get(), 0);
    });
}

#[test]
fn an_endpoint_that_refuses_is_passed_over() {
    run(async {
        let origin = Origin::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
        let cluster = open(config([closed_port().await, origin.address()]));
        for _ in 0..6 {
            assert_eq!(fetch(&cluster, get()).await.0, 204);
        }
        assert_eq!(cluster.stats().connect_failures.get(), 1);
        assert_eq!(cluster.stats().requests.get(), 6);
    });
}

/// What refused lately is the last to be tried, and it is tried.
#[test]
fn an_endpoint_that_is_back_is_found_where_no_other_is_left() {
    run(async {
        let origin = Origin::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
        let cluster = open(config([
            closed_port().await,
            origin.address(),
            closed_port().await,
        ]));
        let set = cluster.cluster().endpoints.load_full();
        set.endpoints[1].refused(Instant::now(), LONG);
        assert_eq!(fetch(&cluster, get()).await.0, 204);
        assert!(!set.endpoints[1].is_refusing(Instant::now()));
    });
}

/// An origin may die between taking a connection and answering on it.
#[test]
fn a_get_goes_to_another_endpoint_when_a_fresh_connection_died() {
    run(async {
        let dying = async || {
            Origin::start(|mut peer, _| async move {
                peer.read_head().await;
                peer.reset();
            })
            .await
        };
        let (first, second) = (dying().await, dying().await);
        let well = Origin::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
        let addresses = [first.address(), second.address(), well.address()];
        let cluster = open(config(addresses));
        for _ in 0..4 {
            assert_eq!(fetch(&cluster, get()).await.0, 204);
        }
        assert!(cluster.stats().retries.get() > 0);
        // A request that kills whom it meets does not meet more than three.
        let cluster = open(config([first.address(), second.address()]));
        let before = first.accepted() + second.accepted();
        assert_eq!(ask_kind(&cluster, get()).await, ErrorKind::UpstreamReset);
        assert_eq!(first.accepted() + second.accepted(), before + 2);
    });
}

#[test]
fn a_post_goes_to_no_other_endpoint_when_a_fresh_connection_died() {
    run(async {
        let dying = Origin::start(|mut peer, _| async move {
            peer.read_head().await;
            peer.reset();
        })
        .await;
        let well = Origin::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
        let cluster = open(config([dying.address(), well.address()]));
        let mut failed = 0;
        for _ in 0..2 {
            let post = request(Method::POST, RequestBody::Empty);
            failed += usize::from(ask(&cluster, post).await.is_err());
        }
        // Each endpoint had its turn.
        assert_eq!((failed, dying.accepted()), (1, 1));
    });
}

#[test]
fn where_all_refuse_the_request_fails() {
    run(async {
        let cluster = open(config([closed_port().await, closed_port().await]));
        assert_eq!(ask_kind(&cluster, get()).await, ErrorKind::ConnectFailed);
        assert_eq!(cluster.stats().connect_failures.get(), 2);
        // All are refusing now, and still each is tried.
        assert_eq!(ask_kind(&cluster, get()).await, ErrorKind::ConnectFailed);
        assert_eq!(cluster.stats().connect_failures.get(), 4);
        let empty = open(config([]));
        assert_eq!(ask_kind(&empty, get()).await, ErrorKind::NoEndpoint);
    });
}

#[test]
fn connecting_has_its_own_time() {
    run(async {
        // A listener that never accepts, its queue filled, drops what comes.
        let listener = tokio::net::TcpSocket::new_v4().unwrap();
        listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let _listener = listener.listen(0).unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) =
            tokio::time::timeout(SHORT, tokio::net::TcpStream::connect(address)).await
        {
            waiting.push(stream.unwrap());
        }
        let mut config = config([EndpointAddress::Socket(address)]);
        config.timeouts.connect = SHORT;
        assert_eq!(
            ask_kind(&open(config), get()).await,
            ErrorKind::ConnectTimeout
        );
    });
}

#[test]
fn a_request_given_up_closes_its_connection() {
    run(async {
        let (tell, closed) = tokio::sync::oneshot::channel();
        let tell = std::cell::RefCell::new(Some(tell));
        let origin = Origin::start(move |mut peer, _| {
            let tell = tell.borrow_mut().take();
            async move {
                peer.read_head().await;
                peer.read_to_end().await;
                tell.unwrap().send(()).unwrap();
            }
        })
        .await;
        let cluster = cluster(&origin);
        assert!(
            tokio::time::timeout(SHORT, ask(&cluster, get()))
                .await
                .is_err()
        );
        closed.await.unwrap();
        assert_eq!(cluster.stats().active.get(), 0);
        assert_eq!(cluster.stats().connections_discarded.get(), 1);
    });
}
