#!/usr/bin/env python3
"""Lockgate and its peers on this machine, all doing the same, in one run.

Prints what a request costs each proxy in CPU time with 0, 1 and 5 filters, what
an idle connection keeps, how soon the first answer comes, and the latency at a
fixed rate. The proxy has one core to itself; load and origin share another.
Rounds are interleaved, so that a machine that changes its mind does so to all.

Needs Linux, two cores, Python 3.9, wrk and nginx; peers that are missing are
installed where that is possible (apt-get as root, pip into target/), and said
to be skipped where it is not.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import traceback
from pathlib import Path

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

import load
import machine
import proxies
import report
import tools


def main():
    options = read_options()
    machine.raise_file_limit()
    try:
        bench = Bench(options)
        result = bench.run()
    except tools.Missing as missing:
        sys.exit(f"cannot do without: {missing}")
    print(report.show(result))
    report.write(result, options.json)
    print(f"\nwritten to {options.json}", file=sys.stderr)
    if bench.failures:
        sys.exit("failed: " + "; ".join(bench.failures))
    # Under CI nothing may go missing in silence.
    if result["skipped"] and os.environ.get("CI_RUN") == "1":
        sys.exit("skipped under CI: " + ", ".join(result["skipped"]))


def read_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    target = tools.TARGET.parent
    parser.add_argument("--lockgate", default=target / "release/lockgate", help="its binary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of load in each round")
    parser.add_argument("--idle", type=int, default=2000, help="idle connections")
    parser.add_argument("--rate", type=int, default=1000, help="requests a second, open loop")
    parser.add_argument("--starts", type=int, default=5, help="starts that are timed")
    parser.add_argument("--only", help="proxies to run, by name, with commas between")
    parser.add_argument("--smoke", action="store_true", help="one short round: does it all work?")
    parser.add_argument("--no-install", action="store_true", help="skip what is missing")
    parser.add_argument("--json", type=Path, default=tools.TARGET / "result.json")
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.seconds, options.idle, options.starts = 1, 1, 200, 1
    return options


class Bench:
    def __init__(self, options):
        self.options = options
        self.proxy_core, self.load_core = machine.cores()
        self.failures = []
        self.skipped = {}
        self.proxies = self._find()

    def _find(self):
        install = not self.options.no_install
        tools.find("wrk", install)
        makers = {
            "nginx": lambda: proxies.Nginx(install),
            "HAProxy": lambda: proxies.HAProxy(install),
            "Envoy": lambda: proxies.Envoy(install),
            "Lockgate": lambda: proxies.Lockgate(self.options.lockgate),
        }
        only = self.options.only and self.options.only.lower().split(",")
        found = []
        for name, make in makers.items():
            if only and name.lower() not in only:
                continue
            try:
                found.append(make())
            except tools.Missing as missing:
                self.skipped[name] = str(missing)
        return found

    def run(self):
        about = report.machine()
        os.sched_setaffinity(0, {self.load_core})
        with tempfile.TemporaryDirectory(prefix="lockgate-peers-") as folder:
            self.folder = Path(folder)
            with self._origin():
                subjects = self._check_all()
                rest = self._measure_rest(subjects)
                cpu = report.summarize(self._measure_cpu(subjects))
        return {
            "machine": about,
            "versions": {proxy.name: self._version(proxy) for proxy in self.proxies},
            "skipped": self.skipped,
            "cpu": cpu,
            "derived": report.derive(cpu),
            "rate": self.options.rate,
            "rest": rest,
        }

    @contextlib.contextmanager
    def _origin(self):
        folder = self.folder / "origin"
        folder.mkdir()
        place = proxies.Place(folder, machine.free_port(), 0)
        argv = proxies.origin_command(tools.find("nginx", True), place)
        with machine.Process(argv, self.load_core, folder) as process:
            load.wait_for(place.port, process)
            self.origin_port = place.port
            yield

    @contextlib.contextmanager
    def _running(self, proxy, work):
        """The proxy under this work, started afresh: process, port, and seconds
        to its first answer."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        place = proxies.Place(folder, machine.free_port(), self.origin_port)
        argv, stdout = proxy.prepare(place, work)
        try:
            with machine.Process(argv, self.proxy_core, folder, stdout) as process:
                yield process, place.port, load.wait_for(place.port, process)
            # Ended, it has written what it had buffered.
            log = folder / "access.log"
            expect(log.exists() and log.stat().st_size > 0, "it wrote no access log")
        except RuntimeError as error:
            log = (folder / "output.log").read_text(errors="replace").strip()
            raise RuntimeError(f"{error}\n{log[-2000:]}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _check_all(self):
        """Which proxies do under which work what all are to do."""
        subjects = []
        for proxy in self.proxies:
            for work in proxy.works:
                self._say(f"check {proxy.name}, {report.work_name(work)}")
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
        with self._running(proxy, work) as (_, port, _):
            status, head, body = load.ask(port)
            expect(status == 200 and len(body) == 1024, f"answered {status} with {len(body)} bytes")
            _, _, seen = load.ask(port, "/check")
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
                self._say(f"round {turn + 1}/{self.options.rounds}: {proxy.name}, {report.work_name(work)}")
                key = (proxy.name, report.work_name(work))
                rounds.setdefault(key, []).append(self._cpu_per_request(proxy, work))
        return rounds

    def _cpu_per_request(self, proxy, work):
        with self._running(proxy, work) as (process, port, _):
            # Connections, caches and branch predictors first.
            load.wrk(self.load_core, port, 1)
            before = process.cpu_seconds()
            requests = load.wrk(self.load_core, port, self.options.seconds)
            return (process.cpu_seconds() - before) / requests * 1e6

    def _measure_rest(self, subjects):
        """Memory, start and latency: without filters, and of the shipped chain."""
        direct = self._latency(self.origin_port)
        rest = {"origin without a proxy": {"p50_us": direct[0], "p99_us": direct[1]}}
        for proxy, work in subjects:
            if work.units == 0 or work.kind == "shipped":
                name = f"{proxy.name}, {report.work_name(work)}"
                self._say(f"at rest: {name}")
                rest[name] = self._rest(proxy, work, direct[0])
        return rest

    def _rest(self, proxy, work, direct_p50):
        # The first start may compile; these are those after it.
        starts = []
        for _ in range(self.options.starts):
            with self._running(proxy, work) as (_, _, first_answer):
                starts.append(first_answer * 1000)
        with self._running(proxy, work) as (process, port, _):
            resident = process.settled_bytes()
            p50, p99 = self._latency(port)
            before = process.settled_bytes()
            connections = load.idle_connections(port, self.options.idle)
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

    @staticmethod
    def _version(proxy):
        flags = {"nginx": ["-v"], "HAProxy": ["-v"], "Envoy": ["--version"], "Lockgate": ["version"]}
        return report.version([proxy.binary, *flags[proxy.name]])

    @staticmethod
    def _say(text):
        print(text, file=sys.stderr, flush=True)


def expect(holds, otherwise):
    if not holds:
        raise RuntimeError(otherwise)


if __name__ == "__main__":
    main()
