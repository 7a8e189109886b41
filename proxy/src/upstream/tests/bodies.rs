//! Bodies of requests, and answers that do not wait for them.

use super::*;

async fn echoing() -> Origin {
    Origin::start(|mut peer, _| async move {
        while let Some(head) = peer.read_head().await {
            let body = if head.contains("transfer-encoding: chunked") {
                peer.read_until("0\r\n").await.unwrap() + &peer.read_until("\r\n").await.unwrap()
            } else {
                let length = head.split("content-length: ").nth(1).unwrap();
                let length = length.split("\r\n").next().unwrap().parse().unwrap();
                peer.read_bytes(length).await.unwrap()
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            peer.write(answer).await;
        }
    })
    .await
}

#[test]
fn a_body_of_known_length_is_sent_as_such() {
    run(async {
        let origin = echoing().await;
        let cluster = cluster(&origin);
        for reused in [false, true] {
            let (mut sender, body) = body_channel(Some(10));
            let sending = async move {
                sender.send("hello".into()).await.unwrap();
                tokio::task::yield_now().await;
                sender.send("world".into()).await.unwrap();
                sender.finish();
            };
            let (answer, ()) = tokio::join!(fetch(&cluster, request(Method::PUT, body)), sending);
            assert_eq!(answer, (200, "helloworld".into(), reused));
        }
    });
}

#[test]
fn a_body_of_unknown_length_is_chunked_whatever_the_method() {
    run(async {
        let origin = echoing().await;
        let cluster = cluster(&origin);
        for method in [Method::POST, Method::GET] {
            let (mut sender, body) = body_channel(None);
            let request = request(method, body);
            let sending = async move {
                sender.send("hello".into()).await.unwrap();
                let mut trailers = HeaderMap::new();
                trailers.insert("checksum", HeaderValue::from_static("7"));
                sender.trailers(trailers);
            };
            let (answer, ()) = tokio::join!(fetch(&cluster, request), sending);
            assert_eq!(answer.1, "5\r\nhello\r\n0\r\nchecksum: 7\r\n");
        }
    });
}

#[test]
fn an_empty_post_says_so() {
    run(async {
        let origin = echoing().await;
        let cluster = cluster(&origin);
        let post = request(Method::POST, RequestBody::Empty);
        assert_eq!(fetch(&cluster, post).await, (200, String::new(), false));
        let (sender, body) = body_channel(Some(0));
        sender.finish();
        let post = request(Method::POST, body);
        assert_eq!(fetch(&cluster, post).await, (200, String::new(), true));
    });
}

#[test]
fn a_large_body_flows_both_ways_with_backpressure() {
    const CHUNK: &[u8] = &[b'x'; 16 * 1024];
    const COUNT: usize = 256;
    run(async {
        let origin = echoing().await;
        let (mut sender, body) = body_channel(Some((CHUNK.len() * COUNT) as u64));
        let sending = async move {
            for _ in 0..COUNT {
                sender.send(Bytes::from_static(CHUNK)).await.unwrap();
            }
            sender.finish();
        };
        let cluster = cluster(&origin);
        let (answer, ()) = tokio::join!(fetch(&cluster, request(Method::POST, body)), sending);
        assert_eq!(answer.1.len(), CHUNK.len() * COUNT);
    });
}

/// Gives the error, and whether the origin took the request for a whole one.
async fn broken_off(length: Option<u64>, send: impl AsyncFnOnce(BodySender)) -> (ErrorKind, bool) {
    let (tell, told) = tokio::sync::oneshot::channel();
    let tell = std::cell::RefCell::new(Some(tell));
    let origin = Origin::start(move |mut peer, _| {
        let tell = tell.borrow_mut().take();
        async move {
            let whole = match (peer.read_head().await, length) {
                (None, _) => None,
                (Some(_), Some(length)) => peer.read_bytes(length as usize).await,
                (Some(_), None) => peer.read_until("0\r\n\r\n").await,
            };
            tell.unwrap().send(whole.is_some()).unwrap();
        }
    })
    .await;
    let (sender, body) = body_channel(length);
    let cluster = cluster(&origin);
    let (kind, ()) = tokio::join!(
        ask_kind(&cluster, request(Method::POST, body)),
        send(sender)
    );
    (kind, told.await.unwrap())
}

#[test]
fn an_abandoned_body_is_never_taken_for_a_whole_one() {
    run(async {
        for length in [None, Some(10)] {
            let abandoned = broken_off(length, async |mut sender| {
                sender.send("hello".into()).await.unwrap();
            });
            assert_eq!(abandoned.await, (ErrorKind::ClientGone, false));
        }
        let short = broken_off(Some(10), async |mut sender| {
            sender.send("hello".into()).await.unwrap();
            sender.finish();
        });
        assert_eq!(short.await, (ErrorKind::Internal, false));
        let none = broken_off(Some(10), async |sender| sender.finish());
        assert_eq!(none.await, (ErrorKind::Internal, false));
    });
}

#[test]
fn an_early_answer_is_given_while_the_body_goes_on() {
    run(async {
        let origin = Origin::start(|mut peer, _| async move {
            peer.read_head().await;
            peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .await;
            while let Some(line) = peer.read_until("\n").await {
                peer.write(format!("{:x}\r\n{line}\r\n", line.len())).await;
            }
        })
        .await;
        let cluster = cluster(&origin);
        let (mut sender, body) = body_channel(Some(1000));
        let mut answer = ask(&cluster, request(Method::POST, body)).await.unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            sender.send(line.into()).await.unwrap();
            let Some(Ok(Frame::Data(data))) = answer.body.next_frame().await else {
                panic!("no echo of {line}");
            };
            assert_eq!(data, line);
        }
        drop(answer);
        sender.not_wanted().await;
        assert_eq!(sender.send("four\n".into()).await, Err(NotWanted));
    });
}

#[test]
fn an_early_answer_survives_a_body_that_is_given_up() {
    run(async {
        let origin = Origin::start(|mut peer, _| async move {
            peer.read_head().await;
            peer.write("HTTP/1.1 413 Content Too Large\r\ncontent-length: 8\r\n\r\ntoo ")
                .await;
            peer.read_until("given up?").await;
            peer.write("much").await;
            peer.read_to_end().await;
        })
        .await;
        let cluster = cluster(&origin);
        let (mut sender, body) = body_channel(None);
        let answer = ask(&cluster, request(Method::POST, body)).await.unwrap();
        assert_eq!(answer.status, 413);
        sender.send("given up?".into()).await.unwrap();
        drop(sender);
        assert_eq!(read(answer.body).await.unwrap().0, "too much");
        assert_eq!(cluster.stats().connections_idle.get(), 0);
    });
}

#[test]
fn an_answer_is_heard_though_the_origin_reads_no_more() {
    run(async {
        let origin = Origin::start(|mut peer, _| async move {
            peer.read_head().await;
            peer.write("HTTP/1.1 413 Content Too Large\r\nconnection: close\r\n\r\nno")
                .await;
        })
        .await;
        let cluster = cluster(&origin);
        let (mut sender, body) = body_channel(None);
        let pumping = async move {
            let chunk = Bytes::from_static(&[0; 64 * 1024]);
            while sender.send(chunk.clone()).await.is_ok() {}
        };
        let asking = async {
            let answer = ask(&cluster, request(Method::POST, body)).await.unwrap();
            assert_eq!(answer.status, 413);
        };
        tokio::join!(asking, pumping);
    });
}

#[test]
fn answer_time_does_not_run_while_the_body_comes() {
    run(async {
        let origin = echoing().await;
        let mut config = config([origin.address()]);
        config.timeouts.answer = SHORT;
        let cluster = open(config);
        let (mut sender, body) = body_channel(None);
        let sending = async move {
            for _ in 0..4 {
                sender.send("x".into()).await.unwrap();
                tokio::time::sleep(SHORT).await;
            }
            sender.finish();
        };
        let (answer, ()) = tokio::join!(fetch(&cluster, request(Method::POST, body)), sending);
        assert_eq!(answer.0, 200);
    });
}

#[test]
fn an_origin_that_takes_nothing_of_the_body_is_given_up() {
    run(async {
        let origin = Origin::start(|mut peer, _| async move {
            peer.read_head().await;
            std::future::pending::<()>().await;
        })
        .await;
        let mut config = config([origin.address()]);
        config.timeouts.idle = SHORT;
        let cluster = open(config);
        let (mut sender, body) = body_channel(None);
        let pumping = async move {
            let chunk = Bytes::from_static(&[0; 64 * 1024]);
            while sender.send(chunk.clone()).await.is_ok() {}
        };
        let (kind, ()) = tokio::join!(ask_kind(&cluster, request(Method::POST, body)), pumping);
        assert_eq!(kind, ErrorKind::UpstreamStalled);
    });
}
