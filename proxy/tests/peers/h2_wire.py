"""Connections of HTTP/2 whose frames nobody checks, and what came of a case."""

import socket
import ssl
import struct
from collections import namedtuple

import hpack

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = range(8)
WINDOW_UPDATE, CONTINUATION = 8, 9

END_STREAM = ACK = 1
END_HEADERS = 4
PADDED = 8
WITH_PRIORITY = 32

(
    NO_ERROR,
    PROTOCOL_ERROR,
    INTERNAL_ERROR,
    FLOW_CONTROL_ERROR,
    SETTINGS_TIMEOUT,
    STREAM_CLOSED,
    FRAME_SIZE_ERROR,
    REFUSED_STREAM,
    CANCEL,
    COMPRESSION_ERROR,
) = range(10)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MARK = b"the-mark"
# No case takes long; this is for one that never ends.
LIMIT = 20

Frame = namedtuple("Frame", "kind flags stream payload")

# What may come of a case. A stream's answer is its status.
Answered = namedtuple("Answered", "status")
Reset = namedtuple("Reset", "code")
Closed = namedtuple("Closed", "code")
Ignored = namedtuple("Ignored", "")


def frame(kind, flags, stream, payload=b""):
    head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
    return head + struct.pack(">I", stream) + payload


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def integer(number, bits, first=0):
    """RFC 7541, section 5.1."""
    most = (1 << bits) - 1
    if number < most:
        return bytes([first | number])
    encoded = bytearray([first | most])
    number -= most
    while number >= 128:
        encoded.append(128 | number & 127)
        number >>= 7
    return bytes([*encoded, number])


def text(value):
    value = value.encode("latin-1") if isinstance(value, str) else value
    return integer(len(value), 7) + value


def literals(fields):
    """Each written out, and remembered by nobody (RFC 7541, section 6.2.2)."""
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


def head(path="/", method="GET", scheme="http", authority="test"):
    return [
        (":method", method),
        (":scheme", scheme),
        (":authority", authority),
        (":path", path),
    ]


def headers(stream, fields, flags=END_HEADERS | END_STREAM):
    return frame(HEADERS, flags, stream, literals(fields))


class Wire:
    """One connection. It begins with the preface and empty settings, unless `begin`
    says otherwise."""

    def __init__(self, address, is_tls, begin=PREFACE + settings()):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if is_tls:
            context = ssl.create_default_context()
            # The certificate is made for a test, which is about something else.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket, server_hostname="test")
            assert self.socket.selected_alpn_protocol() == "h2"
        self.read_bytes = b""
        self.decoder = hpack.Decoder()
        # Of the last head that was read: its fields, and whether nothing follows it.
        self.fields = {}
        self.is_whole = False
        self.send(begin)

    def send(self, data):
        """The peer may have closed already: what it says about it is read then."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def end(self):
        self.socket.shutdown(socket.SHUT_WR)

    def mark(self):
        """What is answered next to it was not minded."""
        self.send(frame(PING, 0, 0, MARK))

    def take(self, count):
        while len(self.read_bytes) < count:
            try:
                more = self.socket.recv(65536)
            except TimeoutError:
                raise AssertionError("nothing came") from None
            except OSError:
                more = b""
            if not more:
                return None
            self.read_bytes += more
        taken, self.read_bytes = self.read_bytes[:count], self.read_bytes[count:]
        return taken

    def read(self):
        """The next frame; none where the connection is closed, or HTTP/1 is answered."""
        start = self.take(9)
        if start is None or start.startswith(b"HTTP/1"):
            return None
        payload = self.take(int.from_bytes(start[:3], "big"))
        if payload is None:
            return None
        if start[3] == HEADERS:
            # Whosever it is: the table is the connection's.
            self.fields = dict(self.decoder.decode(payload))
            self.is_whole = start[4] & END_STREAM != 0
        stream = int.from_bytes(start[5:9], "big") & 0x7FFFFFFF
        return Frame(start[3], start[4], stream, payload)

    def frames(self):
        while (read := self.read()) is not None:
            yield read

    def outcome(self, stream, until_mark=False):
        """What came of a stream, or of the connection."""
        for read in self.frames():
            if read.kind == GOAWAY:
                return Closed(int.from_bytes(read.payload[4:8], "big"))
            if read.kind == RST_STREAM and read.stream == stream:
                return Reset(int.from_bytes(read.payload, "big"))
            if read.kind == HEADERS and read.stream == stream and not until_mark:
                return Answered(int(self.fields[":status"]))
            if until_mark and read.kind == PING and read.payload == MARK:
                return Ignored()
        return Closed(None)

    def body(self, stream):
        """Of an answer whose head was read last."""
        body = b""
        if self.is_whole:
            return body
        for read in self.frames():
            assert read.stream in (0, stream), read
            assert read.kind != RST_STREAM, read
            if read.kind == DATA:
                body += read.payload
            if read.kind in (DATA, HEADERS) and read.flags & END_STREAM:
                return body
        raise AssertionError("the connection was closed within a body")

    def close(self):
        self.socket.close()
