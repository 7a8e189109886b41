"""From measurements to a table for people and a file for programs."""

import json
import os
import platform
import statistics
import subprocess
from datetime import datetime, timezone

WORK_NAMES = {
    (0, "both"): "no filter",
    (1, "both"): "1 filter",
    (5, "both"): "5 filters",
    (1, "request"): "1 filter, request only",
    (5, "request"): "5 filters, request only",
    (4, "shipped"): "router, auth, mirror, fault",
    (0, "upload"): "uploads of 16 KiB, no filter",
    (1, "upload"): "uploads of 16 KiB, 1 filter collects them",
}


def work_name(work):
    return WORK_NAMES[(work.units, work.kind)]


def summarize(rounds):
    """Medians over the rounds, and the ratio to nginx of the same round."""
    base = rounds.get(("nginx", "no filter"), [])
    summary = {}
    for (proxy, work), values in rounds.items():
        ratios = [value / nginx for value, nginx in zip(values, base) if nginx and value]
        good = [value for value in values if value]
        summary[f"{proxy}, {work}"] = {
            "cpu_us_per_request": round(statistics.median(good), 2),
            "lowest": round(min(good), 2),
            "highest": round(max(good), 2),
            "ratio_to_nginx": round(statistics.median(ratios), 3) if ratios else None,
        }
    return summary


def derive(cpu):
    """The sums that the goals are stated in."""
    def of(name):
        return cpu.get(name, {}).get("cpu_us_per_request")

    def minus(one, other, parts=1):
        if of(one) is None or of(other) is None:
            return None
        return round((of(one) - of(other)) / parts, 2)

    def over(one, other):
        return round(one / other, 2) if one is not None and other else None

    none, one = (f"uploads of 16 KiB, {what}" for what in ("no filter", "1 filter collects them"))
    collecting = {name: minus(f"{name}, {one}", f"{name}, {none}") for name in ("Envoy", "Lockgate")}
    five = {name: minus(f"{name}, 5 filters", f"{name}, no filter") for name in ("nginx", "Envoy", "Lockgate")}
    return {
        "Lockgate: the first filter adds, µs": minus("Lockgate, 1 filter", "Lockgate, no filter"),
        "Lockgate: each further filter adds, µs": minus("Lockgate, 5 filters", "Lockgate, 1 filter", 4),
        "Lockgate: each further request-only filter adds, µs": minus(
            "Lockgate, 5 filters, request only", "Lockgate, 1 filter, request only", 4
        ),
        "Lockgate: the shipped chain adds, µs": minus(
            "Lockgate, router, auth, mirror, fault", "Lockgate, no filter"
        ),
        "five filters of Lockgate / five units of nginx's Lua": over(five["Lockgate"], five["nginx"]),
        "five filters of Lockgate / five of Envoy": over(five["Lockgate"], five["Envoy"]),
        "Lockgate: a filter that collects 16 KiB adds, µs": collecting["Lockgate"],
        "that / the same of Envoy": over(collecting["Lockgate"], collecting["Envoy"]),
    }


def machine():
    model = next(
        (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    return {
        "when": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
    }


def version(argv):
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True)
    line = (done.stdout or done.stderr).strip().splitlines()[0]
    return line.split("version: ")[-1]


def show(result):
    """The tables in Markdown."""
    lines = heading(result)
    if result["cpu"]:
        lines += ["", "| CPU of the proxy | µs per request | from - to | / nginx |", "|---|---|---|---|"]
        for name, row in result["cpu"].items():
            spread = f"{row['lowest']} - {row['highest']}"
            lines.append(f"| {name} | {row['cpu_us_per_request']} | {spread} | {cell(row['ratio_to_nginx'])} |")
        lines += ["", "| | |", "|---|---|"]
        lines += [f"| {name} | {cell(value)} |" for name, value in result["derived"].items()]
    columns = {
        "resident_mib": "resident, MiB",
        "idle_kib_per_connection": "idle connection, KiB",
        "first_answer_ms": "first answer, ms",
        "p50_us": "p50, µs",
        "p99_us": "p99, µs",
        "added_p50_us": "added p50, µs",
    }
    lines += ["", f"| at rest, and {result['rate']}/s open loop | {' | '.join(columns.values())} |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for name, row in result["rest"].items():
        lines.append(f"| {name} | {' | '.join(cell(row.get(key)) for key in columns)} |")
    return "\n".join(lines)


def heading(result):
    """The machine, the versions, and what is missing."""
    about = result["machine"]
    lines = [f"{about['when']}, {about['cpu']}, {about['cores']} cores, Linux {about['kernel']}", ""]
    lines += [f"- {name}: {text}" for name, text in result["versions"].items()]
    lines += [f"- {name}: skipped ({reason})" for name, reason in result["skipped"].items()]
    return lines


def cell(value):
    return "-" if value is None else str(value)


def write(result, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
