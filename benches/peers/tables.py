"""From what balancing.py measured to tables, and whether the goals were met."""

import report

FAILURES = {
    "kill": "one killed (SIGKILL) for 4 s",
    "freeze": "one frozen (SIGSTOP) for 4 s",
    "flap": "one refuses and serves by turns, each second, for 8 s",
    "refuse": "all refuse for 5 s",
    "reset": "all reset for 5 s",
}
# What clients see of Lockgate, where one alone is broken.
SUCCESS = 0.999
SLOWER = 2
# A fifth more, and what was under way as it began.
CONNECTIONS = 1.25
BACK_S = 2


def show(result):
    """In Markdown."""
    lines = report.heading(result)
    lines += ["", *_latency(result), "", *_one(result), "", *_all(result)]
    if not result["options"]["smoke"]:
        lines += ["", *_goals(result)]
    return "\n".join(lines)


def _latency(result):
    columns = ["p50, healthy", "p99", "p50, one slow", "p99", "p99 / healthy", "success"]
    yield from _head(f"one slow × 20, {result['options']['rate']}/s", *columns)
    for name, row in result["latency"].items():
        if row:
            parts = (row["healthy"], row["slow"])
            times = [f"{part[key]} ms" for part in parts for key in ("p50_ms", "p99_ms")]
            yield _row(name, *times, f"{_slower(row):.1f}", _success(row))


def _one(result):
    yield from _head("", "", "requests", "failed", "success", "p99", "slowest")
    for name, proxy, row in _rows(result):
        if "success" in row:
            failed = round(row["requests"] * (1 - row["success"]))
            times = (f"{row['p99_ms']} ms", f"{row['most_ms']} ms")
            yield _row(FAILURES[name], proxy, row["requests"], failed, _success(row), *times)


def _all(result):
    columns = ["CPU before", "meanwhile", "connections for each request", "p99", "last failure after return"]
    yield from _head("", "", *columns)
    for name, proxy, row in _rows(result):
        if "connections" in row:
            cpu = (f"{row['cpu_ms']} ms", f"{row['cpu_ms_down']} ms")
            rest = (f"{_connections(row):.2f}", f"{row['p99_ms_down']} ms", f"{row['back_after_s']} s")
            yield _row(FAILURES[name], proxy, *cpu, *rest)


def _goals(result):
    """What Lockgate is to do."""
    yield from _head("goal for Lockgate", "found", "")
    for policy in ("least_request", "peak_ewma"):
        if row := result["latency"].get(f"Lockgate `{policy}`"):
            yield _goal(f"`{policy}`, one slow: p99 / healthy", _slower(row), SLOWER)
    for name, proxy, row in _rows(result):
        if proxy == "Lockgate" and "success" in row:
            found, most = (round(100 * (1 - share), 3) for share in (row["success"], SUCCESS))
            yield _goal(f"{FAILURES[name]}: percent failed", found, most)
        elif proxy == "Lockgate":
            yield _goal(f"{FAILURES[name]}: connections for each request", _connections(row), CONNECTIONS)
            yield _goal(f"{FAILURES[name]}: CPU / before", row["cpu_ms_down"] / row["cpu_ms"], 1)
            yield _goal(f"{FAILURES[name]}: last failure after return, s", row["back_after_s"], BACK_S)


def _goal(name, found, most):
    return _row(name, f"{found:.3g}, wanted ≤ {most:g}", "met" if found <= most else "missed")


def _rows(result):
    for name, by_proxy in result["failures"].items():
        yield from ((name, proxy, row) for proxy, row in by_proxy.items() if row)


def _slower(row):
    return row["slow"]["p99_ms"] / row["healthy"]["p99_ms"]


def _connections(row):
    return row["connections"] / row["requests"]


def _success(row):
    return f"{row['success']:.2%}"


def _head(*columns):
    return _row(*columns), "|---" * len(columns) + "|"


def _row(*cells):
    return f"| {' | '.join(map(str, cells))} |"
