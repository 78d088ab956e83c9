"""Spans of time and paces as people write them: `100ms`, `2s`, `realtime`, `2x`. Nothing here reads a clock."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mockdify.errors import MockdifyError

__all__ = ["INSTANT", "REALTIME", "Pace", "parse_duration", "parse_pace"]

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)")
_SPEED = re.compile(r"(\d+(?:\.\d+)?|\.\d+)x")
_DURATION_HELP = 'a number with a unit, one of ms, s, m, h, d ("100ms", "2s", "5m"), or a plain number of seconds'
_PACE_HELP = '"instant", "realtime", the time of one chunk ("30ms") or a speed ("2x")'


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a model speaks: `seconds` between two chunks.

    `speed` is the multiple of real time that was asked for, for whatever has a real time of its own (a recording);
    None when the time of a chunk was given instead.
    """

    seconds: float
    speed: float | None = None


INSTANT = Pace(seconds=0.0)
REALTIME = Pace(seconds=0.03, speed=1.0)
"""About thirty tokens a second, what hosted models of middling size do."""

_NAMED = {"instant": INSTANT, "realtime": REALTIME, "recorded": REALTIME}


def parse_duration(given: str | float) -> float:
    """The seconds that *given* stands for: `"100ms"`, `"2s"`, `"5m"`, `"1h"`, `1.5` or `"0"`."""
    if isinstance(given, str):
        match = _DURATION.fullmatch(given.strip().lower())
        seconds = float(match[1]) * _UNITS[match[2]] if match and match[2] in _UNITS else math.nan
    elif isinstance(given, bool) or not isinstance(given, int | float):
        seconds = math.nan
    else:
        seconds = _as_float(given)
    if not 0 <= seconds < math.inf:
        raise MockdifyError(f"{given!r} is not a duration; allowed: {_DURATION_HELP}, not below zero")
    return seconds


def parse_pace(given: str | float | Pace) -> Pace:
    """The pace that *given* stands for: `"instant"`, `"realtime"`, `"30ms"` a chunk, or `"2x"` as fast as real time."""
    if isinstance(given, Pace):
        return given
    if isinstance(given, str):
        word = given.strip().lower()
        if word in _NAMED:
            return _NAMED[word]
        if match := _SPEED.fullmatch(word):
            return _at_speed(float(match[1]), given)
    try:
        return Pace(seconds=parse_duration(given))
    except MockdifyError:
        raise MockdifyError(f"{given!r} is not a pace; allowed: {_PACE_HELP}, not below zero") from None


def _at_speed(speed: float, given: str) -> Pace:
    if not 0 < speed < math.inf:
        raise MockdifyError(f'{given!r} would never end; allowed: a speed above zero ("2x") or "instant"')
    return Pace(seconds=REALTIME.seconds / speed, speed=speed)


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an int of hundreds of digits
        return math.inf
