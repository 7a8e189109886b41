//! What a request head comes to.

use http::{Method, Version};

use super::*;
use crate::http::{Framing, TargetForm};

#[test]
fn a_plain_request_is_read() {
    let wire = b"GET /a?b=c HTTP/1.1\r\nHost: Example.com\r\nAccept:  */* \t\r\nx-a: 1\r\nX-A: 2\r\n\r\nrest";
    let parsed = good(wire);
    assert_eq!(parsed.head.method, Method::GET);
    assert_eq!(
        parsed.head.authority.as_ref().map(|a| a.as_str()),
        Some("example.com")
    );
    assert_eq!(parsed.head.path, "/a?b=c");
    assert_eq!(parsed.head.headers["accept"], "*/*");
    let values: Vec<_> = parsed.head.headers.get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "2"]);
    assert!(!parsed.head.headers.contains_key("host"));
    assert_eq!(parsed.version, Version::HTTP_11);
    assert_eq!(parsed.framing, Framing::None);
    assert!(parsed.keep_alive && !parsed.expects_continue);
    assert_eq!(outcome(wire).unwrap().unwrap().1, b"rest");
}

#[test]
fn pipelined_heads_come_one_at_a_time() {
    let wire = b"\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut buffer = BytesMut::from(&wire[..]);
    let mut scanner = HeadScanner::default();
    for expected in ["/1", "/2"] {
        let parsed = parse_request(&mut buffer, &mut scanner, &limits(), &RULES, Role::Gateway);
        assert_eq!(parsed.unwrap().unwrap().head.path, expected);
    }
    assert!(buffer.is_empty());
    assert!(
        parse_request(&mut buffer, &mut scanner, &limits(), &RULES, Role::Gateway)
            .unwrap()
            .is_none()
    );
}

#[test]
fn incomplete_heads_wait() {
    let wire = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for end in 0..wire.len() {
        assert_eq!(
            outcome(&wire[..end]),
            Ok(None),
            "{}",
            wire[..end].escape_ascii()
        );
    }
}

fn check_target(line: &str, authority: Option<&str>, path: &str) {
    let parsed = good(format!("{line}\r\n\r\n").as_bytes());
    assert_eq!(
        parsed.head.authority.as_ref().map(|a| a.as_str()),
        authority,
        "{line}"
    );
    assert_eq!(parsed.head.path, path, "{line}");
}

#[test]
fn every_form_of_target_is_read() {
    for (line, authority, path) in [
        ("GET /a/../b//c HTTP/1.1\r\nHost: a", Some("a"), "/b/c"),
        ("GET http://a/b HTTP/1.1\r\nHost: a", Some("a"), "/b"),
        ("GET HTTP://A:80/b HTTP/1.1\r\nHost: a", Some("a:80"), "/b"),
        ("GET http://a HTTP/1.1\r\nHost: a", Some("a"), "/"),
        ("GET http://a?b HTTP/1.1\r\nHost: a", Some("a"), "/?b"),
        (
            "GET http://[::1]:8/ HTTP/1.1\r\nHost: [::1]:8",
            Some("[::1]:8"),
            "/",
        ),
        ("GET http://a/b HTTP/1.0", Some("a"), "/b"),
        ("OPTIONS * HTTP/1.1\r\nHost: a", Some("a"), "*"),
        ("OPTIONS http://a HTTP/1.1\r\nHost: a", Some("a"), "*"),
        ("OPTIONS http://a/ HTTP/1.1\r\nHost: a", Some("a"), "/"),
        ("OPTIONS / HTTP/1.1\r\nHost: a", Some("a"), "/"),
        ("GET / HTTP/1.0", None, "/"),
        ("GET / HTTP/1.0\r\nHost: a", Some("a"), "/"),
        ("TRACE / HTTP/1.1\r\nHost: a:", Some("a"), "/"),
        ("get / HTTP/1.1\r\nHost: a", Some("a"), "/"),
    ] {
        check_target(line, authority, path);
    }
}

fn check_connection(lines: &str, keep_alive: bool) {
    let parsed = good(format!("GET / {lines}\r\n\r\n").as_bytes());
    assert_eq!(parsed.keep_alive, keep_alive, "{lines}");
}

#[test]
fn persistence_follows_version_and_connection() {
    for (lines, keep_alive) in [
        ("HTTP/1.1\r\nHost: a", true),
        ("HTTP/1.1\r\nHost: a\r\nConnection: Close", false),
        ("HTTP/1.1\r\nHost: a\r\nConnection: a, close , b", false),
        (
            "HTTP/1.1\r\nHost: a\r\nConnection: a\r\nConnection: close",
            false,
        ),
        ("HTTP/1.1\r\nHost: a\r\nConnection: closed", true),
        ("HTTP/1.0", false),
        ("HTTP/1.0\r\nConnection: Keep-Alive", true),
        ("HTTP/1.0\r\nConnection: keep-alive, close", false),
        (
            "HTTP/1.0\r\nConnection: close\r\nConnection: keep-alive",
            false,
        ),
    ] {
        check_connection(lines, keep_alive);
    }
}

fn check_framing(lines: &str, framing: Framing, expects_continue: bool) {
    let parsed = good(format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n").as_bytes());
    assert_eq!(parsed.framing, framing, "{lines}");
    assert_eq!(parsed.expects_continue, expects_continue, "{lines}");
}

#[test]
fn bodies_are_framed_as_their_fields_say() {
    for (lines, framing, expects_continue) in [
        ("a: b", Framing::None, false),
        ("Content-Length: 0", Framing::Length(0), false),
        ("Content-Length: 5", Framing::Length(5), false),
        (
            "Content-Length: 18446744073709551615",
            Framing::Length(u64::MAX),
            false,
        ),
        ("Transfer-Encoding: chunked", Framing::Chunked, false),
        ("transfer-encoding:\tCHUNKED ", Framing::Chunked, false),
        (
            "Content-Length: 5\r\nExpect: 100-Continue",
            Framing::Length(5),
            true,
        ),
        (
            "Transfer-Encoding: chunked\r\nExpect: 100-continue",
            Framing::Chunked,
            true,
        ),
        ("Expect: 100-continue", Framing::None, false),
        ("Content-Length: 5\r\nExpect:", Framing::Length(5), false),
    ] {
        check_framing(lines, framing, expects_continue);
    }
    let parsed = good(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n");
    assert_eq!(parsed.framing, Framing::Length(7));
    assert_eq!(parsed.head.headers["content-length"], "7");
    let parsed = good(
        b"POST / HTTP/1.0\r\nExpect: a cookie\r\nContent-Length: 1\r\nUpgrade: websocket\r\n\r\n",
    );
    assert!(!parsed.expects_continue);
}

#[test]
fn heads_have_limits() {
    let target = |length: usize| {
        format!(
            "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
            "a".repeat(length - 1)
        )
    };
    good(target(100).as_bytes());
    check_refused(target(101).as_bytes(), ErrorKind::TargetTooLong);
    check_refused(&target(2000).as_bytes()[..1000], ErrorKind::TargetTooLong);
    check_refused(
        format!("GET /{}", "a".repeat(101)).as_bytes(),
        ErrorKind::TargetTooLong,
    );

    let fields = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "a: b\r\n".repeat(count - 1)
        )
    };
    good(fields(10).as_bytes());
    check_refused(fields(11).as_bytes(), ErrorKind::HeadTooLarge);

    let start = "GET / HTTP/1.1\r\nHost: a\r\nx: ";
    let head = |length: usize| format!("{start}{}\r\n\r\n", "y".repeat(length - start.len() - 4));
    good(head(600).as_bytes());
    check_refused(head(601).as_bytes(), ErrorKind::HeadTooLarge);
    check_refused(&head(700).as_bytes()[..601], ErrorKind::HeadTooLarge);
    check_refused("A".repeat(601).as_bytes(), ErrorKind::HeadTooLarge);
    assert_eq!(outcome("A".repeat(600).as_bytes()), Ok(None));
}

#[test]
fn values_share_the_memory_they_were_read_into() {
    let mut buffer = BytesMut::from(&b"GET /path HTTP/1.1\r\nHost: a\r\nx: value\r\n\r\n"[..]);
    let start = buffer.as_ptr() as usize;
    let parsed = parse_request(
        &mut buffer,
        &mut HeadScanner::default(),
        &limits(),
        &RULES,
        Role::Gateway,
    );
    let head = parsed.unwrap().unwrap().head;
    assert_eq!(head.path.as_str().as_ptr() as usize, start + 4);
    assert_eq!(
        head.authority.unwrap().as_str().as_ptr() as usize,
        start + 26
    );
    assert_eq!(head.headers["x"].as_bytes().as_ptr() as usize, start + 32);
}

fn parse_as_proxy(wire: &str) -> Result<ParsedRequest, ErrorKind> {
    let mut buffer = BytesMut::from(wire);
    let mut scanner = HeadScanner::default();
    let parsed = parse_request(&mut buffer, &mut scanner, &limits(), &RULES, Role::Proxy);
    let parsed = parsed.map_err(|error| error.kind)?;
    Ok(parsed.expect("it is whole"))
}

#[test]
fn a_proxy_goes_by_the_target() {
    for (line, host, authority, path, form) in [
        ("GET http://A:80/x", "b", "a:80", "/x", TargetForm::Absolute),
        ("GET http://a", "a", "a", "/", TargetForm::Absolute),
        ("GET /x", "b", "b", "/x", TargetForm::Origin),
        ("OPTIONS *", "b", "b", "*", TargetForm::Origin),
        (
            "CONNECT A.Test:443",
            "b",
            "a.test:443",
            "*",
            TargetForm::Authority,
        ),
        (
            "CONNECT [::1]:443",
            "[::1]:443",
            "[::1]:443",
            "*",
            TargetForm::Authority,
        ),
    ] {
        let wire = format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\nUpgrade: tcp\r\nConnection: upgrade\r\n\r\n"
        );
        let parsed = parse_as_proxy(&wire).expect(line);
        assert_eq!(parsed.head.authority.unwrap(), authority, "{line}");
        assert_eq!(parsed.head.path, path, "{line}");
        assert_eq!(parsed.form, form, "{line}");
        assert_eq!(parsed.framing, Framing::None, "{line}");
        assert_eq!(parsed.asks_upgrade, form != TargetForm::Authority, "{line}");
    }
}

#[test]
fn targets_that_a_proxy_refuses() {
    for (line, more, kind) in [
        ("CONNECT a", "", ErrorKind::BadTarget),
        ("CONNECT a:", "", ErrorKind::BadTarget),
        ("CONNECT a:0", "", ErrorKind::BadTarget),
        ("CONNECT a:65536", "", ErrorKind::BadTarget),
        ("CONNECT u@a:80", "", ErrorKind::BadTarget),
        ("CONNECT /", "", ErrorKind::BadTarget),
        ("CONNECT *", "", ErrorKind::BadTarget),
        ("CONNECT http://a:80/", "", ErrorKind::BadTarget),
        ("CONNECT a%41:80", "", ErrorKind::BadTarget),
        ("GET https://a/", "", ErrorKind::BadTarget),
        ("GET HTTPS://a/", "", ErrorKind::BadTarget),
        ("GET ftp://a/", "", ErrorKind::BadRequest),
        ("GET a:80", "", ErrorKind::BadRequest),
        ("GET http://u@a/", "", ErrorKind::BadRequest),
        (
            "CONNECT a:80",
            "Content-Length: 1\r\n",
            ErrorKind::BadRequest,
        ),
        (
            "CONNECT a:80",
            "Transfer-Encoding: chunked\r\n",
            ErrorKind::BadRequest,
        ),
    ] {
        let wire = format!("{line} HTTP/1.1\r\nHost: a\r\n{more}\r\n");
        assert_eq!(parse_as_proxy(&wire).err(), Some(kind), "{line} {more}");
    }
    let without_host = "CONNECT a:80 HTTP/1.1\r\n\r\n";
    assert_eq!(
        parse_as_proxy(without_host).err(),
        Some(ErrorKind::BadRequest)
    );
    assert!(parse_as_proxy("CONNECT a:80 HTTP/1.0\r\n\r\n").is_ok());
    let empty = "CONNECT a:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(parse_as_proxy(empty).unwrap().framing, Framing::None);
}
