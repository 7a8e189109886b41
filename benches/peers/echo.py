#!/usr/bin/env python3
"""Messages there and back over TCP and WebSocket: clients, and the origin that echoes.

Both ends are loops over epoll with little to do for each message, so that many
connections are busy at once and no proxy sleeps between two messages. Run as a
program with a port, this is the origin: what a connection begins with tells it
what it is for.
"""

import base64
import contextlib
import hashlib
import re
import select
import socket
import sys
import time

MESSAGE = bytes(range(256)) * 4
# The same as frames of WebSocket: clients mask theirs, here with zeros.
CLIENT_FRAME = b"\x82\xfe\x04\x00" + bytes(4) + MESSAGE
SERVER_FRAME = b"\x82\x7e\x04\x00" + MESSAGE
# Asks the origin for BLOCK again and again, without end.
SOURCE = b"source\n"
BLOCK = bytes(range(256)) * 1024

KEY = base64.b64encode(bytes(range(16))).decode()


class Echo:
    """One end: for each message that it gets it sends another."""

    def __init__(self, connection, gets, sends):
        self.connection, self.gets, self.sends = connection, gets, sends
        self.received = b""

    def turn(self):
        """How many messages came and were answered."""
        count = self.receive()
        for _ in range(count):
            self.connection.sendall(self.sends)
        return count

    def receive(self):
        """How many messages came."""
        data = self.connection.recv(65536)
        if data == self.gets and not self.received:
            return 1
        if not data:
            raise ConnectionError("closed between messages")
        return self.take(data)

    def take(self, data):
        """The same of bytes that need not be one whole message."""
        self.received += data
        count = 0
        while len(self.received) >= len(self.gets):
            if not self.received.startswith(self.gets):
                raise ConnectionError("another message came than was sent")
            self.received = self.received[len(self.gets) :]
            count += 1
        return count


def messages(port, connections, seconds):
    """How many messages came back in that time; all connections have one under way."""
    return _ping_pong([Echo(_connect(port), MESSAGE, MESSAGE) for _ in range(connections)], seconds)


def frames(port, connections, seconds):
    """The same over WebSocket."""
    return _ping_pong([Echo(_shake_hands(port), SERVER_FRAME, CLIENT_FRAME) for _ in range(connections)], seconds)


def _ping_pong(ends, seconds):
    epoll, by_number = _watch(end.connection for end in ends), {}
    for end in ends:
        by_number[end.connection.fileno()] = end
        end.connection.sendall(end.sends)
    count, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        for number in _ready(epoll):
            count += by_number[number].turn()
    # Those that are under way have cost something, too.
    waiting = set(by_number)
    while waiting:
        for number in _ready(epoll):
            if last := by_number[number].receive():
                count += last
                waiting.discard(number)
    for end in ends:
        end.connection.close()
    return count


def bulk(port, connections, seconds):
    """How many bytes the origin's endless BLOCKs were in that time."""
    pool = [_connect(port) for _ in range(connections)]
    by_number = {connection.fileno(): connection for connection in pool}
    epoll, buffer = _watch(pool), bytearray(1 << 20)
    for connection in pool:
        connection.sendall(SOURCE)
    count, until = 0, time.perf_counter() + seconds
    while not count or time.perf_counter() < until:
        for number in _ready(epoll):
            count += _received(by_number[number].recv_into(buffer))
    for connection in pool:
        connection.close()
    return count


def check_bulk(port):
    """The first MiB is what the origin sends."""
    received = b""
    with _connect(port) as connection:
        connection.sendall(SOURCE)
        while len(received) < 4 * len(BLOCK):
            chunk = connection.recv(65536)
            _received(len(chunk))
            received += chunk
    if received[: 4 * len(BLOCK)] != BLOCK * 4:
        raise RuntimeError("other bytes came than were sent")


def _connect(port):
    connection = socket.create_connection(("127.0.0.1", port), 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _shake_hands(port):
    connection = _connect(port)
    connection.sendall(
        f"GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1) or _received(0)
    if not head.startswith(b"HTTP/1.1 101") or _accept(KEY.encode()) not in head:
        raise RuntimeError(f"WebSocket was refused: {head.decode('latin-1')}")
    return connection


def _accept(key):
    """RFC 6455, 4.2.2: that the handshake was understood."""
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def _watch(connections):
    epoll = select.epoll()
    for connection in connections:
        # Who reads has been told that there is something; a timeout would ask again.
        connection.settimeout(None)
        epoll.register(connection.fileno(), select.EPOLLIN)
    return epoll


def _ready(epoll):
    events = epoll.poll(5)
    if not events:
        raise RuntimeError("no message came for five seconds")
    return [number for number, _ in events]


def _received(count):
    if not count:
        raise ConnectionError("closed while messages were under way")
    return count


class Accepted:
    """A connection at the origin, whose first bytes tell what it is for."""

    def __init__(self, connection, epoll):
        self.connection, self.epoll = connection, epoll
        self.head = b""
        self.left = memoryview(b"")
        self.turn = self._begin

    def _begin(self):
        data = self.connection.recv(65536)
        if not data:
            raise ConnectionError("closed at its beginning")
        self.head += data
        if SOURCE.startswith(self.head[: len(SOURCE)]):
            if len(self.head) == len(SOURCE):
                self.turn = self._send_block
                self.epoll.modify(self.connection.fileno(), select.EPOLLOUT)
        elif b"GET ".startswith(self.head[:4]):
            if b"\r\n\r\n" in self.head:
                self._answer()
        else:
            self._echo(MESSAGE, MESSAGE)

    def _answer(self):
        """WebSocket to who asks for it, and to others that the origin is there."""
        key = re.search(rb"\r\nsec-websocket-key: *(\S+)", self.head, re.IGNORECASE)
        if not key:
            self.head = b""
            return self.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: " + _accept(key.group(1)) + b"\r\n\r\n"
        )
        self.head = self.head.split(b"\r\n\r\n", 1)[1]
        self._echo(CLIENT_FRAME, SERVER_FRAME)

    def _echo(self, gets, sends):
        end = Echo(self.connection, gets, sends)
        self.turn = end.turn
        for _ in range(end.take(self.head)):
            self.connection.sendall(sends)

    def _send_block(self):
        self.left = self.left or memoryview(BLOCK)
        with contextlib.suppress(BlockingIOError):
            self.left = self.left[self.connection.send(self.left, socket.MSG_DONTWAIT) :]


def serve(port):
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    epoll, by_number = _watch([listener]), {}
    while True:
        for number, _ in epoll.poll():
            if number == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                epoll.register(connection.fileno(), select.EPOLLIN)
                by_number[connection.fileno()] = Accepted(connection, epoll)
                continue
            try:
                by_number[number].turn()
            except OSError:
                epoll.unregister(number)
                by_number.pop(number).connection.close()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
