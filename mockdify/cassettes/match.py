"""What makes two requests the same: a request's shape, without what every run makes anew.

A shape has a key that must be equal, and three things that may differ: the ids in it, its form (media type, whether it
has credentials), and who asks (end user, key). Nothing here knows a recording; `replay` decides with these.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson

from mockdify.cassettes.interaction import is_text, media_type
from mockdify.cassettes.secrets import PATTERNS, generalise
from mockdify.http import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mockdify.cassettes.interaction import Interaction
    from mockdify.cassettes.secrets import SecretPattern

__all__ = ["Shape", "fields", "recorded_request", "shape"]

_NEW = "(new)"
_ID, _USER = "{id}", "{user}"
_UUID = r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}"
_IS_ID = re.compile(_UUID + r"|\d{9,}|(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20,}")
_ID_NAME = re.compile(r"(?:.*_)?ids?")
_VOLATILE_QUERY = frozenset({"timestamp", "nonce", "sign", "_"})
_ROOT = re.compile(r"/(?:v1|files)(?=/|\Z)")
_BEARER = re.compile(r"Bearer +(\S+)", re.IGNORECASE)
_FILENAME = re.compile(rb'filename\*?="?([^";\r\n]*)"?')
_NAME = re.compile(rb'[; ]name="?([^";\r\n]*)"?')


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A request without what differs from run to run, and that apart."""

    route: str
    """Method and path, ids as `{id}`."""
    key: tuple[str, str, str]
    """Route, query and body: these must be equal."""
    ids: tuple[str, ...]
    """The ids in path, query and body, in that order: as many in every request of the same key."""
    form: tuple[str, str]
    """Media type, and whether it has credentials."""
    user: str
    credential: str


@dataclass(slots=True)
class _Volatile:
    """What is taken out of a request while its key is made."""

    ids: list[str]
    user: str = ""

    def id(self, value: str) -> str:
        """A placeholder for *value*, which is kept, when it looks like an id; *value* otherwise."""
        if not _IS_ID.fullmatch(value):
            return value
        self.ids.append(value.lower())
        return _ID

    def named(self, name: str, value: str) -> str:
        """*value* as far as it must be equal in a field called *name*."""
        if name == "user" and value:
            self.user = value
            return _USER
        return self.id(value) if _ID_NAME.fullmatch(name) else value


def recorded_request(interaction: Interaction) -> Request:
    """The request of *interaction*, as a server gets it."""
    parts = urlsplit(interaction.uri)
    return Request(
        method=interaction.method,
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        headers=interaction.request_headers,
        body=interaction.request_body or b"",
    )


def shape(asked: Request, patterns: Sequence[SecretPattern] = PATTERNS) -> Shape:
    """The shape of *asked*; secrets count as their kind, since a recording has placeholders for them."""
    volatile = _Volatile([])
    path, _, query = asked.target.partition("?")
    route = f"{asked.method.upper()} {_template(path, volatile)}"
    query_key = _text(_query(query, volatile), patterns) if query else ""
    body_key = _body(asked, volatile, patterns) if asked.body else ""
    authorization = next((value for name, value in asked.headers if name.lower() == "authorization"), None)
    bearer = _BEARER.fullmatch(authorization.strip(" ")) if authorization else None
    has = "none" if not authorization else "bearer" if bearer else "other"
    return Shape(
        route=route,
        key=(route, query_key, body_key),
        ids=tuple(volatile.ids),
        form=(media_type(asked.headers), has),
        user=volatile.user,
        credential=bearer[1] if bearer else "",
    )


def _template(path: str, volatile: _Volatile) -> str:
    root = _ROOT.search(path)
    path = unquote(path[root.start() :] if root else path)
    return "/".join(volatile.id(part) for part in path.split("/"))


def _query(query: str, volatile: _Volatile) -> list[tuple[str, str]]:
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return [(name, volatile.named(name, value)) for name, value in pairs if name not in _VOLATILE_QUERY]


def _text(value: Any, patterns: Sequence[SecretPattern]) -> str:
    """Canonical JSON of *value*, secrets as their kinds."""
    return generalise(orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode(), patterns)


def _body(asked: Request, volatile: _Volatile, patterns: Sequence[SecretPattern]) -> str:
    kind = media_type(asked.headers)
    if kind == "multipart/form-data" and (parts := sorted(_parts(asked, volatile, patterns))):
        return _text(parts, patterns)
    if kind == "application/x-www-form-urlencoded":
        return _text(_query(asked.body.decode("utf-8", "replace"), volatile), patterns)
    try:
        value = orjson.loads(asked.body)
    except ValueError:
        return generalise(asked.body.decode("latin-1"), patterns, binary=not is_text(kind, asked.body))
    if isinstance(value, dict):
        value["conversation_id"] = value.get("conversation_id") or _NEW
        value = {name: _plain(name, value[name], volatile) for name in sorted(value)}
    return _text(value, patterns)


def _plain(name: str, value: Any, volatile: _Volatile, *, inner: bool = False) -> Any:
    if isinstance(value, str):
        return value if inner and name == "user" else volatile.named(name, value)
    if isinstance(value, dict):
        return {key: _plain(key, value[key], volatile, inner=True) for key in sorted(value)}
    if isinstance(value, list):
        return [_plain(name, item, volatile, inner=True) for item in value]
    return value


def _parts(asked: Request, volatile: _Volatile, patterns: Sequence[SecretPattern]) -> Iterator[tuple[str, str, str]]:
    """(name, file name, content) of each part of an upload; boundaries and part headers are the client's own."""
    border, _, _ = asked.body.partition(b"\r\n")
    for part in asked.body.split(border)[1:-1] if border.startswith(b"--") else ():
        head, _, content = part.removesuffix(b"\r\n").partition(b"\r\n\r\n")
        name, filename = _NAME.search(head), _FILENAME.search(head)
        called = name[1].decode("utf-8", "replace") if name else ""
        if filename is None:
            yield called, "", volatile.named(called, content.decode("utf-8", "replace"))
        else:
            text = generalise(content.decode("latin-1"), patterns, binary=not is_text("", content))
            yield called, unquote(filename[1].decode("utf-8", "replace")), hashlib.sha256(text.encode()).hexdigest()


# ---------------------------------------------------------------- for explaining
def fields(asked: Request) -> dict[str, str]:
    """The request as named values, `body.inputs.name` and the like: what an explanation compares."""
    path, _, query = asked.target.partition("?")
    root = _ROOT.search(path)
    found = {"method": asked.method.upper(), "path": unquote(path[root.start() :] if root else path)}
    found |= {f"query.{name}": value for name, value in parse_qsl(query, keep_blank_values=True)}
    try:
        value = orjson.loads(asked.body) if asked.body else {}
    except ValueError:
        value = {"(bytes)": f"{len(asked.body)} bytes, SHA-256 {hashlib.sha256(asked.body).hexdigest()[:12]}"}
    return found | dict(_flat("body", value))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(f"{name}.{key}", item)
    elif value != {}:
        yield name, orjson.dumps(value).decode()


@lru_cache(maxsize=1024)
def is_id(value: str) -> bool:
    """Whether *value* looks like something that a server made up."""
    return _IS_ID.fullmatch(value) is not None
