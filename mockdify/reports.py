"""What the journal tells people: a line per exchange, and what a client did wrong."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mockdify import wire
from mockdify.errors import NO_PATH
from mockdify.script import Ask

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mockdify.faults.plan import FaultRule
    from mockdify.journal import Exchange
    from mockdify.workspace import Workspace

__all__ = ["counted", "exchange_line", "explanations", "journal_lines", "off_contract", "problems", "refusals"]

_MOST_LINES = 60
_OURS = ("mockdify failed", "not recorded")
"""How warnings begin that no reply of Dify's would have."""
_MESSAGE = 160
_GENERATING = ("/v1/chat-messages", "/v1/completion-messages", "/v1/workflows/")


# ---------------------------------------------------------------------- what happened
def exchange_line(exchange: Exchange) -> str:
    """Method, path, app, user, status, ms, fault of one exchange, and how it broke off. Keys are masked."""
    return _line(exchange, "")


def _line(exchange: Exchange, ending: str) -> str:
    path = exchange.raw_path  # masked with the whole line
    line = (
        f"{exchange.method} {path} {exchange.app or '-'} {exchange.user or '-'} {exchange.status or '-'} "
        f"{exchange.ms:.1f}ms"
    )
    if exchange.fault:
        line += f" fault={exchange.fault}"
    if exchange.ended != "complete":
        line += f" ({exchange.ended})"
    lines = [line + ending]
    if exchange.is_warned:
        lines += (f"! {warning}" for warning in exchange.warnings)
    return exchange.mask.text("\n  ".join(map(_printed, lines)))


def _printed(line: str) -> str:
    """*line* on one line, whatever a client wrote into it: no line ends, nothing that a terminal would obey."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)


def journal_lines(exchanges: Sequence[Exchange]) -> list[str]:
    """The newest exchanges, one line each, a refused one with the error's code and text."""
    left_out = max(0, len(exchanges) - _MOST_LINES)
    lines = [f"({left_out} earlier ones left out)"] if left_out else []
    for exchange in exchanges[left_out:]:
        refusal = _refusal(exchange)
        lines.append(f"{exchange.id:>3}  {_line(exchange, f'  {refusal}' if refusal else '')}")
    return lines


def _refusal(exchange: Exchange) -> str:
    """`code: message` of an error answer, shortened."""
    if exchange.status < 400:
        return ""
    said = exchange.json
    if not isinstance(said, dict) or "code" not in said:
        return ""
    text = exchange.mask.text(f"{said['code']}: {said.get('message', '')}")
    return text if len(text) <= _MESSAGE else text[: _MESSAGE - 1] + "…"


# ---------------------------------------------------------------------- why
_MOST_REASONS, _LOOKED_AT = 5, 40


def explanations(workspace: Workspace) -> list[str]:
    """Why the newest requests were refused, broke off or met no scripted answer: each reason once, oldest first."""
    from mockdify.explain import explain  # noqa: PLC0415 - only for a failure

    found: dict[tuple[str, ...], str] = {}
    unexpected = [exchange for exchange in workspace.journal if _is_unexpected(exchange, workspace)]
    for exchange in reversed(unexpected[-_LOOKED_AT:]):
        told = explain(exchange, workspace)
        found.setdefault((exchange.method, exchange.path, told.rule, *told.nearest, *told.fix), str(told))
        if len(found) == _MOST_REASONS:
            break
    lines = [_printed(line) for text in reversed(found.values()) for line in text.splitlines()]
    left_out = max(0, len(unexpected) - _LOOKED_AT)
    return [f"(why {left_out} earlier ones ended so is left out)", *lines] if left_out else lines


def _is_unexpected(exchange: Exchange, workspace: Workspace) -> bool:
    """Whether nobody asked for it: no fault made it so, and no script."""
    if exchange.fault:
        return False
    if exchange.status >= 400 or exchange.ended not in ("complete", "open"):
        return True
    if exchange.answer is not None and exchange.answer is not workspace.script.defaults:
        return False
    if exchange.method != "POST" or not exchange.path.startswith(_GENERATING):
        return bool(exchange.violations)
    return bool(workspace.script.explain(Ask(app=exchange.app or ""))) or bool(exchange.violations)


# ---------------------------------------------------------------------- what was wrong
def off_contract(exchange: Exchange) -> list[str]:
    """How the request of *exchange* breaks Dify's contract although Dify answers it; what is harmless is left out."""
    return [exchange.mask.text(str(violation)) for violation in exchange.violations if not violation.harmless]


def problems(exchanges: Iterable[Exchange], faults: Iterable[FaultRule]) -> list[str]:
    """What should fail a test: unknown paths, requests off contract that were answered, *faults* that were not met."""
    found: list[str] = []
    for exchange in exchanges:
        if _is_unknown(exchange):
            found.append(f"unknown path: {_asked(exchange)}{_nearest(exchange.path)}")
        if 200 <= exchange.status < 300:
            found += (f"off contract: {_asked(exchange)}: {said}" for said in off_contract(exchange))
        if exchange.is_warned:
            found += (f"{_asked(exchange)}: {said}" for said in exchange.warnings if said.startswith(_OURS))
    return [*counted(found), *(_unmet(rule) for rule in faults if rule.is_unmet)]


def _asked(exchange: Exchange) -> str:
    return f"{exchange.method} {exchange.path}"


def refusals(exchanges: Iterable[Exchange]) -> list[str]:
    """The 4xx and 5xx that nobody asked for, unknown paths left out."""
    return counted(
        f"{exchange.method} {exchange.path} {exchange.status} {_refusal(exchange)}".rstrip()
        for exchange in exchanges
        if exchange.status >= 400 and not exchange.fault and not _is_unknown(exchange)
    )


def counted(lines: Iterable[str]) -> list[str]:
    """*lines*, each once, with how often it was there."""
    return [line if times == 1 else f"{line} ({times} times)" for line, times in Counter(lines).items()]


def _is_unknown(exchange: Exchange) -> bool:
    # Dify's own page for a path it does not have (JSON in the guide's profile); a conversation not found differs.
    return (
        exchange.status == 404
        and not exchange.fault
        and exchange.body in (wire.HTML_404, wire.as_ujson(NO_PATH.payload()))
    )


def _nearest(path: str) -> str:
    """What was probably meant by *path*."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for a mistake

    from mockdify.endpoints import ENDPOINTS  # noqa: PLC0415
    from mockdify.routing import Router  # noqa: PLC0415

    if Router(ENDPOINTS).find(path):
        return " (the served release of Dify does not have it yet)"
    longest_first = sorted((endpoint.rule for endpoint in ENDPOINTS), key=len, reverse=True)
    rules = {rule.partition("<")[0].rstrip("/"): rule for rule in longest_first}
    near = get_close_matches(path, rules, n=1, cutoff=0.5)
    return f"; did you mean {rules[near[0]]}?" if near else ""


def _unmet(rule: FaultRule) -> str:
    where = "".join(f", {name}={value!r}" for name, value in rule.when.items())
    about = f" (on {rule.on or 'any request'}{where})" if rule.on or where else ""
    if rule.struck:
        return f"injected fault {rule.spec.name!r} was met {rule.struck} of {rule.times} times{about}"
    if rule.spec.kind.when in ("stream", "framing"):
        about += " (it strikes streams only)"
    return f"injected fault {rule.spec.name!r} was never met{about}"
