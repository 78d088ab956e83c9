"""A finding as one small file that plays again anywhere: rule, verdict, calls, and the bytes of every reply."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mockdify.checks.judge import is_generation
from mockdify.checks.model import Call, Case, Outcome, Place, Rule, Stage
from mockdify.checks.transcript import WireReply
from mockdify.errors import MockdifyError
from mockdify.writing import write_whole

if TYPE_CHECKING:
    from mockdify.harness.runner import Finding, Report
    from mockdify.journal import Exchange

__all__ = ["Saved", "read", "save", "save_all"]

_FORMAT = "mockdify failure 1"


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
        self.profile: str = data.get("profile", "1.16")
        self.replies = tuple(map(WireReply.from_json, data["replies"]))
        self.others = tuple(
            (one["method"], one["path"], WireReply.from_json(one["reply"])) for one in data.get("others", ())
        )

    def case(self, original: Case | None) -> Case:
        """The case that plays this failure and nothing else."""

        def play(stage: Stage) -> None:
            calls = self.data["calls"]
            place = self._place(stage)
            at_once = dict(self.data.get("together", ()))
            number = asked = 0
            while number < len(calls):
                some = calls[number : at_once.get(number, number + 1)]
                if some[1:]:
                    # Each has a key of its own: which of them comes first is nobody's to say.
                    stage.together([self._apart(stage, one, asked) for one in some])
                else:
                    _called(stage, place, some[0])
                asked += sum(one.get("asked", 0) for one in some)
                number += len(some)

        # A sweep compares many framings; one alone is judged by itself.
        kept = original.check if original is not None and original.examples is None else None
        return Case(mode=self.mode, play=play, name=self.data.get("case", ""), check=kept)

    def _place(self, stage: Stage) -> Place:
        if self.data.get("full"):
            return stage.full()
        if self.data.get("nobody"):
            return stage.nowhere()
        return stage.play(*self.replies, mode=self.app_mode, others=self.others)

    def _apart(self, stage: Stage, call: Mapping[str, Any], asked: int) -> Call:
        mine = self.replies[asked : asked + call["asked"]] or self.replies[-1:]
        place = stage.play(*mine, mode=self.app_mode)
        return Call(name=call["call"], place=place, args=call["args"], timeout=call["timeout"])


def _called(stage: Stage, place: Place, call: Mapping[str, Any]) -> None:
    name, args = call["call"], call["args"]
    if call.get("watched"):
        stage.run.notes["patience"] = stage.patience = call["watched"]
        stage.watch(name, place, **args)
    else:
        (stage.abandon if call.get("abandon") else stage.call)(name, place, timeout=call["timeout"], **args)


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
    exchanges = [x for outcome in outcomes for x in outcome.exchanges]
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
        "profile": finding.profile,
        "seed": finding.seed,
        "nobody": not run.exchanges,
        "full": bool(run.notes.get("full")),
        "calls": [_call(outcome) for outcome in outcomes],
        "together": [list(pair) for pair in run.together] if bad is None else [],
        "replies": [run.sent[id(x)]().as_json() for x in exchanges if is_generation(x)],
        "others": [
            {"method": x.method, "path": x.path, "reply": run.sent[id(x)]().as_json()}
            for x in exchanges
            if not is_generation(x)
        ],
        "outcomes": [str(outcome) for outcome in outcomes],
        "requests": [_request(exchange) for exchange in exchanges],
    }


def _broken_call(finding: Finding) -> Outcome | None:
    """The call that went wrong, when one alone did: of a sweep only that one is saved."""
    if finding.case.examples is None or finding.rule.id.startswith("CONV"):
        return None
    from mockdify.checks.judge import judge, judge_retries  # noqa: PLC0415 - for saving alone

    bad = [one for one in finding.run.outcomes if [*judge(one), *judge_retries(one)]]
    return bad[-1] if bad else None


def _call(outcome: Outcome) -> dict[str, Any]:
    call = outcome.call
    found = {
        "call": call.name,
        "args": dict(call.args),
        "timeout": call.timeout,
        "asked": sum(map(is_generation, outcome.exchanges)),
    }
    return found | {key: value for key in ("abandon", "watched") if (value := getattr(outcome, key))}


def _request(exchange: Exchange) -> dict[str, Any]:
    asked = exchange.request
    return {
        "method": exchange.method,
        "path": asked.path,
        "headers": asked.headers,
        "body": asked.body.decode("utf-8", "replace"),
    }


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
