"""Reports as files: `json`, `junit`, `html`, `badge`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from mockdify.errors import MockdifyError

if TYPE_CHECKING:
    from mockdify.harness.runner import Cell, Report

__all__ = ["FORMATS", "as_json", "badge", "junit", "write"]


def as_json(report: Report) -> dict[str, Any]:
    """The whole matrix as plain JSON."""
    counts = Counter(cell.verdict for cell in report.cells)
    return {
        "client": report.client,
        "suite": report.suite,
        "profile": report.profile,
        "seed": report.seed,
        "examples": report.examples,
        "capabilities": sorted(report.capabilities),
        "seconds": round(report.seconds, 3),
        "calls": report.calls,
        "ok": not report.failed,
        "counts": dict(counts),
        "cells": [_cell(cell) for cell in report.cells],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    found = {
        "rule": cell.rule.id,
        "severity": cell.rule.severity,
        "says": cell.rule.says,
        "mode": cell.mode,
        "verdict": cell.verdict,
        "reason": cell.reason,
        "played": cell.played,
        "seconds": round(cell.seconds, 3),
        "findings": [
            {
                "case": finding.case.name,
                "verdict": finding.verdict,
                "words": finding.words,
                "violations": [{"verdict": one.verdict, "words": one.words} for one in finding.violations],
            }
            for finding in cell.findings
        ],
    }
    return found | ({"measured": cell.measured} if cell.measured else {})


def junit(report: Report) -> str:
    """One test case for each cell, as CI servers read it."""
    failed = {id(cell) for cell in report.failed}
    suite = ET.Element(
        "testsuite",
        name=f"mockdify check {report.client}",
        tests=str(len(report.cells)),
        failures=str(len(failed)),
        errors="0",
        skipped=str(sum(cell.verdict == "not-applicable" for cell in report.cells)),
        time=f"{report.seconds:.3f}",
    )
    for cell in report.cells:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=f"mockdify.{cell.rule.id}",
            name=f"{cell.mode}: {cell.rule.says}",
            time=f"{cell.seconds:.3f}",
        )
        if cell.verdict == "not-applicable":
            ET.SubElement(case, "skipped", message=_clean(cell.reason))
        elif id(cell) in failed:
            failure = ET.SubElement(case, "failure", type=cell.verdict, message=_clean(cell.reason))
            lines = [f"{finding.case.name}: {finding.words}" for finding in cell.findings]
            failure.text = _clean("\n".join([*lines, f"fix: {cell.rule.fix}", f"seed: {report.seed}"]))
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    """Without what XML 1.0 has no room for."""
    return "".join(
        char
        if char in "\t\n" or (" " <= char <= "\ud7ff") or ("\ue000" <= char <= "\ufffd") or char > "\uffff"
        else "?"
        for char in text
    )


def badge(report: Report) -> str:
    """A small picture for a README: how many rules held."""
    rows = list(report.by_rule())
    played = [row for _, row in rows if any(cell.verdict != "not-applicable" for cell in row.values())]
    held = sum(all(cell.verdict in ("held", "not-applicable") for cell in row.values()) for row in played)
    left, right = "Dify contract", f"{held}/{len(played)} rules"
    colour = "#2da44e" if held == len(played) else "#bf8700" if held > 0.8 * len(played) else "#cf222e"
    one, two = 7 * len(left) + 12, 7 * len(right) + 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{one + two}" height="20" role="img" '
        f'aria-label="{left}: {right}">'
        f'<title>{left}: {right}</title><rect width="{one + two}" height="20" rx="3" fill="#444c56"/>'
        f'<path d="M{one} 0h{two - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{two - 3}z" fill="{colour}"/>'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{one / 2:g}" y="14">{left}</text><text x="{one + two / 2:g}" y="14">{right}</text></g></svg>\n'
    )


def _html(report: Report) -> str:
    from mockdify.harness.reports.page import page  # noqa: PLC0415 - the longest of them

    return page(report)


FORMATS: dict[str, Callable[[Report], str]] = {
    "json": lambda report: json.dumps(as_json(report), ensure_ascii=False, indent=1) + "\n",
    "junit": junit,
    "html": _html,
    "badge": badge,
}


def write(report: Report, wanted: str) -> list[Path]:
    """Write what `--report junit=F,html=F,json=F` asks for."""
    return [_write(report, *_parsed(part)) for part in filter(None, wanted.split(","))]


def check_wanted(wanted: str) -> None:
    """Refuse a wrong `--report` before anything is run."""
    for part in filter(None, wanted.split(",")):
        _parsed(part)


def _parsed(part: str) -> tuple[str, Path]:
    kind, equals, name = part.strip().partition("=")
    if not equals or not name or kind not in FORMATS:
        raise MockdifyError(
            f"--report {part!r} is not FORMAT=FILE; formats are {', '.join(FORMATS)}: "
            "--report junit=out.xml,html=out.html"
        )
    return kind, Path(name)


def _write(report: Report, kind: str, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FORMATS[kind](report), encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise MockdifyError(f"cannot write the report {path}: {error.strerror}") from None
    return path
