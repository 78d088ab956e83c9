"""What is wrong with one value: where, what, by which contract; and how a validator's finding is put in words."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mockdify.contracts._files import Json

__all__ = ["DRIFT", "Finding", "Kind", "Severity", "Violation", "explain", "path_text"]

Severity: TypeAlias = Literal["error", "warn", "info"]
Kind: TypeAlias = Literal[
    "missing",
    "null",
    "type",
    "value",
    "unknown-field",
    "unknown-event",
    "unknown-path",
    "status",
    "code",
    "media",
    "body",
    "header",
    "order",
    "unfinished",
    "identity",
]

DRIFT: Mapping[str, Severity] = {"unknown-field": "info", "missing": "warn", "null": "warn", "unknown-event": "warn"}
"""How bad a newer Dify's difference is: a new field is news, one gone or null may hurt, all else breaks clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One breach of a contract.

    Attributes:
        severity: `error` breaks the contract; `warn` is a request that Dify takes though a client should not send it.
        kind: What sort of breach; `drift` grades by it.
        path: Where in the value, `$.metadata.usage.total_tokens`; `$` is the whole.
        message: What is wrong there, without the path.
        contract: The contract's file, `contracts/events/message_end`.
        at: The number of the event in its stream, counted from 0.
    """

    severity: Severity = "error"
    kind: Kind
    path: str = "$"
    message: str
    contract: str
    at: int | None = None

    def __str__(self) -> str:
        event = "" if self.at is None else f"event {self.at}: "
        return f"{event}{self.path}: {self.message} ({self.contract})"

    def numbered(self, at: int) -> Violation:
        """The same breach in the event with that number."""
        return replace(self, at=at)

    @property
    def harmless(self) -> bool:
        """Whether Dify ignores it and nothing says that it was meant otherwise: an extra field, no misspelt one."""
        return self.severity == "warn" and self.kind == "unknown-field" and not self.message.endswith("is missing")

    @property
    def drift(self) -> Severity:
        """How bad this is if it is Dify that changed."""
        return DRIFT.get(self.kind, "error")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing a validator found, independent of which validator."""

    path: str
    kind: Kind
    message: str


_A = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "a boolean",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
_LONGEST = 60
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def path_text(path: Sequence[str | int]) -> str:
    """`$.data.inputs[0]['sys.query']` for the keys that lead there."""
    out = "$"
    for key in path:
        if isinstance(key, int):
            out += f"[{key}]"
        else:
            out += f".{key}" if _PLAIN_KEY.fullmatch(key) else f"[{key!r}]"
    return out


def _show(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict():
            return "an object"
        case list():
            return "a list"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


_TYPES: Mapping[type, set[str]] = {
    type(None): {"null"},
    bool: {"boolean"},
    int: {"integer", "number"},
    float: {"number"},
    str: {"string"},
    list: {"array"},
    dict: {"object"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failed:
    """A failed keyword: the value and where it is, the keyword's value, the schema that the keyword is in."""

    path: Sequence[str | int]
    value: Json
    rule: Json
    schema: Json

    def here(self, kind: Kind, message: str) -> Finding:
        return Finding(path_text(self.path), kind, message)

    def below(self, key: str, kind: Kind, message: str) -> Finding:
        return Finding(path_text((*self.path, key)), kind, message)


def _required(it: _Failed) -> Iterator[Finding]:
    return (it.below(k, "missing", "is missing") for k in it.rule if k not in it.value)


def _dependent(it: _Failed) -> Iterator[Finding]:
    for key, needs in it.rule.items():
        if key in it.value:
            yield from (
                it.below(k, "missing", f"is missing, though {key!r} is there") for k in needs if k not in it.value
            )


def _additional(it: _Failed) -> Iterator[Finding]:
    known = it.schema.get("properties", {})
    absent = [k for k in known if k not in it.value]
    for key in it.value:
        if key not in known:
            close = get_close_matches(key, absent, n=1)
            yield it.below(key, "unknown-field", f"is not known here{f'; {close[0]!r} is missing' if close else ''}")


def _type(it: _Failed) -> Iterator[Finding]:
    wanted = " or ".join(_A[t] for t in ([it.rule] if isinstance(it.rule, str) else it.rule))
    yield it.here("null" if it.value is None else "type", f"{_show(it.value)} is not {wanted}")


def _one_of(it: _Failed, allowed: Sequence[Json]) -> Iterator[Finding]:
    same_type = any(_TYPES[type(it.value)] & _TYPES[type(a)] for a in allowed)
    kind: Kind = "value" if same_type else "null" if it.value is None else "type"
    yield it.here(kind, f"{_show(it.value)} is not {' or '.join(map(_show, allowed))}")


def _pattern(it: _Failed) -> Iterator[Finding]:
    yield it.here("value", f"{_show(it.value)} is not {it.schema.get('title') or f'like {it.rule}'}")


_WORDS: Mapping[str | None, Callable[[_Failed], Iterator[Finding]]] = {
    "required": _required,
    "dependentRequired": _dependent,
    "additionalProperties": _additional,
    "type": _type,
    "enum": lambda it: _one_of(it, it.rule),
    "const": lambda it: _one_of(it, [it.rule]),
    "pattern": _pattern,
    "not": lambda it: iter([it.here("value", f"{_show(it.value)} is not allowed")]),
    None: lambda it: iter([it.here("unknown-field", "is not expected here")]),
}


def explain(path: Sequence[str | int], value: Json, keyword: str | None, rule: Json, schema: Json) -> Iterator[Finding]:
    """What a failed keyword means.

    Args:
        path: The keys from the whole to *value*.
        value: What failed.
        keyword: The keyword that failed; None for the schema `false`.
        rule: The keyword's value.
        schema: The schema that the keyword is in.
    """
    failed = _Failed(path=path, value=value, rule=rule, schema=schema)
    words = _WORDS.get(keyword)
    return words(failed) if words else iter([failed.here("value", f"{_show(value)} breaks {keyword} {rule}")])
