"""The table of operations: which route a request means, and what that route may answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from mockdify.contracts._files import names, read
from mockdify.contracts._resolve import Context, applies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mockdify.contracts._files import Json
    from mockdify.contracts._resolve import View

__all__ = ["ErrorCode", "Operation", "Reply", "Table", "Where", "table"]

Where: TypeAlias = Literal["json", "query", "form"]

_UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_SLOT = re.compile(r"\\{(\w+)(?::(uuid))?\\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer that is allowed: its status, media type and what is checked in it."""

    status: int
    media: str
    schema: str | None = None
    events: View | None = None
    empty: bool = False
    binary: bool = False
    html: bool = False
    code: str | None = None
    headers: Mapping[str, str]

    def carries(self, media: str) -> bool:
        """Is *media* (without parameters) what this reply comes as?"""
        return fnmatchcase(media, self.media)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCode:
    """One error code: its status, its family's file, what its text is like and the headers it comes with."""

    code: str
    status: int
    family: str
    message: Json
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route of the app API, by Dify's method and path."""

    id: str
    method: str
    path: str
    modes: tuple[str, ...]
    key: bool
    where: Where | None
    request: str | None
    replies: tuple[Reply, ...]
    errors: frozenset[str]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def view(self) -> View | None:
        """Which of a mode's event orders its streams follow; None when it never streams."""
        return next((r.events for r in self.replies if r.events), None)


def _reply(data: Json) -> Reply:
    known = ("status", "media", "schema", "events", "empty", "binary", "html", "code")
    return Reply(headers=data.get("headers", {}), **{k: data[k] for k in known if k in data})


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(_SLOT.sub(lambda m: _UUID if m[2] else "[^/]+", re.escape(path)))


def _operation(data: Json, codes: Mapping[str, tuple[str, ...]], known: Mapping[str, ErrorCode]) -> Operation:
    asked = data.get("request", {})
    errors = (e for name in data["errors"] for e in (codes[name] if name.startswith("@") else (name,)))
    return Operation(
        id=data["id"],
        method=data["method"],
        path=data["path"],
        modes=tuple(data["modes"]),
        key=data["key"],
        where=asked.get("in"),
        request=asked.get("schema"),
        replies=tuple(map(_reply, data["replies"])),
        errors=frozenset(e for e in errors if e in known),
    )


class Table:
    """The operations and errors of one release."""

    def __init__(self, context: Context) -> None:
        data = read("operations")
        self.codes = {code.code: code for code in _codes(context)}
        self.operations = tuple(
            _operation(row, data["error_sets"], self.codes) for row in data["operations"] if applies(row, context)
        )
        self.everywhere = tuple(
            _reply(row) for row in data["everywhere"] if row.get("guide", context.guide) == context.guide
        )
        self._options = tuple(map(_reply, data["options"]))
        self._elsewhere = tuple(data["elsewhere"]["paths"])
        self._routes = [(_pattern(o.path), o) for o in self.operations]

    def find(self, method: str, path: str) -> Operation | None:
        """The operation that a request means; HEAD is its GET without a body, OPTIONS needs no key."""
        method, path = method.upper(), path.partition("?")[0]
        rows = [o for pattern, o in self._routes if pattern.fullmatch(path)]
        asked = "GET" if method == "HEAD" else method
        if method == "OPTIONS" and rows:
            return replace(rows[0], method=method, key=False, where=None, request=None, replies=self._options)
        found = next((o for o in rows if o.method == asked), None)
        return found and (replace(found, method=method) if method == "HEAD" else found)

    def methods(self, path: str) -> list[str]:
        """The methods that a path knows."""
        path = path.partition("?")[0]
        return sorted({o.method for pattern, o in self._routes if pattern.fullmatch(path)})

    def is_elsewhere(self, path: str) -> bool:
        """Is this a part of Dify's API that is not under contract?"""
        return any(path == p or path.startswith((f"{p}/", f"{p}?")) for p in self._elsewhere)


def _codes(context: Context) -> list[ErrorCode]:
    return [
        ErrorCode(
            code=code, status=row["status"], family=name, message=row.get("message", {}), headers=row.get("headers", {})
        )
        for name in names("errors")
        for code, row in read(name)["x-codes"].items()
        if applies(row, context)
    ]


@cache
def table(release: tuple[int, int], *, guide: bool = False) -> Table:
    """The table of one release, or of the guide, kept."""
    return Table(Context(release=release, guide=guide))
