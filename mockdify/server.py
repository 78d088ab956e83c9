"""The edge: the only place that acts. It reads requests from sockets and performs the steps that the core yields."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_writer import HttpVersion11

from mockdify.clock import Clock
from mockdify.engine import BODY_LIMIT, Engine, Handling
from mockdify.errors import MockdifyError
from mockdify.http import Request
from mockdify.steps import Abort, Body, Head, Raw, Reply, Signal, Wait
from mockdify.wire import REASONS

if TYPE_CHECKING:
    from mockdify.workspace import Workspace

__all__ = ["Edge"]

log = logging.getLogger("mockdify")

_YIELD_EVERY = 32
"""Events between two turns of the loop: an unpaced stream must not hold it."""
_FIRST_GAP = 0.001
"""Seconds between the first event and the rest of an unpaced stream: a client that reads as it should sees pieces."""
_COALESCE_LIMIT = 64 * 1024
_SETTLE = 0.02
"""Seconds between the last byte and a broken connection, so that a client has read what was sent before it breaks."""
_WAKES_PER_TURN = 64
_SLACK = 0.0005
_TURNS_TO_LEAVE = 8
"""Turns of the loop from a client's FIN to the end of its exchange: read, close, connection lost, cancel, and some."""


class Wheel:
    """One timer for all waits: a heap of deadlines on the loop's clock, at most 64 woken per turn of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, asyncio.Future[None]]] = []
        self._made = 0
        self._handle: asyncio.Handle | None = None

    def at(self, due: float) -> asyncio.Future[None]:
        """A future that is done when the loop's clock shows *due*."""
        future = self._loop.create_future()
        self._made += 1
        entry = (due, self._made, future)
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:
            if self._handle is not None:
                self._handle.cancel()
            self._handle = self._loop.call_at(due, self._tick)
        return future

    def _tick(self) -> None:
        heap, left = self._heap, _WAKES_PER_TURN
        now = self._loop.time() + _SLACK
        while heap and heap[0][0] <= now:
            if not left:
                self._handle = self._loop.call_soon(self._tick)
                return
            future = heapq.heappop(heap)[2]
            if not future.done():
                left -= 1
                future.set_result(None)
        while heap and heap[0][2].done():  # woken otherwise or given up
            heapq.heappop(heap)
        self._handle = self._loop.call_at(heap[0][0], self._tick) if heap else None

    def close(self) -> None:
        """Let go of the timer."""
        if self._handle is not None:
            self._handle.cancel()


class UntilClose(web.StreamResponse):
    """A response whose body ends with the connection, whatever its headers promise."""

    _length_check = False  # aiohttp's own switch for bodies that it must neither chunk nor cut


class Waiter:
    """The waits of one reply: until a moment of the workspace's clock, a signal, or the end of the workspace."""

    __slots__ = ("_clock", "_future", "_signals", "_wheel", "closed")

    def __init__(self, wheel: Wheel, clock: Clock, closed: Signal) -> None:
        self._wheel, self._clock, self.closed = wheel, clock, closed
        self._future: asyncio.Future[None] | None = None
        self._signals: list[Signal] = []
        self._listen(clock.moved)
        self._listen(closed)

    def _listen(self, signal: Signal) -> None:
        if signal not in self._signals:
            self._signals.append(signal)
            signal.subscribe(self._wake)

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, step: Wait) -> None:
        """Let the wait pass. It also ends when its own signal or the workspace's end comes."""
        wake, clock = step.wake, self._clock
        if wake is not None:
            self._listen(wake)
        loop = asyncio.get_running_loop()
        while not self.closed.is_set and not (wake is not None and wake.is_set):
            if clock.frozen and step.until != float("inf"):
                if step.real:
                    self._future = self._wheel.at(loop.time() + step.until - clock.now())
                    await self._future
                    return
                clock.reach(step.until)
                await asyncio.sleep(0)
                return
            left = clock.real_seconds_until(step.until)
            if left <= 0:
                return
            if left == float("inf"):
                self._future = loop.create_future()
            else:
                self._future = self._wheel.at(loop.time() + left)
            await self._future

    @property
    def is_waiting(self) -> bool:
        """Whether the reply waits for its time, rather than being on its way out."""
        return self._future is not None and not self._future.done()

    def close(self) -> None:
        """Stop listening."""
        for signal in self._signals:
            signal.unsubscribe(self._wake)


class Edge:
    """An aiohttp server in front of an engine.

    Args:
        coalesce: write unpaced streams in few large pieces instead of one write per event.
        keepalive: seconds until an idle connection is closed.
        connections: how many requests are served at once; 0 is no limit.
        on_exchange: called with each finished `Handling` (the request log).
    """

    def __init__(
        self,
        engine: Engine,
        *,
        coalesce: bool = False,
        keepalive: float = 75.0,
        connections: int = 0,
        on_exchange: Callable[[Handling], None] | None = None,
    ) -> None:
        self.engine = engine
        self._coalesce = coalesce
        self._keepalive = keepalive
        self._connections = connections
        self._slots: asyncio.Semaphore | None = None
        self._on_exchange = on_exchange
        self._runner: web.ServerRunner | None = None
        self._wheel: Wheel | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._open: dict[Waiter, Workspace] = {}
        self._stopping = Signal()
        self.host = ""
        self.port = 0

    # ------------------------------------------------------------------ life
    async def start(self, host: str, port: int) -> None:
        """Accept connections. Port 0 picks a free one; the real one is `self.port`."""
        self._wheel = Wheel(asyncio.get_running_loop())
        self._slots = asyncio.Semaphore(self._connections) if self._connections else None
        server = web.Server(
            self._serve,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=self._keepalive,
            lingering_time=0.2,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except (OSError, OverflowError) as error:
            await self._runner.cleanup()
            why = getattr(error, "strerror", None) or error
            msg = f"cannot listen on {host}:{port}: {why}; choose another port, or 0 for a free one"
            raise MockdifyError(msg) from None
        self.host, self.port = self._runner.addresses[0][:2]

    async def stop(self) -> None:
        """Close all connections, open streams too, and leave no task behind."""
        self._stopping.set()
        for workspace in list(self.engine.workspaces.values()):
            workspace.open_replies.set()
        if self._runner is not None:
            await self._runner.cleanup()
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._wheel is not None:
            self._wheel.close()

    @property
    def url(self) -> str:
        """The base URL that clients are given, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/v1"

    async def settle(self, workspace: Workspace, limit: float = 2.0) -> None:
        """Let the replies of *workspace* that are on their way out come to their end, at most *limit* seconds.

        Replies that wait for their time are left alone. A few turns of the loop pass in any case, so that a client
        that has just left is seen to have left.
        """
        for _ in range(_TURNS_TO_LEAVE):
            if workspace not in self._open.values():
                return
            await asyncio.sleep(0)
        give_up = asyncio.get_running_loop().time() + limit
        while self._is_sending(workspace) and asyncio.get_running_loop().time() < give_up:  # noqa: ASYNC110 - rare, short
            await asyncio.sleep(0.001)

    def _is_sending(self, workspace: Workspace) -> bool:
        return any(one is workspace and not waiter.is_waiting for waiter, one in self._open.items())

    # ------------------------------------------------------------------ one request
    async def _serve(self, incoming: web.BaseRequest) -> web.StreamResponse:
        if self._slots is None:
            return await self._answer(incoming)
        async with self._slots:
            return await self._answer(incoming)

    async def _answer(self, incoming: web.BaseRequest) -> web.StreamResponse:
        body = b""
        if incoming.body_exists:
            taken = await _read(incoming)
            if taken is None:
                return _too_large()
            body = taken
        request = Request(
            method=incoming.method,
            target=incoming.raw_path,
            headers=tuple(incoming.headers.items()),
            body=body,
            scheme=incoming.scheme,
        )
        handling = self.engine.open(request)
        try:
            return await self._perform(handling, incoming)
        finally:
            if self._on_exchange is not None:
                self._on_exchange(handling)

    async def _perform(self, handling: Handling, incoming: web.BaseRequest) -> web.StreamResponse:
        steps = handling.steps
        assert self._wheel is not None
        waiter = Waiter(self._wheel, handling.workspace.clock, handling.workspace.open_replies)
        self._open[waiter] = handling.workspace
        head: Head | None = None
        try:
            for step in steps:
                if isinstance(step, Head):
                    head = step
                    if step.length is None or (step.wire is not None and step.wire.until_close):
                        return await self._stream(step, steps, waiter, handling, incoming)
                    return self._whole(step, steps)
                if isinstance(step, Wait):
                    await waiter.wait(step)
                    if waiter.closed.is_set:
                        break
                elif isinstance(step, Abort):
                    return _abort(incoming, step)
                elif isinstance(step, Raw):
                    _write_raw(incoming, step)
            return _abort(incoming, Abort("close"))
        except asyncio.CancelledError:
            if head is None and not waiter.closed.is_set:
                # The client left before the answer: Dify finishes what it began all the same.
                self._finish(handling)
            raise
        finally:
            del self._open[waiter]
            waiter.close()
            _close(handling.steps)

    def _whole(self, head: Head, steps: Reply) -> web.StreamResponse:
        """An answer of known length, in one piece."""
        data = [step.data for step in steps if isinstance(step, Body)]
        reason = REASONS.get(head.status) if head.wire is None else head.wire.reason
        response = web.Response(
            status=head.status, reason=reason, body=data[0] if len(data) == 1 else b"".join(data)
        )
        headers = response.headers
        for name, value in head.headers:
            headers[name] = value
        if head.status == 204:
            response.body = None
        return response

    async def _stream(
        self, head: Head, steps: Reply, waiter: Waiter, handling: Handling, incoming: web.BaseRequest
    ) -> web.StreamResponse:
        """An answer in chunks, as its steps come."""
        response = _response_for(head, incoming)
        exact = head.wire is not None and head.wire.exact
        try:
            await response.prepare(incoming)
            if incoming.method == "HEAD":
                return response
            ended = await (self._pieces if self._coalesce and not exact else self._events)(
                steps, waiter, response, incoming
            )
            if waiter.closed.is_set:
                ended = Abort("close")
            if ended is not None and ended.how != "end":
                await asyncio.sleep(_SETTLE)
                _abort(incoming, ended)
            else:
                await response.write_eof()
            if ended is not None and head.leaving == "finish" and not waiter.closed.is_set:
                self._finish(handling)
        except (asyncio.CancelledError, ConnectionError) as gone:
            if head.leaving == "finish" and not waiter.closed.is_set:
                self._finish(handling)
            else:
                _close(steps)
            if isinstance(gone, asyncio.CancelledError):
                raise
        return response

    async def _events(
        self, steps: Reply, waiter: Waiter, response: web.StreamResponse, incoming: web.BaseRequest
    ) -> Abort | None:
        """One write per step; the abort that ends the reply, if one does."""
        write, count = response.write, 0
        for step in steps:
            if isinstance(step, Body):
                await write(step.data)
                count += 1
                if count == 1:
                    await asyncio.sleep(_FIRST_GAP)
                elif count % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
            elif isinstance(step, Wait):
                await waiter.wait(step)
            elif isinstance(step, Abort):
                return step
            elif isinstance(step, Raw):
                _write_raw(incoming, step)
            if waiter.closed.is_set:
                break
        return None

    async def _pieces(
        self, steps: Reply, waiter: Waiter, response: web.StreamResponse, incoming: web.BaseRequest
    ) -> Abort | None:
        """What comes without a wait between goes out in one write."""
        held: list[bytes] = []
        size = 0
        ended: Abort | None = None
        for step in steps:
            if isinstance(step, Body):
                held.append(step.data)
                size += len(step.data)
                if size < _COALESCE_LIMIT:
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
            if waiter.closed.is_set:
                break
        if held:
            await response.write(b"".join(held))
        return ended

    # ------------------------------------------------------------------ after the client has left
    def _finish(self, handling: Handling) -> None:
        """Run the rest of a reply unheard: a graph's run goes on without its client."""
        handling.exchange.close("client gone")
        steps, handling.steps = handling.steps, iter(())
        task = asyncio.create_task(self._unheard(steps, handling))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _unheard(self, steps: Reply, handling: Handling) -> None:
        assert self._wheel is not None
        waiter = Waiter(self._wheel, handling.workspace.clock, handling.workspace.open_replies)
        try:
            for step in steps:
                if isinstance(step, Wait):
                    await waiter.wait(step)
                if waiter.closed.is_set:
                    return
        finally:
            waiter.close()
            _close(steps)


async def _read(incoming: web.BaseRequest) -> bytes | None:
    """The body, or None when it is larger than anything that is taken."""
    if (incoming.content_length or 0) > BODY_LIMIT:
        return None
    pieces, size = [], 0
    async for piece in incoming.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > BODY_LIMIT:
            return None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_large() -> web.Response:
    """What the proxy in front of Dify says to a body beyond its limit; the rest is not read."""
    page = b"<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n</html>\r\n"
    response = web.Response(status=413, body=page, content_type="text/html")
    response.force_close()
    return response


def _response_for(head: Head, incoming: web.BaseRequest) -> web.StreamResponse:
    """The response that *head* opens: in chunks where the client's HTTP has them, or up to the connection's end."""
    wire = head.wire
    reason = REASONS.get(head.status) if wire is None or wire.reason is None else wire.reason
    until_close = wire is not None and wire.until_close
    response = (UntilClose if until_close else web.StreamResponse)(status=head.status, reason=reason)
    for name, value in head.headers:
        response.headers[name] = value
    if not until_close:
        if incoming.version >= HttpVersion11:
            response.enable_chunked_encoding()
    elif head.length is None:
        response.force_close()
    else:
        response.headers["Content-Length"] = str(head.length)
    return response


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


def _close(steps: Reply) -> None:
    end = getattr(steps, "close", None)
    if end is not None:
        end()
