"""The client that the package ships holds every rule."""

import time

import pytest

from mockdify.checks.rules import RULES
from mockdify.reference import Client, Failed, ReferenceAdapter

QUICK = [
    rule.id
    for rule in RULES
    if rule.severity != "timeouts" and not rule.id.startswith(("RETRY", "ERR-HANG", "SSE-STALL"))
]


@pytest.mark.parametrize("rule", QUICK)
def test_it_holds(rule, hold):
    assert hold(ReferenceAdapter(), rule, examples=4) == {}


@pytest.mark.slow
def test_it_holds_the_whole_suite_in_a_minute(hold):
    begun = time.monotonic()
    assert hold(ReferenceAdapter()) == {}
    assert time.monotonic() - begun < 60


@pytest.mark.slow
def test_it_gives_up_by_itself(hold):
    assert hold(ReferenceAdapter(), suite="timeouts") == {}


def test_nobody_there_is_a_network_failure():
    with pytest.raises(Failed) as failed:
        Client("http://127.0.0.1:1/v1", "app-x", timeout=2).chat("Hello", user="alice")
    assert failed.value.kind == "network"


@pytest.mark.parametrize(
    ("status", "code", "after", "wait"),
    [
        (429, "too_many_requests", "2", 2.01),
        (503, None, "0", 0.01),
        (429, "rate_limit_error", "2", None),
        (400, "invalid_param", None, None),
        (500, "internal_server_error", None, None),
        (429, "too_many_requests", "soon", None),
    ],
)
def test_it_asks_again_only_where_that_helps(status, code, after, wait):
    failed = Failed("http", "no", status=status, code=code)
    failed.retry_after = after
    assert Client("http://127.0.0.1:1/v1", "app-x").wait(failed, 0) == wait
