"""The load: closed loop by wrk, open loop and idle connections by ourselves."""

import re
import socket
import subprocess
import time

# Sent with every request, whether a filter looks at them or not.
HEADERS = {"x-bench": "hello", "x-api-key": "peer-key"}


def request(path="/"):
    fields = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode()


def read_answer(connection):
    """One answer with a Content-Length: status, head in lower case, body."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(connection)
    head, body = received.split(b"\r\n\r\n", 1)
    head = head.decode("latin-1").lower()
    length = int(re.search(r"\r\ncontent-length: *(\d+)", head).group(1))
    while len(body) < length:
        body += _some(connection)
    return int(head.split(" ", 2)[1]), head, body


def _some(connection):
    chunk = connection.recv(65536)
    if not chunk:
        raise ConnectionError("closed in the middle of an answer")
    return chunk


def ask(port, path="/", timeout=5.0):
    """One request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(request(path))
        return read_answer(connection)


def wait_for(port, process, patience=30.0):
    """Seconds from the start of the process to its first good answer."""
    while True:
        try:
            if ask(port, timeout=1.0)[0] == 200:
                return time.perf_counter() - process.started
        except (OSError, AttributeError):
            pass
        if not process.alive():
            raise RuntimeError("it ended at once")
        if time.perf_counter() - process.started > patience:
            raise RuntimeError("it does not answer")
        time.sleep(0.0005)


def wrk(core, port, seconds, connections=64):
    """How many requests a closed loop makes in that time."""
    argv = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    for name, value in HEADERS.items():
        argv += ["-H", f"{name}: {value}"]
    argv.append(f"http://127.0.0.1:{port}/")
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    errors = re.search(r"(Non-2xx.*|Socket errors.*)", out)
    if errors:
        raise RuntimeError(f"wrk: {errors.group(1)}")
    return int(re.search(r"(\d+) requests in", out).group(1))


def idle_connections(port, count):
    """Connections that have had one answer and wait for the next request."""
    connections = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), 5)
        connection.sendall(request())
        connections.append(connection)
        read_answer(connection)
    return connections


def open_loop(port, rate, seconds, connections=16):
    """Latencies in microseconds at a fixed rate.

    A request is due at its time whether the one before it was answered or not,
    and its latency counts from then: whoever stalls pays for all who wait.
    """
    pool = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(connections)]
    for connection in pool:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request())
        read_answer(connection)
    message, latencies = request(), []
    interval = 1.0 / rate
    due = time.perf_counter() + 0.1
    for turn in range(int(rate * seconds)):
        # Sleep most of the time and spin the rest: sleeping alone is late.
        while (left := due - time.perf_counter()) > 0:
            if left > 0.0003:
                time.sleep(left - 0.0002)
        connection = pool[turn % connections]
        connection.sendall(message)
        read_answer(connection)
        latencies.append((time.perf_counter() - due) * 1e6)
        due += interval
    for connection in pool:
        connection.close()
    return sorted(latencies)
