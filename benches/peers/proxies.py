"""The proxies: where to find them, and how to make all of them do the same.

Each runs one worker, keeps connections to the origin, sends `X-Forwarded-For`
and a request id, and writes one line for each request to a file, buffered. Over
TLS all have the same certificate and version, and no tickets; the cipher and the key
exchange are those that the clients here offer.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import load
import nginx
from tools import DEBIAN, TARGET, Certificate, Missing, apt_install, build, find, find_envoy

NGINX_MODULES = Path("/usr/lib/nginx/modules")
LUA_MODULES = [NGINX_MODULES / f"{name}_module.so" for name in ("ndk_http", "ngx_http_lua")]
STREAM_MODULES = [NGINX_MODULES / "ngx_stream_module.so"]


@dataclass(frozen=True)
class Work:
    """What stands between the listener and the origin."""

    units: int = 0
    # Of `both`, `request` or `shipped` (the chain router, auth, mirror, fault), `upload`
    # (requests have bodies, which units collect first), or `tcp`: bytes are passed on as
    # they are.
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
    # With a certificate the same is served over TLS on another port.
    tls_port: int = 0
    certificate: Optional[Certificate] = None


class Nginx:
    name = "nginx"
    works = [Work(0), Work(1), Work(5)]

    def __init__(self, install):
        self.install = install
        self.binary = find("nginx", install)
        self._want(LUA_MODULES, "lua")

    def _want(self, modules, name):
        if not all(module.exists() for module in modules):
            apt_install(name, self.install)
        if not all(module.exists() for module in modules):
            raise Missing(f"a module of nginx is not installed (Debian: {DEBIAN[name]})")

    def prepare(self, place, work):
        if work.kind == "tcp":
            return self._prepare_tcp(place)
        common = f"""
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_max_temp_file_size 0;
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
        {self._tls(place)}
        location / {{{common}
            proxy_set_header Connection "";
        }}
        location = /socket {{{common}
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }}
    }}"""
        return nginx.command(self.binary, place.folder, http, LUA_MODULES if work.units else [])

    @staticmethod
    def _tls(place):
        if not place.certificate:
            return ""
        return f"""
        listen 127.0.0.1:{place.tls_port} ssl http2 backlog=4096;
        ssl_certificate {place.certificate.chain};
        ssl_certificate_key {place.certificate.key};
        ssl_protocols TLSv1.3;
        ssl_session_tickets off;
        ssl_session_cache off;"""

    def _prepare_tcp(self, place):
        self._want(STREAM_MODULES, "stream")
        stream = f"""
    server {{
        listen 127.0.0.1:{place.port} backlog=4096;
        proxy_pass 127.0.0.1:{place.origin};
    }}"""
        return nginx.command(self.binary, place.folder, stream, STREAM_MODULES, "stream")

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


HAPROXY_HTTP = """
    mode http
    option httplog
    option forwardfor
    http-reuse always
    timeout http-keep-alive 300s
    timeout tunnel 300s"""
HAPROXY_TCP = """
    mode tcp
    option tcplog"""


class HAProxy:
    name = "HAProxy"
    works = [Work(0)]

    def __init__(self, install):
        self.binary = find("haproxy", install)

    def prepare(self, place, work):
        config = place.folder / "haproxy.cfg"
        is_http = work.kind != "tcp"
        config.write_text(f"""
global
    nbthread 1
    maxconn 9000
    tune.ssl.cachesize 0
    log stdout format raw local0
defaults
    log global
    timeout connect 2s
    timeout client 300s
    timeout server 60s
    {HAPROXY_HTTP if is_http else HAPROXY_TCP}
frontend web
    bind 127.0.0.1:{place.port} backlog 4096
    {self._tls(place)}
    {"http-request set-header X-Request-ID %[uuid()]" if is_http else ""}
    default_backend origin
backend origin
    server one 127.0.0.1:{place.origin}
""")
        # What it writes to stdout is the access log.
        return [self.binary, "-db", "-f", config], place.folder / "access.log"

    @staticmethod
    def _tls(place):
        if not place.certificate:
            return ""
        return (
            f"bind 127.0.0.1:{place.tls_port} backlog 4096 ssl crt {place.certificate.both} alpn h2,http/1.1"
            f" ssl-min-ver TLSv1.3 no-tls-tickets"
        )


class Envoy:
    name = "Envoy"
    works = [Work(0), Work(1), Work(5), Work(0, "upload"), Work(1, "upload")]

    def __init__(self, install):
        self.binary = find_envoy(install)
        self.filter = None

    def prepare(self, place, work):
        network = self._tcp() if work.kind == "tcp" else self._http(place, work)
        listeners = [self._listener("web", place.port, network)]
        if place.certificate:
            tls = {"transport_socket": self._tls(place.certificate)}
            listeners.append(self._listener("tls", place.tls_port, network, tls))
        endpoint = {"endpoint": {"address": socket_address(place.origin)}}
        resources = {
            "listeners": listeners,
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

    @staticmethod
    def _listener(name, port, network, more=()):
        chain = {"filters": [network], **dict(more)}
        return {"name": name, "address": socket_address(port), "filter_chains": [chain]}

    def _http(self, place, work):
        filters = [self._filter(number, work) for number in work.stamped()[0]]
        filters.append(typed("envoy.filters.http.router", "extensions.filters.http.router.v3.Router"))
        log = typed(
            "envoy.access_loggers.file",
            "extensions.access_loggers.file.v3.FileAccessLog",
            path=str(place.folder / "access.log"),
        )
        route = {"match": {"prefix": "/"}, "route": {"cluster": "origin"}}
        return typed(
            "envoy.filters.network.http_connection_manager",
            "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            stat_prefix="web",
            use_remote_address=True,
            access_log=[log],
            http_filters=filters,
            upgrade_configs=[{"upgrade_type": "websocket"}],
            route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        )

    @staticmethod
    def _tcp():
        return typed(
            "envoy.filters.network.tcp_proxy",
            "extensions.filters.network.tcp_proxy.v3.TcpProxy",
            stat_prefix="tcp",
            cluster="origin",
        )

    @staticmethod
    def _tls(certificate):
        files = {
            "certificate_chain": {"filename": str(certificate.chain)},
            "private_key": {"filename": str(certificate.key)},
        }
        version = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
        return typed(
            "envoy.transport_sockets.tls",
            "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            disable_stateless_session_resumption=True,
            disable_stateful_session_resumption=True,
            common_tls_context={
                "tls_params": version,
                "tls_certificates": [files],
                "alpn_protocols": ["h2", "http/1.1"],
            },
        )

    def _filter(self, number, work):
        self.filter = self.filter or build("envoy-filter", "wasm32-unknown-unknown")
        how = {"both": "", "request": " request", "upload": f" {load.UPLOAD_BYTES}"}
        text = f"{number}{how[work.kind]}"
        configuration = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text}
        plugin = {
            "name": f"stamp-{number}",
            "root_id": "stamp",
            "configuration": configuration,
            # Or a head that waits keeps its body back.
            "allow_on_headers_stop_iteration": True,
            "vm_config": {
                "vm_id": "stamp",
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": str(self.filter)}},
            },
        }
        return typed("envoy.filters.http.wasm", "extensions.filters.http.wasm.v3.Wasm", config=plugin)


class Lockgate:
    name = "Lockgate"
    works = [
        Work(0),
        Work(1),
        Work(5),
        Work(1, "request"),
        Work(5, "request"),
        Work(4, "shipped"),
        Work(0, "upload"),
        Work(1, "upload"),
    ]

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
            "listeners": self._listeners(place, work, list(filters)),
            "filters": filters,
            "clusters": [{"name": "origin", "endpoints": [f"127.0.0.1:{place.origin}"]}],
        }))
        return [self.binary, "run", "--config", config], None

    @staticmethod
    def _listeners(place, work, filters):
        web = {"name": "web", "address": f"127.0.0.1:{place.port}", "cluster": "origin"}
        if work.kind == "tcp":
            return [{**web, "protocols": ["tcp"]}]
        web.update(filters=filters, limits={"max_requests": 1_000_000_000}, timeouts={"idle": "300s"})
        if not place.certificate:
            return [web]
        tls = {
            "certificates": [{"chain": str(place.certificate.chain), "key": str(place.certificate.key)}],
            "min_version": "TLSv1.3",
            "session_tickets": False,
        }
        return [web, {**web, "name": "tls", "address": f"127.0.0.1:{place.tls_port}", "tls": tls}]

    def _stamps(self, work):
        if work.units:
            self.filter = self.filter or build("stamp-filter", "wasm32-wasip2")
        more = {"response": work.kind == "both"}
        if work.kind == "upload":
            more["body"] = load.UPLOAD_BYTES
        return {
            f"stamp-{number}": {"component": str(self.filter), "config": {"number": number, **more}}
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


def typed(name, kind, **values):
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.{kind}", **values}}


def socket_address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
