"""How a reply's waits pass: one timer for all of them, deadlines on the workspace's clock, and what ends them early."""

from __future__ import annotations

import asyncio
import heapq
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockdify.clock import Clock
    from mockdify.steps import Signal, Wait

__all__ = ["FOREVER", "Alarm", "Waiter", "Wheel"]

FOREVER = float("inf")
_CALLS_PER_TURN = 64
SLACK = 0.0005
"""Seconds that count as now: the loop cannot sleep for less."""
_FEW = 64


class Alarm:
    """What is called when its time has come; None once it was, or is no longer wanted."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call


class Wheel:
    """One timer for all waits: a heap of deadlines on the loop's clock, at most 64 of them met per turn of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._heap: list[tuple[float, int, Alarm]] = []
        self._made = 0
        self._given_up = 0
        self._handle: asyncio.Handle | None = None

    def __len__(self) -> int:
        """How many deadlines are kept, those among them that were given up included."""
        return len(self._heap)

    def at(self, due: float, call: Callable[[], None]) -> Alarm:
        """Have *call* called when the loop's clock shows *due*."""
        alarm = Alarm(call)
        self._made += 1
        entry = (due, self._made, alarm)
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:
            self._rearm(due)
        return alarm

    def give_up(self, alarm: Alarm) -> None:
        """*alarm* is no longer wanted. It is dropped with others like it, not at its time."""
        if alarm.call is None:
            return
        alarm.call = None
        self._given_up += 1
        if self._given_up > max(_FEW, len(self._heap) // 2):
            self._heap = [entry for entry in self._heap if entry[2].call is not None]
            heapq.heapify(self._heap)
            self._given_up = 0
            if self._heap:
                self._rearm(self._heap[0][0])

    def _rearm(self, due: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self.loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._handle, left = None, _CALLS_PER_TURN
        now = self.loop.time() + SLACK
        while self._heap and (self._heap[0][0] <= now or self._heap[0][2].call is None):
            if not left:
                self._handle = self.loop.call_soon(self._tick)
                return
            alarm = heapq.heappop(self._heap)[2]
            call, alarm.call = alarm.call, None
            if call is None:
                self._given_up = max(0, self._given_up - 1)
            else:
                left -= 1
                call()
        if self._heap:
            self._rearm(self._heap[0][0])

    def close(self) -> None:
        """Let go of the timer."""
        if self._handle is not None:
            self._handle.cancel()


class Waiter:
    """The waits of one reply: until a moment of the workspace's clock, a signal, or the end of the workspace.

    Args:
        closed: the signal that the workspace is at its end; `is_set` of it is the reply's to look at.
    """

    __slots__ = (
        "_alarm",
        "_clock",
        "_signals",
        "_stood",
        "_then",
        "_wheel",
        "closed",
        "interrupted",
        "is_deserted",
        "is_waiting",
    )

    def __init__(self, wheel: Wheel, clock: Clock, closed: Signal) -> None:
        self._wheel, self._clock, self.closed = wheel, clock, closed
        self.is_deserted = False
        """Whether nobody may be listening any more: then there is nothing to wait for."""
        self.is_waiting = False
        """Whether the reply waits for its time, rather than being on its way out."""
        self.interrupted: Wait | None = None
        """The wait in which the client left: whoever goes on with the reply has to wait for it, too."""
        self._alarm: Alarm | None = None
        self._then: Callable[[], None] | None = None
        self._stood: Wait | None = None
        self._signals: list[Signal] = []  # most replies never wait: nothing is subscribed to before the first wait

    async def wait(self, step: Wait) -> None:
        """Let the wait pass. It also ends when its own signal or the workspace's end comes.

        Raises:
            ConnectionResetError: the client has left.
        """
        while True:
            woken = self._wheel.loop.create_future()
            if self.is_over(step, partial(_wake_up, woken)):
                return
            try:
                await woken
            finally:
                self._rest()

    def is_over(self, step: Wait, then: Callable[[], None]) -> bool:
        """Whether the wait has passed. If not, *then* is called, once, when it may have: ask again.

        Raises:
            ConnectionResetError: the client has left.
        """
        self.interrupted = step
        if self.is_deserted:
            raise ConnectionResetError
        if self._has_passed(step):
            self.interrupted = self._stood = None
            return True
        self._then = then
        return False

    def _has_passed(self, step: Wait) -> bool:
        """Whether there is nothing to wait for; if there is, an alarm is set."""
        wake, clock, until = step.wake, self._clock, step.until
        if not self._signals:
            self._listen(clock.moved)
            self._listen(self.closed)
        if wake is not None:
            if wake is not self._signals[-1]:
                self._listen(wake)
            if wake.is_set:
                return True
        if self.closed.is_set:
            return True
        if until == FOREVER:
            self.is_waiting = True
            return False
        if clock.frozen:
            return self._stood is step or self._stand(step)
        left = clock.real_seconds_until(until)
        if left * clock.speed <= SLACK:
            return True
        self.is_waiting = True
        self._alarm = self._wheel.at(self._wheel.loop.time() + left, self._fire)
        return False

    def _stand(self, step: Wait) -> bool:
        """A wait on a clock that stands still: one turn of the loop, or real time where it asks for that."""
        self._stood = step
        left, loop = step.until - self._clock.now(), self._wheel.loop
        if step.real and left > 0:
            self.is_waiting = True
            self._alarm = self._wheel.at(loop.time() + left, self._fire)
        else:
            self._clock.reach(step.until)
            loop.call_soon(self._fire)
        return False

    def _listen(self, signal: Signal) -> None:
        if signal not in self._signals:
            self._signals.append(signal)
            signal.subscribe(self._wake)

    def _wake(self) -> None:
        """A signal came, perhaps from within another reply: look again in the next turn."""
        if self.is_waiting:
            self._rest(keep_then=True)
            self._wheel.loop.call_soon(self._fire)

    def _fire(self) -> None:
        then = self._then
        self._rest()
        if then is not None:
            then()

    def _rest(self, *, keep_then: bool = False) -> None:
        """Nothing is waited for any more."""
        self.is_waiting = False
        if self._alarm is not None:
            self._wheel.give_up(self._alarm)
            self._alarm = None
        if not keep_then:
            self._then = None

    def close(self) -> None:
        """Stop waiting, and listening."""
        self._rest()
        for signal in self._signals:
            signal.unsubscribe(self._wake)
        self._signals.clear()


def _wake_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
