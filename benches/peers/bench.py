"""What every script here does: find the proxies, run one before its origin, say so."""

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import load
import machine
import nginx
import proxies
import report
import tools


def add_options(parser):
    """Those that every script has."""
    target = tools.TARGET.parent
    parser.add_argument("--lockgate", default=target / "release/lockgate", help="its binary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of load in each round")
    parser.add_argument("--idle", type=int, default=2000, help="idle connections")
    parser.add_argument("--only", help="proxies to run, by name, with commas between")
    parser.add_argument("--smoke", action="store_true", help="one short round: does it all work?")
    parser.add_argument("--no-install", action="store_true", help="skip what is missing")


class Bench:
    """The proxies, the cores, and what went wrong or is missing."""

    # Programs that make the load.
    programs = ()

    def __init__(self, options):
        self.options = options
        self.proxy_core, self.load_core = machine.cores()
        self.failures = []
        self.skipped = {}
        self.proxies = self._find()

    def _find(self):
        install = not self.options.no_install
        for program in self.programs:
            tools.find(program, install)
        makers = self.makers(install)
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

    def makers(self, install):
        return {
            "nginx": lambda: proxies.Nginx(install),
            "HAProxy": lambda: proxies.HAProxy(install),
            "Envoy": lambda: proxies.Envoy(install),
            "Lockgate": lambda: proxies.Lockgate(self.options.lockgate),
        }

    @contextlib.contextmanager
    def on_load_core(self):
        """A folder for everything, and this process beside the load."""
        os.sched_setaffinity(0, {self.load_core})
        with tempfile.TemporaryDirectory(prefix="lockgate-peers-") as folder:
            self.folder = Path(folder)
            yield

    @contextlib.contextmanager
    def origin(self):
        """The port of an origin of HTTP."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        place = proxies.Place(folder, machine.free_port(), 0)
        argv = nginx.origin(tools.find("nginx", True), place)
        with machine.Process(argv, self.load_core, folder) as process:
            load.wait_for(place.port, process)
            yield place.port

    @contextlib.contextmanager
    def running(self, proxy, work, origin, **more):
        """The proxy under this work, started afresh: process, place, and seconds
        to its first answer."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        place = proxies.Place(folder, machine.free_port(), origin, **more)
        is_http = work.kind != "tcp"
        try:
            argv, stdout = proxy.prepare(place, work)
            with machine.Process(argv, self.proxy_core, folder, stdout) as process:
                ask = load.ask if is_http else load.ask_echo
                yield process, place, load.wait_for(place.port, process, ask)
            # Ended, it has written what it had buffered.
            log = folder / "access.log"
            expect(not is_http or log.exists() and log.stat().st_size > 0, "it wrote no access log")
        except RuntimeError as error:
            log = folder / "output.log"
            said = log.read_text(errors="replace").strip() if log.exists() else ""
            raise RuntimeError(f"{error}\n{said[-2000:]}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def versions(self):
        flags = {"nginx": ["-v"], "HAProxy": ["-v"], "Envoy": ["--version"], "Lockgate": ["version"]}
        return {proxy.name: report.version([proxy.binary, *flags[proxy.name]]) for proxy in self.proxies}

    def finish(self, table, result):
        """Show the result, write it down, and fail where something went wrong."""
        print(table)
        report.write(result, self.options.json)
        print(f"\nwritten to {self.options.json}", file=sys.stderr)
        if self.failures:
            sys.exit("failed: " + "; ".join(self.failures))
        # Under CI nothing may go missing in silence.
        if self.skipped and os.environ.get("CI_RUN") == "1":
            sys.exit("skipped under CI: " + ", ".join(self.skipped))


def say(text):
    print(text, file=sys.stderr, flush=True)


def expect(holds, otherwise):
    if not holds:
        raise RuntimeError(otherwise)
