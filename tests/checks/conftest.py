import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def theatre():
    from mockdify.harness.stage import Theatre

    with Theatre() as one:
        yield one


@pytest.fixture
def hold(theatre):
    """Hold a client to rules: its broken cells by (rule, column)."""
    from mockdify.harness.adapters import adapter_of
    from mockdify.harness.runner import check, rules_of

    def held(target, *only, suite="robustness", examples=15):
        adapter = adapter_of(target)
        try:
            report = check(adapter, rules_of(suite, only), examples=examples, theatre=theatre)
        finally:
            adapter.close()
        return {(cell.rule.id, cell.mode): cell for cell in report.failed}

    return held
