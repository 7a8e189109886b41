"""From what the rounds of connections.py measured to medians, verdicts and a table."""

import statistics
from dataclasses import asdict

import report
from cases import CASES, PROXIES


def summarize(rounds, judge):
    """Medians by case, proxy and name, and whether Lockgate meets the goals."""
    summary = {}
    for name, by_proxy in rounds.items():
        case = CASES[name]
        rows = {proxy: _medians(values) for proxy, values in by_proxy.items() if any(values)}
        compared = _compared(by_proxy, case.goal) if judge and case.goal else None
        summary[name] = {
            "title": case.title,
            "unit": case.unit,
            "proxies": rows,
            "compared": None if compared is None else _round(compared),
            "goal": case.goal and asdict(case.goal),
            "met": None if compared is None else compared <= case.goal.most,
        }
    return summary


def _medians(values):
    good = [value for value in values if value]
    row = {name: _round(statistics.median(value[name] for value in good)) for name in good[0]}
    row["rounds"] = [_round(value["value"]) for value in good]
    return row


def _compared(by_proxy, goal):
    """What the goal is about: Lockgate's value, or its ratio to the peer's of the
    same round; of all rounds the median."""
    values = by_proxy.get("Lockgate", [])
    if not goal.peer:
        good = [value["value"] for value in values if value]
    else:
        pairs = zip(values, by_proxy.get(goal.peer, []))
        good = [one["value"] / other["value"] for one, other in pairs if one and other and other["value"]]
    return statistics.median(good) if good else None


def _round(number):
    """Three digits at least."""
    return round(number) if abs(number) >= 1000 else float(f"{number:.3g}")


def show(result):
    """The tables in Markdown: medians, and the lowest and the highest value."""
    lines = report.heading(result)
    lines += ["", f"| | | {' | '.join(PROXIES)} | compared | goal | |", "|---" * (len(PROXIES) + 5) + "|"]
    for name, row in result["cases"].items():
        values = " | ".join(_value(row["proxies"].get(proxy)) for proxy in PROXIES)
        compared, goal, verdict = _verdict(CASES[name].goal, row)
        lines.append(f"| {row['title']} | {row['unit']} | {values} | {compared} | {goal} | {verdict} |")
    lines += _show_p99(result)
    return "\n".join(lines)


def _value(row):
    if not row:
        return "-"
    lowest, highest = min(row["rounds"]), max(row["rounds"])
    spread = "" if lowest == highest else f" ({lowest:g} - {highest:g})"
    return f"{row['value']:g}{spread}"


def _verdict(goal, row):
    if not goal:
        return "-", "works", "met" if row["proxies"].get("Lockgate") else "-"
    by = f" × {goal.peer}" if goal.peer else ""
    compared = report.cell(row["compared"])
    verdict = {True: "met", False: "missed", None: "-"}[row["met"]]
    return f"{compared}{by if row['compared'] is not None else ''}", f"≤ {goal.most:g}{by}", verdict


def _show_p99(result):
    """What the difference is made of, and what it would be without the proxy."""
    rows = result["cases"].get("p99", {}).get("proxies")
    if not rows:
        return []
    rate = result["options"]["rate"]
    lines = ["", f"| p99 of {rate}/s, ms | quiet | beside handshakes | meanwhile past the proxy | handshakes/s |"]
    lines.append("|---|---|---|---|---|")
    for proxy, row in rows.items():
        columns = " | ".join(str(row[name]) for name in ("quiet", "busy", "direct", "handshakes"))
        lines.append(f"| {proxy} | {columns} |")
    return lines
