"""Checks in pytest: one test per rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mockdify.harness.adapters import adapter_of
from mockdify.harness.runner import PROFILES, Cell, check, rules_of

__all__ = ["mockdify_check"]


def mockdify_check(
    adapter: Any,
    *,
    suite: str = "dify",
    only: Sequence[str] = (),
    seed: int = 0,
    max_examples: int = PROFILES["dev"],
    known: Sequence[str] = (),
) -> Callable[..., None]:
    """A test that holds *adapter* to a suite, one case for each rule. Put it into a test module under a name of yours.

    ```python
    test_my_client = mockdify_check(MyAdapter(), suite="robustness", known=["SSE-BOM-001"])
    ```

    Args:
        adapter: an object with the methods of the protocol, a function that does `chat`, or an adapter of the harness.
        suite: `dify`, `robustness`, `timeouts` or `all`.
        only: ids, or beginnings of ids, of the rules to run instead.
        seed: of the examples.
        max_examples: for each case that has some.
        known: rules that are known to break: they are expected to fail, and it is a failure if they hold.
    """
    import pytest  # noqa: PLC0415 - an extra of the package

    client = adapter_of(adapter)
    rules = {rule.id: rule for rule in rules_of(suite, only)}
    marks = pytest.mark.xfail(strict=True, reason="known to break")
    cases = [pytest.param(name, id=name, marks=marks if name in known else ()) for name in rules]

    @pytest.mark.parametrize("rule", cases)
    def test_rule(rule: str) -> None:
        try:
            report = check(client, [rules[rule]], suite=suite, seed=seed, examples=max_examples)
        finally:
            client.close()
        if report.failed:
            pytest.fail("\n".join(map(_told, report.failed)), pytrace=False)
        if all(cell.verdict == "not-applicable" for cell in report.cells):
            pytest.skip(report.cells[0].reason)

    test_rule.__doc__ = f"{client.name}: suite {suite}."
    return test_rule


def _told(cell: Cell) -> str:
    lines = [f"{cell.rule.id} {cell.mode}: {cell.verdict}: {cell.rule.says}"]
    lines += [
        f"  ✗ {finding.case.name + ': ' if finding.case.name else ''}{finding.words}" for finding in cell.findings
    ]
    return "\n".join([*lines, f"  why: {cell.rule.because}", f"  fix: {cell.rule.fix}"])
