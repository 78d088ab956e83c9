"""What a profile shows of a reply: answers and events of the `guide` profile, made from Dify's own.

Pure functions on what comes in and what goes out. Nothing is answered here that the core did not answer first, and
what has no place in the profile's tables is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Context as Exactness
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mockdify import wire
from mockdify.events import Envelope, ErrorEvent, Event, Message, MessageEnd, MessageReplace, WorkflowFinished
from mockdify.steps import Body, Emit, Head, Reply, Step
from mockdify.values import record

if TYPE_CHECKING:
    from mockdify.apps import Variable
    from mockdify.context import Context
    from mockdify.profiles import Profile

__all__ = ["answer", "asked_of", "projected", "shown", "stand_ins", "usage"]

MODES = ("completion", "chat", "advanced-chat")
"""The modes whose answers are projected; of agents and workflows the guide says nothing, so they stay Dify's."""


def projected(handler: Callable[[Context], Reply]) -> Callable[[Context], Reply]:
    """*handler*, its replies shown as the asker's profile shows them."""

    def send(ctx: Context) -> Reply:
        reply = handler(ctx)
        return shown(ctx.profile, reply) if ctx.profile.is_projected and ctx.installed.mode in MODES else reply

    return send


# ---------------------------------------------------------------------- what comes in
def asked_of(profile: Profile, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """*body* of a chat or completion request as Dify would want it: where inputs are frozen, later turns need none."""
    if not profile.frozen_inputs:
        return body
    conversation_id = body.get("conversation_id")
    goes_on = isinstance(conversation_id, str) and bool(conversation_id.strip())
    return {**body, "inputs": {}} if goes_on else body


def stand_ins(form: Sequence[Variable], inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """*inputs* in which each required text that is missing has a text that came under a name the form does not know."""
    wanted = [v.name for v in form if v.required and v.type in ("text-input", "paragraph") and v.name not in inputs]
    known = {variable.name for variable in form}
    spare = [value for name, value in inputs.items() if name not in known and isinstance(value, str)]
    return {**inputs, **dict(zip(wanted, spare, strict=False))}


# ---------------------------------------------------------------------- what goes out
def usage(profile: Profile, told: Mapping[str, Any]) -> dict[str, Any]:
    """Dify's `usage` with the profile's keys, unit and arithmetic: each price is tokens x unit price."""
    found = dict(told)
    if profile.price_unit is not None:
        prices = {
            kind: _EXACT.multiply(found[f"{kind}_tokens"], Decimal(found[f"{kind}_unit_price"])) for kind in _PRICED
        }
        found |= {f"{kind}_price_unit": profile.price_unit for kind in _PRICED}
        found |= {f"{kind}_price": _plain(price) for kind, price in prices.items()}
        found["total_price"] = _plain(_EXACT.add(*prices.values()))
    return _only(profile.usage_fields, found)


def answer(profile: Profile, body: Mapping[str, Any]) -> dict[str, Any]:
    """Dify's blocking answer as the profile shows it."""
    found = {profile.answer_key if key == "answer" else key: value for key, value in body.items()}
    found["metadata"] = _metadata(profile, body["metadata"])
    return _only(profile.answer_fields, found)


def shown(profile: Profile, reply: Reply) -> Reply:
    """*reply* of an app that chats or completes, as the profile shows it: one JSON answer, or a stream of events."""
    head: Head | None = None
    view = _View(profile)
    try:
        for step in reply:
            if isinstance(step, Emit):
                yield from view.event(step)
            elif isinstance(step, Head) and step.length is not None:
                head = step  # its length is known when the body is
            elif isinstance(step, Body) and head is not None:
                data = wire.as_python_json(answer(profile, json.loads(step.data)))
                yield replace(head, length=len(data))
                yield Body(data)
            else:
                yield step
    finally:
        close = getattr(reply, "close", None)
        if close is not None:
            close()


class _View:
    """The events of one stream. It remembers the text so far, which a cumulative chunk repeats."""

    __slots__ = ("_cumulative", "_envelope", "_fields", "_profile", "_text")

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._fields = profile.event_fields or {}
        self._cumulative = profile.chunks == "cumulative"
        self._text = ""
        self._envelope: tuple[Envelope, Envelope] | None = None

    def event(self, step: Emit) -> Iterator[Step]:
        """What the profile shows of one event: itself, another in its place, or nothing."""
        before, event = self._text, self._meant(step)
        keys = self._fields.get(event.name)
        adds_nothing = self._cumulative and isinstance(event, Message) and self._text == before
        if keys is not None and not adds_nothing:
            yield Emit(_SHOWN[event.name](event, keys), self._worn(step.envelope))

    def _meant(self, step: Emit) -> Event:
        """The event in the profile's words; one that it has no words for stays what it is, and has no keys."""
        event = step.event
        if isinstance(event, Message):
            self._text += event.answer
            return replace(event, answer=self._text) if self._cumulative else event
        if isinstance(event, MessageReplace) and self._cumulative:
            self._text = event.answer  # "all so far" is the replacement from now on
            return Message(id=step.envelope.message["message_id"], answer=self._text, from_variable_selector=None)
        if isinstance(event, MessageEnd):
            return replace(event, metadata=_metadata(self._profile, event.metadata))
        if isinstance(event, WorkflowFinished) and event.status in ("failed", "stopped"):
            # Blocking chatflows say this as HTTP 400; where workflow events are not shown, a stream has only `error`.
            return ErrorEvent(code="invalid_param", status=400, message=f"Run failed: {event.error}")
        return event

    def _worn(self, envelope: Envelope) -> Envelope:
        """*envelope* with what the profile's errors name, for those that come later too. Made once a stream."""
        if self._envelope is None or self._envelope[0] is not envelope:
            errors = _only(self._fields.get("error"), {**envelope.message, **envelope.error})
            self._envelope = envelope, replace(envelope, error=errors)
        return self._envelope[1]


# ---------------------------------------------------------------------- values with some of their keys
_PRICED = ("prompt", "completion")
_EXACT = Exactness(prec=100)
"""Decimals without rounding: what is shown is to be recomputed by whoever reads it."""


def _plain(price: Decimal) -> str:
    """A price without zeros that say nothing: 0.00015, not 0.0001500."""
    return f"{price.normalize(_EXACT):f}"


def _metadata(profile: Profile, told: Mapping[str, Any]) -> dict[str, Any]:
    return {"usage": usage(profile, told["usage"])}


def _only(keys: Sequence[str] | None, found: dict[str, Any]) -> dict[str, Any]:
    """*found* with *keys* alone, in their order; all of it when none are named."""
    return found if keys is None else {key: found[key] for key in keys if key in found}


@record
class _Message(Message):
    keys: tuple[str, ...]

    def payload(self, envelope: Envelope) -> dict[str, Any]:
        return _only(self.keys, Message.payload(self, envelope))


@record
class _MessageEnd(MessageEnd):
    keys: tuple[str, ...]

    def payload(self, envelope: Envelope) -> dict[str, Any]:
        return _only(self.keys, MessageEnd.payload(self, envelope))


@record
class _Error(ErrorEvent):
    keys: tuple[str, ...]

    def payload(self, envelope: Envelope) -> dict[str, Any]:
        return _only(self.keys, ErrorEvent.payload(self, envelope))


_SHOWN: Mapping[str, Callable[[Any, tuple[str, ...]], Event]] = {
    kind.name: lambda event, keys, kind=kind: kind(keys=keys, **event.own())  # type: ignore[misc]
    for kind in (_Message, _MessageEnd, _Error)
}
"""The events a projection can show, by name: each is still of its class, so that faults find the end of a stream."""
