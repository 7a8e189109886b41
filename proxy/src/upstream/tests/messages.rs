//! What is sent, and what is understood.

use http::StatusCode;
use tokio::net::UnixListener;

use super::origin::Peer;
use super::*;

#[test]
fn a_request_arrives_as_it_was_given() {
    run(async {
        let origin = Origin::start(|mut peer, _| async move {
            let head = peer.read_head().await.unwrap();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}",
                head.len()
            );
            peer.write(answer).await;
        })
        .await;
        let (_, seen, _) = fetch(&cluster(&origin), get()).await;
        assert_eq!(seen, "GET /path?query HTTP/1.1\r\nhost: origin\r\n\r\n");
    });
}

#[test]
fn an_asterisk_is_sent_as_it_is() {
    run(async {
        let origin = Origin::start(|mut peer, _| async move {
            let head = peer.read_head().await.unwrap();
            assert!(head.starts_with("OPTIONS * HTTP/1.1\r\n"), "{head}");
            peer.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        })
        .await;
        let mut request = request(Method::OPTIONS, RequestBody::Empty);
        request.path = "*".parse().unwrap();
        assert_eq!(fetch(&cluster(&origin), request).await.0, 204);
    });
}

#[test]
fn answers_without_a_body_leave_the_connection_good() {
    run(async {
        let origin = Origin::start(|mut peer, _| async move {
            for (method, answer) in [
                ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"),
                ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
                (
                    "GET",
                    "HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n",
                ),
                ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            ] {
                let head = peer.read_head().await.unwrap();
                assert!(head.starts_with(method), "{head}");
                peer.write(answer).await;
            }
            peer.read_to_end().await;
        })
        .await;
        let cluster = cluster(&origin);
        let head = request(Method::HEAD, RequestBody::Empty);
        let answer = ask(&cluster, head).await.unwrap();
        assert_eq!(answer.headers["content-length"], "100");
        assert_eq!(answer.body.content_length(), Some(0));
        drop(answer);
        assert_eq!(fetch(&cluster, get()).await, (204, String::new(), true));
        assert_eq!(fetch(&cluster, get()).await, (304, String::new(), true));
        assert_eq!(fetch(&cluster, get()).await, (200, String::new(), true));
        assert_eq!(origin.accepted(), 1);
    });
}

#[test]
fn a_body_that_ends_with_the_connection_is_read_to_the_end() {
    run(async {
        let answer = b"HTTP/1.1 200 OK\r\n\r\nto the end";
        let origin = Origin::in_turn(vec![answer.to_vec()]).await;
        let cluster = cluster(&origin);
        let answer = ask(&cluster, get()).await.unwrap();
        assert_eq!(answer.body.content_length(), None);
        assert_eq!(read(answer.body).await.unwrap().0, "to the end");
        assert_eq!(cluster.stats().connections_discarded.get(), 1);
    });
}

#[test]
fn chunks_and_trailers_are_understood() {
    run(async {
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
            4\r\nabcd\r\n3\r\nefg\r\n0\r\nchecksum: 7\r\n\r\n";
        let origin = Origin::answering(answer).await;
        let cluster = cluster(&origin);
        for reused in [false, true] {
            let answer = ask(&cluster, get()).await.unwrap();
            assert_eq!(answer.reused, reused);
            assert_eq!(answer.connect_time.is_some(), !reused);
            let (body, trailers) = read(answer.body).await.unwrap();
            assert_eq!(body, "abcdefg");
            assert_eq!(trailers.unwrap()["checksum"], "7");
        }
    });
}

#[test]
fn interim_answers_are_told_before_the_answer() {
    run(async {
        let answer = "HTTP/1.1 100 Continue\r\n\r\n\
            HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n\
            HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let origin = Origin::answering(answer).await;
        let cluster = cluster(&origin);
        for _ in 0..2 {
            let progress = Progress::default();
            let answer = ask_telling(&cluster, get(), &progress).await.unwrap();
            assert_eq!(read(answer.body).await.unwrap().0, "ok");
            let told = progress.interim.take();
            assert_eq!(told.len(), 1);
            assert_eq!(told[0].status, StatusCode::EARLY_HINTS);
            assert_eq!(told[0].headers["link"], "</a.css>");
        }
        assert_eq!(fetch(&cluster, get()).await, (200, "ok".into(), true));
    });
}

#[test]
fn a_head_that_comes_byte_by_byte_is_understood() {
    run(async {
        let origin = Origin::start(|mut peer, _| async move {
            peer.read_head().await;
            for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" {
                peer.write([*byte]).await;
                tokio::task::yield_now().await;
            }
            peer.read_to_end().await;
        })
        .await;
        assert_eq!(fetch(&cluster(&origin), get()).await.1, "ok");
    });
}

#[test]
fn unix_sockets_are_endpoints() {
    run(async {
        let folder = std::env::temp_dir().join(format!("lockgate-upstream-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("origin.sock");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let serving = tokio::task::spawn_local(async move {
            let mut peer = Peer::new(listener.accept().await.unwrap().0);
            while peer.read_head().await.is_some() {
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix")
                    .await;
            }
        });
        let cluster = open(config([EndpointAddress::Unix(path)]));
        assert_eq!(fetch(&cluster, get()).await, (200, "unix".into(), false));
        assert_eq!(fetch(&cluster, get()).await, (200, "unix".into(), true));
        drop(cluster);
        serving.await.unwrap();
        std::fs::remove_dir_all(folder).unwrap();
    });
}

#[test]
fn an_origin_of_http_1_0_gets_each_request_on_its_own_connection() {
    run(async {
        let origin = Origin::answering(
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
        )
        .await;
        let cluster = cluster(&origin);
        for _ in 0..2 {
            assert_eq!(fetch(&cluster, get()).await, (200, "ok".into(), false));
        }
        assert_eq!(origin.accepted(), 2);
    });
}
