"""Limits that are real: so many requests at once, so many in a window of time, and what Dify or its edge says beyond.

Three kinds, as clients meet three kinds of refusal: `concurrency` (an app's `max_active_requests`), `quota` (the
plan's runs) and `edge` (a proxy in front of Dify). Nothing here reads a clock: windows are on the workspace's.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from mockdify import shapes
from mockdify.context import error_reply
from mockdify.errors import INTERNAL, DifyError, MockdifyError
from mockdify.faults import Asked, FaultContext
from mockdify.faults.edge import RATE_LIMITED, page_reply
from mockdify.faults.http import run_quota
from mockdify.faults.rules import check_on, concerns
from mockdify.shapes import Field, KeyPath, Problems
from mockdify.steps import Headers, Reply

__all__ = ["COMPLETION", "Limit", "LimitKind", "Limits", "Rate", "Refusal", "limits_of", "parse_rates"]

Refusal: TypeAlias = Callable[[FaultContext], Reply]
"""Makes the answer of a request that is beyond a limit."""
LimitKind: TypeAlias = Literal["concurrency", "quota", "edge"]
Per: TypeAlias = Literal["workspace", "app", "key", "user"]

COMPLETION = "/v1/completion-messages"
GENERATING = (
    "/v1/chat-messages",
    COMPLETION,
    "/v1/workflows/run",
    "/v1/workflows/<string:workflow_id>/run",
)
"""The routes that Dify counts: whatever asks a model."""
SLOT_LIFE = 600.0
"""Seconds after which Dify forgets a slot that was never freed."""
_MANY_SCOPES = 10_000


# ---------------------------------------------------------------------- what limits there are
@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most `count` in any `seconds`."""

    count: int
    seconds: float


_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800, "month": 2_592_000}
_RATE = re.compile(rf"(\d+)\s*(?:per|/)\s*(?:(\d+)\s*)?({'|'.join(_UNITS)})s?", re.IGNORECASE | re.ASCII)


def parse_rates(text: Any) -> tuple[Rate, ...]:
    """The rates of `"20 per minute; 100 per hour"`: all of them hold at once."""
    parts = [part.strip() for part in re.split("[;,]", text)] if isinstance(text, str) else []
    found = [_RATE.fullmatch(part) for part in parts if part]
    if not found or not all(match and int(match[1]) and match[2] != "0" for match in found):
        msg = f'{shapes.shown(text)} is no rate; write "20 per minute", several with ";"; units: {", ".join(_UNITS)}'
        raise MockdifyError(msg)
    return tuple(
        Rate(count=int(match[1]), seconds=float(int(match[2] or 1) * _UNITS[match[3].lower()]))
        for match in found
        if match
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit: what it counts, for whom, and how it answers beyond."""

    kind: LimitKind
    per: Per
    max: int = 0
    """For `concurrency`: how many at once."""
    rate: tuple[Rate, ...] = ()
    """For `quota` and `edge`."""
    on: str | None = None
    """The requests that count; None: for `edge` all, else those that ask a model."""
    app: str | None = None
    user: str | None = None
    key: str | None = None
    answer: Literal["real", "documented"] = "real"
    """For `concurrency`: the 400 that Dify really answers since 0.14.2, or the 429 of its documents."""
    retry_after: bool | float = False
    """Whether a `Retry-After` goes with the refusal: the seconds until there is room again, or a number."""

    def counts(self, asked: Asked) -> bool:
        """Whether the request is one that this limit is about."""
        named = ((self.app, asked.app), (self.user, asked.user), (self.key, asked.key))
        if any(wanted is not None and wanted != got for wanted, got in named):
            return False
        if self.on is not None:
            return concerns(self.on, asked)
        return self.kind == "edge" or (asked.method == "POST" and asked.rule in GENERATING)

    def scope(self, asked: Asked) -> tuple[str, ...]:
        """Who shares the limit with the asker."""
        return _SCOPES[self.per](asked)


_SCOPES: Mapping[Per, Callable[[Asked], tuple[str, ...]]] = {
    "workspace": lambda _: (),
    "app": lambda asked: (asked.app,),
    "key": lambda asked: (asked.key,),
    "user": lambda asked: (asked.app, asked.user),
}
_DEFAULT_PER: Mapping[LimitKind, Per] = {"concurrency": "app", "quota": "workspace", "edge": "key"}
_KINDS: tuple[LimitKind, ...] = ("concurrency", "quota", "edge")


# ---------------------------------------------------------------------- as people write them
def _retry(value: Any, path: KeyPath, problems: Problems) -> bool | float:
    if isinstance(value, bool):
        return value
    seconds: float = shapes.number(0)(value, path, problems)
    return seconds


_FIELDS = {
    "max": Field(shapes.whole(0)),
    "rate": Field(shapes.by_parser(parse_rates, ())),
    "per": Field(shapes.one_of(tuple(_SCOPES), "scope")),
    "on": Field(check_on),
    "app": Field(shapes.text),
    "user": Field(shapes.text),
    "key": Field(shapes.text),
    "answer": Field(shapes.one_of(("real", "documented"), "answer")),
    "retry_after": Field(_retry),
}
_BESIDE = {
    "concurrency": {"max", "per", "on", "app", "user", "key", "answer", "retry_after"},
    "quota": {"rate", "per", "on", "app", "user", "key", "retry_after"},
    "edge": {"rate", "per", "on", "app", "user", "key", "retry_after"},
}


def _build(found: dict[str, Any], path: KeyPath, problems: Problems) -> Limit | None:
    kind: LimitKind | None = found.pop("kind", None)
    if kind is None or problems.within(path):
        return None
    for name in found.keys() - _BESIDE[kind]:
        problems.add((*path, name), f"a limit of kind {kind!r} has no {name!r}", at_key=True)
    needed = "max" if kind == "concurrency" else "rate"
    if needed not in found:
        example = "max = 1" if kind == "concurrency" else 'rate = "20 per minute"'
        problems.add(path, f"a limit of kind {kind!r} needs {needed!r}, e.g. {example}")
    if problems.within(path):
        return None
    return Limit(**{"kind": kind, "per": _DEFAULT_PER[kind], "retry_after": kind == "edge", **found})


_LIMIT = shapes.table({"kind": Field(shapes.one_of(_KINDS, "kind of limit"), required=True), **_FIELDS}, _build)


def _short(value: Any, path: KeyPath, problems: Problems) -> tuple[Limit | None, ...]:
    """`[limits]`: a kind with its number or rate, or with a table."""
    limits = []
    for kind, said in value.items():
        where = (*path, kind)
        if kind not in _KINDS:
            problems.add(
                where, f"unknown kind of limit {shapes.shown(kind)}{shapes.nearest(str(kind), _KINDS)}", at_key=True
            )
            continue
        if not isinstance(said, Mapping):
            said = {"max" if kind == "concurrency" else "rate": said}  # noqa: PLW2901 - the long form of it
        limits.append(_LIMIT({"kind": kind, **said}, where, problems))
    return tuple(limits)


def limits_of(data: Any, where: Callable[..., str] | None = None) -> tuple[Limit, ...]:
    """The limits that *data* says, as `limits` of the configuration writes them; one error tells all mistakes.

    Args:
        data: a list of tables (`[[limits]]`), or one table of kinds (`[limits]`); None: no limits.
        where: the place of a key path, to begin a line with: `Config.where`.
    """
    if data is None:
        return ()
    problems = Problems()
    path: KeyPath = ("limits",)
    if isinstance(data, Mapping):
        found = _short(data, path, problems)
    else:
        found = shapes.list_of(_LIMIT, what="a table of kinds or a list of tables")(data, path, problems)
    if problems.items and where is not None:
        raise MockdifyError("\n".join(f"{where(*item.path)}{item}" for item in problems.items))
    problems.tell()
    return tuple(limit for limit in found if limit is not None)


# ---------------------------------------------------------------------- the state of one workspace
class Limits:
    """The limits of one workspace and what was counted so far."""

    def __init__(self, limits: tuple[Limit, ...], now: Callable[[], float]) -> None:
        self.limits = limits
        self._now = now
        self._windows: dict[tuple[int, Rate, tuple[str, ...]], deque[float]] = {}
        self._slots: dict[tuple[int, tuple[str, ...]], dict[int, float]] = {}
        self._made = 0

    def at_edge(self, asked: Asked) -> Refusal | None:
        """What the proxy in front of Dify says to this request; None lets it through, and counts it."""
        return self._within_rates("edge", asked)

    @contextmanager
    def inside(self, asked: Asked, *, twice: bool) -> Iterator[Refusal | None]:
        """While a request is worked on: its slot is taken, or there is a refusal. The slot is freed however it ends.

        Args:
            asked: the request, past Dify's checks of its form.
            twice: whether it takes two slots and frees both before its reply begins, as a streaming graph does in some
                releases: with a limit of 1 it is always refused, and with a higher one it does not count.
        """
        refused = self._within_rates("quota", asked)
        taken: list[tuple[tuple[int, tuple[str, ...]], int]] = []
        if refused is None:
            refused = self._take_slots(asked, taken, twice=twice)
        try:
            yield refused
        finally:
            for place, number in taken:
                self._free_slot(place, number)

    def _take_slots(
        self, asked: Asked, taken: list[tuple[tuple[int, tuple[str, ...]], int]], *, twice: bool
    ) -> Refusal | None:
        for at, limit in enumerate(self.limits):
            if limit.kind != "concurrency" or not limit.counts(asked):
                continue
            place = (at, limit.scope(asked))
            if self._open_slots(place) + (2 if twice else 1) > limit.max:
                return _too_many(limit)
            if not twice:
                self._made += 1
                self._slots.setdefault(place, {})[self._made] = self._now()
                taken.append((place, self._made))
        return None

    def _open_slots(self, place: tuple[int, tuple[str, ...]]) -> int:
        slots = self._slots.get(place, {})
        oldest = self._now() - SLOT_LIFE
        for number in [number for number, since in slots.items() if since <= oldest]:
            del slots[number]
        return len(slots)

    def _free_slot(self, place: tuple[int, tuple[str, ...]], number: int) -> None:
        slots = self._slots.get(place, {})
        slots.pop(number, None)
        if not slots:
            self._slots.pop(place, None)

    def _within_rates(self, kind: LimitKind, asked: Asked) -> Refusal | None:
        """A refusal where a window is full; else the request is counted in all of them."""
        now = self._now()
        counted: list[deque[float]] = []
        for at, limit in enumerate(self.limits):
            if limit.kind != kind or not limit.counts(asked):
                continue
            for rate in limit.rate:
                window = self._window((at, rate, limit.scope(asked)), now)
                if len(window) >= rate.count:
                    return _REFUSALS[kind](limit, window[0] + rate.seconds - now)
                counted.append(window)
        for window in counted:
            window.append(now)
        return None

    def _window(self, place: tuple[int, Rate, tuple[str, ...]], now: float) -> deque[float]:
        """The times that still count there."""
        window = self._windows.get(place)
        if window is None:
            if len(self._windows) >= _MANY_SCOPES:  # users are the client's: forget those who asked nothing lately
                alive = (one for one in self._windows.items() if one[1] and one[1][-1] > now - one[0][1].seconds)
                self._windows = dict(alive)
            window = self._windows[place] = deque()
        while window and window[0] <= now - place[1].seconds:
            window.popleft()
        return window


# ---------------------------------------------------------------------- refusals
def _retry_after(limit: Limit, seconds: float) -> Headers:
    given = limit.retry_after
    if given is False:
        return ()
    return (("Retry-After", str(math.ceil(seconds if given is True else given))),)


def _too_many(limit: Limit) -> Refusal:
    def reply(ctx: FaultContext) -> Reply:
        text = (
            "Too many requests. Please try again later. The current maximum concurrent requests allowed for "
            f"{ctx.app_id} is {limit.max}."
        )
        code, status = ctx.profile.concurrency_error if limit.answer == "real" else ("too_many_requests", 429)
        error = DifyError(status, code, text)
        return error_reply(ctx.request, ctx.profile, error, _retry_after(limit, 1))

    return reply


def _no_quota(limit: Limit, seconds: float) -> Refusal:
    def reply(ctx: FaultContext) -> Reply:
        if ctx.request.path == COMPLETION and not ctx.profile.completion_quota:
            return error_reply(ctx.request, ctx.profile, INTERNAL)
        return error_reply(ctx.request, ctx.profile, run_quota(ctx), _retry_after(limit, seconds))

    return reply


def _rate_limited(limit: Limit, seconds: float) -> Refusal:
    return lambda _: page_reply(RATE_LIMITED, _retry_after(limit, seconds))


_REFUSALS: Mapping[LimitKind, Callable[[Limit, float], Refusal]] = {"quota": _no_quota, "edge": _rate_limited}
