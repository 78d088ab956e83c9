"""A finding as one small file that plays again anywhere: rule, verdict, calls, and the bytes of every reply."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mockdify.checks.judge import is_generation, truth_of
from mockdify.checks.model import Call, Case, Rule, Stage
from mockdify.checks.transcript import End, Pause, Piece, Send, WireReply
from mockdify.errors import MockdifyError
from mockdify.writing import write_whole

if TYPE_CHECKING:
    from mockdify.harness.runner import Finding, Report
    from mockdify.journal import Exchange

__all__ = ["Saved", "read", "save", "save_all"]

_FORMAT = "mockdify failure 1"
_CLEAN = {"cut", "no-end"}
"""Faults that break a reply off with a proper last chunk."""
_DROPPED = {"date", "content-length", "transfer-encoding", "connection"}


class Saved:
    """A failure read back from its file."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self.rule: str = data["rule"]
        self.verdict: str = data["verdict"]
        self.words: str = data["words"]
        self.mode: str = data["mode"]
        self.seed: int = data["seed"]
        self.app_mode: str = data["app_mode"]
        self.replies = tuple(map(WireReply.from_json, data["replies"]))

    def case(self, original: Case | None) -> Case:
        """The case that plays this failure and nothing else."""

        def play(stage: Stage) -> None:
            nobody = self.data.get("nobody")
            place = stage.nowhere() if nobody else stage.play(*self.replies, mode=self.app_mode)
            for call in self.data["calls"]:
                stage.call(call["call"], place, timeout=call["timeout"], **call["args"])

        # A sweep compares many framings; one alone is judged by itself.
        kept = original.check if original is not None and original.examples is None else None
        return Case(mode=self.mode, play=play, name=self.data.get("case", ""), check=kept)


def read(path: Path) -> Saved:
    """The failure that *path* holds."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MockdifyError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise MockdifyError(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise MockdifyError(f"{path} is not a saved failure; `mockdify check --save-failures FOLDER` writes them")
    return Saved(data)


def save(finding: Finding) -> dict[str, Any]:
    """*finding* as plain JSON. The keys of the run are not in it."""
    run = finding.run
    bad = _broken_call(finding)
    outcomes = run.outcomes if bad is None else [bad]
    exchanges = [x for outcome in outcomes for x in outcome.exchanges if is_generation(x)]
    return {
        "format": _FORMAT,
        "rule": finding.rule.id,
        "says": finding.rule.says,
        "verdict": finding.verdict,
        "words": finding.words,
        "violations": [{"verdict": one.verdict, "words": one.words} for one in finding.violations],
        "mode": finding.case.mode,
        "case": finding.case.name,
        "app_mode": outcomes[0].call.place.mode if outcomes else "chat",
        "seed": finding.seed,
        "nobody": not run.exchanges,
        "calls": [_call(outcome.call) for outcome in outcomes],
        "replies": [
            reply.as_json()
            for reply in (
                _played(finding, bad) or tuple(_replayable(x, run.ended.get(id(x), x.ended)) for x in exchanges)
            )
        ],
        "outcomes": [str(outcome) for outcome in outcomes],
        "requests": [_request(exchange) for outcome in outcomes for exchange in outcome.exchanges],
    }


def _broken_call(finding: Finding) -> Any:
    """The call that went wrong, when one alone did: of a sweep only that one is saved."""
    if finding.case.examples is None or finding.rule.id.startswith("CONV"):
        return None
    from mockdify.checks.judge import judge, judge_retries  # noqa: PLC0415 - for saving alone

    bad = [one for one in finding.run.outcomes if [*judge(one), *judge_retries(one)]]
    return bad[-1] if bad else None


def _played(finding: Finding, bad: Any) -> tuple[WireReply, ...]:
    """The transcript as it was written, where there was one: it knows pauses and borders better than a journal."""
    run = finding.run
    if bad is not None and len(run.replies) == len(run.outcomes):
        return run.replies[run.outcomes.index(bad)]
    return run.replies[0] if len(run.replies) == 1 else ()


def _call(call: Call) -> dict[str, Any]:
    return {"call": call.name, "args": dict(call.args), "timeout": call.timeout}


def _request(exchange: Exchange) -> dict[str, Any]:
    asked = exchange.request
    return {
        "method": exchange.method,
        "path": asked.path,
        "headers": asked.headers,
        "body": asked.body.decode("utf-8", "replace"),
    }


def _replayable(exchange: Exchange, ended: str) -> WireReply:
    """What a live exchange sent, as a transcript."""
    pieces: list[Piece] = list(_pieces(exchange))
    end: End = "complete"
    if ended in ("aborted", "reset") and exchange.fault not in _CLEAN:
        end = "reset"
    elif ended == "open" or (ended == "client gone" and not _is_whole(exchange)):
        end = "hang"
    return WireReply(
        status=exchange.status,
        headers=tuple((name, value) for name, value in exchange.headers if name.lower() not in _DROPPED),
        pieces=tuple(pieces),
        framing="chunked" if exchange.is_stream else "length",
        end=end,
    )


def _is_whole(exchange: Exchange) -> bool:
    """Whether all had been sent when the client left: many leave at the end event."""
    return truth_of(exchange, "").kind != "broken" or truth_of(exchange, "workflow").kind != "broken"


def _pieces(exchange: Exchange) -> Iterator[Piece]:
    body, before = exchange.body, 0.0
    for offset, at, length in exchange.writes:
        if at - before > 30:
            yield Pause(round((at - before) / 1000, 3))
        before = at
        if length:
            yield Send(body[offset : offset + length])


def save_all(report: Report, folder: Path) -> list[Path]:
    """One file for each finding, named after its rule and case."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for cell in report.failed:
        for finding in cell.findings:
            stem = re.sub(r"[^A-Za-z0-9.]+", "-", f"{cell.rule.id} {cell.mode} {finding.case.name}").strip("-")
            path = folder / f"{stem}.json"
            write_whole(path, json.dumps(save(finding), ensure_ascii=False, indent=1) + "\n")
            paths.append(path)
    return paths


def rule_named(name: str) -> Rule:
    """The rule of that id."""
    from mockdify.harness.runner import rules_of  # noqa: PLC0415 - the table

    return next(rule for rule in rules_of("all", [name]) if rule.id == name)
