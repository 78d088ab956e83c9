"""The judge: what a reply really said, what the client said it said, and the verdict.

Verdicts go by the outcome. A client that raised on a cut stream held; one that returned half an answer lost it in
silence, even if it called again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from mockdify.checks.model import GENERATING, VERDICTS, Outcome, Run, Verdict, Violation
from mockdify.profiles import Profile, profile_named
from mockdify.sse import decode

if TYPE_CHECKING:
    from mockdify.journal import Exchange

__all__ = ["Truth", "is_generation", "judge", "judge_retries", "judge_run", "truth_of", "worst"]

_TERMINAL = {"workflow": "workflow_finished"}
_GENERATION = re.compile(r"/(chat-messages|completion-messages|workflows/run)$")
_MOST_TRIES = 10
_DIFY = profile_named("1.16")
_PARSER = re.compile(r"JSON|Syntax|Decode|Unexpected|Expecting|pars", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the server really said.

    `answer`: the whole answer. `refused`: an HTTP error. `failed`: an error inside a 200. `broken`: it never came to
    its end. `silent`: nothing was sent.
    """

    kind: Literal["answer", "refused", "failed", "broken", "silent"]
    texts: tuple[str, ...] = ("",)
    """Any of these is the right text."""
    status: int | None = None
    code: str | None = None
    conversation_id: str = ""
    message_id: str = ""
    outputs: Any = None
    usage: Any = None
    words: str = ""
    unfinished: bool = False
    """Whether all that was sent is right as far as it goes."""


def is_generation(exchange: Exchange) -> bool:
    """Whether the request asked an app for an answer."""
    return exchange.method == "POST" and _GENERATION.search(exchange.path) is not None


def truth_of(exchange: Exchange, mode: str) -> Truth:
    """What *exchange* told its client."""
    if not exchange.status:
        return Truth(kind="silent", words="the connection broke before a reply")
    if exchange.status >= 300:
        body = exchange.json
        code = body.get("code") if isinstance(body, dict) else None
        return Truth(
            kind="refused", status=exchange.status, code=code, words=f"{exchange.status} {code or '(no code)'}"
        )
    return _streamed(exchange, mode) if exchange.is_stream else _blocking(exchange, _shown(exchange).answer_key)


def _shown(exchange: Exchange) -> Profile:
    """The profile in whose words *exchange* was answered; a transcript is in Dify's."""
    return exchange.profile or _DIFY


def _blocking(exchange: Exchange, answer_key: str) -> Truth:
    body = exchange.json
    if not isinstance(body, dict) or exchange.ended in ("aborted", "reset"):
        return Truth(kind="broken", words="a reply that is no whole JSON object")
    run = body.get("data")
    if answer_key not in body and isinstance(run, dict):
        if run.get("status") == "failed":
            return Truth(kind="failed", words=f"a failed run ({run.get('error')})")
        return Truth(kind="answer", outputs=run.get("outputs"))
    return Truth(
        kind="answer",
        texts=(body.get(answer_key) or "",),
        conversation_id=body.get("conversation_id") or "",
        message_id=body.get("message_id") or "",
        usage=(body.get("metadata") or {}).get("usage"),
    )


class _Heard:
    """A stream, read as a right client reads it."""

    def __init__(self, mode: str, profile: Profile) -> None:
        self._mode, self._cumulative = mode, profile.chunks == "cumulative"
        self._terminal = _TERMINAL.get(mode, "message_end")
        self._said, self._agent = "", ""
        self._closing: str | None = None
        self._ids = {"conversation_id": "", "message_id": ""}
        self._outputs: Any = None
        self._usage: Any = None
        self.ended = False

    def take(self, event: Mapping[str, Any]) -> Truth | None:
        """One event; the truth when it is a failure."""
        name = event.get("event")
        self._ids = {key: event.get(key) or old for key, old in self._ids.items()}
        self.ended = self.ended or name == self._terminal
        take = _TAKERS.get(str(name))
        return take(self, event) if take is not None else None

    def message(self, event: Mapping[str, Any]) -> None:
        """A delta, of an agent too, or the closing repetition."""
        answer = event.get("answer") or ""
        if event["event"] == "agent_message":
            self._agent += answer
        elif self._agent:
            self._closing = answer
        elif self._cumulative:
            self._said = answer
        else:
            self._said += answer

    def chunk(self, event: Mapping[str, Any]) -> None:
        """A delta of a workflow."""
        self._said += (event.get("data") or {}).get("text") or ""

    def replace(self, event: Mapping[str, Any]) -> None:
        """What was said so far does not hold."""
        self._said, self._agent, self._closing = event.get("answer") or "", "", None

    def end(self, event: Mapping[str, Any]) -> None:
        """The usage."""
        self._usage = (event.get("metadata") or {}).get("usage")

    def error(self, event: Mapping[str, Any]) -> Truth:
        """The app failed."""
        code, status = event.get("code"), event.get("status")
        return Truth(kind="failed", texts=self._texts, code=code, status=status, words=f"an error event ({code})")

    def finished(self, event: Mapping[str, Any]) -> Truth | None:
        """A graph ended."""
        data = event.get("data") or {}
        self._outputs = data.get("outputs")
        if data.get("status") == "failed" and self._mode == "workflow":
            return Truth(kind="failed", words=f"a failed run ({data.get('error')})")
        return None

    @property
    def _texts(self) -> tuple[str, ...]:
        """An agent's deltas, or what it repeated at the end, are both right."""
        said = self._agent or self._said
        return (said,) if self._closing in (None, said) else (said, str(self._closing))

    def broken(self, words: str = "") -> Truth:
        """The end did not come, or what came cannot be trusted."""
        missing = f"a stream without {self._terminal}"
        return Truth(kind="broken", texts=self._texts, words=words or missing, unfinished=not words)

    def answer(self) -> Truth:
        """The end came."""
        return Truth(
            kind="answer",
            texts=self._texts,
            outputs=self._outputs,
            usage=self._usage,
            conversation_id=self._ids["conversation_id"],
            message_id=self._ids["message_id"],
        )


_TAKERS: dict[str, Callable[[_Heard, Mapping[str, Any]], Truth | None]] = {
    "message": _Heard.message,
    "agent_message": _Heard.message,
    "text_chunk": _Heard.chunk,
    "message_replace": _Heard.replace,
    "message_end": _Heard.end,
    "error": _Heard.error,
    "workflow_finished": _Heard.finished,
}


def _streamed(exchange: Exchange, mode: str) -> Truth:
    heard = _Heard(mode, _shown(exchange))
    for frame in decode([exchange.body]):
        if frame.data is None:
            continue
        try:
            event = json.loads(frame.data)
        except ValueError:
            return heard.answer() if heard.ended else heard.broken("an event that is not JSON")
        if isinstance(event, dict) and (failed := heard.take(event)) is not None:
            return failed
    return heard.answer() if heard.ended else heard.broken()


# ---------------------------------------------------------------------- one outcome
def judge(outcome: Outcome) -> Iterator[Violation]:
    """What is wrong with *outcome*, given what the last of its exchanges said."""
    if outcome.call.name not in GENERATING:
        return
    mode = outcome.call.place.mode
    asked = [exchange for exchange in outcome.exchanges if is_generation(exchange)]
    truth = truth_of(asked[-1], mode) if asked else Truth(kind="silent", words="no connection")
    if outcome.hung:
        yield Violation(
            verdict="hung", words=f"{_given(truth)}, the client gave {outcome} (limit {outcome.call.timeout:g} s)"
        )
    elif outcome.error is not None and outcome.error.kind == "crash":
        yield Violation(verdict="crashed", words=f"{_given(truth)}, the client fell over: {outcome.error.message}")
    elif truth.kind == "answer":
        yield from _answered(outcome, truth)
    elif outcome.ok:
        yield Violation(verdict="silent-loss", words=f"{_given(truth)}, the client reported {outcome}")
    elif truth.unfinished and _choked(outcome, asked[-1]):
        words = (
            f"given a stream that was still being sent, the client fell over: {outcome.error and outcome.error.message}"
        )
        yield Violation(verdict="crashed", words=words)
    else:
        yield from _reported(outcome, truth)


def _choked(outcome: Outcome, exchange: Exchange) -> bool:
    """Whether a parser gave up, and the client left, before the server had said all, and before the limit was up."""
    error = outcome.error
    return (
        exchange.ended in ("client gone", "open")
        and error is not None
        and error.kind == "protocol"
        and _PARSER.search(error.message) is not None
        and outcome.seconds < 0.9 * outcome.call.timeout
    )


def _given(truth: Truth) -> str:
    return f"given {truth.words or 'a whole answer'}"


def _answered(outcome: Outcome, truth: Truth) -> Iterator[Violation]:
    if not outcome.ok:
        verdict: Verdict = "crashed" if (outcome.error and outcome.error.kind == "protocol") else "wrong-error"
        yield Violation(verdict=verdict, words=f"given a whole answer, the client reported {outcome}")
        return
    if outcome.call.name == "workflow" and (truth.outputs is not None) and outcome.outputs is not None:
        if outcome.outputs != truth.outputs:
            yield Violation(
                verdict="corrupt", words=f"the outputs were {truth.outputs!r}, the client gave {outcome.outputs!r}"
            )
    elif outcome.call.name == "workflow":
        yield from _workflow_text(outcome, truth)
    elif outcome.text not in truth.texts:
        yield _difference(truth.texts[0], outcome.text)
    for name in ("conversation_id", "message_id"):
        sent, got = getattr(truth, name), getattr(outcome, name)
        if got and sent and got != sent:
            yield Violation(verdict="corrupt", words=f"{name} was {sent}, the client gave {got}")


def _workflow_text(outcome: Outcome, truth: Truth) -> Iterator[Violation]:
    """Without outputs the text must be what was streamed, or one of the outputs."""
    values = [value for value in (truth.outputs or {}).values() if isinstance(value, str)]
    if outcome.text not in (*truth.texts, *values):
        yield _difference((*values, *truth.texts)[0], outcome.text)


def _difference(sent: str, got: str) -> Violation:
    at = next((k for k, (a, b) in enumerate(zip(sent, got, strict=False)) if a != b), min(len(sent), len(got)))
    lost = len(got) < len(sent) and _is_within(got, sent)
    what = "lost" if lost else "changed"
    near = f"at character {at}: sent {sent[at : at + 20]!r}, got {got[at : at + 20]!r}"
    return Violation(
        verdict="silent-loss" if lost else "corrupt",
        words=f"text was {what} ({len(sent)} characters sent, {len(got)} given; {near})",
    )


def _is_within(short: str, long: str) -> bool:
    """Whether *short* is *long* with characters left out."""
    rest = iter(long)
    return all(char in rest for char in short)


def _reported(outcome: Outcome, truth: Truth) -> Iterator[Violation]:
    error = outcome.error
    assert error is not None
    if truth.kind != "refused":
        if error.kind == "http":
            words = f"{_given(truth)}, the client reported {outcome}: there was no such HTTP status"
            yield Violation(verdict="wrong-error", words=words)
        elif truth.kind == "failed" and truth.code and error.code != truth.code:
            words = f"the error event's code was {truth.code!r}, the client gave {error.code!r}"
            yield Violation(verdict="wrong-error", words=words)
        return
    if error.kind == "protocol" and error.status is None and _PARSER.search(error.message):
        yield Violation(verdict="crashed", words=f"{_given(truth)}, the client's parser fell over: {error.message}")
    elif error.status != truth.status:
        yield Violation(
            verdict="wrong-error", words=f"{_given(truth)}, the client reported {outcome}: the status is lost"
        )
    elif truth.code is not None and error.code != truth.code:
        yield Violation(verdict="wrong-error", words=f"the code was {truth.code!r}, the client gave {error.code!r}")


# ---------------------------------------------------------------------- asking again
def judge_retries(outcome: Outcome) -> Iterator[Violation]:
    """What is wrong with the way the client asked again. Not asking again is never wrong."""
    asked = [exchange for exchange in outcome.exchanges if is_generation(exchange)]
    for before, after in pairwise(asked):
        wait = after.started - before.started
        yield from _retried(before, outcome.call.place.mode, wait)
    if len(asked) > _MOST_TRIES:
        yield Violation(
            verdict="retried-badly",
            words=f"{len(asked)} requests within {outcome.seconds:.1f} s: retries have no bound",
        )


def _retried(before: Exchange, mode: str, wait: float) -> Iterator[Violation]:
    truth = truth_of(before, mode)
    if truth.status in (400, 401, 403, 404) and truth.kind == "refused":
        yield Violation(verdict="retried-badly", words=f"{truth.words} was sent again: it cannot become right")
    elif truth.code == "rate_limit_error":
        yield Violation(
            verdict="retried-badly", words="429 rate_limit_error was sent again: the plan's quota is used up"
        )
    elif truth.kind == "answer":
        yield Violation(verdict="retried-badly", words="the whole answer had come, and the request was sent again")
    elif truth.status == 429 and (after := _seconds(before)) is not None and wait < after - 0.05:
        words = f"429 said Retry-After: {after:g}, the client came back after {wait:.2f} s"
        yield Violation(verdict="retried-badly", words=words)


def _seconds(exchange: Exchange) -> float | None:
    value = next((value for name, value in exchange.headers if name.lower() == "retry-after"), None)
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def judge_run(run: Run) -> Iterator[Violation]:
    """Every outcome and how it was come by: the check of most rules."""
    for outcome in run.outcomes:
        yield from judge(outcome)
        yield from judge_retries(outcome)


def worst(violations: Sequence[Violation]) -> Verdict:
    """The verdict of a case."""
    found = {violation.verdict for violation in violations}
    return next((verdict for verdict in VERDICTS if verdict in found), "held")
