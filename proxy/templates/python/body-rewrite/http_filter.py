"""Replaces a word in bodies of requests or of answers."""

import json
from typing import Self

from componentize_py_types import Err
from wit_world.exports import http_filter as contract
from wit_world.exports.http_filter import (
    BodyVerdict,
    BodyVerdict_Keep,
    BodyVerdict_Replace,
    Buffered,
    Buffering,
    Interest,
    Overflow,
    Phases,
    Verdict,
    Verdict_Buffer,
    Verdict_Next,
)
from wit_world.imports.types import ConfigError

MAX_BODY_BYTES = 1 << 20
"""Longer bodies are refused."""


class Filter(contract.Filter):
    def __init__(self, find: str, replace: str, side: str) -> None:
        self.find = find.encode()
        self.replace = replace.encode()
        self.side = side

    @classmethod
    def create(cls, config: str) -> Self:
        options = json.loads(config)
        if not options["find"]:
            raise Err([ConfigError("/find", "nothing to look for")])
        return cls(
            options["find"], options["replace"], options.get("in", "response")
        )

    def wants(self) -> Interest:
        encoding = ["content-encoding"]
        if self.side == "request":
            return Interest(Phases.REQUEST, encoding, [], [], [], [])
        return Interest(Phases.RESPONSE, [], encoding, [], [], [])

    def on_request(self, fields: bytes) -> Verdict:
        return self.begin(fields)

    def on_request_body(self, body: Buffered) -> BodyVerdict:
        return self.rewrite(body.bytes)

    def on_response(self, fields: bytes) -> Verdict:
        return self.begin(fields)

    def on_response_body(self, body: Buffered) -> BodyVerdict:
        return self.rewrite(body.bytes)

    def begin(self, fields: bytes) -> Verdict:
        # What `wants` named: how many values the first field has, and then them.
        is_encoded = int.from_bytes(fields[:2], "little") > 0
        if is_encoded:  # What is compressed cannot be searched.
            return Verdict_Next()
        return Verdict_Buffer(Buffering(MAX_BODY_BYTES, Overflow.REJECT))

    def rewrite(self, body: bytes) -> BodyVerdict:
        if self.find not in body:
            return BodyVerdict_Keep()
        return BodyVerdict_Replace(body.replace(self.find, self.replace))

    # Never called: `wants` does not ask for them.

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
