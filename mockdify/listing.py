"""What `mockdify faults`, `profiles` and `contracts` list: rows, as a table for people and as JSON for machines."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mockdify.profiles import Profile

__all__ = ["contract_rows", "differing_rows", "fault_rows", "profile_rows", "show"]

Row = dict[str, Any]


def fault_rows(*, whole: bool = True) -> list[Row]:
    """Every fault and preset of the catalogue; not *whole*: only what a table for people has room for."""
    from mockdify.faults import listing  # noqa: PLC0415 - not for the other lists

    if whole:
        return listing()
    return [
        {
            "name": row["name"],
            "kind": row["kind"],
            "what the client sees": row["words"],
            "options": tuple(row.get("options", ())) or None,
        }
        for row in listing()
    ]


def profile_rows() -> list[Row]:
    """Every release that can be served."""
    from mockdify.profiles import PROFILES  # noqa: PLC0415 - not for the other lists

    return [
        {"name": profile.name, "version": profile.version, "serves": profile.serves.rstrip(",")}
        for profile in PROFILES.values()
    ]


def differing_rows(one: Profile, other: Profile) -> list[Row]:
    """What differs between two releases, each with its words and the value of both."""
    from mockdify.profiles import differences  # noqa: PLC0415 - not for the other lists

    return [{"what": words, one.name: first, other.name: second} for words, first, second in differences(one, other)]


def contract_rows(release: str, *, whole: bool = True) -> list[Row]:
    """Every contract that holds in *release*; not *whole*: only what a table for people has room for."""
    from dataclasses import asdict  # noqa: PLC0415 - not for the other lists

    from mockdify.contracts import list_contracts  # noqa: PLC0415

    found = [asdict(info) for info in list_contracts(release)]
    return (
        found
        if whole
        else [{"name": row["name"], "modes": row["modes"] or None, "title": row["title"]} for row in found]
    )


# ---------------------------------------------------------------------- on the way out
def show(rows: Sequence[Row], *, as_json: bool) -> None:
    """Print *rows*: JSON, or a table (with colours on a terminal)."""
    if as_json:
        sys.stdout.write(json.dumps(rows, ensure_ascii=False, indent=2, default=str) + "\n")
    elif sys.stdout.isatty():
        _rich(rows)
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _plain(rows)))


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    return [list(rows[0]), *([_said(value) for value in row.values()] for row in rows)] if rows else []


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} ({_said(kind)})" for name, kind in value.items())
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "no"}[value]
    if isinstance(value, tuple | list):
        return ", ".join(map(_said, value)) or "empty"
    return " ".join(str(value).split())


def _plain(rows: Sequence[Row]) -> list[str]:
    """Columns, two blanks between them; the last one as long as it likes."""
    cells = _cells(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    return [line.rstrip() for line in lines]


def _rich(rows: Sequence[Row]) -> None:
    from rich.console import Console  # noqa: PLC0415 - 60 ms, for people only
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    head, *lines = _cells(rows) or [[]]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in head:
        table.add_column(name, overflow="fold")
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))  # Text: brackets in a cell are no markup
    Console().print(table)
