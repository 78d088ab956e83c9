"""A request as its contract sees it: one object out of a JSON body, a query or a form.

Only what is needed to judge a client: no decoding of Dify's, so that the judge does not share the mock's mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qsl

import orjson

from mockdify.contracts._files import Json

if TYPE_CHECKING:
    from mockdify.contracts._resolve import Schema

__all__ = ["Body", "Headers", "Unreadable", "form", "lower", "media_type", "query", "read_json"]

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]] | None
Body: TypeAlias = bytes | str | Json | None

_NAME = re.compile(rb'\bname="([^"]*)"', re.IGNORECASE)
_FILE = re.compile(rb'\bfilename="([^"]*)"', re.IGNORECASE)
_TYPE = re.compile(rb"^content-type:\s*(\S.*?)\s*$", re.IGNORECASE | re.MULTILINE)
_WORDS = {"true": True, "false": False}


class Unreadable(Exception):
    """The body is not what its media type says; the text says why."""


def lower(headers: Headers) -> dict[str, str]:
    """Headers by lower-case name; of several with one name the last."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    return {str(k).lower(): v for k, v in pairs}


def media_type(headers: Mapping[str, str]) -> str:
    """The media type without parameters, in lower case; empty when there is none."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def read_json(body: Body) -> Json:
    """The JSON of a body; values that are no text were parsed already."""
    if not isinstance(body, (bytes, str)):
        return body
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"is not JSON: {error}") from None


def query(path: str, schema: Schema) -> dict[str, Json]:
    """The query's parameters, those that the schema wants as numbers or booleans turned into such where they can be."""
    found = dict(parse_qsl(path.partition("?")[2], keep_blank_values=True))
    return {name: _coerced(value, schema.get("properties", {}).get(name, {})) for name, value in found.items()}


def _coerced(value: str, schema: Schema) -> Json:
    types = schema.get("type", ()) if isinstance(schema, dict) else ()
    if "integer" in types and re.fullmatch(r"[+-]?\d{1,18}", value.strip()):
        return int(value)
    return _WORDS.get(value.lower(), value) if "boolean" in types else value


def form(headers: Mapping[str, str], body: Body) -> dict[str, Json]:
    """The parts of a multipart form: texts, and for files their `filename` and `content_type`."""
    if not isinstance(body, (bytes, str)):
        return dict(body or {})
    found = re.search(r'boundary="?([^";]+)', headers.get("content-type", ""))
    if media_type(headers) != "multipart/form-data" or not found:
        raise Unreadable("is not a multipart form with a boundary")
    raw = body.encode() if isinstance(body, str) else body
    parts: dict[str, Json] = {}
    for piece in raw.split(b"--" + found[1].encode("latin-1"))[1:]:
        head, blank, content = piece.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if blank and name:
            parts.setdefault(name[1].decode("utf-8", "replace"), _part(head, content.removesuffix(b"\r\n")))
    return parts


def _part(head: bytes, content: bytes) -> Json:
    file, kind = _FILE.search(head), _TYPE.search(head)
    if not file:
        return content.decode("utf-8", "replace")
    media = {"content_type": kind[1].decode("latin-1")} if kind else {}
    return {"filename": file[1].decode("utf-8", "replace"), **media}
