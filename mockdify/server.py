"""The edge: the only place that acts. It reads requests from sockets and performs the steps that the core yields."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_writer import HttpVersion10, HttpVersion11
from multidict import CIMultiDict

from mockdify.engine import BODY_LIMIT, Engine, Handling
from mockdify.errors import MockdifyError
from mockdify.heads import SENT, SERVER, Chunks, cleaned, is_usual, send, usual_head
from mockdify.http import Request
from mockdify.intake import (
    LONGEST_LINE,
    Begun,
    BrokenError,
    Connection,
    Intake,
    Listener,
    StalledError,
    refuse,
    turned_away,
)
from mockdify.pump import FIRST_GAP, PRESSURE, YIELD_EVERY, Pump
from mockdify.steps import Abort, Body, Head, Headers, Leaving, OnWire, Raw, Reply, Signal, Step, Wait
from mockdify.waits import FOREVER, Waiter, Wheel
from mockdify.wire import REASONS
from mockdify.workspace import Workspace

if TYPE_CHECKING:
    from aiohttp.http import RawRequestMessage

__all__ = ["Edge"]

log = logging.getLogger("mockdify")

_ASK_ABOVE = 64 * 1024
"""The size of a body from which on the engine is asked whether it is wanted at all."""
_LINGER = 5.0
"""Seconds for what a refused client still sends: closed at once, it might never see the answer."""
_BACKLOG = 1024
_SETTLE = 0.02
"""Seconds between the last byte and a broken connection, so that a client has read what was sent before it breaks."""
_USUAL = OnWire()
_SURELY_SHORT = LONGEST_LINE - 100
"""The length of a target that makes no request line too long, whatever the method."""
_TURNS_TO_LEAVE = 8
"""Turns of the loop from a client's FIN to the end of its exchange: read, close, connection lost, cancel, and some."""
_SERVER = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")


class Edge:
    """An aiohttp server in front of an engine.

    Args:
        coalesce: write unpaced streams in few large pieces instead of one write per event.
        keepalive: seconds until an idle connection is closed.
        connections: how many requests are served at once; 0 is no limit.
        patience: seconds of silence in the middle of a request's body until the connection is closed.
        on_exchange: called with each finished `Handling` (the request log).
    """

    _gives_at_once = True
    """Whether a reply may be iterated as soon as its request is there."""

    def __init__(
        self,
        engine: Engine,
        *,
        coalesce: bool = False,
        keepalive: float = 75.0,
        connections: int = 0,
        patience: float = 60.0,
        on_exchange: Callable[[Handling], None] | None = None,
    ) -> None:
        self.engine = engine
        self._coalesce = coalesce
        self._keepalive = keepalive
        self._connections = connections
        self._patience = patience
        self._slots: asyncio.Semaphore | None = None
        self._on_exchange = on_exchange
        self._level = logging.INFO if on_exchange is None else logging.WARNING
        self._listener: Listener | None = None
        self._runner: web.ServerRunner | None = None
        self._wheel: Wheel | None = None
        self._open: dict[Waiter, Workspace] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._handles_trouble = False
        self.host = ""
        self.port = 0

    # ------------------------------------------------------------------ life
    async def start(self, host: str, port: int) -> None:
        """Accept connections. Port 0 picks a free one; the real one is `self.port`."""
        loop = asyncio.get_running_loop()
        self._wheel = Wheel(loop)
        self._slots = asyncio.Semaphore(self._connections) if self._connections else None
        self._listener = Listener(
            self._answer if self._slots is None else self._in_turn,
            self._other_method,
            at_once=self._at_once if self._gives_at_once and self._slots is None else None,
            level=self._level,
            handler_cancellation=True,
            keepalive_timeout=self._keepalive,
            lingering_time=_LINGER,
        )
        self._runner = web.ServerRunner(self._listener, shutdown_timeout=0.1)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port, backlog=_BACKLOG).start()
        except (OSError, OverflowError) as error:
            await self._runner.cleanup()
            why = getattr(error, "strerror", None) or error
            msg = f"cannot listen on {host}:{port}: {why}; choose another port, or 0 for a free one"
            raise MockdifyError(msg) from None
        self.host, self.port = self._runner.addresses[0][:2]
        if loop.get_exception_handler() is None:
            loop.set_exception_handler(_trouble)
            self._handles_trouble = True

    async def stop(self) -> None:
        """Close all connections, open streams too, and leave no task behind."""
        for workspace in list(self.engine.workspaces.values()):
            workspace.open_replies.set()
        for connection in self._listener.connections if self._listener is not None else ():
            transport = connection.transport
            if transport is not None and transport.get_write_buffer_size():
                transport.abort()  # closed in good order it would first wait for its client to read
        if self._runner is not None:
            await self._runner.cleanup()
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._wheel is not None:
            self._wheel.close()
        if self._handles_trouble:
            asyncio.get_running_loop().set_exception_handler(None)

    @property
    def url(self) -> str:
        """The base URL that clients are given, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/v1"

    def is_open(self, workspace: Workspace) -> bool:
        """Whether a reply of *workspace* is under way."""
        return workspace in self._open.values()

    async def settle(self, workspace: Workspace, limit: float = 2.0) -> None:
        """Let the replies of *workspace* that are on their way out come to their end, at most *limit* seconds.

        Replies that wait for their time are left alone. A few turns of the loop pass in any case, so that a client
        that has just left is seen to have left.
        """
        for _ in range(_TURNS_TO_LEAVE):
            if not self.is_open(workspace):
                return
            await asyncio.sleep(0)
        give_up = asyncio.get_running_loop().time() + limit
        while self._is_sending(workspace) and asyncio.get_running_loop().time() < give_up:  # noqa: ASYNC110 - many may end it
            await asyncio.sleep(0.001)

    def _is_sending(self, workspace: Workspace) -> bool:
        return any(one is workspace and not waiter.is_waiting for waiter, one in self._open.items())

    # ------------------------------------------------------------------ one request
    async def _in_turn(self, incoming: web.BaseRequest) -> web.StreamResponse:
        assert self._slots is not None
        async with self._slots:
            return await self._answer(incoming)

    def _at_once(self, message: RawRequestMessage, body: bytes) -> bytes | Begun | None:
        """Answer a request whose answer is whole and waits for nothing, which needs no task."""
        raw = message.path
        if len(raw) > _SURELY_SHORT:
            return None
        request = _request(message.method, raw, message.headers, body)
        handling = self.engine.open(request)
        met: list[Step] = []
        for step in handling.steps:
            met.append(step)
            if not isinstance(step, Body) and not (len(met) == 1 and isinstance(step, Head) and step.is_whole):
                break
        else:
            data = _in_one(met, message.method)
            if data is not None:
                self._done(request, handling)
                return data
        return Begun(request, handling, chain(met, handling.steps), partial(self._left, request, handling, met))

    def _left(self, request: Request, handling: Handling, met: list[Step]) -> None:
        """The client has left between its request and the task that was to go on with the reply."""
        first = met[0]
        if (first.leaving if isinstance(first, Head) else "finish") == "finish":
            last = met[-1]
            self._finish(handling, last if isinstance(last, Wait) else None)
        _close(handling.steps)
        self._done(request, handling)

    def _done(self, request: Request, handling: Handling) -> None:
        request.settle()
        if self._on_exchange is not None:
            self._on_exchange(handling)

    async def _answer(self, incoming: web.BaseRequest) -> web.StreamResponse:
        connection = incoming.protocol
        if isinstance(connection, Connection) and connection.begun is not None:
            (request, handling, steps, _), connection.begun = connection.begun, None
        else:
            taken = await self._take(incoming)
            if isinstance(taken, web.StreamResponse):
                return taken
            request, handling = taken
            steps = handling.steps
        try:
            return await self._perform(handling, steps, incoming)
        finally:
            self._done(request, handling)

    async def _take(self, incoming: web.BaseRequest) -> tuple[Request, Handling] | web.StreamResponse:
        """The request with its body, entered; or the answer to what is none."""
        content, raw = incoming.content, incoming.raw_path
        length = len(raw) + len(incoming.method) + len("  HTTP/1.1")
        if length > LONGEST_LINE:
            return self._refuse(incoming, f"Request Line is too large ({length} > {LONGEST_LINE})")
        if incoming.version < HttpVersion10:
            line = f"{incoming.method} {raw}"
            return self._refuse(incoming, f"Invalid Request Line 'Invalid HTTP request line: {line!r}'")
        body = content.read_nowait() if content.is_eof() else b""
        request = _request(incoming.method, raw, incoming.headers, body, incoming.scheme)
        instead: Reply | None = None
        if not content.at_eof():
            try:
                request, instead = await self._with_body(request, incoming)
            except BrokenError as error:
                return self._refuse(incoming, str(error))
            except StalledError:
                return _abort(incoming, Abort("close"))
        return request, self.engine.open(request, instead=instead)

    def _refuse(self, incoming: web.BaseRequest, said: str) -> web.StreamResponse:
        return refuse(incoming.transport, 400, said, level=self._level)

    def _other_method(self, method: str, target: str) -> web.StreamResponse:
        """A method that HTTP does not know and Dify does not serve: its 404 or 405, for which no key is needed."""
        head, data = Head(405), b""
        for step in self.engine.handle(Request(method=method, target=_target(target))):
            if isinstance(step, Head):
                head = step
            elif isinstance(step, Body):
                data += step.data
        response = web.Response(
            status=head.status, reason=REASONS.get(head.status), body=data, headers=CIMultiDict(head.headers)
        )
        response.force_close()
        return response

    async def _with_body(self, head: Request, incoming: web.BaseRequest) -> tuple[Request, Reply | None]:
        """The request with the body that is still to come, or with what it gets instead of being heard.

        A request that will be refused whatever its body says is answered without it.
        """
        limit = BODY_LIMIT
        said, asked = incoming.content_length or 0, False

        def allow(size: int) -> bool:
            nonlocal limit, asked
            if not asked and size > _ASK_ABOVE:
                limit, asked = self.engine.admit(head), True
            return size <= limit

        expects = incoming.version >= HttpVersion11 and (head.header("expect") or "").lower() == "100-continue"
        taken = allow(max(said, _ASK_ABOVE + 1)) if expects else allow(said)
        with contextlib.closing(Intake()) as intake:
            if taken:
                if expects and incoming.transport is not None:
                    incoming.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                if isinstance(incoming.protocol, Connection) and incoming.protocol.is_broken:
                    raise BrokenError
                taken = await intake.read(incoming.content, patience=self._patience, allow=allow)
            if not taken:
                return head, None if limit == 0 else iter(turned_away())
            kind = (head.header("content-type") or "").lower()
            body, file = intake.take(whole=not kind.startswith("multipart/"))
        return replace(head, body=body, file=file), None

    async def _perform(
        self, handling: Handling, steps: Iterator[Step], incoming: web.BaseRequest
    ) -> web.StreamResponse:
        """Do what the steps say, in their order. A client that leaves cancels this task."""
        assert self._wheel is not None
        workspace = handling.workspace
        waiter = Waiter(self._wheel, workspace.clock, workspace.open_replies)
        self._open[waiter] = workspace
        connection = incoming.protocol
        if isinstance(connection, Connection):
            connection.waiter = waiter
        leaving: Leaving = "finish"  # before the status line Dify does not see that its client has left
        try:
            first = next(steps, None)
            if not isinstance(first, Head):
                first = await _silence(steps if first is None else chain([first], steps), waiter, incoming)
            if isinstance(first, Abort):
                return _abort(incoming, first)
            leaving = first.leaving
            return await self._reply(first, steps, waiter, handling, incoming)
        except (asyncio.CancelledError, ConnectionError) as gone:
            if leaving == "finish" and not waiter.closed.is_set:
                self._finish(handling, waiter.interrupted)
            if isinstance(gone, asyncio.CancelledError):
                raise
            return _abort(incoming, Abort("close"))
        finally:
            if waiter.closed.is_set:
                handling.exchange.close("reset")
            del self._open[waiter]
            waiter.close()
            if isinstance(connection, Connection):
                connection.waiter = None
            _close(handling.steps)

    async def _reply(
        self, head: Head, steps: Iterator[Step], waiter: Waiter, handling: Handling, incoming: web.BaseRequest
    ) -> web.StreamResponse:
        """The answer from its head on: in one piece where its length is known and nothing comes between."""
        wire = head.wire or _USUAL
        if head.is_whole and incoming.method != "HEAD":  # whose length is that of a body that nobody sends
            data: list[bytes] = []
            for step in steps:
                if not isinstance(step, Body):
                    steps = chain([Body(piece) for piece in data], [step], steps)
                    break
                data.append(step.data)
            else:
                return await _whole(head, data[0] if len(data) == 1 else b"".join(data), waiter.closed, incoming)
        response = _response_for(head, incoming)
        with _cut_off(incoming, waiter.closed):
            await response.prepare(incoming)
            if incoming.method == "HEAD":
                handling.exchange.close("complete")
                return response
            if self._coalesce and not wire.exact:
                ended = await _in_pieces(steps, waiter, response, incoming)
            elif isinstance(response, Chunks):
                ended = await Pump(steps, waiter, response).run()
            else:
                ended = await _one_by_one(steps, waiter, response, incoming)
            if waiter.closed.is_set:
                return _abort(incoming, Abort("close"))
            if ended is not None and ended.how != "end":
                await asyncio.sleep(_SETTLE)
                _abort(incoming, ended)
            else:
                await response.write_eof()
            if ended is not None and head.leaving == "finish":
                self._finish(handling)
        return response

    # ------------------------------------------------------------------ after the client has left
    def _finish(self, handling: Handling, wait: Wait | None = None) -> None:
        """Run the rest of a reply unheard, from *wait* on: what Dify has begun goes on without its client."""
        handling.exchange.close("client gone")
        steps, handling.steps = handling.steps, iter(())
        rest = steps if wait is None else chain([wait], steps)
        task = asyncio.create_task(self._unheard(rest, steps, handling.workspace))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _unheard(self, rest: Iterator[Step], steps: Reply, workspace: Workspace) -> None:
        assert self._wheel is not None
        waiter = Waiter(self._wheel, workspace.clock, workspace.open_replies)
        try:
            for count, step in enumerate(rest):
                if isinstance(step, Wait):
                    if step.until == FOREVER and step.wake is None:
                        continue  # until the client leaves: it has
                    await waiter.wait(step)
                elif count % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
                if waiter.closed.is_set:
                    return
        finally:
            waiter.close()
            _close(steps)


# ---------------------------------------------------------------------- writing
class UntilClose(web.StreamResponse):
    """A response whose body ends with the connection, whatever its headers promise."""

    _length_check = False  # aiohttp's own switch for bodies that it must neither chunk nor cut


async def _silence(steps: Iterator[Step], waiter: Waiter, incoming: web.BaseRequest) -> Head | Abort:
    """What comes before the head, and the head; or the end, where there is none."""
    for step in steps:
        if isinstance(step, (Head, Abort)):
            return step
        if isinstance(step, Wait):
            await waiter.wait(step)
            if waiter.closed.is_set:
                break
        elif isinstance(step, Raw):
            _write_raw(incoming, step)
    return Abort("close")


def _response_for(head: Head, incoming: web.BaseRequest) -> web.StreamResponse:
    """The response that *head* opens: in chunks where the client's HTTP has them, or up to the connection's end."""
    wire = head.wire or _USUAL
    if head.length is None and not wire.until_close and is_usual(incoming):
        usual = usual_head(head, method=incoming.method, length=None)
        if usual is not None:
            return Chunks(usual, incoming)
    made = UntilClose if wire.until_close else web.StreamResponse
    response = made(status=head.status, reason=wire.reason or REASONS.get(head.status), headers=_lines(head, incoming))
    if head.length is not None:
        response.headers["Content-Length"] = str(head.length)
    elif wire.until_close:
        response.headers["Connection"] = "close"
        response.force_close()
    elif incoming.version >= HttpVersion11:
        response.enable_chunked_encoding()
    return response


def _in_one(met: list[Step], method: str) -> bytes | None:
    """The bytes of a usual answer, all of whose steps were met; None for any other."""
    head = met[0] if met else None
    if not isinstance(head, Head) or not head.is_whole:
        return None
    data = b"".join([step.data for step in met if isinstance(step, Body)])
    if len(data) > PRESSURE:
        return None
    usual = usual_head(head, method=method, length=len(data))
    return None if usual is None else usual + data


async def _whole(head: Head, data: bytes, closed: Signal, incoming: web.BaseRequest) -> web.StreamResponse:
    """An answer of known length, in one write."""
    if len(data) <= PRESSURE and is_usual(incoming):
        usual = usual_head(head, method=incoming.method, length=len(data))
        if usual is not None:
            send(usual + data, incoming)
            return SENT
    response = web.Response(
        status=head.status,
        reason=REASONS.get(head.status) if head.wire is None else head.wire.reason,
        body=None if head.status == 204 else data,
        headers=_lines(head, incoming),
    )
    if head.status == 413 and not incoming.content.is_eof():
        response.force_close()
    if len(data) > PRESSURE:  # its client may take its time: see to it here that a reset need not wait for that
        with _cut_off(incoming, closed):
            await response.prepare(incoming)
            await response.write_eof()
    return response


async def _one_by_one(
    steps: Iterator[Step], waiter: Waiter, response: web.StreamResponse, incoming: web.BaseRequest
) -> Abort | None:
    """One write per step, where aiohttp writes; the abort that ends the reply, if one does."""
    closed, count = waiter.closed, 0
    for step in steps:
        if isinstance(step, Body):
            count += 1
            await response.write(step.data)
            if count == 1 or count % YIELD_EVERY == 0:
                await asyncio.sleep(FIRST_GAP if count == 1 else 0)
        elif isinstance(step, Wait):
            await waiter.wait(step)
        elif isinstance(step, Abort):
            return step
        elif isinstance(step, Raw):
            _write_raw(incoming, step)
        if closed.is_set:
            break
    return None


async def _in_pieces(
    steps: Iterator[Step], waiter: Waiter, response: web.StreamResponse, incoming: web.BaseRequest
) -> Abort | None:
    """What comes without a wait between goes out in one write; the abort that ends the reply, if one does."""
    held: list[bytes] = []
    size = 0
    ended: Abort | None = None
    for step in steps:
        if isinstance(step, Body):
            held.append(step.data)
            size += len(step.data)
            if size < PRESSURE:
                continue
        if held:
            await response.write(b"".join(held))
            held.clear()
            size = 0
        if isinstance(step, Wait):
            await waiter.wait(step)
        elif isinstance(step, Abort):
            ended = step
            break
        elif isinstance(step, Raw):
            _write_raw(incoming, step)
        else:
            await asyncio.sleep(0)
        if waiter.closed.is_set:
            break
    if held:
        await response.write(b"".join(held))
    return ended


@contextlib.contextmanager
def _cut_off(incoming: web.BaseRequest, closed: Signal) -> Iterator[None]:
    """While it lasts, the end of the workspace also ends a write that waits for its client to read."""

    def cut() -> None:
        transport = incoming.transport
        if transport is not None and transport.get_write_buffer_size():
            transport.abort()

    closed.subscribe(cut)
    try:
        yield
    finally:
        closed.unsubscribe(cut)


def _write_raw(incoming: web.BaseRequest, step: Raw) -> None:
    """Write past aiohttp, which would put a chunk around it."""
    if incoming.transport is not None:
        incoming.transport.write(step.data)


def _abort(incoming: web.BaseRequest, step: Abort) -> web.StreamResponse:
    """Break the connection off: a TCP reset, or a close without a proper end."""
    transport = incoming.transport
    if transport is not None:
        if step.how == "reset":
            sock: Any = transport.get_extra_info("socket")
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
    # The connection is closed first, or aiohttp would send this as a second answer on it.
    return web.Response()


def _close(steps: Iterator[Step]) -> None:
    end = getattr(steps, "close", None)
    if end is not None:
        end()


# ---------------------------------------------------------------------- heads
def _lines(head: Head, incoming: web.BaseRequest) -> CIMultiDict[str]:
    """The header lines of an answer that aiohttp writes."""
    lines = CIMultiDict((name, cleaned(value)) for name, value in head.headers)
    if "Server" not in lines:
        lines["Server"] = SERVER
    if incoming.keep_alive and incoming.version >= HttpVersion11 and "Connection" not in lines:
        lines["Connection"] = "keep-alive"
    return lines


def _request(method: str, raw: str, headers: Mapping[str, str], body: bytes, scheme: str = "http") -> Request:
    """A request as the core sees it."""
    target = raw if raw[:1] == "/" and raw.isascii() and "#" not in raw else _target(raw)
    return Request(method=method, target=target, headers=_said(headers), body=body, scheme=scheme)


def _said(headers: Mapping[str, str]) -> Headers:
    """Header lines as they came; bytes that are no UTF-8 are replaced."""
    lines = tuple(headers.items())
    if all(map(str.isascii, headers.values())):
        return lines
    return tuple((name, _readable(value)) for name, value in lines)


def _target(raw: str) -> str:
    """Path and query of a request line, which may name the server as well."""
    target = _readable(raw).partition("#")[0]
    return _SERVER.sub("", target) or "/"


def _readable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _trouble(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:  # noqa: ARG001 - the loop's signature
    """One line where the loop would log a traceback: no more sockets to accept with, say."""
    log.error("%s: %s", context.get("message", "trouble"), context.get("exception", "no details"))
