"""A journal as HAR 1.2, which browsers, proxies and other tools open. Secrets stand masked.

What HAR has no place for (app, fault, how it ended, each write with its time) goes under keys with an underscore, as
the format allows.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from mockdify import __version__
from mockdify.journal import dumps
from mockdify.masking import Masker
from mockdify.wire import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mockdify.journal import Exchange

__all__ = ["har", "har_pieces"]

_HTTP = "HTTP/1.1"
_TEXTS = ("text/", "application/json", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml")


def har(exchanges: Iterable[Exchange], *, mask: Masker | None = None) -> dict[str, Any]:
    """The whole document, of *exchanges* in their order; *mask* says what to hide, None as each one's journal."""
    return {"log": {**_head(), "entries": [_entry(exchange, mask or exchange.mask) for exchange in exchanges]}}


def har_pieces(exchanges: Iterable[Exchange], *, mask: Masker) -> Iterator[bytes]:
    """The document in pieces, one per exchange, so that a large one holds nobody up."""
    yield b'{"log":' + dumps(_head())[:-1] + b',"entries":['
    lead = b""
    for exchange in exchanges:
        yield lead + dumps(_entry(exchange, mask))
        lead = b","
    yield b"]}}\n"


def _head() -> dict[str, Any]:
    return {"version": "1.2", "creator": {"name": "mockdify", "version": __version__}}


def _entry(exchange: Exchange, mask: Masker) -> dict[str, Any]:
    writes = exchange.writes
    first = writes[0][1] if writes else 0.0
    last = writes[-1][1] if writes else 0.0
    return {
        "startedDateTime": _iso(exchange.started),
        "time": last,
        "request": _request(exchange, mask),
        "response": _response(exchange, mask),
        "cache": {},
        "timings": {"send": 0, "wait": first, "receive": round(last - first, 3)},
        "_id": exchange.id,
        "_app": exchange.app,
        "_user": None if exchange.user is None else mask.text(exchange.user),
        "_fault": exchange.fault,
        "_ended": exchange.ended,
        "_writes": [list(write) for write in writes],
    }


def _request(exchange: Exchange, mask: Masker) -> dict[str, Any]:
    raw = exchange.raw
    target = mask.text(raw.target)
    found: dict[str, Any] = {
        "method": raw.method,
        "url": f"{raw.scheme}://{raw.host}{target}",
        "httpVersion": _HTTP,
        "cookies": [],
        "headers": [{"name": name, "value": mask.header(name, value)} for name, value in raw.headers],
        "queryString": [
            {"name": name, "value": value}
            for name, value in parse_qsl(target.partition("?")[2], keep_blank_values=True)
        ],
        "headersSize": -1,
        "bodySize": exchange.received_bytes,
    }
    if exchange.received_bytes:
        kind = raw.header("content-type") or ""
        # HAR has `encoding` for what was received only; elsewhere it is a key of ours.
        found["postData"] = {"mimeType": kind, **_text(raw.body, kind, mask, encoding="_encoding")}
    return found


def _response(exchange: Exchange, mask: Masker) -> dict[str, Any]:
    headers = [(name, mask.header(name, value)) for name, value in exchange.headers]
    by_name: Mapping[str, str] = {name.lower(): value for name, value in headers}
    kind = by_name.get("content-type", "")
    return {
        "status": exchange.status,
        "statusText": REASONS.get(exchange.status, ""),
        "httpVersion": _HTTP,
        "cookies": [],
        "headers": [{"name": name, "value": value} for name, value in headers],
        "content": {
            "size": exchange.sent_bytes,
            "mimeType": kind or "x-unknown",
            **_text(exchange.body, kind, mask),
        },
        "redirectURL": by_name.get("location", ""),
        "headersSize": -1,
        "bodySize": exchange.sent_bytes,
    }


def _text(body: bytes, kind: str, mask: Masker, *, encoding: str = "encoding") -> dict[str, Any]:
    """A body as text, or as base64 when it is none."""
    text = body.decode("utf-8", "replace")
    shown = mask.text(text)
    # Why bytes with a key in them become text: base64 would carry the key on.
    if kind.startswith(_TEXTS) or shown != text or "\ufffd" not in text:
        return {"text": shown}
    return {"text": base64.b64encode(body).decode(), encoding: "base64"}


def _iso(moment: float) -> str:
    try:
        return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):  # a clock beyond the year 9999
        return "9999-12-31T23:59:59.999Z"
