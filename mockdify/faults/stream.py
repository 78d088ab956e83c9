"""Faults in a stream: the reply is honest up to some event or byte, then something happens to it.

Events are counted when they have data; pings do not count. A stream that ends before its event or byte is struck at
its end. A reply that is no stream (a blocking answer, an error) passes untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from mockdify.events import PING, Envelope, ErrorEvent, MessageEnd, WorkflowFinished
from mockdify.faults.base import (
    FaultContext,
    Kind,
    Option,
    Options,
    bytes_of,
    close,
    has_data,
    is_stream,
    lead,
    silence,
    unheard,
)
from mockdify.pacing import NO_ENVELOPE, with_pings
from mockdify.steps import Abort, Body, Emit, Head, Raw, Reply, Step, Wait
from mockdify.wire import as_event_json

__all__ = ["KINDS"]

Damage: TypeAlias = Callable[[FaultContext, Options, Head, Reply], Reply]

_MANY = 100_000
"""Pings until `pings-only` falls silent: eleven days of them, and an end for whoever drains the reply unawares."""


@dataclass(frozen=True, slots=True)
class InStream:
    """Damage to the steps behind the head of a stream. It sends the head itself."""

    damage: Damage
    options: Options

    def apply(self, ctx: FaultContext, reply: Reply) -> Reply:
        """The reply, damaged if it is a stream."""
        head = yield from lead(reply)
        if head is None:
            return
        if not is_stream(head):
            yield head
            yield from reply
            return
        try:
            yield from self.damage(ctx, self.options, head, reply)
        finally:
            close(reply)


# ---------------------------------------------------------------------- up to the damage
def pass_events(reply: Reply, count: int) -> Generator[Step, None, Envelope]:
    """Pass on the steps up to and with the *count*-th event with data; the envelope of the last one."""
    envelope = NO_ENVELOPE
    seen = 0
    while seen < count and (step := next(reply, None)) is not None:
        yield step
        if has_data(step):
            seen += 1
            envelope = envelope_of(step)
    return envelope


def pass_bytes(reply: Reply, count: int) -> Iterator[Step]:
    """Pass on *count* bytes of the body, whatever they belong to; the rest of the step they end in is gone."""
    left = count
    while left > 0 and (step := next(reply, None)) is not None:
        data = bytes_of(step)
        if data is None:
            yield step
            continue
        yield Body(data[:left])
        left -= len(data)


def pass_to_point(reply: Reply, options: Options) -> Iterator[Step]:
    """Pass on what comes before the damage: `byte=N` bytes, or `after=N` events."""
    byte = options["byte"]
    yield from pass_events(reply, options["after"]) if byte is None else pass_bytes(reply, byte)


def next_event(reply: Reply) -> Generator[Step, None, Step | None]:
    """Pass on pings and waits up to the next event with data; that event, not passed on, or None at the end."""
    for step in reply:
        if has_data(step):
            return step
        yield step
    return None


def envelope_of(step: Step | None) -> Envelope:
    """The envelope an event came in."""
    return step.envelope if isinstance(step, Emit) else NO_ENVELOPE


# ---------------------------------------------------------------------- ends before the end
def _cut(_ctx: FaultContext, options: Options, head: Head, reply: Reply) -> Reply:
    yield head
    yield from pass_to_point(reply, options)
    yield Abort("end")
    yield from unheard(head, reply)


def _reset_stream(_ctx: FaultContext, options: Options, head: Head, reply: Reply) -> Reply:
    yield head
    yield from pass_to_point(reply, options)
    yield Abort("reset")
    yield from unheard(head, reply)


def _half_chunk(_ctx: FaultContext, options: Options, head: Head, reply: Reply) -> Reply:
    yield head
    whole, sent = yield from _chunk_to_break(reply, options)
    yield Raw(b"%x\r\n" % whole + sent)
    yield Abort("close")
    yield from unheard(head, reply)


def _chunk_to_break(reply: Reply, options: Options) -> Generator[Step, None, tuple[int, bytes]]:
    """Pass on what comes before the chunk that breaks; its length, and the bytes of it that are sent."""
    byte = options["byte"]
    if byte is None:
        yield from pass_events(reply, options["after"])
        data = bytes_of((yield from next_event(reply)) or Body(b"")) or b""
        return len(data) or _PROMISED, data[: len(data) // 2]
    left = byte
    for step in reply:
        data = bytes_of(step) or b""
        if data and len(data) > left:
            return len(data), data[:left]
        left -= len(data)
        yield step
    return _PROMISED, b""


_PROMISED = 64
"""What the broken chunk promises where the stream has no event left to break."""


def _error_event(_ctx: FaultContext, options: Options, head: Head, reply: Reply) -> Reply:
    yield head
    envelope = yield from pass_events(reply, options["after"])
    if envelope is NO_ENVELOPE:  # nothing was sent yet: the envelope is that of the event it comes instead of
        envelope = envelope_of((yield from next_event(reply)))
    event = ErrorEvent(code=options["code"], status=options["status"], message=options["message"])
    yield Emit(event, envelope)
    if head.leaving == "finish":
        yield Abort("end")
        yield from unheard(head, reply)


# ---------------------------------------------------------------------- silence
def _stall(ctx: FaultContext, options: Options, head: Head, reply: Reply) -> Reply:
    yield head
    yield from pass_to_point(reply, options)
    yield from silence(ctx)
    yield from unheard(head, reply)


def _pings_only(ctx: FaultContext, options: Options, head: Head, reply: Reply) -> Reply:
    yield head
    yield from pass_events(reply, options["after"])
    every = options["every"] or ctx.ping_interval
    for _ in range(_MANY):
        # Real: a frozen clock jumps over waits, and pings would flood the client.
        yield Wait(ctx.now() + every, real=True)
        if ctx.left():
            break
        yield Emit(PING, NO_ENVELOPE)
    yield from silence(ctx)
    yield from unheard(head, reply)


def _slow(ctx: FaultContext, options: Options, head: Head, reply: Reply) -> Reply:
    def slowed() -> Reply:
        seen = 0
        for step in reply:
            if has_data(step):
                if seen >= options["after"]:
                    yield Wait(ctx.now() + options["delay"])
                seen += 1
            yield step

    yield head
    # The pauses are Dify's silence too: it pings in them.
    yield from with_pings(slowed(), interval=ctx.ping_interval, now=ctx.now)


# ---------------------------------------------------------------------- events that should not be there, or should
_ENDS = (MessageEnd, WorkflowFinished)


def _is_end(step: Step) -> bool:
    return isinstance(step, Emit) and isinstance(step.event, _ENDS)


def _no_end(_ctx: FaultContext, _options: Options, head: Head, reply: Reply) -> Reply:
    yield head
    for step in reply:
        if not _is_end(step):
            yield step


def _duplicate_end(_ctx: FaultContext, _options: Options, head: Head, reply: Reply) -> Reply:
    yield head
    for step in reply:
        yield step
        if _is_end(step):
            yield step


def _unknown_event(_ctx: FaultContext, options: Options, head: Head, reply: Reply) -> Reply:
    def made(envelope: Envelope) -> Step:
        said = {
            "event": options["name"],
            **(envelope.message or envelope.run),
            "data": {"note": "new in a later release"},
        }
        return Body(b"data: %b\n\n" % as_event_json(said))

    yield head
    yield from _inserted(reply, options["after"], made)


def _malformed_event(_ctx: FaultContext, options: Options, head: Head, reply: Reply) -> Reply:
    def made(envelope: Envelope) -> Step:
        whole = as_event_json({"event": "message", **(envelope.message or envelope.run), "answer": "not closed"})
        return Body(b"data: %b\n\n" % whole.removesuffix(b'"}'))

    yield head
    yield from _inserted(reply, options["after"], made)


def _inserted(reply: Reply, after: int, made: Callable[[Envelope], Step]) -> Iterator[Step]:
    """*reply* with one more step after the first *after* events."""
    envelope = yield from pass_events(reply, after)
    following = None
    if envelope is NO_ENVELOPE:
        following = yield from next_event(reply)
        envelope = envelope_of(following)
    yield made(envelope)
    if following is not None:
        yield following
    yield from reply


# ---------------------------------------------------------------------- the rows
_AFTER = {"after": Option(takes="whole", words="how many events come first; pings do not count", default=0)}
_POINT = {
    **_AFTER,
    "byte": Option(takes="whole", words="how many bytes of the body come first, instead of `after`"),
}
_NO_EFFECT = {"after": Option(takes="whole", words="without effect here: the end is where it strikes", default=0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A row of this module: the catalogue's `Kind` follows from it."""

    CUT: ClassVar[str] = (
        "treats a stream without its end event as failed, and keeps or drops the partial text knowingly"
    )

    name: str
    damage: Damage
    words: str
    real: str
    advice: str
    threads: tuple[str, ...] = ()
    options: dict[str, Option]

    def kind(self) -> Kind:
        damage = self.damage
        return Kind(
            name=self.name,
            when="stream",
            words=self.words,
            make=lambda options: InStream(damage, options),
            real=self.real,
            advice=self.advice,
            threads=self.threads,
            options=self.options,
        )


_ROWS = (
    _Row(
        name="error-event",
        damage=_error_event,
        words="after N events an `error` event comes and is the last",
        real="yes, in chat, completion and agent apps when the model fails; graphs report a failed run instead",
        advice="raises or shows the error although the status was 200; does not wait for an end event",
        threads=("langgenius/dify#37337", "langgenius/dify#38399", "langgenius/dify#39728", "langgenius/dify#37197"),
        options={
            **_AFTER,
            "code": Option(takes="text", words="its `code`", default="completion_request_error"),
            "status": Option(takes="whole", words="its `status`", default=400),
            "message": Option(takes="text", words="its `message`", default="Server Unavailable Error"),
        },
    ),
    _Row(
        name="cut",
        damage=_cut,
        words="after N events the stream ends cleanly, without its end event",
        real="yes: a worker or proxy that ends early; 1.13 also leaves ends out of chatflows",
        advice=_Row.CUT,
        threads=("langgenius/dify#31253", "langgenius/dify#27481", "langgenius/dify#16449"),
        options=_POINT,
    ),
    _Row(
        name="reset-stream",
        damage=_reset_stream,
        words="after N events the connection is reset (TCP RST)",
        real="any network does it; Dify when its process is killed",
        advice=f"{_Row.CUT}; reports a network error",
        options=_POINT,
    ),
    _Row(
        name="half-chunk",
        damage=_half_chunk,
        words="after N events an HTTP chunk breaks off in its middle and the connection ends (TCP FIN)",
        real="any proxy that dies in mid-stream does it",
        advice=f"{_Row.CUT}; reports a network error",
        threads=("mitmproxy/pathod#1",),
        options=_POINT,
    ),
    _Row(
        name="stall",
        damage=_stall,
        words="after N events nothing comes any more, not even pings, until the client leaves or the server stops",
        real="yes: 1.13 after a bad streaming request to a chatflow or workflow, for 300 s",
        advice="has a limit of its own for silence (Dify pings every 10 s, so 30 s are plenty) and reports it",
        threads=("langgenius/dify#36943", "langgenius/dify#36973", "langgenius/dify#39356"),
        options=_POINT,
    ),
    _Row(
        name="slow",
        damage=_slow,
        words="a pause before each event from the N-th on; longer pauses have pings in them",
        real="yes: a slow model",
        advice="limits silence, not the whole stream; hands events on as they come",
        threads=("langgenius/dify#16012", "langgenius/dify#4440"),
        options={**_AFTER, "delay": Option(takes="seconds", words="the pause", default=0.25)},
    ),
    _Row(
        name="pings-only",
        damage=_pings_only,
        words="after N events only pings come, until the client leaves or the server stops",
        real="yes: a run whose worker died, until Dify's own limit of 1200 s",
        advice="has a limit for a stream without news too; pings alone do not put it off for ever",
        threads=("langgenius/dify#21161", "langgenius/dify#24675", "langgenius/dify#30379", "langgenius/dify#37197"),
        options={
            **_AFTER,
            "every": Option(takes="seconds", words="the time between two pings; without it the workspace's interval"),
        },
    ),
    _Row(
        name="no-end",
        damage=_no_end,
        words="the whole text comes, `message_end` and `workflow_finished` do not; the stream ends cleanly",
        real="yes: chatflows up to 1.13.3, and whenever the end is lost",
        advice=_Row.CUT,
        threads=("langgenius/dify#31253", "langgenius/dify#36027", "imfangs/dify-java-client#165"),
        options=_NO_EFFECT,
    ),
    _Row(
        name="duplicate-end",
        damage=_duplicate_end,
        words="each end event comes twice",
        real="not known of Dify; proxies and SDKs that replay a last event do it",
        advice="takes the first and is not upset by the second",
        options=_NO_EFFECT,
    ),
    _Row(
        name="unknown-event",
        damage=_unknown_event,
        words="after N events one comes whose name no release knows; then the stream goes on",
        real="yes, seen from an older client: each release brings new events",
        advice="ignores it",
        threads=("guoshiqiufeng/dify-spring-boot-starter#131", "imfangs/dify-java-client#80"),
        options={**_AFTER, "name": Option(takes="text", words="its name", default="event_of_tomorrow")},
    ),
    _Row(
        name="malformed-event",
        damage=_malformed_event,
        words="after N events one comes whose data is no JSON; then the stream goes on",
        real="not Dify itself; it is what a client sees that cuts chunks wrongly, or a proxy that cuts long lines",
        advice="reports a broken stream; neither crashes nor loses it silently",
        threads=("langgenius/dify#27481", "EvolutionAPI/evolution-api#795", "baptisteArno/typebot.io#2245"),
        options=_AFTER,
    ),
)

KINDS: tuple[Kind, ...] = tuple(row.kind() for row in _ROWS)
