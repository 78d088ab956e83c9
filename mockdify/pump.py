"""The body of a usual stream, performed by callbacks: where a thousand streams wait, no task is woken for an event."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING

from mockdify.steps import Abort, Body, Raw, Wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mockdify.heads import Chunks
    from mockdify.steps import Step
    from mockdify.waits import Waiter

__all__ = ["FIRST_GAP", "PRESSURE", "YIELD_EVERY", "Pump"]

YIELD_EVERY = 32
"""Events between two turns of the loop: an unpaced stream must not hold it."""
FIRST_GAP = 0.001
"""Seconds between the first event and the rest of an unpaced stream: a client that reads as it should sees pieces."""
PRESSURE = 64 * 1024
"""Unsent bytes above which the reply waits for its client."""


class _Pause(Enum):
    """Why a reply stops for now: it goes on by a callback, or its client has to catch up first."""

    LATER = 1
    BEHIND = 2


class Pump:
    """Performs steps, one write for each, behind a head that is out; a turn of the loop is taken only where one is due.

    Args:
        steps: what is left of the reply.
        waiter: its waits.
        chunks: where it is written.
    """

    __slots__ = ("_chunks", "_count", "_ended", "_handle", "_held", "_loop", "_steps", "_waiter")

    def __init__(self, steps: Iterator[Step], waiter: Waiter, chunks: Chunks) -> None:
        self._steps, self._waiter, self._chunks = steps, waiter, chunks
        self._loop = asyncio.get_running_loop()
        self._count = 0
        self._held: Wait | None = None
        self._handle: asyncio.Handle | None = None
        self._ended: asyncio.Future[Abort | _Pause | None] = self._loop.create_future()

    async def run(self) -> Abort | None:
        """Perform all steps, or those up to an abort, which is returned. The end of the workspace ends it too.

        Raises:
            ConnectionError: the client has left.
        """
        try:
            while True:
                self._go_on()
                ended = await self._ended
                if not isinstance(ended, _Pause):
                    return ended
                self._ended = self._loop.create_future()
                await self._chunks.drain()
        finally:
            if self._handle is not None:
                self._handle.cancel()
            if not self._ended.cancel() and not self._ended.cancelled():  # a callback that still comes finds it done
                self._ended.exception()  # seen, where it came together with a cancellation

    def _go_on(self) -> None:
        """Perform steps until something has to be waited for."""
        ended = self._ended
        if ended.done():
            return
        try:
            said = self._perform()
        except Exception as error:  # noqa: BLE001 - whoever awaits the end is told
            ended.set_exception(error)
        else:
            if said is not _Pause.LATER:
                ended.set_result(said)

    def _perform(self) -> Abort | _Pause | None:
        """How it ended, None for its proper end, or why it pauses."""
        closed, pause = self._waiter.closed, self._wait(self._held) if self._held is not None else None
        if pause is not None or closed.is_set:
            return pause
        for step in self._steps:
            if isinstance(step, Body):
                pause = self._write(step.data)
            elif isinstance(step, Wait):
                pause = self._wait(step)
            elif isinstance(step, Abort):
                return step
            elif isinstance(step, Raw):
                self._chunks.raw(step.data)
            if pause is not None or closed.is_set:
                return pause
        return None

    def _wait(self, step: Wait) -> _Pause | None:
        is_over = self._waiter.is_over(step, self._go_on)
        self._held = None if is_over else step
        return None if is_over else _Pause.LATER

    def _write(self, data: bytes) -> _Pause | None:
        behind = self._chunks.send(data) > PRESSURE
        self._count = count = self._count + 1
        if behind:
            return _Pause.BEHIND
        if count == 1:
            self._handle = self._loop.call_later(FIRST_GAP, self._go_on)
            return _Pause.LATER
        if count % YIELD_EVERY == 0:
            self._handle = self._loop.call_soon(self._go_on)
            return _Pause.LATER
        return None
