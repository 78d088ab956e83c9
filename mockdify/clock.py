"""A workspace's time: real, frozen, shifted or faster. The source of real time comes in as a callable."""

from __future__ import annotations

from collections.abc import Callable

from mockdify.steps import Signal

__all__ = ["Clock"]


class Clock:
    """Seconds since the epoch, as one workspace sees them.

    A frozen clock stands still until a wait or the control API moves it. `moved` is signalled when the time jumps, so
    that whoever waits looks again.
    """

    __slots__ = ("_base", "_base_source", "_source", "_speed", "frozen", "moved")

    def __init__(self, source: Callable[[], float], *, start: float | None = None, frozen: bool = False) -> None:
        self._source = source
        self._base_source = source()
        self._base = self._base_source if start is None else start
        self._speed = 1.0
        self.frozen = frozen
        self.moved = Signal()

    def now(self) -> float:
        """The time, in seconds since the epoch."""
        if self.frozen:
            return self._base
        return self._base + (self._source() - self._base_source) * self._speed

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass at once: whoever waits for a moment among them goes on."""
        self._base, self._base_source = self.now() + seconds, self._source()
        self.moved.wake()

    def reach(self, until: float) -> None:
        """Move a frozen clock forward to *until*; it never goes back."""
        self._base = max(self._base, until)

    @property
    def speed(self) -> float:
        """How much faster than real time it goes; a frozen clock does not."""
        return 0.0 if self.frozen else self._speed

    def set_speed(self, speed: float) -> None:
        """From now on let time pass *speed* times as fast as real time. *speed* is above zero."""
        self._base, self._base_source = self.now(), self._source()
        self._speed = speed
        self.moved.wake()

    def freeze(self, frozen: bool = True) -> None:
        """Let time stand still from now on, or with False go on from where it stands."""
        self._base, self._base_source = self.now(), self._source()
        self.frozen = frozen
        self.moved.wake()

    def real_seconds_until(self, until: float) -> float:
        """How many real seconds are left until this clock shows *until*."""
        return (until - self.now()) / self._speed
