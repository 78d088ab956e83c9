from __future__ import annotations

from graph_walking import CHAT, Doubles, chain, edge, go, graph_of, llm, node

from mockdify.graph import MAX_STEPS, NodeScript


def iterate(inside=None, items=("a", "b"), doubles=None, script=None, **data):
    inside = inside or node(
        "ic",
        "code",
        "it",
        outputs={"r": {"type": "string"}},
        variables=[{"variable": "x", "value_selector": ["it", "item"]}],
    )
    settings = {"iterator_selector": ["start", "xs"], "output_selector": ["ic", "r"], "start_node_id": "is", **data}
    nodes = [
        node("start", "start", variables=[{"variable": "xs"}]),
        node("it", "iteration", **settings),
        node("is", "iteration-start", "it"),
        inside,
        node("end", "end", outputs=[{"variable": "r", "value_selector": ["it", "output"]}]),
    ]
    scripts = {"ic": script or NodeScript(outputs={"r": "{{ x }}!"})}
    return go(
        graph_of(nodes, [*chain("start", "it", "end"), edge("is", "ic")]),
        inputs={"xs": list(items)},
        doubles=doubles or Doubles(scripts=scripts),
        system=CHAT,
    )


def test_an_iteration_walks_its_inside_once_for_each_item():
    walked = iterate()
    assert walked.names[2:-3] == [
        "iteration_started it",
        "iteration_next it", "node_started ic", "node_finished ic",
        "iteration_next it", "node_started ic", "node_finished ic",
        "iteration_completed it",
    ]  # fmt: skip
    assert walked.outcome.outputs == {"r": ["a!", "b!"]}
    assert walked.finished("ic").execution_metadata == {"iteration_id": "it", "iteration_index": 1}


def test_lists_are_flattened_unless_told_otherwise():
    script = NodeScript(outputs={"r": ["{{ x }}", 1]})
    assert iterate(script=script).outcome.outputs == {"r": ["a", 1, "b", 1]}
    assert iterate(script=script, flatten_output=False).outcome.outputs == {"r": [["a", 1], ["b", 1]]}


def test_a_failing_round_ends_leaves_a_gap_or_is_left_out():
    script = NodeScript(fails="boom")
    ended = iterate(script=script)
    assert (ended.outcome.status, ended.outcome.error, ended.names[-1]) == ("failed", "boom", "iteration_completed it")
    assert (ended.steps[-1].status, ended.steps[-1].error) == ("failed", None)
    assert iterate(script=script, error_handle_mode="continue-on-error").outcome.outputs == {"r": [None, None]}
    assert iterate(script=script, error_handle_mode="remove-abnormal-output").outcome.outputs == {"r": []}


def test_what_is_not_a_list_cannot_be_iterated():
    nodes = [node("start", "start"), node("it", "iteration", iterator_selector=["sys", "query"]), node("end", "end")]
    outcome = go(graph_of(nodes, chain("start", "it", "end")), system=CHAT).outcome
    assert outcome.error == "invalid iterator value: hi, please provide a list."


def test_tokens_inside_count_for_the_container_and_the_run():
    walked = iterate(
        llm("ic", "say {{#it.item#}}", parentId="it") | {"parentId": "it"},
        doubles=Doubles(),
        output_selector=["ic", "text"],
    )
    completed = next(step for step in walked.steps if getattr(step, "name", "") == "iteration_completed")
    assert completed.total_tokens == walked.outcome.total_tokens == 20
    assert completed.execution_metadata["total_price"] == "0.0000320"
    assert [call["query"] for call in walked.doubles.calls] == ["say a", "say b"]


def test_a_million_items_end_with_the_limit_of_steps():
    outcome = iterate(items=range(1_000_000)).outcome
    assert outcome.status == "stopped"
    assert outcome.error == f"Aborted: Maximum execution steps exceeded: {MAX_STEPS + 1} > {MAX_STEPS}"


def test_an_old_iteration_begins_at_the_node_marked_so():
    inside = node("ic", "code", outputs={"r": {"type": "string"}}, isIterationStart=True, iteration_id="it")
    nodes = [
        node("start", "start", variables=[{"variable": "xs"}]),
        inside,
        node("it", "iteration", iterator_selector=["start", "xs"], output_selector=["ic", "r"]),
    ]
    walked = go(graph_of(nodes, chain("start", "it")), inputs={"xs": [1]})
    assert "node_finished ic" in walked.names


def loop(inside=(), edges=(), **data):
    settings = {
        "loop_count": 3,
        "start_node_id": "ls",
        "loop_variables": [{"label": "n", "var_type": "number", "value_type": "constant", "value": "1"}],
        **data,
    }
    add = node(
        "w",
        "assigner",
        "lo",
        version="2",
        items=[{"variable_selector": ["lo", "n"], "operation": "+=", "input_type": "constant", "value": 1}],
    )
    nodes = [
        node("start", "start"),
        node("lo", "loop", **settings),
        node("ls", "loop-start", "lo"),
        add,
        *inside,
        node(
            "end",
            "end",
            outputs=[
                {"variable": "n", "value_selector": ["lo", "n"]},
                {"variable": "rounds", "value_selector": ["lo", "loop_round"]},
            ],
        ),
    ]
    return go(graph_of(nodes, [*chain("start", "lo", "end"), edge("ls", "w"), *edges]))


def test_a_loop_counts_and_keeps_its_variables():
    walked = loop()
    assert walked.outcome.outputs == {"n": 4, "rounds": 3}
    assert [name for name in walked.names if name.startswith("loop")] == [
        "loop_started lo",
        "loop_next lo",
        "loop_next lo",
        "loop_next lo",
        "loop_completed lo",
    ]
    completed = next(step for step in walked.steps if getattr(step, "name", "") == "loop_completed")
    assert completed.execution_metadata["loop_variable_map"] == {"0": {"n": 2}, "1": {"n": 3}, "2": {"n": 4}}
    assert completed.execution_metadata["completed_reason"] == "loop_completed"


def test_a_break_condition_ends_a_loop():
    enough = {"variable_selector": ["lo", "n"], "comparison_operator": "≥", "value": "3"}
    walked = loop(break_conditions=[enough], logical_operator="and")
    assert walked.outcome.outputs == {"n": 3, "rounds": 2}
    at_once = loop(break_conditions=[{**enough, "value": "1"}])
    assert at_once.outcome.outputs == {"n": 1, "rounds": None}


def test_a_loop_end_node_ends_a_loop():
    walked = loop([node("x", "loop-end", "lo")], [edge("w", "x")])
    assert walked.outcome.outputs == {"n": 2, "rounds": 1}


def test_a_loop_of_a_million_rounds_ends_with_the_limit_of_steps():
    assert loop(loop_count=1_000_000).outcome.error.startswith("Aborted: Maximum execution steps exceeded")


def test_an_empty_loop_ends_with_the_limit_too():
    nodes = [node("start", "start"), node("lo", "loop", loop_count=10**9), node("end", "end")]
    assert go(graph_of(nodes, chain("start", "lo", "end"))).outcome.status == "stopped"


def test_a_failure_inside_fails_the_loop():
    walked = loop(
        [
            node(
                "c",
                "if-else",
                "lo",
                cases=[
                    {"case_id": "x", "conditions": [{"variable_selector": ["no", "no"], "comparison_operator": "is"}]}
                ],
            )
        ],
        [edge("w", "c")],
    )
    assert (walked.outcome.status, walked.names[-1]) == ("failed", "loop_completed lo")
