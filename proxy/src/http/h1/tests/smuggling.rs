//! The published families of request smuggling and of malformed heads: each is
//! refused, with the kind that the client and the log are told.

use super::*;

/// Lines that follow a good request line and a good `Host`.
fn check_lines(lines: &[u8], kind: ErrorKind) {
    let mut wire = b"POST / HTTP/1.1\r\nHost: a\r\n".to_vec();
    wire.extend_from_slice(lines);
    wire.extend_from_slice(b"\r\n\r\n");
    check_refused(&wire, kind);
}

/// A request line, with a good `Host` after it.
fn check_line(line: &[u8], kind: ErrorKind) {
    let mut wire = line.to_vec();
    wire.extend_from_slice(b"\r\nHost: a\r\n\r\n");
    check_refused(&wire, kind);
}

#[test]
fn length_and_coding_together() {
    for lines in [
        &b"Content-Length: 5\r\nTransfer-Encoding: chunked"[..],
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Transfer-Encoding: chunked\r\nContent-Length: 0",
        b"Transfer-Encoding: identity\r\nContent-Length: 5",
        b"Transfer-Encoding: gzip, chunked\r\nContent-Length: 5",
        b"Content-Length: 5\r\nTransfer-Encoding:",
    ] {
        check_lines(lines, ErrorKind::AmbiguousRequest);
    }
}

#[test]
fn repeated_and_malformed_lengths() {
    for lines in [
        &b"Content-Length: 5\r\nContent-Length: 6"[..],
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: 5\r\ncontent-length:5",
        b"Content-Length: 5, 5",
        b"Content-Length: 5,6",
        b"Content-Length: 5,",
        b"Content-Length: +5",
        b"Content-Length: -5",
        b"Content-Length: 5 6",
        b"Content-Length:  1 2",
        b"Content-Length: 0x5",
        b"Content-Length: 5e1",
        b"Content-Length: 5.0",
        b"Content-Length: 1_000",
        b"Content-Length: \"5\"",
        b"Content-Length: five",
        b"Content-Length:",
        b"Content-Length: ",
        b"Content-Length: 18446744073709551616",
        b"Content-Length: 99999999999999999999999",
        b"Content-Length: 5;a",
        b"Content-Length: \xb2",
    ] {
        check_lines(lines, ErrorKind::AmbiguousRequest);
    }
    for lines in [
        &b"Content-Length: \x0b5"[..],
        b"Content-Length: 5\0",
        b"Content-Length: 5\r6",
    ] {
        check_lines(lines, ErrorKind::BadRequest);
    }
}

#[test]
fn obfuscated_codings() {
    for lines in [
        &b"Transfer-Encoding: xchunked"[..],
        b"Transfer-Encoding: chunkedx",
        b"Transfer-Encoding: chunke",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked,",
        b"Transfer-Encoding: ,chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: cow, chunked",
        b"Transfer-Encoding: chunked;q=1",
        b"Transfer-Encoding: \"chunked\"",
        b"Transfer-Encoding: 'chunked'",
        b"Transfer-Encoding:",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: x chunked",
        b"Transfer-Encoding: chunked x",
        b"Transfer-Encoding: ch\xf9nked",
        b"Transfer-Encoding: \xa0chunked",
        b"Transfer-Encoding: chunked\x85",
    ] {
        check_lines(lines, ErrorKind::AmbiguousRequest);
    }
    for lines in [
        &b"Transfer-Encoding:\x0bchunked"[..],
        b"Transfer-Encoding:\x0cchunked",
        b"Transfer-Encoding: chunked\x0b",
        b"Transfer-Encoding: \0chunked",
        b"Transfer-Encoding: \x7fchunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\t: chunked",
        b" Transfer-Encoding: chunked",
        b"\tTransfer-Encoding: chunked",
        b"X: a\r\n Transfer-Encoding: chunked",
        b"Transfer-Encoding:\r\n chunked",
        b"Transfer-Encoding\r\n: chunked",
        b"X: a\nTransfer-Encoding: chunked",
        b"X: a\rTransfer-Encoding: chunked",
        b"X: a\r\rTransfer-Encoding: chunked",
        b"Transfer\x0bEncoding: chunked",
        b"Transfer-Encoding\xa0: chunked",
        b"\0Transfer-Encoding: chunked",
        b"Transfer-Encoding",
    ] {
        check_lines(lines, ErrorKind::BadRequest);
    }
    check_lines(
        b"Transfer-Encoding: gzip, chunked",
        ErrorKind::NotImplemented,
    );
    check_lines(
        b"Transfer-Encoding: deflate , X-GZIP,chunked",
        ErrorKind::NotImplemented,
    );
    check_refused(
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        ErrorKind::AmbiguousRequest,
    );
}

#[test]
fn bare_line_ends_and_controls() {
    for wire in [
        &b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\rHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n",
        b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\n",
        b"\r\n GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nx: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nx\0: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nx: a\x1bb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nx: a\x7fb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nx: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nx\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nx y: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nx : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nx\"y: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nx\xe9: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nx(y): b\r\n\r\n",
        b"\x16\x03\x01",
        b"\0",
    ] {
        check_refused(wire, ErrorKind::BadRequest);
    }
}

#[test]
fn request_lines() {
    for line in [
        &b"GET /"[..],
        b"GET",
        b"GET / ",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/1.1 x",
        b" GET / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET /\tHTTP/1.1",
        b"GET /\x0bHTTP/1.1",
        b"GET / http/1.1",
        b"GET / HTTP/1",
        b"GET / HTTP/11",
        b"GET / HTTP/1.10",
        b"GET / HTTP/01.1",
        b"GET / HTTP/1,1",
        b"GET / HTTP /1.1",
        b"GET / HTTPS/1.1",
        b"GET / HTTP/x.1",
        b"GET / ICY",
        b"GE(T / HTTP/1.1",
        b"G\xc9T / HTTP/1.1",
        b"GET a HTTP/1.1",
        b"GET a/b HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET ?a HTTP/1.1",
        b"OPTIONS ** HTTP/1.1",
        b"GET https://a/ HTTP/1.1",
        b"GET ftp://a/ HTTP/1.1",
        b"GET http:///a HTTP/1.1",
        b"GET http:/a HTTP/1.1",
        b"GET http:a HTTP/1.1",
        b"GET http://u:p@a/ HTTP/1.1",
        b"GET http://a:x/ HTTP/1.1",
        b"GET a:80 HTTP/1.1",
        b"GET //\x00 HTTP/1.1\0",
    ] {
        check_line(line, ErrorKind::BadRequest);
    }
    for line in [
        &b"GET / HTTP/2.0"[..],
        b"PRI * HTTP/2.0",
        b"GET / HTTP/1.2",
        b"GET / HTTP/0.9",
        b"GET / HTTP/9.9",
        b"GET / HTTP/3.0",
    ] {
        check_line(line, ErrorKind::BadVersion);
    }
    for line in [
        &b"GET /#a HTTP/1.1"[..],
        b"GET /a?b#c HTTP/1.1",
        b"GET /%00 HTTP/1.1",
        b"GET /%2f HTTP/1.1",
        b"GET /.. HTTP/1.1",
        b"GET /\\ HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"GET /\x01 HTTP/1.1",
        b"GET /a\rb HTTP/1.1",
        b"GET http://a#b HTTP/1.1",
        b"GET http://a/.. HTTP/1.1",
        b"GET http://a/\xff HTTP/1.1",
        b"GET http://a?\xff HTTP/1.1",
    ] {
        check_line(line, ErrorKind::BadPath);
    }
}

#[test]
fn hosts() {
    for (wire, kind) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], ErrorKind::BadRequest),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", ErrorKind::BadRequest),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", ErrorKind::BadRequest),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", ErrorKind::BadRequest),
        (b"GET / HTTP/1.0\r\nHost:\r\n\r\n", ErrorKind::BadRequest),
        (
            b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            ErrorKind::BadRequest,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            ErrorKind::BadRequest,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            ErrorKind::BadRequest,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
            ErrorKind::BadRequest,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
            ErrorKind::BadRequest,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            ErrorKind::AmbiguousRequest,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
            ErrorKind::AmbiguousRequest,
        ),
        (
            b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
            ErrorKind::AmbiguousRequest,
        ),
        (
            b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
            ErrorKind::AmbiguousRequest,
        ),
        (
            b"GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n",
            ErrorKind::AmbiguousRequest,
        ),
    ] {
        check_refused(wire, kind);
    }
}

#[test]
fn what_is_not_served_says_so() {
    for line in [
        &b"CONNECT a:443 HTTP/1.1"[..],
        b"CONNECT / HTTP/1.1",
        b"CONNECT http://a/ HTTP/1.1",
    ] {
        check_line(line, ErrorKind::NotImplemented);
    }
    check_lines(b"Expect: 200-ok", ErrorKind::ExpectationFailed);
    check_lines(b"Expect: 100-continue, more", ErrorKind::ExpectationFailed);
    check_lines(
        b"Expect: 100-continue\r\nExpect: x",
        ErrorKind::ExpectationFailed,
    );
    good(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n");
}
