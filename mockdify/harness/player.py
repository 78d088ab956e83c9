"""A server that plays wire transcripts: exact bytes in exact pieces, and ends of every kind.

It speaks just enough HTTP/1.1 for clients to believe it, keeps what it received, and adds a millisecond to nobody:
hundreds of streams a second are played to one client.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Sequence

from mockdify.checks.transcript import Pause, WireReply, whole
from mockdify.http import Request
from mockdify.journal import Exchange, Journal
from mockdify.profiles import Profile
from mockdify.wire import REASONS

__all__ = ["Booking", "Player"]

_NOBODYS = Journal(time.time, cap=10)
"""Requests with keys that nobody knows."""
_PING = b"event: ping\n\n"
_PING_EVERY = 0.1
_LIST = {"data": [], "has_more": False, "limit": 20}
_CONVERSATION = {
    "id": "00000000-0000-4000-8000-00000000c0de",
    "name": "New conversation",
    "inputs": {},
    "status": "normal",
    "introduction": "",
    "created_at": 1700000000,
    "updated_at": 1700000000,
}


class Booking:
    """The replies of one key, and the exchanges that came of it."""

    def __init__(self, replies: Sequence[WireReply], others: Sequence[tuple[str, str, WireReply]] = ()) -> None:
        self._replies = list(replies)
        self._others = list(others)
        self.sent: dict[int, WireReply] = {}
        """What each exchange (by `id`) was answered."""
        self.journal = Journal(time.time)
        self.exchanges: list[Exchange] = []
        self.connections: set[_Connection] = set()
        self.asked = 0

    def next(self) -> WireReply:
        """The reply to the next request that generates; the last one again and again."""
        reply = self._replies[min(self.asked, len(self._replies) - 1)]
        self.asked += 1
        return reply

    def aside(self, request: Request) -> WireReply:
        """The reply to a request that does not generate: as it was once answered, or enough to go on."""
        for number, (method, path, reply) in enumerate(self._others):
            if (method, path) == (request.method, request.path):
                if any(other[:2] == (method, path) for other in self._others[number + 1 :]):
                    del self._others[number]
                return reply
        return _plain(request)


class Player:
    """The server. Its methods belong to its loop's thread, but for `book` and `drop`."""

    def __init__(self, profile: Profile | None = None) -> None:
        self._bookings: dict[str, Booking] = {}
        self.profile = profile
        """In whose words the transcripts are, when those are not Dify's."""
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port of the loopback."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
        for key in list(self._bookings):
            self.drop(key)

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self.port}/v1"

    def book(self, key: str, booking: Booking) -> None:
        """Let *key* hear the replies of *booking*."""
        self._bookings[key] = booking

    def drop(self, key: str) -> None:
        """Forget *key* and break off what is still open."""
        booking = self._bookings.pop(key, None)
        for connection in list(booking.connections) if booking else ():
            if connection.is_busy:
                connection.break_off("close")

    def find(self, request: Request) -> Booking | None:
        """The booking of the request's key."""
        token = (request.header("authorization") or "").partition(" ")[2].strip()
        return self._bookings.get(token)


class _Connection(asyncio.Protocol):
    """One connection: requests one after the other."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None
        self._booking: Booking | None = None

    # ------------------------------------------------------------------ what asyncio calls
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._task is not None:
            self._task.cancel()
        if self._exchange is not None:
            self._exchange.close("client gone")
        if self._booking is not None:
            self._booking.connections.discard(self)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._task is None and (request := self._request()) is not None:
            self._answer(request)

    # ------------------------------------------------------------------ a request
    def _request(self) -> Request | None:
        head, blank, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not blank:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.partition(":") for line in lines]
        headers = tuple((name.strip(), value.strip()) for name, _, value in pairs)
        low = {name.lower(): value for name, value in headers}
        if "chunked" in low.get("transfer-encoding", ""):
            body, used = _unchunked(rest)
        else:
            length = int(low.get("content-length", 0))
            body, used = (rest[:length], length) if len(rest) >= length else (b"", -1)
        if low.get("expect", "").lower() == "100-continue" and used < 0 and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if used < 0:
            return None
        del self._buffer[: len(head) + 4 + used]
        method, target, *_ = [*first.split(" "), "/", ""]
        return Request(method=method, target=target, headers=headers, body=body)

    def _answer(self, request: Request) -> None:
        booking = self._player.find(request)
        journal = booking.journal if booking else _NOBODYS
        exchange = self._exchange = journal.open(request)
        self._booking = booking
        if booking is None:
            reply = whole({"code": "unauthorized", "message": "Access token is invalid", "status": 401}, status=401)
        else:
            booking.exchanges.append(exchange)
            booking.connections.add(self)
            exchange.user, exchange.profile = _user(request), self._player.profile
            reply = booking.next() if _generates(request) else booking.aside(request)
            booking.sent[id(exchange)] = reply
        keep = (request.header("connection") or "").lower() != "close"
        if reply.is_plain:
            self._play_now(reply, exchange, keep)
        else:
            self._task = asyncio.ensure_future(self._play(reply, exchange, keep))

    # ------------------------------------------------------------------ a reply
    def _head(self, reply: WireReply, exchange: Exchange, keep: bool) -> bytes:
        exchange.status, exchange.headers = reply.status, reply.headers
        lines = [f"HTTP/1.1 {reply.status} {reply.reason or REASONS.get(reply.status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in reply.headers]
        if reply.framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
        elif reply.framing == "length":
            lines.append(f"Content-Length: {len(reply.body) + reply.extra_length}")
        if not keep or reply.framing == "close":
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _play_now(self, reply: WireReply, exchange: Exchange, keep: bool) -> None:
        """A reply without pauses, as quick as can be."""
        transport = self._transport
        if transport is None:
            return
        chunked, now = reply.framing == "chunked", time.time()
        out = [self._head(reply, exchange, keep)]
        for piece in reply.pieces:
            assert not isinstance(piece, Pause)
            exchange.note(piece.data, now)
            out.append(b"%x\r\n%b\r\n" % (len(piece.data), piece.data) if chunked else piece.data)
        if chunked:
            out.append(b"0\r\n\r\n")
        transport.write(b"".join(out))
        exchange.close("complete")
        if not keep:
            transport.close()

    async def _play(self, reply: WireReply, exchange: Exchange, keep: bool) -> None:
        with contextlib.suppress(ConnectionError):
            if reply.delay:
                await self._pause(reply.delay)
            if reply.status:
                self._write(self._head(reply, exchange, keep))
            for piece in reply.pieces:
                if isinstance(piece, Pause):
                    await self._pause(piece.seconds)
                else:
                    self._piece(piece.data, reply, exchange, raw=piece.raw)
                    if reply.framing == "close":
                        await self._pause(0.002)  # or the kernel joins the pieces
            while reply.end == "pings":
                self._piece(_PING, reply, exchange)
                await self._pause(_PING_EVERY)
            if reply.end == "hang":
                self._flush()
                await asyncio.Event().wait()
            await self._end(reply, exchange, keep)
        self._task = None
        if self._transport is not None:
            self.data_received(b"")

    async def _end(self, reply: WireReply, exchange: Exchange, keep: bool) -> None:
        if reply.end == "complete":
            if reply.framing == "chunked":
                self._write(b"0\r\n\r\n")
            self._flush()
            exchange.close("complete")
            if (not keep or reply.framing == "close") and self._transport is not None:
                self._transport.close()
            return
        self._flush()
        if reply.pieces:
            await asyncio.sleep(0.05)  # a reset throws away what the client has not read yet
        exchange.close("reset" if reply.end == "reset" else "aborted")
        self.break_off(reply.end)

    def _piece(self, data: bytes, reply: WireReply, exchange: Exchange, *, raw: bool = False) -> None:
        exchange.note(data, time.time())
        framed = reply.framing == "chunked" and not raw
        self._write(b"%x\r\n%b\r\n" % (len(data), data) if framed else data)

    def _write(self, data: bytes) -> None:
        """Have *data* go out at the next pause: each write of its own costs as much as all else."""
        self._out.append(data)

    def _flush(self) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    async def _pause(self, seconds: float) -> None:
        self._flush()
        await asyncio.sleep(seconds)

    @property
    def is_busy(self) -> bool:
        """Whether a reply is under way: an idle connection may be kept, for whoever keeps connections."""
        return self._task is not None

    def break_off(self, how: str) -> None:
        """End the connection here."""
        if self._transport is None:
            return
        if how == "reset":
            sock = self._transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def _unchunked(data: bytes) -> tuple[bytes, int]:
    """A chunked body and how many bytes it took; -1 when it is not all there."""
    at, body = 0, b""
    while True:
        line, end, _ = data[at:].partition(b"\r\n")
        if not end:
            return b"", -1
        size = int(line.partition(b";")[0] or b"0", 16)
        at += len(line) + 2
        if len(data) < at + size + 2:
            return b"", -1
        body += data[at : at + size]
        at += size + 2
        if not size:
            return body, at


def _generates(request: Request) -> bool:
    return request.method == "POST" and request.path.endswith(
        ("/chat-messages", "/completion-messages", "/workflows/run")
    )


def _user(request: Request) -> str | None:
    try:
        body = json.loads(request.body)
    except ValueError:
        return request.query.get("user")
    return str(body["user"]) if isinstance(body, dict) and "user" in body else None


def _plain(request: Request) -> WireReply:
    """What is answered to everything that does not generate: enough for clients that ask around first."""
    if request.method == "DELETE":
        return WireReply(status=204, headers=(), framing="length")
    if request.method == "GET":
        return whole({**_LIST, "name": "Demo", "mode": "chat", "user_input_form": [], "file_upload": {}})
    if request.path.endswith("/name"):
        return whole(_CONVERSATION)
    return whole({"result": "success"})
