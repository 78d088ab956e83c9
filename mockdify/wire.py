r"""Dify's three JSON styles, its headers and its HTML pages.

Generate answers in blocking mode are Python's json (blanks, ASCII, no newline); every other answer and every error is
ujson's (compact, slashes escaped, ASCII, newline at the end); events are orjson's (compact, raw UTF-8).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from mockdify.steps import Headers

__all__ = ["HTML_404", "REASONS", "as_event_json", "as_python_json", "as_ujson", "html_redirect"]

JSON = "application/json"
JSON_UTF8 = "application/json; charset=utf-8"
SSE = "text/event-stream; charset=utf-8"
HTML = "text/html; charset=utf-8"

REASONS = {
    200: "OK",
    201: "CREATED",
    204: "NO CONTENT",
    308: "PERMANENT REDIRECT",
    400: "BAD REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT FOUND",
    405: "METHOD NOT ALLOWED",
    409: "CONFLICT",
    412: "PRECONDITION FAILED",
    413: "REQUEST ENTITY TOO LARGE",
    415: "UNSUPPORTED MEDIA TYPE",
    429: "TOO MANY REQUESTS",
    500: "INTERNAL SERVER ERROR",
    502: "BAD GATEWAY",
    503: "SERVICE UNAVAILABLE",
    504: "GATEWAY TIMEOUT",
}
"""Werkzeug writes its phrases in capitals."""

# What is encoded here was made of a request or built by us: it holds no cycle to look for.
_compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, check_circular=False).encode
_spaced = json.JSONEncoder(ensure_ascii=True, check_circular=False).encode


def as_ujson(value: Any) -> bytes:
    r"""Compact ASCII with `\/` and a newline: errors, lists, everything that is not generated."""
    return (_compact(value).replace("/", "\\/") + "\n").encode("ascii")


def as_python_json(value: Any) -> bytes:
    """Spaced ASCII without a newline: blocking answers of the generate endpoints."""
    return _spaced(value).encode("ascii")


as_event_json = orjson.dumps
"""Compact raw UTF-8: the data of an event."""


def cors(origin: str | None) -> Headers:
    """The CORS headers of `/v1`: the origin is echoed where there is one."""
    return (
        ("Access-Control-Allow-Origin", origin or "*"),
        ("Access-Control-Expose-Headers", "X-Env, X-Trace-Id, X-Version"),
    )


HTML_404 = (
    b"<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested URL was not "
    b"found on the server. If you entered the URL manually please check your spelling and try again.</p>\n"
)


def html_redirect(target: str) -> bytes:
    """The page that comes with a 308."""
    return (
        "<!doctype html>\n<html lang=en>\n<title>Redirecting...</title>\n<h1>Redirecting...</h1>\n<p>You should be "
        f'redirected automatically to the target URL: <a href="{target}">{target}</a>. If not, click the link.\n'
    ).encode()
