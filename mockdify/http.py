"""A request as the core sees it, and what it says: no HTTP library beyond this point."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import parse_qsl, unquote

from mockdify.steps import Headers

__all__ = ["Request"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One HTTP request: `target` is path and query as sent; header names keep the client's spelling."""

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    scheme: str = "http"

    @cached_property
    def path(self) -> str:
        """The decoded path."""
        raw = self.target.partition("?")[0]
        return unquote(raw) if "%" in raw else raw

    @cached_property
    def query(self) -> dict[str, str]:
        """The query's parameters; of repeated ones the first, as Dify takes them."""
        found: dict[str, str] = {}
        for name, value in parse_qsl(self.target.partition("?")[2], keep_blank_values=True):
            found.setdefault(name, value)
        return found

    @cached_property
    def _by_name(self) -> dict[str, str]:
        return {name.lower(): value for name, value in reversed(self.headers)}

    def header(self, name: str) -> str | None:
        """The first header called *name* (lower case), or None."""
        return self._by_name.get(name)

    def has_any(self, names: frozenset[str]) -> bool:
        """Whether there is a header of one of these *names* (lower case)."""
        return not names.isdisjoint(self._by_name)

    @property
    def host(self) -> str:
        """The address the client used, for links in answers."""
        return self.header("host") or "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a multipart body."""

    name: str
    filename: str | None
    content_type: str | None
    data: bytes = field(repr=False)
