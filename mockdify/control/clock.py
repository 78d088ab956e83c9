"""A workspace's time over HTTP: read, advanced, made faster, stopped."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mockdify import shapes
from mockdify.control.table import Answer, ControlError, Param

if TYPE_CHECKING:
    from mockdify.control.table import Call

__all__ = ["CLOCK", "MOVE", "move", "show"]

_FASTEST = 1e6
_FARTHEST = 100 * 365 * 86400.0
"""A hundred years: dates beyond what Dify's clients can write help nobody."""


def _speed(value: object, path: shapes.KeyPath, problems: shapes.Problems) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _FASTEST:
        return float(value)
    problems.add(
        path, f"a number above 0, at most {_FASTEST:g}, is needed, got {shapes.shown(value)}; stop it with `frozen`"
    )
    return 1.0


def _span(value: object, path: shapes.KeyPath, problems: shapes.Problems) -> float:
    seconds: float = shapes.duration(value, path, problems)
    if seconds > _FARTHEST:
        problems.add(path, f"at most a hundred years at once, got {shapes.shown(value)}")
    return seconds


MOVE = {
    "advance": Param(
        shape=_span,
        schema={"type": ["string", "number"], "examples": ["30s"]},
        words="How much time passes at once.",
    ),
    "speed": Param(
        shape=_speed,
        schema={"type": "number", "exclusiveMinimum": 0, "maximum": _FASTEST},
        words="How many times as fast as real time it goes from now on.",
    ),
    "frozen": Param(shape=shapes.flag, schema={"type": "boolean"}, words="Whether it stands still from now on."),
}
CLOCK = {
    "type": "object",
    "required": ["now", "time", "speed", "frozen"],
    "properties": {
        "now": {"type": "number", "description": "Seconds since the epoch."},
        "time": {"type": "string", "description": "The same as ISO 8601, in UTC."},
        "speed": {"type": "number", "description": "0 while it is frozen."},
        "frozen": {"type": "boolean"},
    },
}


def show(call: Call) -> Answer:
    """What time it is in the workspace."""
    clock = call.workspace.clock
    now = clock.now()
    return Answer(value={"now": now, "time": _iso(now), "speed": clock.speed, "frozen": clock.frozen})


def _iso(now: float) -> str:
    try:
        return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):  # beyond the year 9999
        return "after 9999-12-31T23:59:59Z"


def move(call: Call) -> Answer:
    """Move the workspace's time: waits end, pings come, windows pass, keys expire, `created_at` follows."""
    said, clock = call.body, call.workspace.clock
    if not said:
        raise ControlError(400, "bad_request", "in the body: say one of advance, speed, frozen")
    if "speed" in said and said.get("frozen", clock.frozen):
        msg = 'a frozen clock has no speed; use {"advance": "30s"}, or {"frozen": false, "speed": 100}'
        raise ControlError(400, "bad_request", msg)
    if "frozen" in said:
        clock.freeze(said["frozen"])
    if "advance" in said:
        clock.advance(said["advance"])
    if "speed" in said:
        clock.set_speed(said["speed"])
    return show(call)
