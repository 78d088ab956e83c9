"""One recorded exchange as a value, and its place in vcrpy's dictionaries.

What vcrpy has no word for (chunk borders and times, a cut, where the recording comes from) is in `about`, which lives
in `response["x-mockdify"]`: the only place that stock vcrpy both loads and keeps when it saves.
"""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mockdify.steps import Headers

__all__ = ["EXTENSION", "Chunk", "Cut", "Interaction", "MalformedError"]

EXTENSION = "x-mockdify"
Chunk: TypeAlias = tuple[float, int]
"""Milliseconds since the request was sent, and how many bytes came then."""
Cut: TypeAlias = Literal["upstream", "client", "killed"]
"""Who ended a reply before its end: the recorded server, the client, or whoever stopped the recorder."""
_BINARY = ("audio/", "image/", "video/", "font/", "application/pdf", "application/zip", "application/octet-stream")
_TEXT = ("text/", "application/json", "application/x-www-form-urlencoded", "application/xml")


class MalformedError(ValueError):
    """An interaction that lacks what a cassette must have; the text says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """A request and everything that was answered, byte for byte."""

    method: str
    uri: str
    request_headers: Headers = ()
    request_body: bytes | None = None
    status: int
    reason: str = ""
    headers: Headers = ()
    body: bytes = b""
    about: Mapping[str, Any] = field(default_factory=dict)
    """The extension data: `dify`, `at`, `framing`, `head_ms`, `chunks`, `cut`, `app`, `case` …, each optional."""

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """When which piece of the body came; empty when the recording does not know."""
        return tuple((float(ms), int(size)) for ms, size in self.about.get("chunks") or ())

    @property
    def cut(self) -> Cut | None:
        """Who ended the reply too early, if anybody did."""
        return cast("Cut | None", self.about.get("cut"))

    @property
    def dify(self) -> Mapping[str, Any]:
        """The recorded server: `version`, `profile`, `recorded_at`, `note`."""
        return self.about.get("dify") or {}

    @property
    def media_type(self) -> str:
        """The reply's media type without parameters, in lower case."""
        return media_type(self.headers)

    @property
    def is_stream(self) -> bool:
        """Whether the reply is a stream of events."""
        return self.media_type == "text/event-stream"

    def to_vcr(self) -> dict[str, Any]:
        """The dictionary that stands in a cassette, bodies as text where they are text."""
        return {
            "request": {
                "method": self.method,
                "uri": self.uri,
                "headers": grouped(self.request_headers),
                "body": None if self.request_body is None else as_text(self.request_body),
            },
            "response": {
                "status": {"code": self.status, "message": self.reason},
                "headers": grouped(self.headers),
                "body": {"string": as_text(self.body)},
                EXTENSION: dict(self.about),
            },
        }

    @classmethod
    def from_vcr(cls, raw: Any) -> Interaction:
        """The value of one entry of `interactions`, whoever wrote it."""
        request, response = _mapping(raw, "request"), _mapping(raw, "response")
        status = _mapping(response, "status")
        body = response.get("body")
        headers, content = _plain(
            _pairs(response.get("headers")), _bytes(body.get("string") if isinstance(body, dict) else body)
        )
        return cls(
            method=_text(request, "method"),
            uri=_text(request, "uri"),
            request_headers=_pairs(request.get("headers")),
            request_body=_request_body(request.get("body")),
            status=_code(status.get("code")),
            reason=str(status.get("message") or ""),
            headers=headers,
            body=content,
            about=response.get(EXTENSION) or {},
        )


def media_type(headers: Headers) -> str:
    """The media type that *headers* name, without parameters, in lower case."""
    value = next((value for name, value in headers if name.lower() == "content-type"), "")
    return value.partition(";")[0].strip().lower()


def is_text(kind: str, data: bytes) -> bool:
    """Whether *data* is text: by its media type where that is clear, otherwise if it is UTF-8 but for a cut end."""
    if kind.startswith(_TEXT):
        return True
    if kind.startswith(_BINARY):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True


def as_text(data: bytes) -> str | bytes:
    """Text where *data* is UTF-8, the bytes themselves where it is not: vcrpy reads both back to the same bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def grouped(headers: Headers) -> dict[str, list[str]]:
    """The shape that vcrpy gives headers: a list of values a name, whatever the case of the later ones."""
    names: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(names.setdefault(name.lower(), name), []).append(value)
    return found


def _plain(headers: Headers, body: bytes) -> tuple[Headers, bytes]:
    """What a client that knows no compression can be played; stock vcrpy keeps bodies packed or not, as it comes."""
    coding = next((value.strip().lower() for name, value in headers if name.lower() == "content-encoding"), "")
    if not coding or not body:
        return headers, body
    from mockdify.cassettes.coding import plain  # noqa: PLC0415 - not needed for files of ours

    unpacked = plain(coding, body)
    if unpacked is None:
        return headers, body
    left_out = ("content-encoding", "content-length")
    return tuple((name, value) for name, value in headers if name.lower() not in left_out), unpacked


def _mapping(raw: Any, key: str) -> dict[str, Any]:
    value = raw.get(key) if isinstance(raw, dict) else None
    if not isinstance(value, dict):
        raise MalformedError(f"it has no {key!r} mapping")
    return value


def _text(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str):
        raise MalformedError(f"its request has no {key!r}")
    return value


def _code(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise MalformedError("its response has no status code")
    return value


def _pairs(headers: Any) -> Headers:
    if headers is None:
        return ()
    if not isinstance(headers, dict):
        raise MalformedError("its headers are no mapping")
    return tuple((str(name), str(value)) for name, values in headers.items() for value in _each(values))


def _each(values: Any) -> Iterable[Any]:
    return values if isinstance(values, (list, tuple)) else (values,)


def _bytes(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise MalformedError("its response has no body")


def _request_body(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if hasattr(value, "read"):  # vcrpy's way of keeping a file that was uploaded
        return cast("bytes", value.read())
    # vcrpy keeps what aiohttp was given as `json=` unencoded; this is what aiohttp makes of it.
    return json.dumps(value, default=str).encode()
