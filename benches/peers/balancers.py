"""The proxies before ten origins: each with the same policy and the same retries.

Two works. `latency` is about who is picked: no try is cut off. `failures` is about
origins that break: a try ends after a second without an answer and goes on to another
origin, three tries in all, which GET allows. What each has to find out who is broken is
on: HAProxy checks each second by HTTP, Envoy and Lockgate go by answers, as they do by
default (Envoy once `outlier_detection` is there). When all are broken Lockgate is tried
with such checks as well.
"""

import json
from dataclasses import dataclass

import proxies
from proxies import HAPROXY_HTTP, socket_address, typed

# What each calls its policies; the first is the one that failures are shown with.
POLICIES = {
    "HAProxy": ["roundrobin", "leastconn", "random(2)"],
    "Envoy": ["ROUND_ROBIN", "LEAST_REQUEST"],
    "Lockgate": ["round_robin", "least_request", "peak_ewma"],
}


@dataclass(frozen=True)
class Work:
    policy: str
    # Ports.
    origins: tuple
    # Of `latency` or `failures`.
    goal: str
    # Whether Lockgate checks as HAProxy does, and asks nobody who is sick.
    checked: bool = False
    kind: str = "balancing"


class HAProxy(proxies.HAProxy):
    def prepare(self, place, work):
        servers = "\n".join(
            f"    server s{number} 127.0.0.1:{port} check inter 1s" for number, port in enumerate(work.origins)
        )
        retries = "retry-on conn-failure empty-response"
        server_timeout = "60s"
        if work.goal == "failures":
            retries += " response-timeout"
            server_timeout = "1s"
        config = place.folder / "haproxy.cfg"
        config.write_text(f"""
global
    nbthread 1
    maxconn 9000
    log stdout format raw local0
defaults
    log global
    timeout connect 2s
    timeout client 300s
    timeout check 1s
    timeout server {server_timeout}
    {HAPROXY_HTTP}
frontend web
    bind 127.0.0.1:{place.port} backlog 4096
    default_backend origins
backend origins
    balance {work.policy}
    option httpchk GET /check
    option redispatch 1
    retries 2
    {retries}
{servers}
""")
        return [self.binary, "-db", "-f", config], place.folder / "access.log"


class Envoy(proxies.Envoy):
    def prepare(self, place, work):
        endpoints = [{"endpoint": {"address": socket_address(port)}} for port in work.origins]
        budget = {"budget_percent": {"value": 20}, "min_retry_concurrency": 3}
        cluster = {
            "name": "origin",
            "connect_timeout": "2s",
            "lb_policy": work.policy,
            "outlier_detection": {},
            # As Lockgate has it; its own default is three retries at once.
            "circuit_breakers": {"thresholds": [{"retry_budget": budget}]},
            "load_assignment": {"cluster_name": "origin", "endpoints": [{"lb_endpoints": endpoints}]},
        }
        manager = self._http(place, proxies.Work(0))
        route = manager["typed_config"]["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
        other = typed(
            "envoy.retry_host_predicates.previous_hosts",
            "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
        )
        route["timeout"] = "60s"
        route["retry_policy"] = {
            "retry_on": "connect-failure,refused-stream,reset",
            "num_retries": 2,
            "retry_host_predicate": [other],
            "host_selection_retry_max_attempts": 5,
        }
        if work.goal == "failures":
            route["retry_policy"]["per_try_timeout"] = "1s"
        listener = self._listener("web", place.port, manager)
        config = place.folder / "envoy.json"
        config.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
        argv = [self.binary, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        return argv, None


class Lockgate(proxies.Lockgate):
    def prepare(self, place, work):
        cluster = {
            "name": "origin",
            "endpoints": [f"127.0.0.1:{port}" for port in work.origins],
            "balance": work.policy,
        }
        policies = []
        if work.goal == "failures":
            conditions = ["connect_failure", "refused_stream", "reset", "try_timeout"]
            policies = [{"name": "again", "on": conditions, "try_timeout": "1s"}]
            cluster["retry"] = "again"
        if work.checked:
            cluster["health_checks"] = [{"http": {"path": "/check"}, "interval": "1s"}]
            cluster["panic_threshold"] = 0
        config = place.folder / "lockgate.yaml"
        config.write_text(json.dumps({
            "workers": 1,
            "cache_dir": str(self.cache),
            "log": {"level": "error"},
            "access_log": {"to": str(place.folder / "access.log"), "format": "text"},
            "listeners": self._listeners(place, proxies.Work(0), []),
            "retry_policies": policies,
            "clusters": [cluster],
        }))
        return [self.binary, "run", "--config", config], None
