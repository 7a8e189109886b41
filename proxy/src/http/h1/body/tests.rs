use super::*;
use crate::error::ErrorKind;

/// What a body comes to: its data joined, its trailers, what is left behind it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    end: Result<Vec<u8>, ErrorKind>,
}

/// `None` in `end`'s place, an incomplete body, is told by this kind.
const INCOMPLETE: ErrorKind = ErrorKind::ClientGone;

/// Feeds `wire` in pieces of at most `piece` bytes.
fn read(framing: Framing, max_body: u64, wire: &[u8], piece: usize) -> Outcome {
    let mut decoder = BodyDecoder::new(framing, max_body);
    let mut pieces = wire.chunks(piece);
    let mut buffer = BytesMut::new();
    let mut outcome = Outcome {
        data: Vec::new(),
        trailers: None,
        end: Err(INCOMPLETE),
    };
    loop {
        match decoder.decode(&mut buffer) {
            Ok(Decoded::Data(data)) => {
                assert!(!data.is_empty());
                outcome.data.extend_from_slice(&data);
            }
            Ok(Decoded::Trailers(trailers)) => outcome.trailers = Some(trailers),
            Ok(Decoded::End) => {
                assert!(decoder.is_done());
                let mut rest = buffer.to_vec();
                rest.extend(pieces.flatten());
                outcome.end = Ok(rest);
                return outcome;
            }
            Ok(Decoded::NeedMore) => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => {
                    assert!(!decoder.is_done());
                    return outcome;
                }
            },
            Err(error) => {
                assert!(!decoder.is_done());
                outcome.end = Err(error.kind);
                return outcome;
            }
        }
    }
}

/// However the bytes are cut, the outcome is the same.
fn check(framing: Framing, max_body: u64, wire: &[u8]) -> Outcome {
    let whole = read(framing, max_body, wire, wire.len().max(1));
    for piece in 1..wire.len().min(40) {
        let cut = read(framing, max_body, wire, piece);
        assert_eq!(cut.end, whole.end, "{} in {piece}s", wire.escape_ascii());
        assert_eq!(
            cut.trailers,
            whole.trailers,
            "{} in {piece}s",
            wire.escape_ascii()
        );
        if whole.end.is_ok() {
            assert_eq!(cut.data, whole.data, "{} in {piece}s", wire.escape_ascii());
        }
    }
    whole
}

fn check_good(framing: Framing, wire: &[u8], data: &[u8], rest: &[u8]) {
    let outcome = check(framing, 1000, wire);
    assert_eq!(outcome.data, data, "{}", wire.escape_ascii());
    assert_eq!(outcome.end, Ok(rest.to_vec()), "{}", wire.escape_ascii());
}

fn check_bad(wire: &[u8], kind: ErrorKind) {
    let outcome = check(Framing::Chunked, 1000, wire);
    assert_eq!(outcome.end, Err(kind), "{}", wire.escape_ascii());
}

#[test]
fn bodies_end_where_their_framing_says() {
    check_good(Framing::None, b"GET /", b"", b"GET /");
    check_good(Framing::Length(0), b"GET /", b"", b"GET /");
    check_good(Framing::Length(5), b"helloGET /", b"hello", b"GET /");
    check_good(Framing::Chunked, b"0\r\n\r\nGET /", b"", b"GET /");
    check_good(
        Framing::Chunked,
        b"5\r\nhello\r\n0\r\n\r\nGET /",
        b"hello",
        b"GET /",
    );
    check_good(
        Framing::Chunked,
        b"5;a=\"b;c\"\r\nhello\r\n00A ; x\r\n0123456789\r\n0;last\r\n\r\n",
        b"hello0123456789",
        b"",
    );
    check_good(Framing::Chunked, b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", b"");
}

#[test]
fn trailers_come_before_the_end_without_the_forbidden() {
    let wire = b"1\r\na\r\n0\r\nX-Sum: 1\r\nx-sum:2 \r\nContent-Length: 9\r\nHost: x\r\n\r\nrest";
    let outcome = check(Framing::Chunked, 1000, wire);
    let trailers = outcome.trailers.unwrap();
    let sums: Vec<_> = trailers.get_all("x-sum").iter().collect();
    assert_eq!(sums, ["1", "2"]);
    assert_eq!(trailers.len(), 2);
    assert_eq!(outcome.end, Ok(b"rest".to_vec()));

    for forbidden in [
        "X-Forwarded-Client-Cert",
        "X_Forwarded-Client_Cert",
        "X-Request-Id",
        "Early-Data",
    ] {
        let wire = format!("0\r\n{forbidden}: x\r\n\r\n");
        let outcome = check(Framing::Chunked, 1000, wire.as_bytes());
        assert_eq!(outcome.trailers, None, "{forbidden}");
    }
    let outcome = check(Framing::Chunked, 1000, b"0\r\nAuthorization: x\r\n\r\n");
    assert_eq!(outcome.trailers, None);
    assert_eq!(outcome.end, Ok(Vec::new()));
}

#[test]
fn broken_chunks_are_refused() {
    for wire in [
        &b"\r\n"[..],
        b"\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhell\r\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"5\t\r\nhello\r\n0\r\n\r\n",
        b"5_0\r\nhello\r\n0\r\n\r\n",
        b"00000000000000005\r\nhello\r\n0\r\n\r\n",
        b"10000000000000000\r\n",
        b"5;a\nhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
        b"5;\r\nhello\r\n0\r\n\r\n",
        b"0\r\n\n",
        b"0\r\n\r\r\n\r\n",
        b"0\r\nx: a\n\r\n",
        b"0\r\nx : a\r\n\r\n",
        b"0\r\n x: a\r\n\r\n",
        b"0\r\nx: a\r\n b\r\n\r\n",
        b"0\r\nx: a\rb\r\n\r\n",
        b"0\r\nx: a\0b\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n: a\r\n\r\n",
        b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        check_bad(wire, ErrorKind::BadBody);
    }
}

#[test]
fn incomplete_bodies_wait() {
    for wire in [
        &b""[..],
        b"5",
        b"5\r",
        b"5\r\n",
        b"5\r\nhel",
        b"1\r\na\r",
        b"1\r\na\r\n0\r\n",
        b"0\r\nx: a\r\n",
    ] {
        check_bad(wire, INCOMPLETE);
    }
    assert_eq!(
        check(Framing::Length(5), 1000, b"hell").end,
        Err(INCOMPLETE)
    );
}

#[test]
fn limits_hold() {
    let too_large = Err(ErrorKind::BodyTooLarge);
    assert_eq!(check(Framing::Length(11), 10, b"").end, too_large);
    assert_eq!(
        check(Framing::Length(10), 10, b"0123456789").end,
        Ok(Vec::new())
    );
    assert_eq!(check(Framing::Chunked, 10, b"b\r\n").end, too_large);
    assert_eq!(
        check(Framing::Chunked, 10, b"ffffffffffffffff\r\n").end,
        too_large
    );
    let two = b"6\r\n012345\r\n5\r\n";
    assert_eq!(check(Framing::Chunked, 10, two).end, too_large);
    let exact = b"6\r\n012345\r\n4\r\n6789\r\n0\r\n\r\n";
    assert_eq!(check(Framing::Chunked, 10, exact).end, Ok(Vec::new()));

    let long_line = format!("1;{}\r\na\r\n", "x".repeat(1100));
    check_bad(long_line.as_bytes(), ErrorKind::BadBody);
    let endless_line = "1;".to_owned() + &"x".repeat(1100);
    check_bad(endless_line.as_bytes(), ErrorKind::BadBody);
    let many_extensions = format!("1;{}\r\na\r\n", "x".repeat(1000)).repeat(5);
    check_bad(many_extensions.as_bytes(), ErrorKind::BadBody);
    let many_chunks = "1\r\na\r\n".repeat(999) + "0\r\n\r\n";
    assert_eq!(
        check(Framing::Chunked, 1000, many_chunks.as_bytes())
            .data
            .len(),
        999
    );

    let long_trailers = "0\r\nx: ".to_owned() + &"y".repeat(9000);
    check_bad(long_trailers.as_bytes(), ErrorKind::BadBody);
    let many_trailers = "0\r\n".to_owned() + &"x:y\r\n".repeat(65) + "\r\n";
    check_bad(many_trailers.as_bytes(), ErrorKind::BadBody);
}

#[test]
fn data_is_not_copied() {
    let mut buffer = BytesMut::from(&b"5\r\nhello\r\n"[..]);
    let start = buffer.as_ptr() as usize;
    let mut decoder = BodyDecoder::new(Framing::Chunked, 10);
    let Ok(Decoded::Data(data)) = decoder.decode(&mut buffer) else {
        panic!("no data");
    };
    assert_eq!(data.as_ptr() as usize, start + 3);
}
