"""What the component is. The filter itself is in `http_filter.py`: the tools look
for the classes of an interface in a module of its name."""

import json

import output  # What is printed and raised is logged.
from wit_world import exports
from wit_world.imports.types import Manifest

# The proxy checks the operator's `config:` by it, before `create`.
SCHEMA = {
    "type": "object",
    "required": ["require"],
    "additionalProperties": False,
    "properties": {
        "require": {
            "type": "string",
            "minLength": 1,
            "description": "The request field that must be there.",
        },
        "mark": {
            "type": "string",
            "default": "passed",
            "description": "The value of `x-checked` on answers.",
        },
    },
}


class HttpFilter(exports.HttpFilter):
    def describe(self) -> Manifest:
        return Manifest("{{name}}", "0.1.0", json.dumps(SCHEMA))
