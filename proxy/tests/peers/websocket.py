"""WebSocket peers: a server that echoes, and a client that checks what comes back.

    websocket.py serve
    websocket.py talk ADDRESS
"""

import asyncio
import os
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

LARGEST = 4 << 20


async def echo(connection):
    try:
        async for message in connection:
            await connection.send(message)
    finally:
        print("closed", connection.close_code, flush=True)


async def served():
    async with serve(echo, "127.0.0.1", 0, subprotocols=["echo"], max_size=LARGEST) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        # Ends with who started it.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def talk(address):
    url = f"ws://{address}/chat"
    async with connect(url, subprotocols=["echo"], max_size=LARGEST) as connection:
        assert connection.subprotocol == "echo", connection.subprotocol
        assert connection.response.headers["upgrade"] == "websocket"
        for number in range(1000):
            await connection.send(f"message {number}")
            assert await connection.recv() == f"message {number}"
        whole = os.urandom(1 << 20)
        await connection.send(whole)
        assert await connection.recv() == whole
        # In pieces, which compression makes of other lengths.
        await connection.send("piece" for _ in range(1000))
        assert await connection.recv() == "piece" * 1000
        await (await connection.ping())
        # Many are on their way at once.
        messages = [os.urandom(10_000) for _ in range(500)]

        async def send():
            for message in messages:
                await connection.send(message)

        sending = asyncio.create_task(send())
        for message in messages:
            assert await connection.recv() == message
        await sending
        await connection.close(code=4000)


if sys.argv[1] == "serve":
    asyncio.run(served())
else:
    asyncio.run(talk(sys.argv[2]))
