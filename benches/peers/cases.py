"""What connections.py measures, and the goals.

A measure has a bench, the process of a proxy that was just started, and its place;
it checks first that the proxy does what the case is about, and returns numbers by
name, of which `value` is the one that is compared.
"""

from dataclasses import dataclass
from typing import Callable, Optional

import echo
import load
from bench import expect

PROXIES = ("nginx", "HAProxy", "Envoy", "Lockgate")
# So many connections, so that every proxy finds several that are ready at once.
BUSY = 64
# Ports of one address would run out, and one client may not have all connections.
SOURCES = [f"127.0.0.{number}" for number in range(1, 5)]


@dataclass(frozen=True)
class Goal:
    """At most so much, or so many times what the peer has."""

    most: float
    peer: Optional[str] = None


@dataclass(frozen=True)
class Case:
    title: str
    unit: str
    # Of `http`, over TLS too, `websocket` or `tcp`.
    kind: str
    measure: Callable
    # None where it is enough that it works.
    goal: Optional[Goal]
    proxies: tuple = PROXIES


def cpu(check, work, per=1e6):
    """CPU time of the proxy for each unit of the work that is done in some seconds,
    which are none where it need only work: then a little is done all the same."""

    def measure(bench, process, place):
        check(place)
        if bench.options.seconds:
            # Connections, caches and branch predictors first.
            work(bench, place, 1)
        before = process.cpu_seconds()
        count = work(bench, place, bench.options.seconds)
        return {"value": (process.cpu_seconds() - before) / count * per}

    return measure


def check_http(place):
    """Plain and over TLS, small and large, HTTP/2 for who offers it."""
    tls = load.client_tls("http/1.1")
    for path, length in (("/", 1 << 10), ("/body", 1 << 20)):
        for port, context in ((place.port, None), (place.tls_port, tls)):
            status, _, body = load.ask(port, path, tls=context)
            expect(status == 200 and len(body) == length, f"{path} answered {status} with {len(body)} bytes")
    with load.connect(place.tls_port, load.client_tls("h2", "http/1.1")) as connection:
        expect(connection.selected_alpn_protocol() == "h2", "it does not choose HTTP/2")
    _check_full_handshakes(place, tls)


def _check_full_handshakes(place, tls):
    with load.connect(place.tls_port, tls) as connection:
        expect(connection.version() == "TLSv1.3", f"it speaks {connection.version()}")
        # Tickets would have come by the time of the answer.
        load.ask_again(connection)
        session = connection.session
    with load.connect(place.tls_port, tls, session=session) as connection:
        load.ask_again(connection)
        expect(not connection.session_reused, "it resumes sessions")


def check_tcp(place):
    expect(echo.messages(place.port, 1, 0) == 1, "no message came back")
    echo.check_bulk(place.port)


def check_websocket(place):
    expect(echo.frames(place.port, 1, 0) == 1, "no message came back")


def h2(bench, place, seconds):
    url = f"https://127.0.0.1:{place.tls_port}/"
    return load.h2load(bench.load_core, url, seconds, 256, "-c16", "-m16")[0]


def handshakes(bench, place, seconds):
    return load.handshakes(bench.load_core, place.tls_port, seconds)


def bodies(bench, place, seconds):
    return _gigabytes(bench, f"http://127.0.0.1:{place.port}/body", seconds)


def bodies_over_tls(bench, place, seconds):
    return _gigabytes(bench, f"https://127.0.0.1:{place.tls_port}/body", seconds)


def _gigabytes(bench, url, seconds):
    """Of whole answers, and of those that the end cuts off."""
    return load.h2load(bench.load_core, url, seconds, 32, "-c16", "--h1")[1] / 1e9


def messages(bench, place, seconds):
    return echo.messages(place.port, BUSY, seconds)


def bulk(bench, place, seconds):
    return echo.bulk(place.port, 4, seconds) / 1e9


def frames(bench, place, seconds):
    return echo.frames(place.port, BUSY, seconds)


def idle(bench, process, place):
    return {"value": _kept(bench, bench.options.idle, process, place.port)}


def idle_over_tls(bench, process, place):
    tls = load.client_tls("http/1.1")
    return {"value": _kept(bench, bench.options.idle, process, place.tls_port, tls)}


def held(bench, process, place):
    """All are answered once, and then, while all are open, all once more."""
    return {"value": _kept(bench, bench.options.held, process, place.port), "connections": bench.options.held}


def _kept(bench, count, process, port, tls=None):
    """KiB of resident memory for each of so many connections that were used once."""
    patience = 3 if bench.options.seconds else 0.2
    before = process.settled_bytes(patience)
    connections = load.idle_connections(port, count, tls, SOURCES)
    kept = process.settled_bytes(patience) - before
    for connection in connections:
        load.ask_again(connection)
        connection.close()
    return kept / count / 1024


def beside_handshakes(bench, process, place):
    """By how many milliseconds handshakes move the p99 of plain requests.

    The core of the load is busier then, too: `direct` is the p99 of requests that
    go to the origin and past the proxy meanwhile.
    """
    check_http(place)
    quiet = _p99(bench, place.port)
    busy, rate = _p99_beside(bench, place.port, place)
    direct, _ = _p99_beside(bench, place.origin, place)
    return {"value": busy - quiet, "quiet": quiet, "busy": busy, "direct": direct, "handshakes": rate}


def _p99_beside(bench, port, place):
    options = bench.options
    # A second more, so that they last to the end.
    count = round(options.handshakes * (_open_seconds(bench) + 1))
    making = load.start_handshakes(bench.load_core, place.tls_port, options.handshakes, count)
    try:
        return _p99(bench, port), load.finish_handshakes(making, 60 + count / options.handshakes)
    finally:
        making.kill()


def _p99(bench, port):
    latencies = load.open_loop(port, bench.options.rate, _open_seconds(bench))
    return latencies[int(len(latencies) * 0.99)] / 1e3


def _open_seconds(bench):
    return bench.options.seconds * 2 or 0.2


CASES = {
    "h2": Case("HTTP/2 over TLS, 16 × 16", "µs a request", "http", cpu(check_http, h2), Goal(1.15, "nginx")),
    "handshake": Case(
        "TLS handshake and a request", "µs", "http", cpu(check_http, handshakes), Goal(1.0, "nginx")
    ),
    "body": Case("bodies of 1 MiB", "ms a GB", "http", cpu(check_http, bodies, 1e3), Goal(1.0, "Envoy")),
    "body-tls": Case(
        "bodies of 1 MiB over TLS", "ms a GB", "http", cpu(check_http, bodies_over_tls, 1e3), Goal(1.0, "Envoy")
    ),
    "tcp": Case("TCP, 1 KiB there and back", "µs", "tcp", cpu(check_tcp, messages), Goal(1.2, "HAProxy")),
    "tcp-bulk": Case("TCP, bulk", "ms a GB", "tcp", cpu(check_tcp, bulk, 1e3), Goal(1.2, "HAProxy")),
    "websocket": Case(
        "WebSocket, 1 KiB there and back", "µs", "websocket", cpu(check_websocket, frames), Goal(1.3, "HAProxy")
    ),
    "idle": Case("idle connection", "KiB", "http", idle, Goal(8)),
    "idle-tls": Case("idle connection over TLS", "KiB", "http", idle_over_tls, Goal(20)),
    "held": Case("many held", "KiB each", "http", held, None, ("Lockgate",)),
    "p99": Case(
        "p99 beside handshakes", "ms more", "http", beside_handshakes, Goal(2), ("nginx", "Lockgate")
    ),
}
