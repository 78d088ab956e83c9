"""A baseline: what a client is known to break. What is listed passes, what is not fails, what now holds is stale."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mockdify.errors import MockdifyError
from mockdify.writing import write_whole

if TYPE_CHECKING:
    from mockdify.harness.runner import Cell, Report

__all__ = ["Compared", "compare", "read", "write"]


def _name(cell: Cell) -> str:
    return f"{cell.rule.id} {cell.mode}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A report beside its baseline."""

    new: tuple[str, ...]
    stale: tuple[str, ...]
    known: tuple[str, ...]
    other: tuple[str, ...] = ()
    """Known, and broken in another way than was listed."""

    @property
    def ok(self) -> bool:
        """Whether all is as listed."""
        return not self.new and not self.stale

    def told(self) -> str:
        """In words."""
        parts = [f"baseline: {len(self.known)} known"]
        if self.new:
            parts.append(f"not listed: {', '.join(self.new)}")
        if self.other:
            parts.append(f"broken otherwise than listed: {', '.join(self.other)}")
        if self.stale:
            parts.append(f"stale, they hold now or are no rule (take them out): {', '.join(self.stale)}")
        return "; ".join(parts)


def read(path: Path) -> dict[str, str]:
    """The verdicts that a file lists, by `RULE mode`. Made by `--report json=F` too: its failed cells are taken."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MockdifyError(f"cannot read the baseline {path}: {error.strerror}") from None
    except ValueError as error:
        raise MockdifyError(f"the baseline {path} is not JSON: {error}") from None
    if isinstance(data, Mapping) and "cells" in data:
        return {
            f"{c['rule']} {c['mode']}": c["verdict"]
            for c in data["cells"]
            if c["verdict"] not in ("held", "not-applicable")
        }
    known = data.get("known") if isinstance(data, Mapping) else None
    if not isinstance(known, Mapping) or not all(isinstance(value, str) for value in known.values()):
        raise MockdifyError(
            f'the baseline {path} must be {{"known": {{"RULE mode": "verdict", …}}}}; a JSON report will do as well'
        )
    return dict(known)


def write(path: Path, report: Report) -> None:
    """List what *report* broke."""
    known = {_name(cell): cell.verdict for cell in report.failed}
    write_whole(path, json.dumps({"known": known}, indent=2) + "\n")


def compare(report: Report, known: Mapping[str, str]) -> Compared:
    """What is new, what is stale (among the cells that were played), what is as listed."""
    played = {_name(cell): cell.verdict for cell in report.cells if cell.verdict != "not-applicable"}
    failed = {_name(cell) for cell in report.failed}
    return Compared(
        new=tuple(name for name in played if name in failed and name not in known),
        stale=tuple(name for name in known if (name in played and name not in failed) or not _is_rule(name)),
        known=tuple(name for name in known if name in failed),
        other=tuple(
            f"{name} ({known[name]}, now {played[name]})"
            for name in known
            if name in failed and played[name] != known[name]
        ),
    )


def _is_rule(name: str) -> bool:
    from mockdify.checks.rules import RULES  # noqa: PLC0415 - the table brings the events

    return any(rule.id == name.partition(" ")[0] for rule in RULES)
