"""Pings and late heads, in simulated time."""

import pytest
from support import START, World

from mockdify.script import NodeScript, Rule
from mockdify.steps import Body, Head, Wait


def timed(said):
    """(seconds since the start, what) for the head, each ping and each event of a stream."""
    now, found = 0.0, []
    for step in said.steps:
        if isinstance(step, Wait):
            now = max(now, round(step.until - START, 6))
        elif isinstance(step, Head):
            found.append((now, "head"))
        elif isinstance(step, Body):
            found.append((now, "ping" if step.data == b"event: ping\n\n" else "event"))
    return found


def test_a_chat_s_head_comes_with_its_first_event():
    assert timed(World(defaults=Rule(chunks=("a", "b"))).chat(stream=True))[:2] == [(0, "head"), (0, "event")]


def test_after_ten_seconds_of_silence_comes_a_ping_and_a_late_head_with_it():
    here = World(defaults=Rule(fails="connection", after=1, pace=25.0, chunks=("a",)))
    assert timed(here.chat(stream=True)) == [(0, "head"), (0, "event"), (10, "ping"), (20, "ping"), (25, "event")]


def test_a_graph_pings_at_once_and_then_after_each_silence():
    here = World(nodes={"workflow": [NodeScript(node="llm", takes=25.0)]})
    said = timed(here.run(stream=True))
    assert said[:2] == [(0, "head"), (0, "ping")]
    assert [moment for moment, what in said if what == "ping"] == [0, 10, 20]
    assert next(moment for moment, what in said if moment > 20 and what == "event") == 25


def test_every_event_begins_a_new_silence():
    here = World(defaults=Rule(chunks=("a", "b", "c", ""), pace=9.0))
    assert not [one for one in timed(here.chat(stream=True)) if one[1] == "ping"]
    here = World(defaults=Rule(chunks=("a", "b", ""), pace=11.0))
    assert [moment for moment, what in timed(here.chat(stream=True)) if what == "ping"] == [10, 21]


@pytest.mark.parametrize("interval", [1.0, 3.5])
def test_the_interval_is_a_setting(interval):
    here = World(defaults=Rule(chunks=("a", "b"), pace=8.0), ping_interval=interval)
    pings = [moment for moment, what in timed(here.chat(stream=True)) if what == "ping"]
    assert pings == [interval * k for k in range(1, int(8 / interval) + 1) if interval * k < 8]


def test_a_blocking_answer_is_silent_until_it_is_done():
    said = World(defaults=Rule(chunks=("a", "b"), pace=30.0)).chat()
    assert timed(said) == [(30, "head"), (30, "event")]


def test_a_ping_is_exactly_this():
    assert World().run(stream=True).body.startswith(b"event: ping\n\ndata: {")
