"""The contracts beside what a real Dify said: every recording is accepted, and mutants of it are not."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import contract_samples as own
import orjson
import pytest
from contract_mutants import Freedom, Mutant, mutants, stream_mutants, tell
from contract_recordings import ABSENT, PRESENT, events_of, is_whole, mode_of, raw, recordings

from mockdify.contracts import MODES, Contracts

needs_recordings = pytest.mark.skipif(not PRESENT, reason=ABSENT)
releases = pytest.mark.parametrize("release", ["1.13", "1.16"])


def _covered(contracts: Contracts, release: str) -> list[dict[str, Any]]:
    return [r for r in recordings(release) if contracts.covers(r["request"]["path"])]


def _check(contracts: Contracts, release: str, recording: dict[str, Any]) -> list[str]:
    asked, said = recording["request"], recording["response"]
    operation = contracts.operation(asked["method"], asked["path"])
    found = contracts.check_response(operation, said["status"], said["headers"], raw(said.get("body")))
    if "sse" in said:
        events = events_of(said["sse"])
        mode = mode_of(release, recording["app"])
        found += contracts.check_stream(mode, events, view=operation.view, complete=is_whole(recording))
    return [f"{recording['name']}: {v}" for v in found]


@needs_recordings
@releases
def test_every_recording_is_accepted(release):
    contracts = Contracts.load(release)
    covered = _covered(contracts, release)
    outside = sorted({r["name"].partition(".")[0] for r in recordings(release) if r not in covered})
    streams = sum("sse" in r["response"] for r in covered)
    tell(
        f"\n{release}: {len(covered)} of {len(recordings(release))} recordings are under contract, "
        f"{streams} of them streams"
    )
    tell(f"{release}: not under contract: {', '.join(outside)}")
    assert [said for r in covered for said in _check(contracts, release, r)] == []


def _is_refused(said: dict[str, Any]) -> bool:
    """Was the request refused by the worker, after the 200?"""
    return [e["event"] for e in events_of(said.get("sse", ""))] == ["ping", "workflow_started", "workflow_finished"]


@needs_recordings
@releases
def test_requests_are_judged_as_dify_judged_them(release):
    """What Dify took breaks nothing that is required; what its own models refused breaks something."""
    contracts, refused = Contracts.load(release), 0
    for r in _covered(contracts, release):
        asked, said = r["request"], r["response"]
        if ["Transfer-Encoding", "chunked"] in asked["headers"]:
            continue  # Why: recorded with its chunk sizes, which a server never hands on.
        found = contracts.check_request(asked["method"], asked["path"], asked["headers"], raw(asked["body"]))
        errors = [str(v) for v in found if v.severity == "error"]
        body = said.get("body") or ""
        if said["status"] < 300 and not _is_refused(said):
            assert errors == [], r["name"]
        elif "validation error" in body or "Arg user must" in body or (said["status"] == 415 and "json" in body):
            refused += 1
            assert errors, r["name"]
    tell(f"\n{release}: {refused} requests that Dify's models refused are off contract")


# ---------------------------------------------------------------- mutants
@dataclass
class Score:
    rejected: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    excluded: Counter[str] = field(default_factory=Counter)

    def judge(self, kind: str, name: str, mutant: Mutant, verdict: Any) -> None:
        if mutant.excluded:
            self.excluded[f"{kind}: {mutant.what.partition(' ')[0]}: {mutant.excluded}"] += 1
        elif verdict(mutant.value):
            self.rejected[kind] += 1
        else:
            self.missed.append(f"{name}: {mutant.what}")

    def tell(self, what: str) -> float:
        rejected, total = sum(self.rejected.values()), sum(self.rejected.values()) + len(self.missed)
        tell(
            f"\n{what}: {rejected} of {total} mutants rejected {dict(self.rejected)}, "
            f"{sum(self.excluded.values())} excluded:"
        )
        tell("\n".join(f"  {count:5} {why}" for why, count in sorted(self.excluded.items())))
        tell("\n".join(f"  MISSED {m}" for m in self.missed[:20]))
        return rejected / total


class Judge:
    """Mutants of replies, events and streams, judged by one release's contracts; every *step*-th only."""

    def __init__(self, release: str, step: int) -> None:
        self.release, self.contracts, self.step, self.score = release, Contracts.load(release), step, Score()
        self._freedom: dict[tuple[str, ...], Freedom] = {}
        self._turn = 0

    def freedom(self, name: str, mode: str | None, view: str) -> Freedom:
        key = (name, str(mode), view)
        if key not in self._freedom:
            self._freedom[key] = Freedom(self.contracts.schema(name, mode=mode, view=view))
        return self._freedom[key]

    def _mine(self) -> bool:
        self._turn += 1
        return self._turn % self.step == 0

    def recording(self, r: dict[str, Any]) -> None:
        asked, said = r["request"], r["response"]
        operation = self.contracts.operation(asked["method"], asked["path"])
        if "sse" in said:
            self._stream(
                r["name"], mode_of(self.release, r["app"]), operation.view, events_of(said["sse"]), whole=is_whole(r)
            )
        elif (said.get("body") or "").startswith("{"):
            self._reply(r["name"], operation, said)

    def _stream(self, name, mode, view, events, *, whole):
        for event in events:
            if event["event"] != "ping" and self._mine():
                for mutant in mutants(event, self.freedom(f"events/{event['event']}", mode, view)):
                    self.score.judge("event", name, mutant, lambda e: self.contracts.check_event(mode, e, view=view))
        if whole:
            for mutant in stream_mutants(mode, view, events):
                self.score.judge("stream", name, mutant, lambda es: self._order(mode, view, es))

    def _order(self, mode, view, events):
        order = self.contracts.order(mode, view=view)
        return [v for e in events for v in order.feed(e)] or order.finish()

    def _reply(self, name, operation, said):
        if not self._mine():
            return
        body, status = orjson.loads(said["body"]), said["status"]
        if status >= 400:
            schema = next(
                f"{c.family}#{c.code}" for c in self.contracts._table.codes.values() if c.code == body["code"]
            )
        else:
            schema = next(x.schema for x in operation.replies if x.status == status and x.schema)
        for mutant in mutants(body, self.freedom(schema, None, "run")):
            self.score.judge(
                "reply", name, mutant, lambda b: self.contracts.check_response(operation, status, said["headers"], b)
            )


def _score(release: str, step: int) -> Score:
    judge = Judge(release, step)
    for r in _covered(judge.contracts, release):
        judge.recording(r)
    return judge.score


@needs_recordings
@releases
def test_mutants_of_recordings_are_rejected(release):
    """One key deleted, renamed, retyped or null (every 25th reply and event); one event dropped, doubled or swapped."""
    assert _score(release, 25).tell(release) >= 0.99


@pytest.mark.slow
@needs_recordings
@releases
def test_all_mutants_of_recordings_are_rejected(release):
    assert _score(release, 1).tell(release) >= 0.99


@pytest.mark.parametrize("mode", MODES)
def test_mutants_of_our_own_samples_are_rejected(mode):
    judge = Judge("1.16", 1)
    judge._stream(mode, mode, "run", own.STREAMS[mode], whole=True)
    assert judge.score.tell(mode) >= 0.99
