"""Failures, stops and what a run adds up."""

from __future__ import annotations

import itertools

import pytest
from graph_walking import CHAT, Clock, Doubles, chain, edge, go, graph_of, llm, node

from mockdify.graph import Dialect, NodeScript, Run, walk
from mockdify.steps import Signal, Wait

FAILS = {"c": NodeScript(fails="boom")}


def code(**data):
    return node("c", "code", outputs={"r": {"type": "string"}}, **data)


def run(code_node, edges=None, scripts=FAILS, **given_):
    nodes = [
        node("start", "start"),
        code_node,
        node("end", "end", outputs=[{"variable": "r", "value_selector": ["c", "r"]}]),
        node("saved", "end", outputs=[{"variable": "why", "value_selector": ["c", "error_message"]}]),
    ]
    return go(graph_of(nodes, edges or chain("start", "c", "end")), doubles=Doubles(scripts=scripts), **given_)


def test_a_failure_without_a_strategy_fails_the_run():
    walked = run(code())
    assert walked.names[-1] == "node_finished c"
    assert walked.outcome.status == "failed"
    assert (walked.outcome.error, walked.outcome.exceptions_count, walked.outcome.outputs) == ("boom", 1, {})


def test_a_default_value_goes_on_in_its_place():
    walked = run(code(error_strategy="default-value", default_value=[{"key": "r", "type": "number", "value": "7"}]))
    finished = walked.finished("c")
    assert (finished.status, finished.error) == ("exception", "Unknown error")
    assert finished.outputs == {"r": 7, "error_message": "boom", "error_type": "CodeExecutionError"}
    assert (walked.outcome.status, walked.outcome.outputs, walked.outcome.exceptions_count) == (
        "partial-succeeded",
        {"r": 7},
        1,
    )


@pytest.mark.parametrize(
    ("scripts", "end", "status"), [(FAILS, "saved", "partial-succeeded"), ({}, "end", "succeeded")]
)
def test_a_fail_branch_is_taken_only_on_failure(scripts, end, status):
    edges = [edge("start", "c"), edge("c", "end"), edge("c", "saved", "fail-branch")]
    walked = run(code(error_strategy="fail-branch"), edges, scripts)
    assert (walked.names[-1], walked.outcome.status) == (f"node_finished {end}", status)


def test_a_stop_ends_the_walk_at_once():
    graph = graph_of(
        [node("start", "start"), llm("m"), node("a", "answer", answer="{{#m.text#}}")], chain("start", "m", "a")
    )
    walked = go(graph, mode="advanced-chat", system=CHAT, stop_at=5)
    outcome = walked.outcome
    assert walked.names == [
        "node_started start",
        "node_finished start",
        "node_started m",
        "chunk m.text",
        "chunk m.text",
    ]
    assert (outcome.status, outcome.error) == ("stopped", "Aborted: User requested stop")
    assert (outcome.outputs, outcome.total_steps, outcome.total_tokens, outcome.answer) == ({}, 2, 0, walked.text)
    assert go(graph, stop_at=1, dialect=Dialect.before_1_15()).outcome.error == "Stopped by user."


def test_a_node_lasts_as_long_as_its_script_says():
    wake, clock = Signal(), Clock()
    doubles = Doubles(clock=clock, scripts={"c": NodeScript(takes=2.5)})
    walked = run(code(), scripts=doubles.scripts, wake=wake)
    waits = [step for step in walked.steps if isinstance(step, Wait)]
    assert waits == [Wait(Clock().time + 2.5, wake)]
    assert walked.finished("c").elapsed_time == 2.5


def test_a_walk_needs_no_clock_that_moves():
    """Waits may be dropped: `list(walk(...))` comes to the same end."""
    graph = graph_of(
        [node("start", "start"), code(), llm("m", "x"), node("end", "end")], chain("start", "c", "m", "end")
    )
    doubles = Doubles(pace=1.0, scripts={"c": NodeScript(takes=9.0)})
    ids = itertools.count()
    steps = list(walk(graph, Run(mode="workflow", doubles=doubles, now=lambda: 0.0, new_id=lambda: str(next(ids)))))
    assert steps[-1].node_id == "end"


def test_two_walks_of_one_graph_do_not_meet():
    graph = graph_of(
        [node("start", "start"), llm("m"), node("a", "answer", answer="{{#m.text#}}")], chain("start", "m", "a")
    )
    first, second = (
        go(graph, mode="advanced-chat", system={"query": q}, doubles=Doubles(chunks=[q])) for q in ("x", "y")
    )
    assert (first.text, second.text) == ("x", "y")


def test_ids_come_from_the_caller_one_for_each_execution():
    walked = run(code(), scripts={})
    assert [(s.node_id, s.id) for s in walked.steps if getattr(s, "name", "") == "node_started"] == [
        ("start", "id-1"),
        ("c", "id-2"),
        ("end", "id-3"),
    ]
