"""What holds for all tests: the plugin under test, Hypothesis profiles, `--slow`, and nothing of ours left running."""

import asyncio
import gc
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import mockdify

pytest_plugins = ["mockdify.pytest_plugin", "pytester"]

# A deadline would measure the machine. `dev` is quick, `ci` repeats the same examples, `thorough` looks for new ones at
# night.
settings.register_profile("dev", deadline=None, max_examples=40)
settings.register_profile("ci", deadline=None, max_examples=60, derandomize=True, print_blob=True, database=None)
settings.register_profile(
    "thorough", deadline=None, max_examples=2000, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

_PACKAGE = str(Path(mockdify.__file__).parent)


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run the tests that take more than a few seconds")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow") or "slow" in config.getoption("-m"):
        return
    skip = pytest.mark.skip(reason="slow: runs in CI, with --slow or -m slow")
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(skip)


def pytest_collection_finish():
    """What was collected lives to the end: nobody need look at its million objects each time garbage is looked for."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _nothing_left_running(request):
    """No thread and no task of ours outlives the test that began it."""
    before = _threads()
    yield
    left = _gone(lambda: [one.name for one in _threads() - before])
    assert not left, f"threads of ours are left: {left}"
    if "mockdify_server" in request.fixturenames:
        door = request.getfixturevalue("mockdify_server")._door  # noqa: SLF001 - no user needs the loop
        left = _gone(lambda: door.server.call(_tasks))
        assert not left, f"tasks of ours are left: {left}"


def _threads():
    return {one for one in threading.enumerate() if one.name.startswith("mockdify")}


def _tasks():
    """Tasks of our own; that of the server itself and aiohttp's one per open connection are right to be there."""
    ours = [task.get_coro() for task in asyncio.all_tasks()]
    return [
        one.__qualname__ for one in ours if one.cr_code.co_filename.startswith(_PACKAGE) and one.__name__ != "_serve"
    ]


def _gone(find, limit=2.0):
    """What *find* still finds after a moment."""
    give_up = time.monotonic() + limit
    while (found := find()) and time.monotonic() < give_up:
        time.sleep(0.01)
    return found
