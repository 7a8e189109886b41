#!/usr/bin/env python3
"""An origin of HTTP/1.1 that does on a signal what origins do on bad days.

Run with a port and the milliseconds that an answer takes in the mean, spread from half
of that to one and a half. From SIGUSR1 on it is twenty times as slow, from SIGUSR2 on it
closes all connections and refuses new ones, from SIGHUP on it resets each connection that
a request comes on, and from SIGCONT on it is well again, which it is at first. What asks
for /check, as health checks do, is answered at once.
"""

import asyncio
import random
import signal
import socket
import struct
import sys

MOODS = {signal.SIGUSR1: "slow", signal.SIGUSR2: "refusing", signal.SIGHUP: "resetting", signal.SIGCONT: "well"}
SLOWER = 20
BODY = b"x" * 64
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
# Closed so, a connection is reset.
NO_LINGER = struct.pack("ii", 1, 0)


class Origin:
    def __init__(self, port, mean):
        self.port, self.mean, self.mood = port, mean, "well"
        self.connections = set()
        self.server = None

    async def serve(self):
        loop = asyncio.get_running_loop()
        for number, mood in MOODS.items():
            loop.add_signal_handler(number, lambda mood=mood: loop.create_task(self.turn(mood)))
        await self.listen()
        await loop.create_future()

    async def listen(self):
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Connection(self), "127.0.0.1", self.port, backlog=4096)

    async def turn(self, mood):
        before, self.mood = self.mood, mood
        if mood == "refusing" != before:
            self.server.close()
            for transport in list(self.connections):
                reset(transport)
        elif before == "refusing" != mood:
            await self.listen()

    def seconds(self):
        return self.mean * random.uniform(0.5, 1.5) * (SLOWER if self.mood == "slow" else 1)


class Connection(asyncio.Protocol):
    def __init__(self, origin):
        self.origin = origin

    def connection_made(self, transport):
        self.transport, self.received = transport, b""
        self.origin.connections.add(transport)

    def connection_lost(self, _):
        self.origin.connections.discard(self.transport)

    def data_received(self, data):
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, self.received = self.received.split(b"\r\n\r\n", 1)
            self.ask(head)

    def ask(self, head):
        if self.origin.mood == "resetting":
            reset(self.transport)
        elif b" /check " in head.split(b"\r\n", 1)[0]:
            self.transport.write(ANSWER)
        else:
            asyncio.get_running_loop().call_later(self.origin.seconds(), self.answer)

    def answer(self):
        if not self.transport.is_closing():
            self.transport.write(ANSWER)


def reset(transport):
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    transport.abort()


if __name__ == "__main__":
    asyncio.run(Origin(int(sys.argv[1]), int(sys.argv[2]) / 1000).serve())
