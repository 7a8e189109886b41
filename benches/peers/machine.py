"""Cores, processes, CPU time, memory and ports of this machine."""

import contextlib
import os
import random
import resource
import signal
import socket
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
# The ports that were given away.
GIVEN = set()


def cores():
    """The core of the measured proxy, and the one of everything else."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise SystemExit("this needs two cores: one for the proxy, one for load and origin")
    return allowed[0], allowed[1]


def raise_file_limit(wanted=0):
    """Both sides of every idle connection are ours, in two processes. Root may
    have more than it was given."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if os.geteuid() == 0 and hard != resource.RLIM_INFINITY:
        hard = max(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port():
    """One below those that Linux gives to connections, which might otherwise take it
    before a proxy does; and never the same twice."""
    while True:
        port = random.randrange(10_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            if port not in GIVEN:
                GIVEN.add(port)
                return port


class Process:
    """A program on one core, with all its children; ended when left."""

    def __init__(self, argv, core, folder, stdout=None):
        self.log = open(folder / "output.log", "ab")
        self.out = open(stdout, "ab") if stdout else self.log
        self.argv = ["taskset", "-c", str(core), *map(str, argv)]
        self.folder = folder
        self.start()

    def start(self):
        """Once more, where it was killed."""
        self.started = time.perf_counter()
        self.popen = subprocess.Popen(
            self.argv,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=self.out,
            stderr=self.log,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # nginx and HAProxy, too, drop everything at SIGTERM.
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(3)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self.log.close()
        if self.out is not self.log:
            self.out.close()

    def alive(self):
        return self.popen.poll() is None

    def pids(self):
        """This process and all its descendants."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (fields := _stat(entry)):
                parents[int(entry)] = int(fields[1])
        family = [self.popen.pid]
        for pid in family:
            family.extend(child for child, parent in parents.items() if parent == pid)
        return family

    def cpu_seconds(self):
        """User and system time of the whole family."""
        stats = filter(None, map(_stat, self.pids()))
        return sum(int(fields[11]) + int(fields[12]) for fields in stats) / TICKS

    def resident_bytes(self):
        """Resident memory of the whole family; what is shared counts for each."""
        stats = filter(None, map(_stat, self.pids()))
        return sum(int(fields[21]) for fields in stats) * PAGE

    def settled_bytes(self, patience=3):
        """Resident memory once it no longer moves, or after so many seconds."""
        before = self.resident_bytes()
        for _ in range(round(patience * 10)):
            time.sleep(0.1)
            now = self.resident_bytes()
            if now == before:
                break
            before = now
        return before


def _stat(pid):
    """The fields of /proc/PID/stat behind the name, or nothing."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
