"""Lets requests pass only with a certain field, and marks the answers to them."""

import json
from typing import Self

from componentize_py_types import Err
from wit_world.exports import http_filter as contract
from wit_world.exports.http_filter import (
    BodyVerdict,
    BodyVerdict_Keep,
    Buffered,
    Interest,
    Phases,
    Reply,
    Verdict,
    Verdict_Next,
    Verdict_Respond,
)
from wit_world.imports import log, response
from wit_world.imports.types import ConfigError


class Filter(contract.Filter):
    def __init__(self, require: str, mark: str) -> None:
        self.require = require
        self.mark = mark.encode()

    @classmethod
    def create(cls, config: str) -> Self:
        options = json.loads(config)
        if not options["require"]:
            raise Err([ConfigError("/require", "an empty field name")])
        return cls(options["require"], options.get("mark", "passed"))

    def wants(self) -> Interest:
        phases = Phases.REQUEST | Phases.RESPONSE
        return Interest(phases, [self.require], [], [], [], [])

    def on_request(self, fields: bytes) -> Verdict:
        # What `wants` named: how many values the first field has, and then them.
        if int.from_bytes(fields[:2], "little") > 0:
            return Verdict_Next()
        log.log(log.Level.INFO, "refused", [("missing", self.require)])
        body = f"forbidden: no {self.require}\n".encode()
        return Verdict_Respond(Reply(403, [("content-type", b"text/plain")], body))

    def on_response(self, fields: bytes) -> Verdict:
        response.set("x-checked", self.mark)
        return Verdict_Next()

    # Never called: `wants` does not ask for them, and no body is collected.

    def on_request_body(self, body: Buffered) -> BodyVerdict:
        return BodyVerdict_Keep()

    def on_response_body(self, body: Buffered) -> BodyVerdict:
        return BodyVerdict_Keep()

    def on_request_trailers(self) -> None:
        pass

    def on_response_trailers(self) -> None:
        pass

    def on_done(self) -> None:
        pass


class Transform(contract.Transform):
    """No verdict of this filter makes one."""

    def push(self, chunk: bytes) -> bytes:
        return chunk

    def finish(self) -> bytes:
        return b""
