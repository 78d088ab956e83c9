"""Settings: one value for the whole server, from a flag, an environment variable or the file, in this order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mockdify import shapes
from mockdify.durations import INSTANT
from mockdify.errors import MockdifyError
from mockdify.shapes import Problems

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mockdify.durations import Pace
    from mockdify.shapes import KeyPath, Shape

__all__ = ["FROZEN_START", "PROFILES", "SETTINGS", "Clock", "Setting", "Settings", "merge"]

PROFILES = ("1.16", "1.13", "guide", "guide-delta")
FROZEN_START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""Where a frozen clock stands unless a time is given: fixed, so that two runs are alike."""


class Clock(NamedTuple):
    """How a workspace's clock starts: `at` in epoch seconds (None: now); a frozen one moves only when told to."""

    frozen: bool = False
    at: float | None = None


_REAL = Clock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for the whole server. Durations are seconds."""

    host: str = "127.0.0.1"
    port: int = 5001
    profile: str = "1.16"
    seed: int = 0
    pace: Pace = INSTANT
    ping_interval: float = 10.0
    clock: Clock = _REAL
    coalesce: bool = False
    models: tuple[str, ...] | None = None
    """The models there are, `provider/model`; None when every model is there."""
    remote_files: Literal["accept", "unreachable", "fetch"] = "accept"
    silence: float = 300.0
    """How long a release that hangs on a bad request stays silent."""
    keepalive: float = 75.0
    connections: int = 0
    """The most connections at once; 0 for any number."""
    strict_http: bool = False
    """Keep-alive and connections as Dify's own server has them, unless they are given."""
    cassette: tuple[Path, ...] = ()
    repeat: Literal["no", "last", "again"] = "again"
    """What a cassette plays when a recorded sequence is used up: nothing, its last reply, or all of it anew."""
    watch: bool = False
    self_check: bool = False
    """Whether replies are held to the contracts as they go out."""
    admin: bool = True
    admin_token: str | None = None
    quiet: bool = False


_STRICT_HTTP = {"keepalive": 2.0, "connections": 10}


def _clock(given: Any) -> Clock:
    match given:
        case "real":
            return _REAL
        case "frozen":
            return Clock(frozen=True, at=FROZEN_START)
        case Clock():
            return given
        case datetime():
            moment = given
        case _:
            try:
                moment = datetime.fromisoformat(given)
            except (TypeError, ValueError):
                allowed = '"real", "frozen" or a time like "2026-01-01T00:00:00Z"'
                raise MockdifyError(f"{shapes.shown(given)} is not a clock; allowed: {allowed}") from None
    return Clock(frozen=True, at=(moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _paths(value: Any, path: KeyPath, problems: Problems) -> tuple[Path, ...]:
    one_or_more = [value] if isinstance(value, str | Path) else value
    found = shapes.list_of(shapes.path, what="a path or a list of paths")(one_or_more, path, problems)
    return tuple(map(Path, found))


def _model(value: Any, path: KeyPath, problems: Problems) -> str:
    if isinstance(value, str) and re.fullmatch(r"[^/]+(/[^/]+)+", value):
        return value
    problems.add(path, f'a model like "provider/model" is needed, got {shapes.shown(value)}')
    return ""


class Setting(NamedTuple):
    """A setting's shape in the file, and how the text of a flag or an environment variable becomes such a value."""

    shape: Shape
    from_text: Callable[[str], Any] = str


def _whole_number(written: str) -> Any:
    return int(written) if re.fullmatch(r"\s*[+-]?\d{1,40}\s*", written) else written


def _yes_or_no(written: str) -> Any:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    return words.get(written.strip().lower(), written)


def _listed(written: str) -> list[str]:
    return [one.strip() for one in written.split(",") if one.strip()]


_FLAG = Setting(shapes.flag, _yes_or_no)
_DURATION = Setting(shapes.duration)
SETTINGS: Mapping[str, Setting] = {
    "profile": Setting(shapes.one_of(PROFILES, "profile")),
    "seed": Setting(shapes.whole(), _whole_number),
    "host": Setting(shapes.text),
    "port": Setting(shapes.whole(0, 65535), _whole_number),
    "pace": Setting(shapes.pace),
    "ping_interval": Setting(shapes.duration_above_zero),
    "clock": Setting(shapes.by_parser(_clock)),
    "coalesce": _FLAG,
    "models": Setting(shapes.list_of(_model, what='a list of "provider/model"'), _listed),
    "remote_files": Setting(shapes.one_of(("accept", "unreachable", "fetch"), "way with remote files")),
    "silence": _DURATION,
    "keepalive": _DURATION,
    "connections": Setting(shapes.whole(0), _whole_number),
    "strict_http": _FLAG,
    "cassette": Setting(_paths, _listed),
    "repeat": Setting(shapes.one_of(("no", "last", "again"), "way to repeat")),
    "watch": _FLAG,
    "self_check": _FLAG,
    "admin": _FLAG,
    "admin_token": Setting(shapes.text),
    "quiet": _FLAG,
}


def merge(
    flags: Mapping[str, Any], environ: Mapping[str, str], given: Mapping[str, Any], *, keywords: bool = False
) -> Settings:
    """The settings to use: a flag before `MOCKDIFY_*` in *environ* before the file before what is built in.

    *flags* are named like the settings, None where one was not given; *given* is what the file has (`Config.given`).
    With *keywords* the flags were written as arguments in Python, and a mistake names them like that.
    """
    problems = Problems()
    chosen = dict(given)
    for name, setting in SETTINGS.items():
        variable = f"MOCKDIFY_{name.upper()}"
        flag = name if keywords else f"--{name.replace('_', '-')}"
        sources = ((environ.get(variable) or None, variable), (flags.get(name), flag))
        for value, source in sources:
            if value is not None:
                parsed = setting.from_text(value) if isinstance(value, str) else value
                chosen[name] = setting.shape(parsed, (source,), problems)
    problems.tell()
    return Settings(**(_STRICT_HTTP | chosen if chosen.get("strict_http") else chosen))
