"""Recordings held against the contracts: what drifted, and how bad that is.

Every request that the recorded server took, every reply, every event and the order of events. A new field is news
(`info`), one that is missing or null may hurt (`warn`), anything else breaks clients (`error`).
"""

from __future__ import annotations

import html
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from mockdify.cassettes.files import load
from mockdify.contracts import Contracts, Violation
from mockdify.errors import MockdifyError
from mockdify.sse import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mockdify.cassettes.interaction import Interaction

__all__ = ["GRADES", "Drift", "Grade", "Report", "mode_of", "verify", "verify_one"]

Grade: TypeAlias = Literal["info", "warn", "error"]
GRADES: tuple[Grade, ...] = ("info", "warn", "error")
Where: TypeAlias = Literal["request", "reply", "stream", "cassette"]


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

    def __str__(self) -> str:
        place = f"{self.cassette}#{self.interaction}" if self.interaction else self.cassette
        return f"{self.grade:5} {place} {self.request} {self.where}: {self.message}".replace("  ", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was read and what was found."""

    drifts: tuple[Drift, ...]
    cassettes: int
    interactions: int
    outside: int = 0
    """Interactions of routes that the contracts do not cover."""
    releases: tuple[str, ...] = field(default=())

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
        return f"{self.cassettes} cassettes, {self.interactions} interactions{rest}: {told}"

    def as_json(self) -> str:
        """The report for machines."""
        rows = [
            {name: getattr(drift, name) for name in ("cassette", "interaction", "request", "where", "grade", "message", "contract")}
            for drift in self.drifts
        ]
        head = {"cassettes": self.cassettes, "interactions": self.interactions, "outside": self.outside}
        return json.dumps({**head, "releases": self.releases, "worst": self.worst, "drifts": rows}, ensure_ascii=False, indent=1)

    def as_html(self) -> str:
        """The report as one page."""
        rows = "".join(
            f"<tr class={drift.grade}><td>{drift.grade}<td>{html.escape(drift.cassette)}#{drift.interaction}"
            f"<td>{html.escape(drift.request)}<td>{drift.where}<td>{html.escape(drift.message)}<td>{html.escape(drift.contract)}"
            for drift in self.drifts
        )
        return (
            "<!doctype html><meta charset=utf-8><title>Drift</title><style>body{font:14px system-ui;margin:2em}"
            "td,th{padding:.3em .6em;text-align:left;border-bottom:1px solid #ddd}.error td:first-child{color:#b00}"
            ".warn td:first-child{color:#a60}</style>"
            f"<h1>Drift</h1><p>{html.escape(str(self))}<table><tr><th>grade<th>interaction<th>request<th>where<th>"
            f"what<th>contract{rows}</table>"
        )


# ---------------------------------------------------------------------- reading
def verify(
    paths: Iterable[Path], *, release: str | None = None, max_age_days: float | None = None, today: datetime | None = None
) -> Report:
    """The cassettes at *paths* (files, or folders of `*.yaml`) against the contracts.

    Args:
        release: The release to hold them to; None: the one each was recorded from, else the newest.
        max_age_days: Recordings older than this many days are told.
        today: The moment ages are counted from.
    """
    drifts: list[Drift] = []
    files, count, outside, releases = 0, 0, 0, set()
    for path in _files(paths):
        interactions = load(path)
        files, count = files + 1, count + len(interactions)
        if max_age_days is not None:
            drifts += _aged(path, interactions, max_age_days, today or datetime.now(UTC))
        for number, one in enumerate(interactions, start=1):
            held_to = release or _release_of(one)
            releases.add(held_to)
            contracts = Contracts.load(held_to)
            if not contracts.covers(urlsplit(one.uri).path):
                outside += 1
                continue
            drifts += [
                Drift(
                    cassette=str(path),
                    interaction=number,
                    request=f"{one.method} {urlsplit(one.uri).path}",
                    where=where,
                    grade=grade_of(violation),
                    message=_told(violation),
                    contract=violation.contract,
                )
                for where, violation in verify_one(one, contracts)
            ]
    return Report(
        drifts=tuple(drifts), cassettes=files, interactions=count, outside=outside, releases=tuple(sorted(releases))
    )


def grade_of(violation: Violation) -> Grade:
    """How bad a breach is when it is Dify that changed; a request is the client's and never worse than its contract."""
    return violation.drift


def _told(violation: Violation) -> str:
    event = "" if violation.at is None else f"event {violation.at}: "
    return f"{event}{violation.path}: {violation.message}"


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            found = sorted(path.rglob("*.yaml"))
            if not found:
                msg = f"{path}: there is no cassette (*.yaml) in this folder"
                raise MockdifyError(msg)
            yield from found
        else:
            yield path


def _release_of(one: Interaction) -> str:
    return str(one.dify.get("profile") or one.dify.get("version") or "1.16")


def _aged(path: Path, interactions: Sequence[Interaction], days: float, today: datetime) -> Iterator[Drift]:
    stamps = [str(one.dify.get("recorded_at") or one.about.get("at") or "") for one in interactions]
    known = sorted(filter(None, stamps))
    if not known:
        return
    oldest = datetime.fromisoformat(known[0])
    age = (today - (oldest if oldest.tzinfo else oldest.replace(tzinfo=UTC))).days
    if age > days:
        told = f"recorded {age} days ago, older than {days:g}: record it again"
        yield Drift(cassette=str(path), interaction=0, request="", where="cassette", grade="warn", message=told)


# ---------------------------------------------------------------------- one exchange
def verify_one(one: Interaction, contracts: Contracts) -> Iterator[tuple[Where, Violation]]:
    """What one exchange has that the contracts do not allow."""
    place = urlsplit(one.uri)
    target = place.path + (f"?{place.query}" if place.query else "")
    request_headers = dict(one.request_headers)
    headers = dict(one.headers)
    operation = contracts.operation(one.method, place.path)
    if one.status < 300:  # what the server refused is the client's mistake, and no drift
        for violation in contracts.check_request(one.method, target, request_headers, one.request_body):
            if violation.severity == "error" and violation.kind != "header":
                yield "request", violation
    body = None if one.method == "HEAD" else one.body
    for violation in contracts.check_response(operation, one.status, headers, body):
        yield "reply", violation
    if one.is_stream and one.status == 200 and operation is not None and operation.view is not None:
        events = _events(one.body)
        mode = mode_of(operation.modes, events)
        whole = one.cut is None
        for violation in contracts.check_stream(mode, events, view=operation.view, complete=whole):
            yield "stream", violation


def _events(body: bytes) -> list[Any]:
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


def mode_of(modes: Sequence[str], events: Sequence[Any]) -> str:
    """The mode of the app that sent *events*: one of those its operation is for, told by what only it sends."""
    if len(modes) == 1:
        return modes[0]
    names = {event.get("event") for event in events if isinstance(event, dict)}
    if "workflow_started" in names or names <= {"ping", "error"} and "ping" in names:
        chatty = any(isinstance(event, dict) and "conversation_id" in event for event in events)
        return "advanced-chat" if "advanced-chat" in modes and (chatty or "workflow" not in modes) else "workflow"
    if names & {"agent_thought", "agent_message"}:
        return "agent" if "message" in names and "agent" in modes else "agent-chat"
    return "chat"
