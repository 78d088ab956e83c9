"""The matrix on a terminal: rules down, columns across; plain when it is piped."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from mockdify.checks.model import CAPABILITIES

if TYPE_CHECKING:
    from rich.console import Console

    from mockdify.harness.baseline import Compared
    from mockdify.harness.runner import Cell, Report

__all__ = ["Progress", "print_report"]

_SHORT = {
    "chat.blocking": "chat",
    "chat.streaming": "chat ≈",
    "completion.blocking": "compl",
    "completion.streaming": "compl ≈",
    "workflow.blocking": "flow",
    "workflow.streaming": "flow ≈",
}
"""The columns that most rules have; what other calls broke stands under `other`."""
_OTHER = "other"
_STYLES = {
    "held": "green",
    "not-applicable": "dim",
    "crashed": "bold red",
    "silent-loss": "bold red",
    "corrupt": "bold red",
    "leaked": "bold magenta",
    "hung": "bold yellow",
    "retried-badly": "yellow",
    "wrong-error": "yellow",
}
_SHOWN = {"held": "✓", "not-applicable": "·"}


class Progress:
    """One line that says where the run is; nothing when the output is piped."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Any = console.status("starting") if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, cell: Cell, done: int, of: int) -> None:
        """A cell is known."""
        if self._status is not None:
            self._status.update(f"{done}/{of} {cell.rule.id} {cell.mode}: {cell.verdict}")


def print_report(report: Report, console: Console, compared: Compared | None = None) -> None:
    """The grid, then each finding with its fix, then the sum."""
    from rich.table import Table  # noqa: PLC0415 - not for other commands
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rule", no_wrap=True)
    columns = [mode for mode in _SHORT if any(cell.mode == mode for cell in report.cells)]
    others = any(cell.mode not in _SHORT for cell in report.cells)
    for mode in columns:
        table.add_column(_SHORT[mode], no_wrap=True)
    if others:
        table.add_column(_OTHER, no_wrap=True)
    for rule, row in report.by_rule():
        cells = [_mark(row.get(mode), Text) for mode in columns]
        if others:
            cells.append(_mark(_worst(row), Text))
        table.add_row(Text(rule.id, style="" if rule.severity == "must" else "italic"), *cells)
    console.print(table)
    for cell in report.failed:
        _print_finding(cell, console)
    _print_measured(report, console)
    _print_sum(report, console, compared)


def _worst(row: dict[str, Cell]) -> Cell | None:
    from mockdify.checks.model import VERDICTS  # noqa: PLC0415 - an order

    cells = [cell for mode, cell in row.items() if mode not in _SHORT]
    return min(cells, key=lambda cell: VERDICTS.index(cell.verdict), default=None)


def _mark(cell: Cell | None, text: Any) -> Any:
    return text("") if cell is None else text(_SHOWN.get(cell.verdict, cell.verdict), style=_STYLES[cell.verdict])


def _print_finding(cell: Cell, console: Console) -> None:
    console.print()
    console.print(f"{cell.rule.id} {cell.mode}: {cell.verdict}", style=_STYLES[cell.verdict], highlight=False)
    for line in (
        cell.rule.says,
        *(f"✗ {finding.case.name + ': ' if finding.case.name else ''}{finding.words}" for finding in cell.findings[:3]),
    ):
        console.print(textwrap.indent(line, "  "), markup=False, highlight=False, soft_wrap=True)
    if len(cell.findings) > 3:
        console.print(f"  … and {len(cell.findings) - 3} more", highlight=False)
    threads = f" ({', '.join(cell.rule.threads[:2])})" if cell.rule.threads else ""
    console.print(f"  why: {cell.rule.because}{threads}", markup=False, highlight=False, soft_wrap=True, style="dim")
    console.print(f"  fix: {cell.rule.fix}", markup=False, highlight=False, soft_wrap=True)


def _print_measured(report: Report, console: Console) -> None:
    for cell in report.cells:
        if cell.measured:
            console.print(f"{cell.rule.id} {cell.mode} {cell.measured}", markup=False, highlight=False)


def _print_sum(report: Report, console: Console, compared: Compared | None) -> None:
    counts: Counter[str] = Counter(cell.verdict for cell in report.cells)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _STYLES if counts[verdict])
    console.print()
    shown = "" if report.profile == "1.16" else f", profile {report.profile}"
    console.print(
        f"{report.client}, suite {report.suite}{shown}: {told}", highlight=False, markup=False, soft_wrap=True
    )
    missing = [one for one in CAPABILITIES if one not in report.capabilities]
    if missing:
        console.print(
            f"not looked at, for want of a capability: {', '.join(missing)}",
            style="dim",
            highlight=False,
            soft_wrap=True,
        )
    console.print(
        f"{report.calls} calls in {report.seconds:.1f} s, seed {report.seed}, {report.examples} examples a case",
        style="dim",
        highlight=False,
    )
    if compared is not None:
        console.print(compared.told(), highlight=False, markup=False, soft_wrap=True)
