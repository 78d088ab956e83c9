"""Status line and headers as the bytes that go out.

aiohttp writes them too, and spends on it half of what a blocking answer costs. The usual answer (HTTP/1.1, kept alive,
a known length or chunks) is written here; everything else is left to aiohttp.
"""

from __future__ import annotations

import re
from email.utils import formatdate
from functools import lru_cache
from time import time
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http_writer import HttpVersion11

from mockdify.wire import REASONS

if TYPE_CHECKING:
    from mockdify.steps import Head, Headers

__all__ = ["SENT", "SERVER", "Chunks", "cleaned", "is_usual", "send", "usual_head"]

SERVER = "gunicorn"
_BARE = frozenset({100, 101, 204, 205, 304, 413})
"""Statuses without a body, and the one after which the connection may have to be closed."""
_NOT_IN_HEADERS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class Sent(web.StreamResponse):
    """What a handler returns when the answer is out: aiohttp is left nothing to do but to keep the connection."""

    def __init__(self) -> None:
        super().__init__()
        self._keep_alive = True

    async def prepare(self, request: web.BaseRequest) -> None:
        """There is nothing left to do."""

    async def write_eof(self, data: bytes = b"") -> None:
        """There is nothing left to do."""


SENT = Sent()
"""One serves all: it holds nothing."""


class Chunks(Sent):
    """A body in chunks behind a *head* that is written here as well."""

    def __init__(self, head: bytes, incoming: web.BaseRequest) -> None:
        super().__init__()
        self._head: bytes | None = head
        self._incoming = incoming
        self._transport = incoming.transport
        self._chunked = True
        self._ended = False

    async def prepare(self, request: web.BaseRequest) -> None:  # noqa: ARG002 - aiohttp's
        """Send the head, once."""
        if self._head is not None:
            head, self._head = self._head, None
            send(head, self._incoming)

    def send(self, data: bytes) -> int:
        """Write one chunk; gives how many bytes are waiting for the client to read."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        if data:
            transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return transport.get_write_buffer_size()

    def raw(self, data: bytes) -> None:
        """Write past all framing."""
        transport = self._incoming.transport
        if transport is not None:
            transport.write(data)

    async def drain(self) -> None:
        """Wait until the client is not behind any more."""
        await self._incoming.writer.drain()

    async def write(self, data: bytes) -> None:  # type: ignore[override]  # we only ever write bytes
        """Send one chunk; wait when the client is behind."""
        self.send(data)
        await self.drain()

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - aiohttp's
        """Send the end, once, unless the connection has come to its own."""
        if not self._ended:
            self._ended = True
            transport = self._incoming.transport
            if transport is not None and not transport.is_closing():
                transport.write(b"0\r\n\r\n")


def send(data: bytes, incoming: web.BaseRequest) -> None:
    """Write *data*, a whole answer or a part of one, past aiohttp."""
    transport = incoming.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError
    transport.write(data)
    incoming.writer.output_size += len(data)


def is_usual(incoming: web.BaseRequest) -> bool:
    """Whether a request leaves it to us how its answer is framed, and the connection open."""
    return incoming.version == HttpVersion11 and incoming.keep_alive


def usual_head(head: Head, *, method: str, length: int | None) -> bytes | None:
    """The head of a usual answer: with its *length*, or None for a body in chunks. None: not a usual one."""
    if head.status in _BARE or method == "HEAD":
        return None
    lines = _lines(head.status, head.headers, None if head.wire is None else head.wire.reason)
    if lines is None:
        return None
    if length is None:
        return b"%bTransfer-Encoding: chunked\r\nDate: %b\r\n\r\n" % (lines, _date(int(time())))
    return b"%bContent-Length: %d\r\nDate: %b\r\n\r\n" % (lines, length, _date(int(time())))


@lru_cache(maxsize=256)  # an app has a handful of heads
def _lines(status: int, headers: Headers, reason: str | None) -> bytes | None:
    names = {name.lower() for name, _ in headers}
    if (
        not names.isdisjoint({"connection", "content-length", "transfer-encoding", "date"})
        or "content-type" not in names
    ):
        return None
    said = [f"HTTP/1.1 {status} {cleaned(reason or REASONS.get(status, ''))}"]
    said += [f"{name}: {cleaned(value)}" for name, value in headers]
    if "server" not in names:
        said.append(f"Server: {SERVER}")
    return "\r\n".join([*said, "Connection: keep-alive", ""]).encode()


@lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


def cleaned(value: str) -> str:
    """*value* as it may stand in a header line. What came from a client, such as a file's type, cannot break out."""
    return value if value.isprintable() else _NOT_IN_HEADERS.sub("", value)
