"""Tests marked slow run in CI and when asked for: `-m slow`, or `--slow` where the root conftest has that option."""

import os

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (
        os.environ.get("CI")
        or config.getoption("--slow", default=False)
        or "slow" in str(config.getoption("-m", default=""))
    ):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: runs in CI, with -m slow or with --slow"))
