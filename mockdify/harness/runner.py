"""Holding a client to rules: which cases apply, how they are played, and what came of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from mockdify.checks.judge import worst
from mockdify.checks.model import Case, Rule, Run, Verdict, Violation
from mockdify.errors import MockdifyError
from mockdify.faults import CATALOGUE
from mockdify.harness.adapters import Adapter
from mockdify.harness.stage import Scene, Theatre
from mockdify.profiles import profile_named

_SHRINKING = 3.0
"""Seconds spent on making a failing example smaller: slow clients would take minutes."""

__all__ = ["PROFILES", "SUITES", "Cell", "Finding", "Report", "Suite", "check", "rules_of"]

Suite: TypeAlias = Literal["dify", "robustness", "timeouts", "all"]
SUITES: dict[str, frozenset[str]] = {
    "dify": frozenset({"must"}),
    "robustness": frozenset({"must", "should", "robustness"}),
    "timeouts": frozenset({"timeouts"}),
    "all": frozenset({"must", "should", "robustness", "timeouts"}),
}
PROFILES: dict[str, int] = {"dev": 20, "ci": 60, "thorough": 1000}
"""Examples for each case that has some."""


@dataclass(slots=True, kw_only=True)
class Finding:
    """One case that broke its rule."""

    rule: Rule
    case: Case
    run: Run
    violations: list[Violation]
    example: Any = None
    seed: int = 0
    profile: str = "1.16"

    @property
    def verdict(self) -> Verdict:
        """The worst of its violations."""
        return worst(self.violations)

    @property
    def words(self) -> str:
        """The first violation, with the example told in words."""
        when = f" {self.case.told(self.example)}" if self.case.told is not None and self.example is not None else ""
        return f"{self.violations[0].words}{when}"


@dataclass(slots=True, kw_only=True)
class Cell:
    """One rule in one column."""

    rule: Rule
    mode: str
    verdict: Verdict
    reason: str = ""
    played: int = 0
    findings: list[Finding] = field(default_factory=list)
    measured: str = ""
    """What a case of the suite `timeouts` measured."""
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Report:
    """The whole matrix."""

    client: str
    suite: str
    seed: int
    examples: int
    capabilities: frozenset[str]
    profile: str = "1.16"
    cells: list[Cell] = field(default_factory=list)
    seconds: float = 0.0
    calls: int = 0

    @property
    def failed(self) -> list[Cell]:
        """The cells that broke."""
        return [cell for cell in self.cells if cell.verdict not in ("held", "not-applicable")]

    def by_rule(self) -> Iterator[tuple[Rule, dict[str, Cell]]]:
        """The rows of the matrix."""
        rows: dict[str, dict[str, Cell]] = {}
        rules = {}
        for cell in self.cells:
            rules[cell.rule.id] = cell.rule
            rows.setdefault(cell.rule.id, {})[cell.mode] = cell
        for name, row in rows.items():
            yield rules[name], row


def rules_of(suite: str, only: Iterable[str] = ()) -> list[Rule]:
    """The rules of a suite, or those named (an id, or the beginning of several)."""
    from mockdify.checks.rules import RULES  # noqa: PLC0415 - the table brings the events

    wanted = list(only)
    if wanted:
        found = [rule for rule in RULES if any(rule.id.startswith(name.upper()) for name in wanted)]
        for name in wanted:
            if not any(rule.id.startswith(name.upper()) for rule in RULES):
                raise MockdifyError(f"there is no rule {name!r}{_near(name, RULES)}; `mockdify rules` lists all")
        return found
    if suite not in SUITES:
        raise MockdifyError(f"there is no suite {suite!r}; there are: {', '.join(SUITES)}")
    return [rule for rule in RULES if rule.severity in SUITES[suite]]


def _near(name: str, rules: Sequence[Rule]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - for a mistake alone

    near = get_close_matches(name.upper(), [rule.id for rule in rules], n=3, cutoff=0.4)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def check(
    adapter: Adapter,
    rules: Sequence[Rule],
    *,
    suite: str = "dify",
    seed: int = 0,
    examples: int = PROFILES["dev"],
    patience: float = 60.0,
    profile: str = "1.16",
    progress: Callable[[Cell, int, int], object] = lambda *_: None,
    theatre: Theatre | None = None,
) -> Report:
    """Hold *adapter* to *rules*; every cell of the matrix is told to *progress* as it is known."""
    capabilities = adapter.capabilities()
    report = Report(
        client=adapter.name, suite=suite, seed=seed, examples=examples, capabilities=capabilities, profile=profile
    )
    begun = time.monotonic()
    columns = [(rule, mode) for rule in rules for mode in dict.fromkeys(case.mode for case in rule.cases)]
    with contextlib.nullcontext(theatre) if theatre is not None else Theatre(seed=seed, profile=profile) as stage:
        report.profile = stage.profile

        def cell_of(rule: Rule, mode: str, client: Adapter = adapter) -> Cell:
            return _cell(stage, client, rule, mode, capabilities, seed=seed, examples=examples, patience=patience)

        for cell in _in_order(columns, cell_of, adapter):
            report.cells.append(cell)
            report.calls += cell.played
            progress(cell, len(report.cells), len(columns))
    report.seconds = time.monotonic() - begun
    return report


def _in_order(columns: Sequence[tuple[Rule, str]], cell_of: Callable[..., Cell], adapter: Adapter) -> Iterator[Cell]:
    """The cells as they are known. Those that only wait do so beside each other and beside the rest."""
    waiting = [(rule, mode) for rule, mode in columns if rule.severity == "timeouts"]
    clients = [adapter.another() for _ in waiting]
    try:
        with ThreadPoolExecutor(max(1, len(waiting)), "adapter waits") as pool:
            waits = [pool.submit(cell_of, *one, client) for one, client in zip(waiting, clients, strict=True)]
            yield from (cell_of(rule, mode) for rule, mode in columns if rule.severity != "timeouts")
            yield from (wait.result() for wait in waits)
    finally:
        for client in clients:
            if client is not adapter:
                client.close()


def _cell(
    theatre: Theatre,
    adapter: Adapter,
    rule: Rule,
    mode: str,
    capabilities: frozenset[str],
    *,
    seed: int,
    examples: int,
    patience: float,
) -> Cell:
    begun = time.monotonic()
    cell = Cell(rule=rule, mode=mode, verdict="not-applicable")
    reasons = []
    for case in rule.cases:
        if case.mode != mode:
            continue
        if (missing := _missing(rule, case, capabilities, theatre.profile)) is not None:
            reasons.append(missing)
            continue
        came = play(theatre, adapter, rule, case, seed=seed, examples=examples, patience=patience)
        cell.played += came.calls
        cell.measured = came.measured
        if came.finding is not None:
            cell.findings.append(came.finding)
    if cell.played:
        cell.verdict = worst([violation for finding in cell.findings for violation in finding.violations])
        cell.reason = cell.findings[0].words if cell.findings else ""
    else:
        cell.reason = reasons[0] if reasons else ""
    cell.seconds = time.monotonic() - begun
    return cell


def _missing(rule: Rule, case: Case, capabilities: frozenset[str], profile: str) -> str | None:
    if profile not in rule.profiles:
        return f"the rule does not hold for the profile {profile}"
    if case.in_dify and profile_named(profile).is_projected:
        return f"it plays an answer in Dify's words, and the profile {profile} has others"
    for need in (case.mode, *case.needs):
        if need not in capabilities:
            return f"the client has not said that it can do {need}"
    if case.fault is not None and case.fault not in CATALOGUE:
        return f"the fault {case.fault} is not in the catalogue"
    return None


@dataclass(slots=True, kw_only=True)
class Played:
    """What came of one case."""

    calls: int
    finding: Finding | None
    measured: str = ""


def play(
    theatre: Theatre,
    adapter: Adapter,
    rule: Rule,
    case: Case,
    *,
    seed: int = 0,
    examples: int = PROFILES["dev"],
    patience: float = 60.0,
) -> Played:
    """Play one case, with its examples if it has some."""
    if case.examples is not None:
        count, least = _explore(theatre, adapter, rule, case, seed, examples)
        return Played(calls=count, finding=least)
    run = _once(theatre, adapter, case, patience=patience)
    violations = _violations(rule, case, run)
    finding = None
    if violations:
        finding = Finding(rule=rule, case=case, run=run, violations=violations, seed=seed, profile=theatre.profile)
    return Played(calls=len(run.outcomes), finding=finding, measured=run.notes.get("measured", ""))


def _once(theatre: Theatre, adapter: Adapter, case: Case, *example: Any, patience: float = 60.0) -> Run:
    scene = Scene(theatre, adapter, case, patience=patience)
    try:
        case.play(scene, *example)
    finally:
        run = scene.end()
    return run


def _violations(rule: Rule, case: Case, run: Run) -> list[Violation]:
    found: dict[tuple[str, str], Violation] = {}
    for violation in (case.check or rule.check)(run):
        found.setdefault((violation.verdict, violation.words), violation)
    return list(found.values())


class _BrokenError(AssertionError):
    """An example broke the rule: for Hypothesis to shrink."""


class _EnoughError(BaseException):
    """It has been shrunk for long enough; no exception that Hypothesis would look into."""


def _explore(  # noqa: PLR0917 - one caller
    theatre: Theatre, adapter: Adapter, rule: Rule, case: Case, seed: int, examples: int
) -> tuple[int, Finding | None]:
    """Play *case* with many examples and keep the least that breaks the rule."""
    from hypothesis import HealthCheck, Phase, Verbosity, given, settings  # noqa: PLC0415 - costs a quarter second
    from hypothesis import seed as seeded  # noqa: PLC0415
    from hypothesis.errors import Flaky  # noqa: PLC0415

    assert case.examples is not None
    count, least, until = 0, None, float("inf")

    def breaks(example: Any) -> bool:
        nonlocal count, least
        run = _once(theatre, adapter, case, example)
        count += len(run.outcomes)
        violations = _violations(rule, case, run)
        if not violations or (least is not None and worst(violations) != least.verdict):
            return False  # what breaks otherwise is another bug than the one that is being shrunk
        least = Finding(
            rule=rule,
            case=case,
            run=run,
            violations=violations,
            example=example,
            seed=seed,
            profile=theatre.profile,
        )
        return True

    def try_one(example: Any) -> None:
        nonlocal until
        broke = breaks(example)
        if broke and until == float("inf"):
            until = time.monotonic() + _SHRINKING
        if time.monotonic() > until:
            raise _EnoughError
        if broke:
            raise _BrokenError

    test = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
        print_blob=False,
    )(seeded(_seed(seed, rule, case))(given(case.examples())(try_one)))
    try:
        test()
    except (_BrokenError, _EnoughError, Flaky):
        if least is None:
            raise
        while case.simpler is not None and any(map(breaks, case.simpler(least.example))):
            pass
    return count, least


def _seed(seed: int, rule: Rule, case: Case) -> int:
    """A number for each case, so that `--rule` alone repeats what a whole run did."""
    from zlib import crc32  # noqa: PLC0415 - not `hash`, which differs by process

    return crc32(f"{seed}|{rule.id}|{case.label}".encode())
