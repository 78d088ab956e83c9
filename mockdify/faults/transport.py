"""Faults before the reply where HTTP itself is damaged: no answer, half an answer, or something else than an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mockdify import wire
from mockdify.context import service_headers
from mockdify.faults.base import FaultContext, Kind, Option, Options, silence
from mockdify.faults.http import BEFORE, delayed
from mockdify.ids import fixed_id
from mockdify.steps import Abort, Body, Head, OnWire, Raw, Reply

__all__ = ["KINDS"]


@dataclass(frozen=True, slots=True)
class Transport:
    """Damage in the place of an answer; the honest reply is never started."""

    damage: Callable[[FaultContext, Options], Reply]
    options: Options

    def apply(self, ctx: FaultContext, reply: Reply) -> Reply:  # noqa: ARG002 - pre-empted
        """The damage, after the option `delay`."""
        return delayed(ctx, self.options, self.damage(ctx, self.options))


def _reset(_ctx: FaultContext, _options: Options) -> Reply:
    yield Abort("reset")


def _hang(ctx: FaultContext, _options: Options) -> Reply:
    yield from silence(ctx)


def _garbage(_ctx: FaultContext, _options: Options) -> Reply:
    yield Raw(b"\x15\x03\x03\x00\x02\x02\x50 this is not HTTP\r\n\r\n\xff\xfe\x00")
    yield Abort("close")


def _answer(ctx: FaultContext) -> bytes:
    """A blocking answer that nobody gave: the thing to be cut."""
    message = fixed_id("damaged answer", "message")
    said = {
        "event": "message",
        "task_id": fixed_id("damaged answer", "task"),
        "id": message,
        "message_id": message,
        "mode": "chat",
        "answer": "This answer does not arrive as a whole.",
        "metadata": {"annotation_reply": None, "retriever_resources": [], "usage": {}},
        "created_at": int(ctx.now()),
    }
    return wire.as_python_json(said)


def _truncated(ctx: FaultContext, options: Options) -> Reply:
    body = _answer(ctx)
    sent = len(body) // 2 if options["byte"] is None else min(options["byte"], len(body) - 1)
    headers = service_headers(ctx.profile, wire.JSON_UTF8, ctx.request.header("origin"))
    yield Head(200, headers, len(body), wire=OnWire(until_close=True))
    yield Body(body[:sent])
    yield Abort("close")


def _bad_json(ctx: FaultContext, _options: Options) -> Reply:
    body = _answer(ctx)
    body = body[: body.index(b"not arrive")]
    yield Head(200, service_headers(ctx.profile, wire.JSON_UTF8, ctx.request.header("origin")), len(body))
    yield Body(body)


def _kind(
    name: str,
    damage: Callable[[FaultContext, Options], Reply],
    words: str,
    *,
    real: str,
    advice: str,
    threads: tuple[str, ...] = (),
    options: dict[str, Option] | None = None,
) -> Kind:
    return Kind(
        name=name,
        when="before",
        words=words,
        make=lambda given: Transport(damage, given),
        real=real,
        advice=advice,
        threads=threads,
        options=(options or {}) | BEFORE,
    )


_NETWORK = "any network does it; Dify when its process is killed"
_ASK_AGAIN = "reports a network error, not an empty answer; asking again may run the app twice"

KINDS: tuple[Kind, ...] = (
    _kind(
        "reset",
        _reset,
        "the connection is reset (TCP RST) before a byte of the answer",
        real=_NETWORK,
        advice=_ASK_AGAIN,
    ),
    _kind(
        "hang",
        _hang,
        "the request is taken and no byte ever comes, until the client leaves or the server stops",
        real="yes: long blocking calls, and before 1.16 anything that waits for a worker that does not come",
        advice="gives up after a time of its own choosing and says so",
        threads=("langgenius/dify#36943", "langgenius/dify#33501"),
    ),
    _kind(
        "truncated-body",
        _truncated,
        "200 with a `Content-Length` that is longer than the body; then the connection ends",
        real=_NETWORK,
        advice=_ASK_AGAIN,
        options={"byte": Option(takes="whole", words="how many bytes of the body are sent; without it the half")},
    ),
    _kind(
        "bad-json",
        _bad_json,
        "200 `application/json` with a proper length, but the JSON stops in the middle of a text",
        real="not Dify itself; proxies that rewrite or cut bodies",
        advice="reports that the answer could not be read; never hands out half of it",
        threads=("EvolutionAPI/evolution-api#795",),
    ),
    _kind(
        "garbage",
        _garbage,
        "bytes that are no HTTP at all, then the end of the connection",
        real="not Dify; a wrong port, or TLS spoken to a plain client",
        advice="reports a protocol error",
    ),
)
