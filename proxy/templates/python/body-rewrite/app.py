"""What the component is. The filter itself is in `http_filter.py`: the tools look
for the classes of an interface in a module of its name."""

import json

import output  # What is printed and raised is logged.
from wit_world import exports
from wit_world.imports.types import Manifest

# The proxy checks the operator's `config:` by it, before `create`.
SCHEMA = {
    "type": "object",
    "required": ["find", "replace"],
    "additionalProperties": False,
    "properties": {
        "find": {
            "type": "string",
            "minLength": 1,
            "description": "What to look for.",
        },
        "replace": {"type": "string", "description": "What takes its place."},
        "in": {
            "enum": ["request", "response"],
            "default": "response",
            "description": "Whose bodies.",
        },
    },
}


class HttpFilter(exports.HttpFilter):
    def describe(self) -> Manifest:
        return Manifest("{{name}}", "0.1.0", json.dumps(SCHEMA))
