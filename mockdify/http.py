"""A request as the core sees it, and what it says: no HTTP library beyond this point."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, unquote

import orjson

from mockdify.steps import Headers

__all__ = ["Part", "Request"]

_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")


@dataclass(kw_only=True)  # one per exchange, and freezing costs more than all its fields
class Request:
    """One HTTP request, not to be changed: `target` is path and query as sent, header names are spelt as sent."""

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    """The whole body, unless there is a `file`: then its beginning."""
    scheme: str = "http"
    file: BinaryIO | None = field(default=None, repr=False)
    """The whole body where it is too large to be held in memory; closed by `settle`."""

    path: str = field(init=False, repr=False, compare=False)
    """The decoded path."""

    def __post_init__(self) -> None:
        raw = self.target.partition("?")[0]
        self.path = unquote(raw) if "%" in raw else raw

    @cached_property
    def query(self) -> dict[str, str]:
        """The query's parameters; of repeated ones the first, as Dify takes them."""
        found: dict[str, str] = {}
        for name, value in parse_qsl(self.target.partition("?")[2], keep_blank_values=True):
            found.setdefault(name, value)
        return found

    @cached_property
    def by_name(self) -> dict[str, str]:
        """The headers by their names in lower case; of repeated ones the first."""
        return {name.lower(): value for name, value in reversed(self.headers)}

    def header(self, name: str) -> str | None:
        """The first header called *name* (lower case), or None."""
        return self.by_name.get(name)

    def peek(self) -> dict[str, Any]:
        """The JSON body if there is one: for matching only, never an error."""
        try:
            found = orjson.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def host(self) -> str:
        """The address the client used, for links in answers; what could not be an address is not repeated."""
        said = self.header("host") or ""
        return said if _HOST.fullmatch(said) else "localhost"

    def settle(self) -> None:
        """The request is answered: let go of what is large. What the journal shows of it stays."""
        self.__dict__.pop("parts", None)
        if self.file is not None:
            self.file.close()


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a multipart body: a stretch of it, read when it is asked for."""

    name: str
    filename: str | None
    content_type: str | None
    source: bytes | BinaryIO = field(repr=False)
    start: int = 0
    size: int = 0

    @cached_property
    def data(self) -> bytes:
        """The part's content."""
        if isinstance(self.source, bytes):
            return self.source[self.start : self.start + self.size]
        self.source.seek(self.start)
        return self.source.read(self.size)
