use super::*;

const LIMIT: usize = 200;

/// However the bytes are cut, the outcome is the same.
fn check(bytes: &[u8]) -> Result<bool, &'static str> {
    let read = |piece: usize| {
        let mut gate = AnswerGate::new(LIMIT);
        gate.expect_answer();
        for piece in bytes.chunks(piece) {
            gate.check(piece)?;
        }
        Ok(gate.is_armed())
    };
    let whole = read(bytes.len().max(1));
    for piece in 1..bytes.len() {
        assert_eq!(read(piece), whole, "{} in {piece}s", bytes.escape_ascii());
    }
    whole
}

#[test]
fn answers_pass_and_open_the_gate_for_what_follows() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\n\r\n"[..],
        b"HTTP/1.1 200 \r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\na:b\r\nc:  d \t\r\n\r\n\n\r\0 body \n of any bytes",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.0 404 N\r\n\r\n\n",
        b"HTTP/1.1 200\r\nempty:\r\n\r\n",
        b"HTTP/1.1 599 \xe9\r\nx: \xe9\r\n\r\n",
    ] {
        assert_eq!(check(bytes), Ok(false), "{}", bytes.escape_ascii());
    }
    for incomplete in [
        &b""[..],
        b"H",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\na: b\r\n\r",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        assert_eq!(check(incomplete), Ok(true), "{}", incomplete.escape_ascii());
    }
}

#[test]
fn heads_with_two_readings_are_refused() {
    for bytes in [
        &b"\r\nHTTP/1.1 200 OK\r\n\r\n"[..],
        b"\nHTTP/1.1 200 OK\r\n\r\n",
        b" HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\n\r\n",
        b"HTTP/1.1 200 OK\r\na: b\n\r\n",
        b"HTTP/1.1 200 OK\r\na: b\r\n\n",
        b"HTTP/1.1 200 OK\r\na: b\rc: d\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r \r\n",
        b"HTTP/1.1 200 O\0K\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: b\r\n\tc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n a: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na\t: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nnocolon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na\0b: c\r\n\r\n",
        b"HTTP/1.1 100 Continue\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\n\r\n",
    ] {
        assert!(check(bytes).is_err(), "{}", bytes.escape_ascii());
    }
}

#[test]
fn heads_have_a_limit_together() {
    let head = |length: usize| {
        let start = "HTTP/1.1 200 OK\r\nx: ";
        format!("{start}{}\r\n\r\n", "y".repeat(length - start.len() - 4))
    };
    let exact = head(LIMIT) + &"body".repeat(LIMIT);
    assert_eq!(check(exact.as_bytes()), Ok(false));
    assert!(check(head(LIMIT + 1).as_bytes()).is_err());
    let behind_the_limit = head(LIMIT + 9).replace("y\r\n\r\n", "\0\r\n\r\n");
    assert!(check(behind_the_limit.as_bytes()).is_err());
    assert!(check("HTTP/1.1 200 ".repeat(100).as_bytes()).is_err());
    assert!(check("HTTP/1.1 103 H\r\n\r\n".repeat(20).as_bytes()).is_err());
}

#[test]
fn a_gate_that_is_not_armed_is_open() {
    let mut gate = AnswerGate::new(LIMIT);
    assert_eq!(gate.check(b"\n\n"), Ok(()));
    gate.expect_answer();
    assert!(gate.is_armed());
    assert_eq!(gate.check(b"HTTP/1.1 200 OK\r\n\r\n\n"), Ok(()));
    assert!(!gate.is_armed());
    gate.expect_answer();
    assert!(gate.check(b"\n").is_err());
}
