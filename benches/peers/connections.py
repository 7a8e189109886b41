#!/usr/bin/env python3
"""What connections cost Lockgate and its peers, all doing the same, in one run.

Prints what HTTP/2 over TLS, a TLS handshake, large bodies, TCP and WebSocket cost
each proxy in CPU time, what an idle connection keeps, whether many are held, and
what handshakes do to the exchanges beside them; and for each the goal. The proxy
has one core to itself; load and origin share another. Rounds are interleaved, so
that a machine that changes its mind does so to all.

Needs what run.py needs, and h2load, openssl and nginx's stream module; installs
what is missing, or says that it is skipped, as run.py does.
"""

import argparse
import contextlib
import sys
import tempfile
import traceback
from pathlib import Path

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

import bench
import load
import machine
import proxies
import report
import tools
import verdicts
from bench import say
from cases import CASES


def main():
    options = read_options()
    try:
        connections = Connections(options)
        result = connections.run()
    except tools.Missing as missing:
        sys.exit(f"cannot do without: {missing}")
    connections.finish(verdicts.show(result), result)


def read_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    bench.add_options(parser)
    parser.add_argument("--cases", help=f"what to measure, with commas between: {','.join(CASES)}")
    parser.add_argument("--held", type=int, default=15_000, help="connections that are to be held")
    parser.add_argument("--rate", type=int, default=500, help="requests a second, open loop")
    parser.add_argument("--handshakes", type=int, default=1000, help="a second, beside those")
    parser.add_argument("--json", type=Path, default=tools.TARGET / "connections.json")
    options = parser.parse_args()
    options.cases = options.cases.split(",") if options.cases else list(CASES)
    if unknown := [name for name in options.cases if name not in CASES]:
        parser.error(f"no such case: {', '.join(unknown)}")
    if options.smoke:
        options.rounds, options.seconds, options.handshakes = 1, 0, 100
        options.idle, options.held = 100, 1000
    return options


class Connections(bench.Bench):
    programs = ("openssl", "h2load", "wrk")

    def run(self):
        about = report.machine()
        self._raise_file_limit()
        with self.on_load_core(), self.origin() as http, self._echoing() as bytes_back:
            self.origins = {"http": http, "websocket": bytes_back, "tcp": bytes_back}
            self.certificate = tools.certificate(self.folder)
            rounds = self._measure_all()
        return {
            "machine": about,
            "versions": self.versions(),
            "skipped": self.skipped,
            "options": {name: getattr(self.options, name) for name in ("rounds", "seconds", "smoke", "rate")},
            "cases": verdicts.summarize(rounds, judge=not self.options.smoke),
        }

    def _raise_file_limit(self):
        """Lockgate begins to close idle connections at 85 % of what it may open."""
        wanted = self.options.held * 4 // 3
        limit = machine.raise_file_limit(wanted)
        if "held" in self.options.cases and limit < wanted:
            self.options.cases.remove("held")
            self.skipped["held"] = f"{limit} files may be open, and {wanted} are needed"

    @contextlib.contextmanager
    def _echoing(self):
        """The port of an origin for what is no HTTP, or only at its beginning."""
        folder, port = Path(tempfile.mkdtemp(dir=self.folder)), machine.free_port()
        argv = [sys.executable, tools.HERE / "echo.py", port]
        with machine.Process(argv, self.load_core, folder) as process:
            load.wait_for(port, process, load.ask_echo)
            yield port

    def _measure_all(self):
        """What each round measured, by case and proxy."""
        rounds = {name: {} for name in self.options.cases}
        for turn in range(self.options.rounds):
            for name in self.options.cases:
                for proxy in self.proxies:
                    if proxy.name in CASES[name].proxies and f"{proxy.name}, {name}" not in self.skipped:
                        say(f"round {turn + 1}/{self.options.rounds}: {proxy.name}, {CASES[name].title}")
                        rounds[name].setdefault(proxy.name, []).append(self._measure(proxy, name))
        return rounds

    def _measure(self, proxy, name):
        """Nothing where that failed, which ends the run in the end."""
        case = CASES[name]
        work = proxies.Work(0, "tcp") if case.kind == "tcp" else proxies.Work(0)
        more = {}
        if case.kind == "http":
            more = {"tls_port": machine.free_port(), "certificate": self.certificate}
        try:
            with self.running(proxy, work, self.origins[case.kind], **more) as (process, place, _):
                return case.measure(self, process, place)
        except tools.Missing as missing:
            self.skipped[f"{proxy.name}, {name}"] = str(missing)
        except Exception as error:
            traceback.print_exc()
            self.failures.append(f"{proxy.name}, {case.title}: {str(error).splitlines()[0]}")
        return None


if __name__ == "__main__":
    main()
