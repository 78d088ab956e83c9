"""The report as one HTML file: the grid, and for each finding what was asked, sent and said, with times and bytes."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from mockdify.masking import mask_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mockdify.checks.model import Outcome
    from mockdify.harness.runner import Cell, Finding, Report
    from mockdify.journal import Exchange

__all__ = ["page"]

_MOST_WRITES = 60
_MOST_BYTES = 4_000
_STYLE = """
:root{color-scheme:light dark;--bad:#cf222e;--good:#1a7f37;--dim:#8b949e;--line:#8884}
body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse}td,th{padding:.15rem .6rem;text-align:left;border-bottom:1px solid var(--line);
vertical-align:top}
td.held{color:var(--good)}td.not-applicable{color:var(--dim)}td.bad,b.bad{color:var(--bad);font-weight:600}
details{border:1px solid var(--line);border-radius:6px;margin:.6rem 0;padding:.4rem .8rem}summary{cursor:pointer}
pre{overflow:auto;background:#8881;padding:.6rem;border-radius:4px;font-size:12.5px;margin:.3rem 0}
.times td{font:12.5px ui-monospace,monospace;white-space:pre-wrap;word-break:break-all}.dim{color:var(--dim)}
.bar{background:#0969da55;height:.7em;display:inline-block}
"""


def page(report: Report) -> str:
    """The whole file; it needs nothing beside itself."""
    title = f"{report.client}: {len(report.failed)} of {len(report.cells)} cells broken"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width,initial-scale=1'>",
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f"<h1>{escape(report.client)}</h1>",
        f"<p>Suite {report.suite}, profile {report.profile}, seed {report.seed}, ",
        f"{report.calls} calls in {report.seconds:.1f} s. ",
        f"<b>{escape(title)}.</b></p>",
        *_grid(report),
        *(part for cell in report.failed for part in _cell(cell)),
    ]
    return "\n".join(parts) + "\n"


def _grid(report: Report) -> Iterator[str]:
    modes = list(dict.fromkeys(cell.mode for cell in report.cells))
    yield "<table><tr><th>rule<th>" + "<th>".join(escape(mode) for mode in modes) + "<th>says"
    for rule, row in report.by_rule():
        cells = "".join(_mark(row.get(mode)) for mode in modes)
        yield f"<tr><td>{rule.id}{cells}<td class=dim>{escape(rule.says)}"
    yield "</table>"


def _mark(cell: Cell | None) -> str:
    if cell is None:
        return "<td>"
    bad = cell.verdict not in ("held", "not-applicable")
    shown = {"held": "✓", "not-applicable": "·"}.get(cell.verdict, cell.verdict)
    link = f"<a href='#{_anchor(cell)}'>{shown}</a>" if bad else shown
    return f"<td class='{'bad' if bad else cell.verdict}' title='{escape(cell.reason, quote=True)}'>{link}"


def _anchor(cell: Cell) -> str:
    return f"{cell.rule.id}-{cell.mode}"


def _cell(cell: Cell) -> Iterator[str]:
    rule = cell.rule
    yield f"<h2 id='{_anchor(cell)}'>{rule.id} <small>{cell.mode}</small> <b class=bad>{cell.verdict}</b></h2>"
    yield f"<p>{escape(rule.says)}</p><p class=dim>{escape(rule.because)} {escape(', '.join(rule.threads))}</p>"
    yield f"<p><b>Fix:</b> {escape(rule.fix)}</p>"
    for finding in cell.findings:
        yield from _finding(finding)


def _finding(finding: Finding) -> Iterator[str]:
    name = escape(finding.case.name or finding.case.mode)
    yield f"<details><summary>{name}: {escape(mask_text(finding.words))}</summary>"
    outcomes = finding.run.outcomes
    for outcome in outcomes[-3:]:
        yield from _outcome(outcome)
    if len(outcomes) > 3:
        yield f"<p class=dim>… the last 3 of {len(outcomes)} calls</p>"
    yield "</details>"


def _outcome(outcome: Outcome) -> Iterator[str]:
    yield f"<p>Call <code>{escape(outcome.call.name)}</code> {escape(str(dict(outcome.call.args)))}<br>"
    yield f"The client said after {outcome.seconds:.2f} s: <b>{escape(mask_text(str(outcome)))}</b></p>"
    for exchange in outcome.exchanges:
        yield from _exchange(exchange)


def _exchange(exchange: Exchange) -> Iterator[str]:
    asked = exchange.request
    headers = "\n".join(f"{name}: {value}" for name, value in asked.headers.items())
    body = mask_text(asked.body[:_MOST_BYTES].decode("utf-8", "replace"))
    yield f"<pre>{escape(f'{exchange.method} {asked.path}')}\n{escape(headers)}\n\n{escape(body)}</pre>"
    fault = f", fault {exchange.fault}" if exchange.fault else ""
    yield f"<p class=dim>{exchange.status or 'no status'}{escape(fault)}, {exchange.ended}</p><table class=times>"
    writes, data = exchange.writes, exchange.body
    longest = max((at for _, at, _ in writes), default=0) or 1
    for offset, at, length in writes[:_MOST_WRITES]:
        bar = f"<span class=bar style='width:{max(1, round(80 * at / longest))}px'></span>"
        yield f"<tr><td>{at:.1f} ms<td>{bar}<td>{length} B<td>{escape(_shown(data[offset : offset + length]))}"
    if len(writes) > _MOST_WRITES:
        yield f"<tr><td colspan=4 class=dim>… {len(writes) - _MOST_WRITES} more writes"
    yield "</table>"


def _shown(data: bytes) -> str:
    """Bytes as they can be read; what is no UTF-8 in hexadecimal."""
    cut = data[:_MOST_BYTES]
    try:
        text = cut.decode()
    except UnicodeDecodeError:
        text = cut.decode("utf-8", "backslashreplace")
    return mask_text(text.replace("\r", "␍").replace("\n", "␊"))
