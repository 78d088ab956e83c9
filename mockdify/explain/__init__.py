"""Why an exchange ended as it did: the rule, the evidence, the nearest thing, and how to fix it.

`explain` works from the exchange and the state of its workspace alone, when somebody asks. What it says about a refusal
stands in `ROWS`, a table of status, code and text: a new explanation is a row there and a function in the module of its
kind. No explanation shows a key in full.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from mockdify.explain import answers, bodies, doors, things
from mockdify.explain.case import Case, Finding
from mockdify.explain.plain import plain

if TYPE_CHECKING:
    from mockdify.journal import Exchange
    from mockdify.workspace import Workspace

__all__ = ["ROWS", "Case", "Explanation", "Finding", "Row", "explain"]

Explainer: TypeAlias = Callable[[Case], Finding | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Which refusals an explainer is for. What is left open fits all; a code of "" is an answer without one."""

    explain: Explainer
    status: int | None = None
    code: str | None = None
    says: str = ""
    """A regular expression that is found in the error's text."""

    def fits(self, case: Case) -> bool:
        """Whether this row is about the case."""
        return (
            (self.status is None or self.status == case.status)
            and (self.code is None or self.code == case.code)
            and (not self.says or re.search(self.says, case.message) is not None)
        )


ROWS: tuple[Row, ...] = (
    Row(status=308, explain=doors.moved),
    Row(code="mockdify_fault", explain=answers.fault_unknown),
    Row(code="mockdify_not_recorded", explain=answers.not_recorded),
    # the model, whatever it is reported as
    Row(explain=answers.model_failed),
    # at the door
    Row(status=401, code="unauthorized", explain=doors.key_refused),
    Row(status=403, code="forbidden", says="API service has been disabled", explain=doors.app_switched_off),
    Row(status=404, code="", explain=doors.path_unknown),
    Row(status=405, explain=doors.method_refused),
    Row(status=429, explain=doors.limit_reached),
    Row(says="maximum concurrent requests", explain=doors.limit_reached),
    Row(status=500, code="internal_server_error", explain=doors.limit_reached),
    # the body
    Row(status=415, code="unsupported_media_type", explain=bodies.media_refused),
    Row(status=400, code="bad_request", says="server could not understand", explain=bodies.json_broken),
    Row(status=413, explain=bodies.too_large),
    Row(code="invalid_param", says="Arg user must be provided", explain=bodies.user_missing),
    Row(code="invalid_param", says=r"validation errors? for", explain=bodies.field_refused),
    Row(code="invalid_param", says="in input form", explain=bodies.input_refused),
    Row(code="invalid_param", says="query is required", explain=bodies.query_missing),
    Row(code="invalid_param", says="does not support blocking", explain=bodies.agent_blocking),
    Row(code="invalid_param", says=r"(?i)upload file", explain=things.file_refused),
    Row(code="invalid_param", says="not published", explain=bodies.mode_refused),
    Row(code="invalid_param", says=r"^(Provider|Model) .+ (does )?not exist", explain=answers.model_unknown),
    # modes
    Row(code="not_chat_app", explain=bodies.mode_refused),
    Row(code="not_workflow_app", explain=bodies.mode_refused),
    Row(code="app_unavailable", explain=bodies.mode_refused),
    Row(explain=plain),
    # things that are not there
    Row(status=404, says="Workflow not found with id", explain=things.workflow_unknown),
    Row(status=404, explain=things.thing_missing),
    Row(status=403, code="file_access_denied", explain=things.thing_missing),
    Row(status=500, explain=bodies.unhandled),
)
"""Tried in order; the first row that fits and has something to say explains the refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All that is to be said about one exchange."""

    id: int
    verdict: str
    rule: str
    evidence: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()
    fix: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = (("rule", (self.rule,)), ("evidence", self.evidence), ("nearest", self.nearest), ("fix", self.fix))
        lines = [f"exchange {self.id}: {self.verdict}"]
        for title, texts in parts:
            for k, text in enumerate(texts):
                lines.append(f"  {title if not k else '':<9} {text.replace(chr(10), chr(10) + ' ' * 12)}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """The explanation as JSON; `text` is the whole of it, to be printed."""
        return {
            "id": self.id,
            "verdict": self.verdict,
            "rule": self.rule,
            "evidence": list(self.evidence),
            "nearest": list(self.nearest),
            "fix": list(self.fix),
            "text": str(self),
        }


def explain(exchange: Exchange, workspace: Workspace) -> Explanation:
    """Why *exchange* of *workspace* ended as it did."""
    case = Case(exchange, workspace)
    findings = list(_findings(case))
    mask = case.mask.text
    evidence = [text for finding in findings for text in finding.evidence]
    evidence[:0] = [finding.rule for finding in findings[1:] if finding.rule]
    if exchange.status < 400:  # a refusal is explained already
        evidence += [f"off contract: {violation}" for violation in exchange.violations]
    evidence += exchange.warnings if exchange.is_warned else []
    evidence += answers.faults_unmet(case)
    return Explanation(
        id=exchange.id,
        verdict=mask(_verdict(case)),
        rule=mask(findings[0].rule),
        evidence=tuple(map(mask, dict.fromkeys(evidence))),
        nearest=tuple(mask(text) for finding in findings for text in finding.nearest),
        fix=tuple(dict.fromkeys(mask(text) for finding in findings for text in finding.fix)),
    )


def _findings(case: Case) -> list[Finding]:
    """What is to be said, the most telling first."""
    ended, struck = answers.ended(case), answers.fault_struck(case)
    found = [one for one in (struck, ended) if one is not None]
    if any(spec.kind.when == "before" for spec in case.exchange.struck):
        return found
    if case.status >= 300 or case.told:
        return [*found[:1], _refusal(case), *found[1:]] if struck else [_refusal(case), *found]
    served = _served(case)
    return [*found, replace(served, rule="", nearest=(), fix=())] if found else [served]


def _served(case: Case) -> Finding:
    """A reply that was no refusal: the answer that was given, or why its run failed."""
    error = case.run_error
    if error is None:
        return answers.answered(case)
    inner = Case(case.exchange, case.workspace)
    inner.told = {"code": "invalid_param", "message": error, "status": 400}  # so Dify's HTTP error would be
    found = _explained(inner, (row for row in ROWS if row.says or row.explain is answers.model_failed))
    return found if found is not None else answers.run_failed(case, error)


def _explained(case: Case, rows: Iterable[Row]) -> Finding | None:
    for row in rows:
        if row.fits(case) and (finding := row.explain(case)) is not None:
            return finding
    return None


def _refusal(case: Case) -> Finding:
    found = _explained(case, ROWS)
    if found is not None:
        return found
    return Finding(
        rule=f"Dify refuses this with {case.status} {case.code}".rstrip(),
        evidence=(case.message or "it says nothing more",),
        fix=("the text above is Dify's own; see `mockdify contracts` for what this endpoint takes",),
    )


def _verdict(case: Case) -> str:
    exchange = case.exchange
    said = f"{exchange.method} {exchange.path} → {exchange.status or 'nothing sent'}"
    if case.told:
        where = " as an error event:" if exchange.is_stream else ""
        text = case.message.partition(" You have requested this URI")[0].partition("\n")[0]
        said += f"{where} {case.code} {text!r}"
    elif case.run_error is not None:
        said += f", but the run failed: {case.run_error.partition(chr(10))[0]!r}"
    if exchange.ended != "complete":
        said += f" ({exchange.ended})"
    return said
