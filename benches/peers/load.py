"""The load: closed loop by wrk and h2load, open loop and idle connections by ourselves."""

import os
import re
import socket
import ssl
import subprocess
import time

import echo
from tools import HERE

# Sent with every request, whether a filter looks at them or not.
HEADERS = {"x-bench": "hello", "x-api-key": "peer-key"}

# Of the body of a request that has one.
UPLOAD_BYTES = 16 << 10

# As in client.cnf.
H2LOAD_TLS = ["--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519"]
H2LOAD_SAYS = ["TLS Protocol: TLSv1.3", "Cipher: TLS_AES_128_GCM_SHA256", "Server Temp Key: X25519"]


def request(path="/", upload=False):
    fields = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    if not upload:
        return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode()
    fields += f"Content-Length: {UPLOAD_BYTES}\r\n"
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode() + bytes(UPLOAD_BYTES)


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


def connect(port, tls=None, source="127.0.0.1", timeout=5.0, session=None):
    connection = socket.create_connection(("127.0.0.1", port), timeout, (source, 0))
    # A request may follow the end of a handshake at once.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        connection = tls.wrap_socket(connection, server_hostname="localhost", session=session)
    return connection


def client_tls(*protocols):
    """TLS 1.3 with whoever answers, as one of these protocols."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    tls.set_alpn_protocols(protocols)
    return tls


def ask(port, path="/", timeout=5.0, tls=None, upload=False):
    """One request on a connection of its own."""
    with connect(port, tls, timeout=timeout) as connection:
        connection.sendall(request(path, upload))
        return read_answer(connection)


def ask_echo(port, timeout=5.0):
    """The same of bytes that come back; status 200 if they do."""
    with connect(port, timeout=timeout) as connection:
        connection.sendall(echo.MESSAGE)
        received = b""
        while len(received) < len(echo.MESSAGE):
            received += _some(connection)
    return 200 if received == echo.MESSAGE else None, "", received


def wait_for(port, process, ask=ask, patience=30.0):
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


def wrk(core, port, seconds, connections=64, scheme="http", more=()):
    """How many requests a closed loop makes in that time."""
    argv = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    argv += [*_fields(), *more, f"{scheme}://127.0.0.1:{port}/"]
    out = _output(argv, seconds)
    errors = re.search(r"(Non-2xx.*|Socket errors.*)", out)
    if errors:
        raise RuntimeError(f"wrk: {errors.group(1)}")
    return int(re.search(r"(\d+) requests in", out).group(1))


def handshakes(core, port, seconds):
    """How many requests, each on a TLS connection of its own, a closed loop makes."""
    # h2load 1.52 does not end such a loop at its time.
    return wrk(core, port, max(1, seconds), 16, "https", ["-H", "Connection: close"])


def h2load(core, url, seconds, few, *more):
    """How many requests a closed loop makes, and how many bytes of bodies it gets;
    a few requests where there is no time."""
    amount = ["-D", f"{seconds}s"] if seconds else ["-n", str(few)]
    argv = ["taskset", "-c", str(core), "h2load", "-t1", *amount, *H2LOAD_TLS, *_fields(), *more, url]
    out = _output(argv, seconds)
    expected = ["Application protocol: " + ("http/1.1" if "--h1" in more else "h2")]
    _all_good(out, expected + (H2LOAD_SAYS if url.startswith("https") else []))
    return _number(r"(\d+) succeeded", out), _number(r"headers \(.*\((\d+)\) data", out)


def start_handshakes(core, port, rate, count):
    """So many TLS connections with one request each, at a fixed rate: as open_loop,
    whether those before them were answered or not.

    Whatever else the core has to do goes first, so that it is the proxy alone that
    the exchanges beside them can be held up by.
    """
    argv = ["chrt", "--idle", "0", "taskset", "-c", str(core), "h2load", "-t1", "--h1"]
    pace = [f"-r{max(1, round(rate / 1000))}", f"--rate-period={max(1, round(1000 / rate))}ms"]
    argv += [f"-n{count}", f"-c{count}", *pace, *H2LOAD_TLS, *_fields()]
    return subprocess.Popen(
        [*argv, f"https://127.0.0.1:{port}/"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish_handshakes(process, patience):
    """How many there were in a second."""
    try:
        out, _ = process.communicate(timeout=patience)
    finally:
        process.kill()
    _all_good(out, H2LOAD_SAYS)
    return float(re.search(r"([\d.]+) req/s", out).group(1))


def _all_good(out, expected):
    """Every answer that h2load got had status 200, over what was asked for."""
    for line in ["0 failed, 0 errored, 0 timeout", "0 3xx, 0 4xx, 0 5xx", *expected]:
        if line not in out:
            raise RuntimeError(f"h2load does not say `{line}`:\n{out[-2000:]}")
    if not _number(r"(\d+) succeeded", out):
        raise RuntimeError("h2load had no answer")


def _number(pattern, out):
    return int(re.search(pattern, out).group(1))


def _fields():
    return [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]


def _output(argv, seconds):
    """What a load says that is to end after so many seconds."""
    environment = {**os.environ, "OPENSSL_CONF": str(HERE / "client.cnf")}
    done = subprocess.run(
        argv, env=environment, capture_output=True, text=True, check=True, timeout=seconds + 60
    )
    return done.stdout


def idle_connections(port, count, tls=None, sources=("127.0.0.1",)):
    """Connections that have had one answer and wait for the next request."""
    connections = []
    for number in range(count):
        connections.append(connect(port, tls, sources[number % len(sources)]))
        ask_again(connections[-1])
    return connections


def ask_again(connection):
    connection.sendall(request())
    status, _, body = read_answer(connection)
    if status != 200 or len(body) != 1024:
        raise RuntimeError(f"answered {status} with {len(body)} bytes")


def open_loop(port, rate, seconds, connections=16):
    """Latencies in microseconds at a fixed rate.

    A request is due at its time whether the one before it was answered or not,
    and its latency counts from then: whoever stalls pays for all who wait.
    """
    pool = [connect(port) for _ in range(connections)]
    for connection in pool:
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
