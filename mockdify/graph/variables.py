"""The variable pool of a run, and how Dify writes values into texts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, MutableMapping, Sequence

__all__ = [
    "MISSING",
    "Pool",
    "Selector",
    "Template",
    "files_in",
    "is_file",
    "markdown",
    "parse_template",
    "plain_text",
    "zero_of",
]

Json: TypeAlias = Any
Selector: TypeAlias = tuple[str, ...]
Template: TypeAlias = tuple[str | Selector, ...]
"""A text in pieces: literal parts, and selectors of the variables between them."""


class _Missing:
    """The value of a variable that nobody set: not the same as None."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()

_REFERENCE = re.compile(r"\{\{#([a-zA-Z0-9_]{1,50}(?:\.[a-zA-Z_][a-zA-Z0-9_]{0,29}){1,10})#\}\}")
"""A variable in a text. Anything else between the braces, `{{#$output.note#}}` say, is text."""

_SYSTEM = "sys."
_FILE_KEYS = {"name": "filename", "url": "remote_url"}
_ZEROS: Mapping[str, Json] = {"string": "", "secret": "", "number": 0, "boolean": False, "object": {}, "file": None}


def parse_template(text: str) -> Template:
    """*text* in literal parts and selectors; empty parts are left out."""
    pieces = _REFERENCE.split(text)
    return tuple(tuple(piece.split(".")) if odd % 2 else piece for odd, piece in enumerate(pieces) if piece)


def zero_of(kind: str) -> Json:
    """The empty value of a Dify type: `""`, 0, False, [], {} or None."""
    return [] if kind.startswith("array") else copy(_ZEROS.get(kind))


def is_file(value: Json) -> bool:
    """Whether *value* is a file of Dify's."""
    return isinstance(value, Mapping) and value.get("dify_model_identity") == "__dify__file__"


def files_in(value: Json) -> Iterator[Json]:
    """The files in *value*, one level deep as Dify looks for them."""
    for item in value.values() if isinstance(value, Mapping) and not is_file(value) else [value]:
        yield from filter(is_file, item if isinstance(item, list) else [item])


def _has_files(value: list[Json]) -> bool:
    return bool(value) and all(map(is_file, value))


def plain_text(value: Json) -> str:
    """*value* as prompts and conditions see it."""
    if value is None or value is MISSING or is_file(value):
        return ""
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        if not value or _has_files(value):
            return ""
        return json.dumps(value, ensure_ascii=False) if all(isinstance(x, str) for x in value) else str(value)
    return str(value)


def markdown(value: Json) -> str:
    """*value* as answers show it: a list with a dash a line, an object indented, a file as a link."""
    if value is None or value is MISSING:
        return ""
    if is_file(value):
        return _link(value)
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False, indent=2)
    if isinstance(value, list):
        return "\n".join(map(_link, value) if _has_files(value) else (f"- {item}" for item in value))
    return str(value)


def _link(file: Mapping[str, Json]) -> str:
    mark = "!" if file.get("type") == "image" else ""
    return f"{mark}[{file.get('filename') or ''}]({file.get('url') or file.get('remote_url') or ''})"


@dataclass(slots=True)
class Pool:
    """All that nodes may refer to. `sys`, `env` and `conversation` are names of nodes like any other."""

    system: Mapping[str, Json]
    environment: Mapping[str, Json]
    conversation: MutableMapping[str, Json]
    defaults: Mapping[str, Json] = field(default_factory=dict)
    """What conversation variables hold until somebody writes them."""
    nodes: dict[str, dict[str, Json]] = field(default_factory=dict)

    def copy(self) -> Pool:
        """A pool that sees all of this one and keeps what is added to itself; conversation variables stay shared."""
        nodes = {node: dict(values) for node, values in self.nodes.items()}
        return Pool(self.system, self.environment, self.conversation, self.defaults, nodes)

    def add(self, node: str, values: Mapping[str, Json]) -> None:
        """Keep *values* as outputs of *node*, beside those it has."""
        self.nodes.setdefault(node, {}).update(values)

    def assign(self, selector: Sequence[str], value: Json) -> None:
        """Write the variable at *selector*: a conversation variable, or one of a loop."""
        if selector[0] == "conversation":
            self.conversation[selector[1]] = value
        else:
            self.add(selector[0], {selector[1]: value})

    def get(self, selector: Sequence[str]) -> Json:
        """The value at *selector*, or `MISSING`. What follows the second name goes into objects and files."""
        if len(selector) < 2:
            return MISSING
        value = self._variable(str(selector[0]), str(selector[1]))
        for key in selector[2:]:
            value = _inside(value, str(key))
        return value

    def _variable(self, node: str, name: str) -> Json:
        match node:
            case "sys":
                return self.system.get(name, MISSING)
            case "env":
                return self.environment.get(name, MISSING)
            case "conversation":
                return self.conversation.get(name, self.defaults.get(name, MISSING))
        values = self.nodes.get(node)
        if values is None:
            return MISSING
        if name not in values and name.startswith(_SYSTEM):
            # Exports of 2024 read the system variables from their start node.
            return self.system.get(name.removeprefix(_SYSTEM), MISSING)
        return values.get(name, MISSING)

    def text(self, template: str) -> str:
        """*template* with its variables filled in. Of one that does not exist its name remains, as in Dify."""
        return "".join(self._piece(piece, plain_text) for piece in parse_template(template))

    def show(self, template: Iterable[str | Selector]) -> str:
        """The same for an answer's template."""
        return "".join(self._piece(piece, markdown) for piece in template)

    def _piece(self, piece: str | Selector, render: Any) -> str:
        if isinstance(piece, str):
            return piece
        value = self.get(piece)
        return ".".join(piece) if value is MISSING else str(render(value))

    def fill(self, variables: Json) -> dict[str, Json]:
        """A node's `variables` list (name and selector) as a mapping of values; what is missing is None."""
        filled = {}
        for item in variables if isinstance(variables, list) else []:
            if isinstance(item, Mapping) and item.get("variable"):
                value = self.get(item.get("value_selector") or ())
                filled[str(item["variable"])] = None if value is MISSING else value
        return filled


def _inside(value: Json, key: str) -> Json:
    if is_file(value):
        return value.get(key, value.get(_FILE_KEYS.get(key, key), MISSING))
    return value.get(key, MISSING) if isinstance(value, Mapping) else MISSING
