"""A server in a thread of its own, and the way in from other threads.

It never shares the loop of whoever uses it: a server on the user's loop would deadlock clients that block. Whatever
touches a workspace is handed to the server's thread, so that state still changes only between two steps of a reply.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import CancelledError, Future
from itertools import count
from operator import methodcaller
from threading import Lock, Thread, current_thread
from typing import TYPE_CHECKING, TypeVar

from mockdify.engine import Engine
from mockdify.errors import MockdifyError
from mockdify.fetching import edge_of
from mockdify.serving import control_of, fast_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from typing import Any

    from mockdify.config import Settings
    from mockdify.workspace import Template, Workspace

__all__ = ["Background", "Door"]

T = TypeVar("T")
_THREADS = count(1)
_STOP_LIMIT = 10.0
__tracebackhide__ = methodcaller("errisinstance", MockdifyError)
"""What pytest asks: a user's mistake is shown where the user made it."""
_NOT_RUNNING = "this mock server does not run (any more); use it inside `with MockDify() as server:`"


class Background:
    """An engine and its edge, from `start` to `stop`.

    Args:
        settings: host, port and how the edge behaves; what a workspace is made of is in the template.
    """

    def __init__(self, template: Template, settings: Settings) -> None:
        self.engine = Engine(template, time=time.time, control=control_of(settings))
        self.edge = edge_of(self.engine, settings)
        self._address = settings.host, settings.port
        # Loop and event are there before the thread is, so that a stop at any moment finds them.
        self._loop = (fast_loop() or asyncio.new_event_loop)()
        self._stopped = asyncio.Event()
        self._ready: Future[None] = Future()
        self._failed: BaseException | None = None
        self._lock = Lock()
        self._accepts_calls = False
        self.calls = 0
        """How often something was run in the server's thread from outside."""
        self._thread = Thread(target=self._run, name=f"mockdify-{next(_THREADS)}", daemon=True)

    # ------------------------------------------------------------------ life
    def start(self) -> None:
        """Accept connections; returns once they are."""
        self._thread.start()
        try:
            self._ready.result()
        except BaseException:  # also Ctrl-C while it starts
            self.stop()
            raise
        self._accepts_calls = True

    def stop(self) -> None:
        """Close all connections, open streams too, and end the thread."""
        with self._lock:
            self._accepts_calls = False
        with contextlib.suppress(RuntimeError):  # the loop is closed: it failed or was stopped before
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(_STOP_LIMIT)
        if self._thread.is_alive():
            msg = f"the mock server did not stop within {_STOP_LIMIT:.0f} s: something in it does not come to an end"
            raise MockdifyError(msg)
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except BaseException as failed:  # noqa: BLE001 - told in the thread that asked for the server
            if self._ready.done():
                self._failed = failed
            else:
                self._ready.set_exception(failed)

    async def _serve(self) -> None:
        await self.edge.start(*self._address)
        try:
            self._ready.set_result(None)
            await self._stopped.wait()
        finally:
            await self.edge.stop()

    # ------------------------------------------------------------------ the way in
    def call(self, function: Callable[[], T]) -> T:
        """What *function* gives when the server's thread runs it."""
        if current_thread() is self._thread:
            return function()
        done: Future[T] = Future()
        with self._open():
            self._loop.call_soon_threadsafe(_perform, done, function)
        error = done.exception()
        if error is not None:  # raised here: a user's test shows no frames of futures
            raise error
        return done.result()

    def run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the coroutine of *function* gives when the server's loop runs it."""
        with self._open():
            done = asyncio.run_coroutine_threadsafe(function(), self._loop)
        try:
            return done.result()
        except CancelledError:  # stopped in between
            raise MockdifyError(_NOT_RUNNING) from None

    @property
    def is_running(self) -> bool:
        """Whether calls are taken; not after a fork either."""
        return self._accepts_calls and self._thread.is_alive()

    @property
    def state(self) -> tuple[Workspace, int, int]:
        """The same as long as nobody asked for anything, over HTTP or from here."""
        return self.engine.default, self.engine.asked, self.calls

    @contextlib.contextmanager
    def _open(self) -> Iterator[None]:
        """Hand over inside: a call that is accepted is run before the loop ends."""
        with self._lock:
            if not self.is_running:
                raise MockdifyError(_NOT_RUNNING)
            self.calls += 1
            yield


def _perform(done: Future[T], function: Callable[[], T]) -> None:
    try:
        done.set_result(function())
    except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
        done.set_exception(error)


class Door:
    """One workspace of a server in the background. It finds the workspace again after a reset."""

    def __init__(self, server: Background, workspace_id: str) -> None:
        self.server = server
        self.workspace_id = workspace_id

    def do(self, function: Callable[[Workspace], T]) -> T:
        """What *function* gives for the workspace, run in the server's thread."""
        return self.server.call(lambda: function(self._workspace()))

    def look(self) -> Workspace:
        """The workspace, for what never changes while it is there."""
        if not self.server.is_running:
            raise MockdifyError(_NOT_RUNNING)
        return self._workspace()

    def settled(self, function: Callable[[Workspace], T]) -> T:
        """The same, after exchanges whose last byte is out have ended (waits at most 2 s)."""
        found = self.server.call(lambda: self._at_rest(function))
        return self.server.run(lambda: self._settle(function)) if found is None else found[0]

    def reset(self, template: Template | None = None) -> None:
        """A fresh world in this place: of *template*, or the same again."""
        self.server.call(lambda: self.server.engine.reset(self._workspace(), template))

    def further(self) -> Door:
        """The door of one more workspace, made like the default one."""
        return Door(self.server, self.server.call(self.server.engine.further).id)

    def close(self) -> None:
        """Forget the workspace. Not an error when it, or the server, is gone."""
        with contextlib.suppress(MockdifyError):
            self.do(self.server.engine.forget)

    def _workspace(self) -> Workspace:
        found = self.server.engine.workspaces.get(self.workspace_id)
        if found is None:
            msg = f"the workspace {self.workspace_id!r} was closed"
            raise MockdifyError(msg)
        return found

    def _at_rest(self, function: Callable[[Workspace], T]) -> tuple[T] | None:
        """What *function* gives, unless something is on its way out."""
        workspace = self._workspace()
        return None if self.server.edge.is_open(workspace) else (function(workspace),)

    async def _settle(self, function: Callable[[Workspace], T]) -> T:
        await self.server.edge.settle(self._workspace())
        return function(self._workspace())
