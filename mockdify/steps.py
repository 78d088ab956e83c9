"""What can happen on the wire, as values.

A reply is a lazy iterator of steps. The core makes it, faults transform it, the journal watches it, and one driver
performs it. Nothing here reads a clock or touches a socket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from mockdify.events import Envelope, Event

__all__ = [
    "Abort",
    "Body",
    "Emit",
    "Head",
    "Headers",
    "Leaving",
    "OnWire",
    "Raw",
    "Reply",
    "Signal",
    "Step",
    "Wait",
]

Headers: TypeAlias = tuple[tuple[str, str], ...]

Leaving: TypeAlias = Literal["close", "finish"]
"""What a vanished client means: `close` the reply where it stands, or `finish` it unheard."""


class Signal:
    """A flag that wakes whoever waits for it: a stop call, a moved clock, a reset workspace."""

    __slots__ = ("_waiters", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._waiters: dict[Callable[[], None], None] = {}

    def set(self) -> None:
        """Raise the flag and wake everybody."""
        self.is_set = True
        self.wake()

    def wake(self) -> None:
        """Call every subscriber: something changed, look again."""
        for call in list(self._waiters):
            call()

    def subscribe(self, call: Callable[[], None]) -> None:
        """Have *call* called at each `set` and `wake` until it is unsubscribed."""
        self._waiters[call] = None

    def unsubscribe(self, call: Callable[[], None]) -> None:
        """Forget *call*; not an error when it is not known."""
        self._waiters.pop(call, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnWire:
    """What is unusual about the way a head and its body go out; damaged replies have one."""

    reason: str | None = None
    """The reason phrase; None: the usual one of the status."""
    until_close: bool = False
    """The body ends with the connection, whatever `length` promises: no chunks, no keep-alive."""
    exact: bool = False
    """Each `Body` is one HTTP chunk, also where unpaced streams go out in few pieces."""


@dataclass(slots=True)  # not frozen: one is made for each answer or event, and freezing triples the cost
class Head:
    """Status line and headers. Without `length` the body is streamed in chunks."""

    status: int
    headers: Headers = ()
    length: int | None = None
    leaving: Leaving = "close"
    wire: OnWire | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the body is as long as promised, so that it may be sent with the head in one piece."""
        return self.length is not None and (self.wire is None or not self.wire.until_close)


@dataclass(slots=True)  # not frozen: one is made for each event, and freezing triples the cost
class Body:
    """Bytes as they go out, in one write."""

    data: bytes


@dataclass(slots=True)  # not frozen: one is made for each event, and freezing triples the cost
class Emit:
    """One SSE event, structured until the driver encodes it."""

    event: Event
    envelope: Envelope


@dataclass(slots=True)
class Raw:
    """Bytes past all HTTP framing, as they stand: no chunk around them, perhaps no head before them."""

    data: bytes


@dataclass(slots=True)  # not frozen: one is made for each answer or event, and freezing triples the cost
class Wait:
    """Nothing happens until the workspace's clock shows `until` (epoch seconds) or `wake` is signalled.

    A frozen clock jumps to `until`, unless the wait is `real`: then real time passes and the clock stands still.
    """

    until: float
    wake: Signal | None = None
    real: bool = False


@dataclass(frozen=True, slots=True)
class Abort:
    """The answer ends here, before its end: the connection by `reset` (RST) or `close` (FIN), or only the body (`end`).

    What comes after it is run unheard.
    """

    how: Literal["reset", "close", "end"] = "reset"


Step: TypeAlias = Head | Body | Emit | Raw | Wait | Abort
Reply: TypeAlias = Iterator[Step]
