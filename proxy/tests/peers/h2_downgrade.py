"""Requests of HTTP/2 that would be others in HTTP/1.1, which is what the origin speaks.

    h2_downgrade.py ADDRESS plain|tls

The origin is heads.py. No head and no trailers that it gets may have `refused` in it."""

import http.client
import sys

from h2_wire import *

HIDDEN = b"GET /refused HTTP/1.1\r\nhost: test\r\n\r\n"


class Proxy:
    def __init__(self, address, is_tls):
        self.address, self.is_tls = address, is_tls

    def ask(self, fields, *rest, method="POST", path="/"):
        """What came of a head, with what follows it on its stream; and what the origin
        was sent, where it answered."""
        wire = Wire(self.address, self.is_tls)
        fields = fields if (":method", method) in fields else head(path, method) + fields
        flags = END_HEADERS if rest else END_HEADERS | END_STREAM
        wire.send(headers(1, fields, flags) + b"".join(rest))
        outcome = wire.outcome(1)
        body = wire.body(1) if outcome == Answered(200) and method != "HEAD" else b""
        wire.close()
        return outcome, body

    def get(self, fields=(), **more):
        return self.ask(list(fields), method="GET", **more)


def data(payload, flags=END_STREAM):
    return frame(DATA, flags, 1, payload)


def lengths(proxy):
    """A body never ends elsewhere than its frames do."""
    for length in ["0", "5", "9999", "00", "+37", "0x25", "37, 37", "37,37", "-1", "", "1e1", "18446744073709551616", "3 7"]:
        for fields in [[("content-length", length)], [("content-length", str(len(HIDDEN))), ("content-length", length)]]:
            outcome, _ = proxy.ask(fields, data(HIDDEN))
            assert outcome in (Reset(PROTOCOL_ERROR), Answered(400)), (fields, outcome)
    same = [("content-length", str(len(HIDDEN)))] * 2
    assert proxy.ask(same, data(HIDDEN))[0] in (Reset(PROTOCOL_ERROR), Answered(400))
    assert proxy.ask(same[:1], data(HIDDEN))[0] == Answered(200)
    # Without a length, whatever it looks like in chunks.
    for body in [HIDDEN, b"0\r\n\r\n" + HIDDEN, b"\r\n0\r\n\r\n" + HIDDEN, b"ffffffff\r\n" + HIDDEN]:
        outcome, sent = proxy.ask([], data(body))
        assert outcome == Answered(200), outcome
        assert b"\r\ntransfer-encoding: chunked\r\n" in sent, sent
        assert b"content-length" not in sent, sent
    # Also of requests that mostly have none.
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "get", "TRACK"]:
        assert proxy.ask([], data(HIDDEN), method=method)[0] == Answered(200), method
    # One that is given up is no beginning of the next.
    for _ in range(20):
        proxy.ask([], data(b"0\r\n\r\n" + HIDDEN, 0), frame(RST_STREAM, 0, 1, b"\0\0\0\x08"), frame(GOAWAY, 0, 0, bytes(8)))
        assert proxy.get()[0] == Answered(200)


def fields(proxy):
    """What is of one connection, or ends a line, goes no further."""
    bad = (Reset(PROTOCOL_ERROR), Closed(PROTOCOL_ERROR), Answered(400))
    for field in [
        ("transfer-encoding", "chunked"), ("transfer-encoding", "identity"), ("transfer-encoding", "\x0bchunked"),
        ("transfer-encoding ", "chunked"), ("transfer-encoding\t", "chunked"), (" transfer-encoding", "chunked"),
        ("transfer-encoding:chunked\r\nx", "1"), ("x\r\ntransfer-encoding: chunked\r\ny", "1"),
        ("x", "1\r\ntransfer-encoding: chunked"), ("x", "1\r\n\r\n" + HIDDEN.decode()), ("x", "1\n\n" + HIDDEN.decode()),
        ("x", "1\rrefused: 1"), ("x", "\0refused"), ("x:refused", "1"), ("x refused", "1"), ("\xa0x", "refused"),
        ("connection", "refused"), ("connection", "x-refused"), ("proxy-connection", "refused"), ("keep-alive", "refused"),
        ("upgrade", "refused"), ("te", "refused"), ("te", "trailers, refused"), ("te", "chunked"),
        ("host", "refused"), ("host", "test, refused"), ("host", "test@refused"), ("host", "test/refused"), ("host", ""),
        ("host", "test:80:80"), ("host", "test:99999"),
    ]:
        outcome, _ = proxy.get([field, ("x-why", "refused")])
        assert outcome in bad, (field, outcome)
    # Some origins take one of these for the other.
    outcome, sent = proxy.get([("x_forwarded_for", "refused")])
    assert outcome == Answered(200) and b"x_forwarded_for" not in sent, sent
    outcome, sent = proxy.get([("te", "trailers"), ("http2-settings", "AAMAAABkAAQAoAAA"), ("x", "\xe9")])
    assert outcome == Answered(200) and b"\r\nx: \xe9\r\n" in sent, sent
    outcome, sent = proxy.get([("cookie", "a=1"), ("cookie", "b=2"), ("host", "TEST")])
    assert outcome == Answered(200), outcome
    assert sent.count(b"\r\ncookie: ") == 1 and b"\r\ncookie: a=1; b=2\r\n" in sent, sent
    assert sent.lower().count(b"\r\nhost: ") == 1, sent


def trailers(proxy):
    def ask(trailer):
        return proxy.ask([], data(b"body", 0), headers(1, [trailer]))

    assert b"\r\n\r\nx-sum: 7\r\n\r\n" in ask(("x-sum", "7"))[1]
    bad = (Reset(PROTOCOL_ERROR), Closed(PROTOCOL_ERROR), Answered(400), Answered(502))
    for field in [("x", "1\r\nrefused: 1"), ("x\r\nrefused", "1"), ("x refused", "1"), ("connection", "refused"), ("transfer-encoding", "refused")]:
        outcome, _ = ask(field)
        assert outcome in bad, (field, outcome)
    for field in [(":path", "/refused"), ("host", "refused"), ("authorization", "refused"), ("content-length", "0")]:
        outcome, sent = ask(field)
        assert outcome in (*bad, Answered(200)), (field, outcome)
        assert b"content-length" not in sent, sent


def same(proxy):
    """A head is worth the same in either version."""
    host, port = proxy.address.rsplit(":", 1)

    def by_http1(path, fields):
        connection = http.client.HTTPConnection(host, int(port), timeout=LIMIT)
        connection.putrequest("GET", "/", skip_host=True, skip_accept_encoding=True)
        # Written over, since the library would refuse some.
        connection._buffer = [b"GET " + path.encode("latin-1") + b" HTTP/1.1"]
        for name, value in [("host", "test"), *fields]:
            connection._buffer.append(f"{name}: {value}".encode("latin-1"))
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, first_line(answer.read())

    def by_http2(path, fields):
        outcome, sent = proxy.get(fields, path=path)
        status = outcome.status if isinstance(outcome, Answered) else 400
        return status, first_line(sent)

    def first_line(sent):
        return sent.split(b"\r\n")[0] if sent.startswith(b"GET") else b""

    paths = ["/a/../b", "/a/./b", "/..", "//a", "/a//b", "/%2e%2e/a", "/a%2fb", "/a%5cb", "/%00", "/%zz", "/%", "/a;b", "/a\\b"]
    paths += [f"/a{chr(code)}b" for code in range(0x21, 0x100) if chr(code) != "#"]
    paths += [f"/a?{chr(code)}b" for code in range(0x21, 0x100) if chr(code) != "#"]
    for path in paths:
        assert by_http1(path, []) == by_http2(path, []), (path, by_http1(path, []), by_http2(path, []))
    for field in [("expect", "wonders"), ("forwarded", "for=1.2.3.4"), ("via", "2.0 lockgate"), ("max-forwards", "0")]:
        assert by_http1("/", [field]) == by_http2("/", [field]), field
    many = [("x", "1")] * 200
    assert by_http1("/", many) == by_http2("/", many)


def main(address, kind):
    proxy = Proxy(address, kind == "tls")
    lengths(proxy)
    fields(proxy)
    trailers(proxy)
    if kind == "plain":
        same(proxy)
    outcome, went_on = proxy.get(path="/refused-so-far")
    assert outcome == Answered(200), outcome
    assert went_on == b"", went_on


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
