"""Pings and late headers: a wrapper that splits a reply's waits.

Dify sends the status line with the first event (or the first ping), and a ping after each ten seconds of silence.
"""

from __future__ import annotations

from collections.abc import Callable

from mockdify.events import PING, Envelope
from mockdify.steps import Emit, Head, Reply, Wait

__all__ = ["NO_ENVELOPE", "with_pings"]

NO_ENVELOPE = Envelope()
_PING = Emit(PING, NO_ENVELOPE)


def with_pings(reply: Reply, *, interval: float, now: Callable[[], float]) -> Reply:  # noqa: C901, PLR0912
    """*reply* with its head held back until there is something to send, and a ping after *interval* of silence."""
    held: Head | None = None
    silent_since = now()
    spoke = False
    try:
        for step in reply:
            if isinstance(step, Wait):
                if spoke:  # nothing passes between a step and the wait behind it, so the clock is read only here
                    silent_since, spoke = now(), False
                while step.until > silent_since + interval:
                    due = silent_since + interval
                    yield Wait(due, step.wake)
                    if step.wake is not None and step.wake.is_set:  # the reply has to look at its task first
                        break
                    if held is not None:
                        yield held
                        held = None
                    yield _PING
                    silent_since = due
                else:
                    yield step
            elif isinstance(step, Head):
                held = step
            else:
                if held is not None:
                    yield held
                    held = None
                yield step
                spoke = True
        if held is not None:
            yield held
    finally:
        close = getattr(reply, "close", None)
        if close is not None:
            close()
