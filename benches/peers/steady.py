"""A load that keeps coming: so many requests a second, whatever becomes of those before.

Each has a connection for itself while it is under way, and leaves it to a later one.
Time counts from when a request was due, so that who holds up the load pays for it.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Optional

import load

# A request without an answer by then has failed.
PATIENCE = 10.0


@dataclass
class Outcome:
    """Of one request: when it was due, in seconds from the first, and how it went."""

    due: float
    took: float
    # None where there was no answer.
    status: Optional[int]

    def is_good(self):
        return self.status == 200


class Steady:
    def __init__(self, port, rate, seconds, events=()):
        self.port, self.rate, self.seconds = port, rate, seconds
        # What is to happen meanwhile: at which second, and what to call.
        self.events = events
        self.idle, self.outcomes = [], []
        self.connects = 0
        self.message = load.request()

    def run(self):
        """All outcomes, in the order in which they were due."""
        asyncio.run(self._run())
        return sorted(self.outcomes, key=lambda outcome: outcome.due)

    async def _run(self):
        loop = asyncio.get_running_loop()
        self.start = loop.time() + 0.1
        happening = [loop.call_at(self.start + second, event) for second, event in self.events]
        requests = set()
        for number in range(int(self.rate * self.seconds)):
            due = self.start + number / self.rate
            if (left := due - loop.time()) > 0:
                await asyncio.sleep(left)
            request = loop.create_task(self._request(due))
            requests.add(request)
            request.add_done_callback(requests.discard)
        if requests:
            await asyncio.wait(requests)
        for event in happening:
            event.cancel()
        for connection in self.idle:
            connection.transport.abort()

    async def _request(self, due):
        loop = asyncio.get_running_loop()
        connection = status = None

        async def ask():
            nonlocal connection
            connection = await self._connection()
            return await connection.ask(self.message)

        try:
            status = await asyncio.wait_for(ask(), due + PATIENCE - loop.time())
        except (OSError, asyncio.TimeoutError):
            pass
        self.outcomes.append(Outcome(due - self.start, loop.time() - due, status))
        if connection and connection.is_reusable(status):
            self.idle.append(connection)
        elif connection:
            connection.transport.abort()

    async def _connection(self):
        while self.idle:
            connection = self.idle.pop()
            if not connection.transport.is_closing():
                return connection
        self.connects += 1
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", self.port)
        return connection


class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.received, self.answer = transport, b"", None

    async def ask(self, message):
        """The status of the answer, once it is there to its end."""
        self.received = b""
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(message)
        return await self.answer

    def is_reusable(self, status):
        return status is not None and not self.transport.is_closing() and b"connection: close" not in self.head

    def data_received(self, data):
        self.received += data
        if b"\r\n\r\n" not in self.received or not self.answer or self.answer.done():
            return
        head, body = self.received.split(b"\r\n\r\n", 1)
        self.head = head.lower()
        length = re.search(rb"\r\ncontent-length: *(\d+)", self.head)
        if length and len(body) >= int(length.group(1)):
            self.answer.set_result(int(head.split(b" ", 2)[1]))

    def connection_lost(self, error):
        if self.answer and not self.answer.done():
            self.answer.set_exception(error or ConnectionError("closed before an answer"))
