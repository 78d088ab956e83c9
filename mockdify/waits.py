"""How a reply's waits pass: one timer for all of them, deadlines on the workspace's clock, and what ends them early."""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mockdify.clock import Clock
    from mockdify.steps import Signal, Wait

__all__ = ["FOREVER", "Waiter", "Wheel"]

FOREVER = float("inf")
_WAKES_PER_TURN = 64
_SLACK = 0.0005
_FEW = 64


class Wheel:
    """One timer for all waits: a heap of deadlines on the loop's clock, at most 64 woken per turn of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, asyncio.Future[None]]] = []
        self._made = 0
        self._given_up = 0
        self._handle: asyncio.Handle | None = None

    def __len__(self) -> int:
        """How many waits are kept, those among them that were given up included."""
        return len(self._heap)

    def at(self, due: float) -> asyncio.Future[None]:
        """A future that is done when the loop's clock shows *due*."""
        future = self._loop.create_future()
        self._made += 1
        entry = (due, self._made, future)
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:
            self._rearm(due)
        return future

    def give_up(self) -> None:
        """Somebody no longer waits for the future he was given. It is dropped with others like it, not at its time."""
        self._given_up += 1
        if self._given_up > max(_FEW, len(self._heap) // 2):
            self._heap = [entry for entry in self._heap if not entry[2].done()]
            heapq.heapify(self._heap)
            self._given_up = 0
            if self._heap:
                self._rearm(self._heap[0][0])

    def _rearm(self, due: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        heap, left = self._heap, _WAKES_PER_TURN
        now = self._loop.time() + _SLACK
        while heap and (heap[0][0] <= now or heap[0][2].done()):
            if not left:
                self._handle = self._loop.call_soon(self._tick)
                return
            future = heapq.heappop(heap)[2]
            if not future.done():
                left -= 1
                future.set_result(None)
        self._handle = self._loop.call_at(heap[0][0], self._tick) if heap else None

    def close(self) -> None:
        """Let go of the timer."""
        if self._handle is not None:
            self._handle.cancel()


class Waiter:
    """The waits of one reply: until a moment of the workspace's clock, a signal, or the end of the workspace.

    Args:
        closed: the signal that the workspace is at its end; `is_set` of it is the reply's to look at.
    """

    __slots__ = ("_clock", "_future", "_signals", "_wheel", "closed", "interrupted", "is_deserted")

    def __init__(self, wheel: Wheel, clock: Clock, closed: Signal) -> None:
        self._wheel, self._clock, self.closed = wheel, clock, closed
        self.is_deserted = False
        """Whether nobody may be listening any more: then there is nothing to wait for."""
        self.interrupted: Wait | None = None
        """The wait in which the client left: whoever goes on with the reply has to wait for it, too."""
        self._future: asyncio.Future[None] | None = None
        self._signals: list[Signal] = []  # most replies never wait: nothing is subscribed to before the first wait

    @property
    def is_waiting(self) -> bool:
        """Whether the reply waits for its time, rather than being on its way out."""
        return self._future is not None

    def _listen(self, signal: Signal) -> None:
        if signal not in self._signals:
            self._signals.append(signal)
            signal.subscribe(self._wake)

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, step: Wait) -> None:
        """Let the wait pass. It also ends when its own signal or the workspace's end comes.

        Raises:
            ConnectionResetError: the client has left.
        """
        self.interrupted = step
        if self.is_deserted:
            raise ConnectionResetError
        await self._pass(step)
        self.interrupted = None

    async def _pass(self, step: Wait) -> None:
        wake, clock = step.wake, self._clock
        if not self._signals:
            self._listen(clock.moved)
            self._listen(self.closed)
        if wake is not None:
            self._listen(wake)
        loop = asyncio.get_running_loop()
        while not self.closed.is_set and not (wake is not None and wake.is_set):
            if clock.frozen and step.until != FOREVER:
                if step.real:
                    await self._until(loop.time() + step.until - clock.now())
                else:
                    clock.reach(step.until)
                    await asyncio.sleep(0)
                return
            left = clock.real_seconds_until(step.until)
            if left <= 0:
                return
            await self._until(loop.time() + left)

    async def _until(self, due: float) -> None:
        """Wait for a moment of the loop's clock, or to be woken."""
        loop = asyncio.get_running_loop()
        try:
            self._future = self._wheel.at(due) if due != FOREVER else loop.create_future()
            await self._future
        finally:
            self._future = None
            if loop.time() + _SLACK < due != FOREVER:
                self._wheel.give_up()

    def close(self) -> None:
        """Stop listening."""
        for signal in self._signals:
            signal.unsubscribe(self._wake)
        self._signals.clear()
