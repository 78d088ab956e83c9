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


def with_pings(reply: Reply, *, interval: float, now: Callable[[], float]) -> Reply:
    """*reply* with its head held back until there is something to send, and a ping after *interval* of silence."""
    head: Head | None = None
    silent_since, spoke = now(), False
    try:
        for step in reply:
            if isinstance(step, Head):
                head = step
            elif not isinstance(step, Wait):
                if head is not None:
                    yield head
                    head = None
                yield step
                spoke = True
            else:
                if spoke:  # nothing passes between a step and the wait behind it, so the clock is read only here
                    silent_since, spoke = now(), False
                for part in _split(step, silent_since, interval):
                    if part is _PING:
                        silent_since += interval
                        if head is not None:
                            yield head
                            head = None
                    yield part
        if head is not None:
            yield head
    finally:
        _close(reply)


def _close(reply: Reply) -> None:
    close = getattr(reply, "close", None)
    if close is not None:
        close()


def _split(wait: Wait, since: float, interval: float) -> Reply:
    """*wait* with a ping after each *interval*; it ends when the reply is woken, to look at its task."""
    while wait.until > since + interval:
        since += interval
        yield Wait(since, wait.wake)
        if wait.wake is not None and wait.wake.is_set:
            return
        yield _PING
    yield wait
