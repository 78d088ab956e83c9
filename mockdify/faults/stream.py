"""Faults in a stream: the reply is honest up to some event, then something happens to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mockdify.events import Envelope, ErrorEvent, Ping
from mockdify.faults.base import FaultContext, Kind, Options
from mockdify.steps import Emit, Reply, Step

__all__ = ["KINDS", "close", "until_event"]


def until_event(reply: Reply, count: int) -> Iterator[Step]:
    """The steps of *reply* up to and with its *count*-th event that has data; pings do not count."""
    seen = 0
    for step in reply:
        if seen >= count and isinstance(step, Emit) and not isinstance(step.event, Ping):
            return
        yield step
        if isinstance(step, Emit) and not isinstance(step.event, Ping):
            seen += 1
            if seen >= count > 0:
                return


def close(reply: Reply) -> None:
    """Stop the honest reply where it stands, as if the client had left."""
    end = getattr(reply, "close", None)
    if end is not None:
        end()


@dataclass(frozen=True, slots=True)
class Cut:
    """End the stream cleanly after N events: the last chunk comes, the end event does not."""

    options: Options

    def apply(self, ctx: FaultContext, reply: Reply) -> Reply:  # noqa: ARG002
        """The first N events, then the end."""
        try:
            yield from until_event(reply, self.options.get("after", 0))
        finally:
            close(reply)


@dataclass(frozen=True, slots=True)
class ErrorInstead:
    """After N events an `error` event is the last one."""

    options: Options

    def apply(self, ctx: FaultContext, reply: Reply) -> Reply:  # noqa: ARG002
        """The first N events, then the error in the envelope of the stream."""
        envelope = Envelope()
        count = self.options.get("after", 0)
        try:
            for step in until_event(reply, count) if count else reply:
                if isinstance(step, Emit) and not isinstance(step.event, Ping):
                    envelope = step.envelope
                    if not count:
                        break
                yield step
        finally:
            close(reply)
        code, status = self.options.get("code", "completion_request_error"), self.options.get("status", 400)
        message = self.options.get("message", "An error occurred during completion request.")
        yield Emit(ErrorEvent(code=code, status=status, message=message), envelope)


KINDS: tuple[Kind, ...] = (
    Kind(
        name="cut",
        when="stream",
        words="after N events the stream ends cleanly, without its end event",
        make=Cut,
        options={"after": int},
    ),
    Kind(
        name="error-event",
        when="stream",
        words="after N events an `error` event comes and is the last",
        make=ErrorInstead,
        options={"after": int, "code": str, "status": int, "message": str},
    ),
)
