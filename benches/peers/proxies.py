"""The proxies: where to find them, and how to make all of them do the same.

Each runs one worker, keeps connections to the origin, sends `X-Forwarded-For`
and a request id, and writes one line for each request to a file, buffered.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from tools import TARGET, Missing, apt_install, build, find, find_envoy

LUA_MODULES = [Path("/usr/lib/nginx/modules") / f"{name}_module.so" for name in ("ndk_http", "ngx_http_lua")]


@dataclass(frozen=True)
class Work:
    """What stands between the listener and the origin."""

    units: int = 0
    # Of `both`, `request` or `shipped` (the chain router, auth, mirror, fault).
    kind: str = "both"

    def stamped(self):
        """The numbers of the units that stamp the request, and the response."""
        request = range(1, self.units + 1)
        return request, (request if self.kind == "both" else range(0))


@dataclass(frozen=True)
class Place:
    """Where one run of a proxy lives."""

    folder: Path
    port: int
    origin: int


class Nginx:
    name = "nginx"
    works = [Work(0), Work(1), Work(5)]

    def __init__(self, install):
        self.binary = find("nginx", install)
        if not all(module.exists() for module in LUA_MODULES):
            apt_install("lua", install)
        if not all(module.exists() for module in LUA_MODULES):
            raise Missing("nginx has no Lua module (libnginx-mod-http-lua)")

    def prepare(self, place, work):
        location = f"""
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Request-ID $request_id;
            {self._lua(work)}"""
        http = f"""
    upstream origin {{
        server 127.0.0.1:{place.origin};
        keepalive 128;
        keepalive_requests 1000000000;
    }}
    access_log access.log combined buffer=64k flush=1s;
    server {{
        listen 127.0.0.1:{place.port} backlog=4096;
        location / {{{location}
        }}
    }}"""
        return nginx_command(self.binary, place.folder, http, LUA_MODULES if work.units else [])

    @staticmethod
    def _lua(work):
        """A function for each unit, as a policy written in Lua would have it."""
        if not work.units:
            return ""
        request, response = work.stamped()
        in_request = "\n".join(
            f'local function unit{n}() ngx.req.set_header("x-stamp-{n}", ngx.var.http_x_bench) end unit{n}()'
            for n in request
        )
        in_response = "\n".join(
            f'local function unit{n}() ngx.header["x-stamp-{n}"] = "1" end unit{n}()' for n in response
        )
        return f"rewrite_by_lua_block {{ {in_request} }}\nheader_filter_by_lua_block {{ {in_response} }}"


class HAProxy:
    name = "HAProxy"
    works = [Work(0)]

    def __init__(self, install):
        self.binary = find("haproxy", install)

    def prepare(self, place, work):
        config = place.folder / "haproxy.cfg"
        config.write_text(f"""
global
    nbthread 1
    maxconn 9000
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    option forwardfor
    http-reuse always
    timeout connect 2s
    timeout client 300s
    timeout server 60s
    timeout http-keep-alive 300s
frontend web
    bind 127.0.0.1:{place.port} backlog 4096
    http-request set-header X-Request-ID %[uuid()]
    default_backend origin
backend origin
    server one 127.0.0.1:{place.origin}
""")
        # What it writes to stdout is the access log.
        return [self.binary, "-db", "-f", config], place.folder / "access.log"


class Envoy:
    name = "Envoy"
    works = [Work(0), Work(1), Work(5)]

    def __init__(self, install):
        self.binary = find_envoy(install)
        self.filter = None

    def prepare(self, place, work):
        filters = [self._filter(number, work) for number in work.stamped()[0]]
        filters.append(typed("envoy.filters.http.router", "extensions.filters.http.router.v3.Router"))
        log = typed(
            "envoy.access_loggers.file",
            "extensions.access_loggers.file.v3.FileAccessLog",
            path=str(place.folder / "access.log"),
        )
        route = {"match": {"prefix": "/"}, "route": {"cluster": "origin"}}
        manager = typed(
            "envoy.filters.network.http_connection_manager",
            "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            stat_prefix="web",
            use_remote_address=True,
            access_log=[log],
            http_filters=filters,
            route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        )
        endpoint = {"endpoint": {"address": socket_address(place.origin)}}
        resources = {
            "listeners": [{
                "name": "web",
                "address": socket_address(place.port),
                "filter_chains": [{"filters": [manager]}],
            }],
            "clusters": [{
                "name": "origin",
                "connect_timeout": "2s",
                "load_assignment": {"cluster_name": "origin", "endpoints": [{"lb_endpoints": [endpoint]}]},
            }],
        }
        config = place.folder / "envoy.json"
        config.write_text(json.dumps({"static_resources": resources}))
        argv = [self.binary, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "warn"]
        return argv, None

    def _filter(self, number, work):
        self.filter = self.filter or build("envoy-filter", "wasm32-unknown-unknown")
        text = f"{number}" if work.kind == "both" else f"{number} request"
        configuration = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text}
        plugin = {
            "name": f"stamp-{number}",
            "root_id": "stamp",
            "configuration": configuration,
            "vm_config": {
                "vm_id": "stamp",
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": str(self.filter)}},
            },
        }
        return typed("envoy.filters.http.wasm", "extensions.filters.http.wasm.v3.Wasm", config=plugin)


class Lockgate:
    name = "Lockgate"
    works = [Work(0), Work(1), Work(5), Work(1, "request"), Work(5, "request"), Work(4, "shipped")]

    def __init__(self, binary):
        self.binary = Path(binary).resolve()
        if not self.binary.exists():
            raise SystemExit(f"there is no {self.binary}: cargo build --release")
        self.filter = None
        self.cache = TARGET / "cache"
        self.cache.mkdir(mode=0o700, parents=True, exist_ok=True)

    def prepare(self, place, work):
        filters = self._shipped() if work.kind == "shipped" else self._stamps(work)
        config = place.folder / "lockgate.yaml"
        # JSON is YAML, too.
        config.write_text(json.dumps({
            "workers": 1,
            "cache_dir": str(self.cache),
            "log": {"level": "warn"},
            "access_log": {"to": str(place.folder / "access.log"), "format": "text"},
            "listeners": [{
                "name": "web",
                "address": f"127.0.0.1:{place.port}",
                "cluster": "origin",
                "filters": list(filters),
                "limits": {"max_requests": 1_000_000_000},
                "timeouts": {"idle": "300s"},
            }],
            "filters": filters,
            "clusters": [{"name": "origin", "endpoints": [f"127.0.0.1:{place.origin}"]}],
        }))
        return [self.binary, "run", "--config", config], None

    def _stamps(self, work):
        if work.units:
            self.filter = self.filter or build("stamp-filter", "wasm32-wasip2")
        both = work.kind == "both"
        return {
            f"stamp-{number}": {"component": str(self.filter), "config": {"number": number, "response": both}}
            for number in work.stamped()[0]
        }

    @staticmethod
    def _shipped():
        """Mirror and fault draw for each request, and draw next to nothing."""
        never = 0.000001
        routes = [{"name": "all", "match": {"path_prefix": "/"}, "cluster": "origin"}]
        return {
            "router": {"component": "lockgate:router", "config": {"routes": routes}},
            "auth": {
                "component": "lockgate:auth",
                "config": {"api_keys": [{"name": "peer", "key": "peer-key"}]},
            },
            "mirror": {"component": "lockgate:mirror", "config": {"cluster": "origin", "percent": never}},
            "fault": {
                "component": "lockgate:fault",
                "config": {"abort": {"status": 503, "percent": never}},
            },
        }


def origin_command(binary, place):
    """An nginx that answers 1 KiB, and at /check what it was sent."""
    seen = "|".join(f"$http_x_stamp_{number}" for number in range(1, 6))
    http = f"""
    access_log off;
    server {{
        listen 127.0.0.1:{place.port} backlog=4096;
        location = /check {{ return 200 "$http_x_forwarded_for|$http_x_request_id|{seen}"; }}
        location / {{ return 200 "{'x' * 1024}"; }}
    }}"""
    return nginx_command(binary, place.folder, http, [])[0]


def nginx_command(binary, folder, http, modules):
    load = "".join(f"load_module {module};\n" for module in modules)
    user = "user root;" if os.geteuid() == 0 else ""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"    {kind}_temp_path {folder}/{kind};" for kind in kinds)
    config = folder / "nginx.conf"
    config.write_text(f"""{load}{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 10000;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 9000; }}
http {{
{temporary}
    keepalive_timeout 300s;
    keepalive_requests 1000000000;{http}
}}
""")
    return [binary, "-p", folder, "-c", config], None


def typed(name, kind, **values):
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.{kind}", **values}}


def socket_address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
