use super::*;

fn head(status: u16, lines: &[(&'static str, &'static str)]) -> ResponseHead {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    ResponseHead {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
    }
}

fn check(
    head: &ResponseHead,
    how: AnswerFraming,
    connection: Persistence,
    server: Option<&'static str>,
    expected: &str,
) {
    let date = HeaderValue::from_static("now");
    let server = server.map(HeaderValue::from_static);
    let own = OwnFields {
        date: &date,
        server: server.as_ref(),
    };
    let mut out = BytesMut::new();
    encode_response(&mut out, head, how, connection, own);
    assert_eq!(str::from_utf8(&out).unwrap().replace("\r\n", "|"), expected);
}

#[test]
fn answers_are_framed_by_choice_alone() {
    use AnswerFraming::{Chunked, Close, Length, None as Bodiless};
    use Persistence::{Close as Ends, KeepAlive, KeepAliveTold};
    let plain = head(
        200,
        &[("a", "1"), ("a", "2"), ("content-length", "9"), ("b", "3")],
    );
    check(
        &plain,
        Length(5),
        KeepAlive,
        None,
        "HTTP/1.1 200 OK|a: 1|a: 2|b: 3|date: now|content-length: 5||",
    );
    check(
        &plain,
        Chunked,
        Ends,
        None,
        "HTTP/1.1 200 OK|a: 1|a: 2|b: 3|date: now|transfer-encoding: chunked|connection: close||",
    );
    check(
        &plain,
        Close,
        KeepAliveTold,
        None,
        "HTTP/1.1 200 OK|a: 1|a: 2|b: 3|date: now|connection: close||",
    );
    check(
        &plain,
        Bodiless,
        KeepAliveTold,
        None,
        "HTTP/1.1 200 OK|a: 1|a: 2|content-length: 9|b: 3|date: now|connection: keep-alive||",
    );
    let hostile = head(
        204,
        &[
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("connection", "x"),
        ],
    );
    check(
        &hostile,
        Bodiless,
        KeepAlive,
        None,
        "HTTP/1.1 204 No Content|date: now||",
    );
    check(
        &hostile,
        Length(0),
        KeepAlive,
        None,
        "HTTP/1.1 204 No Content|date: now|content-length: 0||",
    );
    let unnamed = head(599, &[]);
    check(
        &unnamed,
        Length(0),
        KeepAlive,
        None,
        "HTTP/1.1 599 |date: now|content-length: 0||",
    );
    let rare = head(418, &[]);
    check(
        &rare,
        Bodiless,
        KeepAlive,
        None,
        "HTTP/1.1 418 I'm a teapot|date: now||",
    );
}

#[test]
fn date_and_server_are_added_or_kept() {
    let own = head(304, &[("date", "then"), ("server", "origin")]);
    let bodiless = AnswerFraming::None;
    check(
        &own,
        bodiless,
        Persistence::KeepAlive,
        None,
        "HTTP/1.1 304 Not Modified|date: then|server: origin||",
    );
    check(
        &own,
        bodiless,
        Persistence::KeepAlive,
        Some("lockgate"),
        "HTTP/1.1 304 Not Modified|date: then|server: lockgate||",
    );
}

#[test]
fn interim_answers_have_no_framing() {
    let mut out = BytesMut::new();
    encode_interim(
        &mut out,
        &head(103, &[("link", "</a>"), ("content-length", "5")]),
    );
    assert_eq!(&out[..], b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
    assert_eq!(continue_100(), b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn persistence_is_told_where_it_must_be() {
    assert_eq!(
        Persistence::new(Version::HTTP_11, true),
        Persistence::KeepAlive
    );
    assert_eq!(
        Persistence::new(Version::HTTP_10, true),
        Persistence::KeepAliveTold
    );
    assert_eq!(
        Persistence::new(Version::HTTP_11, false),
        Persistence::Close
    );
    assert_eq!(
        Persistence::new(Version::HTTP_10, false),
        Persistence::Close
    );
}

#[test]
fn chunks_are_written_and_read_back() {
    let mut out = BytesMut::new();
    encode_chunk(&mut out, b"hello");
    encode_chunk(&mut out, b"");
    encode_chunk(&mut out, &[b'x'; 0x1a0]);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    trailers.insert(CONTENT_LENGTH, HeaderValue::from_static("1"));
    encode_last_chunk(&mut out, Some(trailers));
    let expected = format!(
        "5\r\nhello\r\n1a0\r\n{}\r\n0\r\nx-sum: 1\r\n\r\n",
        "x".repeat(0x1a0)
    );
    assert_eq!(out, expected);
    let mut out = BytesMut::new();
    encode_chunk_head(&mut out, usize::MAX);
    encode_last_chunk(&mut out, None);
    assert_eq!(&out[..], b"ffffffffffffffff\r\n0\r\n\r\n");
}
