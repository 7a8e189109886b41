"""What RFC 9113 and RFC 7541 ask of a server, case by case, in frames made by hand.

    h2_cases.py ADDRESS plain|tls

The origin behind the proxy is heads.py. No request for `/refused` may reach it. Where
a case has not ended the connection, that has to serve another request."""

import sys
from collections import namedtuple

from h2_wire import *

Case = namedtuple("Case", "section what send wanted stream begin goes_on")
CASES = []
OPEN = END_HEADERS
WHOLE = END_HEADERS | END_STREAM
NAMES = dict(head())


def case(section, what, send, *wanted, stream=1, begin=PREFACE + settings(), goes_on=True):
    """`send` is bytes, or what is done with the connection. Unless that ends, it serves
    another request then, where it `goes_on`."""
    CASES.append(Case(section, what, send, wanted, stream, begin, goes_on))


def get(stream=1, path="/", more=()):
    return headers(stream, head(path) + list(more))


def post(stream=1, path="/", more=()):
    """Its body follows."""
    return headers(stream, head(path, "POST") + list(more), OPEN)


def refused(stream=1):
    return get(stream, "/refused")


def block(data, flags=WHOLE, stream=1):
    return frame(HEADERS, flags, stream, data)


REFUSED_HEAD = literals(head("/refused"))
OK = Answered(200)
BAD_REQUEST = Answered(400)
PROTOCOL = Closed(PROTOCOL_ERROR)
# Of a frame or a block that it cannot read the h2 crate mostly says PROTOCOL_ERROR.
SIZE = Closed(FRAME_SIZE_ERROR), PROTOCOL
COMPRESSION = Closed(COMPRESSION_ERROR), PROTOCOL
MALFORMED = Reset(PROTOCOL_ERROR)

# Whole requests.

case("8.1", "GET", get(), OK)
case("8.1", "HEAD", headers(1, head(method="HEAD")), OK)
case("8.1", "POST", post() + frame(DATA, END_STREAM, 1, b"body"), OK)
case("8.1", "POST, its end in an empty frame", post() + frame(DATA, 0, 1, b"body") + frame(DATA, END_STREAM, 1), OK)
case("8.1", "POST with trailers", post() + frame(DATA, 0, 1, b"body") + headers(1, [("x", "1")]), OK)
case("8.1", "trailers without a body", post() + headers(1, [("x", "1")]), OK)
case("8.3.1", "OPTIONS *", headers(1, head("*", "OPTIONS")), OK)
case("5.1.2", "two at once", get() + get(3), OK, stream=3)
case("5.1.1", "streams that were left out", get(101), OK, stream=101)

# The preface.

case("3.4", "a preface that is wrong at its end", b"", Closed(PROTOCOL_ERROR), Closed(None), begin=PREFACE[:-4] + b"XX\r\n" + settings())
case("3.4", "a preface that is cut short", lambda wire: wire.end(), Closed(PROTOCOL_ERROR), Closed(None), begin=PREFACE[:16])
# The first frame should be SETTINGS; the h2 crate takes others, and so does nginx.
case("3.4", "PING before SETTINGS", b"", PROTOCOL, Ignored(), begin=PREFACE + frame(PING, 0, 0, MARK))
case("3.4", "HEADERS before SETTINGS", b"", PROTOCOL, OK, begin=PREFACE + get())

# Frames.

case("4.1", "an unknown kind", frame(0x16, 0, 0, b"what"), Ignored())
case("4.1", "an unknown kind on a stream", frame(0x16, 255, 1, b"what"), Ignored())
case("4.1", "unknown flags", frame(PING, 0xFE, 0, MARK), Ignored())
case("4.1", "the reserved bit of a PING", frame(PING, 0, 1 << 31, MARK), Ignored())
case("4.1", "the reserved bit of a HEADERS", headers(1 | 1 << 31, head()), OK)
case("4.2", "DATA of 16384", post() + frame(DATA, END_STREAM, 1, bytes(16384)), OK)
case("4.2", "DATA of 16385", post() + frame(DATA, END_STREAM, 1, bytes(16385)), *SIZE)
case("4.2", "HEADERS of 16385", block(REFUSED_HEAD + literals([("x", "y" * (16385 - len(REFUSED_HEAD) - 6))])), *SIZE)
case("4.2", "an unknown kind of 16385", frame(0x16, 0, 0, bytes(16385)), *SIZE)

# Streams.

case("5.1", "DATA on an idle stream", frame(DATA, END_STREAM, 1, b"x"), PROTOCOL)
case("5.1", "RST_STREAM on an idle stream", frame(RST_STREAM, 0, 1, bytes(4)), PROTOCOL)
case("5.1", "WINDOW_UPDATE on an idle stream", frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), PROTOCOL)
case("5.1", "CONTINUATION on an idle stream", frame(CONTINUATION, END_HEADERS, 1, REFUSED_HEAD), PROTOCOL)
case("5.1", "PRIORITY on an idle stream", frame(PRIORITY, 0, 1, bytes(4) + b"\1"), Ignored())


def answered_then(data):
    def send(wire):
        wire.send(get())
        assert wire.outcome(1) == OK
        wire.body(1)
        wire.send(data)
        wire.mark()

    return send


# What comes on a closed stream may be taken for the error of one stream or of all.
ENDED = (Closed(STREAM_CLOSED), PROTOCOL, Reset(STREAM_CLOSED))
case("5.1", "DATA after the end", answered_then(frame(DATA, END_STREAM, 1, b"x")), *ENDED)
case("5.1", "HEADERS after the end", answered_then(refused()), *ENDED)
case("5.1", "CONTINUATION after the end", answered_then(frame(CONTINUATION, END_HEADERS, 1, REFUSED_HEAD)), PROTOCOL)
case("5.1", "WINDOW_UPDATE after the end", answered_then(frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1")), Ignored())
case("5.1", "RST_STREAM after the end", answered_then(frame(RST_STREAM, 0, 1, bytes(4))), Ignored())
case("5.1", "PRIORITY after the end", answered_then(frame(PRIORITY, 0, 1, bytes(4) + b"\1")), Ignored())
RESET = post() + frame(RST_STREAM, 0, 1, b"\0\0\0\x08")
case("5.1", "DATA after RST_STREAM", RESET + frame(DATA, END_STREAM, 1, b"x"), *ENDED)
case("5.1", "HEADERS after RST_STREAM", RESET + refused(), *ENDED)
case("5.1.1", "a stream of the server's", refused(2), PROTOCOL)
case("5.1.1", "a stream before the last", get(5) + refused(3), PROTOCOL, Closed(STREAM_CLOSED))
case("5.1.2", "more streams than are allowed", b"".join(post(stream) for stream in range(1, 259, 2)), Reset(REFUSED_STREAM), stream=257, goes_on=False)
case("5.5", "an unknown kind within a block", block(REFUSED_HEAD, END_STREAM) + frame(0x16, 0, 0), PROTOCOL)

# Kinds of frames.

case("6.1", "DATA on stream 0", frame(DATA, 0, 0, b"x"), PROTOCOL)
case("6.1", "DATA with padding", post() + frame(DATA, END_STREAM | PADDED, 1, b"\4bodypads"), OK)
case("6.1", "DATA of padding only", post() + frame(DATA, END_STREAM | PADDED, 1, b"\4pads"), OK)
case("6.1", "padding as long as DATA", post() + frame(DATA, END_STREAM | PADDED, 1, b"\5body"), PROTOCOL)
case("6.1", "DATA without its padding's length", post() + frame(DATA, END_STREAM | PADDED, 1), *SIZE)
case("6.2", "HEADERS with padding", block(b"\4" + literals(head()) + b"pads", WHOLE | PADDED), OK)
case("6.2", "HEADERS with a priority", block(bytes(4) + b"\1" + literals(head()), WHOLE | WITH_PRIORITY), OK)
case("6.2", "HEADERS on stream 0", refused(0), PROTOCOL)
case("6.2", "padding longer than HEADERS", block(b"\xff" + REFUSED_HEAD, WHOLE | PADDED), PROTOCOL)
case("6.2", "HEADERS shorter than its priority", block(b"\0\0", WHOLE | WITH_PRIORITY), *SIZE)
BEGUN = block(REFUSED_HEAD, END_STREAM)
case("6.2", "PRIORITY within a block", BEGUN + frame(PRIORITY, 0, 1, bytes(4) + b"\1"), PROTOCOL)
case("6.2", "DATA within a block", BEGUN + frame(DATA, END_STREAM, 1, b"x"), PROTOCOL)
case("6.2", "HEADERS of another stream within a block", BEGUN + refused(3), PROTOCOL)
case("6.3", "PRIORITY on stream 0", frame(PRIORITY, 0, 0, bytes(4) + b"\1"), PROTOCOL)
case("6.3", "PRIORITY of 4", post() + frame(PRIORITY, 0, 1, bytes(4)), *SIZE, Reset(FRAME_SIZE_ERROR))
case("6.4", "RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, bytes(4)), PROTOCOL)
case("6.4", "RST_STREAM of 3", post() + frame(RST_STREAM, 0, 1, bytes(3)), *SIZE)
case("6.5", "SETTINGS on a stream", frame(SETTINGS, 0, 1), PROTOCOL)
case("6.5", "an acknowledgement with settings", frame(SETTINGS, ACK, 0, bytes(6)), *SIZE)
case("6.5", "SETTINGS of 5", frame(SETTINGS, 0, 0, bytes(5)), *SIZE)
case("6.5.2", "ENABLE_PUSH of 2", settings((2, 2)), PROTOCOL)
case("6.5.2", "INITIAL_WINDOW_SIZE of 2^31", settings((4, 1 << 31)), Closed(FLOW_CONTROL_ERROR), PROTOCOL)
case("6.5.2", "MAX_FRAME_SIZE of 16383", settings((5, 16383)), PROTOCOL)
case("6.5.2", "MAX_FRAME_SIZE of 2^24", settings((5, 1 << 24)), PROTOCOL)
case("6.5.2", "an unknown setting", settings((0xAB, 1)), Ignored())
case("6.5.3", "SETTINGS are acknowledged", lambda wire: acknowledged(wire), Ignored())
case("6.6", "PUSH_PROMISE by a client", post() + frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + REFUSED_HEAD), PROTOCOL)
case("6.7", "an answer to no PING", frame(PING, ACK, 0, MARK), Ignored())
case("6.7", "PING on a stream", frame(PING, 0, 1, MARK), PROTOCOL)
case("6.7", "PING of 6", frame(PING, 0, 0, bytes(6)), *SIZE)
case("6.8", "GOAWAY on a stream", frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL)
case("6.8", "GOAWAY of 4", frame(GOAWAY, 0, 0, bytes(4)), *SIZE)
case("6.9", "WINDOW_UPDATE by 0", frame(WINDOW_UPDATE, 0, 0, bytes(4)), PROTOCOL)
case("6.9", "WINDOW_UPDATE by 0 on a stream", post() + frame(WINDOW_UPDATE, 0, 1, bytes(4)), MALFORMED, PROTOCOL)
case("6.9", "WINDOW_UPDATE of 3", frame(WINDOW_UPDATE, 0, 0, bytes(3)), *SIZE)
FULL = b"\x7f\xff\xff\xff"
case("6.9.1", "a window beyond 2^31-1", frame(WINDOW_UPDATE, 0, 0, FULL) * 2, Closed(FLOW_CONTROL_ERROR))
case("6.9.1", "a stream's window beyond 2^31-1", post() + frame(WINDOW_UPDATE, 0, 1, FULL) * 2, Reset(FLOW_CONTROL_ERROR))
case("6.9.1", "a window of one byte", lambda wire: one_by_one(wire), Ignored(), begin=PREFACE + settings((4, 1)))
case("6.9.2", "a window that becomes larger", lambda wire: window_opens(wire), Ignored(), begin=PREFACE + settings((4, 0)))
case("6.9.2", "a window below zero", lambda wire: window_below_zero(wire), Ignored(), begin=PREFACE + settings((4, 3)))
case("6.9.2", "settings that overflow a stream's window", post() + frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\0\0") + settings((4, 0x7FFFFFFF)), Closed(FLOW_CONTROL_ERROR))
SPLIT = [literals(head())[at : at + 9] for at in range(0, len(literals(head())), 9)]
PARTS = b"".join(frame(CONTINUATION, 0, 1, part) for part in SPLIT[1:])
case("6.10", "a head in pieces", block(SPLIT[0], END_STREAM) + PARTS + frame(CONTINUATION, END_HEADERS, 1), OK)
case("6.10", "PING within pieces", BEGUN + frame(CONTINUATION, 0, 1) + frame(PING, 0, 0, MARK), PROTOCOL)
case("6.10", "CONTINUATION on stream 0", BEGUN + frame(CONTINUATION, END_HEADERS, 0), PROTOCOL)
case("6.10", "CONTINUATION of another stream", BEGUN + frame(CONTINUATION, END_HEADERS, 3), PROTOCOL)
case("6.10", "CONTINUATION after a whole head", post() + frame(CONTINUATION, END_HEADERS, 1), PROTOCOL)
case("6.10", "CONTINUATION after the last", block(literals(head()), 0) + frame(CONTINUATION, END_HEADERS, 1) * 2, PROTOCOL)
case("6.10", "CONTINUATION after DATA", post() + frame(DATA, 0, 1, b"x") + frame(CONTINUATION, END_HEADERS, 1), PROTOCOL)
case("7", "RST_STREAM with an unknown code", post() + frame(RST_STREAM, 0, 1, b"\0\0\0\xff"), Ignored())
case("7", "GOAWAY with an unknown code", get() + frame(GOAWAY, 0, 0, bytes(4) + b"\0\0\0\xff"), OK, Closed(NO_ERROR), goes_on=False)

# Heads.

case("8.1", "a second head without an end", post() + frame(DATA, 0, 1, b"x") + headers(1, [("x", "1")], OPEN), MALFORMED)
# The h2 crate passes over them, and they go nowhere.
case("8.1", "pseudo-fields in trailers", post() + frame(DATA, 0, 1, b"x") + headers(1, [(":path", "/")]), MALFORMED, OK)
LENGTH = [("content-length", "5")]
case("8.1.1", "a body that is shorter than it says", post(more=LENGTH) + frame(DATA, END_STREAM, 1, b"1234"), MALFORMED)
case("8.1.1", "a body that is longer than it says", post(more=LENGTH) + frame(DATA, END_STREAM, 1, b"123456"), MALFORMED)
case("8.1.1", "pieces that are longer together", post(more=LENGTH) + frame(DATA, 0, 1, b"123") + frame(DATA, END_STREAM, 1, b"456"), MALFORMED)
case("8.1.1", "trailers before the length is there", post(more=LENGTH) + frame(DATA, 0, 1, b"123") + headers(1, [("x", "1")]), MALFORMED)
case("8.1.1", "a length, and no body", get(path="/refused", more=LENGTH), MALFORMED)
for name, value in [
    ("X-Upper", "1"), ("x y", "1"), ("x:y", "1"), ("", "1"), ("x\n", "1"), ("x\0", "1"), ("x\x7f", "1"), ("\xe9", "1"),
    ("x", "a\rb"), ("x", "a\nb"), ("x", "a\r\ny: 2"), ("x", "a\0b"),
]:
    case("8.2.1", f"the field {name!r}: {value!r}", get(path="/refused", more=[(name, value)]), MALFORMED, PROTOCOL, BAD_REQUEST)
for value in [" 1", "1 ", "\t1", "1\t"]:
    case("8.2.1", f"the value {value!r}", get(path="/refused", more=[("x", value)]), MALFORMED, BAD_REQUEST)
for field in [
    ("connection", "close"), ("keep-alive", "timeout=1"), ("proxy-connection", "close"),
    ("transfer-encoding", "chunked"), ("upgrade", "websocket"), ("te", "gzip"), ("te", "trailers, gzip"),
]:
    case("8.2.2", "{}: {}".format(*field), get(path="/refused", more=[field]), MALFORMED)
case("8.2.2", "te: trailers", get(more=[("te", "trailers")]), OK)


def without(name):
    return headers(1, [field for field in head("/refused") if field[0] != name])


for name in (":method", ":scheme", ":path"):
    case("8.3.1", f"no {name}", without(name), MALFORMED)
for name in NAMES:
    case("8.3.1", f"{name} twice", headers(1, head("/refused") + [(name, NAMES[name])]), MALFORMED)
for field in [(":what", "1"), (":status", "200"), (":", "1")]:
    case("8.3", "{}".format(field[0]), headers(1, head("/refused") + [field]), MALFORMED, PROTOCOL)
case("8.3", "pseudo-fields after others", headers(1, head("/refused")[:3] + [("x", "1"), (":path", "/refused")]), MALFORMED)
case("8.3.1", "an empty :path", headers(1, head("") + [("x", "/refused")]), MALFORMED, BAD_REQUEST)
for path in ["refused", "*", "http://test/refused", "/refused a", "/refused\r\nx: 1", "/refused\0"]:
    case("8.3.1", f":path {path!r}", headers(1, head(path) + [("x", "/refused")]), MALFORMED, BAD_REQUEST)
for method in ["", "G T", "GET\r\n", "G\0T"]:
    case("8.3.1", f":method {method!r}", headers(1, head("/refused", method)), MALFORMED)
# A fragment never comes to the proxy: the http crate cuts it off.
case("8.3.1", ":path with a fragment", get(path="/#refused"), MALFORMED, BAD_REQUEST, OK)
case("8.3.1", ":scheme 'ht tp'", headers(1, head("/refused", scheme="ht tp")), MALFORMED, BAD_REQUEST)
# Nobody goes by the client's word for the scheme.
for scheme in ["", "1http"]:
    case("8.3.1", f":scheme {scheme!r}", headers(1, head(scheme=scheme)), MALFORMED, BAD_REQUEST, OK)
for authority in ["", "a b", "user@test", "test:port", "test/path", "test\r\nx: 1"]:
    case("8.3.1", f":authority {authority!r}", headers(1, head("/refused", authority=authority)), MALFORMED, BAD_REQUEST)
case("8.3.1", "host and :authority that differ", get(path="/refused", more=[("host", "other")]), MALFORMED, BAD_REQUEST)
case("8.3.1", "host alone", headers(1, head()[:2] + [(":path", "/"), ("host", "test")]), OK)
case("8.3.1", "host twice", get(path="/refused", more=[("host", "test"), ("host", "test")]), MALFORMED, BAD_REQUEST)
case("8.5", "CONNECT", headers(1, [(":method", "CONNECT"), (":authority", "test:443")]), Answered(501), MALFORMED)
case("8.5", "CONNECT with :path", headers(1, head("/refused", "CONNECT")), MALFORMED, Answered(501), BAD_REQUEST)
case("8.5", "CONNECT without :authority", headers(1, [(":method", "CONNECT")]), MALFORMED, BAD_REQUEST, Answered(501))
case("8441, 4", ":protocol with GET", headers(1, head("/refused") + [(":protocol", "websocket")]), MALFORMED)
case("8441, 4", ":protocol without :path", headers(1, [(":method", "CONNECT"), (":scheme", "http"), (":authority", "test"), (":protocol", "websocket")]), MALFORMED, BAD_REQUEST)

# HPACK.

case("7541, 2.3.3", "an index that nothing has", block(REFUSED_HEAD + integer(70, 7, 0x80)), *COMPRESSION)
case("7541, 2.3.3", "a name's index that nothing has", block(REFUSED_HEAD + integer(70, 4) + text("1")), *COMPRESSION)
case("7541, 2.3.2", "a field that is remembered", lambda wire: remembered(wire), OK, stream=3)
case("7541, 4.2", "a table's size at the end of a block", block(REFUSED_HEAD + b"\x20"), *COMPRESSION)
case("7541, 4.2", "two sizes at the beginning", block(b"\x20\x3f\xe1\x1f" + literals(head())), OK)
case("7541, 4.3", "a field that was forgotten", b"".join([block(literals(head()) + b"\x40" + text("x") + text("1")), block(b"\x20" + REFUSED_HEAD + integer(62, 7, 0x80), stream=3)]), *COMPRESSION, stream=3)
case("7541, 5.1", "an integer without an end", block(REFUSED_HEAD + b"\xff" + b"\xff" * 20), *COMPRESSION)
case("7541, 5.1", "an integer that is cut short", block(REFUSED_HEAD + b"\xff\x80"), *COMPRESSION)
case("7541, 5.2", "a string that is cut short", block(REFUSED_HEAD + b"\0" + b"\5x"), *COMPRESSION)
case("7541, 5.2", "Huffman padding of more than 7 bits", block(REFUSED_HEAD + b"\0" + text("x") + b"\x82\x1f\xff"), *COMPRESSION)
case("7541, 5.2", "Huffman padding of zeros", block(REFUSED_HEAD + b"\0" + text("x") + b"\x81\x18"), *COMPRESSION)
case("7541, 5.2", "Huffman with EOS", block(REFUSED_HEAD + b"\0" + text("x") + b"\x84\xff\xff\xff\xff"), *COMPRESSION)
case("7541, 6.1", "index 0", block(REFUSED_HEAD + b"\x80"), *COMPRESSION)
case("7541, 6.2.3", "a field that is never remembered", block(literals(head()) + b"\x10" + text("x") + text("1")), OK)
case("7541, 6.3", "a table larger than is allowed", block(b"\x3f\xe2\x1f" + REFUSED_HEAD), *COMPRESSION)


def acknowledged(wire):
    wire.send(settings((3, 100)))
    seen = (read for read in wire.frames() if read.kind == SETTINGS and read.flags == ACK)
    # For those of the preface and for these.
    assert next(seen) and next(seen)
    wire.mark()


def data_of(wire, stream):
    return next(read for read in wire.frames() if read.kind == DATA and read.stream == stream)


def one_by_one(wire):
    wire.send(get())
    for room in (1, 3):
        assert len(data_of(wire, 1).payload) == room
        wire.send(frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\3"))
    wire.send(frame(WINDOW_UPDATE, 0, 1, b"\0\1\0\0"))
    wire.mark()


def window_opens(wire):
    wire.send(get())
    assert wire.outcome(1) == OK
    wire.send(settings((4, 4)))
    assert len(data_of(wire, 1).payload) == 4
    wire.send(settings((4, 65535)))
    wire.mark()


def window_below_zero(wire):
    wire.send(get())
    assert len(data_of(wire, 1).payload) == 3
    # Now it is at -2: of four more bytes there is room for two.
    wire.send(settings((4, 1)) + frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\4"))
    assert len(data_of(wire, 1).payload) == 2
    wire.send(settings((4, 65535)))
    wire.mark()


def remembered(wire):
    wire.send(block(literals(head()) + b"\x40" + text("x-kept") + text("value")))
    wire.send(block(literals(head()) + integer(62, 7, 0x80), stream=3))


def play(case, address, is_tls):
    """Why it is not as it should be, if it is not."""
    wire = Wire(address, is_tls, case.begin)
    try:
        ignored = Ignored() in case.wanted
        if callable(case.send):
            case.send(wire)
        else:
            wire.send(case.send)
            if ignored or all(isinstance(wanted, Closed) for wanted in case.wanted):
                wire.mark()
                ignored = True
        outcome = wire.outcome(case.stream, until_mark=ignored)
        if outcome not in case.wanted:
            return f"{outcome}"
        if isinstance(outcome, Closed):
            return None if all(False for _ in wire.frames()) else "more after its end"
        if not case.goes_on:
            return None
        wire.send(get(999))
        after = wire.outcome(999)
        return None if after == OK else f"afterwards {after}"
    except (AssertionError, StopIteration) as error:
        return repr(error)
    finally:
        wire.close()


def main(address, kind):
    failed = 0
    for case in CASES:
        why = play(case, address, kind == "tls")
        if why is not None:
            failed += 1
            sent = case.send.hex() if isinstance(case.send, bytes) else ""
            wanted = " or ".join(map(str, case.wanted))
            print(f"RFC {case.section}, {case.what}: {why}, wanted {wanted}; sent {sent[:2000]}")
    wire = Wire(address, kind == "tls")
    wire.send(get(path="/refused-so-far"))
    assert wire.outcome(1) == OK
    went_on = wire.body(1)
    if went_on:
        failed += 1
        print(f"went on to the origin: {went_on}")
    print(f"{len(CASES)} cases over {kind}, {failed} failed")
    return failed == 0


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1], sys.argv[2]) else 1)
