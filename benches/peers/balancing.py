#!/usr/bin/env python3
"""Ten origins behind Lockgate, HAProxy and Envoy, and what clients see when some break.

700 requests a second come whether answers do or not, and answers take 100 ms in the
mean: some 70 are under way. One origin becomes twenty times as slow, and each policy
shows the latencies before and after; one is killed, frozen or flaps; all refuse or reset
for a while and come back. The proxy has one core to itself; load and origins, each a
process, share another.

Needs what run.py needs but wrk and nginx; installs what is missing, or says that it is
skipped, as run.py does.
"""

import argparse
import contextlib
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

import balancers
import bench
import load
import machine
import report
import tables
import tools
from bench import expect, say
from steady import Steady

ORIGINS = 10
PARTS = ["slow", *tables.FAILURES]
# So many are to be answered well while nothing is wrong.
AMISS = 0.95


def main():
    options = read_options()
    machine.raise_file_limit()
    try:
        balancing = Balancing(options)
        result = balancing.run()
    except tools.Missing as missing:
        sys.exit(f"cannot do without: {missing}")
    balancing.finish(tables.show(result), result)


def read_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    bench.add_options(parser)
    parser.add_argument("--rate", type=int, default=700, help="requests a second, open loop")
    parser.add_argument("--parts", help=f"what to do, with commas between: {','.join(PARTS)}")
    parser.add_argument("--mean", type=int, default=100, help="milliseconds that an answer takes")
    parser.add_argument("--json", type=Path, default=tools.TARGET / "balancing.json")
    options = parser.parse_args()
    options.parts = options.parts.split(",") if options.parts else PARTS
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}")
    # All times of a run are told in these, so that a small one has the same parts.
    options.second = 1.0
    if options.smoke:
        options.second, options.mean = 0.1, 20
    return options


class Balancing(bench.Bench):
    def makers(self, install):
        return {
            "HAProxy": lambda: balancers.HAProxy(install),
            "Envoy": lambda: balancers.Envoy(install),
            "Lockgate": lambda: balancers.Lockgate(self.options.lockgate),
        }

    def run(self):
        about = report.machine()
        latency, failures = {}, {}
        with self.on_load_core(), self._origins():
            for proxy, policy in self._policies():
                work = balancers.Work(policy, tuple(self.ports), "latency")
                latency[f"{proxy.name} `{policy}`"] = self._try(proxy, work, self._slow)
            for name, proxy, checked in self._breakages():
                policy = balancers.POLICIES[proxy.name][0]
                work = balancers.Work(policy, tuple(self.ports), "failures", checked)
                found = self._try(proxy, work, getattr(self, f"_{name}"))
                failures.setdefault(name, {})[proxy.name + ", checked" * checked] = found
        return {
            "machine": about,
            "versions": self.versions(),
            "skipped": self.skipped,
            "options": {name: getattr(self.options, name) for name in ("rate", "smoke")},
            "latency": latency,
            "failures": failures,
        }

    def _policies(self):
        for proxy in self.proxies if "slow" in self.options.parts else []:
            policies = balancers.POLICIES[proxy.name]
            yield from ((proxy, policy) for policy in policies[: 1 if self.options.smoke else None])

    def _breakages(self):
        """Where it is only to be seen that all works, each with one proxy in turn."""
        parts = [name for name in tables.FAILURES if name in self.options.parts]
        for number, name in enumerate(parts):
            if self.options.smoke:
                yield name, self.proxies[number % len(self.proxies)], False
                continue
            yield from ((name, proxy, False) for proxy in self.proxies)
            if name in ("refuse", "reset"):
                yield from ((name, proxy, True) for proxy in self.proxies if proxy.name == "Lockgate")

    @contextlib.contextmanager
    def _origins(self):
        with contextlib.ExitStack() as stack:
            self.ports = [machine.free_port() for _ in range(ORIGINS)]
            self.origins = [stack.enter_context(self._origin(port)) for port in self.ports]
            for port, origin in zip(self.ports, self.origins):
                load.wait_for(port, origin)
            yield

    def _origin(self, port):
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        argv = [sys.executable, tools.HERE / "moody.py", port, self.options.mean]
        return machine.Process(argv, self.load_core, folder)

    def _try(self, proxy, work, measure):
        """Nothing where that failed, which ends the run in the end."""
        name = f"{proxy.name} {work.policy}, {measure.__name__[1:]}"
        say(name)
        try:
            with self.running(proxy, work, 0) as (process, place, _):
                return measure(process, place)
        except Exception as error:
            traceback.print_exc()
            self.failures.append(f"{name}: {str(error).splitlines()[0]}")
        finally:
            try:
                self._mend()
            except Exception as error:
                self.failures.append(f"{name}: {str(error).splitlines()[0]}")
        return None

    def _mend(self):
        """All origins serve, and answer at their usual pace, whatever a run has left."""
        for origin in self.origins:
            if not origin.alive():
                origin.start()
        self._tell_all(signal.SIGCONT)
        for port, origin in zip(self.ports, self.origins):
            origin.started = time.perf_counter()
            load.wait_for(port, origin)

    def _steady(self, place, seconds, events):
        """Outcomes of so many seconds, of which nothing happens in the first two."""
        second = self.options.second
        events = [(at * second, event) for at, event in events]
        self.load = Steady(place.port, self.options.rate, seconds * second, events)
        outcomes = self.load.run()
        for outcome in outcomes:
            outcome.due /= second
        share = succeeded(part(outcomes, 0, 2))
        # In a smoke test these are few, and one stall of the machine is most of them.
        expect(share >= (0.5 if self.options.smoke else AMISS), f"{share:.1%} were answered well before anything happened")
        return outcomes

    def _slow(self, _, place):
        """Two seconds to learn, six of health, and twelve with one that is slow."""
        outcomes = self._steady(place, 20, [(8, self._tell(signal.SIGUSR1))])
        slow = part(outcomes, 8, 20)
        return {"healthy": times(part(outcomes, 2, 8)), "slow": times(slow), "success": succeeded(slow)}

    def _kill(self, _, place):
        origin = self.origins[0]

        def kill():
            origin.popen.kill()
            origin.popen.wait()

        return suffered(self._steady(place, 9, [(2, kill), (6, origin.start)]))

    def _freeze(self, _, place):
        stop, go = self._tell(signal.SIGSTOP), self._tell(signal.SIGCONT)
        return suffered(self._steady(place, 9, [(2, stop), (6, go)]))

    def _flap(self, _, place):
        turns = (self._tell(signal.SIGUSR2), self._tell(signal.SIGCONT))
        return suffered(self._steady(place, 12, [(second, turns[second % 2]) for second in range(2, 10)]))

    def _tell(self, number):
        return lambda: self.origins[0].popen.send_signal(number)

    def _tell_all(self, number):
        for origin in self.origins:
            origin.popen.send_signal(number)

    def _refuse(self, process, place):
        return self._outage(process, place, signal.SIGUSR2)

    def _reset(self, process, place):
        return self._outage(process, place, signal.SIGHUP)

    def _outage(self, process, place, number):
        """Five seconds of all origins, after five to compare with."""
        marks = []

        def mark():
            marks.append((process.cpu_seconds(), active_opens() - self.load.connects))

        def turn(number):
            mark()
            self._tell_all(number)

        events = [(2, mark), (7, lambda: turn(number)), (12, lambda: turn(signal.SIGCONT))]
        outcomes = self._steady(place, 17, events)
        (cpu_first, _), (cpu_down, opens_down), (cpu_up, opens_up) = marks
        down = part(outcomes, 7, 12)
        bad = [outcome.due for outcome in part(outcomes, 12, 17) if not outcome.is_good()]
        return {
            "cpu_ms": round((cpu_down - cpu_first) * 1000),
            "cpu_ms_down": round((cpu_up - cpu_down) * 1000),
            "connections": opens_up - opens_down,
            "requests": len(down),
            "p99_ms_down": times(down)["p99_ms"],
            "back_after_s": round(max(bad, default=12) - 12, 2),
        }


def active_opens():
    """Connections that were begun in this network namespace: of others too, if they are
    in it."""
    with open("/proc/net/snmp") as file:
        names, values = (line.split() for line in file if line.startswith("Tcp:"))
    return int(values[names.index("ActiveOpens")])


def part(outcomes, begin, end):
    return [outcome for outcome in outcomes if begin <= outcome.due < end]


def succeeded(outcomes):
    return sum(outcome.is_good() for outcome in outcomes) / max(1, len(outcomes))


def times(outcomes):
    """Of good ones and others."""
    took = sorted(round(outcome.took * 1000) for outcome in outcomes)
    p50, p99 = (took[int(len(took) * share)] for share in (0.5, 0.99))
    return {"p50_ms": p50, "p99_ms": p99, "most_ms": took[-1]}


def suffered(outcomes):
    """From when something happened."""
    outcomes = part(outcomes, 2, float("inf"))
    return {"requests": len(outcomes), "success": succeeded(outcomes), **times(outcomes)}


if __name__ == "__main__":
    main()
