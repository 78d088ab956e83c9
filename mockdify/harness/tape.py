"""What the mock sent, as a transcript that plays again: pieces, pauses, promised lengths and how it ended.

A journal keeps bytes and moments; which of them stood outside the framing, what length was promised and whether a
connection was closed or reset is known to the steps of the reply alone. So those are kept while they go by.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mockdify.checks.transcript import End, Framing, Pause, Piece, Send, WireReply
from mockdify.engine import Engine, Handling
from mockdify.steps import Abort, Body, Head, Raw, Reply, Step

if TYPE_CHECKING:
    from mockdify.http import Request
    from mockdify.journal import Exchange
    from mockdify.workspace import Template

__all__ = ["Tape", "TapingEngine"]

_DROPPED = {"date", "content-length", "transfer-encoding", "connection"}
"""Headers that whoever plays a transcript writes anew."""
_LEAST = 0.03
"""Seconds of silence that are worth keeping."""
_ENDS: dict[str, End] = {"reset": "reset", "close": "close", "end": "complete"}


@dataclass(slots=True)
class Tape:
    """The steps of one reply, each with the moment at which it was taken."""

    begun: float
    exchange: Exchange
    steps: list[tuple[float, Step]] = field(default_factory=list)

    def reply(self) -> WireReply:
        """All that went out, as a transcript."""
        head: Head | None = None
        pieces: list[Piece] = []
        before, delay, end = self.begun, 0.0, self._end()
        for at, step in self.steps:
            if isinstance(step, Abort):
                break
            if not isinstance(step, Head | Body | Raw):
                continue
            silent, before = at - before, at
            if isinstance(step, Head):
                head, delay = step, silent if silent > _LEAST else 0.0
                continue
            if silent > _LEAST:
                pieces.append(Pause(round(silent, 3)))
            if step.data:
                pieces.append(Send(step.data, isinstance(step, Raw)))
        return _as_wire(head, pieces, end, round(delay, 3))

    def _end(self) -> End:
        abort = next((step for _, step in self.steps if isinstance(step, Abort)), None)
        if abort is not None:
            return _ENDS[abort.how]
        return "complete" if self.exchange.ended == "complete" else "hang"


def _as_wire(head: Head | None, pieces: Sequence[Piece], end: End, delay: float) -> WireReply:
    if head is None:  # not even a status line; a reply that ends so is a closed connection
        return WireReply(status=0, headers=(), pieces=tuple(pieces), end="close" if end == "complete" else end)
    framing: Framing = "chunked"
    missing = 0
    if head.length is not None:
        framing = "length"
        missing = head.length - sum(len(piece.data) for piece in pieces if isinstance(piece, Send))
    elif head.wire is not None and head.wire.until_close:
        framing = "close"
    return WireReply(
        status=head.status,
        reason=(head.wire.reason if head.wire is not None else None) or "",
        headers=tuple((name, value) for name, value in head.headers if name.lower() not in _DROPPED),
        pieces=tuple(pieces),
        framing=framing,
        end=end,
        extra_length=missing,
        delay=delay,
    )


class TapingEngine(Engine):
    """The engine of the mock, which keeps a tape of every reply until it is taken or dropped."""

    def __init__(self, template: Template, *, time: Callable[[], float]) -> None:
        self.tapes: dict[int, Tape] = {}
        """By the `id` of the exchange."""
        super().__init__(template, time=time)

    def open(self, request: Request, *, instead: Reply | None = None) -> Handling:
        """As the engine does, with a tape running."""
        handling = super().open(request, instead=instead)
        tape = self.tapes[id(handling.exchange)] = Tape(time.time(), handling.exchange)
        handling.steps = _taped(handling.steps, tape)
        return handling


def _taped(steps: Reply, tape: Tape) -> Iterator[Step]:
    keep, now, exchange = tape.steps.append, time.time, tape.exchange
    try:
        for step in steps:
            if exchange.ended == "open" or isinstance(step, Abort):  # the rest is run unheard
                keep((now(), step))
            yield step
    finally:
        end = getattr(steps, "close", None)
        if end is not None:
            end()
