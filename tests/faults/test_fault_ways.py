"""The ways in: whichever is taken, the bytes are the same."""

from __future__ import annotations

import pytest
from fault_support import ask, body_of, drain, head_of, make_engine
from hypothesis import given, settings
from hypothesis import strategies as st

from mockdify.faults import CATALOGUE, rule_of
from mockdify.steps import Body

OPTIONS = {
    "rate-limit": {"retry_after": 2},
    "edge-rate-limit": {"retry_after": 2},
    "truncated-body": {"byte": 20},
    "slow": {"delay": 0.01},
    "chop": {"bytes": 5},
    "unknown-event": {"after": 1, "name": "later"},
    "error-event": {"after": 1, "code": "x", "status": 418, "message": "y"},
} | {
    name: {"after": 2}
    for name, kind in CATALOGUE.items()
    if kind.when == "stream" and name not in ("slow", "unknown-event", "error-event")
}


def written(fault):
    return ";".join([fault, *(f"{name}={value}" for name, value in OPTIONS.get(fault, {}).items())])


def by_python(fault):
    engine = make_engine()
    engine.default.faults.inject(fault, **OPTIONS.get(fault, {}))
    return drain(engine, ask(), most=50)


def by_http(fault):
    engine = make_engine()
    said = {
        "fault": fault,
        "on": "POST /v1/chat-messages",
        "when": {"user": "u-1"},
        "times": 1,
        **OPTIONS.get(fault, {}),
    }
    engine.default.faults.add(rule_of(said))
    return drain(engine, ask(), most=50)


def by_configuration(fault):
    engine = make_engine(faults=({"fault": fault, **OPTIONS.get(fault, {})},))
    return drain(engine, ask(), most=50)


def by_header(fault):
    return drain(make_engine(), ask(fault=written(fault)), most=50)


def by_key(fault):
    return drain(make_engine(), ask(key=f"app-chat-demo!{written(fault)}"), most=50)


@pytest.mark.parametrize("fault", CATALOGUE)
def test_the_same_fault_by_each_way_is_the_same(fault):
    steps = by_python(fault)
    assert by_http(fault) == steps
    assert by_configuration(fault) == steps
    assert by_header(fault) == steps
    assert by_key(fault) == steps


@pytest.mark.parametrize("fault", [name for name, kind in CATALOGUE.items() if kind.when == "framing"])
def test_framing_by_each_way_carries_the_whole_answer(fault):
    assert b"message_end" in body_of(by_header("merge"))
    assert len([step for step in by_key(fault) if isinstance(step, Body)]) > 1


def test_every_fresh_workspace_begins_with_the_configuration_s_faults():
    engine = make_engine(faults=({"fault": "rate-limit", "times": 1},))

    def status(key):
        return head_of(drain(engine, ask(key=key))).status

    assert [status("app-chat-demo"), status("app-chat-demo")] == [429, 200]
    engine.reset(engine.default)
    assert status("app-chat-demo") == 429
    engine.create("other", engine.template, key_suffix="-2")
    assert status("app-chat-demo-2") == 429


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), order=st.permutations(["a", "a", "b", "b", "c"]))
def test_two_runs_with_one_seed_are_the_same_bytes_whatever_the_order_of_users(seed, order):
    def run(users):
        engine = make_engine(
            seed=seed, faults=({"fault": "brownout"}, {"fault": "chop", "probability": 0.5, "times": 0})
        )
        said = {}
        for user in users:
            said.setdefault(user, []).append(drain(engine, ask(user=user)))
        return said

    assert run(order) == run(sorted(order))
