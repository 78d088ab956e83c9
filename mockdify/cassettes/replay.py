"""Recordings played back: the recorded reply for a request, as steps. No socket, no clock.

The search is a few looks into dictionaries, however long the cassette. What a run makes anew is matched by meaning: an
id that no recording knows may stand for any recorded one, and stands for that one from then on; likewise end users and
keys.
"""

from __future__ import annotations

import copy
import difflib
import re
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from mockdify.cassettes.match import fields, is_id, recorded_request, shape
from mockdify.cassettes.secrets import PATTERNS, own_pattern
from mockdify.errors import MockdifyError
from mockdify.steps import Abort, Body, Head, Wait

if TYPE_CHECKING:
    import os
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from mockdify.cassettes.interaction import Interaction
    from mockdify.cassettes.match import Shape
    from mockdify.http import Request
    from mockdify.steps import Headers, Reply, Step

__all__ = ["Difference", "Miss", "Near", "Pace", "Play", "Player", "Repeat", "steps"]

Pace: TypeAlias = str | float
""" "recorded", "instant" (no waits), or a factor: 2 (or "2x") is twice as fast as recorded."""
Repeat: TypeAlias = Literal["no", "last", "again"]
"""When a recorded sequence is used up: a miss, its last reply again, or all of it from the start."""

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length"})
_COMPARED = 200  # requests that a miss is compared with
_SHOWN = 6  # differences that it shows
_ANY_FORM = "any form"
_WITHOUT_IDS = 2  # parts of a place that says nothing about ids
_BLANK_LINE = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)")
_USERS = frozenset({"body.user", "query.user"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """The recorded reply that answers a request."""

    index: int
    """Its place in the player's list, from 0."""
    interaction: Interaction

    @property
    def status(self) -> int:
        """The recorded status."""
        return self.interaction.status

    @property
    def headers(self) -> Headers:
        """The recorded headers, without those of the connection."""
        return tuple((name, value) for name, value in self.interaction.headers if name.lower() not in _HOP)

    @property
    def length(self) -> int | None:
        """The Content-Length to announce; None for a body in chunks."""
        if self.interaction.is_stream or self.interaction.about.get("framing") == "chunked":
            return None
        declared = next((v for name, v in self.interaction.headers if name.lower() == "content-length"), "")
        if declared.isdigit() and (self.interaction.cut or self.interaction.method == "HEAD"):
            return int(declared)
        return len(self.interaction.body)

    @property
    def pieces(self) -> tuple[tuple[float, bytes], ...]:
        """(seconds since the request, bytes): as they came where that was recorded, otherwise event by event."""
        body, chunks = self.interaction.body, self.interaction.chunks
        if sum(size for _, size in chunks) == len(body):
            ends = accumulate((size for _, size in chunks), initial=0)
            return tuple((ms / 1000, body[a:b]) for (ms, _), (a, b) in zip(chunks, pairwise(ends), strict=True))
        return self.by_event if self.interaction.is_stream else ((0.0, body),) if body else ()

    @property
    def by_event(self) -> tuple[tuple[float, bytes], ...]:
        """As `pieces`, cut anew behind each event; it is timed when its last byte came."""
        events = by_event(self.interaction.body)
        times = [ms / 1000 for ms, _ in self.interaction.chunks] or [0.0]
        ends = list(accumulate(size for _, size in self.interaction.chunks))
        last = accumulate(map(len, events))
        return tuple(
            (times[min(bisect_left(ends, b), len(times) - 1)], each) for b, each in zip(last, events, strict=True)
        )


def by_event(body: bytes) -> list[bytes]:
    """*body* cut behind each blank line: one piece an event."""
    return [each for each in _BLANK_LINE.split(body) if each]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A named value that a recorded request has and the asked one has otherwise; None where it is missing."""

    field: str
    recorded: str | None
    asked: str | None

    def __str__(self) -> str:
        return f"{self.field}: recorded {_short(self.recorded)}, asked {_short(self.asked)}"


def _short(value: str | None, most: int = 120) -> str:
    if value is None:
        return "nothing"
    return value if len(value) <= most else f"{value[: most - 1]}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A recorded request that is almost the one asked for."""

    index: int
    place: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """No recorded reply, and why: everything that fits was `played`, or nothing fits and these are `near`."""

    asked: Request
    cassette: str
    recorded: int
    """How many interactions there are."""
    played: tuple[str, ...] = ()
    near: tuple[Near, ...] = ()
    routes: tuple[str, ...] = ()
    """The most similar routes, when this one was never recorded."""

    @property
    def reason(self) -> Literal["exhausted", "unmatched"]:
        """Whether there was a reply once."""
        return "exhausted" if self.played else "unmatched"

    def __str__(self) -> str:
        what = f"no recorded reply for {self.asked.method} {self.asked.target} in {self.cassette}"
        if self.played:
            which = ", ".join(self.played[:8])
            times = "once" if len(self.played) == 1 else f"{len(self.played)} times"
            return f"{what}: it was recorded {times} ({which}), all played. Record more, or let replies repeat."
        if self.near:
            near = self.near[0]
            shown = "; ".join(map(str, near.differences[:_SHOWN]))
            more = len(near.differences) - _SHOWN
            return f"{what}. Closest is {near.place}: {shown}" + (f"; and {more} more." if more > 0 else ".")
        routes = f" Recorded are: {', '.join(self.routes)}." if self.routes else ""
        return f"{what}: none of its {self.recorded} interactions is of this route.{routes}"


@dataclass(slots=True)
class _Queue:
    """Recorded places in order, and how far they are played."""

    places: list[int] = field(default_factory=list)
    at: int = 0

    def first(self, played: bytearray) -> int | None:
        """The first place that was not played."""
        while self.at < len(self.places) and played[self.places[self.at]]:
            self.at += 1
        return self.places[self.at] if self.at < len(self.places) else None

    def back_to(self, place: int) -> None:
        """Look at *place* again."""
        self.at = min(self.at, bisect_left(self.places, place))


class Player:
    """Finds the recorded reply for each request of a run, and remembers what was played.

    Args:
        interactions: What was recorded, in order.
        name: What to call the recording in explanations.
        places: What to call each interaction there; None: its number, from 1.
        extra: The texts and regular expressions that were scrubbed besides the usual secrets.
        repeat: What to do when a sequence is used up.
    """

    def __init__(
        self,
        interactions: Iterable[Interaction],
        *,
        name: str = "the cassette",
        places: Iterable[str] | None = None,
        extra: Iterable[str | re.Pattern[str]] = (),
        repeat: Repeat = "no",
    ) -> None:
        # Written when they ended; a client's sequence is the order in which they began.
        given = list(interactions)
        called = list(places) if places is not None else [f"#{n}" for n in range(1, len(given) + 1)]
        ordered = sorted(range(len(given)), key=lambda n: str(given[n].about.get("at") or ""))
        self.interactions: Sequence[Interaction] = [given[n] for n in ordered]
        self.places: Sequence[str] = [called[n] for n in ordered]
        self.name = name
        self.repeat: Repeat = repeat
        self._patterns = (*map(own_pattern, extra), *PATTERNS)
        self._queues: defaultdict[Hashable, _Queue] = defaultdict(_Queue)
        self._routes: defaultdict[str, list[int]] = defaultdict(list)
        self._known: set[tuple[str, str]] = set()
        self._shapes = [shape(recorded_request(each), self._patterns) for each in self.interactions]
        for index, each in enumerate(self._shapes):
            self._routes[each.route].append(index)
            self._known.update(_names(each))
            for tier in _tiers(each, each.ids, each.user, each.credential):
                self._queues[tier].places.append(index)
        self.rewind()

    @classmethod
    def load(
        cls,
        *paths: str | os.PathLike[str],
        extra: Iterable[str | re.Pattern[str]] = (),
        repeat: Repeat = "no",
    ) -> Player:
        """A player of the cassettes at *paths*, one after the other."""
        from mockdify.cassettes.files import load  # noqa: PLC0415 - the search itself reads no file

        found = {path: load(path) for path in paths}
        places = [
            f"{path}#{n}" if len(found) > 1 else f"#{n}" for path in found for n in range(1, len(found[path]) + 1)
        ]
        together = [each for one in found.values() for each in one]
        return cls(together, name=", ".join(map(str, found)), places=places, extra=extra, repeat=repeat)

    def fresh(self) -> Player:
        """The same player from the start, for another run; what finds replies is shared."""
        other = copy.copy(self)
        queues = {tier: _Queue(queue.places) for tier, queue in self._queues.items()}
        other._queues = defaultdict(_Queue, queues)  # noqa: SLF001 - it is one of us
        other.rewind()
        return other

    def rewind(self) -> None:
        """Forget what was played and who asked."""
        self._played = bytearray(len(self.interactions))
        self._asked = bytearray(len(self.interactions))
        self._bound: dict[tuple[str, str], str] = {}
        for queue in self._queues.values():
            queue.at = 0

    @property
    def unplayed(self) -> list[int]:
        """The places of the interactions that nobody asked for."""
        return [index for index, done in enumerate(self._asked) if not done]

    def find(self, asked: Request) -> Play | Miss:
        """The next recorded reply for *asked*, or why there is none. Takes as long in a long cassette as in a short."""
        wanted = shape(asked, self._patterns)
        index = self._choose(wanted)
        if index is None:
            return self._miss(asked, wanted)
        self._played[index] = self._asked[index] = 1
        self._bind(wanted, self._shapes[index])
        return Play(index=index, interaction=self.interactions[index])

    # ------------------------------------------------------------ choosing
    def _choose(self, wanted: Shape) -> int | None:
        queues = self._queues_of(wanted)
        for queue in queues:
            if (index := queue.first(self._played)) is not None:
                return index
        index = self._by_known_ids(wanted)
        if index is not None or not queues or self.repeat == "no":
            return index
        return self._repeated(queues[0])

    def _queues_of(self, wanted: Shape) -> list[_Queue]:
        """Where to look for *wanted*, the most particular place first."""
        ids = self._ids(wanted)
        user, credential = self._as_recorded("user", wanted.user), self._as_recorded("key", wanted.credential)
        tiers = _tiers(wanted, ids, user, credential)
        if any(("id", each) in self._known for each in ids):
            # A recorded id stands for itself: another conversation's reply would be wrong. A new one may be any.
            tiers = tuple(tier for tier in tiers if len(tier) != _WITHOUT_IDS)
        return [queue for tier in tiers if (queue := self._queues.get(tier)) is not None]

    def _by_known_ids(self, wanted: Shape) -> int | None:
        """The next recording that has the known ids of *wanted*, whatever the others: an old chat, a new file."""
        ids = self._ids(wanted)
        known = [(n, each) for n, each in enumerate(ids) if ("id", each) in self._known]
        broadest = self._queues.get((wanted.key, _ANY_FORM))
        if broadest is None or not 0 < len(known) < len(ids):
            return None
        return next((place for place in broadest.places if not self._played[place] and self._has(place, known)), None)

    def _has(self, place: int, ids: list[tuple[int, str]]) -> bool:
        return all(self._shapes[place].ids[n] == each for n, each in ids)

    def _repeated(self, queue: _Queue) -> int:
        if self.repeat == "last":
            return queue.places[-1]
        for index in queue.places:
            self._played[index] = 0
            shape_ = self._shapes[index]
            for tier in _tiers(shape_, shape_.ids, shape_.user, shape_.credential):
                self._queues[tier].back_to(index)
        return queue.places[0]

    def _ids(self, wanted: Shape) -> tuple[str, ...]:
        return tuple(self._as_recorded("id", each) for each in wanted.ids)

    def _as_recorded(self, kind: str, name: str) -> str:
        return self._bound.get((kind, name), name)

    def _bind(self, wanted: Shape, met: Shape) -> None:
        """What the client calls things stands for what the recording calls them, from now on."""
        for asked, recorded in zip(_names(wanted), _names(met), strict=False):
            if asked[1] and asked not in self._known:
                self._bound.setdefault(asked, recorded[1])

    # ------------------------------------------------------------ explaining
    def _miss(self, asked: Request, wanted: Shape) -> Miss:
        exact = tuple(dict.fromkeys(place for queue in self._queues_of(wanted) for place in queue.places))
        same_route = self._routes.get(wanted.route, [])
        routes = difflib.get_close_matches(wanted.route, self._routes, n=5, cutoff=0.0)
        return Miss(
            asked=asked,
            cassette=self.name,
            recorded=len(self.interactions),
            played=tuple(self.places[place] for place in exact),
            near=() if exact else tuple(self._nearest(asked, same_route)),
            routes=() if same_route else tuple(routes),
        )

    def _nearest(self, asked: Request, places: Sequence[int]) -> Iterator[Near]:
        """Up to three of *places*, the one with the fewest differences first."""
        own = fields(asked)
        near = [
            Near(
                index=n,
                place=self.places[n],
                differences=tuple(_differences(fields(recorded_request(self.interactions[n])), own)),
            )
            for n in places[:_COMPARED]
        ]
        yield from sorted(near, key=lambda each: len(each.differences))[:3]


Tier: TypeAlias = "tuple[Hashable, ...]"


def _tiers(each: Shape, ids: tuple[str, ...], user: str, credential: str) -> tuple[Tier, ...]:
    """The places that an interaction is filed at, and looked for: the most particular first, two without ids last."""
    return (
        (each.key, ids, each.form, user, credential),
        (each.key, ids, each.form, user),
        (each.key, ids, each.form),
        (each.key, ids, _ANY_FORM, ""),
        (each.key, each.form),
        (each.key, _ANY_FORM),
    )


def _names(each: Shape) -> Iterator[tuple[str, str]]:
    yield "user", each.user
    yield "key", each.credential
    for name in each.ids:
        yield "id", name


def _differences(recorded: dict[str, str], asked: dict[str, str]) -> list[Difference]:
    """What differs; two ids, or two end users, only when nothing else does."""
    found = [
        Difference(field=name, recorded=recorded.get(name), asked=asked.get(name))
        for name in sorted(recorded.keys() | asked.keys())
        if recorded.get(name) != asked.get(name)
    ]
    return [each for each in found if not _varies(each)] or found


def _varies(each: Difference) -> bool:
    if not (each.recorded and each.asked):
        return False
    if each.field == "path":  # of the same route: only its ids can differ
        return True
    return each.field in _USERS or (is_id(each.recorded.strip('"')) and is_id(each.asked.strip('"')))


# ---------------------------------------------------------------- performing
def steps(play: Play, *, pace: Pace = "instant", start: float = 0.0, recut: bool = False) -> Reply:
    """The steps of *play*, timed from *start*: when the request came, in epoch seconds on the workspace's clock.

    Args:
        play: What to play.
        pace: How fast.
        start: Where the recorded times begin.
        recut: One `Body` an event, whatever the recorded borders: what counts events can count these.
    """
    slowness = _slowness(pace)
    about = play.interaction.about
    if not about.get("no_reply"):
        yield from _until(start, cast("float", about.get("head_ms") or 0.0) / 1000, slowness)
        yield Head(play.status, play.headers, play.length)
        for seconds, data in play.by_event if recut and play.interaction.is_stream else play.pieces:
            yield from _until(start, seconds, slowness)
            yield Body(data)
    if play.interaction.cut:
        yield from _until(start, cast("float", about.get("end_ms") or 0.0) / 1000, slowness)
        yield Abort("reset" if about.get("cut_how") == "reset" else "close")


def _until(start: float, seconds: float, slowness: float) -> Iterator[Step]:
    if seconds and slowness:
        yield Wait(start + seconds * slowness)


def _slowness(pace: Pace) -> float:
    """How many times the recorded time a reply takes."""
    if pace in ("recorded", "instant"):
        return 1.0 if pace == "recorded" else 0.0
    try:
        factor = float(str(pace).removesuffix("x"))
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise MockdifyError(f"pace {pace!r}: a cassette plays at 'recorded', 'instant' or a factor such as '2x'.")
    return 1 / factor
