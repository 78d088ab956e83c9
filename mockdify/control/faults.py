"""Faults over HTTP: injected, listed, taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mockdify import shapes
from mockdify.control.table import Answer, ControlError, Param, missing
from mockdify.faults.catalogue import CATALOGUE, unknown
from mockdify.faults.presets import PRESETS

if TYPE_CHECKING:
    from mockdify.control.table import Call
    from mockdify.faults.plan import FaultRule

__all__ = ["INJECT", "LIST", "RULE", "WHICH", "inject", "list_all", "remove", "remove_all", "show"]

ORIGIN = "POST /_mockdify/faults"

INJECT = {
    "fault": Param(
        shape=shapes.text,
        schema={"type": "string", "examples": ["rate-limit"]},
        words="Its name; `mockdify faults` lists all.",
        required=True,
    ),
    "on": Param(
        shape=shapes.text,
        schema={"type": "string", "examples": ["POST /v1/chat-messages"]},
        words="The method and path it strikes; else all.",
    ),
    "when": Param(
        shape=shapes.mapping(shapes.anything),
        schema={"type": "object", "examples": [{"user": "bob"}]},
        words="What must hold of the request: user, query, key, app, header, nth.",
    ),
    "times": Param(
        shape=shapes.whole(0), schema={"type": "integer", "minimum": 0}, words="How often it strikes; 0 is always. 1."
    ),
    "after": Param(
        shape=shapes.whole(0),
        schema={"type": "integer", "minimum": 0},
        words="How many events (of a fault in a stream) or matching requests (of any other) pass first.",
    ),
    "probability": Param(
        shape=shapes.number(0, 1),
        schema={"type": "number", "minimum": 0, "maximum": 1},
        words="The chance of each matching request, by the workspace's seed.",
    ),
    "options": Param(
        shape=shapes.mapping(shapes.anything),
        schema={"type": "object", "examples": [{"retry_after": 1}]},
        words="The fault's own options; they may also stand beside the other keys.",
    ),
}
WHICH = {
    "id": Param(
        shape=shapes.whole(1),
        schema={"type": "integer"},
        words="Only the one with this id.",
        from_text=lambda text: int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text,
    ),
    "fault": Param(
        shape=shapes.text, schema={"type": "string", "examples": ["rate-limit"]}, words="Only those of this name."
    ),
    "on": Param(
        shape=shapes.text,
        schema={"type": "string", "examples": ["POST /v1/chat-messages"]},
        words="Only those of this.",
    ),
}
_PART: dict[str, Any] = {
    "type": "object",
    "required": ["id", "fault", "on", "when", "times", "after", "probability", "options", "met"],
    "properties": {
        "id": {"type": "integer"},
        "fault": {"type": "string"},
        "on": {"type": ["string", "null"]},
        "when": {"type": "object"},
        "times": {"type": "integer"},
        "after": {"type": "integer"},
        "probability": {"type": "number"},
        "options": {"type": "object"},
        "met": {"type": "integer", "description": "How often it struck."},
    },
}
_PARTS = {"type": "array", "items": _PART, "description": "Of a preset: the rules that strike for it."}
RULE = {**_PART, "properties": {**_PART["properties"], "rules": _PARTS}}
LIST = {"type": "object", "required": ["items"], "properties": {"items": {"type": "array", "items": RULE}}}


def inject(call: Call) -> Answer:
    """Let a fault strike matching requests from now on."""
    said = dict(call.body)
    name, options = said.pop("fault"), said.pop("options", {})
    doubled = sorted(options.keys() & said.keys())
    if doubled:
        raise ControlError(400, "bad_request", f"{doubled[0]!r} stands both in `options` and beside it; say it once")
    rule = call.workspace.faults.inject(name, **said, **options)
    call.workspace.fault_origins[rule.id] = ORIGIN
    return Answer(status=201, value=_shown(call, rule))


def list_all(call: Call) -> Answer:
    """The rules in the order they are tried."""
    return Answer(value={"items": [_shown(call, rule) for rule in call.workspace.faults.rules]})


def show(call: Call) -> Answer:
    """One rule, and how often it struck."""
    return Answer(value=_shown(call, _found(call)))


def _shown(call: Call, rule: FaultRule) -> dict[str, Any]:
    shown: dict[str, Any] = call.mask.value(rule.as_dict())  # a rule may name a key
    return shown


def _found(call: Call) -> FaultRule:
    given = call.values["fault"]
    rules = call.workspace.faults.rules
    found = next((rule for rule in rules if str(rule.id) == given), None)
    if found is None:
        raise missing("fault rule", given, (str(rule.id) for rule in rules))
    return found


def remove(call: Call) -> Answer:
    """Take one rule back."""
    rule = _found(call)
    call.workspace.faults.rules.remove(rule)
    return Answer(value={"removed": [_shown(call, rule)]})


def remove_all(call: Call) -> Answer:
    """Take back all rules, or those that the query or the body names."""
    said, plan = {**call.query, **call.body}, call.workspace.faults
    number, name, on = said.get("id"), said.get("fault"), said.get("on")
    if name is not None and name not in CATALOGUE and name not in PRESETS:
        raise ControlError(400, "bad_request", unknown(name))
    gone = [
        rule
        for rule in plan.rules
        if number in (None, rule.id) and name in (None, rule.spec.name) and on in (None, rule.on)
    ]
    if said:
        plan.rules = [rule for rule in plan.rules if not any(rule is one for one in gone)]
    else:
        plan.clear()
    return Answer(value={"removed": [_shown(call, rule) for rule in gone]})
