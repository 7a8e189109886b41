#!/usr/bin/env python3
"""Lockgate and its peers on this machine, all doing the same, in one run.

Prints what a request costs each proxy in CPU time with 0, 1 and 5 filters, what one
with a body that a filter collects costs, what an idle connection keeps, how soon the
first answer comes, and the latency at a fixed rate. The proxy has one core to itself;
load and origin share another. Rounds are interleaved, so that a machine that changes
its mind does so to all.

Needs Linux, two cores, Python 3.9, wrk and nginx; peers that are missing are
installed where that is possible (apt-get as root, pip into target/), and said
to be skipped where it is not.
"""

import argparse
import statistics
import sys
import traceback
from pathlib import Path

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

import bench
import load
import machine
import report
import tools
from bench import expect, say


def main():
    options = read_options()
    machine.raise_file_limit()
    try:
        requests = Requests(options)
        result = requests.run()
    except tools.Missing as missing:
        sys.exit(f"cannot do without: {missing}")
    requests.finish(report.show(result), result)


def read_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    bench.add_options(parser)
    parser.add_argument("--rate", type=int, default=1000, help="requests a second, open loop")
    parser.add_argument("--starts", type=int, default=5, help="starts that are timed")
    parser.add_argument("--json", type=Path, default=tools.TARGET / "result.json")
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.seconds, options.idle, options.starts = 1, 1, 200, 1
    return options


class Requests(bench.Bench):
    programs = ("wrk",)

    def run(self):
        about = report.machine()
        with self.on_load_core(), self.origin() as self.origin_port:
            subjects = self._check_all()
            rest = self._measure_rest(subjects)
            cpu = report.summarize(self._measure_cpu(subjects))
        return {
            "machine": about,
            "versions": self.versions(),
            "skipped": self.skipped,
            "cpu": cpu,
            "derived": report.derive(cpu),
            "rate": self.options.rate,
            "rest": rest,
        }

    def _check_all(self):
        """Which proxies do under which work what all are to do."""
        subjects = []
        for proxy in self.proxies:
            for work in proxy.works:
                say(f"check {proxy.name}, {report.work_name(work)}")
                try:
                    self._check(proxy, work)
                    subjects.append((proxy, work))
                except tools.Missing as missing:
                    self.skipped[f"{proxy.name}, {report.work_name(work)}"] = str(missing)
                except Exception as error:
                    traceback.print_exc()
                    self.failures.append(f"{proxy.name}, {report.work_name(work)}: {error}")
        return subjects

    def _check(self, proxy, work):
        with self.running(proxy, work, self.origin_port) as (_, place, _):
            status, head, body = load.ask(place.port)
            expect(status == 200 and len(body) == 1024, f"answered {status} with {len(body)} bytes")
            _, _, seen = load.ask(place.port, "/check", upload=work.kind == "upload")
            forwarded, request_id, *stamps = seen.decode().split("|")
            # Envoy says its own address for a client on the loopback interface.
            expect(forwarded, "there is no X-Forwarded-For")
            expect(len(request_id) >= 16, f"the request id is `{request_id}`")
            if work.kind != "shipped":
                request, response = work.stamped()
                wanted = ["hello" if number in request else "" for number in range(1, 6)]
                expect(stamps == wanted, f"the origin saw {stamps}")
                for number in range(1, 6):
                    stamped = f"\r\nx-stamp-{number}: 1" in head
                    expect(stamped == (number in response), f"stamp {number} of the answer")

    def _measure_cpu(self, subjects):
        """CPU microseconds per request, by proxy and work, one for each round."""
        rounds = {}
        for turn in range(self.options.rounds):
            for proxy, work in subjects:
                say(f"round {turn + 1}/{self.options.rounds}: {proxy.name}, {report.work_name(work)}")
                key = (proxy.name, report.work_name(work))
                rounds.setdefault(key, []).append(self._cpu_per_request(proxy, work))
        return rounds

    def _cpu_per_request(self, proxy, work):
        with self.running(proxy, work, self.origin_port) as (process, place, _):
            more = self._uploading() if work.kind == "upload" else ()
            # Connections, caches and branch predictors first.
            load.wrk(self.load_core, place.port, 1, more=more)
            before = process.cpu_seconds()
            requests = load.wrk(self.load_core, place.port, self.options.seconds, more=more)
            return (process.cpu_seconds() - before) / requests * 1e6

    def _uploading(self):
        """What makes wrk send bodies."""
        script = self.folder / "upload.lua"
        script.write_text(f'wrk.method = "POST"\nwrk.body = string.rep("x", {load.UPLOAD_BYTES})\n')
        return ["-s", str(script)]

    def _measure_rest(self, subjects):
        """Memory, start and latency: without filters, and of the shipped chain."""
        direct = self._latency(self.origin_port)
        rest = {"origin without a proxy": {"p50_us": direct[0], "p99_us": direct[1]}}
        for proxy, work in subjects:
            if (work.units == 0 and work.kind == "both") or work.kind == "shipped":
                name = f"{proxy.name}, {report.work_name(work)}"
                say(f"at rest: {name}")
                rest[name] = self._rest(proxy, work, direct[0])
        return rest

    def _rest(self, proxy, work, direct_p50):
        # The first start may compile; these are those after it.
        starts = []
        for _ in range(self.options.starts):
            with self.running(proxy, work, self.origin_port) as (_, _, first_answer):
                starts.append(first_answer * 1000)
        with self.running(proxy, work, self.origin_port) as (process, place, _):
            resident = process.settled_bytes()
            p50, p99 = self._latency(place.port)
            before = process.settled_bytes()
            connections = load.idle_connections(place.port, self.options.idle)
            idle = (process.settled_bytes() - before) / self.options.idle
            for connection in connections:
                connection.close()
        return {
            "resident_mib": round(resident / 2**20, 1),
            "idle_kib_per_connection": round(idle / 1024, 2),
            "first_answer_ms": round(statistics.median(starts), 1),
            "p50_us": p50,
            "p99_us": p99,
            "added_p50_us": round(p50 - direct_p50, 1),
        }

    def _latency(self, port):
        """p50 and p99 in microseconds, of as long as a round."""
        latencies = load.open_loop(port, self.options.rate, self.options.seconds * 2)
        return tuple(round(latencies[int(len(latencies) * share)], 1) for share in (0.5, 0.99))


if __name__ == "__main__":
    main()
