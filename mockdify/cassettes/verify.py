"""Recordings held against the contracts: what drifted, and how bad that is.

Every request that the recorded server took, every reply, every event and the order of events. A new field is news
(`info`), one that is missing or null may hurt (`warn`), anything else breaks clients (`error`): another type, value,
code or status, an event by another name, another order.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from mockdify.cassettes.files import load
from mockdify.contracts import Contracts, Violation
from mockdify.errors import MockdifyError
from mockdify.sse import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mockdify.cassettes.interaction import Interaction
    from mockdify.contracts import Operation, View

__all__ = ["GRADES", "Breach", "Drift", "Grade", "Report", "Where", "events_of", "mode_of", "verify", "verify_one"]
__all__ += ["with_unasked"]

Grade: TypeAlias = Literal["info", "warn", "error"]
GRADES: tuple[Grade, ...] = ("info", "warn", "error")
Where: TypeAlias = Literal["request", "reply", "stream", "cassette", "live"]
_GONE = frozenset({"missing", "null"})
_OF_ORDER = frozenset({"order", "unfinished", "identity"})
_BY_CODE = frozenset({"status", "$.status", "$.message"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One difference between a recording and the contracts of its release."""

    cassette: str
    interaction: int
    """Its place in the cassette, from 1; 0 for the cassette as a whole."""
    request: str
    where: Where
    grade: Grade
    message: str
    contract: str = ""
    odd: str = ""
    """Which of cassette, contract and live server stands alone; empty when two were compared."""

    def __str__(self) -> str:
        place = f"{self.cassette}#{self.interaction}" if self.interaction else self.cassette
        about = " ".join(filter(None, (self.request, self.where)))
        return f"{self.grade:5} {place} {about}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was read and what was found."""

    drifts: tuple[Drift, ...]
    cassettes: int
    interactions: int
    outside: int = 0
    """Interactions of routes that the contracts do not cover."""
    releases: tuple[str, ...] = field(default=())
    asked: int | None = None
    """How many were asked of a live server; None when none was."""

    @property
    def worst(self) -> Grade | None:
        """The highest grade met; None when nothing drifted."""
        return max((drift.grade for drift in self.drifts), key=GRADES.index, default=None)

    def fails(self, fail_on: Grade) -> bool:
        """Whether something is at least as bad as *fail_on*."""
        return self.worst is not None and GRADES.index(self.worst) >= GRADES.index(fail_on)

    def __str__(self) -> str:
        counts = Counter(drift.grade for drift in self.drifts)
        told = ", ".join(f"{counts[grade]} {grade}" for grade in reversed(GRADES) if counts[grade]) or "nothing drifted"
        rest = f", {self.outside} outside the contracts" if self.outside else ""
        rest += f", {self.asked} asked of the live server" if self.asked is not None else ""
        return f"{self.cassettes} cassettes, {self.interactions} interactions{rest}: {told}"

    def as_json(self) -> str:
        """The report for machines."""
        head = {
            "cassettes": self.cassettes,
            "interactions": self.interactions,
            "outside": self.outside,
            "asked": self.asked,
        }
        rest = {"releases": self.releases, "worst": self.worst, "drifts": [asdict(drift) for drift in self.drifts]}
        return json.dumps({**head, **rest}, ensure_ascii=False, indent=1)

    def as_html(self) -> str:
        """The report as one page."""
        rows = "".join(
            f"<tr class={drift.grade}>" + "".join(f"<td>{html.escape(cell)}" for cell in _cells(drift))
            for drift in self.drifts
        )
        return (
            "<!doctype html><meta charset=utf-8><title>Drift</title><style>body{font:14px system-ui;margin:2em}"
            "td,th{padding:.3em .6em;text-align:left;border-bottom:1px solid #ddd}.error td:first-child{color:#b00}"
            ".warn td:first-child{color:#a60}</style>"
            f"<h1>Drift</h1><p>{html.escape(str(self))}<table><tr><th>grade<th>interaction<th>request<th>where<th>"
            f"what<th>contract{rows}</table>"
        )


def _cells(drift: Drift) -> tuple[str, ...]:
    place = f"{drift.cassette}#{drift.interaction}" if drift.interaction else drift.cassette
    return drift.grade, place, drift.request, drift.where, drift.message, drift.contract


# ---------------------------------------------------------------------- reading
def verify(
    paths: Iterable[Path],
    *,
    release: str | None = None,
    max_age_days: float | None = None,
    today: datetime | None = None,
) -> Report:
    """The cassettes at *paths* (files, or folders of `*.yaml`) against the contracts.

    Args:
        paths: Files and folders.
        release: The release to hold them to; None: the one each was recorded from, else the newest.
        max_age_days: Recordings older than this many days are told.
        today: The moment ages are counted from; None: now.
    """
    drifts: list[Drift] = []
    files, count, outside = 0, 0, 0
    releases: set[str] = set()
    for path in cassettes_in(paths):
        interactions = load(path)
        files, count = files + 1, count + len(interactions)
        if max_age_days is not None:
            drifts += aged(path, interactions, max_age_days, today or datetime.now(UTC))
        for number, one in enumerate(interactions, start=1):
            held_to = release or release_of(one)
            contracts = Contracts.load(held_to)
            releases.add(held_to)
            if not contracts.covers(urlsplit(one.uri).path) or not is_of_dify(one):
                outside += 1
                continue
            drifts += (_drift(path, number, one, breach) for breach in verify_one(one, contracts))
    return Report(
        drifts=tuple(drifts), cassettes=files, interactions=count, outside=outside, releases=tuple(sorted(releases))
    )


def _drift(path: Path, number: int, one: Interaction, breach: Breach) -> Drift:
    return Drift(
        cassette=str(path),
        interaction=number,
        request=request_line(one),
        where=breach.where,
        grade=breach.violation.drift,
        message=told(breach.violation),
        contract=breach.violation.contract,
    )


def request_line(one: Interaction) -> str:
    """Method and path, as a report names a request."""
    return f"{one.method} {urlsplit(one.uri).path}"


def told(violation: Violation) -> str:
    """*violation* in one line, without its contract."""
    event = "" if violation.at is None else f"event {violation.at}: "
    return f"{event}{violation.path}: {violation.message}"


def cassettes_in(paths: Iterable[Path]) -> Iterator[Path]:
    """The files at *paths*, those of folders in order."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(path.rglob("*.yaml"))
        if not found:
            raise MockdifyError(f"{path}: there is no cassette (*.yaml) in this folder")
        yield from found


def release_of(one: Interaction) -> str:
    """The release that *one* was recorded from; the newest known where it does not say."""
    return str(one.dify.get("profile") or one.dify.get("version") or "1.16")


def is_of_dify(one: Interaction) -> bool:
    """Whether the server said anything: where it could not be reached, or broke off at once, the recorder did."""
    return "unreachable" not in one.about and "no_reply" not in one.about


def aged(path: Path, interactions: Sequence[Interaction], days: float, today: datetime) -> Iterator[Drift]:
    """What is to say of the age of the oldest interaction, and of those that do not say theirs."""
    stamps = [str(one.dify.get("recorded_at") or one.about.get("at") or "") for one in interactions]
    ages = [(today - moment).days for stamp in stamps if (moment := _moment(stamp)) is not None]
    drift = partial(Drift, cassette=str(path), interaction=0, request="", where="cassette")
    if ages and max(ages) > days:
        yield drift(grade="warn", message=f"recorded {max(ages)} days ago, older than {days:g} days: record it again")
    if len(ages) < len(interactions):
        unknown = len(interactions) - len(ages)
        yield drift(grade="info", message=f"{unknown} interactions do not say when they were recorded")


def with_unasked(report: Report, paths: Iterable[Path], played: Path) -> Report:
    """*report*, and what no test has asked for by what `pytest --mockdify-played` wrote to *played*."""
    asked = _played_in(played)
    found = [drift for path in cassettes_in(paths) for drift in _unasked(path, asked)]
    return replace(report, drifts=(*report.drifts, *found))


def _unasked(path: Path, played: Mapping[str, frozenset[int]]) -> Iterator[Drift]:
    """What is to say of a cassette that no test has played, or of its interactions that none has asked for."""
    drift = partial(Drift, cassette=str(path), where="cassette", grade="warn")
    asked = played.get(str(path.resolve()))
    if asked is None:
        yield drift(interaction=0, request="", message="an orphan: no test played it")
        return
    for number, one in enumerate(load(path), start=1):
        if number not in asked:
            yield drift(interaction=number, request=request_line(one), message="unused: no test asked for it")


def _played_in(path: Path) -> dict[str, frozenset[int]]:
    """What `pytest --mockdify-played` has written: of each cassette the interactions that were asked for."""
    try:
        said = json.loads(path.read_bytes())["cassettes"]
        return {name: frozenset(each["asked"]) for name, each in said.items()}
    except OSError as error:
        raise MockdifyError(f"{path}: it cannot be read: {error.strerror}") from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise MockdifyError(f"{path}: this is not what `pytest --mockdify-played FILE` writes") from None


def _moment(stamp: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# ---------------------------------------------------------------------- one exchange
class Breach(NamedTuple):
    """What one part of an exchange has that its contract does not allow."""

    where: Where
    violation: Violation


def verify_one(one: Interaction, contracts: Contracts) -> list[Breach]:
    """What one exchange has that the contracts do not allow."""
    parts = urlsplit(one.uri)
    operation = contracts.operation(one.method, parts.path)
    events = events_of(one.body) if one.is_stream else []
    found = [Breach("request", each) for each in _asked(one, events, contracts)]
    body = None if one.method == "HEAD" or one.cut else one.body
    headers = dict(one.headers)
    broken_reply = contracts.check_response(operation, one.status, headers, body)
    found += [Breach("reply", each) for each in _caused(broken_reply)]
    if one.is_stream and one.status == 200 and operation is not None and operation.view is not None:
        mode, broken = mode_of(operation, events, contracts, complete=one.cut is None)
        if any(each.kind in _GONE for each in broken):  # an event without its id belongs to nothing: that is no news
            plain = _misplaced(mode, events, contracts, operation.view)
            broken = [each for each in broken if each.kind not in _OF_ORDER or each.at in plain]
        found += [Breach("stream", each) for each in _caused(broken)]
    return found


def _asked(one: Interaction, events: Sequence[Any], contracts: Contracts) -> Iterator[Violation]:
    """What is wrong with a request that the server took: what it refused is the client's mistake, and no drift."""
    if one.cut or one.status >= 300 or any(map(_has_failed, events or [_json(one.body)])):
        return
    parts = urlsplit(one.uri)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    for violation in contracts.check_request(one.method, target, dict(one.request_headers), one.request_body):
        # Why no headers: whoever keeps credentials out of a cassette has left that one out.
        if violation.severity == "error" and violation.kind != "header":
            yield violation


def _has_failed(said: Any) -> bool:
    """Whether an event or a reply tells that the run failed, or would tell it and lost its data.

    A run that fails was begun with 200 all the same.
    """
    if not isinstance(said, dict):
        return False
    data, event = said.get("data"), said.get("event")
    if event == "workflow_finished" and not isinstance(data, dict):
        return True
    return event == "error" or (isinstance(data, dict) and data.get("status") == "failed")


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def events_of(body: bytes) -> list[Any]:
    """The events of a stream as JSON; a ping, or what is no JSON, as an object with no more than its name."""
    found: list[Any] = []
    for frame in decode([body]):
        if frame.data is None:
            found.append({"event": frame.event})
            continue
        try:
            found.append(json.loads(frame.data))
        except ValueError:
            found.append({"event": None})
    return found


def mode_of(
    operation: Operation, events: Sequence[Any], contracts: Contracts, *, complete: bool = True
) -> tuple[str, list[Violation]]:
    """The mode of the app that sent *events*, and what breaks the contracts of that mode.

    A stream does not say its mode: it is the one of its operation's whose contracts it breaks least.
    """
    assert operation.view is not None
    held = {
        mode: contracts.check_stream(mode, events, view=operation.view, complete=complete)
        for mode in operation.modes or contracts.modes
        if mode in contracts.modes
    }
    best = min(held, key=lambda mode: _weight(held[mode]))
    return best, held[best]


def _weight(violations: Iterable[Violation]) -> tuple[int, ...]:
    counts = Counter(violation.drift for violation in violations)
    return tuple(counts[grade] for grade in reversed(GRADES))


def _caused(found: Iterable[Violation]) -> list[Violation]:
    """*found* without what only follows from a missing error code: then no status and no text is the right one."""
    found = list(found)
    gone = {each.at for each in found if each.kind in _GONE and each.path == "$.code"}
    return [each for each in found if each.at not in gone or each.kind in _GONE or each.path not in _BY_CODE]


def _misplaced(mode: str, events: Sequence[Any], contracts: Contracts, view: View) -> set[int]:
    """The places of *events* that may not come there, told by their names alone; an early end counts as one more."""
    order = contracts.order(mode, view=view)
    names = [str(event.get("event")) if isinstance(event, dict) else "None" for event in events]
    found = {at for at, name in enumerate(names) if order.feed(name)}
    return found | ({len(names)} if order.finish() else set())
